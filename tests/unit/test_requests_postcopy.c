// SPDX-License-Identifier: Apache-2.0
// Tests of core/requests_postcopy.c and core/postcopy.c: a guest whose memory comes while rings run in it. The front-end's side of
// the userfaultfd is played here, by the kernel's rules.
#include "tests/unit/desk.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

#include "core/memory_fault.h"

#define PAGE UINT64_C(4096)

enum { WORD_NO = 1 };

static struct desk desk;
static int fault_event_fd;
static int userfault_fd; // as the front-end has it
static u64 bases[2];	 // where the two regions are mapped on the other side

static int setup(void **state)
{
	(void)state;
	desk_open(&desk, ECHO_AT_ONCE);
	fault_event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	userfault_fd = -1;
	desk.session.postcopy.fd = postcopy_open(); // or an error, which every test skips on
	return 0;
}

// As a server does that lets its front-end go.
static void abandon(void *context)
{
	(void)context;
	session_abandon_memory(&desk.session);
}

static int teardown(void **state)
{
	int error;

	(void)state;
	worker_when_late(abandon, NULL);
	session_reset(&desk.session); // before faults are caught no more
	worker_when_late(NULL, NULL);
	memory_fault_release();
	memory_fault_clear();
	close_fd(&userfault_fd);
	close_fd(&fault_event_fd);
	error = desk_close(&desk);
	return error;
}

// ---- what a front-end does ----

static void need_userfaultfd(void)
{
	if (desk.session.postcopy.fd < 0)
		UNIT_SKIP("no userfaultfd can be had");
}

static void advise(void)
{
	struct frontend_message reply;

	need_userfaultfd();
	// cmocka has a handler of its own, set behind setup
	assert_int_equal(memory_fault_catch(&desk.session.memory, fault_event_fd), 0);
	desk_accept_protocol_features(&desk);
	assert_int_equal(desk_send(&desk, VU_POSTCOPY_ADVISE, VU_VERSION, NULL, 0, NULL, 0), 0);
	assert_int_equal(frontend_receive(&desk.frontend, &reply), 0);
	assert_int_equal(reply.header.request, VU_POSTCOPY_ADVISE);
	assert_int_equal(reply.header.size, 0);
	assert_int_equal(reply.fd_count, 1);
	userfault_fd = reply.fds[0];
}

static int say_listen(void)
{
	return desk_send(&desk, VU_POSTCOPY_LISTEN, VU_VERSION, NULL, 0, NULL, 0);
}

static int say_end(void)
{
	return desk_send(&desk, VU_POSTCOPY_END, VU_VERSION, NULL, 0, NULL, 0);
}

static int give_word(u32 request, u64 word)
{
	return desk_send_u64(&desk, request, VU_VERSION, word);
}

static void share_table(void)
{
	struct vu_mem_table answer = {0};
	size_t len = offsetof(struct vu_mem_table, regions) + 2 * sizeof(answer.regions[0]);

	assert_int_equal(desk_say(&desk, DESK_MEMORY, 0), 0);
	desk_expect(&desk, VU_SET_MEM_TABLE, &answer, len);
	assert_int_equal(answer.count, 2);
	for (unsigned i = 0; i < 2; i++) {
		assert_true(answer.regions[i].guest_addr == desk.vm.regions[i].wire.guest_addr);
		assert_true(answer.regions[i].size == desk.vm.regions[i].wire.size);
		bases[i] = answer.regions[i].user_addr;
	}
}

static void share_slot(unsigned index)
{
	struct vu_single_region region = {.region = desk.vm.regions[index].wire};

	assert_int_equal(desk_send(&desk, VU_ADD_MEM_REG, VU_VERSION, &region, sizeof(region),
				   &desk.vm.regions[index].fd, 1),
			 0);
	desk_expect(&desk, VU_ADD_MEM_REG, &region, sizeof(region));
	assert_true(region.region.guest_addr == desk.vm.regions[index].wire.guest_addr);
	bases[index] = region.region.user_addr;
}

