// SPDX-License-Identifier: Apache-2.0
//
// S13 to S17 and S24: the file descriptors that come along, and none left.

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include "tests/hostile/hostile.h"

enum {
	MAX_FDS = 253, /* of one message, by the kernel */
};

static void s13(struct target *target)
{
	static const uint32_t none[] = {VU_GET_FEATURES,	  VU_SET_OWNER,	    VU_RESET_OWNER,
					VU_GET_PROTOCOL_FEATURES, VU_GET_QUEUE_NUM, VU_RESET_DEVICE,
					VU_GET_MAX_MEM_SLOTS};
	static const uint64_t features = VU_BIT(VM_F_VERSION_1);
	static const struct vu_vring_state state = {.num = 8};
	int fd = memory_file(4096);

	for (size_t i = 0; i < ARRAY_SIZE(none); i++)
		expect_refused_or_closed(target, MESSAGE_FDS(none[i], NULL, 0, &fd, 1));
	expect_refused_or_closed(target, MESSAGE_FDS(VU_SET_FEATURES, &features, 8, &fd, 1));
	expect_refused_or_closed(target, MESSAGE_FDS(VU_SET_VRING_NUM, &state, 8, &fd, 1));
	expect_refused_or_closed(target, MESSAGE_FDS(VU_GET_VRING_BASE, &state, 8, &fd, 1));
	close(fd);
}

static void s14(struct target *target)
{
	static const unsigned counts[] = {2, 9, 33, 40};
	static const struct vu_mem_table table = {.count = 1, .regions[0] = {.size = 4096}};
	static const struct vu_single_region region = {.region.size = 4096};
	static const struct vu_header owner = {.request = VU_SET_OWNER, .flags = VU_VERSION};
	static const uint64_t ring;
	int fds[MAX_FDS];

	for (int i = 0; i < MAX_FDS; i++)
		fds[i] = memory_file(4096);
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		const struct message messages[] = {
			*MESSAGE_FDS(VU_SET_VRING_KICK, &ring, 8, fds, counts[i]),
			*MESSAGE_FDS(VU_SET_VRING_CALL, &ring, 8, fds, counts[i]),
			*MESSAGE_FDS(VU_SET_MEM_TABLE, &table, 40, fds, counts[i]),
			*MESSAGE_FDS(VU_ADD_MEM_REG, &region, sizeof(region), fds, counts[i]),
			*MESSAGE_FDS(VU_SET_OWNER, NULL, 0, fds, counts[i]),
		};

		for (size_t m = 0; m < ARRAY_SIZE(messages); m++)
			expect_refused_or_closed(target, &messages[m]);
	}
	/* as many as the kernel passes at once are more than the lockdown lets us have */
	expect_bytes_close(target, &owner, sizeof(owner), fds, MAX_FDS);
	for (int i = 0; i < MAX_FDS; i++)
		close(fds[i]);
}

static void s15(struct target *target)
{
	struct vu_mem_table table = {.count = 4};
	static const struct vu_single_region region = {.region.size = 4096};
	static const uint64_t ring;
	int fd = memory_file(4096);
	const uint32_t size = 8 + 4 * sizeof(struct vu_region);

	for (uint64_t i = 0; i < 4; i++)
		table.regions[i] = (struct vu_region){i << 20, 4096, i << 20, 0};
	expect_refused_or_closed(target, MESSAGE_FDS(VU_SET_MEM_TABLE, &table, size, &fd, 1));
	expect_refused_or_closed(target, MESSAGE(VU_SET_MEM_TABLE, &table, size));
	expect_refused_or_closed(target, MESSAGE(VU_ADD_MEM_REG, &region, sizeof(region)));
	expect_refused_or_closed(target, MESSAGE(VU_SET_VRING_KICK, &ring, 8));
	close(fd);
}

