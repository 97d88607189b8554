// SPDX-License-Identifier: Apache-2.0
// A front-end that sends what the input says, with fds, through a real socket, to a session with rings that run, and
// writes to the memory that it shared and kicks in between. When it has gone nothing of it may be left.
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "core/device_setup.h"
#include "core/log.h"
#include "core/memory_fault.h"
#include "core/requests.h"
#include "core/sys.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/echo.h"

enum {
	RINGS = 3,
	CONNECTIONS = 3, // of one input
	MOST_FDS = 254,	 // that a message can carry: one more than we take
	ODD_FDS = 8,	 // a count above this stands for all of them
	FILES = 3,
	PIPE_LEN = 4096,
};

// Those that are offered only on demand.
#define RING_FEATURES (BIT64(VIRTIO_F_RING_PACKED) | BIT64(VIRTIO_F_IN_ORDER))

// What the fds of a message are chosen from.
enum kit {
	KICK,
	CALL,
	FILE_LARGE,
	FILE_SMALL,
	FILE_ODD,
	FILE_READ_ONLY,
	PIPE_IN,
	PIPE_OUT,
	SOCKET,
	NULL_FILE,
	EPOLL,
	EVENT,
	KIT
};
static const size_t file_lens[FILES] = {32768, 8192, 4097};

static int kit[KIT], socket_other;
static u8 *files[FILES];
static struct echo echo;
static struct worker worker;
static struct session session;
static struct connection connection;
static int front_end; // the other end of the connection
static bool deaf;     // the front-end reads nothing
static unsigned fds_before;

static void make_files(void)
{
	char path[32];

	for (unsigned i = 0; i < FILES; i++) {
		int fd = memfd_create("fuzz", MFD_CLOEXEC);

		assert(fd >= 0 && ftruncate(fd, (off_t)file_lens[i]) == 0);
		kit[FILE_LARGE + i] = fd;
		files[i] = mmap(NULL, file_lens[i], PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		assert(files[i] != MAP_FAILED);
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", kit[FILE_LARGE]);
	kit[FILE_READ_ONLY] = open(path, O_RDONLY | O_CLOEXEC);
}

static void make_kit(void)
{
	int pipes[2], sockets[2];

	make_files();
	assert(pipe2(pipes, O_CLOEXEC | O_NONBLOCK) == 0);
	assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sockets) == 0);
	kit[PIPE_IN] = pipes[0];
	kit[PIPE_OUT] = pipes[1];
	kit[SOCKET] = sockets[0];
	socket_other = sockets[1];
	kit[KICK] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	kit[CALL] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	kit[EVENT] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
	kit[NULL_FILE] = open("/dev/null", O_RDWR | O_CLOEXEC);
	kit[EPOLL] = epoll_create1(EPOLL_CLOEXEC);
	for (unsigned i = 0; i < KIT; i++)
		assert(kit[i] >= 0);
}

// Each front-end finds it offered, if the host allows it. No page of the files is missing, so that nobody ever waits.
static void offer_postcopy(void)
{
	static bool refused;

	if (session.postcopy.fd < 0 && !refused)
		session.postcopy.fd = postcopy_open();
	refused = session.postcopy.fd < 0;
}

static void set_up(void)
{
	int error;

	log_init("fuzz", LOG_LEVEL_ERROR);
	make_kit();
	echo_init(&echo, RINGS, ECHO_AT_ONCE);
	error = worker_start(&worker, 0, -1);
	if (!error)
		error = device_worker_start(&echo.device, &worker);
	if (!error)
		error = session_init(&session, &echo.device, &worker, 1, RING_FEATURES);
	assert(error == 0);
	offer_postcopy();
	fds_before = fuzz_open_fds(); // libFuzzer has some, too
}

// What an input before this one may have left in the kit.
static void clean_kit(void)
{
	static u8 bytes[PIPE_LEN];
	const int readable[] = {kit[KICK],    kit[CALL],   kit[EVENT],
				kit[PIPE_IN], kit[SOCKET], socket_other};

	for (unsigned i = 0; i < FILES; i++)
		memset(files[i], 0, file_lens[i]);
	for (size_t i = 0; i < ARRAY_SIZE(readable); i++)
		while (read(readable[i], bytes, sizeof(bytes)) == (ssize_t)sizeof(bytes))
			;
}

static void connect_front_end(void)
{
	int sockets[2];

	assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sockets) == 0);
	front_end = sockets[0];
	deaf = false;
	connection_open(&connection, sockets[1]);
}

static void disconnect_front_end(void)
{
	session_reset(&session);
	memory_fault_clear();
	offer_postcopy();
	connection_close(&connection);
	close(front_end);
	assert(fuzz_open_fds() == fds_before);
	assert(fuzz_mappings() == FILES);
	assert(list_empty(&worker.loop.next_turn) && list_empty(&worker.loop.turn_end));
}

// ---- messages ----

