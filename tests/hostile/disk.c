// SPDX-License-Identifier: Apache-2.0
//
// B13 to B23: ranges, races with the guest, and many requests at once.

#include <endian.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/hostile/hostile.h"

enum {
	RACE_MS = 150,
};

/* One range, sent in two pieces; the status. */
static uint8_t do_range(struct guest *guest, uint32_t type, const struct vm_blk_range *range,
			uint32_t first)
{
	const struct vm_blk_slot *slot = guest_header(guest, 0, type, 0);
	const struct vm_desc descs[] = {
		raw_desc(slot->header_addr, 16, NEXT, 1),
		raw_desc(slot->data_addr, first, NEXT, 2),
		raw_desc(slot->data_addr + 4096, (uint32_t)sizeof(*range) - first, NEXT, 3),
		raw_desc(slot->status_addr, 1, WRITE, 0),
	};

	memcpy(slot->data, range, first);
	memcpy(slot->data + 4096, (const uint8_t *)range + first, sizeof(*range) - first);
	return expect_status(guest, descs, 4);
}

static struct vm_blk_range range_of(uint64_t sector, uint32_t sectors, uint32_t flags)
{
	return (struct vm_blk_range){htole64(sector), htole32(sectors), htole32(flags)};
}

static void expect_ranges(struct target *target, const struct vm_blk_range *ranges, size_t count,
			  uint8_t status)
{
	struct guest guest;

	guest_start(&guest, target, NULL);
	for (size_t i = 0; i < count; i++) {
		uint8_t discard = do_range(&guest, VM_BLK_T_DISCARD, &ranges[i], 16);
		uint8_t zeroes = do_range(&guest, VM_BLK_T_WRITE_ZEROES, &ranges[i], 16);

		expect(discard == status && zeroes == status,
		       "range %zu: discard is answered by %u, write-zeroes by %u", i, discard,
		       zeroes);
	}
	expect_untouched(target, 0, IMAGE_SECTORS - 256);
	guest_close(&guest);
}

static void b13(struct target *target)
{
	const struct vm_blk_range ranges[] = {
		range_of(0, 0x00800000, 0),	    range_of(0, 0x00800008, 0),
		range_of(0, 0xffffffff, 0),	    range_of(0, 0xfffffff8, 0),
		range_of(UINT64_MAX - 7, 8, 0),	    range_of(UINT64_C(1) << 55, 8, 0),
		range_of(IMAGE_SECTORS - 8, 16, 0),
	};

	expect_ranges(target, ranges, ARRAY_SIZE(ranges), VM_BLK_S_IOERR);
}

static void b14(struct target *target)
{
	uint8_t zeroes[8 * VM_BLK_SECTOR] = {0}, got[sizeof(zeroes)];
	int fd = target_image(target, O_RDONLY);
	struct guest guest;

	guest_start(&guest, target, NULL);
	for (uint32_t first = 0; first <= 16; first++) {
		const uint64_t sector = 8 + UINT64_C(16) * first;
		const struct vm_blk_range range = range_of(sector, 8, 0);

		expect(do_range(&guest, first % 2 ? VM_BLK_T_DISCARD : VM_BLK_T_WRITE_ZEROES,
				&range, first) == VM_BLK_S_OK,
		       "a range of %u + %u bytes is bad", first, 16 - first);
		expect(pread(fd, got, sizeof(got), (off_t)sector * VM_BLK_SECTOR) == sizeof(got) &&
			       memcmp(got, zeroes, sizeof(got)) == 0,
		       "the range is not zeroes");
		expect_untouched(target, sector - 8, 8);
		expect_untouched(target, sector + 8, 8);
	}
	close(fd);
	guest_close(&guest);
}

static void b15(struct target *target)
{
	struct guest guest;

	guest_start(&guest, target, NULL);
	for (unsigned bit = 0; bit < 32; bit++) {
		const struct vm_blk_range range = range_of(0, 8, 1u << bit);

		expect(do_range(&guest, VM_BLK_T_DISCARD, &range, 16) == VM_BLK_S_UNSUPP,
		       "discard knows flag %u", bit);
		expect(bit == 0 || do_range(&guest, VM_BLK_T_WRITE_ZEROES, &range, 16) ==
					   VM_BLK_S_UNSUPP,
		       "write-zeroes knows flag %u", bit);
	}
	expect_untouched(target, 0, 128);
	guest_close(&guest);
}

