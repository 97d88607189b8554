// SPDX-License-Identifier: Apache-2.0
//
// B1 to B12: requests to the block device, their headers, sizes and types.

#include <endian.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/hostile/hostile.h"

#define BARRIER UINT32_C(0x80000000)

/* A request without data; its status. */
static uint8_t bare_request(struct guest *guest, uint32_t type, uint64_t sector)
{
	struct vm_desc descs[3];

	raw_chain(descs, guest_header(guest, 0, type, sector), 0, true);
	return expect_status(guest, descs, 3);
}

/* A request with the slot's data; its status. */
static uint8_t request(struct guest *guest, uint32_t type, uint64_t sector, uint32_t len)
{
	struct vm_desc descs[3];

	raw_chain(descs, guest_header(guest, 0, type, sector), len,
		  type == VM_BLK_T_IN || type == VM_BLK_T_GET_ID);
	return expect_status(guest, descs, 3);
}

static void b1(struct target *target)
{
	struct vm_desc descs[3];
	struct guest guest;

	guest_start(&guest, target, NULL);
	for (uint32_t len = 0; len < 16; len++) {
		raw_chain(descs, guest_header(&guest, 0, VM_BLK_T_IN, 0), guest.block, true);
		descs[0].len = htole32(len);
		expect_used0(&guest, descs, 3);
	}
	/* nothing to write the status to */
	raw_chain(descs, guest_header(&guest, 0, VM_BLK_T_OUT, 0), guest.block, false);
	descs[2].flags = 0;
	expect_used0(&guest, descs, 3);
	descs[2] = raw_desc(guest.slots[0].status_addr, 0, WRITE, 0);
	expect_used0(&guest, descs, 3);
	descs[0].flags = 0;
	expect_used0(&guest, descs, 1);
	expect_untouched(target, 0, 128);
	guest_close(&guest);
}

/* A read whose header comes in pieces of this length. */
static void split_header(struct guest *guest, uint32_t first, uint32_t step)
{
	const struct vm_blk_slot *slot = guest_header(guest, 0, VM_BLK_T_IN, 8);
	struct vm_desc descs[20];
	unsigned count = 0;

	for (uint32_t at = 0; at < 16;) {
		uint32_t len = at == 0 ? first : step;

		descs[count] = raw_desc(slot->header_addr + at, len, NEXT, count + 1);
		count++;
		at += len;
	}
	descs[count] = raw_desc(slot->data_addr, guest->block, NEXT | WRITE, count + 1);
	count++;
	descs[count++] = raw_desc(slot->status_addr, 1, WRITE, 0);
	expect(expect_status(guest, descs, count) == VM_BLK_S_OK, "a header of %u + %u is bad",
	       first, step);
	expect(*slot->data == 9, "another sector was read");
}

static void b2(struct target *target)
{
	const struct vm_blk_slot *slot;
	struct vm_desc descs[2];
	struct guest guest;
	int fd = target_image(target, O_RDONLY);
	uint8_t byte;

	guest_start(&guest, target, NULL);
	split_header(&guest, 1, 15);
	split_header(&guest, 8, 8);
	split_header(&guest, 15, 1);
	split_header(&guest, 1, 1);
	/* header and data in one descriptor */
	slot = guest_header(&guest, 0, VM_BLK_T_OUT, 16);
	memcpy(slot->data, slot->header, 16);
	memset(slot->data + 16, 0x5a, guest.block);
	descs[0] = raw_desc(slot->data_addr, 16 + guest.block, NEXT, 1);
	descs[1] = raw_desc(slot->status_addr, 1, WRITE, 0);
	expect(expect_status(&guest, descs, 2) == VM_BLK_S_OK, "a write fails");
	expect(pread(fd, &byte, 1, (off_t)16 * VM_BLK_SECTOR) == 1 && byte == 0x5a,
	       "nothing was written");
	expect_untouched(target, 0, 16);
	close(fd);
	guest_close(&guest);
}

