// SPDX-License-Identifier: Apache-2.0
//
// Moves vhost-user messages over the socket; the requests themselves are in requests.c.

#include "tests/frontend/frontend.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
	DEFAULT_TIMEOUT_MS = 10000,
	MAX_SENT_FDS = 253, /* SCM_MAX_FD of Linux */
	RETRY_NS = 50 * 1000,
};

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void frontend_attach(struct frontend *frontend, int fd)
{
	*frontend = (struct frontend){.fd = fd, .timeout_ms = DEFAULT_TIMEOUT_MS};
}

/* A socket, and the address of the path; or a negative errno. */
static int make_socket(const char *path, struct sockaddr_un *address)
{
	int fd;

	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(address->sun_path))
		return -ENAMETOOLONG;
	memcpy(address->sun_path, path, strlen(path));
	if (*path == '@')
		*address->sun_path = '\0';
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return fd < 0 ? -errno : fd;
}

/* An abstract name, written with an @ in front, has no end but its length. */
static socklen_t address_len(const char *path)
{
	return *path == '@' ? (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path))
			    : sizeof(struct sockaddr_un);
}

static int connect_once(const char *path)
{
	struct sockaddr_un address;
	int fd = make_socket(path, &address), error;

	if (fd < 0)
		return fd;
	if (connect(fd, (struct sockaddr *)&address, address_len(path)) == 0)
		return fd;
	error = -errno;
	close(fd);
	return error;
}

static bool is_not_there_yet(int error)
{
	return error == -ENOENT || error == -ECONNREFUSED || error == -EAGAIN;
}

int frontend_connect(struct frontend *frontend, const char *path, int timeout_ms)
{
	const struct timespec pause = {.tv_nsec = RETRY_NS};
	int64_t deadline = now_ms() + timeout_ms;
	int fd = connect_once(path);

	while (is_not_there_yet(fd) && now_ms() < deadline) {
		nanosleep(&pause, NULL);
		fd = connect_once(path);
	}
	frontend_attach(frontend, fd);
	return fd < 0 ? fd : 0;
}

/* Waits for events until the deadline. A hang-up counts as readable: recv() tells the rest. */
static int wait_for(int fd, short events, int64_t deadline)
{
	struct pollfd poll_fd = {.fd = fd, .events = events};

	for (;;) {
		int64_t left = deadline - now_ms();
		int ready = poll(&poll_fd, 1, left > 0 ? (int)left : 0);

		if (ready > 0)
			return 0;
		if (ready == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

int frontend_accept(struct frontend *frontend, const char *path, int timeout_ms)
{
	struct sockaddr_un address;
	int listener = make_socket(path, &address), fd = -1, error;

	frontend_attach(frontend, -1);
	if (listener < 0)
		return listener;
	if (bind(listener, (struct sockaddr *)&address, address_len(path)) || listen(listener, 1)) {
		error = -errno;
	} else {
		error = wait_for(listener, POLLIN, now_ms() + timeout_ms);
		if (!error)
			fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		error = error || fd >= 0 ? error : -errno;
		unlink(path);
	}
	close(listener);
	frontend_attach(frontend, fd);
	return error;
}

void frontend_close(struct frontend *frontend)
{
	if (frontend->fd >= 0)
		close(frontend->fd);
	frontend->fd = -1;
}

static void attach_fds(struct msghdr *msg, void *control, const int *fds, size_t fd_count)
{
	struct cmsghdr *cmsg;

	msg->msg_control = control;
	msg->msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
	cmsg = CMSG_FIRSTHDR(msg);
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
	memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * fd_count);
}

static ssize_t send_some(int fd, struct msghdr *msg)
{
	ssize_t sent = sendmsg(fd, msg, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (sent >= 0)
		return sent;
	return errno == EPIPE ? -ECONNRESET : -errno;
}

int frontend_send_bytes(struct frontend *frontend, const void *bytes, size_t len, const int *fds,
			size_t fd_count)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * MAX_SENT_FDS)] = {0};
	int64_t deadline = now_ms() + frontend->timeout_ms;
	struct iovec iov = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (fd_count > MAX_SENT_FDS)
		return -EINVAL;
	if (fd_count)
		attach_fds(&msg, control, fds, fd_count);
	while (iov.iov_len) {
		ssize_t sent = send_some(frontend->fd, &msg);

		if (sent == -EAGAIN) {
			int error = wait_for(frontend->fd, POLLOUT, deadline);

			if (error)
				return error;
			continue;
		}
		if (sent < 0)
			return (int)sent;
		iov.iov_base = (char *)iov.iov_base + sent;
		iov.iov_len -= (size_t)sent;
		msg.msg_control = NULL;
		msg.msg_controllen = 0;
	}
	return 0;
}

