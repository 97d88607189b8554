// SPDX-License-Identifier: Apache-2.0
// Tests of applets/blk/transfer.c and the engines: how bytes move, and what becomes of the host's errors.
#include "tests/unit/disk.h"

#include <endian.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "applets/blk/blk.h"
#include "core/process.h"

#define SECTOR UINT64_C(512)

enum { SECTORS = 4096, DISK_LEN = SECTORS * 512, MANY = 64, MOST_SEGMENTS = 1200 };

static struct unit_disk disk;
static const char *path;
static const char *engine = "sync";

static int use_sync(void **state)
{
	(void)state;
	engine = "sync";
	return 0;
}

static int use_uring(void **state)
{
	(void)state;
	engine = "uring";
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unit_disk_close(&disk);
	return 0;
}

static void skip_without_engine(void)
{
	if (strcmp(engine, "uring") == 0 && !unit_disk_has_uring())
		UNIT_SKIP("this host does not allow io_uring");
}

// `extra`: one more word of the command line, or NULL.
static void open_file(u64 len, const char *extra)
{
	skip_without_engine();
	path = unit_file("disk", len);
	UNIT_DISK_OPEN(&disk, NULL, "--path", path, "--engine", engine, extra);
}

// ---- any shape and alignment

// Moves `len` bytes in segments of `segment` bytes that begin `shift` bytes past an aligned address.
static int move(u32 type, u64 sector, u32 len, u32 segment, u32 shift)
{
	static struct vm_buffer buffers[MOST_SEGMENTS + 2];
	const struct vm_blk_slot *slot = &disk.disk.slot;
	unsigned count = 1;

	*slot->header = (struct vm_blk_header){.type = htole32(type), .sector = htole64(sector)};
	*slot->status = VM_BLK_NO_STATUS;
	buffers[0] = (struct vm_buffer){.addr = slot->header_addr, .len = 16};
	for (u32 at = 0; at < len; at += segment)
		buffers[count++] =
			(struct vm_buffer){.addr = slot->data_addr + shift + at,
					   .len = len - at < segment ? len - at : segment,
					   .write = type == VM_BLK_T_IN};
	buffers[count++] = (struct vm_buffer){.addr = slot->status_addr, .len = 1, .write = true};
	assert_in_range(unit_disk_chain(&disk, buffers, count), 0, len + 1);
	return *slot->status;
}

static void expect_read(u64 sector, u32 len, u32 segment, u32 shift)
{
	const u8 *data = disk.disk.slot.data + shift;

	memset(disk.disk.slot.data, 0, shift + len + 1);
	assert_int_equal(move(VM_BLK_T_IN, sector, len, segment, shift), VM_BLK_S_OK);
	for (u32 i = 0; i < len; i++)
		if (data[i] != unit_byte(sector * SECTOR + i))
			fail_msg("byte %u of %u in segments of %u at +%u is %#x", i, len, segment,
				 shift, data[i]);
	assert_int_equal(data[len], 0);
}

// Writes zeroes there, and the pattern back.
static void expect_written(u64 sector, u32 len, u32 segment, u32 shift)
{
	u8 *data = disk.disk.slot.data + shift;

	memset(disk.disk.slot.data, 0xff, shift + len + 1);
	memset(data, 0, len);
	assert_int_equal(move(VM_BLK_T_OUT, sector, len, segment, shift), VM_BLK_S_OK);
	unit_expect_zeroes(path, sector * SECTOR, len);
	unit_expect_pattern(path, sector * SECTOR - 512, 512);
	unit_expect_pattern(path, sector * SECTOR + len, 512);
	for (u32 i = 0; i < len; i++)
		data[i] = unit_byte(sector * SECTOR + i);
	assert_int_equal(move(VM_BLK_T_OUT, sector, len, segment, shift), VM_BLK_S_OK);
	unit_expect_pattern(path, sector * SECTOR, len);
}

static void expect_every_shape(u64 sector, u32 len)
{
	const u32 shapes[][2] = {{UINT32_MAX, 0}, {4096, 0}, {4096, 512}, {1024, 1},
				 {3000, 0},	  {1111, 3}, {4097, 0},	  {UINT32_MAX, 7}};

	for (unsigned i = 0; i < ARRAY_SIZE(shapes); i++) {
		expect_read(sector, len, shapes[i][0], shapes[i][1]);
		expect_written(sector, len, shapes[i][0], shapes[i][1]);
	}
}

