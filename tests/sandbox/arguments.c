// SPDX-License-Identifier: Apache-2.0
//
// Calls that must end the process: what a rule does not allow by one bit, and what whoever has taken over a thread
// would like to do.

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "tests/sandbox/probe.h"

enum {
	BOTH = CONTROL | WORKER,
	EVERY = BOTH | KEEPER, // a helper has rules of its own
	PAGE = 4096,
	READ_WRITE = PROT_READ | PROT_WRITE,
	IO_URING_SETUP = 425,
	IO_URING_REGISTER = 427,
	OPENAT2 = 437,
	PIDFD_GETFD = 438,
};

static u8 memory[PAGE];
static struct iovec segment = {memory, sizeof(memory)};
static char *const no_arguments[] = {NULL};

#define AT(object) ((u64)(uintptr_t)(object))
#define CALL(threads_, what_, name, ...) \
	{ \
		.threads = (threads_), .what = #name " " what_, .attempt = { \
			.number = SYS_##name, \
			.arguments = {__VA_ARGS__} \
		} \
	}
#define CALL_NUMBER(threads_, what_, number_, ...) \
	{ \
		.threads = (threads_), .what = what_, .attempt = { \
			.number = (number_), \
			.arguments = {__VA_ARGS__} \
		} \
	}

struct wish {
	unsigned threads; // that must not do it
	const char *what;
	struct attempt attempt; // its arguments may be RULE_…_FD
};

