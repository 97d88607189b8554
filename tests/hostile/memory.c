// SPDX-License-Identifier: Apache-2.0
//
// M: memory tables and regions.

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include "tests/hostile/hostile.h"

enum {
	HUGE_PAGE = 2 << 20, /* at least: the file is cut in pages of the kernel's own size */
	HOLE_LEN = 1 << 30,
};

#define PAGE UINT64_C(4096)
#define FILE_LEN (64 * PAGE)
/* Where memory is that goes away. */
#define HOLE (UINT64_C(1) << 40)

/* Refused in a table of its own and behind a good region, and as a slot. */
static void refuse_region(const struct target *target, const struct vu_region *region, int fd)
{
	const struct vu_single_region single = {.region = *region};
	const struct vu_mem_table alone = {.count = 1, .regions[0] = *region};
	int good = memory_file(PAGE);
	const int fds[] = {good, fd};
	const struct vu_mem_table second = {
		.count = 2, .regions = {{UINT64_C(3) << 40, PAGE, UINT64_C(3) << 40, 0}, *region}};

	expect_refused_or_closed(target, MESSAGE_FDS(VU_SET_MEM_TABLE, &alone, 40, &fd, 1));
	expect_refused_or_closed(target, MESSAGE_FDS(VU_SET_MEM_TABLE, &second, 72, fds, 2));
	expect_refused_or_closed(target,
				 MESSAGE_FDS(VU_ADD_MEM_REG, &single, sizeof(single), &fd, 1));
	close(good);
}

static void m1(struct target *target)
{
	struct vu_mem_table table = {.count = 0};
	struct frontend frontend;
	int fds[32];

	for (uint64_t i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = memory_file(PAGE);
		table.regions[i] = (struct vu_region){i << 20, PAGE, i << 20, 0};
	}
	meet(target, &frontend, EVERYTHING);
	for (uint32_t count = 1; count <= ARRAY_SIZE(fds); count++) {
		table.count = count;
		expect_accepted(&frontend,
				MESSAGE_FDS(VU_SET_MEM_TABLE, &table, 8 + 32 * count, fds, count));
	}
	frontend_close(&frontend);
	for (size_t i = 0; i < 3; i++) {
		table.count = ((const uint32_t[]){0, 33, 0xffffffff})[i];
		expect_refused_or_closed(
			target, MESSAGE_FDS(VU_SET_MEM_TABLE, &table, sizeof(table), fds, 32));
		expect_refused_or_closed(target, MESSAGE(VU_SET_MEM_TABLE, &table, 8));
	}
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
}

static void m2(struct target *target)
{
	int fd = memory_file(PAGE);

	refuse_region(target, &(struct vu_region){0, 0, 0, 0}, fd);
	refuse_region(target, &(struct vu_region){PAGE, 0, PAGE, PAGE}, fd);
	close(fd);
}

static void m3(struct target *target)
{
	const uint64_t top = UINT64_MAX - PAGE + 1;
	int fd = memory_file(FILE_LEN);

	refuse_region(target, &(struct vu_region){top, 2 * PAGE, 0, 0}, fd);
	refuse_region(target, &(struct vu_region){0, 2 * PAGE, top, 0}, fd);
	refuse_region(target, &(struct vu_region){0, 2 * PAGE, 0, top}, fd);
	refuse_region(target, &(struct vu_region){1, UINT64_MAX, 0, 0}, fd);
	refuse_region(target, &(struct vu_region){0, top + PAGE / 2, 0, PAGE}, fd);
	close(fd);
}

/* Regions that overlap the good one, [16, 32) pages, in one address space; elsewhere they are apart. */
static void refuse_overlaps(const struct target *target, bool guest)
{
	static const uint64_t starts[] = {16, 8, 31, 20, 1}, lengths[] = {16, 9, 9, 2, 63};
	const uint64_t far = UINT64_C(1) << 40;
	int fds[2] = {memory_file(FILE_LEN), memory_file(FILE_LEN)};

	for (size_t i = 0; i < ARRAY_SIZE(starts); i++) {
		uint64_t start = starts[i] * PAGE;
		const struct vu_mem_table table = {
			.count = 2,
			.regions = {
				{16 * PAGE, 16 * PAGE, 16 * PAGE, 0},
				{guest ? start : far, lengths[i] * PAGE, guest ? far : start, 0}}};

		expect_refused_or_closed(target, MESSAGE_FDS(VU_SET_MEM_TABLE, &table, 72, fds, 2));
	}
	close(fds[0]);
	close(fds[1]);
}

static void m4(struct target *target)
{
	refuse_overlaps(target, true);
}

static void m5(struct target *target)
{
	refuse_overlaps(target, false);
}

