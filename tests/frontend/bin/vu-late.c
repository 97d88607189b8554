// SPDX-License-Identifier: Apache-2.0
//
// A guest whose back-end is killed while a disk request is on its way, and replaced: what the guest does from then on must not be
// undone by the request of the first back-end.
//	vu-late read|write SOCKET SECTOR [accept]
// (accept: the back-ends call it) prints "served" when the second one has answered the request and the guest has gone on, waits for a line on stdin, and looks.
// Exit status: 0 nothing came late, 1 something did, 2 the back-end failed.

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tests/frontend/blk.h"

enum { LEN = 4096, TIMEOUT_MS = 60000, OLD = 'o', NEW = 'n' };

static struct vm vm;
static struct vm_disk disk;

static void must(const char *what, int result)
{
	if (result == 0)
		return;
	fprintf(stderr, "vu-late: %s: %d (%s)\n", what, result,
		result < 0 ? strerror(-result) : "");
	exit(2);
}

static void lose_backend(void)
{
	struct pollfd connection = {.fd = vm.frontend.fd, .events = POLLRDHUP};

	must("the back-end lives on", poll(&connection, 1, TIMEOUT_MS) == 1 ? 0 : -ETIMEDOUT);
}

/* The dying one's socket may be there for a moment yet. */
static void find_successor(const char *path)
{
	int error;

	do
		error = vm_restart(&vm, path);
	while (error == -ECONNRESET || error == -EPIPE);
	must("the second back-end", error);
}

/* The request that the first back-end had taken, answered by the second. */
static void take_answer(void)
{
	struct vm_completion completion;

	must("waiting for the answer", vm_ring_wait(disk.ring, TIMEOUT_MS));
	must("taking the answer", vm_ring_take(disk.ring, &completion) == 1 ? 0 : -EPROTO);
	must("the answer", *disk.slot.status);
}

static int all_new(const void *data)
{
	static uint8_t wanted[LEN];

	memset(wanted, NEW, LEN);
	return memcmp(data, wanted, LEN) == 0;
}

int main(int argc, char **argv)
{
	static uint8_t data[LEN];
	const struct vm_options options = {
		.connect_timeout_ms = TIMEOUT_MS, .timeout_ms = TIMEOUT_MS, .accept = argc > 4};
	int writes = argc > 1 && strcmp(argv[1], "write") == 0;
	uint64_t sector = argc > 3 ? strtoull(argv[3], NULL, 0) : 0;

	if (argc < 4 || argc > 5 || (!writes && strcmp(argv[1], "read") != 0)) {
		fputs("usage: vu-late read|write SOCKET SECTOR [accept]\n", stderr);
		return 2;
	}
	must("the first back-end", vm_start(&vm, argv[2], &options));
	vm_disk_init(&disk, &vm, 0);
	memset(disk.slot.data, OLD, LEN);
	must("a request", vm_blk_add(disk.ring, &disk.slot, writes ? VM_BLK_T_OUT : VM_BLK_T_IN,
				     sector, LEN) < 0);
	vm_ring_kick(disk.ring);
	lose_backend();
	find_successor(argv[2]);
	take_answer();
	memset(disk.slot.data, NEW, LEN);
	if (writes)
		must("a new write", vm_disk_request(&disk, VM_BLK_T_OUT, sector, LEN));
	puts("served");
	fflush(stdout);
	(void)getchar();
	if (writes)
		must("a read", vm_disk_read(&disk, sector, data, LEN));
	return all_new(writes ? data : disk.slot.data) ? 0 : 1;
}
