// SPDX-License-Identifier: Apache-2.0
// Memory that is reserved once, before the lockdown, and touched only when used.
#include "core/sys.h"

#include <sys/mman.h>

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
