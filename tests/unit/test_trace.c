// SPDX-License-Identifier: Apache-2.0
// Tests of core/trace.c: what is printed of messages, whatever is in them.
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "core/log.h"
#include "core/trace.h"
#include "tests/frontend/wire.h"

enum { MOST_TEXT = 16384 };

// What is printed of a message, without what stands in front of each line.
static const char *traced(enum trace_kind kind, struct vhost_user_header header,
			  const void *payload, const int *fds, unsigned fd_count)
{
	static char text[MOST_TEXT];
	const char *line;
	char front[64];
	size_t len = 0;

	snprintf(front, sizeof(front), "unit[%d]: trace: ", (int)getpid());
	unit_capture(STDERR_FILENO);
	trace_message(kind, &header, payload, fds, fd_count);
	text[0] = '\0';
	for (line = unit_captured(); *line; line = strchr(line, '\n') + 1) {
		const char *end = strchr(line, '\n');

		assert_non_null(end);
		assert_in_range(end - line, 1, 1000); // nothing was cut
		assert_memory_equal(line, front, strlen(front));
		line += strlen(front);
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%.*s\n", (int)(end - line),
					line);
	}
	return text;
}

static struct vhost_user_header header_of(u32 request, u32 flags, size_t size)
{
	return (struct vhost_user_header){
		.request = request, .flags = VU_VERSION | flags, .size = (u32)size};
}

static void expect(enum trace_kind kind, u32 request, const void *payload, size_t size,
		   const char *expected)
{
	assert_string_equal(traced(kind, header_of(request, 0, size), payload, NULL, 0), expected);
}

static void expect_u64(enum trace_kind kind, u32 request, u64 value, const char *expected)
{
	expect(kind, request, &value, sizeof(value), expected);
}

static int setup(void **state)
{
	(void)state;
	log_init("unit", LOG_LEVEL_TRACE);
	return 0;
}

TEST(nothing_is_printed_at_debug_level)
{
	log_init("unit", LOG_LEVEL_DEBUG);
	expect(TRACE_REQUEST, VU_GET_FEATURES, NULL, 0, "");
}

TEST(message_without_payload_is_a_name_and_a_number)
{
	expect(TRACE_REQUEST, VU_SET_OWNER, NULL, 0, "<- SET_OWNER #3\n");
	expect(TRACE_REPLY, VU_GET_CONFIG, NULL, 0, "-> GET_CONFIG #24 reply\n");
	expect(TRACE_OWN_REQUEST, 2, NULL, 0, "-> BACKEND_CONFIG_CHANGE #2\n");
	assert_string_equal(
		traced(TRACE_REQUEST, header_of(VU_RESET_DEVICE, VU_NEED_REPLY, 0), NULL, NULL, 0),
		"<- RESET_DEVICE #34, need_reply\n");
}

TEST(all_requests_of_the_specification_have_names)
{
	for (u32 request = 1; request <= 44; request++) {
		const char *text = traced(TRACE_REQUEST, header_of(request, 0, 0), NULL, NULL, 0);

		assert_null(strstr(text, "unknown"));
		assert_non_null(strchr(text, '_'));
	}
}

TEST(unknown_requests_are_a_number_and_bytes)
{
	u8 bytes[65];

	memset(bytes, 0xab, sizeof(bytes));
	expect(TRACE_REQUEST, 0, bytes, 2, "<- unknown request #0, 2 bytes: ab ab\n");
	expect(TRACE_REQUEST, 45, NULL, 0, "<- unknown request #45\n");
	expect(TRACE_REQUEST, UINT32_MAX, NULL, 0, "<- unknown request #4294967295\n");
	expect(TRACE_OWN_REQUEST, 0, NULL, 0, "-> unknown request #0\n");
	expect(TRACE_OWN_REQUEST, 200, NULL, 0, "-> unknown request #200\n");
	expect_u64(TRACE_REPLY, 77, 1, "-> unknown request #77 reply, 8 bytes: 1 (failure)\n");
	assert_non_null(strstr(traced(TRACE_REQUEST, header_of(77, 0, 64), bytes, NULL, 0),
			       "64 bytes: ab"));
	assert_null(strstr(traced(TRACE_REQUEST, header_of(77, 0, 64), bytes, NULL, 0), "..."));
	assert_non_null(
		strstr(traced(TRACE_REQUEST, header_of(77, 0, 65), bytes, NULL, 0), " ab ...\n"));
}

