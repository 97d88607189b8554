// SPDX-License-Identifier: Apache-2.0
//
// R1 to R4: the entropy device. Its answers are never longer than asked for or than a chunk, and never anything but
// what the source gave.

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>
#include "tests/frontend/rng.h"
#include "tests/hostile/hostile.h"

enum {
	CHUNK = 4096,	       /* of an answer, at most, unless an option says otherwise */
	LOOKED_AT = 2 * CHUNK, /* bytes of a huge request's buffers */
	MARK = 0xaa,	       /* of bytes that nobody wrote */
	BUDGET = 4000,
	PERIOD_MS = 50,
	FLOOD_MS = 500,
	FLOOD_LEAST = FLOOD_MS / PERIOD_MS / 2 * BUDGET,
	FILE_LEN = 1000,
	PTY_FD = 200,
};

#define HUGE_ADDR VU_BIT(36)
#define HUGE_LEN VU_BIT(32)

static void rng_start(struct vm *vm, struct vm_rng *rng, const struct target *target)
{
	const struct vm_options options = {.timeout_ms = SOON_MS, .connect_timeout_ms = SOON_MS};
	int error = vm_start(vm, target->socket, &options);

	expect(error == 0, "%s of a good front-end: %s", vm_step_name(vm->step), strerror(-error));
	vm_rng_init(rng, vm);
	memset(rng->data, MARK, CHUNK);
}

/* Asks, and waits: bytes that came, at least one. */
static uint32_t get_some(struct vm_rng *rng, uint32_t len)
{
	int got = vm_rng_ask(rng, len);

	expect(got == 0, "the ring is full");
	got = vm_rng_wait(rng, SOON_MS);
	expect(got > 0 && (uint32_t)got <= len, "a request for %u bytes is answered with %d", len,
	       got);
	return (uint32_t)got;
}

static void serve_good_one(struct target *target)
{
	struct vm vm;
	struct vm_rng rng;

	rng_start(&vm, &rng, target);
	get_some(&rng, 16);
	vm_close(&vm);
}

static const struct served rng_served = {.applet = "rng", .serve_good_one = serve_good_one};

static void expect_marked(const uint8_t *data, uint64_t len)
{
	for (uint64_t i = 0; i < len; i++)
		expect(data[i] == MARK, "byte %ju behind the answer was written", (uintmax_t)i);
}

/* Offers `count` adjacent buffers of `len` bytes each; the first is at `data`. */
static void ask_huge(struct vm_ring *ring, uint8_t *data, uint64_t len, unsigned count)
{
	struct vm_desc descs[4];
	uint64_t most = len * count < CHUNK ? len * count : CHUNK;
	struct vm_used_elem elem;

	memset(data, MARK, LOOKED_AT);
	for (unsigned i = 0; i < count; i++)
		descs[i] =
			raw_desc(HUGE_ADDR + i * len, (uint32_t)len, i + 1 < count ? 3 : 2, i + 1);
	raw_write(ring, descs, count);
	raw_offer(ring, 0);
	elem = raw_wait(ring);
	expect(elem.id == 0 && elem.len <= most && elem.len >= (most != 0),
	       "%u buffers of %#jx bytes are answered with %u", count, (uintmax_t)len, elem.len);
	expect_marked(data + elem.len, LOOKED_AT - elem.len);
}

static void r1(struct target *target)
{
	static const uint64_t lens[] = {0, 1, 15, CHUNK, CHUNK + 1, 0x70000000, 0xffffffff};
	struct vm vm;
	struct vm_rng rng;
	uint8_t *data;
	int error;

	rng_start(&vm, &rng, target);
	error = vm_memory_add(&vm.memory, HUGE_ADDR, HUGE_LEN, 0);
	if (error >= 0)
		error = vm_do(&vm, STEP_ADD_REGIONS);
	expect(error >= 0, "ADD_MEM_REG: %s", strerror(-error));
	data = vm_memory_at(&vm.memory, HUGE_ADDR, HUGE_LEN);
	for (unsigned round = 0; round < 3; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(lens); i++)
			ask_huge(&vm.rings[0], data, lens[i], 1);
		ask_huge(&vm.rings[0], data, 1, 4);
		ask_huge(&vm.rings[0], data, HUGE_LEN / 4, 4);
	}
	vm_close(&vm);
}

