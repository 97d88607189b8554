// SPDX-License-Identifier: Apache-2.0
// Tests of core/requests.c and its handlers: whoever says a thing again, with its fds and its memory, costs no more than who says it once.
#include "tests/unit/desk.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

enum { FILE_LEN = 1 << 20, LOG_LEN = 1 << 16, TIMES = 3 };

static struct desk desk;
static int file, event_fd, sockets[2], pipes[2];

static int setup(void **state)
{
	(void)state;
	file = memfd_create("said-again", MFD_CLOEXEC);
	event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_true(file >= 0 && event_fd >= 0);
	assert_int_equal(ftruncate(file, FILE_LEN), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	desk_open(&desk, ECHO_AT_ONCE);
	desk_accept_protocol_features(&desk);
	return 0;
}

static int teardown(void **state)
{
	const int fds[] = {file, event_fd, sockets[0], sockets[1], pipes[0], pipes[1]};
	int result = desk_close(&desk);

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	return result;
}

// How many mappings of memfds this process has.
static unsigned mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[512];
	unsigned count = 0;

	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps))
		count += strstr(line, "/memfd:") != NULL;
	fclose(maps);
	return count;
}

// What there is for it to answer is read and dropped, with the fds in it.
static void drop_reply(void)
{
	struct frontend_message reply;

	if (!unit_is_readable(desk.frontend.fd))
		return;
	assert_int_equal(frontend_receive(&desk.frontend, &reply), 0);
	for (size_t i = 0; i < reply.fd_count; i++)
		close(reply.fds[i]);
}

struct statement {
	u64 request;
	const void *payload;
	size_t len;
	int fds[2];
	size_t fd_count;
	size_t kept; // of its fds, when it has been said once
};

static int say(const struct statement *what)
{
	int error = desk_send(&desk, (u32)what->request, VU_VERSION, what->payload, what->len,
			      what->fds, what->fd_count);

	drop_reply();
	return error;
}

static void expect_no_more_the_second_time(const struct statement *what)
{
	unsigned before = unit_open_fds(), maps;

	assert_int_equal(say(what), 0);
	maps = mappings();
	for (unsigned i = 0; i < TIMES; i++) {
		assert_int_equal(unit_open_fds(), before + what->kept);
		assert_int_equal(mappings(), maps);
		assert_int_equal(say(what), 0);
	}
}

TEST(message_with_fds_can_be_said_again)
{
	static const struct vhost_user_log log = {.size = LOG_LEN};
	static const u64 ring;
	struct vhost_user_inflight inflight = {
		.size = session_inflight_len(&desk.session, 1), .queue_count = 1, .queue_size = 16};
	const struct statement statements[] = {
		{VHOST_USER_SET_LOG_FD, NULL, 0, {event_fd}, 1, 1},
		{VHOST_USER_SET_LOG_BASE, &log, sizeof(log), {file}, 1, 0},
		{VHOST_USER_SET_INFLIGHT_FD, &inflight, sizeof(inflight), {file}, 1, 0},
		{VHOST_USER_GET_INFLIGHT_FD, &inflight, sizeof(inflight), {-1}, 0, 0},
		{VU_SET_BACKEND_REQ_FD, NULL, 0, {sockets[0]}, 1, 1},
		{VU_SET_VRING_KICK, &ring, sizeof(ring), {event_fd}, 1, 1},
		{VU_SET_VRING_CALL, &ring, sizeof(ring), {event_fd}, 1, 1},
		{VU_SET_VRING_ERR, &ring, sizeof(ring), {event_fd}, 1, 1},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(statements); i++)
		expect_no_more_the_second_time(&statements[i]);
}

// The new one takes the place of the one that is under way, and none is left when that is given up.
TEST(transfer_can_be_begun_again)
{
	static const struct vu_transfer load = {.direction = VU_TRANSFER_LOAD};
	const struct statement begin = {
		VU_SET_DEVICE_STATE_FD, &load, sizeof(load), {pipes[0]}, 1, 1};
	unsigned before = unit_open_fds();

	expect_no_more_the_second_time(&begin);
	assert_int_equal(desk_send(&desk, VU_RESET_DEVICE, VU_VERSION, NULL, 0, NULL, 0), 0);
	assert_int_equal(unit_open_fds(), before);
}

TEST(memory_table_can_be_said_again)
{
	struct vu_mem_table table = {.count = desk.vm.count};
	struct statement share = {VU_SET_MEM_TABLE,
				  &table,
				  offsetof(struct vu_mem_table, regions) +
					  2 * sizeof(table.regions[0]),
				  {desk.vm.regions[0].fd, desk.vm.regions[1].fd},
				  2,
				  0};

	assert_int_equal(table.count, 2);
	for (unsigned i = 0; i < 2; i++)
		table.regions[i] = desk.vm.regions[i].wire;
	expect_no_more_the_second_time(&share);
}

// A region that is there already is refused; that leaves nothing, and the one that is there can go.
TEST(memory_slot_can_be_said_again)
{
	struct vu_single_region region = {.region = desk.vm.regions[0].wire};
	struct statement add = {VU_ADD_MEM_REG,		 &region, sizeof(region),
				{desk.vm.regions[0].fd}, 1,	  0};
	struct statement remove = add;
	unsigned fds = unit_open_fds(), maps = mappings();

	remove.request = VU_REM_MEM_REG;
	for (unsigned round = 0; round < TIMES; round++) {
		assert_int_equal(say(&add), 0);
		assert_int_equal(mappings(), maps + 1);
		assert_true(say(&add) < 0);
		assert_int_equal(mappings(), maps + 1);
		assert_int_equal(say(&remove), 0);
		assert_int_equal(mappings(), maps);
		assert_true(say(&remove) < 0);
		assert_int_equal(unit_open_fds(), fds);
	}
}

// Whatever was said, nothing of it is left when the front-end goes; desk_close counts the fds.
TEST(nothing_is_left_of_what_was_said_often)
{
	unsigned maps = mappings();

	message_with_fds_can_be_said_again(state);
	memory_table_can_be_said_again(state);
	transfer_can_be_begun_again(state);
	session_reset(&desk.session);
	assert_int_equal(mappings(), maps);
}

#define FDS_TEST(name) RUN_WITH(setup, name, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FDS_TEST(message_with_fds_can_be_said_again),
		FDS_TEST(transfer_can_be_begun_again),
		FDS_TEST(memory_table_can_be_said_again),
		FDS_TEST(memory_slot_can_be_said_again),
		FDS_TEST(nothing_is_left_of_what_was_said_often),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
