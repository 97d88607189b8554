// SPDX-License-Identifier: Apache-2.0
// The userfaultfd: opened, told of memory, closed.
#include "core/postcopy.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>

#include "core/log.h"
#include "core/memory_fault.h"
#include "core/sys.h"

const struct syscall_rule postcopy_rules[] = {
	RULE_IF(ioctl, "makes who touches missing guest memory wait",
		ARGUMENT_INT_IS(0, RULE_USERFAULT_FD), ARGUMENT_INT_IS(1, UFFDIO_REGISTER)),
	RULE_IF(ioctl, "all guest memory has come", ARGUMENT_INT_IS(0, RULE_USERFAULT_FD),
		ARGUMENT_INT_IS(1, UFFDIO_UNREGISTER)),
	RULE_IF(ioctl, "lets those go on who wait for guest memory",
		ARGUMENT_INT_IS(0, RULE_USERFAULT_FD), ARGUMENT_INT_IS(1, UFFDIO_WAKE)),
};
const size_t postcopy_rule_count = ARRAY_SIZE(postcopy_rules);

// The system call is for the privileged where vm.unprivileged_userfaultfd is 0; the device, since Linux 6.1, for who may open it.
static int open_fd(void)
{
	int fd = sys_int(syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK));
	int device;

	if (fd != -EPERM)
		return fd;
	device = sys_int(open("/dev/userfaultfd", O_RDWR | O_CLOEXEC));
	if (device < 0)
		return -EPERM;
	fd = sys_int(ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK));
	close(device);
	return fd;
}

// The C libraries differ in the type of an ioctl's number, the kernel looks at 32 bits. 0 or -errno.
static int control(int fd, unsigned long number, void *argument)
{
	return sys_int(syscall(SYS_ioctl, fd, (unsigned)number, argument));
}

// What the kernel can do must be asked for once. 0 or -errno.
static int begin(int fd)
{
	struct uffdio_api api = {.api = UFFD_API};
	int error = control(fd, UFFDIO_API, &api);

	if (!error && !(api.features & UFFD_FEATURE_MISSING_SHMEM))
		error = -EOPNOTSUPP;
	return error;
}

int postcopy_open(void)
{
	int fd = open_fd(), error = fd < 0 ? fd : begin(fd);

	if (!error)
		return fd;
	close_fd(&fd);
	return log_errno(error, "--postcopy=on needs a userfaultfd: start as root, give access to "
				"/dev/userfaultfd, or set vm.unprivileged_userfaultfd to 1");
}

// Pages can only be registered whole, so all of the mapping is.
static struct uffdio_range range_of(const struct guest_region *region)
{
	return (struct uffdio_range){.start = (uintptr_t)region->map.map,
				     .len = region->map.map_len};
}

int postcopy_register(const struct postcopy *postcopy, const struct guest_region *region)
{
	struct uffdio_register wanted = {.range = range_of(region),
					 .mode = UFFDIO_REGISTER_MODE_MISSING};
	int error = control(postcopy->fd, UFFDIO_REGISTER, &wanted);

	return error ? log_errno(error,
				 "memory region at %#" PRIx64
				 " cannot come later: userfaultfd refuses it",
				 region->guest.value)
		     : 0;
}

void postcopy_end(struct postcopy *postcopy, const struct guest_memory *memory)
{
	for (unsigned i = 0; postcopy->listening && i < memory->count; i++) {
		struct uffdio_range range = range_of(&memory->regions[i]);

		control(postcopy->fd, UFFDIO_UNREGISTER, &range);
	}
	if (postcopy->advised)
		close_fd(&postcopy->fd);
	*postcopy = (struct postcopy){.fd = postcopy->fd, .given = postcopy->given};
}

void postcopy_abandon(const struct postcopy *postcopy, const struct guest_memory *memory)
{
	if (!postcopy->listening)
		return;
	memory_fault_take_all();
	for (unsigned i = 0; i < memory->count; i++) {
		struct uffdio_range range = range_of(&memory->regions[i]);

		control(postcopy->fd, UFFDIO_WAKE, &range);
	}
}
