// SPDX-License-Identifier: Apache-2.0
//
// Load generator for any vhost-user-blk socket: keeps --depth requests in flight on each queue and
// reports IOPS, latency and what it cost the back-end. One thread drives all queues.
//
// Time stamps are taken once per batch of completions, so a latency includes the wait for the
// batch it was collected with, as it does for a guest. A request that fails ends the run.

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include "tests/bench/histogram.h"
#include "tests/frontend/blk.h"
#include "tests/frontend/vm.h"

enum { STUCK_MS = 10000 }; /* no completion for so long ends the run */

enum format { HUMAN, LINE, JSON };

struct request {
	struct vm_blk_slot slot; /* first: a completion's cookie is the slot */
	uint64_t start_ns;
};

struct options {
	const char *socket, *rw;
	unsigned read_percent, depth, queues;
	uint32_t bs;
	double seconds, ramp;
	bool poll, seq;
	uint64_t features, without_features;
	int pid;
	enum format format;
};

struct result {
	uint64_t requests;
	double seconds, cpu_s, client_cpu_s;
	uint64_t pss_kib, pss_own_kib;
	double p50, p99, p999; /* us */
};

struct load {
	struct options options;
	struct vm vm;
	struct request *requests;
	int epoll_fd;
	clockid_t backend_clock;
	uint64_t blocks; /* of bs bytes on the device */
	uint64_t next_block;
	uint64_t random;
	unsigned in_flight;
	bool ending;
	struct histogram latency; /* ns; counts the completed requests */
};

static _Noreturn __attribute__((format(printf, 1, 2))) void die(const char *format, ...)
{
	va_list arguments;

	fputs("vhost-blk-load: ", stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	exit(1);
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	if (clock_gettime(clock, &now))
		die("cannot read the back-end's CPU time: %s (has it died?)", strerror(errno));
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* xorshift64*: a number below limit. */
static uint64_t random_below(struct load *load, uint64_t limit)
{
	uint64_t number;

	load->random ^= load->random >> 12;
	load->random ^= load->random << 25;
	load->random ^= load->random >> 27;
	number = load->random * UINT64_C(0x2545f4914f6cdd1d);
	return (uint64_t)(((unsigned __int128)number * limit) >> 64);
}

static uint64_t pick_block(struct load *load)
{
	if (!load->options.seq)
		return random_below(load, load->blocks);
	if (load->next_block == load->blocks)
		load->next_block = 0;
	return load->next_block++;
}

static void submit(struct load *load, struct vm_ring *ring, struct request *request, uint64_t now)
{
	bool read = random_below(load, 100) < load->options.read_percent;
	uint64_t sector = pick_block(load) * (load->options.bs / VM_BLK_SECTOR);
	int head = vm_blk_add(ring, &request->slot, read ? VM_BLK_T_IN : VM_BLK_T_OUT, sector,
			      load->options.bs);

	if (head < 0)
		die("the ring has no room: %s", strerror(-head));
	request->start_ns = now;
	load->in_flight++;
}

static void complete(struct load *load, const struct request *request, uint64_t now)
{
	if (*request->slot.status != VM_BLK_S_OK)
		die("request failed: type %u, sector %" PRIu64 ", %u bytes: status %u",
		    le32toh(request->slot.header->type), le64toh(request->slot.header->sector),
		    load->options.bs, *request->slot.status);
	load->in_flight--;
	histogram_add(&load->latency, now - request->start_ns);
}

/* Takes what has completed, puts as much in again, shows it at once. Returns how many. */
static unsigned turn(struct load *load, struct vm_ring *ring)
{
	struct vm_completion completion;
	unsigned done = 0;
	uint64_t now = 0;
	int result;

	while ((result = vm_ring_take(ring, &completion)) > 0) {
		struct request *request = completion.cookie;

		if (done++ == 0)
			now = clock_ns(CLOCK_MONOTONIC);
		complete(load, request, now);
		if (!load->ending)
			submit(load, ring, request, now);
	}
	if (result < 0)
		die("the used ring names a chain that is not in flight");
	vm_ring_kick(ring);
	return done;
}

static unsigned turn_all(struct load *load)
{
	unsigned done = 0;

	for (unsigned i = 0; i < load->vm.queues; i++)
		done += turn(load, &load->vm.rings[i]);
	return done;
}

/* Blocks until a call eventfd is signalled, unless something has completed meanwhile. */
static void sleep_for_call(struct load *load)
{
	struct epoll_event event;
	bool pending = false;

	for (unsigned i = 0; i < load->vm.queues; i++)
		pending |= vm_ring_arm(&load->vm.rings[i]);
	if (!pending && epoll_wait(load->epoll_fd, &event, 1, STUCK_MS) == 0)
		die("no completion for %d ms, %u requests in flight", STUCK_MS, load->in_flight);
}

static void spin_for_used(struct load *load, uint64_t *spins, uint64_t *idle_since)
{
	uint64_t now;

	if (++*spins % 1024)
		return;
	now = clock_ns(CLOCK_MONOTONIC);
	if (!*idle_since)
		*idle_since = now;
	if (now - *idle_since > (uint64_t)STUCK_MS * 1000000)
		die("no completion for %d ms, %u requests in flight", STUCK_MS, load->in_flight);
}

/* Runs until the deadline, or, when ending, until nothing is in flight. */
static void run_until(struct load *load, uint64_t deadline)
{
	uint64_t spins = 0, idle_since = 0;

	while (load->in_flight) {
		if (turn_all(load)) {
			idle_since = 0;
			if (!load->ending && clock_ns(CLOCK_MONOTONIC) >= deadline)
				return;
		} else if (load->options.poll) {
			spin_for_used(load, &spins, &idle_since);
		} else {
			sleep_for_call(load);
		}
	}
}

static void submit_first(struct load *load)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC);
	struct request *request = load->requests;

	assert(request);
	for (unsigned i = 0; i < load->vm.queues; i++) {
		struct vm_ring *ring = &load->vm.rings[i];

		if (load->options.poll)
			vm_ring_disarm(ring);
		for (unsigned j = 0; j < load->options.depth; j++)
			submit(load, ring, request++, now);
		vm_ring_kick(ring);
	}
}

