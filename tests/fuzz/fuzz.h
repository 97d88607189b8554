// SPDX-License-Identifier: Apache-2.0
// What every fuzz target uses: its input as a program of bytes, workers that its own thread turns, and a count of what
// must be given back. A target is one file, fuzz_NAME.c; each call of it plays one input from a clean start.
#pragma once

#include "core/worker.h"

// What libFuzzer calls. Answers 0.
int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

// ---- the input. Behind its end there are only zeroes. ----

struct fuzz_input {
	const u8 *next;
	size_t left;
};

u8 fuzz_u8(struct fuzz_input *input);
u16 fuzz_u16(struct fuzz_input *input);
u32 fuzz_u32(struct fuzz_input *input);
void fuzz_bytes(struct fuzz_input *input, void *bytes, size_t len);

// ---- workers: worker_call runs the function at once, worker_start makes no thread ----

// Turns the worker's loop until nothing is put off, but no more than a few times: a ring that is polled never rests.
void fuzz_turn(struct worker *worker);

// ---- what is the same in each run (tests/fuzz/steady.c). The linker leads the program's calls there ----

// The clock begins anew with an input; each look at it takes it a step further.
void fuzz_restart_clock(void);

// ---- what is held. The linker leads the program's calls of mmap and munmap through here. ----

// File descriptors that are open; shared mappings that are there.
unsigned fuzz_open_fds(void);
unsigned fuzz_mappings(void);
