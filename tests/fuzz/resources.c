// SPDX-License-Identifier: Apache-2.0
// Counts file descriptors and shared mappings, fast enough to do so after every input.
#include <poll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

enum { MOST_FDS = 512, MOST_MAPPINGS = 1024 };

static struct {
	void *start;
	size_t len;
} mappings[MOST_MAPPINGS];
static unsigned mapping_count;

unsigned fuzz_mappings(void)
{
	return mapping_count;
}

unsigned fuzz_open_fds(void)
{
	static const struct timespec at_once;
	static struct pollfd fds[MOST_FDS];
	unsigned count = 0;

	for (int i = 0; i < MOST_FDS; i++)
		fds[i].fd = i;
	syscall(SYS_ppoll, fds, MOST_FDS, &at_once, NULL, 0); // the sanitizer would look at each
	for (int i = 0; i < MOST_FDS; i++)
		count += !(fds[i].revents & POLLNVAL);
	return count;
}

// What the linker makes of mmap and munmap (its option --wrap). NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl*)
void *__real_mmap(void *start, size_t len, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *start, size_t len, int protection, int flags, int fd, off_t offset);
int __real_munmap(void *start, size_t len);
int __wrap_munmap(void *start, size_t len);

void *__wrap_mmap(void *start, size_t len, int protection, int flags, int fd, off_t offset)
{
	void *map = __real_mmap(start, len, protection, flags, fd, offset);

	if (map == MAP_FAILED || (flags & MAP_TYPE) != MAP_SHARED || flags & MAP_FIXED)
		return map;
	assert(mapping_count < MOST_MAPPINGS);
	mappings[mapping_count].start = map;
	mappings[mapping_count++].len = len;
	return map;
}

int __wrap_munmap(void *start, size_t len)
{
	for (unsigned i = 0; i < mapping_count; i++) {
		if (mappings[i].start != start)
			continue;
		assert(mappings[i].len == len); // all of it or nothing
		mappings[i] = mappings[--mapping_count];
		break;
	}
	return __real_munmap(start, len);
}
// NOLINTEND(bugprone-reserved-identifier,cert-dcl*)