static void b3(struct target *target)
{
	const struct vm_blk_slot *slot;
	struct vm_desc descs[4];
	struct guest guest;

	guest_start(&guest, target, NULL);
	/* data and status in one descriptor */
	slot = guest_header(&guest, 0, VM_BLK_T_IN, 8);
	descs[0] = raw_desc(slot->header_addr, 16, NEXT, 1);
	descs[1] = raw_desc(slot->data_addr, guest.block + 1, WRITE, 0);
	slot->data[guest.block] = VM_BLK_NO_STATUS;
	expect_status(&guest, descs, 2);
	expect(slot->data[guest.block] == VM_BLK_S_OK && slot->data[0] == 9,
	       "the status is not the last byte");
	/* an empty descriptor behind it */
	raw_chain(descs, guest_header(&guest, 0, VM_BLK_T_IN, 8), guest.block, true);
	descs[2].flags = htole16(NEXT | WRITE);
	descs[2].next = htole16(3);
	descs[3] = raw_desc(slot->status_addr + 1, 0, WRITE, 0);
	expect(expect_status(&guest, descs, 4) == VM_BLK_S_OK, "a read fails");
	/* a status of two bytes: the second is it */
	slot = guest_header(&guest, 0, VM_BLK_T_FLUSH, 0);
	slot->data[0] = slot->data[1] = VM_BLK_NO_STATUS;
	descs[0] = raw_desc(slot->header_addr, 16, NEXT, 1);
	descs[1] = raw_desc(slot->data_addr, 2, WRITE, 0);
	expect_status(&guest, descs, 2);
	expect(slot->data[0] == VM_BLK_NO_STATUS && slot->data[1] == VM_BLK_S_OK,
	       "the status is not the last byte");
	guest_close(&guest);
}

static void b4(struct target *target)
{
	struct guest guest;

	guest_start(&guest, target, NULL);
	for (uint32_t len = 1; len < guest.block * 3; len += guest.block / 4 + 3) {
		if (len % guest.block == 0)
			continue;
		memset(guest.slots[0].data, 0x66, len);
		expect(request(&guest, VM_BLK_T_OUT, 0, len) == VM_BLK_S_IOERR,
		       "%u bytes are written", len);
		expect(request(&guest, VM_BLK_T_IN, 0, len) == VM_BLK_S_IOERR, "%u bytes are read",
		       len);
	}
	expect_untouched(target, 0, 128);
	guest_close(&guest);
}

static void b5(struct target *target)
{
	static const uint64_t sectors[] = {
		IMAGE_SECTORS,	       IMAGE_SECTORS - 7, (uint64_t)IMAGE_SECTORS * 2,
		UINT64_C(1) << 32,     UINT64_C(1) << 55, (UINT64_C(1) << 55) + 8,
		UINT64_C(1) << 63,     UINT64_MAX - 7,	  UINT64_MAX >> 9,
		(UINT64_MAX >> 9) - 7, UINT64_MAX};
	struct stat file;
	struct guest guest;

	guest_start(&guest, target, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(sectors); i++) {
		memset(guest.slots[0].data, 0x66, 4096);
		expect(request(&guest, VM_BLK_T_OUT, sectors[i], 4096) == VM_BLK_S_IOERR &&
			       request(&guest, VM_BLK_T_IN, sectors[i], 4096) == VM_BLK_S_IOERR,
		       "sector %#jx is there", (uintmax_t)sectors[i]);
	}
	expect_untouched(target, 0, IMAGE_SECTORS - 256);
	expect(stat(target->image, &file) == 0 && file.st_size == IMAGE_LEN,
	       "the image has another length");
	guest_close(&guest);
}

static void make_odd(struct target *target)
{
	expect(truncate(target->image, IMAGE_LEN + 4095) == 0, "truncate");
}

static void b6(struct target *target)
{
	struct vm_blk_config config;
	struct guest guest;

	guest_start(&guest, target, NULL);
	memcpy(&config, guest.vm.config, sizeof(config));
	uint64_t capacity = le64toh(config.capacity);

	expect(capacity * VM_BLK_SECTOR == ((IMAGE_LEN + 4095) & ~(guest.block - 1)),
	       "%ju sectors of an image of %d bytes", (uintmax_t)capacity, IMAGE_LEN + 4095);
	expect(request(&guest, VM_BLK_T_IN, capacity - guest.block / 512, guest.block) ==
		       VM_BLK_S_OK,
	       "the last whole block cannot be read");
	expect(request(&guest, VM_BLK_T_IN, capacity, guest.block) == VM_BLK_S_IOERR,
	       "the last partial block can be read");
	expect(request(&guest, VM_BLK_T_OUT, capacity, guest.block) == VM_BLK_S_IOERR,
	       "the last partial block can be written");
	guest_close(&guest);
}

