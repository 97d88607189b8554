// SPDX-License-Identifier: Apache-2.0
// The control thread's life after everything is open.
#include "core/server.h"

#include <signal.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "core/device_setup.h"
#include "core/log.h"
#include "core/memory_fault.h"
#include "core/requests.h"
#include "core/sys.h"

#ifndef SO_PEERPIDFD
enum { SO_PEERPIDFD = 77 }; // since Linux 6.5
#endif

const struct syscall_rule server_rules[] = {
	RULE(recvmsg, "takes messages with their fds; answers of the keeper"),
	RULE(sendmsg, "replies"),
	RULE(epoll_pwait, "waits for messages, front-ends, workers"),
	RULE(epoll_ctl, "watches the connection and the listener"),
	RULE(write, "wakes workers, asks the keeper, tries eventfds, logs"),
	RULE(close, "gives back fds of messages and connections"),
	RULE(munmap, "guest memory, when the front-end takes it back"),
	RULE_IF(mmap, "guest memory", ARGUMENT_INT_IS(2, PROT_READ | PROT_WRITE),
		ARGUMENT_INT_IS(3, MAP_SHARED | MAP_NORESERVE)),
	RULE_IF(mmap, "a page for guest memory that has gone",
		ARGUMENT_INT_IS(2, PROT_READ | PROT_WRITE),
		ARGUMENT_INT_IS(3, MAP_SHARED | MAP_FIXED),
		ARGUMENT_INT_IS(4, RULE_REPLACEMENT_FD)),
	RULE(fstat, "what kind of file a front-end sent, and its size"),
	RULE_IF(fcntl, "whether a file can be written", ARGUMENT_INT_IS(1, F_GETFL)),
	RULE_IF(fcntl, "makes a notification fd nonblocking", ARGUMENT_INT_IS(1, F_SETFL),
		{2, O_NONBLOCK | O_ASYNC | O_DIRECT, O_NONBLOCK}),
	RULE_IF(fcntl, "takes, gives back and looks at locks on what the device is made of",
		ARGUMENT_INT_IS(0, RULE_DEVICE_FD),
		{1, UINT32_MAX - (F_OFD_GETLK ^ F_OFD_SETLK), F_OFD_GETLK}),
	RULE_IF(accept4, "takes the next front-end", ARGUMENT_INT_IS(0, RULE_LISTENER_FD)),
	RULE_IF(getsockopt, "the family of a socket that a front-end sent",
		ARGUMENT_INT_IS(1, SOL_SOCKET), ARGUMENT_INT_IS(2, SO_DOMAIN)),
	RULE_IF(getsockopt, "a front-end's process, to see it end", ARGUMENT_INT_IS(1, SOL_SOCKET),
		ARGUMENT_INT_IS(2, SO_PEERPIDFD)),
	RULE_IF(setsockopt, "closes a stranger's socket without waiting",
		ARGUMENT_INT_IS(1, SOL_SOCKET), ARGUMENT_INT_IS(2, SO_LINGER)),
	RULE_IF(tgkill, "interrupts a worker that a front-end has made wait",
		ARGUMENT_INT_IS(0, RULE_OWN_PID), ARGUMENT_INT_IS(2, SIGUSR1)),
	RULE(rt_sigreturn, "handlers of SIGTERM, SIGHUP and SIGBUS end"),
	RULE(exit_group, "ends the process"),
};
const size_t server_rule_count = ARRAY_SIZE(server_rules);

enum {
	TURN_MESSAGES = 32,	 // handled before signals and other events are looked for
	CALL_BACK_FIRST_MS = 10, // how long to wait before calling a peer again, doubled each time
	CALL_BACK_MOST_MS = 1000,
	HELD_UP_MS = 20, // until a device that is held up is asked again
	OWN_FDS =
		7, // the loop, its four eventfds, the region in flight, the page for memory that has gone
	FRONT_END_FDS =
		5, // the socket, a pidfd of its peer, the log's eventfd, the channel of our requests, a device's state
	FDS_OF_WORKER = 4, // its loop, two eventfds, and a loop for one of them
	FDS_OF_QUEUE = 3,  // kick, call, err
	MS_NS = 1000000,
};

static volatile sig_atomic_t signal_received, refresh_received;
static int signal_event_fd = -1; // of the one server in this process

