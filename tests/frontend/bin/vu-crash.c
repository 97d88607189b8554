// SPDX-License-Identifier: Apache-2.0
//
// Lets a back-end that serves a disk die, starts another one that goes on with the same guest memory and region of
// chains in flight, and checks that each request is answered once, with the right bytes. Exit status as vu-client.
//
//	points  dies at the first crash point that it passes, at the second and so on, until a run ends without dying
//		(of a build with -DCRASH_POINTS)
//	kill    is killed in the middle of a load of random reads and writes

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/frontend/blk.h"
#include "tests/frontend/image.h"
#include "tests/frontend/leash.h"
#include "tests/frontend/vm.h"

static const char usage[] =
	"usage: vu-crash [--program PATH] [--engine sync|uring] [--packed] [--batch N] [--folder PATH] points|points-twice\n"
	"       vu-crash [--program PATH] [--engine sync|uring] [--packed] [--rounds N] [--seed N] [--folder PATH] kill\n"
	"  --batch   requests that are shown at once [1]\n"
	"  --folder  for the disk image [build]\n";

enum {
	BLOCK = IMAGE_BLOCK,
	BLOCK_SECTORS = BLOCK / VM_BLK_SECTOR,
	RING = 32,
	DEPTH = 16,
	SINGLES = 4, /* batches of one */
	TIMEOUT_MS = 10000,
	ROUND_REQUESTS = 200,
	STRIDE = 16, /* of the points at which the second back-end dies, too */
};

struct request {
	struct vm_blk_slot slot;
	bool busy, write;
	unsigned block;
	uint64_t version; /* that is written */
};

static struct crash {
	const char *program, *engine, *folder;
	bool packed;
	unsigned batch, rounds;
	char own_folder[32], socket[64], log[64];
	pid_t pid;

	struct vm vm;
	bool begun;
	struct request requests[DEPTH];
	struct image disk;
	bool in_use[IMAGE_BLOCKS];
	unsigned in_flight;
	uint64_t submitted, completed;
	uint64_t seed;
} crash;

static void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

static void print_log(void)
{
	char text[4096];
	FILE *file = fopen(crash.log, "re");
	size_t len = file ? fread(text, 1, sizeof(text), file) : 0;

	fwrite(text, 1, len, stderr);
	if (file)
		fclose(file);
}

