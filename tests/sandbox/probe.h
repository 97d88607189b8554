// SPDX-License-Identifier: Apache-2.0
//
// What the parts of the probe share. It is the product with one change: where a thread would install its filter, it
// first forks once for each system call to try. The copy installs the filter and makes the call; the thread looks on.
#pragma once

#include "core/server.h"
#include "seccomp/sandbox.h"

/* helper: a process of the applet's own beside the keeper */
enum thread { KEEPER = 1, CONTROL = 2, WORKER = 4, HELPER = 8 };
enum { CALLS = 1024, ARGUMENTS = 6, X32_BIT = 0x40000000 };
/* An fd, an address and a length that are none. */
#define NOTHING 0x7eeeeeeeULL

/* A filter with what it was made of. */
struct probed {
	const struct sandbox_filter *filter;
	struct sandbox *sandbox;
	struct sandbox_table tables[3];
	size_t table_count;
	struct sandbox_fds fds;
};

/* A call: this number and arguments; foreign: by the 32-bit gate, which only x86-64 has. */
struct attempt {
	long number;
	u64 arguments[ARGUMENTS];
	bool foreign;
};

/* ---- probe.c ---- */

/* True if the copy lived through the call, or ended by the call itself. */
bool survives(const struct probed *probed, const struct attempt *attempt);
/* An argument with the fd in the place of RULE_…_FD. */
u64 fd_or_value(const struct probed *probed, u64 value);
const char *thread_name(enum thread thread);
const char *call_name(long number);
/* As --sandbox-report prints it. */
void print_rule(enum thread thread, const struct syscall_rule *rule);

/* ---- What the modes do in a thread: they print, and answer how often something was wrong. ---- */

/* All numbers, and all rules with what they allow: prints what survives. */
unsigned try_calls(const struct probed *probed, enum thread thread);
/* What each rule does not allow by a hair, and a list of what an attacker would like to do: all must die. */
unsigned try_arguments(const struct probed *probed, enum thread thread);
/* What the rest of the lockdown keeps the control thread from; that must fail. */
unsigned try_walls(void);
/* All operations of the worker's io_uring: prints those that it lets pass. */
unsigned try_ring(const struct server *server);
/* How many operations this kernel knows; before the lockdown. */
void learn_ring_opcodes(void);

/* Prints the calls that the threads of a running process may make whatever their arguments are, read from the kernel. */
int print_filters(pid_t pid);