// Any thread may be the one that is interrupted: a worker that a front-end has made wait is freed so.
static void note_signal(int number)
{
	int error = errno;

	if (number == SIGHUP)
		refresh_received = true;
	else
		signal_received = number;
	sys_event_signal(signal_event_fd);
	errno = error;
}

void server_catch_signals(void)
{
	struct sigaction note = {.sa_handler = note_signal};

	sigaction(SIGTERM, &note, NULL);
	sigaction(SIGINT, &note, NULL);
	sigaction(SIGHUP, &note, NULL);
}

static void stop_worker(struct server *server, struct worker *worker)
{
	device_worker_stop(server->device, worker);
	worker_stop(worker);
}

static int start_worker(struct server *server, unsigned index, int cpu)
{
	struct worker *worker = &server->workers[index];
	int error = worker_start(worker, index, cpu);

	if (error)
		return cpu >= 0 ? log_errno(error,
					    "cannot start worker %u on processor %d; see "
					    "--cpus",
					    index, cpu)
				: log_errno(error, "cannot start worker %u", index);
	error = device_worker_start(server->device, worker);
	if (error)
		worker_stop(worker);
	return error;
}

static int start_workers(struct server *server, const struct server_options *options)
{
	unsigned wanted = device_worker_count(server->device, options->workers);

	if (wanted < options->workers)
		log_warning("of %u --workers this device has work for %u", options->workers,
			    wanted);
	while (server->worker_count < wanted) {
		unsigned index = server->worker_count;
		int cpu = options->cpu_count ? options->cpus[index % options->cpu_count] : -1;
		int error = start_worker(server, index, cpu);

		if (error)
			return error;
		server->worker_count++;
	}
	device_started(server->device);
	return 0;
}

static void forget_peer(struct server *server)
{
	if (server->peer_fd >= 0)
		event_loop_remove(&server->loop, server->peer_fd, &server->peer_watch);
	close_fd(&server->peer_fd);
}

// Waits for guest memory no longer than it takes to see that a worker does.
static void reset_session(struct server *server)
{
	server->leaving = true;
	session_reset(&server->session);
	server->leaving = false;
}

// The front-end's process has ended, and the kernel closes its end of the connection, unless somebody else has it, too: then that may be
// us, by a socket that it gave us.
static void peer_ended(struct watch *watch, u32 events)
{
	struct server *server = container_of(watch, struct server, peer_watch);

	(void)events;
	forget_peer(server);
	server->peer_has_ended = true;
	session_drop_sockets(&server->session);
}

// Who has called us may be watched by its process. Of an inherited connection the kernel knows no more than who made it. Before Linux
// 6.5 it tells nothing.
static void watch_peer(struct server *server)
{
	socklen_t len = sizeof(server->peer_fd);

	server->peer_has_ended = false;
	if (!server->listener->path || getsockopt(server->connection.fd, SOL_SOCKET, SO_PEERPIDFD,
						  &server->peer_fd, &len) != 0)
		server->peer_fd = -1;
	if (server->peer_fd >= 0 &&
	    event_loop_add(&server->loop, server->peer_fd, EPOLLIN, &server->peer_watch))
		close_fd(&server->peer_fd);
}

static void disconnect(struct server *server, int reason)
{
	bool broken = reason && reason != -ENOTCONN;

	forget_peer(server);
	event_loop_remove(&server->loop, server->connection.fd, &server->connection_watch);
	reset_session(server);
	memory_fault_clear(); // the next front-end has nothing to do with it
	connection_close(&server->connection);
	log_info("front-end %s", broken ? "disconnected by us" : "has gone");
	server->result = broken ? reason : 0;
	// whoever has the userfaultfd could go on to change what the next front-end shares with us
	server->ended = server->exit_on_disconnect || server->session.postcopy.given;
}

static void connection_ready(struct watch *watch, u32 events)
{
	struct server *server = container_of(watch, struct server, connection_watch);
	int error = 0;

	(void)events;
	for (int i = 0; i < TURN_MESSAGES && !error; i++) {
		int received = connection_receive(&server->connection);

		if (received == 0)
			return;
		error = received < 0 ? received
				     : requests_handle(&server->session, &server->connection);
		if (!error)
			server->call_back_ms = CALL_BACK_FIRST_MS;
	}
	if (error)
		disconnect(server, error);
	else if (server->peer_has_ended) // what it sent before is read only now
		session_drop_sockets(&server->session);
}

