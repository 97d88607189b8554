// SPDX-License-Identifier: Apache-2.0
//
// The back-end's process: starts it, watches what it holds, ends it.

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "tests/frontend/leash.h"
#include "tests/hostile/hostile.h"

enum {
	END_MS = 3000,
	IDLE_WATCH_MS = 20, /* of this time at rest … */
	IDLE_CPU_MS = 6,    /* … it may run at most so long */
	MAX_ARGUMENTS = 32,
};

void fail(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fputs("hostile: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
	exit(1);
}

void sleep_ms(unsigned ms)
{
	const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};

	nanosleep(&time, NULL);
}

static int64_t read_clock_us(clockid_t clock)
{
	struct timespec now;

	expect(clock_gettime(clock, &now) == 0, "clock_gettime: %s", strerror(errno));
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t clock_ms(void)
{
	return read_clock_us(CLOCK_MONOTONIC) / 1000;
}

int target_image(const struct target *target, int flags)
{
	int fd = open(target->image, flags | O_CLOEXEC);

	expect(fd >= 0, "%s: %s", target->image, strerror(errno));
	return fd;
}

void fill_image(const struct target *target, uint64_t sectors)
{
	uint64_t sector[VM_BLK_SECTOR / sizeof(uint64_t)];
	FILE *file = fopen(target->image, "we");

	expect(file, "%s: %s", target->image, strerror(errno));
	for (uint64_t i = 0; i < sectors; i++) {
		for (size_t word = 0; word < ARRAY_SIZE(sector); word++)
			sector[word] = i + (word << 32) + 1;
		fwrite(sector, sizeof(sector), 1, file);
	}
	expect(fclose(file) == 0, "%s: %s", target->image, strerror(errno));
}

void expect_untouched(const struct target *target, uint64_t first, uint64_t count)
{
	uint64_t sector[VM_BLK_SECTOR / sizeof(uint64_t)];
	int fd = target_image(target, O_RDONLY);

	for (uint64_t i = first; i < first + count; i++) {
		ssize_t got = pread(fd, sector, sizeof(sector), (off_t)i * VM_BLK_SECTOR);

		expect(got == sizeof(sector), "sector %ju of the image is gone", (uintmax_t)i);
		for (size_t word = 0; word < ARRAY_SIZE(sector); word++)
			expect(sector[word] == i + (word << 32) + 1,
			       "sector %ju of the image was written", (uintmax_t)i);
	}
	close(fd);
}

static void exec_program(const struct target *target)
{
	bool direct = strcmp(target->engine, "direct") == 0;
	const char *const disk[] = {"--path",
				    target->image,
				    "--num-queues",
				    "4",
				    "--serial=hostile",
				    direct ? "--engine=uring" : "--engine",
				    direct ? "--direct" : target->engine};
	const char *arguments[MAX_ARGUMENTS] = {target->program,
						target->served ? target->served->applet : "blk",
						"--socket", target->socket};
	unsigned count = 4;
	int log = open(target->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	for (size_t i = 0; !target->served && i < ARRAY_SIZE(disk); i++)
		arguments[count++] = disk[i];
	if (geteuid() != 0) /* locked in, it can be looked into by root alone */
		arguments[count++] = "--sandbox=none";
	for (const char *const *option = target->options; option && *option; option++)
		arguments[count++] = *option;
	leash_take();
	dup2(log, STDOUT_FILENO);
	dup2(log, STDERR_FILENO);
	execv(target->program, (char *const *)(uintptr_t)arguments);
	_exit(127);
}

/* A good front-end's whole life. */
static void serve_good_one(struct target *target)
{
	struct guest guest;

	if (target->served) {
		target->served->serve_good_one(target);
		return;
	}
	guest_start(&guest, target, NULL);
	for (unsigned i = 0; i < GUEST_QUEUES; i++)
		expect_io(&guest, i);
	expect(guest_io(&guest, 0, VM_BLK_T_FLUSH, 0, 0) == VM_BLK_S_OK, "a flush fails");
	guest_close(&guest);
}

static unsigned count_entries(const char *path)
{
	DIR *folder = opendir(path);
	unsigned count = 0;

	expect(folder, "%s: %s", path, strerror(errno));
	while (readdir(folder))
		count++;
	closedir(folder);
	return count - 2;
}

unsigned target_fds(const struct target *target)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)target->pid);
	return count_entries(path);
}

unsigned target_maps(const struct target *target)
{
	char path[64];
	unsigned lines = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)target->pid);
	file = fopen(path, "re");
	expect(file, "%s: %s", path, strerror(errno));
	for (int c = getc(file); c != EOF; c = getc(file))
		lines += c == '\n';
	fclose(file);
	return lines;
}