TEST(features_have_names_and_the_rest_is_a_number)
{
	expect_u64(TRACE_REPLY, VU_GET_FEATURES, 0x174000200,
		   "-> GET_FEATURES #1 reply, 8 bytes: 0x174000200 LOG_ALL INDIRECT_DESC EVENT_IDX "
		   "PROTOCOL_FEATURES VERSION_1 and 0x200\n");
	expect_u64(TRACE_REQUEST, VU_SET_FEATURES, VU_BIT(VM_F_RING_PACKED),
		   "<- SET_FEATURES #2, 8 bytes: 0x400000000 RING_PACKED\n");
	expect_u64(TRACE_REQUEST, VU_SET_FEATURES, VU_BIT(63),
		   "<- SET_FEATURES #2, 8 bytes: 0x8000000000000000\n");
	expect_u64(TRACE_REQUEST, VU_SET_FEATURES, 0, "<- SET_FEATURES #2, 8 bytes: 0\n");
	expect_u64(TRACE_REQUEST, VU_SET_PROTOCOL_FEATURES,
		   VU_BIT(VU_PROTOCOL_F_MQ) | VU_BIT(VU_PROTOCOL_F_CONFIG) |
			   VU_BIT(VU_PROTOCOL_F_DEVICE_STATE) | VU_BIT(40),
		   "<- SET_PROTOCOL_FEATURES #16, 8 bytes: 0x10000080201 MQ CONFIG DEVICE_STATE "
		   "and 0x10000000000\n");
	expect_u64(TRACE_REQUEST, VU_SET_STATUS, 0x8f,
		   "<- SET_STATUS #39, 8 bytes: 0x8f ACKNOWLEDGE DRIVER DRIVER_OK FEATURES_OK "
		   "FAILED\n");
}

TEST(all_feature_bits_have_room_in_a_line)
{
	assert_non_null(strstr(
		traced(TRACE_REPLY, header_of(VU_GET_FEATURES, 0, 8), &(u64){~0ull}, NULL, 0),
		" ADMIN_VQ and 0xfffffc0082ffffff\n"));
	assert_non_null(strstr(traced(TRACE_REPLY, header_of(VU_GET_PROTOCOL_FEATURES, 0, 8),
				      &(u64){~0ull}, NULL, 0),
			       " GET_VRING_BASE_INFLIGHT and 0xffffffffffe00000\n"));
}

TEST(replies_are_answers_or_acknowledgements)
{
	expect_u64(TRACE_REPLY, VU_GET_QUEUE_NUM, 4, "-> GET_QUEUE_NUM #17 reply, 8 bytes: 4\n");
	expect_u64(TRACE_REPLY, VU_SET_MEM_TABLE, 0,
		   "-> SET_MEM_TABLE #5 reply, 8 bytes: 0 (success)\n");
	expect_u64(TRACE_REPLY, VU_SET_VRING_NUM, 1,
		   "-> SET_VRING_NUM #8 reply, 8 bytes: 1 (failure)\n");
	expect_u64(TRACE_REPLY, VU_CHECK_DEVICE_STATE, 1,
		   "-> CHECK_DEVICE_STATE #43 reply, 8 bytes: 1 (failure)\n");
	expect_u64(TRACE_REPLY, VU_SET_DEVICE_STATE_FD, 0x100,
		   "-> SET_DEVICE_STATE_FD #42 reply, 8 bytes: 0x100 NO_FD\n");
	// a failed GET_CONFIG is acknowledged, which is no configuration
	expect_u64(TRACE_REPLY, VU_GET_CONFIG, 1,
		   "-> GET_CONFIG #24 reply, 8 bytes: 01 00 00 00 00 00 00 00\n");
}