/* SCM_CREDENTIALS and two SCM_RIGHTS in one sendmsg(). */
static void send_mixed_control(struct frontend *frontend, const void *bytes, size_t len, int fd)
{
	union {
		struct cmsghdr align;
		char bytes[2 * CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
	} control = {.bytes = {0}};
	const struct ucred self = {.pid = getpid(), .uid = getuid(), .gid = getgid()};
	struct iovec iov = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = len};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = &control,
			     .msg_controllen = sizeof(control)};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	*cmsg = (struct cmsghdr){CMSG_LEN(sizeof(self)), SOL_SOCKET, SCM_CREDENTIALS};
	memcpy(CMSG_DATA(cmsg), &self, sizeof(self));
	for (int i = 0; i < 2; i++) {
		cmsg = CMSG_NXTHDR(&msg, cmsg);
		*cmsg = (struct cmsghdr){CMSG_LEN(sizeof(fd)), SOL_SOCKET, SCM_RIGHTS};
		memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	}
	expect(sendmsg(frontend->fd, &msg, 0) == (ssize_t)len, "sendmsg: %s", strerror(errno));
}

static void s16(struct target *target)
{
	struct {
		struct vu_header header;
		uint64_t payload;
	} kick = {{VU_SET_VRING_KICK, VU_VERSION | VU_NEED_REPLY, 8}, 0};
	struct frontend_message reply;
	struct frontend frontend;
	int fd = memory_file(4096);

	for (size_t at = sizeof(kick.header); at < 20; at++) {
		meet(target, &frontend, EVERYTHING);
		frontend_send_bytes(&frontend, &kick, at, NULL, 0);
		frontend_send_bytes(&frontend, (char *)&kick + at, 20 - at, &fd, 1);
		expect_closed(&frontend);
		frontend_close(&frontend);
	}
	/* two control messages arrive as one with two fds, the credentials do not */
	meet(target, &frontend, EVERYTHING);
	send_mixed_control(&frontend, &kick, 20, fd);
	expect(frontend_receive_reply(&frontend, VU_SET_VRING_KICK, &reply) == 0 &&
		       reply.payload.u64 == 1,
	       "two fds in two control messages are not refused");
	frontend_close(&frontend);
	close(fd);
}

static void s17(struct target *target)
{
	struct vu_header header = {.request = VU_SET_OWNER, .flags = VU_VERSION};
	struct frontend frontend;
	uint64_t limit;
	int fds[8];

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = memory_file(4096);
	for (unsigned room = 0; room < ARRAY_SIZE(fds); room++) {
		meet(target, &frontend, EVERYTHING);
		limit = target_limit(target, RLIMIT_NOFILE, target_fds(target) + room);
		frontend_send_bytes(&frontend, &header, sizeof(header), fds, ARRAY_SIZE(fds));
		expect_closed(&frontend);
		target_limit(target, RLIMIT_NOFILE, limit);
		frontend_close(&frontend);
	}
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
}

static void s24(struct target *target)
{
	const struct vu_single_region single = {.region = {1ull << 40, 1 << 30, 1ull << 40, 0}};
	int fd = vm_memory_file(1 << 30);
	struct frontend second;
	struct guest guest;
	uint64_t limit;

	guest_start(&guest, target, NULL);
	/* no address space for another region */
	limit = target_limit(target, RLIMIT_AS, 64 << 20);
	expect_refused(target, &guest.vm.frontend,
		       MESSAGE_FDS(VU_ADD_MEM_REG, &single, sizeof(single), &fd, 1));
	target_limit(target, RLIMIT_AS, limit);
	expect_io(&guest, 0);
	guest_close(&guest);
	/* no fd for another front-end: it waits, and the back-end does not spin */
	limit = target_limit(target, RLIMIT_NOFILE, target->fds);
	expect(frontend_connect(&second, target->socket, SOON_MS) == 0, "cannot connect");
	sleep_ms(5 * MOMENT_MS);
	target_limit(target, RLIMIT_NOFILE, limit);
	expect_answers(&second);
	frontend_close(&second);
	close(fd);
}

/* The lockdown has limits of its own, and nobody may change them from outside. */
static const char *const no_lockdown[] = {"--sandbox=none", NULL};

const struct input fd_inputs[] = {
	{.id = "S13", .description = "fds with a message that takes none", .run = s13},
	{.id = "S14", .description = "more fds than the message takes, up to 253", .run = s14},
	{.id = "S15", .description = "fewer fds than the message needs", .run = s15},
	{.id = "S16",
	 .description = "fds in the middle of a message; several control messages",
	 .run = s16},
	{.id = "S17",
	 .description = "fds beyond the limit of open files",
	 .run = s17,
	 .options = no_lockdown},
	{.id = "S24",
	 .description = "no address space and no fds left",
	 .run = s24,
	 .options = no_lockdown},
	{0},
};
