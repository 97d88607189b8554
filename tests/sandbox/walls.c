// SPDX-License-Identifier: Apache-2.0
//
// The walls behind the filter: what a thread that has no filter yet, but all else, cannot do.

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/securebits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>

#include "core/sys.h"
#include "tests/sandbox/probe.h"

enum { GET_MDWE = 66, PAGE = 4096, READ_WRITE = PROT_READ | PROT_WRITE };

static u8 memory[PAGE] __attribute__((aligned(PAGE)));
static const struct rlimit no_limit = {RLIM_INFINITY, RLIM_INFINITY};

#define AT(object) ((u64)(uintptr_t)(object))

static const struct wall {
	const char *what;
	long number;
	u64 arguments[ARGUMENTS];
	int errors[2]; // one of them is the answer
} walls[] = {
	{"landlock: open the root", SYS_openat, {(u64)AT_FDCWD, AT("/"), O_RDONLY}, {EACCES}},
	{"landlock: make a file",
	 SYS_openat,
	 {(u64)AT_FDCWD, AT("/x"), O_WRONLY | O_CREAT, 0600},
	 {EACCES, EROFS}},
	{"empty root: a path of the host",
	 SYS_openat,
	 {(u64)AT_FDCWD, AT("/proc/1"), O_PATH},
	 {ENOENT}},
	{"empty root: that of its process",
	 SYS_openat,
	 {(u64)AT_FDCWD, AT("/proc/self/root"), O_PATH},
	 {ENOENT}},
	{"empty root: what it covers", SYS_umount2, {AT("/"), MNT_DETACH}, {EPERM}},
	{"capabilities: mount", SYS_mount, {AT("x"), AT("/"), AT("tmpfs"), 0, 0}, {EPERM}},
	{"capabilities: chroot", SYS_chroot, {AT("/")}, {EPERM, EACCES}},
	{"capabilities: become root", SYS_setresuid, {0, 0, 0}, {EPERM, EINVAL}},
	{"capabilities: a host name", SYS_sethostname, {AT("x"), 1}, {EPERM}},
	{"capabilities: unlock the bits", SYS_prctl, {PR_SET_SECUREBITS, 0, 0, 0, 0}, {EPERM}},
	{"limits: private memory",
	 SYS_mmap,
	 {0, PAGE, READ_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, UINT64_MAX, 0},
	 {ENOMEM}},
	{"limits: raise one", SYS_prlimit64, {0, RLIMIT_DATA, AT(&no_limit), 0}, {EPERM}},
};

static unsigned expect_error(const struct wall *wall)
{
	const u64 *a = wall->arguments;
	int result = sys_int(syscall(wall->number, a[0], a[1], a[2], a[3], a[4], a[5]));
	bool stands = result == -wall->errors[0] || (wall->errors[1] && result == -wall->errors[1]);

	printf("control %s: %s: %s\n", stands ? "cannot" : "CAN", wall->what,
	       result < 0 ? strerror(-result) : "done");
	return !stands;
}

/* A port of this host, if any: the network namespace has no interface, and landlock allows no port. */
static unsigned try_network(void)
{
	const struct sockaddr_in address = {.sin_family = AF_INET,
					    .sin_port = htons(80),
					    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = sys_int(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
	int error = sys_int(connect(fd, (const struct sockaddr *)&address, sizeof(address)));

	close(fd);
	printf("control %s: network: connect: %s\n",
	       error == -EACCES || error == -ENETUNREACH ? "cannot" : "CAN", strerror(-error));
	return error != -EACCES && error != -ENETUNREACH;
}

/* Memory that was writable must not become executable. Linux 6.3 has this. */
static unsigned try_exec_gain(void)
{
	int error;

	if (prctl(GET_MDWE, 0, 0, 0, 0) < 0)
		return 0;
	error = sys_int(mprotect(memory, PAGE, PROT_READ | PROT_EXEC));
	printf("control %s: memory: make it executable: %s\n", error == -EACCES ? "cannot" : "CAN",
	       strerror(-error));
	return error != -EACCES;
}

static unsigned judge(bool stands, const char *what, const char *object)
{
	printf("control %s: %s: %s\n", stands ? "cannot" : "CAN", what, object);
	return !stands;
}

/* No way up: all of them lead to the one root, which holds no folder. */
static unsigned try_ways_up(void)
{
	static const char *const ways[] = {".", "..", "../../..", "/..", "/../.", "/../../.."};
	struct statfs system;
	struct stat root, other;
	unsigned failures = 0;

	assert(stat("/", &root) == 0 && statfs("/", &system) == 0);
	failures += judge(system.f_type == TMPFS_MAGIC && root.st_nlink == 2,
			  "empty root: folders in it", "none");
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++)
		failures += judge(stat(ways[i], &other) == 0 && other.st_dev == root.st_dev &&
					  other.st_ino == root.st_ino,
				  "empty root: leave it", ways[i]);
	return failures;
}

/* No fd of a folder, from which one could go on. */
static unsigned try_fds(void)
{
	unsigned folders = 0;

	for (int fd = 0; fd < CALLS; fd++)
		folders += fchdir(fd) == 0;
	return judge(folders == 0, "empty root: an fd of a folder", "none");
}

/* Who may join its own mount namespace gets that one's root. */
static unsigned try_own_namespace(void)
{
	int self = sys_int(syscall(SYS_pidfd_open, syscall(SYS_getpid), 0));
	int error = sys_int(setns(self, CLONE_NEWNS));

	close(self);
	return judge(error == -EPERM || error == -EBADF, "capabilities: the namespace's root",
		     strerror(-error));
}

unsigned try_walls(void)
{
	unsigned failures =
		try_network() + try_exec_gain() + try_ways_up() + try_fds() + try_own_namespace();

	for (size_t i = 0; i < ARRAY_SIZE(walls); i++)
		failures += expect_error(&walls[i]);
	return failures;
}