// All that a ring needs but memory.
static void set_up_ring(void)
{
	for (enum desk_word word = 0; word < DESK_WORDS; word++)
		if (word != DESK_MEMORY)
			assert_int_equal(desk_say(&desk, word, 0), 0);
}

static void arrive(void)
{
	advise();
	assert_int_equal(say_listen(), 0);
	set_up_ring();
	share_table();
	assert_int_equal(give_word(VU_SET_MEM_TABLE, 0), 0);
}

// ---- missing pages ----

// A slot alone on a page of the first region, which is missing on both sides from here on.
static struct echo_slot missing_slot(void)
{
	u64 addr = vm_memory_alloc_in(&desk.vm, 0, 2 * PAGE, PAGE);
	struct echo_slot slot = {.addr = addr, .sent = vm_memory_at(&desk.vm, addr, PAGE)};

	slot.answer = slot.sent + 1;
	return slot;
}

static off_t file_offset(u64 guest_addr)
{
	return (off_t)(guest_addr - desk.vm.regions[0].wire.guest_addr);
}

static void punch(u64 guest_addr)
{
	assert_int_equal(fallocate(desk.vm.regions[0].fd,
				   FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				   file_offset(guest_addr), PAGE),
			 0);
}

// Makes a request whose number has not come yet available, and waits until the device wants it.
static u64 ask_for_missing(struct echo_slot *slot)
{
	struct pollfd readable = {.fd = userfault_fd, .events = POLLIN};
	struct uffd_msg message;

	assert_true(echo_add(&desk.rings[0], slot, 0));
	punch(slot->addr);
	vm_ring_kick(&desk.rings[0]);
	assert_int_equal(poll(&readable, 1, 10000), 1);
	assert_int_equal(read(userfault_fd, &message, sizeof(message)), sizeof(message));
	assert_int_equal(message.event, UFFD_EVENT_PAGEFAULT);
	return message.arg.pagefault.address & ~(PAGE - 1);
}

// The page comes with this number in it.
static void bring(const struct echo_slot *slot, u64 fault, u32 number)
{
	struct uffdio_range range = {.start = fault, .len = PAGE};

	*slot->sent = number;
	assert_int_equal(ioctl(userfault_fd, UFFDIO_WAKE, &range), 0);
}

// A request is served when its number has come, where the front-end has been told that it is missing, and not before.
static void expect_late_answer(struct echo_slot *slot, u32 number)
{
	u64 served = echo_count(&desk.echo.served);
	u64 fault = ask_for_missing(slot);

	assert_true(fault == bases[0] + (u64)file_offset(slot->addr));
	assert_true(echo_count(&desk.echo.served) == served);
	bring(slot, fault, number);
	assert_int_equal(vm_ring_wait(&desk.rings[0], 10000), 0);
	assert_ptr_equal(echo_take(&desk.rings[0]), slot);
	assert_int_equal(*slot->answer, number);
}

// ---- the tests ----

TEST(postcopy_is_offered_only_with_a_userfaultfd)
{
	const u64 bit = VU_BIT(VU_PROTOCOL_F_PAGEFAULT);

	need_userfaultfd();
	assert_true(session_offered_protocol_features(&desk.session) & bit);
	close_fd(&desk.session.postcopy.fd);
	assert_false(session_offered_protocol_features(&desk.session) & bit);
}

TEST(listen_is_refused_without_advice_and_with_memory)
{
	desk_accept_protocol_features(&desk);
	assert_true(say_listen() < 0);
	advise();
	assert_int_equal(desk_say(&desk, DESK_MEMORY, 0), 0);
	desk_expect_no_reply(&desk);
	assert_true(say_listen() < 0);
}

TEST(ring_does_not_run_before_the_front_end_gives_its_word)
{
	advise();
	assert_int_equal(say_listen(), 0);
	set_up_ring();
	share_table();
	assert_false(session_is_running(&desk.session));
	assert_int_equal(give_word(VU_SET_MEM_TABLE, 0), 0);
	desk_expect_no_reply(&desk);
	assert_true(desk_ring_works(&desk, 0));
}