/* A Pss line of /proc/PID/smaps_rollup, in KiB. */
static uint64_t pss_of(int pid, const char *key)
{
	char path[64], line[256];
	unsigned long long value = 0;
	size_t key_len = strlen(key);
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
	file = fopen(path, "r");
	if (!file)
		die("cannot open %s: %s", path, strerror(errno));
	while (fgets(line, sizeof(line), file)) {
		if (strncmp(line, key, key_len) == 0)
			value = strtoull(line + key_len, NULL, 10);
	}
	fclose(file);
	return value;
}

static double client_cpu_s(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static struct result measure(struct load *load)
{
	const struct options *options = &load->options;
	uint64_t start = clock_ns(CLOCK_MONOTONIC), cpu;
	struct result result;

	submit_first(load);
	run_until(load, start + (uint64_t)(options->ramp * 1e9));
	load->latency = (struct histogram){0};
	result.client_cpu_s = -client_cpu_s();
	cpu = clock_ns(load->backend_clock);
	start = clock_ns(CLOCK_MONOTONIC);
	run_until(load, start + (uint64_t)(options->seconds * 1e9));
	result.seconds = (double)(clock_ns(CLOCK_MONOTONIC) - start) / 1e9;
	result.cpu_s = (double)(clock_ns(load->backend_clock) - cpu) / 1e9;
	result.client_cpu_s += client_cpu_s();
	result.requests = load->latency.count;
	result.p50 = histogram_percentile(&load->latency, 0.50) / 1000;
	result.p99 = histogram_percentile(&load->latency, 0.99) / 1000;
	result.p999 = histogram_percentile(&load->latency, 0.999) / 1000;
	result.pss_kib = pss_of(options->pid, "Pss:");
	result.pss_own_kib = pss_of(options->pid, "Pss_Anon:") + pss_of(options->pid, "Pss_File:");
	load->ending = true;
	run_until(load, 0);
	return result;
}

static void print_result(const struct options *options, const struct result *result)
{
	static const char *const formats[] = {
		[HUMAN] = "%s %u bytes, depth %u, %u queue(s), %s client\n"
			  "  %.0f IOPS, %.1f MB/s\n"
			  "  latency p50 %.1f us, p99 %.1f us, p99.9 %.1f us\n"
			  "  back-end: %.3f CPU-s in %.3f s, %.0f IOPS per CPU-s, PSS %" PRIu64
			  " KiB (%" PRIu64 " without shared memory)\n"
			  "  client: %.3f CPU-s\n",
		[LINE] = "rw=%s bs=%u depth=%u queues=%u client=%s iops=%.0f mb_s=%.1f p50_us=%.1f "
			 "p99_us=%.1f p999_us=%.1f cpu_s=%.4f seconds=%.4f iops_per_cpu_s=%.0f "
			 "pss_kib=%" PRIu64 " pss_own_kib=%" PRIu64 " client_cpu_s=%.3f\n",
		[JSON] = "{\"rw\":\"%s\",\"bs\":%u,\"depth\":%u,\"queues\":%u,\"client\":\"%s\","
			 "\"iops\":%.0f,\"mb_s\":%.1f,\"p50_us\":%.1f,\"p99_us\":%.1f,"
			 "\"p999_us\":%.1f,\"cpu_s\":%.4f,\"seconds\":%.4f,\"iops_per_cpu_s\":%.0f,"
			 "\"pss_kib\":%" PRIu64 ",\"pss_own_kib\":%" PRIu64
			 ",\"client_cpu_s\":%.3f}\n",
	};
	double iops = (double)result->requests / result->seconds;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	printf(formats[options->format], options->rw, options->bs, options->depth, options->queues,
	       options->poll ? "poll" : "sleep", iops, iops * options->bs / 1e6, result->p50,
	       result->p99, result->p999, result->cpu_s, result->seconds,
	       (double)result->requests / result->cpu_s, result->pss_kib, result->pss_own_kib,
	       result->client_cpu_s);
#pragma GCC diagnostic pop
}

static int peer_pid(int fd)
{
	struct ucred credentials;
	socklen_t len = sizeof(credentials);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &len))
		die("cannot find the back-end's pid: %s", strerror(errno));
	return credentials.pid;
}

