// SPDX-License-Identifier: Apache-2.0
//
// A disk that forgets what was not flushed, and a driver that looks after each request what a loss of power would leave of it.
//	vu-durable PATH SOCKET
// The disk is a file of a file system of our own, mounted on PATH in a mount namespace of our own; whoever serves it on SOCKET has
// to be in there. Prints "mounted". Exit status: 0 all that was promised is durable, 1 something is not, 2 wrong usage.

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>
#include "tests/frontend/blk.h"
#include "tests/frontend/fuse_file.h"

enum { DISK_LEN = 1 << 20, PIECE = 4096, SECTORS = PIECE / 512, OLD = 0xd5, NEW = 0x3c };
enum { PUNCH_HOLE_OR_ZERO_RANGE = 0x02 | 0x10 };

/* What both processes see. */
static struct {
	uint8_t cached[DISK_LEN];  /* what is read */
	uint8_t durable[DISK_LEN]; /* what is left when the power is lost */
	bool cannot_allocate;	   /* no zeroes, no holes */
	unsigned interruptions;	   /* so many changes or flushes fail next, as by a signal */
} * disk;

static struct vm vm;
static struct vm_disk driver;
static const char *phase;
static unsigned interruptions; /* of each request */
static uint64_t next_sector;

// ---- the disk

static void make_durable(uint64_t offset, uint64_t len)
{
	memcpy(disk->durable + offset, disk->cached + offset, len);
}

/* A write by a file that is opened so, or that is told so (RWF_DSYNC), is flushed by a message of its own as well, but later kernels
 * may leave that out. */
static void serve_write(struct fuse_file *file, const union fuse_message *message)
{
	const struct fuse_write_in *in = fuse_file_argument(message);
	uint64_t offset = in->offset, len = fuse_file_within(file, in->offset, in->size);
	bool durable = in->flags & O_DSYNC;

	memcpy(disk->cached + offset, in + 1, len);
	if (durable)
		make_durable(offset, len);
	fuse_file_answer(file, message, 0, &(struct fuse_write_out){.size = (uint32_t)len},
			 sizeof(struct fuse_write_out));
}

static int allocate(struct fuse_file *file, const struct fuse_fallocate_in *in)
{
	if (disk->cannot_allocate || !(in->mode & PUNCH_HOLE_OR_ZERO_RANGE))
		return EOPNOTSUPP;
	memset(disk->cached + in->offset, 0, fuse_file_within(file, in->offset, in->length));
	return 0;
}

static bool is_interrupted(const union fuse_message *message)
{
	if (disk->interruptions == 0 || message->header.opcode == FUSE_READ)
		return false;
	disk->interruptions--;
	return true;
}

static void serve(struct fuse_file *file, const union fuse_message *message)
{
	if (is_interrupted(message)) {
		fuse_file_answer(file, message, EINTR, NULL, 0);
		return;
	}
	switch (message->header.opcode) {
	case FUSE_READ:
		fuse_file_move(file, message, disk->cached);
		return;
	case FUSE_WRITE:
		serve_write(file, message);
		return;
	case FUSE_FSYNC:
		make_durable(0, DISK_LEN);
		fuse_file_answer(file, message, 0, NULL, 0);
		return;
	default:
		fuse_file_answer(file, message, allocate(file, fuse_file_argument(message)), NULL,
				 0);
	}
}

static void fail(const char *what)
{
	fprintf(stderr, "vu-durable: %s: %s\n", phase, what);
	exit(1);
}

static void must(const char *what, int64_t result)
{
	if (result == 0)
		return;
	fprintf(stderr, "%lld (%s)\n", (long long)result, result < 0 ? strerror((int)-result) : "");
	fail(what);
}

/* A process beside us, which ends with us. */
static void start_disk(struct fuse_file *file)
{
	pid_t parent = getpid(), child = fork();

	must("a process for the disk", child < 0 ? -errno : 0);
	if (child > 0)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (getppid() == parent && fuse_file_serve(file) == 0)
		;
	_exit(0);
}

// ---- the driver

static bool is_durable(uint64_t sector, int byte)
{
	const uint8_t *bytes = disk->durable + sector * 512;

	for (unsigned i = 0; i < PIECE; i++)
		if (bytes[i] != byte)
			return false;
	return true;
}

static int write_new(uint64_t sector)
{
	memset(driver.slot.data, NEW, PIECE + 1);
	return vm_disk_request(&driver, VM_BLK_T_OUT, sector, PIECE);
}

/* As no disk takes it past the page cache. */
static int write_misaligned(uint64_t sector)
{
	int status;

	driver.slot.data_addr++;
	status = write_new(sector);
	driver.slot.data_addr--;
	return status;
}

static int zero(uint64_t sector)
{
	return vm_disk_write_zeroes(&driver, sector, SECTORS, 0);
}

static int zero_by_unmapping(uint64_t sector)
{
	return vm_disk_write_zeroes(&driver, sector, SECTORS, VM_BLK_UNMAP);
}

