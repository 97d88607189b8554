// SPDX-License-Identifier: Apache-2.0
// Tests of core/requests_track.c: the region of chains in flight together with all that has a driver or a ring begin anew.
#include "tests/unit/desk.h"

#include <string.h>
#include <sys/mman.h>

enum { REGION_LEN = 1 << 16, WAIT_MS = 10000 };

static struct desk desk;
static int file; // the region of a process before
static struct vu_inflight_split *region;
static struct echo_slot second;

static int setup_order(enum echo_order order)
{
	desk_open(&desk, order);
	desk_accept_protocol_features(&desk);
	echo_slot_init(&second, &desk.vm);
	file = memfd_create("left", MFD_CLOEXEC);
	assert_int_equal(ftruncate(file, REGION_LEN), 0);
	region = mmap(NULL, REGION_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	assert_true(region != MAP_FAILED);
	return 0;
}

static int setup(void **state)
{
	(void)state;
	return setup_order(ECHO_AT_ONCE);
}

static int setup_later(void **state)
{
	(void)state;
	return setup_order(ECHO_LATER);
}

static int teardown(void **state)
{
	(void)state;
	munmap(region, REGION_LEN);
	close(file);
	return desk_close(&desk);
}

// The region says that a process before has answered `used` chains, and has taken `count` others. A chain is two descriptors.
static void leave(u16 used, unsigned first, unsigned count)
{
	*region = (struct vu_inflight_split){.version = 1, .desc_num = DESK_SIZE, .used_idx = used};
	for (size_t i = 0; i < count; i++) {
		region->desc[2 * (first + i)].inflight = 1;
		region->desc[2 * (first + i)].counter = i;
	}
}

static unsigned marked(const struct vu_inflight_split *in)
{
	unsigned count = 0;

	for (unsigned i = 0; i < DESK_SIZE; i++)
		count += in->desc[i].inflight;
	return count;
}

static void share_file(void)
{
	const struct vhost_user_inflight all = {
		.size = REGION_LEN, .queue_count = 1, .queue_size = DESK_SIZE};

	assert_int_equal(desk_send(&desk, VHOST_USER_SET_INFLIGHT_FD, VU_VERSION, &all, sizeof(all),
				   &file, 1),
			 0);
}

// What the front-end gets of us.
static struct vhost_user_inflight get_ours(int *fd)
{
	const struct vhost_user_inflight one = {.queue_count = 1, .queue_size = DESK_SIZE};
	struct vhost_user_inflight made;
	struct frontend_message reply;

	assert_int_equal(desk_send(&desk, VHOST_USER_GET_INFLIGHT_FD, VU_VERSION, &one, sizeof(one),
				   NULL, 0),
			 0);
	assert_int_equal(frontend_receive(&desk.frontend, &reply), 0);
	assert_int_equal(reply.fd_count, 1);
	memcpy(&made, &reply.payload, sizeof(made));
	*fd = reply.fds[0];
	return made;
}

static void get_and_share_ours(void)
{
	int fd;
	struct vhost_user_inflight ours = get_ours(&fd);

	assert_int_equal(desk_send(&desk, VHOST_USER_SET_INFLIGHT_FD, VU_VERSION, &ours,
				   sizeof(ours), &fd, 1),
			 0);
	close(fd);
}

static void get_only(void)
{
	int fd;

	get_ours(&fd);
	close(fd);
}

static const struct vu_inflight_split *shared(void)
{
	return (const void *)desk.session.inflight.bytes;
}

// The driver has shown two chains, which a process before has taken.
static void add_two(void)
{
	assert_true(echo_add(&desk.rings[0], &desk.slots[0], 1));
	assert_true(echo_add(&desk.rings[0], &second, 2));
	vm_ring_show(&desk.rings[0]);
}

static void start_at(u32 base)
{
	for (enum desk_word word = DESK_FEATURES; word < DESK_WORDS; word++)
		assert_int_equal(word == DESK_BASE
					 ? desk_send_state(&desk, VU_SET_VRING_BASE, 0, base)
					 : desk_say(&desk, word, 0),
				 0);
}

static void expect_answers(unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		assert_int_equal(vm_ring_wait(&desk.rings[0], WAIT_MS), 0);
		assert_non_null(echo_take(&desk.rings[0]));
	}
}

static void expect_nothing_else(unsigned served)
{
	assert_true(desk_ring_works(&desk, 0));
	assert_int_equal(echo_count(&desk.echo.served), served + 1);
	assert_int_equal(desk_send_state(&desk, VU_GET_VRING_BASE, 0, 0), 0);
	desk_expect(&desk, VU_GET_VRING_BASE, &(struct vu_vring_state){0},
		    sizeof(struct vu_vring_state));
	assert_int_equal(marked(shared()), 0);
	assert_int_equal(shared()->version, 1);
	assert_int_equal(shared()->used_idx, desk.rings[0].used_idx);
}

TEST(what_is_left_is_taken_up)
{
	add_two();
	leave(0, 0, 2);
	share_file();
	start_at(2);
	expect_answers(2);
	expect_nothing_else(2);
}