static void m6(struct target *target)
{
	int fd = memory_file(FILE_LEN), empty = memory_file(0);

	refuse_region(target, &(struct vu_region){0, FILE_LEN + 1, 0, 0}, fd);
	refuse_region(target, &(struct vu_region){0, FILE_LEN, 0, PAGE}, fd);
	refuse_region(target, &(struct vu_region){0, 1, 0, FILE_LEN}, fd);
	refuse_region(target, &(struct vu_region){0, PAGE, 0, 0}, empty);
	close(fd);
	close(empty);
}

/* One of the three buffers of a read, which is where there is no memory any more; the front-end is given up. */
static void touch_gone(struct target *target, uint64_t addr, int fd, unsigned which)
{
	const struct vu_single_region single = {.region = {HOLE, HOLE_LEN, HOLE, 0}};
	struct vm_desc descs[3];
	struct guest guest;

	guest_start(&guest, target, NULL);
	expect_accepted(&guest.vm.frontend,
			MESSAGE_FDS(VU_ADD_MEM_REG, &single, sizeof(single), &fd, 1));
	if (addr == HOLE)
		expect(ftruncate(fd, 0) == 0, "ftruncate: %s", strerror(errno));
	raw_chain(descs, guest_header(&guest, 0, VM_BLK_T_IN, 0), guest.block, true);
	descs[which].addr = addr;
	if (which == 1) {
		/* the kernel alone would have touched it, and says so */
		expect(expect_status(&guest, descs, 3) == VM_BLK_S_IOERR, "a read succeeds");
	} else {
		raw_write(&guest.vm.rings[0], descs, 3);
		raw_offer(&guest.vm.rings[0], 0);
		expect_closed(&guest.vm.frontend);
	}
	guest_close(&guest);
}

static void truncate_rings(struct target *target)
{
	struct guest guest;

	guest_start(&guest, target, NULL);
	expect(ftruncate(guest.vm.memory.regions[0].fd, 0) == 0, "ftruncate: %s", strerror(errno));
	vm_ring_notify(&guest.vm.rings[0]);
	expect_closed(&guest.vm.frontend);
	guest_close(&guest);
}

static void m7(struct target *target)
{
	for (unsigned which = 0; which < 3; which++) {
		int fd = memory_file(HOLE_LEN);

		touch_gone(target, HOLE, fd, which);
		close(fd);
	}
	truncate_rings(target);
}

/* How many huge pages are free. */
static unsigned long free_huge_pages(void)
{
	unsigned long count = 0;
	char line[128];
	FILE *file = fopen("/proc/meminfo", "re");

	expect(file, "/proc/meminfo: %s", strerror(errno));
	while (fgets(line, sizeof(line), file)) {
		if (strncmp(line, "HugePages_Free:", 15) == 0)
			count = strtoul(line + 15, NULL, 10);
	}
	fclose(file);
	return count;
}

static void m8(struct target *target)
{
	const uint64_t taken = free_huge_pages() * HUGE_PAGE;
	int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);

	expect(fd >= 0, "the kernel knows no huge pages: %s", strerror(errno));
	expect(ftruncate(fd, HOLE_LEN) == 0 && taken < HOLE_LEN, "ftruncate: %s", strerror(errno));
	/* all that there are go to the file's beginning */
	expect(taken == 0 || fallocate(fd, 0, 0, (off_t)taken) == 0, "fallocate: %s",
	       strerror(errno));
	for (unsigned which = 0; which < 3; which++)
		touch_gone(target, HOLE + HOLE_LEN - HUGE_PAGE, fd, which);
	close(fd);
}

/* A ring's buffers in a region whose length and place in its file are odd. */
static void use_odd_region(struct target *target)
{
	const struct vu_single_region single = {
		.region = {0x100000200, PAGE + 0x200, 0x777000200, 0x1200}};
	int fd = memory_file(FILE_LEN);
	uint8_t *host = mmap(NULL, FILE_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	struct vm_desc descs[3];
	struct guest guest;

	expect(host != MAP_FAILED, "mmap: %s", strerror(errno));
	guest_start(&guest, target, NULL);
	expect_accepted(&guest.vm.frontend,
			MESSAGE_FDS(VU_ADD_MEM_REG, &single, sizeof(single), &fd, 1));
	raw_chain(descs, guest_header(&guest, 0, VM_BLK_T_IN, 0), (uint32_t)PAGE, true);
	descs[1].addr = single.region.guest_addr + 0x200;
	expect(expect_status(&guest, descs, 3) == VM_BLK_S_OK, "a read fails");
	expect(host[0x1400] == 1, "the data is not at its place in the file");
	/* one byte more is outside */
	descs[1].addr++;
	guest_header(&guest, 0, VM_BLK_T_IN, 0);
	expect_used0(&guest, descs, 3);
	guest_close(&guest);
	munmap(host, FILE_LEN);
	close(fd);
}

/* Huge pages can only be mapped whole. The pool may be empty: nothing touches them. */
static void map_part_of_huge_page(const struct target *target)
{
	const struct vu_single_region single = {.region = {0, PAGE, 0, 3 * PAGE}};
	struct frontend frontend;
	int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);

	expect(fd >= 0, "the kernel knows no huge pages: %s", strerror(errno));
	expect(ftruncate(fd, 64 << 20) == 0, "ftruncate: %s", strerror(errno));
	meet(target, &frontend, EVERYTHING);
	expect_accepted(&frontend, MESSAGE_FDS(VU_ADD_MEM_REG, &single, sizeof(single), &fd, 1));
	expect_accepted(&frontend, MESSAGE(VU_REM_MEM_REG, &single, sizeof(single)));
	frontend_close(&frontend);
	close(fd);
}

