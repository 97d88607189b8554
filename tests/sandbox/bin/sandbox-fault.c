// SPDX-License-Identifier: Apache-2.0
//
// Takes guest memory away from a running back-end, at a random moment between the first message and full load: the
// memory's file is truncated, first somewhere, then to nothing. The back-end must close the connection if its rings
// run, and serve the next front-end, which each round is.
//
// usage: sandbox-fault SOCKET memfd|shm|hugetlb ROUNDS
// Prints how many rounds ended how. Exit status 1: the back-end did not do what it must.

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "tests/frontend/blk.h"
#include "tests/frontend/vm.h"

enum {
	QUEUES = 2,
	RING_SIZE = 64,
	DEPTH = 8, /* requests in flight on each ring */
	DATA_LEN = 4096,
	MEMORY_LEN = 8 << 20,
	HUGE_PAGE = 2 << 20,
	MOST_WAIT_US = 12000, /* until the file is truncated */
	CLOSE_MS = 3000,      /* until the connection must be closed … */
	UNTOUCHED_MS = 20,    /* … or may still be open, since no ring runs */
	DISK_BLOCKS = 256,
};

enum outcome { CLOSED, CLOSED_EARLY, UNTOUCHED, FAILED, OUTCOMES };

struct round {
	int fd; /* of the memory */
	size_t page_len;
	useconds_t wait_us;
	size_t first_len;
	struct vm vm;
	struct vm_blk_slot slots[QUEUES][DEPTH];
	volatile bool truncated;
	volatile bool rings_run;
};

static sigjmp_buf memory_gone;

static void jump(int number)
{
	(void)number;
	siglongjmp(memory_gone, 1);
}

static int complain(const char *what, int error)
{
	fprintf(stderr, "sandbox-fault: %s: %s\n", what, strerror(error));
	return FAILED;
}

/* A new file for guest memory, which has no name any more; -1: errno tells. */
static int make_memory(const char *kind)
{
	char path[] = "/dev/shm/sandbox-fault.XXXXXX";
	int fd;

	if (strcmp(kind, "shm") == 0) {
		fd = mkostemp(path, O_CLOEXEC);
		unlink(path);
	} else {
		fd = memfd_create(kind, MFD_CLOEXEC | (strcmp(kind, "hugetlb") == 0
							       ? MFD_HUGETLB | MFD_HUGE_2MB
							       : 0U));
	}
	return fd < 0 || ftruncate(fd, MEMORY_LEN) != 0 ? -1 : fd;
}

static void *truncate_memory(void *context)
{
	struct round *round = context;

	usleep(round->wait_us);
	(void)!ftruncate(round->fd, (off_t)round->first_len);
	usleep(round->wait_us / 8);
	(void)!ftruncate(round->fd, 0);
	round->truncated = true;
	return NULL;
}

/* Data that are not zero, every other time where direct I/O cannot take them from. */
static void init_slot(struct vm_blk_slot *slot, struct vm_memory *memory, unsigned shift)
{
	vm_blk_slot_init(slot, memory, DATA_LEN + 1);
	memset(slot->data, 0xff, DATA_LEN + 1);
	slot->data_addr += shift;
}

/* Puts our file in the place of the memory that the vm has made for itself. */
static int replace_memory(struct round *round)
{
	struct vm *vm = &round->vm;
	int error;

	for (unsigned i = 0; i < vm->queues; i++)
		vm_ring_free(&vm->rings[i]);
	vm_memory_free(&vm->memory);
	error = vm_memory_add_file(&vm->memory, round->fd, 0, 0, MEMORY_LEN, 0);
	for (unsigned i = 0; error >= 0 && i < vm->queues; i++) {
		error = vm_ring_init(&vm->rings[i], &vm->memory, RING_SIZE, false, 4);
		vm->rings[i].event_idx = vm->features & VU_BIT(VM_F_EVENT_IDX);
		for (unsigned n = 0; error >= 0 && n < DEPTH; n++)
			init_slot(&round->slots[i][n], &vm->memory, n % 2);
	}
	return error < 0 ? error : 0;
}

