// SPDX-License-Identifier: Apache-2.0
//
// S: the byte stream, headers, and the file descriptors that come along.

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include "tests/hostile/hostile.h"

enum {
	MAX_FDS = 253, /* of one message, by the kernel */
	MAX_PAYLOAD = 8 + 32 * sizeof(struct vu_region),
};

static void s1(struct target *target)
{
	const struct vu_header header = {.request = VU_GET_FEATURES, .flags = VU_VERSION};
	struct frontend_message reply;
	struct frontend frontend;

	meet(target, &frontend, EVERYTHING);
	frontend_send_pieces(&frontend, &header, sizeof(header), 1, NULL, 0);
	expect(frontend_receive_reply(&frontend, VU_GET_FEATURES, &reply) == 0,
	       "a header in single bytes is not understood");
	for (size_t len = 1; len < sizeof(header); len++) {
		frontend_send_bytes(&frontend, &header, len, NULL, 0);
		frontend_close(&frontend);
		meet(target, &frontend, EVERYTHING);
	}
	frontend_close(&frontend);
}

static void s2(struct target *target)
{
	struct {
		struct vu_header header;
		struct vu_vring_state state;
	} message = {{.request = VU_GET_VRING_BASE, .flags = VU_VERSION, .size = 8}, {.index = 3}};
	struct frontend_message reply;
	struct guest guest;

	guest_start(&guest, target, NULL);
	for (size_t at = 0; at < sizeof(message); at++) {
		frontend_send_bytes(&guest.vm.frontend, (char *)&message + at, 1, NULL, 0);
		expect_io(&guest, 0);
	}
	expect(frontend_receive_reply(&guest.vm.frontend, VU_GET_VRING_BASE, &reply) == 0 &&
		       reply.payload.state.index == 3,
	       "a message in single bytes is not understood");
	guest_close(&guest);
}

static void s3(struct target *target)
{
	static const uint32_t sizes[] = {MAX_PAYLOAD + 1, 4096, 0x7fffffff, 0x80000000, 0xffffffff};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		const struct vu_header header = {VU_SET_FEATURES, VU_VERSION | VU_NEED_REPLY,
						 sizes[i]};

		expect_bytes_close(target, &header, sizeof(header), NULL, 0);
	}
}

/* Requests and the size of what they need. */
static const struct {
	uint32_t request, size, fds;
} sized[] = {
	{VU_SET_FEATURES, 8, 0},    {VU_SET_PROTOCOL_FEATURES, 8, 0}, {VU_SET_VRING_NUM, 8, 0},
	{VU_SET_VRING_BASE, 8, 0},  {VU_GET_VRING_BASE, 8, 0},	      {VU_SET_VRING_ENABLE, 8, 0},
	{VU_SET_VRING_ADDR, 40, 0}, {VU_SET_VRING_KICK, 8, 1},	      {VU_SET_VRING_CALL, 8, 1},
	{VU_SET_VRING_ERR, 8, 1},   {VU_SET_MEM_TABLE, 8, 0},	      {VU_ADD_MEM_REG, 40, 1},
	{VU_REM_MEM_REG, 40, 0},    {VU_GET_CONFIG, 12, 0},	      {VU_SET_CONFIG, 12, 0},
};

static void s4(struct target *target)
{
	static const uint8_t zero[64];
	int fd = memory_file(4096);

	for (size_t i = 0; i < ARRAY_SIZE(sized); i++) {
		const uint32_t sizes[] = {0, 4, sized[i].size - 1};

		for (size_t s = 0; s < ARRAY_SIZE(sizes); s++)
			expect_refused_or_closed(target, MESSAGE_FDS(sized[i].request, zero,
								     sizes[s], &fd, sized[i].fds));
	}
	close(fd);
}