// The front-end may know a base of long ago; the region and the used index tell the next chain.
TEST(base_that_is_not_the_next_chain_is_mended_by_the_region)
{
	add_two();
	desk.rings[0].used->idx = 1; // the first has been answered by the process before
	desk.rings[0].used_idx = 1;
	leave(1, 1, 1);
	share_file();
	start_at(0);
	expect_answers(1);
	expect_nothing_else(1);
}

TEST(reset_device_has_what_was_left_forgotten)
{
	add_two();
	leave(0, 0, 2);
	share_file();
	assert_int_equal(desk_send(&desk, VU_RESET_DEVICE, VU_VERSION, NULL, 0, NULL, 0), 0);
	vm_ring_reset(&desk.rings[0]);
	desk_say_all(&desk, 0);
	expect_nothing_else(0);
}

TEST(reset_device_while_a_ring_runs_begins_the_region_anew)
{
	get_and_share_ours();
	desk_say_all(&desk, 0);
	for (unsigned i = 0; i < 3; i++)
		assert_true(desk_ring_works(&desk, 0));
	assert_int_equal(desk_send(&desk, VU_RESET_DEVICE, VU_VERSION, NULL, 0, NULL, 0), 0);
	vm_ring_reset(&desk.rings[0]);
	desk_say_all(&desk, 0);
	expect_nothing_else(3);
}

// A second question makes the region zero; the ring that runs with it says anew what it is.
TEST(region_that_is_asked_for_again_while_a_ring_runs_is_begun_anew)
{
	get_and_share_ours();
	desk_say_all(&desk, 0);
	assert_true(desk_ring_works(&desk, 0));
	get_only();
	assert_true(desk.session.queues[0].running);
	assert_int_equal(shared()->version, 1);
	assert_int_equal(shared()->desc_num, DESK_SIZE);
	assert_int_equal(shared()->used_idx, 1);
	expect_nothing_else(1);
}

TEST(question_for_a_region_leaves_what_is_left_in_another)
{
	add_two();
	leave(0, 0, 2);
	share_file();
	get_only();
	start_at(2);
	expect_answers(2);
	expect_nothing_else(2);
}

// As QEMU does after a guest has rebooted while no process served it: it asks for a region anew.
TEST(driver_that_is_new_gets_a_new_region)
{
	get_and_share_ours();
	desk_say_all(&desk, 0);
	for (unsigned i = 0; i < 3; i++)
		assert_true(desk_ring_works(&desk, 0));
	session_reset(&desk.session);
	desk_accept_protocol_features(&desk);
	vm_ring_reset(&desk.rings[0]);
	get_and_share_ours();
	assert_int_equal(shared()->version, 0);
	desk_say_all(&desk, 0);
	expect_nothing_else(3);
}

// With nothing left in it, the region says nothing of where a driver is that began anew between two processes.
TEST(driver_that_is_new_finds_an_old_region_with_nothing_in_it)
{
	leave(7, 0, 0);
	share_file();
	desk_say_all(&desk, 0);
	expect_nothing_else(0);
}

// It took a chain that is not answered, and broke on the next one.
TEST(broken_ring_forgets_what_it_had_in_flight_when_it_is_set_up_anew)
{
	get_and_share_ours();
	desk_say_all(&desk, 0);
	assert_true(echo_add(&desk.rings[0], &desk.slots[0], 1));
	vm_ring_show(&desk.rings[0]);
	vm_ring_notify(&desk.rings[0]);
	echo_wait(&desk.echo.taken, 1);
	assert_int_equal(marked(shared()), 1);
	desk.rings[0].avail->idx = (u16)(desk.rings[0].avail->idx + 1000);
	vm_ring_notify(&desk.rings[0]);
	unit_wait_readable(desk.rings[0].err_fd);
	vm_ring_eventfd_read(desk.rings[0].err_fd);
	assert_int_equal(desk_send_state(&desk, VU_GET_VRING_BASE, 0, 0), 0);
	desk_expect(&desk, VU_GET_VRING_BASE, &(struct vu_vring_state){0},
		    sizeof(struct vu_vring_state));
	vm_ring_reset(&desk.rings[0]);
	memset((void *)(uintptr_t)shared(), 0xff, sizeof(*shared())); // it is not looked at
	desk_say_all(&desk, 0);
	assert_false(unit_is_readable(desk.rings[0].err_fd));
	assert_int_equal(shared()->version, 1);
	assert_int_equal(marked(shared()), 0);
	assert_int_equal(shared()->used_idx, 0);
}

#define INFLIGHT_TEST(name) RUN_WITH(setup, name, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		INFLIGHT_TEST(what_is_left_is_taken_up),
		INFLIGHT_TEST(base_that_is_not_the_next_chain_is_mended_by_the_region),
		INFLIGHT_TEST(reset_device_has_what_was_left_forgotten),
		INFLIGHT_TEST(reset_device_while_a_ring_runs_begins_the_region_anew),
		INFLIGHT_TEST(region_that_is_asked_for_again_while_a_ring_runs_is_begun_anew),
		INFLIGHT_TEST(question_for_a_region_leaves_what_is_left_in_another),
		INFLIGHT_TEST(driver_that_is_new_gets_a_new_region),
		INFLIGHT_TEST(driver_that_is_new_finds_an_old_region_with_nothing_in_it),
		RUN_WITH(setup_later,
			 broken_ring_forgets_what_it_had_in_flight_when_it_is_set_up_anew,
			 teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