static void add_request(struct round *round, unsigned queue, struct vm_blk_slot *slot)
{
	uint64_t sector = (uint64_t)(rand() % DISK_BLOCKS) * (DATA_LEN / VM_BLK_SECTOR);

	(void)vm_blk_add(&round->vm.rings[queue], slot, rand() % 2 ? VM_BLK_T_IN : VM_BLK_T_OUT,
			 sector, DATA_LEN);
}

/* Keeps the rings busy until there is no memory any more; then a signal ends this, or what the rings say. */
static void load(struct round *round)
{
	struct vm_completion completion;

	for (unsigned i = 0; i < QUEUES; i++)
		for (unsigned n = 0; n < DEPTH; n++)
			add_request(round, i, &round->slots[i][n]);
	while (!round->truncated) {
		for (unsigned i = 0; i < QUEUES; i++) {
			vm_ring_kick(&round->vm.rings[i]);
			while (vm_ring_take(&round->vm.rings[i], &completion) == 1)
				add_request(round, i, completion.cookie);
		}
	}
}

/* Notifies the rings, without a look at them, until the back-end has closed the connection. */
static enum outcome wait_closed(const struct round *round)
{
	int tries = round->rings_run ? CLOSE_MS : UNTOUCHED_MS;
	struct pollfd peer = {.fd = round->vm.frontend.fd, .events = POLLRDHUP};
	const uint64_t one = 1;

	for (int i = 0; i < tries; i++) {
		for (unsigned n = 0; round->rings_run && n < QUEUES; n++)
			(void)!write(round->vm.rings[n].kick_fd, &one, sizeof(one));
		if (poll(&peer, 1, 1) == 1)
			return round->rings_run ? CLOSED : CLOSED_EARLY;
	}
	return round->rings_run ? (enum outcome)complain("the connection is not closed", ETIMEDOUT)
				: UNTOUCHED;
}

static enum outcome play(struct round *round, const char *path)
{
	static const struct vm_options options = {
		.queues = QUEUES, .queue_size = RING_SIZE, .memory_size = 1 << 20};
	pthread_t thread;
	int error;

	error = vm_connect(&round->vm, path, &options);
	if (error)
		return (enum outcome)complain("the next front-end is not served", -error);
	signal(SIGBUS, jump);
	error = replace_memory(round);
	if (error)
		return (enum outcome)complain("memory", -error);
	error = pthread_create(&thread, NULL, truncate_memory, round);
	if (error)
		return (enum outcome)complain("thread", error);
	if (sigsetjmp(memory_gone, 1) == 0) {
		round->rings_run = vm_run(&round->vm) == 0;
		if (round->rings_run)
			load(round);
	}
	pthread_join(thread, NULL);
	return wait_closed(round);
}

/* In a process of its own, which leaves nothing behind wherever it is when the memory goes. */
static enum outcome run_round(const char *path, const char *kind)
{
	static struct round round;
	int status;
	pid_t pid;

	round.fd = make_memory(kind);
	if (round.fd < 0)
		return (enum outcome)complain(kind, errno);
	round.page_len = strcmp(kind, "hugetlb") == 0 ? HUGE_PAGE : 4096;
	round.wait_us = (useconds_t)(rand() % MOST_WAIT_US);
	round.first_len = (size_t)rand() % (MEMORY_LEN / round.page_len) * round.page_len;
	pid = fork();
	if (pid == 0)
		_exit((int)play(&round, path));
	close(round.fd);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return (enum outcome)complain("the front-end", ECHILD);
	return (enum outcome)WEXITSTATUS(status);
}

int main(int argc, char **argv)
{
	unsigned outcomes[OUTCOMES] = {0};
	long rounds = argc == 4 ? strtol(argv[3], NULL, 10) : 0;

	if (rounds < 1) {
		fputs("usage: sandbox-fault SOCKET memfd|shm|hugetlb ROUNDS\n", stderr);
		return 2;
	}
	srand((unsigned)time(NULL));
	for (long i = 0; i < rounds && outcomes[FAILED] == 0; i++)
		outcomes[run_round(argv[1], argv[2])]++;
	printf("%s closed=%u refused=%u untouched=%u\n", argv[2], outcomes[CLOSED],
	       outcomes[CLOSED_EARLY], outcomes[UNTOUCHED]);
	return outcomes[FAILED] != 0;
}
