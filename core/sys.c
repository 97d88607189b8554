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

void *sys_reserve(size_t len)
{
	void *memory = mmap(NULL, len ? len : 1, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED)
		return NULL;
	madvise(memory, len, MADV_NOHUGEPAGE); // a touched page is to cost a page
	return memory;
}

void sys_release(void *memory, size_t len)
{
	if (memory)
		munmap(memory, len ? len : 1);
}