/* Front-ends that send more than they mean. */
static void send_padded(const struct target *target)
{
	struct vu_mem_table table = {.count = 1, .regions[0] = {.size = 4096}};
	struct vu_config config = {.size = 8};
	struct frontend_message reply;
	struct frontend frontend;
	int fd = memory_file(4096);

	meet(target, &frontend, EVERYTHING);
	expect_accepted(&frontend, MESSAGE_FDS(VU_SET_MEM_TABLE, &table, 72, &fd, 1));
	expect_accepted(&frontend, MESSAGE_FDS(VU_SET_MEM_TABLE, &table, sizeof(table), &fd, 1));
	frontend_send(&frontend, VU_GET_CONFIG, VU_VERSION, &config, sizeof(config), NULL, 0);
	expect(frontend_receive_reply(&frontend, VU_GET_CONFIG, &reply) == 0 &&
		       reply.payload.config.size == 8,
	       "GET_CONFIG of 12 + 256 bytes is not answered");
	frontend_close(&frontend);
	close(fd);
}

static void s5(struct target *target)
{
	static const uint8_t zero[512];
	static const uint32_t empty[] = {VU_GET_FEATURES, VU_SET_OWNER, VU_RESET_OWNER,
					 VU_GET_QUEUE_NUM, VU_RESET_DEVICE};
	int fd = memory_file(4096);

	for (size_t i = 0; i < ARRAY_SIZE(sized); i++) {
		bool config =
			sized[i].request == VU_GET_CONFIG || sized[i].request == VU_SET_CONFIG;

		if (sized[i].request != VU_SET_MEM_TABLE)
			expect_refused_or_closed(target,
						 MESSAGE_FDS(sized[i].request, zero,
							     sized[i].size + (config ? 257 : 8),
							     &fd, sized[i].fds));
	}
	for (size_t i = 0; i < ARRAY_SIZE(empty); i++)
		expect_refused_or_closed(target, MESSAGE(empty[i], zero, 8));
	send_padded(target);
	close(fd);
}

static void s6(struct target *target)
{
	const struct vu_mem_table table = {.count = 1, .regions[0] = {.size = 4096}};
	const struct vu_config off = {.offset = 32, .size = 1};
	struct frontend frontend;
	int fd = memory_file(4096);
	uint8_t writeback;

	meet(target, &frontend, EVERYTHING);
	expect_accepted(&frontend, MESSAGE_FDS(VU_SET_MEM_TABLE, &table, 40, &fd, 1));
	/* the region of the message before must not be taken for this one's */
	expect_refused(target, &frontend, MESSAGE_FDS(VU_SET_MEM_TABLE, &table, 8, &fd, 1));
	expect_refused(target, &frontend, MESSAGE_FDS(VU_SET_MEM_TABLE, NULL, 0, &fd, 1));
	expect_accepted(&frontend, MESSAGE(VU_SET_CONFIG, &off, 13));
	expect_refused(target, &frontend, MESSAGE(VU_SET_CONFIG, &off, 12));
	expect(frontend_get_config(&frontend, 32, 1, 0, &writeback) == 0 && writeback == 0,
	       "a payload that did not come was used");
	frontend_close(&frontend);
	close(fd);
}

static void close_on_flags(const struct target *target, const uint32_t *flags, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct vu_header header = {.request = VU_GET_FEATURES, .flags = flags[i]};

		expect_bytes_close(target, &header, sizeof(header), NULL, 0);
	}
}

static void s7(struct target *target)
{
	close_on_flags(target, (const uint32_t[]){0, 2, 3, VU_NEED_REPLY}, 4);
}

static void s8(struct target *target)
{
	close_on_flags(target, (const uint32_t[]){VU_VERSION | VU_REPLY, 0xd}, 2);
}

static void s9(struct target *target)
{
	close_on_flags(target, (const uint32_t[]){0x11, 0x21, 0x101, 0x80000001, 0xfffffff9}, 5);
}

static void s10(struct target *target)
{
	static const uint32_t unknown[] = {0,  19,	26,	    29,		30,
					   33, 41,	44,	    45,		99,
					   64, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff};
	static const uint64_t zero;

	for (size_t i = 0; i < ARRAY_SIZE(unknown); i++) {
		expect_refused_or_closed(target, EMPTY(unknown[i]));
		expect_refused_or_closed(target, MESSAGE(unknown[i], &zero, 8));
	}
}