TEST(bytes_move_whatever_the_segments_of_the_guest)
{
	open_file(DISK_LEN, NULL);
	expect_every_shape(8, 4096);
	expect_every_shape(64, 65536);
}

TEST(bytes_move_past_the_page_cache_whatever_the_segments_of_the_guest)
{
	open_file(DISK_LEN, "--direct");
	expect_every_shape(8, 4096);
	expect_every_shape(64, 65536);
}

TEST(durable_writes_move_whatever_the_segments_of_the_guest)
{
	open_file(DISK_LEN, "--cache=writethrough");
	expect_every_shape(8, 4096);
	expect_every_shape(64, 65536);
}

// More at once than one bounce buffer holds.
TEST(misaligned_transfer_larger_than_a_bounce_buffer_moves)
{
	const struct vm_options options = {.memory_size = 16 << 20, .queue_size = 256};
	const u32 len = 3 * BLK_BOUNCE_LEN + 4096;

	skip_without_engine();
	path = unit_file("disk", DISK_LEN);
	UNIT_DISK_OPEN(&disk, &options, "--path", path, "--engine", engine, "--direct");
	vm_blk_slot_init(&disk.disk.slot, &disk.vm.memory, len + 64);
	expect_read(8, len, 65536, 1);
	expect_written(8, len, 65536, 1);
}

TEST(chain_of_more_segments_than_one_call_takes_moves)
{
	const struct vm_options options = {.memory_size = 16 << 20, .queue_size = 2048};
	const char *const extra[] = {"--cache=writeback", "--cache=writethrough", "--direct"};
	const u32 len = MOST_SEGMENTS * 512;

	skip_without_engine();
	for (unsigned i = 0; i < ARRAY_SIZE(extra); i++) {
		path = unit_file("disk", DISK_LEN);
		UNIT_DISK_OPEN(&disk, &options, "--path", path, "--engine", engine,
			       "--queue-size=2048", extra[i]);
		vm_blk_slot_init(&disk.disk.slot, &disk.vm.memory, len + 64);
		expect_read(8, len, 512, 0);
		expect_written(8, len, 512, 0);
		unit_disk_close(&disk);
	}
}

// ---- many at once

static struct vm_blk_slot slots[MANY];

static void init_slots(u32 capacity)
{
	for (unsigned i = 0; i < MANY; i++)
		vm_blk_slot_init(&slots[i], &disk.vm.memory, capacity);
}

// Reads the sectors i * 8 for all slots at once; the data begin `shift` bytes past the slot's.
static void read_all_at_once(u32 shift)
{
	struct vm_ring *ring = disk.disk.ring;
	struct vm_completion completion;

	for (unsigned i = 0; i < MANY; i++) {
		memset(slots[i].data, 0, 4096);
		slots[i].data_addr += shift;
		assert_true(vm_blk_add(ring, &slots[i], VM_BLK_T_IN, i * UINT64_C(8), 4096) >= 0);
		slots[i].data_addr -= shift;
	}
	vm_ring_kick(ring);
	for (unsigned done = 0; done < MANY; done++) {
		assert_int_equal(vm_ring_wait(ring, 10000), 0);
		assert_int_equal(vm_ring_take(ring, &completion), 1);
		assert_int_equal(completion.len, 4097);
	}
	for (unsigned i = 0; i < MANY; i++) {
		assert_int_equal(*slots[i].status, VM_BLK_S_OK);
		for (u32 j = 0; j < 4096; j++)
			assert_int_equal(slots[i].data[shift + j], unit_byte(i * 4096 + j));
	}
}

static void open_for_many(const char *extra)
{
	const struct vm_options options = {.memory_size = 16 << 20, .queue_size = 256};

	skip_without_engine();
	path = unit_file("disk", DISK_LEN);
	UNIT_DISK_OPEN(&disk, &options, "--path", path, "--engine", engine, extra);
	init_slots(8192);
}

TEST(many_requests_in_flight_are_all_answered_with_their_own_bytes)
{
	open_for_many(NULL);
	for (unsigned round = 0; round < 5; round++)
		read_all_at_once(0);
}

TEST(more_misaligned_requests_than_bounce_buffers_wait_for_one)
{
	open_for_many("--direct");
	for (unsigned round = 0; round < 5; round++)
		read_all_at_once(1);
}