static void fail(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fputs("vu-crash: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
	print_log();
	exit(1);
}

static unsigned next_random(void)
{
	crash.seed = crash.seed * 6364136223846793005 + 1442695040888963407;
	return (unsigned)(crash.seed >> 33);
}

static void make_disk(void)
{
	if (image_make(&crash.disk))
		fail("%s: %s", crash.disk.path, strerror(errno));
}

static void exec_backend(unsigned crash_at)
{
	char number[16];
	int log = open(crash.log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	snprintf(number, sizeof(number), "%u", crash_at);
	setenv("VHOST_CRASH_AT", number, 1);
	leash_take();
	dup2(log, STDERR_FILENO);
	execl(crash.program, crash.program, "blk", "--socket", crash.socket, "--path",
	      crash.disk.path, "--engine", crash.engine, "--packed", crash.packed ? "on" : "off",
	      NULL);
	_exit(127);
}

static void start_backend(unsigned crash_at)
{
	crash.pid = leash_make() ? fork() : -1;
	if (crash.pid < 0)
		fail("cannot fork: %s", strerror(errno));
	if (crash.pid == 0)
		exec_backend(crash_at);
	leash_give();
}

/* The back-end has ended, or is about to, by this signal. */
static void reap_backend(int sig)
{
	int status;

	waitpid(crash.pid, &status, 0);
	crash.pid = 0;
	if (sig ? !WIFSIGNALED(status) || WTERMSIG(status) != sig : status != 0)
		fail("the back-end ended with wait status %#x", (unsigned)status);
	for (unsigned i = 0; access(crash.socket, F_OK) == 0; i++) {
		if (i == TIMEOUT_MS)
			fail("the socket file of a back-end that died stays");
		usleep(1000);
	}
}

static void clean_up(void)
{
	if (crash.pid > 0) {
		kill(crash.pid, SIGKILL);
		waitpid(crash.pid, NULL, 0);
	}
	unlink(crash.socket);
	unlink(crash.log);
	unlink(crash.disk.path);
	rmdir(crash.own_folder);
}

/* ---- requests ---- */

static struct vm_ring *ring_of(void)
{
	return &crash.vm.rings[0];
}

static void submit(struct request *request, unsigned block, bool write)
{
	uint32_t type = write ? VM_BLK_T_OUT : VM_BLK_T_IN;

	request->busy = true;
	request->write = write;
	request->block = block;
	request->version = crash.disk.versions[block] + 1;
	crash.in_use[block] = true;
	if (write)
		image_fill(request->slot.data, block, request->version);
	else
		memset(request->slot.data, 0xee, BLOCK);
	if (vm_blk_add(ring_of(), &request->slot, type, (uint64_t)block * BLOCK_SECTORS, BLOCK) < 0)
		fail("the ring is full");
	crash.in_flight++;
	crash.submitted++;
}

static void complete(struct request *request)
{
	if (!request->busy)
		fail("a request is answered twice");
	if (*request->slot.status != VM_BLK_S_OK)
		fail("block %u: status %u", request->block, *request->slot.status);
	if (request->write)
		crash.disk.versions[request->block] = request->version;
	else if (!image_is(request->slot.data, request->block, crash.disk.versions[request->block]))
		fail("block %u is read otherwise than it was written", request->block);
	request->busy = false;
	crash.in_use[request->block] = false;
	crash.in_flight--;
	crash.completed++;
}

static void take_all(void)
{
	struct vm_completion completion;
	int got;

	while ((got = vm_ring_take(ring_of(), &completion)) == 1)
		complete((struct request *)completion.cookie);
	if (got < 0)
		fail("an answer is to no request that is in flight");
}

/* Waits until there is an answer: true; or the back-end has gone: false. */
static bool wait_answer(void)
{
	struct pollfd fds[] = {{.fd = ring_of()->call_fd, .events = POLLIN},
			       {.fd = crash.vm.frontend.fd, .events = POLLIN}};

	while (!vm_ring_arm(ring_of())) {
		if (poll(fds, 2, TIMEOUT_MS) == 0)
			fail("%u requests are lost", crash.in_flight);
		if (fds[1].revents)
			return false;
		vm_ring_eventfd_read(ring_of()->call_fd);
	}
	return true;
}

/* ---- connecting ---- */

/* The first time a guest begins; then it goes on. False if the back-end has gone meanwhile. */
static bool connect_guest(void)
{
	const struct vm_options options = {.queue_size = RING,
					   .memory_size = 4 << 20,
					   .features = VU_BIT(VM_F_RING_PACKED),
					   .connect_timeout_ms = TIMEOUT_MS,
					   .timeout_ms = TIMEOUT_MS};
	int error = crash.begun ? vm_restart(&crash.vm, crash.socket)
				: vm_start(&crash.vm, crash.socket, &options);

	if (error == -ECONNRESET)
		return false;
	if (error)
		fail("%s: %s", vm_step_name(crash.vm.step), strerror(-error));
	for (unsigned i = 0; !crash.begun && i < DEPTH; i++)
		vm_blk_slot_init(&crash.requests[i].slot, &crash.vm.memory, BLOCK);
	crash.begun = true;
	if (ring_of()->packed != crash.packed || crash.vm.inflight_fd < 0)
		fail("the back-end does not offer what is tested");
	return true;
}

static void check_region(void)
{
	void *map = vm_map_inflight(&crash.vm);
	const struct vu_inflight_split *split = map;
	const struct vu_inflight_packed *packed = map;
	bool none = true;

	if (!map)
		fail("the region of chains in flight cannot be mapped");
	for (unsigned i = 0; i < RING; i++)
		none = none && !(crash.packed ? packed->desc[i].inflight : split->desc[i].inflight);
	if (!none)
		fail("the region has chains in flight although all are answered");
	munmap(map, crash.vm.inflight.size);
}

/* With nothing in flight: the base is where the driver is, and the region is empty. False if the back-end has gone. */
static bool stop_guest(void)
{
	uint32_t base = vm_ring_base(ring_of());
	int error = vm_stop(&crash.vm);

	if (error == -ECONNRESET)
		return false;
	if (error)
		fail("%s: %s", vm_step_name(crash.vm.step), strerror(-error));
	if (crash.vm.bases[0] != base)
		fail("the base is %#x, the driver is at %#x", crash.vm.bases[0], base);
	check_region();
	return true;
}

static void end_run(void)
{
	int block;

	vm_close(&crash.vm);
	crash.begun = false;
	kill(crash.pid, SIGTERM);
	reap_backend(0);
	block = image_find_wrong(&crash.disk);
	if (block >= 0)
		fail("block %d of the disk is not what was written last", block);
}

/* ---- points ---- */

static unsigned total(void)
{
	return crash.batch == 1 ? SINGLES : crash.batch + crash.batch / 2;
}

/* Two writes, then a read, each of another block. */
static void show_batch(void)
{
	for (unsigned i = 0; i < crash.batch && crash.submitted < total(); i++)
		submit(&crash.requests[i], (unsigned)crash.submitted, crash.submitted % 3 != 2);
	vm_ring_kick(ring_of());
}

/* Goes on until all is done, true, or the back-end has died. */
static bool work(void)
{
	if (!connect_guest())
		return false;
	while (crash.completed < total()) {
		if (crash.in_flight == 0)
			show_batch();
		if (!wait_answer())
			return false;
		take_all();
	}
	return stop_guest();
}

/* The first back-end dies at a point, the second at another, the third does not: how many have died. */
static unsigned run(unsigned first, unsigned second)
{
	const unsigned points[] = {first, second, 0};
	unsigned deaths = 0;

	make_disk();
	memset(crash.in_use, 0, sizeof(crash.in_use));
	memset(crash.requests, 0, sizeof(crash.requests));
	crash.submitted = crash.completed = crash.in_flight = 0;
	start_backend(points[0]);
	while (!work()) {
		reap_backend(SIGILL);
		if (++deaths == sizeof(points) / sizeof(points[0]))
			fail("the back-end dies although it should not");
		start_backend(points[deaths]);
	}
	end_run();
	return deaths;
}

static unsigned die_at_each(void)
{
	unsigned point = 1;

	while (run(point, 0) > 0)
		point++;
	return point - 1;
}

static unsigned die_twice(void)
{
	unsigned first = 1, runs = 0, deaths;

	do {
		unsigned second = 1 + first % STRIDE;

		while ((deaths = run(first, second)) > 1) {
			second += STRIDE;
			runs++;
		}
		first += STRIDE;
	} while (deaths > 0);
	return runs;
}

/* ---- kill ---- */

static unsigned free_block(void)
{
	unsigned block;

	do {
		block = next_random() % IMAGE_BLOCKS;
	} while (crash.in_use[block]);
	return block;
}

static void keep_busy(void)
{
	for (unsigned i = 0; i < DEPTH; i++)
		if (!crash.requests[i].busy)
			submit(&crash.requests[i], free_block(), next_random() % 2);
	vm_ring_kick(ring_of());
}

/* Answers come until so many requests are done; with `more`, new requests go on. */
static void serve(uint64_t until, bool more)
{
	while (crash.completed < until) {
		if (more)
			keep_busy();
		if (!wait_answer())
			fail("the back-end has gone by itself");
		take_all();
	}
}

static void kill_often(void)
{
	make_disk();
	for (unsigned round = 0; round < crash.rounds; round++) {
		start_backend(0);
		if (!connect_guest())
			fail("the back-end has gone by itself");
		serve(crash.completed + 1 + next_random() % ROUND_REQUESTS, true);
		keep_busy();
		kill(crash.pid, SIGKILL);
		reap_backend(SIGKILL);
	}
	start_backend(0);
	if (!connect_guest())
		fail("the back-end has gone by itself");
	serve(crash.submitted, false);
	if (!stop_guest())
		fail("the back-end has gone by itself");
	end_run();
}

/* ---- the program ---- */

static void make_folder(void)
{
	strcpy(crash.own_folder, "/tmp/vu-crash.XXXXXX");
	if (!mkdtemp(crash.own_folder))
		fail("%s: %s", crash.own_folder, strerror(errno));
	snprintf(crash.socket, sizeof(crash.socket), "%s/socket", crash.own_folder);
	snprintf(crash.log, sizeof(crash.log), "%s/log", crash.own_folder);
	snprintf(crash.disk.path, sizeof(crash.disk.path), "%.400s/crash-%d.img", crash.folder,
		 (int)getpid());
	atexit(clean_up);
}

static bool parse_options(int argc, char **argv)
{
	static const struct option options[] = {
		{"program", required_argument, NULL, 'p'}, {"engine", required_argument, NULL, 'e'},
		{"folder", required_argument, NULL, 'f'},  {"packed", no_argument, NULL, 'P'},
		{"batch", required_argument, NULL, 'b'},   {"rounds", required_argument, NULL, 'r'},
		{"seed", required_argument, NULL, 's'},	   {0}};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		unsigned number = optarg ? (unsigned)strtoul(optarg, NULL, 0) : 0;

		if (option == '?')
			return false;
		if (option == 'p')
			crash.program = optarg;
		else if (option == 'e')
			crash.engine = optarg;
		else if (option == 'f')
			crash.folder = optarg;
		else if (option == 'P')
			crash.packed = true;
		else if (option == 'b')
			crash.batch = number;
		else if (option == 'r')
			crash.rounds = number;
		else
			crash.seed = number;
	}
	return crash.batch >= 1 && crash.batch <= DEPTH && argc - optind == 1;
}

int main(int argc, char **argv)
{
	crash.program = "build/crash/vhost-multi";
	crash.engine = "sync";
	crash.folder = "build";
	crash.batch = 1;
	crash.rounds = 200;
	crash.seed = 1;
	if (!parse_options(argc, argv)) {
		fputs(usage, stderr);
		return 2;
	}
	make_folder();
	if (strcmp(argv[optind], "points") == 0) {
		printf("points=%u\n", die_at_each());
	} else if (strcmp(argv[optind], "points-twice") == 0) {
		printf("runs=%u\n", die_twice());
	} else if (strcmp(argv[optind], "kill") == 0) {
		kill_often();
		printf("kills=%u requests=%ju lost=0 doubled=0\n", crash.rounds,
		       (uintmax_t)crash.completed);
	} else {
		fputs(usage, stderr);
		return 2;
	}
	return 0;
}