// clang-format off
static const struct wish wishes[] = {
	CALL(EVERY, "executable", mmap, 0, PAGE, READ_WRITE | PROT_EXEC, MAP_SHARED | MAP_NORESERVE, RULE_REPLACEMENT_FD, 0),
	CALL(EVERY, "executable, not writable", mmap, 0, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_NORESERVE, RULE_REPLACEMENT_FD, 0),
	CALL(EVERY, "anonymous", mmap, 0, PAGE, READ_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, UINT64_MAX, 0),
	CALL(EVERY, "anonymous, shared", mmap, 0, PAGE, READ_WRITE, MAP_SHARED | MAP_ANONYMOUS, UINT64_MAX, 0),
	CALL(EVERY, "private", mmap, 0, PAGE, READ_WRITE, MAP_PRIVATE | MAP_NORESERVE, RULE_DEVICE_FD, 0),
	CALL(EVERY, "another file at a fixed address", mmap, AT(memory), PAGE, READ_WRITE, MAP_SHARED | MAP_FIXED, RULE_DEVICE_FD, 0),
	CALL(WORKER, "guest memory by a worker", mmap, 0, PAGE, READ_WRITE, MAP_SHARED | MAP_NORESERVE, RULE_REPLACEMENT_FD, 0),
	CALL(EVERY, "to executable", mprotect, AT(memory), PAGE, READ_WRITE | PROT_EXEC),
	CALL(EVERY, "", mremap, AT(memory), PAGE, 2UL * PAGE, MREMAP_MAYMOVE),
	CALL(EVERY, "", madvise, AT(memory), PAGE, MADV_DONTNEED),
	CALL(EVERY, "", brk, 0),
	CALL(EVERY, "an inherited fd", preadv2, 0, AT(&segment), 1, 0, 0, 0),
	CALL(EVERY, "another fd", preadv2, RULE_REPLACEMENT_FD, AT(&segment), 1, 0, 0, 0),
	CALL(EVERY, "another fd", pwritev2, RULE_REPLACEMENT_FD, AT(&segment), 1, 0, 0, 0),
	CALL(CONTROL, "the disk by the control thread", preadv2, RULE_DEVICE_FD, AT(&segment), 1, 0, 0, 0),
	CALL(CONTROL, "the disk by the control thread", pwritev2, RULE_DEVICE_FD, AT(&segment), 1, 0, 0, 0),
	CALL(EVERY, "another fd", fallocate, RULE_REPLACEMENT_FD, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE),
	CALL(EVERY, "BLKDISCARD of another fd", ioctl, RULE_REPLACEMENT_FD, BLKDISCARD, AT(memory)),
	CALL(EVERY, "BLKSECDISCARD", ioctl, RULE_DEVICE_FD, BLKSECDISCARD, AT(memory)),
	CALL(EVERY, "BLKZEROOUT", ioctl, RULE_DEVICE_FD, BLKZEROOUT, AT(memory)),
	CALL(EVERY, "that grows the disk", fallocate, RULE_DEVICE_FD, 0, 0, PAGE),
	CALL(EVERY, "that takes out a range", fallocate, RULE_DEVICE_FD, FALLOC_FL_COLLAPSE_RANGE, 0, PAGE),
	CALL(EVERY, "that inserts a range", fallocate, RULE_DEVICE_FD, FALLOC_FL_INSERT_RANGE, 0, PAGE),
	CALL(EVERY, "of the disk", ftruncate, RULE_DEVICE_FD, 0),
	CALL(EVERY, "F_DUPFD", fcntl, RULE_LISTENER_FD, F_DUPFD, 0),
	CALL(EVERY, "F_DUPFD_CLOEXEC", fcntl, RULE_LISTENER_FD, F_DUPFD_CLOEXEC, 0),
	CALL(EVERY, "F_SETFD", fcntl, RULE_LISTENER_FD, F_SETFD, 0),
	CALL(EVERY, "F_SETFL, blocking", fcntl, RULE_LISTENER_FD, F_SETFL, 0),
	CALL(EVERY, "F_SETFL with O_ASYNC", fcntl, RULE_LISTENER_FD, F_SETFL, O_NONBLOCK | O_ASYNC),
	CALL(EVERY, "F_SETFL with O_DIRECT", fcntl, RULE_LISTENER_FD, F_SETFL, O_NONBLOCK | O_DIRECT),
	CALL(EVERY, "F_SETOWN", fcntl, RULE_LISTENER_FD, F_SETOWN, 1),
	CALL(EVERY, "F_SETLK", fcntl, RULE_DEVICE_FD, F_SETLK, AT(memory)),
	CALL(WORKER | KEEPER, "F_OFD_SETLK", fcntl, RULE_DEVICE_FD, F_OFD_SETLK, AT(memory)),
	CALL(WORKER | KEEPER, "F_OFD_GETLK", fcntl, RULE_DEVICE_FD, F_OFD_GETLK, AT(memory)),
	CALL(EVERY, "F_OFD_GETLK of another fd", fcntl, RULE_LISTENER_FD, F_OFD_GETLK, AT(memory)),
	CALL(EVERY, "F_OFD_SETLKW", fcntl, RULE_DEVICE_FD, F_OFD_SETLKW, AT(memory)),
	CALL(EVERY, "F_ADD_SEALS", fcntl, RULE_REPLACEMENT_FD, F_ADD_SEALS, F_SEAL_WRITE),
	CALL(EVERY, "on another fd", accept4, RULE_REPLACEMENT_FD, 0, 0, 0),
	CALL(WORKER, "by a worker", accept4, RULE_LISTENER_FD, 0, 0, 0),
	CALL(WORKER, "by a worker", recvmsg, RULE_LISTENER_FD, AT(memory), 0),
	CALL(WORKER, "by a worker", sendmsg, RULE_LISTENER_FD, AT(memory), 0),
	CALL(EVERY, "SIGKILL", tgkill, RULE_OWN_PID, 1, SIGKILL),
	CALL(EVERY, "SIGTERM", tgkill, RULE_OWN_PID, 1, SIGTERM),
	CALL(EVERY, "SIGUSR1 to another process", tgkill, 1, 1, SIGUSR1),
	CALL(EVERY, "", kill, 1, 0),
	CALL(EVERY, "SIGUSR1", tkill, 1, SIGUSR1),
	CALL(EVERY, "AF_INET", socket, AF_INET, SOCK_STREAM, 0),
	CALL(EVERY, "AF_NETLINK", socket, AF_NETLINK, SOCK_RAW, 0),
	CALL(BOTH, "AF_UNIX", socket, AF_UNIX, SOCK_STREAM, 0),
	CALL(BOTH, "", connect, RULE_LISTENER_FD, AT(memory), 16),
	CALL(EVERY, "", bind, RULE_LISTENER_FD, AT(memory), 16),
	CALL(EVERY, "/", openat, (u64)AT_FDCWD, AT("/"), O_RDONLY | O_DIRECTORY),
	CALL(EVERY, "/", open_tree, (u64)AT_FDCWD, AT("/"), 0),
	CALL_NUMBER(EVERY, "openat2 /", OPENAT2, (u64)AT_FDCWD, AT("/"), AT(memory), 24),
	CALL(EVERY, "", execve, AT("/bin/sh"), AT(no_arguments), AT(no_arguments)),
	CALL(EVERY, "by fd", execveat, RULE_DEVICE_FD, AT(""), AT(no_arguments), AT(no_arguments), AT_EMPTY_PATH),
	CALL(EVERY, "as fork", clone, SIGCHLD),
	CALL(EVERY, "a thread", clone, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD),
	CALL(EVERY, "", clone3, AT(memory), sizeof(struct clone_args)),
	CALL(EVERY, "PTRACE_TRACEME", ptrace, PTRACE_TRACEME),
	CALL(EVERY, "PTRACE_ATTACH", ptrace, PTRACE_ATTACH, 1),
	CALL(EVERY, "", process_vm_writev, 1, AT(&segment), 1, AT(&segment), 1, 0),
	CALL_NUMBER(EVERY, "a second io_uring", IO_URING_SETUP, 1, AT(memory)),
	CALL_NUMBER(EVERY, "io_uring_register", IO_URING_REGISTER, RULE_DEVICE_FD, 0, 0, 0),
	CALL(EVERY, "", dup, RULE_LISTENER_FD),
	CALL(EVERY, "", dup3, RULE_LISTENER_FD, 0, 0),
	CALL_NUMBER(EVERY, "pidfd_getfd", PIDFD_GETFD, 0, 0, 0),
	CALL(EVERY, "", memfd_create, AT("x"), 0),
	CALL(EVERY, "", userfaultfd, 0),
	CALL(EVERY, "UFFDIO_COPY", ioctl, RULE_USERFAULT_FD, UFFDIO_COPY, AT(memory)),
	CALL(WORKER, "UFFDIO_REGISTER by a worker", ioctl, RULE_USERFAULT_FD, UFFDIO_REGISTER, AT(memory)),
	CALL(EVERY, "", bpf, 0, AT(memory), 32),
	CALL(EVERY, "", keyctl, 0),
	CALL(EVERY, "CLONE_NEWUSER", unshare, CLONE_NEWUSER),
	CALL(EVERY, "", setns, RULE_DEVICE_FD, 0),
	CALL(EVERY, "", mount, AT("none"), AT("/"), AT("tmpfs"), 0, 0),
	CALL(EVERY, "", chroot, AT("/")),
	CALL(EVERY, "another filter", prctl, PR_SET_SECCOMP, 2, AT(memory)),
	CALL(EVERY, "dumpable", prctl, PR_SET_DUMPABLE, 1),
	CALL(EVERY, "a key press", ioctl, 0, TIOCSTI, AT("x")),
	CALL(EVERY, "standard input", read, 0, AT(memory), 1),
	CALL(EVERY, "its own handler", rt_sigaction, SIGSYS, AT(memory), 0, 8),
	CALL(EVERY, "", prlimit64, 0, 7, AT(memory), 0),
	CALL(EVERY, "", setresuid, 0, 0, 0),
	CALL(EVERY, "", perf_event_open, AT(memory), 0, 0, UINT64_MAX, 0),
};
// clang-format on