TEST(stopped_ring_has_answered_all_that_it_took_and_resumes)
{
	struct vm_completion completion;
	unsigned answered = 0;

	open_for_many("--direct");
	for (unsigned i = 0; i < MANY; i++)
		vm_blk_add(disk.disk.ring, &slots[i], VM_BLK_T_IN, i * UINT64_C(8), 4096);
	vm_ring_kick(disk.disk.ring);
	assert_int_equal(vm_stop(&disk.vm), 0);
	while (vm_ring_take(disk.disk.ring, &completion) == 1)
		answered++;
	assert_int_equal(answered, disk.vm.bases[0]);
	assert_int_equal(vm_resume(&disk.vm), 0);
	for (; answered < MANY; answered++) {
		assert_int_equal(vm_ring_wait(disk.disk.ring, 10000), 0);
		assert_int_equal(vm_ring_take(disk.disk.ring, &completion), 1);
	}
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(*slots[i].status, VM_BLK_S_OK);
}

// ---- durability

TEST(driver_that_turns_the_cache_off_and_on_keeps_its_data)
{
	const u32 writeback = offsetof(struct vm_blk_config, writeback);
	u8 bytes[512] = {0};

	open_file(DISK_LEN, NULL);
	for (u64 i = 0; i < 6; i++) {
		const u8 on = i % 2 == 0 ? 0 : 1;

		assert_int_equal(vm_disk_write(&disk.disk, 2 * i, bytes, 512), VM_BLK_S_OK);
		assert_int_equal(frontend_set_config(&disk.vm.frontend, writeback, 1, 0, &on), 0);
		assert_int_equal(unit_disk_config(&disk).writeback, on);
		assert_int_equal(vm_disk_flush(&disk.disk), VM_BLK_S_OK);
		unit_expect_zeroes(path, 2 * i * SECTOR, 512);
		unit_expect_pattern(path, 2 * i * SECTOR + 512, 512);
	}
}

// ---- errors of the host

TEST(file_that_became_shorter_fails_the_requests_beyond_its_end_alone)
{
	open_file(DISK_LEN, NULL);
	assert_int_equal(truncate(path, 1000 * SECTOR), 0);
	assert_int_equal(vm_disk_request(&disk.disk, VM_BLK_T_IN, 1000, 512), VM_BLK_S_IOERR);
	assert_int_equal(vm_disk_request(&disk.disk, VM_BLK_T_IN, 999, 1024), VM_BLK_S_IOERR);
	expect_read(992, 4096, UINT32_MAX, 0);
	assert_int_equal(vm_disk_flush(&disk.disk), VM_BLK_S_OK);
}

TEST(file_that_became_shorter_fails_direct_requests_too)
{
	open_file(DISK_LEN, "--direct");
	assert_int_equal(truncate(path, 1024 * SECTOR), 0);
	assert_int_equal(vm_disk_request(&disk.disk, VM_BLK_T_IN, 1024, 4096), VM_BLK_S_IOERR);
	assert_int_equal(move(VM_BLK_T_IN, 1024, 4096, 4096, 1), VM_BLK_S_IOERR);
	expect_read(512, 4096, UINT32_MAX, 0);
	expect_read(512, 4096, UINT32_MAX, 1);
}