static void b16(struct target *target)
{
	const struct vm_blk_range nothing[] = {range_of(0, 0, 0), range_of(8, 0, 0),
					       range_of(IMAGE_SECTORS, 0, 0)};
	const struct vm_blk_range beyond[] = {range_of(IMAGE_SECTORS + 8, 0, 0),
					      range_of(0, 0x00100000, 0)};
	const struct vm_blk_range odd = range_of(1, 1, 0);
	struct guest guest;
	bool small;

	expect_ranges(target, nothing, ARRAY_SIZE(nothing), VM_BLK_S_OK);
	expect_ranges(target, beyond, ARRAY_SIZE(beyond), VM_BLK_S_IOERR);
	guest_start(&guest, target, NULL);
	small = guest.block == VM_BLK_SECTOR;
	/* less than the alignment that is wished for: whole blocks are enough */
	expect(do_range(&guest, VM_BLK_T_DISCARD, &odd, 16) ==
		       (small ? VM_BLK_S_OK : VM_BLK_S_IOERR),
	       "a discard of one sector");
	expect_untouched(target, 0, 1);
	expect_untouched(target, 2, 126);
	guest_close(&guest);
}

/* The range changes all the time between sectors 8 to 15 and something forbidden. */
static void b17(struct target *target)
{
	static const struct vm_blk_range forbidden[] = {
		{0, 0xffffffff, 0}, {UINT64_MAX, 8, 0}, {IMAGE_SECTORS, 8, 0}};
	const struct vm_blk_range good = range_of(8, 8, 0);
	volatile struct vm_blk_range *shared;
	struct vm_desc descs[3];
	struct stat file;
	struct guest guest;
	int64_t end = clock_ms() + RACE_MS;

	guest_start(&guest, target, NULL);
	shared = (volatile struct vm_blk_range *)(void *)guest.slots[0].data;
	for (unsigned round = 0; clock_ms() < end; round++) {
		raw_chain(descs, guest_header(&guest, 0, VM_BLK_T_WRITE_ZEROES, 0), 16, false);
		raw_write(&guest.vm.rings[0], descs, 3);
		raw_offer(&guest.vm.rings[0], 0);
		for (int i = 0; i < 2000 && !raw_used(&guest.vm.rings[0]); i++)
			*shared = i % 2 ? forbidden[round % ARRAY_SIZE(forbidden)] : good;
		raw_wait(&guest.vm.rings[0]);
	}
	/* words of two ranges may mix, but all that passes the check starts at sector 0 or 8 and is 8 long */
	expect_untouched(target, 16, IMAGE_SECTORS - 256 - 16);
	expect(stat(target->image, &file) == 0 && file.st_size == IMAGE_LEN,
	       "the image has another length");
	guest_close(&guest);
}

/* `count` requests at once on ring 0, all into or out of the same buffer. */
static void overlap(struct guest *guest, uint32_t type, unsigned count, uint64_t addr, uint32_t len)
{
	struct vm_ring *ring = &guest->vm.rings[0];
	const struct vm_blk_slot *slot = guest_header(guest, 0, type, 0);
	const struct vm_buffer buffers[] = {
		{.addr = slot->header_addr, .len = 16},
		{.addr = addr, .len = len, .write = type == VM_BLK_T_IN},
		{.addr = slot->status_addr, .len = 1, .write = true},
	};

	for (unsigned i = 0; i < count; i++)
		expect(vm_ring_add(ring, buffers, 3, NULL) >= 0, "ring 0 is full");
	vm_ring_kick(ring);
	for (unsigned i = 0; i < count; i++)
		guest_take(guest, 0);
}