static void open_device(struct load *load)
{
	const struct options *options = &load->options;
	unsigned requests = options->depth * options->queues;
	uint16_t queue_size = 128;
	int error;

	/* Three descriptors each, so that it fits without indirect descriptors too. */
	while (queue_size < options->depth * 3 && queue_size < VM_RING_MAX)
		queue_size = (uint16_t)(queue_size * 2);
	error = vm_start(&load->vm, options->socket,
			 &(struct vm_options){
				 .queues = options->queues,
				 .queue_size = queue_size,
				 .memory_size = (uint64_t)requests * (options->bs + 4096) +
						(uint64_t)options->queues * queue_size * 512 +
						(4 << 20),
				 .features = options->features,
				 .without_features = options->without_features,
				 .lenient = true,
			 });
	if (error)
		die("%s: %s: %s", options->socket, vm_step_name(load->vm.step), strerror(-error));
	load->blocks =
		le64toh(*(uint64_t *)(void *)load->vm.config) / (options->bs / VM_BLK_SECTOR);
	if (load->blocks == 0)
		die("the device is smaller than one block of %u bytes", options->bs);
}

static void watch_calls(struct load *load)
{
	/* Edge-triggered, so that the eventfds need not be read. */
	struct epoll_event event = {.events = EPOLLIN | EPOLLET};

	load->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	for (unsigned i = 0; i < load->vm.queues; i++) {
		if (epoll_ctl(load->epoll_fd, EPOLL_CTL_ADD, load->vm.rings[i].call_fd, &event))
			die("cannot watch a call eventfd: %s", strerror(errno));
	}
}

static void create_requests(struct load *load)
{
	unsigned count = load->options.depth * load->options.queues;

	load->requests = calloc(count, sizeof(*load->requests));
	if (!load->requests)
		die("out of memory");
	for (unsigned i = 0; i < count; i++) {
		struct vm_blk_slot *slot = &load->requests[i].slot;

		vm_blk_slot_init(slot, &load->vm.memory, load->options.bs);
		memset(slot->data, (int)(i % 255) + 1, load->options.bs);
	}
}

static _Noreturn void print_usage(void)
{
	fputs("usage: vhost-blk-load --socket PATH [--rw read|write|mix] [--bs BYTES] [--depth N]\n"
	      "       [--queues N] [--seconds S] [--ramp S] [--client sleep|poll] [--rand|--seq]\n"
	      "       [--no-indirect] [--no-event-idx] [--packed] [--pid PID] [--line|--json]\n"
	      "mix: 70 percent reads. PID: the back-end; default: whoever listens on the socket.\n",
	      stderr);
	exit(2);
}

