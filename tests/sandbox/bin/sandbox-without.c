// SPDX-License-Identifier: Apache-2.0
//
// Runs a command on a host that lacks something: the calls named fail in it and in all that it starts, as they do where
// a container's filter or an older kernel refuses them.
//
// usage: sandbox-without CALL[=ERROR]... -- COMMAND [ARGUMENT...]
//
// CALL is a name of the table below, ERROR one as ENOSYS, if it is not to be that of the table.

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MOST_CALLS = 16, INSTRUCTIONS_OF_CALL = 6, ANY = -1, MOST_ERRORS = 134 };
enum { NAMESPACES = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP | CLONE_NEWNET };

static const struct call {
	const char *name;
	int number, first_argument; /* fails with this one alone, or ANY */
	int error;
} calls[] = {
	{"unshare", SYS_unshare, ANY, EPERM},
	{"privileged_unshare", SYS_unshare, NAMESPACES, EPERM},
	{"user_namespace", SYS_unshare, NAMESPACES | CLONE_NEWUSER, EPERM},
	{"setns", SYS_setns, ANY, EPERM},
	{"mount", SYS_mount, ANY, EPERM},
	{"pivot_root", SYS_pivot_root, ANY, EPERM},
	{"chroot", SYS_chroot, ANY, EPERM},
	{"setgroups", SYS_setgroups, ANY, EPERM},
	{"setresuid", SYS_setresuid, ANY, EINVAL},
	{"setrlimit", SYS_prlimit64, ANY, EPERM},
	{"landlock", 444, ANY, ENOSYS},
	{"io_uring", 425, ANY, ENOSYS},
	{"large-rings", 425, 256, ENOMEM},
	{"no_new_privs", SYS_prctl, PR_SET_NO_NEW_PRIVS, EINVAL},
	{"bounding", SYS_prctl, PR_CAPBSET_DROP, EPERM},
	{"seccomp", SYS_prctl, PR_SET_SECCOMP, EINVAL},
};

static int error_named(const char *name)
{
	for (int error = 1; error < MOST_ERRORS; error++) {
		const char *known = strerrorname_np(error);

		if (known && strcmp(known, name) == 0)
			return error;
	}
	return 0;
}

/* False if there is no such call or error. */
static bool find(const char *word, struct call *found)
{
	size_t len = strcspn(word, "=");

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		if (strncmp(calls[i].name, word, len) != 0 || calls[i].name[len])
			continue;
		*found = calls[i];
		if (word[len])
			found->error = error_named(word + len + 1);
		return found->error != 0;
	}
	return false;
}

/* Jumps over itself if the call is another one. */
static size_t add(struct sock_filter *at, const struct call *call)
{
	const struct sock_filter filter[INSTRUCTIONS_OF_CALL] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call->number, 0, 4),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call->first_argument, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JA, call->first_argument == ANY ? 0 : 1, 0, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)call->error),
	};

	memcpy(at, filter, sizeof(filter));
	return INSTRUCTIONS_OF_CALL;
}

static int complain(const char *what)
{
	fprintf(stderr, "sandbox-without: %s: %s\n", what, strerror(errno));
	return 1;
}

int main(int argc, char **argv)
{
	struct sock_filter filter[MOST_CALLS * INSTRUCTIONS_OF_CALL + 1];
	struct sock_fprog program = {.filter = filter};
	size_t count = 0;
	int next = 1;

	for (; next < argc && strcmp(argv[next], "--") != 0; next++) {
		struct call call;

		if (next > MOST_CALLS || !find(argv[next], &call)) {
			errno = EINVAL;
			return complain(argv[next]);
		}
		count += add(filter + count, &call);
	}
	filter[count++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	program.len = (unsigned short)count;
	if (next + 1 >= argc) {
		errno = EINVAL;
		return complain("needs -- and a command");
	}
	/* who may load a filter without it is not to have it: it would change what the command can do */
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0 &&
	    (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
	     prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0))
		return complain("seccomp");
	execvp(argv[next + 1], argv + next + 1);
	complain(argv[next + 1]);
	return 127;
}