TEST(rings_are_described)
{
	const struct vu_vring_state base = {.index = 3, .num = 0x80010002};
	const struct vu_vring_addr addr = {.index = 1,
					   .flags = 1,
					   .desc = 0x7f0000001000,
					   .used = 0x7f0000003000,
					   .avail = 0x7f0000002000,
					   .log = 0x123456};

	expect(TRACE_REQUEST, VU_SET_VRING_BASE, &base, sizeof(base),
	       "<- SET_VRING_BASE #10, 8 bytes: ring 3, num 0x80010002\n");
	expect(TRACE_REPLY, VU_GET_VRING_BASE, &(struct vu_vring_state){0, 7}, sizeof(base),
	       "-> GET_VRING_BASE #11 reply, 8 bytes: ring 0, num 7\n");
	expect(TRACE_REQUEST, VU_SET_VRING_ADDR, &addr, sizeof(addr),
	       "<- SET_VRING_ADDR #9, 40 bytes: ring 1, flags 1, descriptors 0x7f0000001000, "
	       "available 0x7f0000002000, used 0x7f0000003000, log 0x123456\n");
	expect_u64(TRACE_REQUEST, VU_SET_VRING_KICK, 2 | VU_VRING_NOFD,
		   "<- SET_VRING_KICK #12, 8 bytes: ring 2, no fd\n");
	expect_u64(TRACE_REQUEST, VU_SET_VRING_CALL, 0x70000,
		   "<- SET_VRING_CALL #13, 8 bytes: ring 0x70000\n");
}

TEST(configuration_is_shown_as_far_as_it_came)
{
	struct vu_config config = {.offset = 2, .size = 3, .flags = 1, .data = {1, 2, 0xff, 4}};

	expect(TRACE_REQUEST, VU_GET_CONFIG, &config, 15,
	       "<- GET_CONFIG #24, 15 bytes: offset 2, size 3, flags 1\n");
	expect(TRACE_REPLY, VU_GET_CONFIG, &config, 15,
	       "-> GET_CONFIG #24 reply, 15 bytes: offset 2, size 3, flags 1: 01 02 ff\n");
	expect(TRACE_REQUEST, VU_SET_CONFIG, &config, 13,
	       "<- SET_CONFIG #25, 13 bytes: offset 2, size 3, flags 1: 01\n");
	config.size = UINT32_MAX;
	assert_non_null(strstr(traced(TRACE_REQUEST, header_of(VU_SET_CONFIG, 0, sizeof(config)),
				      &config, NULL, 0),
			       "size 0xffffffff, flags 1: 01 02 ff 04 00"));
}

TEST(log_inflight_and_device_state_are_described)
{
	const u64 log[] = {0x20000, 512};
	const struct {
		u64 size, offset;
		u16 queues, queue_size, padding[2];
	} inflight = {0x10000, 0, 4, 128, {0}};

	expect(TRACE_REQUEST, 6, log, sizeof(log),
	       "<- SET_LOG_BASE #6, 16 bytes: size 0x20000, offset 512\n");
	expect(TRACE_REPLY, VU_GET_INFLIGHT_FD, &inflight, sizeof(inflight),
	       "-> GET_INFLIGHT_FD #31 reply, 24 bytes: size 0x10000, offset 0, queues 4, "
	       "of size 128\n");
	expect(TRACE_REQUEST, VU_SET_INFLIGHT_FD, &inflight, 20,
	       "<- SET_INFLIGHT_FD #32, 20 bytes: size 0x10000, offset 0, queues 4, of size 128\n");
	expect(TRACE_REQUEST, VU_SET_DEVICE_STATE_FD, &(const u32[]){1, 0}, 8,
	       "<- SET_DEVICE_STATE_FD #42, 8 bytes: phase 0, direction 1 (load)\n");
	expect(TRACE_REQUEST, VU_SET_DEVICE_STATE_FD, &(const u32[]){2, 1}, 8,
	       "<- SET_DEVICE_STATE_FD #42, 8 bytes: phase 1, direction 2\n");
}

