// SPDX-License-Identifier: Apache-2.0
// Frames messages out of the byte stream (vhost-user.rst, "Message Specification"). The front-end is an
// adversary: nothing is believed before it is whole, and every fd that arrives is accounted for.
#include "core/connection.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include "core/log.h"
#include "core/sys.h"
#include "core/trace.h"

int message_take_fd(struct message *message, unsigned index)
{
	return index < message->fd_count ? take_fd(&message->fds[index]) : -1;
}

void message_close_fds(struct message *message)
{
	for (unsigned i = 0; i < message->fd_count; i++)
		sys_close_strange(&message->fds[i]);
	message->fd_count = 0;
}

void connection_open(struct connection *connection, int fd)
{
	connection->fd = fd;
	connection->received = 0;
	connection->message.fd_count = 0;
}

void connection_close(struct connection *connection)
{
	message_close_fds(&connection->message);
	close_fd(&connection->fd);
}

bool connection_has_peer(const struct connection *connection)
{
	const struct msghdr nothing = {0};

	return sys(sendmsg(connection->fd, &nothing, MSG_DONTWAIT | MSG_NOSIGNAL)) != -EPIPE;
}

static void take_fds(struct message *message, const struct cmsghdr *control)
{
	unsigned count = (unsigned)((control->cmsg_len - CMSG_LEN(0)) / sizeof(int));

	for (unsigned i = 0; i < count; i++) {
		int fd;

		memcpy(&fd, CMSG_DATA(control) + i * sizeof(int), sizeof(fd));
		if (message->fd_count < MESSAGE_MAX_FDS)
			message->fds[message->fd_count++] = fd;
		else
			sys_close_strange(&fd);
	}
}

// The kernel delivers all fds of a message in one control message. They are in ours afterwards, even if the
// answer is an error.
static int take_control(struct connection *connection, struct msghdr *header)
{
	const struct cmsghdr *control = CMSG_FIRSTHDR(header);

	bool rights =
		control && control->cmsg_level == SOL_SOCKET && control->cmsg_type == SCM_RIGHTS;

	if (rights)
		take_fds(&connection->message, control);
	if (header->msg_flags & MSG_CTRUNC)
		return log_errno(-EPROTO, "file descriptors were lost: too many are open");
	if (rights && connection->received > 0)
		return log_errno(-EPROTO, "file descriptors in the middle of a message");
	return 0;
}

// Receives up to `len` bytes to `buffer`. The count, 0 if none is there yet, or -errno.
static int receive_bytes(struct connection *connection, void *buffer, size_t len)
{
	union {
		struct cmsghdr align;
		u8 bytes[CMSG_SPACE(MESSAGE_MAX_FDS * sizeof(int))];
	} control;
	struct iovec segment = {.iov_base = buffer, .iov_len = len};
	struct msghdr header = {.msg_iov = &segment,
				.msg_iovlen = 1,
				.msg_control = control.bytes,
				.msg_controllen = sizeof(control.bytes)};
	long count = sys(recvmsg(connection->fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC));
	int error;

	if (count == -EAGAIN)
		return 0;
	if (count == -ECONNRESET || count == 0)
		return -ENOTCONN;
	if (count < 0)
		return log_errno((int)count, "cannot receive from the front-end");
	error = take_control(connection, &header);
	connection->received += (size_t)count;
	return error ? error : (int)count;
}

static int check_header(const struct vhost_user_header *header)
{
	if ((header->flags & VHOST_USER_VERSION_MASK) != VHOST_USER_VERSION)
		return log_errno(-EPROTO, "message %u has flags %#x: not protocol version 1",
				 header->request, header->flags);
	if (header->flags & VHOST_USER_REPLY || header->flags & ~(u32)VHOST_USER_FLAGS_KNOWN)
		return log_errno(-EPROTO, "message %u has flags %#x: not a request",
				 header->request, header->flags);
	if (header->size > sizeof(union vhost_user_payload))
		return log_errno(-EPROTO,
				 "message %u has %u bytes of payload, at most %zu are possible",
				 header->request, header->size, sizeof(union vhost_user_payload));
	return 0;
}

// The header's bytes are read first and alone, so that a message never runs into the next one.
static int receive_header(struct connection *connection)
{
	struct message *message = &connection->message;
	int count;

	if (connection->received == 0)
		memset(&message->payload, 0, sizeof(message->payload));
	count = receive_bytes(connection, (u8 *)&message->header + connection->received,
			      sizeof(message->header) - connection->received);
	if (count <= 0)
		return count;
	if (connection->received < sizeof(message->header))
		return 0;
	return check_header(&message->header);
}

int connection_receive(struct connection *connection)
{
	struct message *message = &connection->message;
	size_t whole;
	int count;

	if (connection->received < sizeof(message->header)) {
		int error = receive_header(connection);

		if (error || connection->received < sizeof(message->header))
			return error;
	}
	whole = sizeof(message->header) + message->header.size;
	if (connection->received < whole) {
		count = receive_bytes(connection,
				      (u8 *)&message->payload + connection->received -
					      sizeof(message->header),
				      whole - connection->received);
		if (count <= 0 || connection->received < whole)
			return count < 0 ? count : 0;
	}
	connection->received = 0;
	trace_message(TRACE_REQUEST, &message->header, &message->payload, message->fds,
		      message->fd_count);
	return 1;
}

// Puts one fd into a message to be sent.
static void attach_fd(struct msghdr *message, void *control, socklen_t control_len, int fd)
{
	struct cmsghdr *header;

	message->msg_control = control;
	message->msg_controllen = control_len;
	header = CMSG_FIRSTHDR(message);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(header), &fd, sizeof(fd));
}

int connection_reply(struct connection *connection, u32 request, const void *payload, size_t len,
		     int fd)
{
	struct vhost_user_header header = {.request = request,
					   .flags = VHOST_USER_VERSION | VHOST_USER_REPLY,
					   .size = (u32)len};
	struct iovec segments[] = {
		{.iov_base = &header, .iov_len = sizeof(header)},
		{.iov_base = (void *)(uintptr_t)payload, .iov_len = len},
	};
	union {
		struct cmsghdr align;
		u8 bytes[CMSG_SPACE(sizeof(fd))];
	} control = {0};
	struct msghdr message = {.msg_iov = segments, .msg_iovlen = ARRAY_SIZE(segments)};
	long sent;

	trace_message(TRACE_REPLY, &header, payload, &fd, fd >= 0);
	if (fd >= 0)
		attach_fd(&message, &control, sizeof(control), fd);
	sent = sys(sendmsg(connection->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL));
	if (sent == -EPIPE || sent == -ECONNRESET)
		return -ENOTCONN;
	if (sent < 0)
		return log_errno((int)sent, "cannot reply to message %u", request);
	if ((size_t)sent < sizeof(header) + len)
		return log_errno(-EAGAIN, "cannot reply to message %u: the socket is full",
				 request);
	return 0;
}

void connection_notify(int fd, u32 request)
{
	const struct vhost_user_header header = {.request = request, .flags = VHOST_USER_VERSION};
	struct iovec segment = {.iov_base = (void *)(uintptr_t)&header, .iov_len = sizeof(header)};
	struct msghdr message = {.msg_iov = &segment, .msg_iovlen = 1};
	long sent;

	trace_message(TRACE_OWN_REQUEST, &header, NULL, NULL, 0);
	sent = sys(sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL));
	log_debug("request %u to the front-end: %ld", request, sent);
}
