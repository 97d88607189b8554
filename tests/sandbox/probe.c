// SPDX-License-Identifier: Apache-2.0
//
// Runs an applet up to its last step of the lockdown and tries out what each of its threads can still do.
//
// usage: sandbox-probe calls|arguments|ring|walls APPLET OPTION...
//        sandbox-probe filters PID
//
// calls prints a line for each system call that survives; the others fail if something does that should not. walls looks
// at what is left to a thread that has no filter.
// The limit on processes is not set, since it would also stop the forks by which this works.

#include <poll.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "tests/sandbox/probe.h"

/* main.c itself, with these in the place of three functions */
static int probe_compile(struct sandbox *sandbox, struct sandbox_filter *filter,
			 const struct sandbox_table *tables, size_t table_count,
			 const struct sandbox_fds *fds);
static int probe_install(struct sandbox *sandbox, const struct sandbox_filter *filter);
static int probe_limit(struct sandbox *sandbox, unsigned max_fds, bool kernel_threads);
static void probe_on_workers(struct server *server, void (*function)(void *context), void *context);
#define sandbox_compile probe_compile
#define sandbox_install probe_install
#define sandbox_limit probe_limit
#define server_on_workers probe_on_workers
#define main program_main
#include "main.c"
#undef sandbox_compile
#undef sandbox_install
#undef sandbox_limit
#undef server_on_workers
#undef main

enum { MOST_FILTERS = 4, STUCK_MS = 2000 };
#define STUCK_NS (STUCK_MS * UINT64_C(1000000))

/* What a copy tells its parent. */
struct report {
	bool installed, returned;
};

static volatile struct report *report;
static const char *mode;
static pid_t program_pid;
static struct probed all[MOST_FILTERS];
static unsigned probed_count;
static const struct server *probed_server;
static unsigned worker_failures;
static char names[CALLS][32];

static int probe_compile(struct sandbox *sandbox, struct sandbox_filter *filter,
			 const struct sandbox_table *tables, size_t table_count,
			 const struct sandbox_fds *fds)
{
	struct probed *probed = &all[probed_count++];

	assert(probed_count <= MOST_FILTERS && table_count <= ARRAY_SIZE(probed->tables));
	*probed = (struct probed){
		.filter = filter, .sandbox = sandbox, .table_count = table_count, .fds = *fds};
	memcpy(probed->tables, tables, table_count * sizeof(*tables));
	return sandbox_compile(sandbox, filter, tables, table_count, fds);
}

static int probe_limit(struct sandbox *sandbox, unsigned max_fds, bool kernel_threads)
{
	(void)kernel_threads;
	return sandbox_limit(sandbox, max_fds, true);
}

static void probe_on_workers(struct server *server, void (*function)(void *context), void *context)
{
	probed_server = server;
	server_on_workers(server, function, context);
}

const char *thread_name(enum thread thread)
{
	return thread == KEEPER	   ? "keeper"
	       : thread == HELPER  ? "helper"
	       : thread == CONTROL ? "control"
				   : "worker";
}

const char *call_name(long number)
{
	return names[number];
}

static void learn_names(void)
{
	for (int i = 0; i < CALLS; i++) {
		char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, i);

		snprintf(names[i], sizeof(names[i]), name ? "%s" : "%s%d", name ? name : "#", i);
		free(name);
	}
}

u64 fd_or_value(const struct probed *probed, u64 value)
{
	switch (value) {
	case RULE_REPLACEMENT_FD:
		return (u32)probed->fds.replacement;
	case RULE_DEVICE_FD:
		return (u32)probed->fds.device;
	case RULE_LISTENER_FD:
		return (u32)probed->fds.listener;
	case RULE_USERFAULT_FD:
		return (u32)probed->fds.userfault;
	case RULE_OWN_FDS:
		return probed->fds.own_count ? (u32)probed->fds.own[0] : NOTHING;
	case RULE_OWN_PID:
		return (u32)program_pid;
	default:
		return value;
	}
}

void print_rule(enum thread thread, const struct syscall_rule *rule)
{
	print_rules(thread_name(thread), rule, 1);
}

static void issue(const struct attempt *attempt)
{
	const u64 *a = attempt->arguments;

	if (!attempt->foreign) {
		syscall(attempt->number, a[0], a[1], a[2], a[3], a[4], a[5]);
		return;
	}
#ifdef __x86_64__
	long result = attempt->number;

	__asm__ volatile("int $0x80"
			 : "+a"(result)
			 : "b"(a[0]), "c"(a[1]), "d"(a[2]), "S"(a[3]), "D"(a[4])
			 : "memory", "r8", "r9", "r10", "r11");
#endif
}