static int zero_by_writing(uint64_t sector)
{
	int status;

	disk->cannot_allocate = true;
	status = zero(sector);
	disk->cannot_allocate = false;
	return status;
}

static int discard(uint64_t sector)
{
	return vm_disk_discard(&driver, sector, SECTORS);
}

static const struct change {
	const char *name;
	int (*make)(uint64_t sector);
	int byte; /* that it leaves */
} changes[] = {
	{"a write", write_new, NEW},
	{"a misaligned write", write_misaligned, NEW},
	{"a write of zeroes", zero, 0},
	{"a write of zeroes that may unmap", zero_by_unmapping, 0},
	{"a write of zeroes that are written", zero_by_writing, 0},
	{"a discard", discard, 0},
};
enum { CHANGES = sizeof(changes) / sizeof(changes[0]) };

/* Where nothing has been changed yet. */
static uint64_t make(const struct change *change)
{
	uint64_t sector = next_sector;

	next_sector += SECTORS;
	disk->interruptions = interruptions;
	must(change->name, change->make(sector));
	return sector;
}

static void flush(void)
{
	disk->interruptions = interruptions;
	must("a flush", vm_disk_flush(&driver));
}

/* Each change is durable once it is answered. */
static void expect_durable(const char *now)
{
	phase = now;
	for (unsigned i = 0; i < CHANGES; i++)
		if (!is_durable(make(&changes[i]), changes[i].byte))
			fail(changes[i].name);
	flush();
}

/* Each is durable once a flush behind it is answered, also one on another ring, and not before: this disk does forget. */
static void expect_cached(const char *now)
{
	phase = now;
	for (unsigned i = 0; i < CHANGES; i++) {
		uint64_t sector = make(&changes[i]);

		if (!is_durable(sector, OLD))
			fail("the disk has not forgotten what was not flushed");
		driver.ring = &vm.rings[1 - i % 2];
		flush();
		driver.ring = &vm.rings[0];
		if (!is_durable(sector, changes[i].byte))
			fail(changes[i].name);
	}
}

static void start(const char *path, uint64_t without_features)
{
	const struct vm_options options = {.queues = 2, .without_features = without_features};

	phase = "a driver comes";
	must("start", vm_start(&vm, path, &options));
	vm_disk_init(&driver, &vm, 0);
}

static void turn_cache(uint8_t on)
{
	disk->interruptions = interruptions;
	must("the write cache",
	     frontend_set_config(&vm.frontend, offsetof(struct vm_blk_config, writeback), 1, 0,
				 &on));
}

/* What is in it by then is durable when it is off. */
static void turn_cache_off(void)
{
	uint64_t sectors[CHANGES];

	phase = "the write cache is turned off";
	for (unsigned i = 0; i < CHANGES; i++)
		sectors[i] = make(&changes[i]);
	turn_cache(0);
	for (unsigned i = 0; i < CHANGES; i++)
		if (!is_durable(sectors[i], changes[i].byte))
			fail(changes[i].name);
}

static void reset(void)
{
	phase = "a reset";
	must("stop", vm_stop(&vm));
	must("RESET_DEVICE", frontend_reset_device(&vm.frontend));
	must("start", vm_run(&vm));
}

static void drive(const char *path)
{
	bool cache;

	start(path, 0);
	cache = vm.config[offsetof(struct vm_blk_config, writeback)];
	if (cache)
		expect_cached("the cache is on");
	else
		expect_durable("the cache is off");
	turn_cache(1);
	expect_cached("the cache was turned on");
	interruptions = 2;
	expect_cached("each is interrupted");
	turn_cache_off();
	expect_durable("the cache is off, and each is interrupted");
	turn_cache(1);
	interruptions = 0;
	if (!cache) {
		reset();
		expect_durable("the cache was turned on, then a reset");
		turn_cache(1);
	}
	turn_cache_off();
	expect_durable("the cache was turned off");
	reset();
	expect_durable("the cache was turned off, then a reset");
	vm_close(&vm);
	start(path, VU_BIT(VM_BLK_F_FLUSH));
	turn_cache(1);
	expect_durable("a driver that cannot flush");
	vm_close(&vm);
}

int main(int argc, char **argv)
{
	struct fuse_file file = {.size = DISK_LEN, .serve = serve};

	if (argc != 3) {
		fputs("usage: vu-durable PATH SOCKET\n", stderr);
		return 2;
	}
	phase = "the disk";
	disk = mmap(NULL, sizeof(*disk), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (disk == MAP_FAILED)
		must("memory", -errno);
	memset(disk->cached, OLD, DISK_LEN);
	memset(disk->durable, OLD, DISK_LEN);
	must(argv[1], fuse_file_mount(&file, argv[1]));
	start_disk(&file);
	puts("mounted");
	fflush(stdout);
	drive(argv[2]);
	return 0;
}
