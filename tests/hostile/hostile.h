// SPDX-License-Identifier: Apache-2.0
//
// What the malformed, hostile or merely unusual inputs share: the back-end they are sent to, a
// front-end that is good until it is told otherwise, and the consequences that may follow.
//
// Nothing here returns an error: what is not as it must be ends the program with a message.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "tests/frontend/blk.h"
#include "tests/frontend/vm.h"

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

enum {
	IMAGE_LEN = 4 << 20,
	IMAGE_SECTORS = IMAGE_LEN / VM_BLK_SECTOR,
	QUEUES = 4, /* that the back-end offers */
	GUEST_QUEUES = 2,
	RING_SIZE = 128,
	SOON_MS = 3000, /* what must happen has happened by then */
	MOMENT_MS = 10, /* what must not happen would have happened by then */
	DESC = sizeof(struct vm_desc),
	NEXT = VM_DESC_F_NEXT,
	WRITE = VM_DESC_F_WRITE,
	INDIRECT = VM_DESC_F_INDIRECT,
};

/* Guest addresses: where no memory is, and where inputs put more. */
#define NOWHERE (UINT64_C(1) << 50)
#define ELSEWHERE (UINT64_C(1) << 40)

struct target;

/* What is served if not a disk: the applet, and a good front-end's whole life with it. */
struct served {
	const char *applet;
	void (*serve_good_one)(struct target *target);
};

/* One row of the catalogue. */
struct input {
	const char *id;
	const char *description;
	void (*run)(struct target *target);
	const char *const *options;		/* more for the back-end's command line, or NULL */
	void (*prepare)(struct target *target); /* changes the image before the start, or NULL */
	const struct served *served;		/* NULL: a disk */
};

extern const struct input socket_inputs[], fd_inputs[], state_inputs[], device_inputs[],
	notify_inputs[], memory_inputs[], setup_inputs[], chain_inputs[], indirect_inputs[],
	ring_inputs[], packed_inputs[], inflight_inputs[], blk_inputs[], disk_inputs[],
	rng_inputs[], console_inputs[], postcopy_inputs[];

/* ---- target.c: the back-end's process ---- */

struct target {
	const char *program;
	const char *engine; /* sync, uring, or direct: uring that bypasses the page cache */
	const char *const *options;
	const struct served *served;
	pid_t pid;
	char folder[32], socket[64], log[64], image[4096];
	unsigned fds, maps; /* open and mapped while no front-end is connected */
	bool read_only;
};

void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
#define expect(condition, ...) \
	do { \
		if (!(condition)) \
			fail(__VA_ARGS__); \
	} while (0)

/* Makes a disk in the folder, on which sector n begins with the number n, and serves it. */
void target_start(struct target *target, const struct input *input, const char *folder);
/* The same without a new disk. */
void target_run(struct target *target);
/* It ends well and soon, by itself or after SIGTERM. */
void target_await_end(struct target *target);
void target_end(struct target *target);
/* Alive, at rest, with nothing left behind, serving a good front-end, and ending when asked to. */
void target_finish(struct target *target);
/* Removes the files; kills the process if it is there still. */
void target_remove(struct target *target);
unsigned target_fds(const struct target *target);
unsigned target_maps(const struct target *target);
/* Resident memory in KiB. */
unsigned target_rss(const struct target *target);
/* Sets a resource limit (RLIMIT_…) of the back-end; the old one. */
uint64_t target_limit(const struct target *target, int resource, uint64_t limit);
/* The image file, opened; and that its sectors [first, first + count) are as they were made. */
int target_image(const struct target *target, int flags);
void expect_untouched(const struct target *target, uint64_t first, uint64_t count);
void fill_image(const struct target *target, uint64_t sectors);

void sleep_ms(unsigned ms);
int64_t clock_ms(void);

/* ---- message.c: a connection ---- */

struct message {
	uint32_t request, size;
	const void *payload;
	const int *fds;
	size_t fd_count;
};

#define MESSAGE_FDS(number, bytes, len, files, count) \
	(&(const struct message){.request = (number), \
				 .size = (uint32_t)(len), \
				 .payload = (bytes), \
				 .fds = (files), \
				 .fd_count = (count)})
#define MESSAGE(number, bytes, len) MESSAGE_FDS(number, bytes, len, NULL, 0)
#define EMPTY(number) MESSAGE(number, NULL, 0)