TEST(fds_are_told_apart)
{
	int pipe_fds[2], sockets[2];
	const char *text;
	char expected[1024];
	const char *path = unit_file("file", 5);

	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
	const int fds[] = {eventfd(0, EFD_CLOEXEC),
			   memfd_create("memory", MFD_CLOEXEC),
			   open(path, O_RDONLY | O_CLOEXEC),
			   open("/", O_RDONLY | O_CLOEXEC),
			   open("/dev/null", O_RDWR | O_CLOEXEC),
			   pipe_fds[0],
			   sockets[0],
			   -1};

	assert_int_equal(ftruncate(fds[1], 0x200000), 0);
	text = traced(TRACE_REQUEST, header_of(VU_SET_OWNER, 0, 0), NULL, fds, ARRAY_SIZE(fds));
	snprintf(expected, sizeof(expected),
		 "<- SET_OWNER #3, fd %d (eventfd or the like), fd %d (file without a name, "
		 "0x200000 bytes), fd %d (file, 0x5 bytes), fd %d (folder), fd %d (character "
		 "device), fd %d (pipe), fd %d (socket), fd -1 (closed)\n",
		 fds[0], fds[1], fds[2], fds[3], fds[4], fds[5], fds[6]);
	assert_string_equal(text, expected);
	for (size_t i = 0; i < ARRAY_SIZE(fds) - 1; i++)
		close(fds[i]);
	close(pipe_fds[1]);
	close(sockets[1]);
}

TEST(regions_have_a_line_each_with_their_fds)
{
	const struct vu_mem_table table = {
		.count = 2,
		.regions = {{0, 0x10000000, 0x7f0000000000, 0}, {0x100000000, 1, 2, 0x10000000}}};
	const size_t size = offsetof(struct vu_mem_table, regions) + 2 * sizeof(struct vu_region);
	const int fds[] = {-1, -1, -1};

	assert_string_equal(
		traced(TRACE_REQUEST, header_of(VU_SET_MEM_TABLE, VU_NEED_REPLY, size), &table, fds,
		       3),
		"<- SET_MEM_TABLE #5, need_reply, 72 bytes: 2 regions\n"
		"<- SET_MEM_TABLE #5, region 0: guest 0, size 0x10000000, front-end "
		"0x7f0000000000, offset 0, fd -1 (closed)\n"
		"<- SET_MEM_TABLE #5, region 1: guest 0x100000000, size 1, front-end 2, "
		"offset 0x10000000, fd -1 (closed), fd -1 (closed)\n");
	expect(TRACE_REQUEST, VU_ADD_MEM_REG,
	       &(struct vu_single_region){.region = {4096, 8192, 0x7f0000000000, 0}}, 40,
	       "<- ADD_MEM_REG #37, 40 bytes: guest 4096, size 8192, front-end 0x7f0000000000, "
	       "offset 0\n");
}

TEST(regions_that_did_not_come_are_not_shown)
{
	struct vu_mem_table table = {.count = UINT32_MAX};
	const char *text;
	unsigned lines = 0;

	expect(TRACE_REQUEST, VU_SET_MEM_TABLE, &table, 39,
	       "<- SET_MEM_TABLE #5, 39 bytes: 4294967295 regions\n");
	text = traced(TRACE_REQUEST, header_of(VU_SET_MEM_TABLE, 0, sizeof(table)), &table, NULL,
		      0);
	for (; *text; text = strchr(text, '\n') + 1)
		lines++;
	assert_int_equal(lines, 1 + 32);
}