static unsigned expect_death(const struct probed *probed, enum thread thread,
			     const struct attempt *attempt, const char *what)
{
	bool survived = survives(probed, attempt);

	printf("%s %s: %s\n", thread_name(thread), survived ? "SURVIVES" : "killed", what);
	return survived;
}

/* Whatever its arguments are, and for a reason: --sandbox-report tells it. */
static bool is_allowed(const struct probed *probed, long number)
{
	for (size_t t = 0; t < probed->table_count; t++)
		for (size_t i = 0; i < probed->tables[t].count; i++)
			if (probed->tables[t].rules[i].number == number &&
			    probed->tables[t].rules[i].check_count == 0)
				return true;
	return false;
}

static unsigned try_wish(const struct probed *probed, enum thread thread, const struct wish *wish)
{
	struct attempt attempt = wish->attempt;

	if (!(wish->threads & (unsigned)thread) || is_allowed(probed, attempt.number))
		return 0;
	for (unsigned i = 0; i < ARGUMENTS; i++)
		attempt.arguments[i] = fd_or_value(probed, attempt.arguments[i]);
	return expect_death(probed, thread, &attempt, wish->what);
}

/* All that the rule demands, but one bit of one argument. */
static unsigned try_near_miss(const struct probed *probed, enum thread thread,
			      const struct syscall_rule *rule, unsigned missed, u64 bit)
{
	struct attempt attempt = {.number = rule->number};
	char what[64];

	for (unsigned i = 0; i < rule->check_count; i++)
		attempt.arguments[rule->checks[i].index] =
			fd_or_value(probed, rule->checks[i].value);
	attempt.arguments[rule->checks[missed].index] ^= bit;
	snprintf(what, sizeof(what), "%s with arg%u=%#llx", rule->name, rule->checks[missed].index,
		 (unsigned long long)attempt.arguments[rule->checks[missed].index]);
	return expect_death(probed, thread, &attempt, what);
}

static unsigned try_near_misses(const struct probed *probed, enum thread thread,
				const struct syscall_rule *rule)
{
	unsigned failures = 0;

	for (unsigned i = 0; i < rule->check_count; i++) {
		u64 mask = rule->checks[i].mask, lowest = mask & -mask;
		u64 highest = BIT64(63 - __builtin_clzll(mask));

		failures += try_near_miss(probed, thread, rule, i, lowest);
		failures += try_near_miss(probed, thread, rule, i, highest);
	}
	return failures;
}

unsigned try_arguments(const struct probed *probed, enum thread thread)
{
	unsigned failures = 0;

	for (size_t i = 0; i < ARRAY_SIZE(wishes); i++)
		failures += try_wish(probed, thread, &wishes[i]);
	for (size_t t = 0; t < probed->table_count; t++)
		for (size_t i = 0; i < probed->tables[t].count; i++)
			failures += try_near_misses(probed, thread, &probed->tables[t].rules[i]);
	return failures;
}