static void r2(struct target *target)
{
	struct vm vm;
	struct vm_rng rng;
	struct vm_desc descs[3];
	struct vm_used_elem elem;

	rng_start(&vm, &rng, target);
	for (unsigned i = 0; i < 1000; i++) {
		descs[0] = raw_desc(rng.addr, 64, 1, 1);
		descs[1] = raw_desc(rng.addr + 64, 64, i % 2 ? 3 : 0, 2);
		descs[2] = raw_desc(rng.addr + 128, 64, 2, 0);
		raw_write(&vm.rings[0], descs,
			  i % 2 ? 3 : 2); /* 1 readable and 2 writable, or 2 readable */
		raw_offer(&vm.rings[0], 0);
		elem = raw_wait(&vm.rings[0]);
		expect(i % 2 ? elem.len > 0 && elem.len <= 128 : elem.len == 0,
		       "chain %u is answered with %u bytes", i, elem.len);
		expect_marked(rng.data, 64);
		if (i == 0)
			expect_marked(rng.data, 192);
	}
	vm_close(&vm);
}

static void r3(struct target *target)
{
	struct vm vm;
	struct vm_rng rng;
	struct vm_completion completion;
	uint64_t given = 0, most;
	int64_t began;

	rng_start(&vm, &rng, target);
	began = clock_ms();
	while (clock_ms() < began + FLOOD_MS) {
		while (vm_rng_ask(&rng, 64) == 0)
			;
		vm_ring_notify(&vm.rings[0]);
		while (vm_ring_take(&vm.rings[0], &completion) == 1)
			given += completion.len;
	}
	/* what was left of the period before, and of the one that began last */
	most = ((uint64_t)(clock_ms() - began) / PERIOD_MS + 2) * BUDGET;
	expect(given <= most, "%ju bytes in %d ms", (uintmax_t)given, FLOOD_MS);
	expect(given >= FLOOD_LEAST, "only %ju bytes in %d ms", (uintmax_t)given, FLOOD_MS);
	while (vm.rings[0].free_count < vm.rings[0].size) {
		expect(vm_rng_wait(&rng, SOON_MS) > 0, "a request that waits is not answered");
	}
	get_some(&rng, 64);
	vm_close(&vm);
}

/* A request is kept, and nothing is written to its buffer. */
static void expect_held(struct vm *vm, struct vm_rng *rng)
{
	memset(rng->data, MARK, CHUNK);
	expect(vm_rng_ask(rng, 64) == 0, "the ring is full");
	for (unsigned i = 0; i < 20; i++) {
		vm_ring_notify(&vm->rings[0]);
		sleep_ms(10);
		expect(!raw_used(&vm->rings[0]), "an answer without bytes of the source");
	}
	expect_marked(rng->data, CHUNK);
}

static void read_image(const struct target *target, uint64_t offset, uint8_t *data, uint64_t len)
{
	int fd = target_image(target, O_RDONLY);

	expect(pread(fd, data, len, (off_t)offset) == (ssize_t)len, "%s is short", target->image);
	close(fd);
}

static void append_to_image(const struct target *target, const void *data, uint64_t len)
{
	int fd = target_image(target, O_WRONLY | O_APPEND);

	expect(write(fd, data, len) == (ssize_t)len, "%s: %s", target->image, strerror(errno));
	close(fd);
}

/* The back-end, started anew with this source. */
static void serve_from(struct target *target, const char *source)
{
	static const char *options[] = {"--source", NULL, NULL};

	options[1] = source;
	target->options = options;
	target_end(target);
	target_run(target);
}

