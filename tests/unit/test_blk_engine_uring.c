// SPDX-License-Identifier: Apache-2.0
// Tests of applets/blk/engine_uring.c: a kernel that takes nothing from the ring for a while.
#include "tests/unit/disk.h"

#include <endian.h>
#include <fcntl.h>
#include <string.h>

#include "applets/blk/blk.h"

enum { ENTRIES = 256 /* of the submission queue */, MORE = 40, MANY = ENTRIES + MORE, LEN = 4096 };
enum { DISK_LEN = MANY * LEN, SECTORS = LEN / 512 };

static struct unit_disk disk;
static const char *path;
static struct vm_blk_slot slots[MANY];
static int ring_fd, real_fd = -1;

static int teardown(void **state)
{
	(void)state;
	unit_disk_close(&disk);
	close_fd(&real_fd);
	return 0;
}

static void open_disk(void)
{
	const struct vm_options options = {.memory_size = 16 << 20, .queue_size = 1024};

	if (!unit_disk_has_uring())
		UNIT_SKIP("this host does not allow io_uring");
	path = unit_file("disk", DISK_LEN);
	UNIT_DISK_OPEN(&disk, &options, "--path", path, "--engine=uring", "--direct");
	for (unsigned i = 0; i < MANY; i++)
		vm_blk_slot_init(&slots[i], &disk.vm.memory, LEN);
	assert_int_equal(disk.device->own_fd_count, 1);
	ring_fd = disk.device->own_fds[0];
}

// What takes the ring's place is no ring, so that the kernel takes nothing.
static void refuse(void)
{
	int other = open("/dev/null", O_RDONLY | O_CLOEXEC);

	real_fd = dup(ring_fd);
	assert_true(other >= 0 && real_fd >= 0);
	assert_int_equal(dup2(other, ring_fd), ring_fd);
	close(other);
}

static void accept_again(void)
{
	assert_int_equal(dup2(real_fd, ring_fd), ring_fd);
	close_fd(&real_fd);
}

static void add(unsigned first, unsigned count, u32 type)
{
	for (unsigned i = first; i < first + count; i++)
		assert_true(vm_blk_add(disk.disk.ring, &slots[i], type, (u64)i * SECTORS, LEN) >=
			    0);
	vm_ring_kick(disk.disk.ring);
}

static void take(unsigned count)
{
	struct vm_completion completion;

	for (unsigned i = 0; i < count; i++) {
		assert_int_equal(vm_ring_wait(disk.disk.ring, 10000), 0);
		assert_int_equal(vm_ring_take(disk.disk.ring, &completion), 1);
	}
}

static void expect_read(unsigned first, unsigned count)
{
	for (unsigned i = first; i < first + count; i++) {
		assert_int_equal(*slots[i].status, VM_BLK_S_OK);
		for (unsigned j = 0; j < LEN; j++)
			assert_int_equal(slots[i].data[j], unit_byte((u64)i * LEN + j));
	}
}

TEST(what_finds_no_room_in_the_ring_is_done_without_it)
{
	open_disk();
	refuse();
	add(0, MANY, VM_BLK_T_IN);
	take(MORE);
	expect_read(ENTRIES, MORE);
	assert_int_equal(vm_disk_flush(&disk.disk), VM_BLK_S_OK);
	assert_int_equal(vm_disk_discard(&disk.disk, 0, 8), VM_BLK_S_OK);
	assert_int_equal(*slots[0].status, VM_BLK_NO_STATUS);
	accept_again();
	take(ENTRIES);
	unit_expect_zeroes(path, 0, LEN);
	expect_read(1, ENTRIES - 1);
}

TEST(what_the_kernel_does_not_take_now_it_takes_later)
{
	open_disk();
	for (unsigned round = 0; round < 3; round++) {
		refuse();
		add(0, ENTRIES / 2, VM_BLK_T_IN);
		add(ENTRIES / 2, ENTRIES / 2, VM_BLK_T_IN);
		accept_again();
		take(ENTRIES);
		expect_read(0, ENTRIES);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN_WITH(NULL, what_finds_no_room_in_the_ring_is_done_without_it, teardown),
		RUN_WITH(NULL, what_the_kernel_does_not_take_now_it_takes_later, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