// Every reply is whole, and to the last request; none comes that was not asked for.
static void read_reply(const struct vhost_user_header *request)
{
	struct {
		struct vhost_user_header header;
		union vhost_user_payload payload;
	} reply;
	union {
		struct cmsghdr align;
		u8 bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec segment = {.iov_base = &reply, .iov_len = sizeof(reply)};
	struct msghdr message = {.msg_iov = &segment,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = sizeof(control)};
	ssize_t len = recvmsg(front_end, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	const struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
	int fd;

	if (len <= 0)
		return;
	assert(len >= (ssize_t)sizeof(reply.header));
	assert((size_t)len == sizeof(reply.header) + reply.header.size);
	assert(reply.header.request == request->request);
	assert(reply.header.flags == (VHOST_USER_VERSION | VHOST_USER_REPLY));
	if (!rights)
		return;
	assert(rights->cmsg_len == CMSG_LEN(sizeof(fd)) && !(message.msg_flags & MSG_CTRUNC));
	memcpy(&fd, CMSG_DATA(rights), sizeof(fd));
	close(fd);
}

// As a server does when the socket is readable: 0, or why the connection ends.
static int serve(void)
{
	for (;;) {
		int received = connection_receive(&connection), error;

		if (received <= 0)
			return received;
		error = requests_handle(&session, &connection);
		fuzz_turn(&worker);
		if (!deaf)
			read_reply(&connection.message.header); // which need not be what was meant
		if (error)
			return error;
	}
}

static void send_bytes(const void *bytes, size_t len, const int *fds, size_t fd_count)
{
	union {
		struct cmsghdr align;
		u8 bytes[CMSG_SPACE(MOST_FDS * sizeof(int))];
	} control;
	struct iovec segment = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = len};
	struct msghdr message = {.msg_iov = &segment, .msg_iovlen = 1};
	struct cmsghdr *header;

	if (fd_count > 0) {
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
		header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(header), fds, fd_count * sizeof(int));
	}
	(void)sendmsg(front_end, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static size_t choose_fds(struct fuzz_input *input, int *fds)
{
	size_t count = fuzz_u8(input);
	u8 first = 0;

	if (count > ODD_FDS) {
		count = min_size(count, MOST_FDS - 1); // what the kernel passes at once
		first = fuzz_u8(input);
	}
	for (size_t i = 0; i < count; i++)
		fds[i] = kit[(count > ODD_FDS ? first : fuzz_u8(input)) % KIT];
	return count;
}

// One message: request, flags, then how long it says and is, its fds, and the payload. In the two upper bits of the
// flags: it says another length than it has; it comes in two pieces.
static int send_message(struct fuzz_input *input)
{
	struct {
		struct vhost_user_header header;
		u8 payload[sizeof(union vhost_user_payload) + 64];
	} message;
	int fds[MOST_FDS];
	u8 flags;
	u16 len;
	size_t fd_count, split = 0;

	message.header.request = fuzz_u8(input);
	flags = fuzz_u8(input);
	message.header.flags = flags & 0x3f;
	len = fuzz_u16(input) % (sizeof(message.payload) + 1);
	message.header.size = flags & 0x40 ? fuzz_u32(input) : len;
	fd_count = choose_fds(input, fds);
	if (flags & 0x80)
		split = fuzz_u8(input) % (sizeof(message.header) + len + 1u);
	fuzz_bytes(input, message.payload, len);
	if (split > 0) {
		int error;

		send_bytes(&message, split, fds, fd_count);
		error = serve();
		if (error)
			return error;
		fd_count = 0;
	}
	send_bytes((u8 *)&message + split, sizeof(message.header) + len - split, fds, fd_count);
	return serve();
}

// ---- the driver ----

static void write_memory(struct fuzz_input *input)
{
	unsigned file = fuzz_u8(input) % FILES;
	size_t at = fuzz_u16(input) % file_lens[file];
	size_t len = min_size(fuzz_u8(input), file_lens[file] - at);

	fuzz_bytes(input, files[file] + at, len);
}

// From here on replies pile up until there is no room, or find nobody.
static void stop_reading(struct fuzz_input *input)
{
	const int len = 0; // the kernel makes it its least

	deaf = true;
	if (fuzz_u8(input) & 1)
		(void)shutdown(front_end, SHUT_RD);
	else
		(void)setsockopt(connection.fd, SOL_SOCKET, SO_SNDBUF, &len, sizeof(len));
}

enum step {
	STEP_MESSAGE,
	STEP_WRITE,
	STEP_KICK,
	STEP_RELEASE,
	STEP_CONFIG,
	STEP_LEAVE,
	STEP_DEAF,
	STEPS,
};

// 0, or why the connection ends.
static int step(struct fuzz_input *input)
{
	switch ((enum step)(fuzz_u8(input) % STEPS)) {
	case STEP_MESSAGE:
		return send_message(input);
	case STEP_WRITE:
		write_memory(input);
		return 0;
	case STEP_KICK:
		sys_event_signal(kit[KICK]);
		break;
	case STEP_RELEASE:
		echo_release(&echo, 0);
		break;
	case STEP_CONFIG:
		session_config_changed(&session);
		break;
	case STEP_LEAVE:
		return -ENOTCONN;
	case STEP_DEAF:
		stop_reading(input);
		return 0;
	case STEPS:
		break;
	}
	fuzz_turn(&worker);
	return 0;
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct fuzz_input input = {.next = data, .left = size};

	if (!session.device)
		set_up();
	clean_kit();
	fuzz_restart_clock();
	echo.order = (enum echo_order)(fuzz_u8(&input) % (ECHO_LATER + 1));
	for (unsigned i = 0; i < CONNECTIONS && input.left > 0; i++) {
		connect_front_end();
		while (input.left > 0 && step(&input) == 0)
			;
		disconnect_front_end();
	}
	return 0;
}
