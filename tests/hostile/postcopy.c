// SPDX-License-Identifier: Apache-2.0
//
// M17 to M20: memory that comes after the guest, or never.

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "tests/frontend/postcopy.h"
#include "tests/hostile/hostile.h"

#define PAGE UINT64_C(4096)

enum {
	LEN = 16384, /* of a request's data, all missing */
	PAGES = LEN / (int)PAGE,
	MOST_FAULTS = 2 * PAGES,
};

static const char *const postcopy[] = {"--postcopy=on", NULL};

static void arrive(struct guest *guest, struct target *target)
{
	guest_start(guest, target, &(struct vm_options){.postcopy = true, .memory_size = 8 << 20});
}

/* The front-end goes, and the process with it, since that could have kept the userfaultfd; a new one takes its place. */
static void leave(struct guest *guest, struct target *target)
{
	guest_close(guest);
	target_await_end(target);
}

/* A request, all of whose data is missing on both sides. */
static void ask(struct guest *guest, uint32_t type)
{
	struct vm_blk_slot *slot = &guest->slots[0];

	expect(vm_blk_add(&guest->vm.rings[0], slot, type, 0, LEN) >= 0, "ring 0 is full");
	expect(vm_memory_punch(&guest->vm, slot->data_addr, LEN) == 0, "fallocate");
	vm_ring_kick(&guest->vm.rings[0]);
}

/* The back-end waits for a page of the data, whose guest address this is. */
static uint64_t expect_fault(struct guest *guest)
{
	const struct vm_blk_slot *slot = &guest->slots[0];
	uint64_t addr = 0;
	int error = vm_wait_for_fault(&guest->vm, SOON_MS, &addr);

	expect(error == 0, "the back-end does not wait for a missing page: %s", strerror(-error));
	expect(addr - slot->data_addr < LEN, "%#jx is waited for, which is there", (uintmax_t)addr);
	return addr;
}

/* Brings each page that the request needs, filled with `byte`, until it is answered well; how many. */
static unsigned bring_all(struct guest *guest, uint8_t byte)
{
	struct vm_completion completion;
	int64_t deadline = clock_ms() + SOON_MS;
	unsigned count = 0;
	uint64_t addr;

	while (vm_ring_take(&guest->vm.rings[0], &completion) == 0) {
		expect(clock_ms() < deadline, "the back-end neither waits for a page nor answers");
		if (vm_wait_for_fault(&guest->vm, MOMENT_MS, &addr))
			continue;
		expect(++count <= MOST_FAULTS, "the back-end waits for the same pages again");
		memset(vm_memory_at(&guest->vm.memory, addr, PAGE), byte, PAGE);
		expect(vm_wake(&guest->vm, addr) == 0, "UFFDIO_WAKE: %s", strerror(errno));
	}
	expect(*guest->slots[0].status == VM_BLK_S_OK, "a request whose memory comes fails");
	return count;
}

static void expect_bytes(const void *bytes, uint8_t byte, const char *where)
{
	uint8_t expected[LEN];

	memset(expected, byte, sizeof(expected));
	expect(memcmp(bytes, expected, sizeof(expected)) == 0, "wrong data %s", where);
}

static void m17(struct target *target)
{
	int image = target_image(target, O_RDWR);
	uint8_t bytes[LEN];
	struct guest guest;

	arrive(&guest, target);
	ask(&guest, VM_BLK_T_OUT);
	expect(bring_all(&guest, 0x5a) == PAGES, "written without waiting for the data");
	expect(pread(image, bytes, LEN, 0) == LEN, "pread: %s", strerror(errno));
	expect_bytes(bytes, 0x5a, "on the disk");
	ask(&guest, VM_BLK_T_IN);
	bring_all(&guest, 0);
	expect_bytes(guest.slots[0].data, 0x5a, "read into memory that was missing");
	expect_io(&guest, 1);
	expect(vm_postcopy_end(&guest.vm) == 0, "POSTCOPY_END");
	expect_io(&guest, 0);
	leave(&guest, target);
	close(image);
	target_run(target);
}

static void m18(struct target *target)
{
	struct guest guest;

	arrive(&guest, target);
	ask(&guest, VM_BLK_T_OUT);
	expect_fault(&guest);
	leave(&guest, target);
	expect_untouched(target, 0, LEN / VM_BLK_SECTOR);
	target_run(target);
}

/* A message that cannot be answered, since the ring waits for a page that does not come. */
static void hang(struct guest *guest, struct target *target)
{
	static const struct vu_vring_state ring = {.index = 0};

	arrive(guest, target);
	ask(guest, VM_BLK_T_OUT);
	expect_fault(guest);
	expect(frontend_send(&guest->vm.frontend, VU_GET_VRING_BASE, VU_VERSION, &ring,
			     sizeof(ring), NULL, 0) == 0,
	       "GET_VRING_BASE");
	sleep_ms(MOMENT_MS);
}

static void m19(struct target *target)
{
	struct guest guest;

	hang(&guest, target);
	leave(&guest, target);
	expect_untouched(target, 0, LEN / VM_BLK_SECTOR);
	target_run(target);
	hang(&guest, target);
	target_end(target); /* on SIGTERM, although the front-end is still there */
	guest_close(&guest);
	expect_untouched(target, 0, LEN / VM_BLK_SECTOR);
	target_run(target);
}

static void m20(struct target *target)
{
	static const uint64_t word, no = 1;
	struct frontend frontend;
	struct guest guest;

	meet(target, &frontend, EVERYTHING);
	expect_refused(target, &frontend, EMPTY(VU_POSTCOPY_LISTEN));
	expect_refused(target, &frontend, MESSAGE(VU_SET_MEM_TABLE, &word, sizeof(word)));
	expect_refused(target, &frontend, MESSAGE(VU_ADD_MEM_REG, &word, sizeof(word)));
	expect_refused(target, &frontend, MESSAGE(VU_REM_MEM_REG, &word, sizeof(word)));
	expect_refused(target, &frontend, MESSAGE(0, &word, sizeof(word)));
	frontend_close(&frontend);
	arrive(&guest, target);
	expect_refused(target, &guest.vm.frontend, EMPTY(VU_POSTCOPY_LISTEN));
	expect_refused(target, &guest.vm.frontend, MESSAGE(VU_ADD_MEM_REG, &no, sizeof(no)));
	expect_accepted(&guest.vm.frontend, MESSAGE(0, &word, sizeof(word)));
	expect_io(&guest, 0);
	expect(vm_postcopy_end(&guest.vm) == 0, "POSTCOPY_END");
	expect_refused(target, &guest.vm.frontend, MESSAGE(0, &word, sizeof(word)));
	leave(&guest, target);
	target_run(target);
}

const struct input postcopy_inputs[] = {
	{.id = "M17",
	 .description = "memory that comes after the guest, with requests in it",
	 .run = m17,
	 .options = postcopy},
	{.id = "M18",
	 .description = "a front-end that goes while a page is waited for",
	 .run = m18,
	 .options = postcopy},
	{.id = "M19",
	 .description = "a page that never comes, with GET_VRING_BASE behind it; the end then",
	 .run = m19,
	 .options = postcopy},
	{.id = "M20",
	 .description = "the messages of postcopy out of their order, and twice",
	 .run = m20,
	 .options = postcopy},
	{0},
};
