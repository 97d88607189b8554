// SPDX-License-Identifier: Apache-2.0
// Tests of core/requests_track.c: the dirty log and the region of chains in flight, as messages say them.
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "tests/unit/desk.h"

enum { LOG_LEN = 1 << 18, FILE_LEN = 1 << 20, RING_LEN = 128 }; // a log of 8 GiB of guest memory

static struct desk desk;
static int file; // large enough for all that is mapped here

static int setup(void **state)
{
	(void)state;
	desk_open(&desk, ECHO_AT_ONCE);
	desk_accept_protocol_features(&desk);
	file = memfd_create("tracked", MFD_CLOEXEC);
	assert_true(file >= 0);
	assert_int_equal(ftruncate(file, FILE_LEN), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	close(file);
	return desk_close(&desk);
}

static int send_log(u64 len, u64 offset, int fd)
{
	const struct vhost_user_log log = {.size = len, .offset = offset};

	return desk_send(&desk, VHOST_USER_SET_LOG_BASE, VU_VERSION, &log, sizeof(log), &fd, 1);
}

static void send_good_log(u64 offset)
{
	struct vhost_user_log answer;

	assert_int_equal(send_log(LOG_LEN, offset, file), 0);
	desk_expect(&desk, VHOST_USER_SET_LOG_BASE, &answer, sizeof(answer));
	assert_true(answer.size == LOG_LEN && answer.offset == offset);
}

static bool any_set(u64 offset)
{
	u8 bytes[LOG_LEN];

	assert_int_equal(pread(file, bytes, sizeof(bytes), (off_t)offset), sizeof(bytes));
	for (size_t i = 0; i < sizeof(bytes); i++)
		if (bytes[i])
			return true;
	return false;
}

static int set_logging(bool on)
{
	return desk_send_u64(&desk, VU_SET_FEATURES, VU_VERSION,
			     DESK_RING_FEATURES | (on ? BIT64(VHOST_F_LOG_ALL) : 0));
}

// ---- the dirty log ----

TEST(log_is_answered_with_its_description_and_written_only_if_wanted)
{
	desk_say_all(&desk, 0);
	send_good_log(0);
	assert_true(desk_ring_works(&desk, 0));
	assert_false(any_set(0));
	assert_int_equal(set_logging(true), 0);
	assert_true(desk_ring_works(&desk, 0));
	assert_true(any_set(0));
}

TEST(log_is_replaced_while_a_ring_runs)
{
	desk_say_all(&desk, 0);
	send_good_log(0);
	assert_int_equal(set_logging(true), 0);
	send_good_log(LOG_LEN);
	assert_true(desk_ring_works(&desk, 0));
	assert_false(any_set(0));
	assert_true(any_set(LOG_LEN));
}

TEST(logging_can_be_turned_off_while_a_ring_runs)
{
	desk_say_all(&desk, 0);
	send_good_log(0);
	assert_int_equal(set_logging(true), 0);
	assert_int_equal(set_logging(false), 0);
	assert_true(desk_ring_works(&desk, 0));
	assert_false(any_set(0));
}

TEST(log_that_cannot_be_mapped_is_refused_and_the_old_one_stays)
{
	desk_say_all(&desk, 0);
	send_good_log(0);
	assert_int_equal(set_logging(true), 0);
	assert_true(send_log(0, 0, file) < 0);
	assert_true(send_log(UINT64_MAX, 0, file) < 0);
	assert_true(send_log(LOG_LEN, UINT64_MAX, file) < 0);
	assert_true(send_log(LOG_LEN, FILE_LEN, file) < 0);
	assert_true(send_log(LOG_LEN, 0, desk.rings[0].kick_fd) < 0);
	assert_true(desk_ring_works(&desk, 0));
	assert_true(any_set(0));
}

TEST(log_eventfd_is_signalled_when_something_was_logged)
{
	int event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	desk_say_all(&desk, 0);
	send_good_log(0);
	assert_int_equal(desk_send(&desk, VHOST_USER_SET_LOG_FD, VU_VERSION, NULL, 0, &event_fd, 1),
			 0);
	assert_true(desk_ring_works(&desk, 0));
	assert_false(unit_is_readable(event_fd));
	assert_int_equal(set_logging(true), 0);
	assert_true(desk_ring_works(&desk, 0));
	unit_wait_readable(event_fd);
	assert_true(desk_send(&desk, VHOST_USER_SET_LOG_FD, VU_VERSION, NULL, 0, &file, 1) < 0);
	close(event_fd);
}

// ---- the region of chains in flight ----

static int send_inflight(u32 request, struct vhost_user_inflight inflight, const int *fd)
{
	return desk_send(&desk, request, VU_VERSION, &inflight, sizeof(inflight), fd, fd ? 1 : 0);
}

static int share(u64 len, u64 offset, u16 queues, u16 size)
{
	const struct vhost_user_inflight inflight = {
		.size = len, .offset = offset, .queue_count = queues, .queue_size = size};

	return send_inflight(VHOST_USER_SET_INFLIGHT_FD, inflight, &file);
}

static int ask(u16 queues, u16 size)
{
	const struct vhost_user_inflight inflight = {.queue_count = queues, .queue_size = size};

	return send_inflight(VHOST_USER_GET_INFLIGHT_FD, inflight, NULL);
}

TEST(ring_keeps_its_chains_in_the_region_that_was_shared)
{
	const u64 len = session_inflight_len(&desk.session, DESK_RINGS);
	u8 head[INFLIGHT_HEAD_LEN];

	assert_int_equal(share(len, 4096, DESK_RINGS, RING_LEN), 0);
	desk_say_all(&desk, 1);
	assert_true(desk_ring_works(&desk, 1));
	assert_int_equal(pread(file, head, sizeof(head), (off_t)(4096 + len / DESK_RINGS)),
			 sizeof(head));
	assert_int_equal(head[8], 1);	       // the version
	assert_int_equal(head[10], DESK_SIZE); // the ring's size
}

TEST(region_can_be_replaced_while_a_ring_runs)
{
	const u64 len = session_inflight_len(&desk.session, DESK_RINGS);

	desk_say_all(&desk, 0);
	for (u64 i = 0; i < 4; i++) {
		assert_int_equal(share(len, i % 2 * 65536, DESK_RINGS, RING_LEN), 0);
		assert_true(desk_ring_works(&desk, 0));
	}
}

TEST(region_that_does_not_hold_the_rings_it_names_is_refused)
{
	const u64 len = session_inflight_len(&desk.session, 1);

	assert_true(share(inflight_least_len(RING_LEN, false) - 8, 0, 1, RING_LEN) < 0);
	assert_true(share(len, 0, 0, RING_LEN) < 0);
	assert_true(share(len, 0, DESK_RINGS + 1, RING_LEN) < 0);
	assert_true(share(len, 0, 1, 0) < 0);
	assert_true(share(len, 0, 1, UINT16_MAX) < 0);
	assert_true(share(len, 4, 1, RING_LEN) < 0);
	assert_true(share(len, FILE_LEN, 1, RING_LEN) < 0);
	assert_true(share(UINT64_MAX & ~(u64)7, 8, 1, RING_LEN) < 0);
	assert_int_equal(share(len, 0, 1, RING_LEN), 0);
}

TEST(region_of_more_than_there_are_rings_or_entries_is_not_made)
{
	assert_true(ask(0, RING_LEN) < 0);
	assert_true(ask(DESK_RINGS + 1, RING_LEN) < 0);
	assert_true(ask(1, 0) < 0);
	assert_true(ask(1, UINT16_MAX) < 0);
	desk_expect_no_reply(&desk);
}

TEST(region_that_is_made_cannot_be_resized)
{
	struct stat made;

	assert_int_equal(fstat(desk.session.inflight_fd, &made), 0);
	assert_true((u64)made.st_size >= session_inflight_len(&desk.session, DESK_RINGS));
	assert_true(ftruncate(desk.session.inflight_fd, 0) != 0);
	assert_true(ftruncate(desk.session.inflight_fd, made.st_size + 1) != 0);
}

TEST(region_that_is_made_comes_with_its_fd_and_works_when_given_back)
{
	struct frontend_message reply;
	struct vhost_user_inflight made;

	assert_int_equal(ask(DESK_RINGS, RING_LEN), 0);
	assert_int_equal(frontend_receive(&desk.frontend, &reply), 0);
	assert_int_equal(reply.header.size, sizeof(made));
	memcpy(&made, &reply.payload, sizeof(made));
	assert_int_equal(reply.fd_count, 1);
	assert_int_equal(send_inflight(VHOST_USER_SET_INFLIGHT_FD, made, &reply.fds[0]), 0);
	close(reply.fds[0]);
	desk_say_all(&desk, 2);
	assert_true(desk_ring_works(&desk, 2));
}

TEST(session_forgets_both_when_the_front_end_goes)
{
	send_good_log(0);
	assert_int_equal(share(session_inflight_len(&desk.session, 1), 0, 1, RING_LEN), 0);
	session_reset(&desk.session);
	assert_false(dirty_log_is_open(&desk.session.log));
	assert_null(desk.session.inflight.bytes);
	assert_null(desk.session.queues[0].vring.inflight.region);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN_WITH(setup, log_is_answered_with_its_description_and_written_only_if_wanted,
			 teardown),
		RUN_WITH(setup, log_is_replaced_while_a_ring_runs, teardown),
		RUN_WITH(setup, logging_can_be_turned_off_while_a_ring_runs, teardown),
		RUN_WITH(setup, log_that_cannot_be_mapped_is_refused_and_the_old_one_stays,
			 teardown),
		RUN_WITH(setup, log_eventfd_is_signalled_when_something_was_logged, teardown),
		RUN_WITH(setup, ring_keeps_its_chains_in_the_region_that_was_shared, teardown),
		RUN_WITH(setup, region_can_be_replaced_while_a_ring_runs, teardown),
		RUN_WITH(setup, region_that_does_not_hold_the_rings_it_names_is_refused, teardown),
		RUN_WITH(setup, region_of_more_than_there_are_rings_or_entries_is_not_made,
			 teardown),
		RUN_WITH(setup, region_that_is_made_cannot_be_resized, teardown),
		RUN_WITH(setup, region_that_is_made_comes_with_its_fd_and_works_when_given_back,
			 teardown),
		RUN_WITH(setup, session_forgets_both_when_the_front_end_goes, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