static void connect_front_end(struct server *server, int fd)
{
	int error = event_loop_add(&server->loop, fd, EPOLLIN, &server->connection_watch);

	if (error) {
		log_errno(error, "cannot wait for the front-end");
		close(fd);
		return;
	}
	connection_open(&server->connection, fd);
	server->told_of_waiting = false;
	watch_peer(server);
	log_info("front-end connected");
}

static void config_changed(struct watch *watch, u32 events)
{
	struct server *server = container_of(watch, struct server, config_watch);

	(void)events;
	session_config_changed(&server->session);
}

static void ring_broke(struct watch *watch, u32 events)
{
	struct server *server = container_of(watch, struct server, broken_watch);

	(void)events;
	if (connection_is_open(&server->connection))
		session_ring_broke(&server->session);
}

// The guest's memory cannot be relied on any more, so this front-end is done.
static void memory_gone(struct watch *watch, u32 events)
{
	struct server *server = container_of(watch, struct server, fault_watch);

	(void)events;
	if (!memory_fault_happened())
		return; // said of the front-end before, while it was being let go
	if (connection_is_open(&server->connection))
		disconnect(server,
			   log_errno(-EFAULT, "guest memory has gone: the front-end truncated "
					      "it, or the host has none left"));
	memory_fault_clear();
}

// A worker may wait for guest memory that only the front-end can bring.
static void worker_is_late(void *context)
{
	struct server *server = context;

	if (server->leaving || signal_received || !connection_has_peer(&server->connection))
		session_abandon_memory(&server->session);
}

static void woken(struct watch *watch, u32 events)
{
	(void)watch; // server_serve looks in every turn for what there is to do
	(void)events;
}