static void b19(struct target *target)
{
	const struct vm_options deep = {.queue_size = 1024, .memory_size = 256 << 20};
	struct guest guest;
	unsigned rss;

	guest_start(&guest, target, &deep);
	guest_add_memory(&guest, ELSEWHERE, 1 << 20);
	overlap(&guest, VM_BLK_T_IN, 64, ELSEWHERE, 1 << 20);
	rss = target_rss(target);
	overlap(&guest, VM_BLK_T_IN, 1024, ELSEWHERE, 1 << 20);
	/* the same sectors and the same buffer, both ways: the bytes are what they were */
	overlap(&guest, VM_BLK_T_OUT, 64, ELSEWHERE, 1 << 20);
	expect(target_rss(target) < rss + 1024, "memory grew from %u to %u KiB", rss,
	       target_rss(target));
	expect_untouched(target, 0, IMAGE_SECTORS - 256);
	guest_close(&guest);
}

static void b20(struct target *target)
{
	uint8_t got[4096];
	int fd = target_image(target, O_RDONLY);
	int64_t end = clock_ms() + RACE_MS;
	struct vm_desc descs[3];
	struct guest guest;

	guest_start(&guest, target, NULL);
	memset(guest.slots[0].data, 0xa0, sizeof(got));
	while (clock_ms() < end) {
		raw_chain(descs, guest_header(&guest, 0, VM_BLK_T_OUT, 64), sizeof(got), false);
		raw_write(&guest.vm.rings[0], descs, 3);
		raw_offer(&guest.vm.rings[0], 0);
		for (int i = 0; i < 100 && !raw_used(&guest.vm.rings[0]); i++)
			memset(guest.slots[0].data, 0xa0 + i % 2, sizeof(got));
		raw_wait(&guest.vm.rings[0]);
		expect(*guest.slots[0].status == VM_BLK_S_OK, "a write fails");
	}
	expect(pread(fd, got, sizeof(got), (off_t)64 * VM_BLK_SECTOR) == sizeof(got), "pread");
	for (size_t i = 0; i < sizeof(got); i++)
		expect(got[i] == 0xa0 || got[i] == 0xa1, "byte %zu was never in the buffer", i);
	expect_untouched(target, 0, 64);
	expect_untouched(target, 72, 128);
	close(fd);
	guest_close(&guest);
}

/* Looks like a qcow2 file with a backing file. */
static const struct {
	char magic[4];
	uint8_t version[4], backing_offset[8], backing_size[4];
	char backing[12];
} qcow2 = {"QFI\xfb", {0, 0, 0, 3}, {0, 0, 0, 0, 0, 0, 0, 20}, {0, 0, 0, 11}, "/etc/passwd"};

static void make_qcow2(struct target *target)
{
	int fd = target_image(target, O_WRONLY);

	expect(pwrite(fd, &qcow2, sizeof(qcow2), 0) == sizeof(qcow2), "pwrite");
	close(fd);
}

static void b21(struct target *target)
{
	struct vm_blk_config config;
	struct guest guest;

	guest_start(&guest, target, NULL);
	memcpy(&config, guest.vm.config, sizeof(config));
	expect(le64toh(config.capacity) == IMAGE_SECTORS, "the image's format was looked at");
	expect(guest_io(&guest, 0, VM_BLK_T_IN, 0, 4096) == VM_BLK_S_OK &&
		       memcmp(guest.slots[0].data, &qcow2, sizeof(qcow2)) == 0,
	       "the image is not read as it is");
	expect_untouched(target, 1, 128);
	guest_close(&guest);
}

/* Requests of one block in segments of one byte each, the rest in the last; all sectors in turn. */
static void add_scattered(struct guest *guest, uint32_t type, unsigned index)
{
	static struct vm_desc descs[1024];
	const uint64_t base = ELSEWHERE + index * UINT64_C(16384) + 1;
	const unsigned most = guest->block < 1000 ? guest->block : 1000;
	struct vm_blk_header *header = vm_memory_at(&guest->vm.memory, base, 16);
	uint64_t table = vm_memory_alloc(&guest->vm.memory, sizeof(descs), 16);
	unsigned write = type == VM_BLK_T_IN ? WRITE : 0;

	memcpy(header,
	       &(struct vm_blk_header){htole32(type), 0,
				       htole64((uint64_t)index * (guest->block / 512))},
	       16);
	*(uint8_t *)vm_memory_at(&guest->vm.memory, base + 16, 1) = VM_BLK_NO_STATUS;
	descs[0] = raw_desc(base, 16, NEXT, 1);
	for (unsigned i = 1; i <= most; i++)
		descs[i] = raw_desc(base + 31 + i, i < most ? 1 : guest->block - most + 1,
				    NEXT | write, i + 1);
	descs[most + 1] = raw_desc(base + 16, 1, WRITE, 0);
	memcpy(vm_memory_at(&guest->vm.memory, table, sizeof(descs)), descs, sizeof(descs));
	guest->vm.rings[0].desc[index] =
		raw_desc(table, (most + 2) * (uint32_t)sizeof(*descs), VM_DESC_F_INDIRECT, 0);
	guest->vm.rings[0].avail->ring[guest->vm.rings[0].avail_idx++ & (RING_SIZE - 1)] =
		htole16((uint16_t)index);
}

