// SPDX-License-Identifier: Apache-2.0
// Memory that is reserved once, before the lockdown, and touched only when used; sockets that strangers send.
#include "core/sys.h"

#include <sys/mman.h>
#include <sys/socket.h>

bool sys_is_unix_socket(int fd)
{
	int family = 0;
	socklen_t len = sizeof(family);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &len) == 0 && family == AF_UNIX;
}

void sys_close_strange(int *fd)
{
	const struct linger none = {0};

	if (*fd >= 0)
		(void)setsockopt(*fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
	close_fd(fd);
}

static void *map(size_t len)
{
	void *memory = mmap(NULL, len, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED)
		return NULL;
	madvise(memory, len, MADV_NOHUGEPAGE); // a touched page is to cost a page
	return memory;
}

static size_t whole_pages(size_t len)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return len == 0 ? page : (len + page - 1) & ~(page - 1);
}

// Hundreds of pieces are reserved at each start: most come from a few large ones, which takes few calls.
void *sys_reserve(size_t len)
{
	enum { CHUNK = 8 << 20, LARGE = CHUNK / 8 };
	static u8 *chunk;
	static size_t left;

	if (len > LARGE)
		return map(len);
	len = whole_pages(len);
	if (left < len) { // what is left costs nothing
		chunk = map(CHUNK);
		left = chunk ? CHUNK : 0;
	}
	if (!chunk)
		return NULL;
	left -= len;
	chunk += len;
	return chunk - len;
}

void sys_release(void *memory, size_t len)
{
	if (memory)
		munmap(memory, len > 0 ? len : 1);
}