static void s11(struct target *target)
{
	static const struct vu_config config = {.size = 8};
	static const struct vu_single_region region = {.region.size = 4096};
	int fd = memory_file(4096);
	const struct message gated[] = {
		*MESSAGE_FDS(VU_GET_CONFIG, &config, 20, NULL, 0),
		*MESSAGE_FDS(VU_SET_CONFIG, &config, 20, NULL, 0),
		*MESSAGE_FDS(VU_GET_QUEUE_NUM, NULL, 0, NULL, 0),
		*MESSAGE_FDS(VU_RESET_DEVICE, NULL, 0, NULL, 0),
		*MESSAGE_FDS(VU_GET_MAX_MEM_SLOTS, NULL, 0, NULL, 0),
		*MESSAGE_FDS(VU_ADD_MEM_REG, &region, sizeof(region), &fd, 1),
		*MESSAGE_FDS(VU_REM_MEM_REG, &region, sizeof(region), NULL, 0),
	};
	struct frontend frontend;

	meet(target, &frontend, VU_BIT(VU_PROTOCOL_F_REPLY_ACK));
	for (size_t i = 0; i < ARRAY_SIZE(gated); i++)
		expect_refused(target, &frontend, &gated[i]);
	frontend_close(&frontend);
	for (size_t i = 0; i < ARRAY_SIZE(gated); i++) {
		meet(target, &frontend, 0);
		frontend_send(&frontend, gated[i].request, VU_VERSION, gated[i].payload,
			      gated[i].size, gated[i].fds, gated[i].fd_count);
		expect_closed(&frontend);
		frontend_close(&frontend);
	}
	close(fd);
}

static void s12(struct target *target)
{
	struct frontend_message reply;
	struct frontend frontend;

	meet(target, &frontend, VU_BIT(VU_PROTOCOL_F_CONFIG));
	for (int i = 0; i < 3; i++)
		frontend_send(&frontend, VU_SET_OWNER, VU_VERSION | VU_NEED_REPLY, NULL, 0, NULL,
			      0);
	frontend_send(&frontend, VU_GET_FEATURES, VU_VERSION | VU_NEED_REPLY, NULL, 0, NULL, 0);
	expect(frontend_receive_reply(&frontend, VU_GET_FEATURES, &reply) == 0 &&
		       reply.header.size == 8,
	       "the first reply is not that of GET_FEATURES");
	frontend_close(&frontend);
}

static void s18(struct target *target)
{
	struct iovec nothing = {.iov_base = NULL};
	struct msghdr empty = {.msg_iov = &nothing, .msg_iovlen = 1};
	struct frontend frontend;
	uint64_t features;

	meet(target, &frontend, EVERYTHING);
	expect(sendmsg(frontend.fd, &empty, 0) == 0, "sendmsg: %s", strerror(errno));
	expect_answers(&frontend);
	/* a kernel without out-of-band data on unix sockets has nothing to ignore */
	if (send(frontend.fd, "!", 1, MSG_OOB) != 1)
		expect(errno == EOPNOTSUPP, "MSG_OOB: %s", strerror(errno));
	expect(frontend_get_features(&frontend, &features) == 0,
	       "an out-of-band byte is taken for part of a message");
	expect_answers(&frontend);
	expect(send(frontend.fd, "!", 1, MSG_OOB) == 1 || errno == EOPNOTSUPP, "MSG_OOB");
	frontend_close(&frontend);
}

static void s19(struct target *target)
{
	static struct {
		struct vu_header header;
		uint64_t features;
	} __attribute__((packed)) flood[1000];
	struct guest guest;
	unsigned rss;

	guest_start(&guest, target, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(flood); i++) {
		flood[i].header = (struct vu_header){.request = VU_SET_PROTOCOL_FEATURES,
						     .flags = VU_VERSION,
						     .size = sizeof(flood[i].features)};
		flood[i].features = guest.vm.protocol_features;
	}
	expect_io(&guest, 0);
	rss = target_rss(target);
	for (int i = 0; i < 1000; i++) {
		frontend_send_bytes(&guest.vm.frontend, flood, sizeof(flood), NULL, 0);
		if (i % 50 == 0)
			expect_io(&guest, 0);
	}
	expect_answers(&guest.vm.frontend);
	expect(target_rss(target) < rss + 256, "memory grew from %u to %u KiB", rss,
	       target_rss(target));
	guest_close(&guest);
}