int frontend_send_pieces(struct frontend *frontend, const void *bytes, size_t len, size_t step,
			 const int *fds, size_t fd_count)
{
	for (size_t at = 0; at < len; at += step) {
		size_t piece = len - at < step ? len - at : step;
		int error = frontend_send_bytes(frontend, (const char *)bytes + at, piece, fds,
						at == 0 ? fd_count : 0);

		if (error)
			return error;
	}
	return 0;
}

int frontend_send(struct frontend *frontend, uint32_t request, uint32_t flags, const void *payload,
		  uint32_t size, const int *fds, size_t fd_count)
{
	struct {
		struct vu_header header;
		uint8_t payload[4096];
	} message = {.header = {.request = request, .flags = flags, .size = size}};

	if (size > sizeof(message.payload))
		return -EMSGSIZE;
	if (size)
		memcpy(message.payload, payload, size);
	return frontend_send_bytes(frontend, &message, sizeof(message.header) + size, fds,
				   fd_count);
}

void frontend_close_fds(struct frontend_message *message)
{
	for (size_t i = 0; i < message->fd_count; i++)
		close(message->fds[i]);
	message->fd_count = 0;
}

static void take_fds(struct frontend_message *message, struct msghdr *msg)
{
	struct cmsghdr *cmsg;

	for (cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
		size_t len = cmsg->cmsg_len - CMSG_LEN(0);

		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		frontend_close_fds(message);
		memcpy(message->fds, CMSG_DATA(cmsg), len);
		message->fd_count = len / sizeof(int);
	}
}

/* Reads exactly len bytes; file descriptors that come along are stored in the message. */
static int receive_bytes(struct frontend *frontend, struct frontend_message *message, void *bytes,
			 size_t len, int64_t deadline)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(message->fds))];
	struct iovec iov = {.iov_base = bytes, .iov_len = len};

	while (iov.iov_len) {
		struct msghdr msg = {.msg_iov = &iov,
				     .msg_iovlen = 1,
				     .msg_control = control,
				     .msg_controllen = sizeof(control)};
		int error = wait_for(frontend->fd, POLLIN, deadline);
		ssize_t got;

		if (error)
			return error;
		got = recvmsg(frontend->fd, &msg, MSG_CMSG_CLOEXEC);
		if (got == 0)
			return -ECONNRESET;
		if (got < 0)
			return -errno;
		take_fds(message, &msg);
		iov.iov_base = (char *)iov.iov_base + got;
		iov.iov_len -= (size_t)got;
	}
	return 0;
}

int frontend_receive(struct frontend *frontend, struct frontend_message *message)
{
	int64_t deadline = now_ms() + frontend->timeout_ms;
	int error;

	message->fd_count = 0;
	error = receive_bytes(frontend, message, &message->header, sizeof(message->header),
			      deadline);
	if (!error && message->header.size > sizeof(message->payload))
		error = -EMSGSIZE;
	if (!error)
		error = receive_bytes(frontend, message, &message->payload, message->header.size,
				      deadline);
	if (error)
		frontend_close_fds(message);
	return error;
}

int frontend_receive_reply(struct frontend *frontend, uint32_t request,
			   struct frontend_message *reply)
{
	uint32_t flags;
	int error = frontend_receive(frontend, reply);

	if (error)
		return error;
	flags = reply->header.flags;
	if (frontend->lenient)
		flags &= ~(uint32_t)VU_NEED_REPLY;
	if (reply->header.request == request && flags == (VU_VERSION | VU_REPLY) &&
	    reply->fd_count == 0)
		return 0;
	frontend_close_fds(reply);
	return -EPROTO;
}

int frontend_wait_closed(struct frontend *frontend)
{
	int64_t deadline = now_ms() + frontend->timeout_ms;
	char dropped[4096];

	for (;;) {
		int error = wait_for(frontend->fd, POLLIN, deadline);

		if (error)
			return error;
		if (recv(frontend->fd, dropped, sizeof(dropped), 0) <= 0)
			return 0;
	}
}
