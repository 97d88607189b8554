// SPDX-License-Identifier: Apache-2.0
// The SIGBUS handler. It makes one system call: mmap of a page of our own over the one that has gone.
// There is one such page, in a file of its own, so that neither a front-end nor who has taken over a thread gets more by it.
#include "core/memory_fault.h"

#include <signal.h>
#include <sys/mman.h>

#include "core/log.h"
#include "core/sys.h"

static const struct guest_memory *guest_memory;
static const struct shared_map *other_maps[MEMORY_FAULT_OTHER_MAPS];
static int replacement_fd = -1, fault_event_fd = -1;
static size_t page_len;
static bool happened;

static bool map_holds(const struct shared_map *map, const u8 *address)
{
	return map->bytes && address >= (u8 *)map->map && address < (u8 *)map->map + map->map_len;
}

static const struct shared_map *find_map(const u8 *address)
{
	for (unsigned i = 0; i < ARRAY_SIZE(other_maps); i++)
		if (other_maps[i] && map_holds(other_maps[i], address))
			return other_maps[i];
	for (unsigned i = 0; guest_memory && i < guest_memory->count; i++)
		if (map_holds(&guest_memory->regions[i].map, address))
			return &guest_memory->regions[i].map;
	return NULL;
}

// Maps the replacement's file from `offset` on over `len` bytes.
static bool map_over(void *bytes, size_t len, size_t offset)
{
	return mmap(bytes, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, replacement_fd,
		    (off_t)offset) != MAP_FAILED;
}

// Maps the replacement over the aligned `len` bytes that hold the address.
static bool replace(const struct shared_map *map, const u8 *address, size_t len)
{
	size_t offset = (size_t)(address - (u8 *)map->map) & ~(len - 1);

	return map_over((u8 *)map->map + offset, len, 0);
}

// No part of a huge page can be mapped alone. So all of it is replaced, of which only the first page is there, and then the one
// that is needed: an access to any other causes the next fault, or makes a system call answer EFAULT, as before.
static bool replace_page(const struct shared_map *map, const u8 *address)
{
	return replace(map, address, page_len) ||
	       (replace(map, address, map->block_len) && replace(map, address, page_len));
}

static void fault(int number, siginfo_t *info, void *context)
{
	int error = errno;
	const struct shared_map *map = find_map(info->si_addr);

	(void)number;
	(void)context;
	// first, so that whoever reads from the new page can know
	__atomic_store_n(&happened, true, __ATOMIC_SEQ_CST);
	if (!map || !replace_page(map, info->si_addr))
		_exit(128 + SIGBUS); // not what a front-end shares: a fault of our own
	sys_event_signal(fault_event_fd);
	errno = error;
}

int memory_fault_catch(const struct guest_memory *memory, int event_fd)
{
	struct sigaction action = {.sa_sigaction = fault, .sa_flags = SA_SIGINFO};

	close_fd(&replacement_fd);
	replacement_fd = sys_int(memfd_create("vhost-multi-gone", MFD_CLOEXEC));
	if (replacement_fd < 0)
		return log_errno(replacement_fd, "cannot make a memfd");
	page_len = (size_t)sysconf(_SC_PAGESIZE);
	if (ftruncate(replacement_fd, (off_t)page_len) != 0)
		return log_errno(-errno, "cannot size a memfd");
	guest_memory = memory;
	fault_event_fd = event_fd;
	happened = false;
	sigaction(SIGBUS, &action, NULL);
	return 0;
}

void memory_fault_watch(unsigned slot, const struct shared_map *map)
{
	other_maps[slot] = map;
}

// What lies behind the end of a file is not there: the next access is a fault, and in a system call EFAULT.
void memory_fault_take_all(void)
{
	__atomic_store_n(&happened, true, __ATOMIC_SEQ_CST);
	for (unsigned i = 0; guest_memory && i < guest_memory->count; i++) {
		const struct shared_map *map = &guest_memory->regions[i].map;

		if (!map_over(map->map, map->map_len, page_len))
			log_errno(-errno, "cannot take guest memory away");
	}
}

void memory_fault_release(void)
{
	struct sigaction action = {.sa_handler = SIG_DFL};

	sigaction(SIGBUS, &action, NULL);
	guest_memory = NULL;
	for (unsigned i = 0; i < ARRAY_SIZE(other_maps); i++)
		other_maps[i] = NULL;
	fault_event_fd = -1;
	close_fd(&replacement_fd);
}

bool memory_fault_happened(void)
{
	// after what the caller has read; on x86 this costs nothing
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return __atomic_load_n(&happened, __ATOMIC_RELAXED);
}

void memory_fault_clear(void)
{
	__atomic_store_n(&happened, false, __ATOMIC_RELEASE);
}

int memory_fault_fd(void)
{
	return replacement_fd;
}