static void s20(struct target *target)
{
	const struct vu_header header = {.request = VU_GET_FEATURES, .flags = VU_VERSION};
	unsigned rss = target_rss(target);
	struct frontend frontend;
	int error = 0;

	meet(target, &frontend, EVERYTHING);
	for (int i = 0; i < 100000 && !error; i++)
		error = frontend_send_bytes(&frontend, &header, sizeof(header), NULL, 0);
	expect(error == -ECONNRESET, "100000 unread replies: %s", strerror(-error));
	expect(target_rss(target) < rss + 256, "memory grew from %u to %u KiB", rss,
	       target_rss(target));
	frontend_close(&frontend);
}

static void s21(struct target *target)
{
	const struct vu_header header = {.request = VU_GET_FEATURES, .flags = VU_VERSION};
	struct frontend first, second;
	struct frontend_message reply;
	struct pollfd early;

	expect(frontend_connect(&first, target->socket, SOON_MS) == 0, "cannot connect");
	sleep_ms(MOMENT_MS);
	expect(frontend_connect(&second, target->socket, SOON_MS) == 0, "cannot connect again");
	frontend_send_bytes(&second, &header, sizeof(header), NULL, 0);
	early = (struct pollfd){.fd = second.fd, .events = POLLIN};
	expect(poll(&early, 1, MOMENT_MS) == 0, "two front-ends are served at once");
	expect_answers(&first);
	frontend_close(&first);
	expect(frontend_receive_reply(&second, VU_GET_FEATURES, &reply) == 0,
	       "the second front-end is not served when the first has gone");
	frontend_close(&second);
}

static void s23(struct target *target)
{
	const struct vu_header header = {VU_SET_MEM_TABLE, VU_VERSION, 40};
	struct guest guest;

	for (int round = 0; round < 20; round++) {
		struct vm_ring *ring;

		guest_start(&guest, target, NULL);
		ring = &guest.vm.rings[0];
		while (vm_blk_add(ring, &guest.slots[0], round % 2 ? VM_BLK_T_IN : VM_BLK_T_OUT, 0,
				  65536) >= 0)
			;
		vm_ring_kick(ring);
		frontend_send_bytes(&guest.vm.frontend, &header, (size_t)(1 + round % 12), NULL, 0);
		guest_close(&guest);
	}
}

const struct input socket_inputs[] = {
	{.id = "S1", .description = "a header in single bytes, or cut off by the end", .run = s1},
	{.id = "S2",
	 .description = "a payload in single bytes, with disk requests between them",
	 .run = s2},
	{.id = "S3", .description = "a payload size that no message has", .run = s3},
	{.id = "S4", .description = "a payload smaller than the request needs", .run = s4},
	{.id = "S5",
	 .description = "a payload larger than the request needs; legal padding",
	 .run = s5},
	{.id = "S6", .description = "a payload left out, after a message that had one", .run = s6},
	{.id = "S7", .description = "a protocol version other than 1", .run = s7},
	{.id = "S8", .description = "the reply flag in a request", .run = s8},
	{.id = "S9", .description = "reserved header flags", .run = s9},
	{.id = "S10", .description = "unknown request numbers, 0 and negative ones", .run = s10},
	{.id = "S11",
	 .description = "a request whose protocol feature was not negotiated",
	 .run = s11},
	{.id = "S12", .description = "need_reply without REPLY_ACK", .run = s12},
	{.id = "S18", .description = "an out-of-band byte; a send of no bytes", .run = s18},
	{.id = "S19", .description = "a million cheap messages while a ring works", .run = s19},
	{.id = "S20", .description = "a peer that never reads replies", .run = s20},
	{.id = "S21", .description = "a silent peer, and a second one behind it", .run = s21},
	{.id = "S23",
	 .description = "the end in the middle of a message, with requests in flight",
	 .run = s23},
	{0},
};
