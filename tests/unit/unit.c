// SPDX-License-Identifier: Apache-2.0
// The parts that unit tests share.
#include "tests/unit/unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

enum { WAIT_MS = 10000 };

static char folder[64];

static int remove_entry(const char *path, const struct stat *file, int type, struct FTW *walk)
{
	(void)file;
	(void)type;
	(void)walk;
	return remove(path);
}

static void remove_folder(void)
{
	nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

const char *unit_path(const char *name)
{
	static char paths[8][128];
	static unsigned next;
	char *path = paths[next++ % ARRAY_SIZE(paths)];
	const char *build = getenv("B");

	if (!folder[0]) {
		snprintf(folder, sizeof(folder), "%.40s/unit-XXXXXX", build ? build : "build");
		assert_non_null(mkdtemp(folder));
		atexit(remove_folder);
	}
	snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
	return path;
}

const char *unit_file(const char *name, u64 len)
{
	const char *path = unit_path(name);
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	for (u64 i = 0; i < len; i++)
		fputc(unit_byte(i), file);
	assert_int_equal(fclose(file), 0);
	return path;
}

static int captured_fd, saved_fd = -1, capture_fd = -1;

void unit_capture(int fd)
{
	fflush(NULL);
	captured_fd = fd;
	capture_fd = memfd_create("captured", MFD_CLOEXEC);
	saved_fd = dup(fd);
	assert_true(capture_fd >= 0 && saved_fd >= 0);
	assert_int_equal(dup2(capture_fd, fd), fd);
}

const char *unit_captured(void)
{
	static char text[16384];
	ssize_t len;

	fflush(NULL);
	assert_int_equal(dup2(saved_fd, captured_fd), captured_fd);
	close_fd(&saved_fd);
	len = pread(capture_fd, text, sizeof(text) - 1, 0);
	close_fd(&capture_fd);
	assert_true(len >= 0);
	text[len] = '\0';
	return text;
}

unsigned unit_open_fds(void)
{
	DIR *fds = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(fds);
	while (readdir(fds))
		count++;
	closedir(fds);
	return count - 3; // ".", ".." and the folder itself
}

bool unit_is_readable(int fd)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

	return poll(&poll_fd, 1, 0) == 1 && poll_fd.revents & POLLIN;
}

void unit_wait(bool (*condition)(const void *context), const void *context)
{
	const struct timespec moment = {.tv_nsec = 200000};

	for (unsigned i = 0; i < WAIT_MS * 5 && !condition(context); i++)
		nanosleep(&moment, NULL);
	assert_true(condition(context));
}

static bool fd_is_readable(const void *fd)
{
	return unit_is_readable(*(const int *)fd);
}

void unit_wait_readable(int fd)
{
	unit_wait(fd_is_readable, &fd);
}

void unit_share(struct guest_memory *memory, const struct vm_memory *vm)
{
	for (unsigned i = 0; i < vm->count; i++) {
		const struct vu_region *wire = &vm->regions[i].wire;

		assert_int_equal(guest_memory_add(memory, (struct guest_addr){wire->guest_addr},
						  (struct frontend_addr){wire->user_addr},
						  wire->size, wire->mmap_offset, vm->regions[i].fd),
				 0);
	}
}

static void interrupt(int number)
{
	(void)number;
}

void unit_interrupt(bool on)
{
	const struct sigaction action = {.sa_handler = interrupt}; // calls are not restarted
	const struct timeval moment = {.tv_usec = on ? 1000 : 0};
	const struct itimerval timer = {.it_interval = moment, .it_value = moment};

	if (on)
		assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &timer, NULL), 0);
}

int unit_full_eventfd(void)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	assert_true(fd >= 0);
	assert_int_equal(eventfd_write(fd, UINT64_MAX - 1), 0);
	return fd;
}