/* A memfd of len bytes. */
int memory_file(uint64_t len);
/* Connects and negotiates these protocol features; asks for an answer to everything. */
void meet(const struct target *target, struct frontend *frontend, uint64_t protocol_features);
/* All protocol features that the back-end offers. */
#define EVERYTHING UINT64_MAX

/* The back-end answers this connection's messages. */
void expect_answers(struct frontend *frontend);
void expect_closed(struct frontend *frontend);
void expect_accepted(struct frontend *frontend, const struct message *message);
/* Refused (NACK), with nothing kept, and the connection goes on. */
void expect_refused(const struct target *target, struct frontend *frontend,
		    const struct message *message);
/* The same on connections of its own: refused where an answer is asked for, else closed. */
void expect_refused_or_closed(const struct target *target, const struct message *message);
/* A connection on which exactly these bytes and fds are sent is closed. */
void expect_bytes_close(const struct target *target, const void *bytes, size_t len, const int *fds,
			size_t fd_count);

/* ---- guest.c: a good front-end with GUEST_QUEUES rings that run, and raw access to them ---- */

struct guest {
	struct target *target;
	struct vm vm;
	struct vm_blk_slot slots[GUEST_QUEUES];
	uint32_t block; /* bytes of the disk's blocks */
};

void guest_start(struct guest *guest, struct target *target, const struct vm_options *options);
void guest_close(struct guest *guest);
/* Write (unless read-only) and read back through this ring. */
void expect_io(struct guest *guest, unsigned queue);
/* One request with the ring's slot, whose data is not touched before; the status. */
uint8_t guest_io(struct guest *guest, unsigned queue, uint32_t type, uint64_t sector, uint32_t len);
/* Waits for the next completion of a chain added by vm_blk_add, without its call; the status is good. */
void guest_take(struct guest *guest, unsigned queue);
/* Tells all about the ring, which is stopped, its base being vm.bases[queue]. */
void guest_set_up_ring(struct guest *guest, unsigned queue);
/* Sets the ring up anew, from index 0, as a driver does after a device reset. */
void guest_restart_ring(struct guest *guest, unsigned queue);
/* More memory at this guest address; what vm_memory_at answers for it. */
uint8_t *guest_add_memory(struct guest *guest, uint64_t guest_addr, uint64_t size);

/* Two regions of len bytes that are neighbours in the guest and nowhere else; the address between them. */
uint64_t guest_add_neighbours(struct guest *guest, uint64_t len);

/* The slot's header, ready for a raw chain; the status byte is VM_BLK_NO_STATUS. */
struct vm_blk_slot *guest_header(struct guest *guest, unsigned queue, uint32_t type,
				 uint64_t sector);
struct vm_desc raw_desc(uint64_t addr, uint32_t len, unsigned flags, unsigned next);
/* Writes descriptors to the ring's table from entry 0 on. */
void raw_write(struct vm_ring *ring, const struct vm_desc *descs, unsigned count);
/* Makes the head available and notifies. */
void raw_offer(struct vm_ring *ring, unsigned head);
/* Sets avail.idx itself and notifies. */
void raw_index(struct vm_ring *ring, uint16_t index);
/* Waits for the next used entry. */
struct vm_used_elem raw_wait(struct vm_ring *ring);
bool raw_used(const struct vm_ring *ring);

/* A chain of the slot's header, len bytes of its data, and its status byte: 3 descriptors. */
void raw_chain(struct vm_desc *descs, const struct vm_blk_slot *slot, uint32_t len, bool in);
/* guest_start(), and the chain of a good read of one block for the input to spoil. */
void raw_start_read(struct guest *guest, struct target *target, struct vm_desc *descs);
/* Puts the descriptors into an indirect table of their own; the descriptor of the table. */
struct vm_desc raw_table(struct guest *guest, const struct vm_desc *descs, unsigned count);
/* Offers the descriptors as one chain from entry 0 on ring 0, and then one consequence each: */
uint8_t expect_status(struct guest *guest, const struct vm_desc *descs, unsigned count);
void expect_used0(struct guest *guest, const struct vm_desc *descs, unsigned count);
void expect_chain_breaks(struct guest *guest, const struct vm_desc *descs, unsigned count);

/* Ring 0 has stopped for good: told once, GET_VRING_BASE answers, the other ring lives; it works again when set up anew. */
void expect_broken(struct guest *guest);
void expect_not_broken(struct guest *guest, unsigned queue);