static _Noreturn void be_copy(const struct probed *probed, const struct attempt *attempt)
{
	if (sandbox_install(probed->sandbox, probed->filter))
		_exit(EXIT_SANDBOX);
	report->installed = true;
	issue(attempt);
	report->returned = true;
	_exit(EXIT_OK);
}

/* A call that waits has survived too. */
static int wait_for(pid_t pid)
{
	struct pollfd ended = {.fd = sys_int(syscall(SYS_pidfd_open, pid, 0)), .events = POLLIN};
	int status, ready;

	assert(ended.fd >= 0);
	// a worker is interrupted all the time by the control thread, which waits for it
	for (u64 deadline = sys_clock_ns() + STUCK_NS; (ready = poll(&ended, 1, STUCK_MS)) < 0;)
		if (sys_clock_ns() > deadline)
			break;
	if (ready != 1)
		kill(pid, SIGKILL);
	close(ended.fd);
	assert(sys(waitpid(pid, &status, 0)) == pid);
	return status;
}

bool survives(const struct probed *probed, const struct attempt *attempt)
{
	int status;
	pid_t pid;

	report->installed = false;
	report->returned = false;
	pid = fork();
	if (pid == 0)
		be_copy(probed, attempt);
	assert(pid > 0);
	status = wait_for(pid);
	assert(report->installed);
	// a kernel without the 32-bit gate answers it with SIGSEGV
	if (attempt->foreign && WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV)
		return report->returned;
	return report->returned || !WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS;
}

static const struct probed *find(const struct sandbox_filter *filter)
{
	for (unsigned i = 0; i < probed_count; i++)
		if (all[i].filter == filter)
			return &all[i];
	abort();
}

static unsigned try_thread(const struct probed *probed, enum thread thread)
{
	unsigned failures = 0;

	report = mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	assert(report != MAP_FAILED);
	if (strcmp(mode, "calls") == 0)
		failures = try_calls(probed, thread);
	else if (strcmp(mode, "arguments") == 0)
		failures = try_arguments(probed, thread);
	else if (strcmp(mode, "walls") == 0 && thread == CONTROL)
		failures = try_walls();
	else if (strcmp(mode, "ring") == 0 && thread == WORKER)
		failures = try_ring(probed_server);
	return failures;
}

/* The real program goes on with the keeper and the workers, and ends here with the control thread. */
static int probe_install(struct sandbox *sandbox, const struct sandbox_filter *filter)
{
	pid_t pid = (pid_t)syscall(SYS_getpid);
	const struct probed *probed = find(filter);
	const struct syscall_rule *rules = probed->tables[0].rules;
	enum thread beside =
		rules == keeper_listening_rules || rules == keeper_calling_rules ? KEEPER : HELPER;
	enum thread thread = pid != program_pid		  ? beside
			     : pid == syscall(SYS_gettid) ? CONTROL
							  : WORKER;
	unsigned failures = try_thread(probed, thread);

	if (thread == WORKER)
		worker_failures = failures;
	if (thread == CONTROL)
		_exit(failures + worker_failures ? EXIT_FAILED : EXIT_OK);
	if (pid != program_pid && failures)
		_exit(EXIT_FAILED);
	return sandbox_install(sandbox, filter);
}

static bool is_mode(const char *word)
{
	static const char *const modes[] = {"calls", "arguments", "ring", "walls"};

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
		if (strcmp(word, modes[i]) == 0)
			return true;
	return false;
}

/* Runs the program, and waits for all that it leaves behind: the keeper may still be at it. The worst exit status. */
static int run_program(int count, char **arguments)
{
	int status, worst = 0;
	pid_t pid;

	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	pid = fork();
	assert(pid >= 0);
	if (pid == 0) {
		program_pid = (pid_t)syscall(SYS_getpid);
		exit(program_main(count, arguments));
	}
	while (sys(wait(&status)) > 0)
		if (status != 0)
			worst = WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILED;
	return worst;
}

int main(int count, char **arguments)
{
	learn_names();
	setvbuf(stdout, NULL, _IOLBF, BUFSIZ); // keeper and program print at the same time
	if (count == 3 && strcmp(arguments[1], "filters") == 0)
		return print_filters((pid_t)strtol(arguments[2], NULL, 10));
	if (count < 3 || !is_mode(arguments[1])) {
		fputs("usage: sandbox-probe calls|arguments|ring|walls APPLET OPTION... | filters PID\n",
		      stderr);
		return EXIT_USAGE;
	}
	mode = strdup(arguments[1]); // the program changes how its command line looks
	if (strcmp(mode, "ring") == 0)
		learn_ring_opcodes();
	return run_program(count - 1, arguments + 1);
}
