// SPDX-License-Identifier: Apache-2.0
//
// Reads the filters of a running process from the kernel and runs them here, to see what the product that ships can do.

#include <dirent.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "core/sys.h"
#include "tests/sandbox/probe.h"

#if defined(__x86_64__)
enum { ARCHITECTURE = (int)AUDIT_ARCH_X86_64 };
#elif defined(__aarch64__)
enum { ARCHITECTURE = (int)AUDIT_ARCH_AARCH64 };
#endif

static bool holds(const struct sock_filter *jump, u32 accumulator)
{
	switch (BPF_OP(jump->code)) {
	case BPF_JEQ:
		return accumulator == jump->k;
	case BPF_JGT:
		return accumulator > jump->k;
	case BPF_JGE:
		return accumulator >= jump->k;
	case BPF_JSET:
		return accumulator & jump->k;
	default:
		abort();
	}
}

/* What the filter answers: SECCOMP_RET_… */
static u32 run_filter(const struct sock_filter *filter, const struct seccomp_data *data)
{
	u32 accumulator = 0;

	for (const struct sock_filter *at = filter;; at++) {
		switch (at->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			memcpy(&accumulator, (const u8 *)data + at->k, sizeof(accumulator));
			break;
		case BPF_ALU | BPF_AND | BPF_K:
			accumulator &= at->k;
			break;
		case BPF_JMP | BPF_JA:
			at += at->k;
			break;
		case BPF_RET | BPF_K:
			return at->k;
		default:
			if (BPF_CLASS(at->code) != BPF_JMP)
				abort();
			at += holds(at, accumulator) ? at->jt : at->jf;
		}
	}
}

static void print_allowed(enum thread thread, const struct sock_filter *filter)
{
	for (int number = 0; number < CALLS; number++) {
		struct seccomp_data data = {.nr = number, .arch = (u32)ARCHITECTURE};

		for (unsigned i = 0; i < ARGUMENTS; i++)
			data.args[i] = NOTHING;
		if (run_filter(filter, &data) == SECCOMP_RET_ALLOW)
			printf("%s %s\n", thread_name(thread), call_name(number));
	}
}

/* The number of instructions, or -errno. */
static int read_filter(pid_t thread, struct sock_filter *filter)
{
	int status, count;

	if (ptrace(PTRACE_SEIZE, thread, 0, 0) != 0 || ptrace(PTRACE_INTERRUPT, thread, 0, 0) != 0)
		return -errno;
	if (sys(waitpid(thread, &status, __WALL)) != thread)
		return -errno;
	if (ptrace(PTRACE_SECCOMP_GET_FILTER, thread, 1, NULL) >= 0)
		return -EEXIST; // there is a second one
	count = sys_int(ptrace(PTRACE_SECCOMP_GET_FILTER, thread, 0, filter));
	ptrace(PTRACE_DETACH, thread, 0, 0);
	return count;
}

int print_filters(pid_t pid)
{
	static struct sock_filter filter[BPF_MAXINSNS];
	char path[64];
	DIR *folder;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	folder = opendir(path);
	for (const struct dirent *entry; folder && (entry = readdir(folder));) {
		pid_t thread = (pid_t)strtol(entry->d_name, NULL, 10);
		int count = thread ? read_filter(thread, filter) : 0;

		if (count < 0) {
			fprintf(stderr, "sandbox-probe: filter of thread %d: %s\n", (int)thread,
				strerror(-count));
			return 1;
		}
		if (count > 0)
			print_allowed(thread == pid ? CONTROL : WORKER, filter);
	}
	return folder ? closedir(folder) : 1;
}