TEST(write_beyond_the_limit_of_file_sizes_fails_and_the_disk_lives)
{
	struct rlimit limit, tight;
	u8 bytes[512] = {0};

	process_reset_signals(); // as main does
	open_file(DISK_LEN, NULL);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	tight = (struct rlimit){.rlim_cur = 1000 * SECTOR, .rlim_max = limit.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
	assert_int_equal(vm_disk_write(&disk.disk, 1000, bytes, 512), VM_BLK_S_IOERR);
	assert_int_equal(vm_disk_write(&disk.disk, 999, bytes, 512), VM_BLK_S_OK);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_int_equal(vm_disk_write(&disk.disk, 1000, bytes, 512), VM_BLK_S_OK);
}

// ---- guest memory that has gone

// Has the data begin where guest memory ends, from now on.
static void cut_memory(void)
{
	const struct vm_region *region = &disk.vm.memory.regions[0];
	const u64 len = region->wire.size - 8192;

	disk.disk.slot.data_addr = region->wire.guest_addr + len;
	assert_int_equal(ftruncate(region->fd, (off_t)len), 0);
}

// Aligned data are read by the kernel, others by us.
TEST(write_out_of_memory_that_has_gone_leaves_the_disk_as_it_is)
{
	for (u32 shift = 0; shift < 2; shift++) {
		open_file(DISK_LEN, "--direct");
		cut_memory();
		assert_int_equal(move(VM_BLK_T_OUT, 8, 4096, 4096, shift), VM_BLK_S_IOERR);
		unit_expect_pattern(path, 0, DISK_LEN);
		unit_disk_close(&disk);
	}
}

TEST(range_out_of_memory_that_has_gone_is_not_discarded)
{
	open_file(DISK_LEN, NULL);
	cut_memory();
	assert_int_equal(move(VM_BLK_T_DISCARD, 0, 16, 16, 0), VM_BLK_S_IOERR);
	unit_expect_pattern(path, 0, DISK_LEN);
}

// A process of its own in a mount namespace of its own, with a file system of 1 MiB on `folder`: 0 if it is there.
static int mount_small(const char *folder)
{
	if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
		return -errno;
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		return -errno;
	return mount("none", folder, "tmpfs", 0, "size=1m") == 0 ? 0 : -errno;
}

enum { CANNOT_MOUNT = 99 };

// Opens, in a new mount namespace, a sparse disk that is larger than its file system, and fills it.
static void fill_small_file_system(const char *folder)
{
	static u8 bytes[VM_DISK_BUFFER];
	char name[160];
	int fd, status = VM_BLK_S_OK;

	if (mount_small(folder) != 0)
		_exit(CANNOT_MOUNT);
	snprintf(name, sizeof(name), "%s/disk", folder);
	fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, 4 << 20) != 0)
		_exit(1);
	close(fd);
	UNIT_DISK_OPEN(&disk, NULL, "--path", name, "--engine", engine);
	for (u64 sector = 0; sector < 8192 && status == VM_BLK_S_OK; sector += 256)
		status = vm_disk_write(&disk.disk, sector, bytes, sizeof(bytes));
	if (status != VM_BLK_S_IOERR)
		_exit(2);
	if (vm_disk_discard(&disk.disk, 0, 1024) != VM_BLK_S_OK ||
	    vm_disk_write(&disk.disk, 8000, bytes, 4096) != VM_BLK_S_OK)
		_exit(3);
	unit_disk_close(&disk);
	_exit(0);
}

TEST(full_file_system_fails_writes_until_there_is_room_again)
{
	const char *folder = unit_path("small");
	int status = 0;
	pid_t pid;

	skip_without_engine();
	assert_true(mkdir(folder, 0700) == 0 || errno == EEXIST);
	pid = fork();
	if (pid == 0)
		fill_small_file_system(folder);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == CANNOT_MOUNT)
		UNIT_SKIP("no mount in a namespace of its own: not allowed here, or in a chroot");
	assert_int_equal(WEXITSTATUS(status), 0);
}

#define BLK_TEST(name) RUN_WITH(use_sync, name, teardown), RUN_WITH(use_uring, name, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BLK_TEST(bytes_move_whatever_the_segments_of_the_guest),
		BLK_TEST(bytes_move_past_the_page_cache_whatever_the_segments_of_the_guest),
		BLK_TEST(durable_writes_move_whatever_the_segments_of_the_guest),
		BLK_TEST(misaligned_transfer_larger_than_a_bounce_buffer_moves),
		BLK_TEST(chain_of_more_segments_than_one_call_takes_moves),
		BLK_TEST(many_requests_in_flight_are_all_answered_with_their_own_bytes),
		BLK_TEST(more_misaligned_requests_than_bounce_buffers_wait_for_one),
		BLK_TEST(stopped_ring_has_answered_all_that_it_took_and_resumes),
		BLK_TEST(driver_that_turns_the_cache_off_and_on_keeps_its_data),
		BLK_TEST(file_that_became_shorter_fails_the_requests_beyond_its_end_alone),
		BLK_TEST(file_that_became_shorter_fails_direct_requests_too),
		BLK_TEST(write_beyond_the_limit_of_file_sizes_fails_and_the_disk_lives),
		BLK_TEST(write_out_of_memory_that_has_gone_leaves_the_disk_as_it_is),
		BLK_TEST(range_out_of_memory_that_has_gone_is_not_discarded),
		BLK_TEST(full_file_system_fails_writes_until_there_is_room_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