static unsigned read_percent(const char *rw)
{
	if (strcmp(rw, "read") == 0)
		return 100;
	if (strcmp(rw, "write") == 0)
		return 0;
	if (strcmp(rw, "mix") == 0)
		return 70;
	print_usage();
}

static bool is_poll(const char *client)
{
	if (strcmp(client, "poll") == 0)
		return true;
	if (strcmp(client, "sleep") == 0)
		return false;
	print_usage();
}

/* Bytes, or with a k behind it KiB. */
static uint32_t size_of_block(const char *text)
{
	char *end;
	unsigned long size = strtoul(text, &end, 0);

	return (uint32_t)(*end == 'k' ? size << 10 : size);
}

static void parse_option(struct options *options, int option)
{
	/* clang-format off */
	switch (option) {
	case 's': options->socket = optarg; break;
	case 'w': options->rw = optarg; options->read_percent = read_percent(optarg); break;
	case 'b': options->bs = size_of_block(optarg); break;
	case 'd': options->depth = (unsigned)strtoul(optarg, NULL, 0); break;
	case 'q': options->queues = (unsigned)strtoul(optarg, NULL, 0); break;
	case 't': options->seconds = strtod(optarg, NULL); break;
	case 'r': options->ramp = strtod(optarg, NULL); break;
	case 'c': options->poll = is_poll(optarg); break;
	case 'S': options->seq = true; break;
	case 'R': options->seq = false; break;
	case 'I': options->without_features |= VU_BIT(VM_F_INDIRECT_DESC); break;
	case 'E': options->without_features |= VU_BIT(VM_F_EVENT_IDX); break;
	case 'P': options->features |= VU_BIT(VM_F_RING_PACKED); break;
	case 'p': options->pid = (int)strtol(optarg, NULL, 0); break;
	case 'L': options->format = LINE; break;
	case 'J': options->format = JSON; break;
	default: print_usage();
	}
	/* clang-format on */
}

static struct options parse_options(int argc, char **argv)
{
	static const struct option table[] = {
		{"socket", required_argument, NULL, 's'},
		{"rw", required_argument, NULL, 'w'},
		{"bs", required_argument, NULL, 'b'},
		{"depth", required_argument, NULL, 'd'},
		{"queues", required_argument, NULL, 'q'},
		{"seconds", required_argument, NULL, 't'},
		{"ramp", required_argument, NULL, 'r'},
		{"client", required_argument, NULL, 'c'},
		{"seq", no_argument, NULL, 'S'},
		{"rand", no_argument, NULL, 'R'},
		{"no-indirect", no_argument, NULL, 'I'},
		{"no-event-idx", no_argument, NULL, 'E'},
		{"packed", no_argument, NULL, 'P'},
		{"pid", required_argument, NULL, 'p'},
		{"line", no_argument, NULL, 'L'},
		{"json", no_argument, NULL, 'J'},
		{0},
	};
	struct options options = {.rw = "read",
				  .read_percent = 100,
				  .bs = 4096,
				  .depth = 32,
				  .queues = 1,
				  .seconds = 5,
				  .ramp = 0.5};
	int option;

	while ((option = getopt_long(argc, argv, "", table, NULL)) != -1)
		parse_option(&options, option);
	if (!options.socket || optind != argc || options.bs == 0 || options.bs % VM_BLK_SECTOR ||
	    options.depth == 0 || options.depth > VM_RING_MAX / 3 || options.queues == 0 ||
	    options.seconds <= 0)
		print_usage();
	return options;
}

int main(int argc, char **argv)
{
	static struct load load = {.random = UINT64_C(0x9e3779b97f4a7c15)};
	struct result result;
	clockid_t clock;

	load.options = parse_options(argc, argv);
	open_device(&load);
	if (!load.options.pid)
		load.options.pid = peer_pid(load.vm.frontend.fd);
	if (clock_getcpuclockid(load.options.pid, &clock))
		die("there is no process %d", load.options.pid);
	load.backend_clock = clock;
	create_requests(&load);
	watch_calls(&load);
	result = measure(&load);
	vm_close(&load.vm);
	print_result(&load.options, &result);
	free(load.requests);
	return 0;
}