TEST(front_end_that_cannot_bring_memory_is_let_go)
{
	advise();
	assert_int_equal(say_listen(), 0);
	share_table();
	assert_true(give_word(VU_SET_MEM_TABLE, WORD_NO) < 0);
	assert_false(session_is_running(&desk.session));
}

TEST(word_without_postcopy_is_no_table)
{
	desk_accept_protocol_features(&desk);
	assert_true(give_word(VU_SET_MEM_TABLE, 0) < 0);
	assert_true(give_word(VU_ADD_MEM_REG, 0) < 0);
	assert_true(give_word(VU_REM_MEM_REG, 0) < 0);
}

TEST(missing_page_is_waited_for_and_then_served)
{
	struct echo_slot slot = missing_slot();

	arrive();
	expect_late_answer(&slot, 4711);
}

TEST(slots_come_one_by_one_with_one_word_for_all)
{
	struct echo_slot slot = missing_slot();

	advise();
	assert_int_equal(say_listen(), 0);
	set_up_ring();
	share_slot(1);
	share_slot(0);
	assert_false(session_is_running(&desk.session));
	assert_int_equal(give_word(VU_ADD_MEM_REG, 0), 0);
	expect_late_answer(&slot, 1);
}

TEST(slot_can_be_taken_away_with_a_word_behind)
{
	struct vu_single_region region = {.region = desk.vm.regions[1].wire};

	advise();
	assert_int_equal(say_listen(), 0);
	share_slot(0);
	share_slot(1);
	assert_int_equal(
		desk_send(&desk, VU_REM_MEM_REG, VU_VERSION, &region, sizeof(region), NULL, 0), 0);
	assert_int_equal(give_word(VU_REM_MEM_REG, 0), 0);
	assert_int_equal(desk.session.memory.count, 1);
}

TEST(region_that_is_refused_leaves_the_others)
{
	struct vu_single_region region = {.region = desk.vm.regions[0].wire};

	advise();
	assert_int_equal(say_listen(), 0);
	share_slot(0);
	assert_true(desk_send(&desk, VU_ADD_MEM_REG, VU_VERSION, &region, sizeof(region),
			      &desk.vm.regions[0].fd, 1) < 0);
	assert_int_equal(desk.session.memory.count, 1);
}

// What the kernel does not let us wait for would be read as zeroes.
TEST(memory_that_cannot_be_registered_is_not_shared)
{
	struct vu_single_region region = {.region = desk.vm.regions[0].wire};
	int userfaultfd;

	advise();
	assert_int_equal(say_listen(), 0);
	userfaultfd = desk.session.postcopy.fd;
	desk.session.postcopy.fd = fault_event_fd; // is none
	assert_true(desk_say(&desk, DESK_MEMORY, 0) < 0);
	assert_true(desk_send(&desk, VU_ADD_MEM_REG, VU_VERSION, &region, sizeof(region),
			      &desk.vm.regions[0].fd, 1) < 0);
	desk.session.postcopy.fd = userfaultfd;
	desk_expect_no_reply(&desk);
	assert_int_equal(desk.session.memory.count, 0);
	assert_false(desk.session.postcopy.awaited);
}

TEST(after_the_end_memory_is_like_any_other)
{
	struct echo_slot slot = missing_slot();
	struct frontend_message reply;

	arrive();
	assert_int_equal(say_end(), 0);
	desk_expect_u64(&desk, VU_POSTCOPY_END, 0);
	assert_true(desk_ring_works(&desk, 0));
	assert_true(echo_add(&desk.rings[0], &slot, 0));
	punch(slot.addr);
	vm_ring_kick(&desk.rings[0]);
	assert_int_equal(vm_ring_wait(&desk.rings[0], 10000), 0); // zeros, and nobody is asked
	assert_false(memory_fault_happened());
	// the userfaultfd has been used up
	assert_int_equal(desk_send(&desk, VU_POSTCOPY_ADVISE, VU_VERSION, NULL, 0, NULL, 0), 0);
	assert_int_equal(frontend_receive(&desk.frontend, &reply), 0);
	assert_int_equal(reply.fd_count, 0);
}

