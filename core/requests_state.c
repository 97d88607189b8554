// SPDX-License-Identifier: Apache-2.0
// The device as a whole: reset (vhost-user.rst, VHOST_USER_RESET_DEVICE), status (VHOST_USER_SET_STATUS) and state
// ("Migrating back-end state").
#include "core/requests_state.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "core/device_setup.h"
#include "core/log.h"
#include "core/sys.h"

// ---- reset ----

// All rings as they are when the features have just been negotiated.
static void disable_rings(struct session *session)
{
	bool always =
		session->negotiated && !(session->features & BIT64(VHOST_USER_F_PROTOCOL_FEATURES));

	for (unsigned i = 0; i < session->queue_count; i++)
		session->queues[i].enabled = always;
}

static void reset_rings(struct session *session)
{
	for (unsigned i = 0; i < session->queue_count; i++)
		queue_take_base(&session->queues[i]);
	disable_rings(session);
	session->status = 0;
}

// vhost-user.rst, VHOST_USER_RESET_OWNER: deprecated; may be ignored or used to disable all rings.
int request_reset_owner(struct session *session, struct message *message, struct reply *reply)
{
	(void)message;
	(void)reply;
	disable_rings(session);
	return 0;
}

// vhost-user.rst, VHOST_USER_RESET_DEVICE: disable all rings and reset the device; memory, fds and ownership stay.
int request_reset_device(struct session *session, struct message *message, struct reply *reply)
{
	(void)message;
	(void)reply;
	reset_rings(session);
	for (unsigned i = 0; i < session->queue_count; i++)
		inflight_forget(&session->queues[i].vring.inflight); // the driver has, too
	device_state_cancel(&session->state);
	session_forget_driver(session);
	device_reset(session->device, session->workers);
	return 0;
}

// ---- status ----

static bool features_are_ok(const struct session *session)
{
	return session->negotiated && !session->features_refused;
}

// vhost-user.rst, VHOST_USER_SET_STATUS; VIRTIO 1.3, 2.1 "Device Status Field". QEMU sends 0 whenever it stops the rings, also
// to pause the guest or to migrate it (and 7.2 does so before it asks for their bases), so these and what the driver relies on
// stay until RESET_DEVICE or a new driver.
int request_set_status(struct session *session, struct message *message, struct reply *reply)
{
	u64 status = message->payload.u64;

	(void)reply;
	if (status > UINT8_MAX)
		return log_errno(-EINVAL, "SET_STATUS: %#" PRIx64 " is more than a byte", status);
	if (status & VIRTIO_STATUS_FEATURES_OK && !features_are_ok(session))
		return log_errno(-EINVAL, "SET_STATUS: FEATURES_OK, but no features were accepted");
	if (status == 0)
		reset_rings(session);
	// what is ours to say comes back in what front-ends add to it
	session->status = (u8)status & (u8)~VIRTIO_STATUS_DEVICE_NEEDS_RESET;
	return 0;
}

// 2.1.2 "Device Requirements: Device Status Field"
int request_get_status(struct session *session, struct message *message, struct reply *reply)
{
	u64 status = session->status;

	(void)message;
	if (!features_are_ok(session))
		status &= ~(u64)VIRTIO_STATUS_FEATURES_OK;
	if (session_has_broken_ring(session))
		status |= VIRTIO_STATUS_DEVICE_NEEDS_RESET;
	return reply_u64(reply, status);
}

// ---- state ----

// A pipe, a socket or a regular file, open for what is to be done with it; from here on it never blocks. 0 or -errno, logged.
static int prepare_fd(int fd, bool load)
{
	struct stat file;
	int flags = sys_int(fcntl(fd, F_GETFL));

	if (flags < 0 || fstat(fd, &file) != 0)
		return log_errno(-EBADF, "SET_DEVICE_STATE_FD: the file descriptor is none");
	if (!S_ISFIFO(file.st_mode) && !S_ISREG(file.st_mode) && !sys_is_unix_socket(fd))
		return log_errno(-EINVAL, "SET_DEVICE_STATE_FD: the file descriptor is neither a "
					  "pipe nor a unix socket nor a file");
	if ((flags & O_ACCMODE) == (load ? O_WRONLY : O_RDONLY))
		return log_errno(-EINVAL, "SET_DEVICE_STATE_FD: the file descriptor cannot be %s",
				 load ? "read" : "written");
	// no other flag may stay: the lockdown ends who sets it (core/server.c)
	flags = sys_int(fcntl(fd, F_SETFL, (flags & O_APPEND) | O_NONBLOCK));
	return flags < 0 ? log_errno(flags, "SET_DEVICE_STATE_FD: the file descriptor cannot be "
					    "made nonblocking")
			 : 0;
}

static int begin_transfer(struct session *session, struct message *message)
{
	const struct vhost_user_transfer *asked = &message->payload.transfer;
	bool load = asked->direction == VHOST_USER_TRANSFER_LOAD;
	int error;

	if (asked->direction > VHOST_USER_TRANSFER_LOAD ||
	    asked->phase != VHOST_USER_TRANSFER_STOPPED)
		return log_errno(-EINVAL, "SET_DEVICE_STATE_FD: direction %u in phase %u",
				 asked->direction, asked->phase);
	if (!session_is_suspended(session))
		return log_errno(-EBUSY, "SET_DEVICE_STATE_FD: a ring runs");
	error = prepare_fd(message->fds[0], load);
	if (error)
		return error;
	if (load)
		session_forget_driver(session); // the one that comes is where the state says
	device_state_transfer(&session->state, load, message_take_fd(message, 0));
	return 0;
}

// vhost-user.rst, VHOST_USER_SET_DEVICE_STATE_FD: the answer is never an fd of ours.
int request_set_device_state_fd(struct session *session, struct message *message,
				struct reply *reply)
{
	u64 error = begin_transfer(session, message) ? VHOST_USER_TRANSFER_ERROR : 0;

	return reply_u64(reply, error | VHOST_USER_TRANSFER_NO_FD);
}

int request_check_device_state(struct session *session, struct message *message,
			       struct reply *reply)
{
	(void)message;
	return reply_u64(reply, device_state_check(&session->state) ? 0 : 1);
}