unsigned target_rss(const struct target *target)
{
	char path[64], line[128];
	unsigned long kib = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)target->pid);
	file = fopen(path, "re");
	expect(file, "%s: %s", path, strerror(errno));
	while (fgets(line, sizeof(line), file)) {
		if (strncmp(line, "VmRSS:", 6) == 0)
			kib = strtoul(line + 6, NULL, 10);
	}
	fclose(file);
	return (unsigned)kib;
}

uint64_t target_limit(const struct target *target, int resource, uint64_t limit)
{
	struct rlimit now, before;

	expect(prlimit(target->pid, (__rlimit_resource_t)resource, NULL, &before) == 0,
	       "prlimit: %s", strerror(errno));
	now = before;
	now.rlim_cur = limit;
	expect(prlimit(target->pid, (__rlimit_resource_t)resource, &now, NULL) == 0, "prlimit: %s",
	       strerror(errno));
	return before.rlim_cur;
}

/* The back-end says so when it has given back all that the front-end had it hold. */
static void wait_for_the_first_to_go(const struct target *target)
{
	int64_t deadline = clock_ms() + SOON_MS;
	char text[4096] = "";

	while (!strstr(text, "front-end has gone")) {
		FILE *file = fopen(target->log, "re");

		expect(clock_ms() < deadline, "the first front-end is still there");
		text[file ? fread(text, 1, sizeof(text) - 1, file) : 0] = '\0';
		if (file)
			fclose(file);
		sleep_ms(1);
	}
}

void target_run(struct target *target)
{
	unlink(target->log);
	expect(leash_make(), "pipe: %s", strerror(errno));
	target->pid = fork();
	expect(target->pid >= 0, "fork: %s", strerror(errno));
	if (target->pid == 0)
		exec_program(target);
	leash_give();
	serve_good_one(target);
	wait_for_the_first_to_go(target);
	target->fds = target_fds(target);
	target->maps = target_maps(target);
}

void target_start(struct target *target, const struct input *input, const char *folder)
{
	strcpy(target->folder, "/tmp/hostile.XXXXXX");
	expect(mkdtemp(target->folder), "%s: %s", target->folder, strerror(errno));
	snprintf(target->socket, sizeof(target->socket), "%s/socket", target->folder);
	snprintf(target->log, sizeof(target->log), "%s/log", target->folder);
	snprintf(target->image, sizeof(target->image), "%s/%s-%d.img", folder, input->id,
		 (int)getpid());
	target->options = input->options;
	target->served = input->served;
	for (const char *const *option = input->options; option && *option; option++)
		target->read_only |= strcmp(*option, "--read-only") == 0;
	fill_image(target, IMAGE_SECTORS);
	if (input->prepare)
		input->prepare(target);
	target_run(target);
	if (!input->prepare)
		fill_image(target, IMAGE_SECTORS);
}

static void expect_at_rest(const struct target *target)
{
	clockid_t clock;
	int64_t cpu_us;

	expect(clock_getcpuclockid(target->pid, &clock) == 0, "the back-end has ended");
	cpu_us = read_clock_us(clock);
	sleep_ms(IDLE_WATCH_MS);
	cpu_us = read_clock_us(clock) - cpu_us;
	expect(cpu_us < INT64_C(1000) * IDLE_CPU_MS,
	       "the back-end ran %jd us of %d ms without work", (intmax_t)cpu_us, IDLE_WATCH_MS);
}

static void expect_nothing_left(const struct target *target)
{
	int64_t deadline = clock_ms() + SOON_MS;

	while (target_fds(target) != target->fds || target_maps(target) != target->maps) {
		expect(clock_ms() < deadline, "%u fds and %u mappings; before the input %u and %u",
		       target_fds(target), target_maps(target), target->fds, target->maps);
		sleep_ms(1);
	}
}

static void expect_alive(const struct target *target)
{
	int status;

	if (waitpid(target->pid, &status, WNOHANG) == 0)
		return;
	if (WIFSIGNALED(status))
		fail("the back-end was killed by signal %d", WTERMSIG(status));
	fail("the back-end ended with status %d", WEXITSTATUS(status));
}

void target_await_end(struct target *target)
{
	int64_t deadline = clock_ms() + END_MS;
	int status;

	while (waitpid(target->pid, &status, WNOHANG) == 0) {
		expect(clock_ms() < deadline, "the back-end does not end in %d ms", END_MS);
		sleep_ms(1);
	}
	target->pid = 0;
	expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the status at the end is %#x",
	       (unsigned)status);
}

void target_end(struct target *target)
{
	kill(target->pid, SIGTERM);
	target_await_end(target);
}

void target_finish(struct target *target)
{
	expect_alive(target);
	serve_good_one(target);
	expect_nothing_left(target);
	expect_at_rest(target);
	expect_alive(target);
	target_end(target);
}

void target_remove(struct target *target)
{
	if (target->pid > 0) {
		kill(target->pid, SIGKILL);
		waitpid(target->pid, NULL, 0);
	}
	unlink(target->socket);
	unlink(target->log);
	unlink(target->image);
	if (target->folder[0])
		rmdir(target->folder);
}