TEST(front_end_that_goes_leaves_no_worker_waiting)
{
	struct echo_slot slot = missing_slot();

	arrive();
	ask_for_missing(&slot);
	worker_when_late(abandon, NULL);
	session_reset(&desk.session);
	worker_when_late(NULL, NULL);
	assert_true(memory_fault_happened()); // so nothing that was read from it is believed
	assert_int_equal(desk.session.memory.count, 0);
	assert_int_equal(desk.session.postcopy.fd, -1);
	assert_true(desk.session.postcopy.given);
}

TEST(end_of_a_session_that_waits_for_nothing_takes_no_memory_away)
{
	arrive();
	assert_true(desk_ring_works(&desk, 0));
	worker_when_late(abandon, NULL);
	session_reset(&desk.session);
	worker_when_late(NULL, NULL);
	assert_false(memory_fault_happened());
}

TEST(table_that_comes_later_is_registered_too_and_waits_for_its_own_word)
{
	struct echo_slot slot = missing_slot();

	arrive();
	assert_true(desk_ring_works(&desk, 0));
	share_table();
	assert_false(session_is_running(&desk.session));
	assert_int_equal(give_word(VU_SET_MEM_TABLE, 0), 0);
	expect_late_answer(&slot, 2);
}

TEST(word_may_come_as_request_0)
{
	desk_accept_protocol_features(&desk);
	assert_true(give_word(0, 0) < 0);
	advise();
	assert_int_equal(say_listen(), 0);
	set_up_ring();
	share_slot(0);
	assert_int_equal(give_word(0, 0), 0);
	assert_true(desk_ring_works(&desk, 0));
	assert_int_equal(give_word(0, 0), 0);
}

TEST(worker_that_keeps_control_waiting_can_be_let_go)
{
	struct echo_slot slot = missing_slot();

	arrive();
	ask_for_missing(&slot);
	worker_when_late(abandon, NULL);
	assert_int_equal(desk_send_state(&desk, VU_GET_VRING_BASE, 0, 0), 0);
	worker_when_late(NULL, NULL);
	assert_true(memory_fault_happened());
}

#define POSTCOPY_TEST(name) RUN_WITH(setup, name, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		POSTCOPY_TEST(postcopy_is_offered_only_with_a_userfaultfd),
		POSTCOPY_TEST(listen_is_refused_without_advice_and_with_memory),
		POSTCOPY_TEST(ring_does_not_run_before_the_front_end_gives_its_word),
		POSTCOPY_TEST(front_end_that_cannot_bring_memory_is_let_go),
		POSTCOPY_TEST(word_without_postcopy_is_no_table),
		POSTCOPY_TEST(missing_page_is_waited_for_and_then_served),
		POSTCOPY_TEST(slots_come_one_by_one_with_one_word_for_all),
		POSTCOPY_TEST(slot_can_be_taken_away_with_a_word_behind),
		POSTCOPY_TEST(region_that_is_refused_leaves_the_others),
		POSTCOPY_TEST(memory_that_cannot_be_registered_is_not_shared),
		POSTCOPY_TEST(after_the_end_memory_is_like_any_other),
		POSTCOPY_TEST(front_end_that_goes_leaves_no_worker_waiting),
		POSTCOPY_TEST(end_of_a_session_that_waits_for_nothing_takes_no_memory_away),
		POSTCOPY_TEST(table_that_comes_later_is_registered_too_and_waits_for_its_own_word),
		POSTCOPY_TEST(word_may_come_as_request_0),
		POSTCOPY_TEST(worker_that_keeps_control_waiting_can_be_let_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