TEST(as_many_fds_as_can_come_are_all_shown)
{
	int fds[253];
	const char *text;
	unsigned shown = 0;

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = -1;
	text = traced(TRACE_REQUEST, header_of(VU_SET_OWNER, 0, 0), NULL, fds, ARRAY_SIZE(fds));
	while ((text = strstr(text, "fd -1"))) {
		text++;
		shown++;
	}
	assert_int_equal(shown, ARRAY_SIZE(fds));
}

TEST(short_payloads_are_bytes)
{
	const u8 zeroes[40] = {0};

	expect(TRACE_REQUEST, VU_SET_FEATURES, zeroes, 7,
	       "<- SET_FEATURES #2, 7 bytes: 00 00 00 00 00 00 00\n");
	expect(TRACE_REQUEST, VU_SET_MEM_TABLE, zeroes, 4,
	       "<- SET_MEM_TABLE #5, 4 bytes: 00 00 00 00\n");
	for (size_t size = 1; size < sizeof(zeroes); size++)
		assert_non_null(strstr(traced(TRACE_REQUEST, header_of(VU_SET_VRING_ADDR, 0, size),
					      zeroes, NULL, 0),
				       "bytes: 00"));
}

// In memory that ends where the payload does, so that a byte more than that is noticed.
static void trace_anything(enum trace_kind kind, u32 request, size_t size, u64 *seed)
{
	u8 *payload = size ? malloc(size) : NULL;

	for (size_t i = 0; i < size; i++)
		payload[i] = unit_random(seed) % 3 ? (u8)unit_random(seed) : 0xff;
	traced(kind, header_of(request, unit_random(seed) & VU_NEED_REPLY, size), payload, NULL, 0);
	free(payload);
}

TEST(any_payload_of_any_size_is_printed_in_whole_lines)
{
	u64 seed = 1;

	for (u32 request = 0; request < 47; request++)
		for (size_t size = 0; size <= sizeof(union vhost_user_payload);
		     size += size < 48 ? 1 : 1 + unit_random(&seed) % 128) {
			trace_anything(TRACE_REQUEST, request, size, &seed);
			trace_anything(TRACE_REPLY, request, size, &seed);
		}
}

TEST(no_line_is_dropped)
{
	const char *text;
	unsigned lines = 0;

	unit_capture(STDERR_FILENO);
	for (unsigned i = 0; i < 300; i++)
		trace_message(TRACE_REQUEST, &(struct vhost_user_header){.request = 1}, NULL, NULL,
			      0);
	for (text = unit_captured(); *text; text = strchr(text, '\n') + 1)
		lines++;
	assert_int_equal(lines, 300);
}

#define TRACE_TEST(name) RUN_WITH(setup, name, NULL)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TRACE_TEST(nothing_is_printed_at_debug_level),
		TRACE_TEST(message_without_payload_is_a_name_and_a_number),
		TRACE_TEST(all_requests_of_the_specification_have_names),
		TRACE_TEST(unknown_requests_are_a_number_and_bytes),
		TRACE_TEST(features_have_names_and_the_rest_is_a_number),
		TRACE_TEST(all_feature_bits_have_room_in_a_line),
		TRACE_TEST(replies_are_answers_or_acknowledgements),
		TRACE_TEST(rings_are_described),
		TRACE_TEST(configuration_is_shown_as_far_as_it_came),
		TRACE_TEST(log_inflight_and_device_state_are_described),
		TRACE_TEST(fds_are_told_apart),
		TRACE_TEST(regions_have_a_line_each_with_their_fds),
		TRACE_TEST(regions_that_did_not_come_are_not_shown),
		TRACE_TEST(as_many_fds_as_can_come_are_all_shown),
		TRACE_TEST(short_payloads_are_bytes),
		TRACE_TEST(any_payload_of_any_size_is_printed_in_whole_lines),
		TRACE_TEST(no_line_is_dropped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