static void m9(struct target *target)
{
	use_odd_region(target);
	map_part_of_huge_page(target);
}

static void m10(struct target *target)
{
	const struct vu_region region = {0, PAGE, 0, 0};
	int pair[2], image = target_image(target, O_RDONLY);

	expect(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0, "socketpair");
	const int fds[] = {image,
			   target_image(target, O_WRONLY),
			   open("/", O_RDONLY | O_CLOEXEC),
			   open("/", O_PATH | O_CLOEXEC),
			   open("/dev/zero", O_RDWR | O_CLOEXEC),
			   eventfd(0, EFD_CLOEXEC),
			   pair[0]};

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		refuse_region(target, &region, fds[i]);
		close(fds[i]);
	}
	close(pair[1]);
}

static void m11(struct target *target)
{
	static const unsigned seals[] = {F_SEAL_WRITE, F_SEAL_FUTURE_WRITE};

	for (size_t i = 0; i < ARRAY_SIZE(seals); i++) {
		int fd = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);

		expect(fd >= 0 && ftruncate(fd, (off_t)PAGE) == 0 &&
			       fcntl(fd, F_ADD_SEALS, seals[i]) == 0,
		       "memfd: %s", strerror(errno));
		refuse_region(target, &(struct vu_region){0, PAGE, 0, 0}, fd);
		close(fd);
	}
}

static void m12(struct target *target)
{
	const uint64_t most = INT64_MAX & ~(PAGE - 1);
	int huge = memory_file(most), fd = memory_file(PAGE);
	struct frontend frontend;
	uint64_t slots;

	refuse_region(target, &(struct vu_region){0, most, 0, 0}, huge);
	refuse_region(target, &(struct vu_region){0, UINT64_MAX, 0, 0}, huge);
	meet(target, &frontend, EVERYTHING);
	expect(frontend_get_max_mem_slots(&frontend, &slots) == 0, "GET_MAX_MEM_SLOTS");
	for (uint64_t i = 0; i < 1000; i++) {
		const struct vu_region region = {i << 20, PAGE, i << 20, 0};
		int64_t answer = frontend_add_mem_reg(&frontend, &region, fd);

		expect(answer == (i >= slots), "region %ju of %ju: %jd", (uintmax_t)i,
		       (uintmax_t)slots, (intmax_t)answer);
	}
	frontend_close(&frontend);
	close(huge);
	close(fd);
}

static void m13(struct target *target)
{
	const struct vu_region good = {1 << 20, PAGE, 2 << 20, 0};
	const struct vu_region halves[] = {{1 << 20, PAGE, 3 << 20, 0},
					   {3 << 20, PAGE, 2 << 20, 0},
					   {1 << 20, 2 * PAGE, 2 << 20, 0},
					   {1 << 20, 0, 2 << 20, 0},
					   {5 << 20, PAGE, 5 << 20, 0}};
	struct vu_single_region single = {.region = good};
	int fds[2] = {memory_file(FILE_LEN), memory_file(FILE_LEN)};
	struct frontend frontend;

	meet(target, &frontend, EVERYTHING);
	expect(frontend_add_mem_reg(&frontend, &good, fds[0]) == 0, "ADD_MEM_REG is refused");
	expect_refused(target, &frontend,
		       MESSAGE_FDS(VU_ADD_MEM_REG, &single, sizeof(single), fds, 1));
	for (size_t i = 0; i < ARRAY_SIZE(halves); i++) {
		single.region = halves[i];
		expect_refused(target, &frontend, MESSAGE(VU_REM_MEM_REG, &single, sizeof(single)));
	}
	single.region = good;
	expect_refused(target, &frontend,
		       MESSAGE_FDS(VU_REM_MEM_REG, &single, sizeof(single), fds, 2));
	/* one fd comes with it from some front-ends, and is closed */
	expect_accepted(&frontend, MESSAGE_FDS(VU_REM_MEM_REG, &single, sizeof(single), fds, 1));
	expect_refused(target, &frontend, MESSAGE(VU_REM_MEM_REG, &single, sizeof(single)));
	frontend_close(&frontend);
	close(fds[0]);
	close(fds[1]);
}