/* A file that ends, and grows after one front-end has waited for it and gone. */
static void end_of_file(struct target *target)
{
	uint8_t known[FILE_LEN], later[64 + 16] = "what was written behind the end of the file";
	uint32_t got = 16; /* the first good one's */
	struct vm vm;
	struct vm_rng rng;

	expect(truncate(target->image, FILE_LEN) == 0, "%s: %s", target->image, strerror(errno));
	read_image(target, 0, known, FILE_LEN);
	serve_from(target, target->image);
	rng_start(&vm, &rng, target);
	while (got < FILE_LEN) {
		uint32_t more = get_some(&rng, 64);

		expect(got + more <= FILE_LEN && memcmp(rng.data, known + got, more) == 0,
		       "bytes %u to %u are not those of the source", got, got + more);
		got += more;
	}
	expect_held(&vm, &rng);
	vm_close(&vm);
	rng_start(&vm, &rng, target);
	expect_held(&vm, &rng);
	append_to_image(target, later, sizeof(later));
	expect(vm_rng_wait(&rng, SOON_MS) == 64 && memcmp(rng.data, later, 64) == 0,
	       "the request that waited gets not what the source gave");
	vm_close(&vm);
}

/* The other end of the pseudo-terminal that is the source; without one, reading it fails with EIO. */
static int open_terminal(void)
{
	const char *name = ptsname(PTY_FD);
	int fd = name ? open(name, O_RDWR | O_NOCTTY | O_CLOEXEC) : -1;
	struct termios mode;

	expect(fd >= 0 && tcgetattr(fd, &mode) == 0, "pseudo-terminal: %s", strerror(errno));
	cfmakeraw(&mode);
	tcsetattr(fd, TCSANOW, &mode);
	return fd;
}

static void type(int terminal, const char *text)
{
	size_t len = strlen(text);

	expect(write(terminal, text, len) == (ssize_t)len, "pseudo-terminal: %s", strerror(errno));
}

static void input_output_error(struct target *target)
{
	int terminal, master = posix_openpt(O_RDWR | O_NOCTTY);
	struct vm vm;
	struct vm_rng rng;

	expect(master >= 0 && dup2(master, PTY_FD) == PTY_FD && grantpt(PTY_FD) == 0 &&
		       unlockpt(PTY_FD) == 0,
	       "pseudo-terminal: %s", strerror(errno));
	close(master);
	terminal = open_terminal();
	type(terminal, "for the first one");
	serve_from(target, "fd:200");
	rng_start(&vm, &rng, target);
	expect(get_some(&rng, 64) == 1 && *rng.data == 'e', "not what the terminal has left");
	close(terminal);
	expect_held(&vm, &rng);
	terminal = open_terminal();
	type(terminal, "back");
	expect(vm_rng_wait(&rng, SOON_MS) == 4 && memcmp(rng.data, "back", 4) == 0,
	       "the request that waited gets not what the source gave");
	vm_close(&vm);
	type(terminal, "for the last one");
}

static void r4(struct target *target)
{
	end_of_file(target);
	input_output_error(target);
}

static const char *const budget[] = {"--max-bytes", "4000", "--period", "50", NULL};

const struct input rng_inputs[] = {
	{.id = "R1",
	 .description = "requests of 0, 1, 0x70000000 bytes and 4 GiB",
	 .run = r1,
	 .served = &rng_served},
	{.id = "R2",
	 .description = "requests with readable buffers",
	 .run = r2,
	 .served = &rng_served},
	{.id = "R3",
	 .description = "requests and notifications without end",
	 .run = r3,
	 .options = budget,
	 .served = &rng_served},
	{.id = "R4",
	 .description = "a source at its end, and one with I/O errors",
	 .run = r4,
	 .served = &rng_served},
	{0},
};