// An eventfd that wakes the control thread; it is edge-triggered and never read. 0 or -errno, logged.
static int open_event(struct server *server, int *fd, struct watch *watch,
		      void (*ready)(struct watch *, u32))
{
	int error;

	*fd = sys_int(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	if (*fd < 0)
		return log_errno(*fd, "cannot make an eventfd");
	watch->ready = ready;
	error = event_loop_add(&server->loop, *fd, EPOLLIN | EPOLLET, watch);
	return error ? log_errno(error, "cannot wait for an eventfd") : 0;
}

static int open_events(struct server *server)
{
	int error = event_loop_init(&server->loop);

	if (error)
		return log_errno(error, "cannot make an epoll instance");
	error = open_event(server, &signal_event_fd, &server->signal_watch, woken);
	if (error)
		return error;
	error = open_event(server, &server->device->config_event_fd, &server->config_watch,
			   config_changed);
	if (error)
		return error;
	error = open_event(server, &server->device->broken_event_fd, &server->broken_watch,
			   ring_broke);
	if (error)
		return error;
	error = open_event(server, &server->fault_event_fd, &server->fault_watch, memory_gone);
	if (error)
		return error;
	return memory_fault_catch(&server->session.memory, server->fault_event_fd);
}

// While a front-end is served, the next ones wait in the backlog; of the first of them is told.
static void somebody_waits(struct watch *watch, u32 events)
{
	struct server *server = container_of(watch, struct server, listener_watch);

	(void)events;
	if (!connection_is_open(&server->connection))
		return; // server_serve accepts it in the next turn
	log_info("another front-end waits until this one has gone");
	server->told_of_waiting = true;
}

// Whether it is of use to be woken by the listener.
static bool listener_is_wanted(const struct server *server, int wait_ms)
{
	// one that cannot accept would only wake us in vain
	return connection_is_open(&server->connection) ? !server->told_of_waiting : wait_ms < 0;
}

static void watch_listener(struct server *server, bool wanted)
{
	struct listener *listener = server->listener;

	if (listener->fd < 0 || server->listener_watched == wanted)
		return;
	if (!wanted)
		event_loop_remove(&server->loop, listener->fd, &server->listener_watch);
	else if (event_loop_add(&server->loop, listener->fd, EPOLLIN, &server->listener_watch))
		return; // tried again in the next turn
	server->listener_watched = wanted;
}

// Looks for a front-end. How long to sleep before looking again, in ms; -1: until the listener is ready. A peer that we call
// is called less and less often until it has sent a message.
static int seek_front_end(struct server *server)
{
	bool calls = server->listener->connects;
	u64 now = sys_clock_coarse_ns();
	int wait_ms = server->call_back_ms;
	int fd;

	if (calls && now < server->call_at_ns)
		return (int)((server->call_at_ns - now) / MS_NS) + 1;
	fd = listener_accept(server->listener);
	if (fd >= 0)
		connect_front_end(server, fd);
	if (fd == -ENOTCONN)
		server->ended = true;
	if (fd == -EAGAIN && !calls)
		return -1;
	server->call_at_ns = now + (u64)wait_ms * MS_NS;
	server->call_back_ms = wait_ms * 2 > CALL_BACK_MOST_MS ? CALL_BACK_MOST_MS : wait_ms * 2;
	return fd >= 0 ? 0 : wait_ms;
}

static void refresh_if_asked(struct server *server)
{
	if (!refresh_received)
		return;
	refresh_received = false;
	session_refresh(&server->session);
}

// Sees to what no fd tells of. How long to sleep at most before looking again, in ms; -1: until something is ready.
static int look_around(struct server *server)
{
	refresh_if_asked(server);
	if (!connection_is_open(&server->connection))
		return seek_front_end(server);
	if (server->session.held_up)
		session_start_queues(&server->session);
	return server->session.held_up ? HELD_UP_MS : -1;
}

int server_serve(struct server *server)
{
	while (!server->ended && !signal_received) {
		int wait_ms = look_around(server);

		watch_listener(server, listener_is_wanted(server, wait_ms));
		if (!server->ended)
			event_loop_turn(&server->loop, wait_ms);
	}
	if (signal_received)
		log_info("ending on signal %d", (int)signal_received);
	signal_received = 0; // heard
	return server->exit_on_disconnect ? server->result : 0;
}

unsigned server_more_fds(const struct device *device, const struct server_options *options)
{
	unsigned workers = device_worker_count(device, options->workers);

	return OWN_FDS + workers * (FDS_OF_WORKER + device->worker_fds) + FRONT_END_FDS +
	       FDS_OF_QUEUE * device->ops->queue_count(device) + VHOST_USER_MAX_REGIONS +
	       device->later_fds;
}

// Member by member: the whole is large, and most of it is never touched.
static void clear(struct server *server)
{
	server->worker_count = 0;
	server->session.queue_count = 0;
	server->session.queues = NULL;
	server->session.inflight_fd = -1;
	server->session.log.event_fd = -1;
	server->session.postcopy = (struct postcopy){.fd = -1};
	server->listener_watched = false;
	server->told_of_waiting = false;
	server->ended = false;
	server->leaving = false;
	server->result = 0;
	server->call_at_ns = 0;
	server->connection.fd = -1;
	server->peer_fd = -1;
	server->peer_has_ended = false;
	server->peer_watch.ready = peer_ended;
	server->fault_event_fd = -1;
	server->listener_watch.ready = somebody_waits;
	server->connection_watch.ready = connection_ready;
	server->call_back_ms = CALL_BACK_FIRST_MS;
}

int server_init(struct server *server, struct device *device, struct listener *listener,
		const struct server_options *options)
{
	int error;

	clear(server);
	server->device = device;
	server->listener = listener;
	server->exit_on_disconnect = options->exit_on_disconnect || listener->connected_fd >= 0;
	server_catch_signals();
	error = open_events(server);
	if (!error)
		error = start_workers(server, options);
	if (!error)
		error = session_init(&server->session, device, server->workers,
				     server->worker_count, options->ring_features);
	worker_when_late(worker_is_late, server);
	if (error)
		server_fini(server);
	return error;
}

void server_offer_postcopy(struct server *server, int userfault_fd)
{
	server->session.postcopy.fd = userfault_fd;
}

void server_drain(struct server *server)
{
	if (connection_is_open(&server->connection)) {
		forget_peer(server);
		reset_session(server);
		connection_close(&server->connection);
	}
	if (server->worker_count > 0)
		device_ending(server->device, &server->workers[0]);
}

void server_on_workers(struct server *server, void (*function)(void *context), void *context)
{
	for (unsigned i = 0; i < server->worker_count; i++)
		worker_call(&server->workers[i], function, context);
}

void server_fini(struct server *server)
{
	server_drain(server);
	session_fini(&server->session);
	while (server->worker_count > 0)
		stop_worker(server, &server->workers[--server->worker_count]);
	close_fd(&server->device->config_event_fd);
	worker_when_late(NULL, NULL);
	close_fd(&server->device->broken_event_fd);
	memory_fault_release();
	close_fd(&server->fault_event_fd);
	close_fd(&signal_event_fd);
	event_loop_fini(&server->loop);
}