static void scatter(struct guest *guest, uint32_t type, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		add_scattered(guest, type, i);
	vm_ring_show(&guest->vm.rings[0]);
	vm_ring_notify(&guest->vm.rings[0]);
	for (unsigned i = 0; i < count; i++)
		raw_wait(&guest->vm.rings[0]);
	for (unsigned i = 0; i < count; i++) {
		const uint64_t base = ELSEWHERE + i * UINT64_C(16384) + 1;
		const uint8_t *status = vm_memory_at(&guest->vm.memory, base + 16, 1);
		uint64_t word;

		memcpy(&word, vm_memory_at(&guest->vm.memory, base + 32, 8), 8);
		expect(*status == VM_BLK_S_OK, "request %u of many segments: status %u", i,
		       *status);
		expect(word == i * (guest->block / 512) + 1, "request %u moved other bytes", i);
	}
}

static void b22(struct target *target)
{
	struct guest guest;

	guest_start(&guest, target, NULL);
	guest_add_memory(&guest, ELSEWHERE, 4 << 20);
	scatter(&guest, VM_BLK_T_IN, 100);
	scatter(&guest, VM_BLK_T_OUT, 100);
	scatter(&guest, VM_BLK_T_IN, 100);
	expect_not_broken(&guest, 0);
	expect_untouched(target, 0, IMAGE_SECTORS - 256);
	guest_close(&guest);
}

static void b23(struct target *target)
{
	struct vm_ring *ring;
	struct guest guest;

	guest_start(&guest, target, NULL);
	ring = &guest.vm.rings[0];
	for (unsigned round = 0; round < 20; round++) {
		const uint8_t wanted = round % 2;
		uint8_t writeback;

		for (unsigned i = 0; i < 32; i++)
			vm_blk_add(ring, &guest.slots[0], VM_BLK_T_OUT, 128 + UINT64_C(8) * i,
				   4096);
		vm_ring_kick(ring);
		expect(frontend_set_config(&guest.vm.frontend, 32, 1, 0, &wanted) == 0,
		       "SET_CONFIG is refused");
		for (unsigned i = 0; i < 32; i++)
			guest_take(&guest, 0);
		expect(frontend_get_config(&guest.vm.frontend, 32, 1, 0, &writeback) == 0 &&
			       writeback == wanted,
		       "writeback is %u, not %u", writeback, wanted);
	}
	guest_close(&guest);
}

static const char *const as_it_is[] = {"--raw", NULL};

const struct input disk_inputs[] = {
	{.id = "B13", .description = "ranges that overflow 32 or 64 bits", .run = b13},
	{.id = "B14", .description = "ranges split over two buffers", .run = b14},
	{.id = "B15", .description = "range flags that are not allowed", .run = b15},
	{.id = "B16", .description = "ranges too long, odd, or of nothing", .run = b16},
	{.id = "B17", .description = "ranges that change while they are looked at", .run = b17},
	{.id = "B19", .description = "a thousand requests of 1 MiB in one buffer", .run = b19},
	{.id = "B20", .description = "data that changes while it is written", .run = b20},
	{.id = "B21",
	 .description = "an image that looks like another format",
	 .run = b21,
	 .options = as_it_is,
	 .prepare = make_qcow2},
	{.id = "B22", .description = "a thousand segments of one byte, many at once", .run = b22},
	{.id = "B23",
	 .description = "the write cache turned on and off with requests in flight",
	 .run = b23},
	{0},
};