static void b7(struct target *target)
{
	struct guest guest;

	guest_start(&guest, target, NULL);
	expect(truncate(target->image, IMAGE_LEN / 2 + 4096) == 0, "truncate");
	expect(guest_io(&guest, 0, VM_BLK_T_IN, IMAGE_SECTORS * 3 / 4, 4096) == VM_BLK_S_IOERR,
	       "what is not there any more is read");
	/* half of it is still there */
	expect(guest_io(&guest, 0, VM_BLK_T_IN, IMAGE_SECTORS / 2, 8192) == VM_BLK_S_IOERR,
	       "half of the data is taken for all");
	expect(guest_io(&guest, 0, VM_BLK_T_IN, 0, 4096) == VM_BLK_S_OK,
	       "what is there is not read");
	expect(truncate(target->image, (off_t)IMAGE_LEN * 2) == 0, "truncate");
	expect(guest_io(&guest, 0, VM_BLK_T_IN, IMAGE_SECTORS * 3 / 4, 4096) == VM_BLK_S_OK,
	       "what is there again is not read");
	expect(guest_io(&guest, 0, VM_BLK_T_IN, IMAGE_SECTORS, 4096) == VM_BLK_S_IOERR,
	       "the disk has grown by itself");
	guest_close(&guest);
}

/* How the back-end has opened its image, by /proc; negative if it has not. */
static long image_flags(const struct target *target)
{
	char path[64], link[4096], line[64];
	long flags = -1;

	for (int fd = 0; fd < 64; fd++) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)target->pid, fd);
		ssize_t len = readlink(path, link, sizeof(link) - 1);
		link[len < 0 ? 0 : len] = '\0';
		if (len < 0 || !strstr(link, strrchr(target->image, '/')))
			continue;
		snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", (int)target->pid, fd);
		FILE *file = fopen(path, "re");

		while (file && fgets(line, sizeof(line), file)) {
			if (strncmp(line, "flags:", 6) == 0)
				flags = strtol(line + 6, NULL, 8);
		}
		if (file)
			fclose(file);
	}
	return flags;
}

static void b8(struct target *target)
{
	static const uint64_t offered = VU_BIT(VM_BLK_F_RO);
	struct vm_blk_range *range;
	struct guest guest;

	guest_start(&guest, target, NULL);
	expect((guest.vm.features & offered) == offered, "RO is not offered");
	expect((image_flags(target) & O_ACCMODE) == O_RDONLY, "the image is open for writing");
	memset(guest.slots[0].data, 0x66, 4096);
	expect(request(&guest, VM_BLK_T_OUT, 0, 4096) == VM_BLK_S_IOERR, "a write is taken");
	range = (struct vm_blk_range *)(void *)guest.slots[0].data;
	*range = (struct vm_blk_range){.sectors = htole32(8)};
	expect(request(&guest, VM_BLK_T_DISCARD, 0, 16) == VM_BLK_S_IOERR &&
		       request(&guest, VM_BLK_T_WRITE_ZEROES, 0, 16) == VM_BLK_S_IOERR,
	       "a discard is taken");
	expect(bare_request(&guest, VM_BLK_T_FLUSH, 0) == VM_BLK_S_OK, "a flush fails");
	expect_untouched(target, 0, IMAGE_SECTORS);
	guest_close(&guest);
}

static void refuse_types(struct guest *guest, const uint32_t *types, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		expect(bare_request(guest, types[i], 0) == VM_BLK_S_UNSUPP, "type %u is known",
		       types[i]);
		expect(request(guest, types[i], 0, 4096) == VM_BLK_S_UNSUPP, "type %u is known",
		       types[i]);
	}
}

static void b9(struct target *target)
{
	static const uint32_t types[] = {
		2, 3, 5, 6, 7, 9, 12, 25, 100, 0x100, 0x7fffffff, 0xffffffff, BARRIER, BARRIER | 1};
	struct guest guest;

	guest_start(&guest, target, NULL);
	refuse_types(&guest, types, ARRAY_SIZE(types));
	expect_untouched(target, 0, 128);
	guest_close(&guest);
}

