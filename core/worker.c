// SPDX-License-Identifier: Apache-2.0
// Workers and worker_call. The two eventfds wake; the atomic `call` is what both sides believe.
// Neither eventfd is ever read: each write is one edge for an edge-triggered epoll.
#include "core/worker.h"

#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "core/sys.h"

enum { PATIENCE_MS = 200, INTERRUPT_SIGNAL = SIGUSR1 };

const struct syscall_rule worker_rules[] = {
	RULE(epoll_pwait, "waits for kicks"),
	RULE(epoll_ctl, "watches kick eventfds as rings start and stop"),
	RULE(read, "the device's state as a front-end sends it, what a device watches"),
	RULE(write, "signals eventfds, logs, sends the device's state"),
	RULE(close, "gives back a ring's eventfds"),
	RULE(clock_gettime, "where the vDSO cannot tell the time"),
	RULE(rt_sigreturn, "handlers of SIGTERM, SIGHUP and SIGBUS end"),
	RULE(exit_group, "the SIGBUS handler gives up"),
	RULE_IF(mmap, "a page for guest memory that has gone",
		ARGUMENT_INT_IS(2, PROT_READ | PROT_WRITE),
		ARGUMENT_INT_IS(3, MAP_SHARED | MAP_FIXED),
		ARGUMENT_INT_IS(4, RULE_REPLACEMENT_FD)),
};
const size_t worker_rule_count = ARRAY_SIZE(worker_rules);

// That it has a handler is all that is needed.
static void interrupted(int number)
{
	(void)number;
}

static void woken(struct watch *watch, u32 events)
{
	(void)watch; // the call itself is looked for after every turn
	(void)events;
}

static void run_call(struct worker *worker)
{
	void (*call)(void *context) = __atomic_load_n(&worker->call, __ATOMIC_ACQUIRE);

	if (!call)
		return;
	call(worker->call_context);
	__atomic_store_n(&worker->call, NULL, __ATOMIC_RELEASE);
	sys_event_signal(worker->done_fd);
}

static void *serve(void *context)
{
	struct worker *worker = context;

	while (!worker->exiting) {
		event_loop_turn(&worker->loop, -1);
		run_call(worker);
	}
	return NULL;
}

static void (*when_late)(void *context);
static void *late_context;

void worker_when_late(void (*function)(void *context), void *context)
{
	when_late = function;
	late_context = context;
}

// A worker may wait for an fd that the front-end has made a blocking one: a signal ends that. What else it may wait for only the
// server can know.
static void remind(const struct worker *worker)
{
	if (worker->thread_id > 0)
		syscall(SYS_tgkill, worker->process_id, worker->thread_id, INTERRUPT_SIGNAL);
	if (when_late)
		when_late(late_context);
}

void worker_call(struct worker *worker, void (*function)(void *context), void *context)
{
	struct epoll_event event;

	worker->call_context = context;
	__atomic_store_n(&worker->call, function, __ATOMIC_RELEASE);
	sys_event_signal(worker->call_fd);
	while (__atomic_load_n(&worker->call, __ATOMIC_ACQUIRE))
		if (epoll_pwait(worker->done_epoll_fd, &event, 1, PATIENCE_MS, NULL) == 0)
			remind(worker);
}

static void close_fds(struct worker *worker)
{
	event_loop_fini(&worker->loop);
	close_fd(&worker->call_fd);
	close_fd(&worker->done_fd);
	close_fd(&worker->done_epoll_fd);
}

static int open_fds(struct worker *worker)
{
	struct epoll_event done = {.events = EPOLLIN | EPOLLET};
	int error = event_loop_init(&worker->loop);

	if (error)
		return error;
	worker->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	worker->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	worker->done_epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (worker->call_fd < 0 || worker->done_fd < 0 || worker->done_epoll_fd < 0)
		return -errno;
	error = sys_int(epoll_ctl(worker->done_epoll_fd, EPOLL_CTL_ADD, worker->done_fd, &done));
	if (error)
		return error;
	return event_loop_add(&worker->loop, worker->call_fd, EPOLLIN | EPOLLET,
			      &worker->call_watch);
}

static int pin_thread(pthread_t thread, int cpu)
{
	cpu_set_t cpus;

	if (cpu < 0)
		return 0;
	CPU_ZERO(&cpus);
	CPU_SET((unsigned)cpu, &cpus);
	return -pthread_setaffinity_np(thread, sizeof(cpus), &cpus);
}

static int start_thread(struct worker *worker)
{
	const struct sigaction interrupt = {.sa_handler = interrupted};

	sigaction(INTERRUPT_SIGNAL, &interrupt, NULL);
	return -pthread_create(&worker->thread, NULL, serve, worker);
}

static void note_thread(void *context)
{
	struct worker *worker = context;

	worker->process_id = (pid_t)syscall(SYS_getpid);
	worker->thread_id = (pid_t)syscall(SYS_gettid);
}

static void leave(void *context)
{
	struct worker *worker = context;

	worker->exiting = true;
}

void worker_stop(struct worker *worker)
{
	worker_call(worker, leave, worker);
	pthread_join(worker->thread, NULL);
	close_fds(worker);
}

int worker_start(struct worker *worker, unsigned index, int cpu)
{
	int error;

	*worker = (struct worker){.index = index,
				  .call_fd = -1,
				  .done_fd = -1,
				  .done_epoll_fd = -1,
				  .call_watch.ready = woken};
	error = open_fds(worker);
	if (!error)
		error = start_thread(worker);
	if (error) {
		close_fds(worker);
		return error;
	}
	worker_call(worker, note_thread, worker);
	error = pin_thread(worker->thread, cpu);
	if (error)
		worker_stop(worker);
	return error;
}
