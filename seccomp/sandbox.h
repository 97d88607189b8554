// SPDX-License-Identifier: Apache-2.0
// The lockdown: what a process gives up between opening its files and reading a front-end's first byte.
#pragma once

#include <linux/filter.h>
#include <sys/types.h>

#include "seccomp/rule.h"

enum { SANDBOX_MAX_INSTRUCTIONS = 512 };
enum sandbox_mode { SANDBOX_STRICT, SANDBOX_BEST_EFFORT, SANDBOX_NONE };

struct sandbox_options {
	enum sandbox_mode mode;
	const char *user, *group; // name or number; NULL: nobody if we are root, else who we are
	const char *netns; // a network namespace to join; NULL: a new one, without interfaces
};

struct sandbox {
	enum sandbox_mode mode;
	uid_t uid;
	gid_t gid;
	bool change_ids;
	int netns_fd;	   // -1: none given
	char missing[128]; // steps that failed, comma-separated; empty: none
};

// Closes all inherited fds but 0 to 2 and those in `keep`; looks up users and opens the network namespace. Before anything is
// opened. 0 or -errno, logged.
must_check int sandbox_prepare(struct sandbox *sandbox, const struct sandbox_options *options,
			       const int *keep, unsigned keep_count);

// Namespaces, empty root, ids, capabilities, no new privileges, landlock: what threads inherit. After everything is open and before the
// first thread. 0, or -errno if a step fails and the mode is strict; logged with what to do.
must_check int sandbox_isolate(struct sandbox *sandbox);

// Resource limits that would keep threads and memory from being made. After the last thread has started and all memory is
// reserved; kernel_threads: let the kernel make its own. As sandbox_isolate.
must_check int sandbox_limit(struct sandbox *sandbox, unsigned max_fds, bool kernel_threads);

// What RULE_…_FD stand for.
struct sandbox_fds {
	int replacement, device, listener, userfault;
	const int *own; // of RULE_OWN_FDS
	unsigned own_count;
};

// A filter, made ready while memory can still be had.
struct sandbox_filter {
	struct sock_filter instructions[SANDBOX_MAX_INSTRUCTIONS];
	unsigned short count; // 0: none
};

struct sandbox_table {
	const struct syscall_rule *rules;
	size_t count;
};

// Makes the filter that allows these calls and kills the process for any other. As sandbox_isolate.
must_check int sandbox_compile(struct sandbox *sandbox, struct sandbox_filter *filter,
			       const struct sandbox_table *tables, size_t table_count,
			       const struct sandbox_fds *fds);

// The calling thread's own from now on. As sandbox_isolate.
must_check int sandbox_install(struct sandbox *sandbox, const struct sandbox_filter *filter);

// For the keeper, which keeps its file system: no capability but, if we have it, the one to reach a socket in anybody's folder; no
// new privileges. As sandbox_isolate.
must_check int sandbox_lock_keeper(struct sandbox *sandbox);

// Notes that a step has failed: 0 if the process may go on without it, else `error`, logged with the advice.
must_check int sandbox_step_failed(struct sandbox *sandbox, const char *step, int error,
				   const char *advice);

// One line that says which level was reached: "sandbox: strict"; or, as a warning that is shown at every log level, "sandbox: partial,
// missing landlock" or "sandbox: none".
void sandbox_report(const struct sandbox *sandbox);