static void m14(struct target *target)
{
	struct vu_region far = {UINT64_C(1) << 45, PAGE, UINT64_C(1) << 45, 0};
	int fd = memory_file(PAGE);
	struct guest guest;
	uint32_t base;

	guest_start(&guest, target, NULL);
	expect_io(&guest, 0);
	expect(frontend_set_mem_table(&guest.vm.frontend, &far, &fd, 1) == 0, "SET_MEM_TABLE");
	vm_blk_add(&guest.vm.rings[0], &guest.slots[0], VM_BLK_T_IN, 0, 4096);
	vm_ring_show(&guest.vm.rings[0]);
	vm_ring_notify(&guest.vm.rings[0]);
	sleep_ms(MOMENT_MS);
	expect(!raw_used(&guest.vm.rings[0]), "a ring that is not in memory runs");
	/* a table that has the ring again lets it go on */
	expect(vm_do(&guest.vm, STEP_MEM_TABLE) == 0, "SET_MEM_TABLE");
	guest_take(&guest, 0);
	expect(frontend_set_mem_table(&guest.vm.frontend, &far, &fd, 1) == 0, "SET_MEM_TABLE");
	expect(frontend_get_vring_base(&guest.vm.frontend, 0, &base) == 0 && base == 3,
	       "GET_VRING_BASE of a ring that is not in memory");
	guest_close(&guest);
	close(fd);
}

static void m15(struct target *target)
{
	struct guest guest;
	struct vm_desc descs[3];
	struct vu_region region;

	guest_start(&guest, target, NULL);
	raw_chain(descs, guest_header(&guest, 0, VM_BLK_T_IN, 0), 4096, true);
	descs[1].addr = (60 << 20) - 2048;
	expect(expect_status(&guest, descs, 3) == VM_BLK_S_OK, "a read fails");
	region = guest.vm.memory.regions[0].wire;
	region.size = 60 << 20;
	expect(frontend_set_mem_table(&guest.vm.frontend, &region, &guest.vm.memory.regions[0].fd,
				      1) == 0,
	       "SET_MEM_TABLE");
	guest_header(&guest, 0, VM_BLK_T_IN, 0);
	expect_used0(&guest, descs, 3);
	guest_close(&guest);
}

static void m16(struct target *target)
{
	const uint64_t alias = UINT64_C(1) << 40;
	struct vm_desc descs[3];
	struct guest guest;

	guest_start(&guest, target, NULL);
	expect(vm_memory_add_file(&guest.vm.memory, guest.vm.memory.regions[0].fd, 0, alias,
				  guest.vm.memory.regions[0].wire.size, 0) == 1 &&
		       vm_do(&guest.vm, STEP_ADD_REGIONS) == 0,
	       "ADD_MEM_REG is refused");
	raw_chain(descs, guest_header(&guest, 0, VM_BLK_T_IN, 5), 4096, true);
	descs[1].addr += alias;
	descs[2].addr += alias;
	expect(expect_status(&guest, descs, 3) == VM_BLK_S_OK, "a read fails");
	expect(guest.slots[0].data[0] == 6, "what is read is not there at the other address");
	guest_close(&guest);
}

const struct input memory_inputs[] = {
	{.id = "M1",
	 .description = "tables of 0, of up to 32, of 33 and of 2^32 - 1 regions",
	 .run = m1},
	{.id = "M2", .description = "an empty region", .run = m2},
	{.id = "M3", .description = "regions whose end wraps", .run = m3},
	{.id = "M4", .description = "regions that overlap in the guest", .run = m4},
	{.id = "M5", .description = "regions that overlap in the front-end alone", .run = m5},
	{.id = "M6", .description = "regions beyond the end of their file", .run = m6},
	{.id = "M7", .description = "memory whose file is truncated while it is used", .run = m7},
	{.id = "M8", .description = "memory that the host has no pages for", .run = m8},
	{.id = "M9",
	 .description = "regions that begin and end within a page, or a huge page",
	 .run = m9},
	{.id = "M10", .description = "fds that are no file to be read and written", .run = m10},
	{.id = "M11", .description = "files sealed against writing", .run = m11},
	{.id = "M12", .description = "a region of 8 EiB; a thousand regions", .run = m12},
	{.id = "M13",
	 .description = "a region twice; removal of one that is not there",
	 .run = m13},
	{.id = "M14", .description = "a table without the memory of running rings", .run = m14},
	{.id = "M15", .description = "a table with less memory at the same address", .run = m15},
	{.id = "M16", .description = "the same file in two regions", .run = m16},
	{0},
};