/* GET_ID into this many bytes, in two pieces. */
static void get_id(struct guest *guest, uint32_t len, uint32_t first)
{
	static const char id[20] = "hostile";
	const struct vm_blk_slot *slot = guest_header(guest, 0, VM_BLK_T_GET_ID, 0);
	struct vm_desc descs[4];

	memset(slot->data, 0xee, 64);
	descs[0] = raw_desc(slot->header_addr, 16, NEXT, 1);
	descs[1] = raw_desc(slot->data_addr, first, NEXT | WRITE, 2);
	descs[2] = raw_desc(slot->data_addr + first, len - first, NEXT | WRITE, 3);
	descs[3] = raw_desc(slot->status_addr, 1, WRITE, 0);
	expect(expect_status(guest, descs, 4) == VM_BLK_S_OK, "GET_ID of %u bytes fails", len);
	expect(memcmp(slot->data, id, len < 20 ? len : 20) == 0, "GET_ID of %u bytes is wrong",
	       len);
	expect(slot->data[len < 20 ? len : 20] == 0xee, "GET_ID writes beyond its end");
}

static void b10(struct target *target)
{
	static const uint32_t lengths[] = {0, 1, 7, 19, 20, 21, 63};
	struct guest guest;

	guest_start(&guest, target, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		get_id(&guest, lengths[i], 0);
		get_id(&guest, lengths[i], lengths[i] / 3);
		get_id(&guest, lengths[i], lengths[i]);
	}
	guest_close(&guest);
}

static void b11(struct target *target)
{
	struct guest guest;

	guest_start(&guest, target, NULL);
	expect(bare_request(&guest, VM_BLK_T_FLUSH, 8) == VM_BLK_S_OK &&
		       bare_request(&guest, VM_BLK_T_FLUSH, UINT64_MAX) == VM_BLK_S_OK,
	       "a flush with a sector fails");
	expect(request(&guest, VM_BLK_T_FLUSH, 0, 4096) == VM_BLK_S_OK, "a flush with data fails");
	expect_untouched(target, 0, 128);
	guest_close(&guest);
}

static void b12(struct target *target)
{
	static const uint32_t lengths[] = {0, 8, 15, 17, 24, 16 * 65, 16 * 256};
	static const uint32_t types[] = {VM_BLK_T_DISCARD, VM_BLK_T_WRITE_ZEROES};
	struct guest guest;

	guest_start(&guest, target, NULL);
	for (size_t t = 0; t < ARRAY_SIZE(types); t++) {
		for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
			struct vm_blk_range *ranges =
				(struct vm_blk_range *)(void *)guest.slots[0].data;

			for (unsigned r = 0; r < 256; r++)
				ranges[r] = (struct vm_blk_range){.sectors = htole32(8)};
			expect(request(&guest, types[t], 0, lengths[i]) == VM_BLK_S_IOERR,
			       "%u bytes of ranges are taken", lengths[i]);
		}
	}
	expect_untouched(target, 0, 128);
	guest_close(&guest);
}

static void b18(struct target *target)
{
	/* GET_LIFETIME, SECURE_ERASE, ZONE_APPEND … ZONE_RESET_ALL */
	static const uint32_t types[] = {10, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 26};
	struct guest guest;

	guest_start(&guest, target, NULL);
	refuse_types(&guest, types, ARRAY_SIZE(types));
	expect_untouched(target, 0, 128);
	guest_close(&guest);
}

static const char *const read_only[] = {"--read-only", NULL};

const struct input blk_inputs[] = {
	{.id = "B1", .description = "less than a header; nowhere to write the status", .run = b1},
	{.id = "B2", .description = "headers in pieces, and together with data", .run = b2},
	{.id = "B3",
	 .description = "the status together with data, or longer than it is",
	 .run = b3},
	{.id = "B4", .description = "data that is not whole blocks", .run = b4},
	{.id = "B5", .description = "sectors beyond the end, also by wrapping", .run = b5},
	{.id = "B6",
	 .description = "an image whose last block is not whole",
	 .run = b6,
	 .prepare = make_odd},
	{.id = "B7", .description = "an image that shrinks and grows", .run = b7},
	{.id = "B8",
	 .description = "writes, discards and write-zeroes to a read-only disk",
	 .run = b8,
	 .options = read_only},
	{.id = "B9", .description = "unknown request types, barriers and SCSI commands", .run = b9},
	{.id = "B10", .description = "GET_ID into buffers of any length", .run = b10},
	{.id = "B11", .description = "a flush with a sector, and with data", .run = b11},
	{.id = "B12", .description = "discards of no, odd and too many ranges", .run = b12},
	{.id = "B18",
	 .description = "secure erase, lifetime and zones, which are not offered",
	 .run = b18},
	{0},
};
