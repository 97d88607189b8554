// SPDX-License-Identifier: Apache-2.0
//
// A file in memory on a disk that is slow at one place: the first read or write at or behind HELD does not end before we get SIGUSR1.
//	slow-file PATH SIZE HELD
// It is a file system of its own (FUSE), mounted on PATH in a mount namespace of our own, so only root can do it. Prints "mounted",
// "held" and "ended" as it comes to that.

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { MOST_DATA = 128 * 1024, INODE = 1 };

static int fuse_fd;
static uint8_t *content;
static uint64_t size, held_from;
static uint64_t held; /* the request that is held, by its number */
static int was_held;
static union {
	struct fuse_in_header header;
	uint8_t bytes[MOST_DATA + 4096];
} request, late;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void say(const char *what)
{
	puts(what);
	fflush(stdout);
}

static void answer(uint64_t unique, int error, const void *data, size_t len)
{
	struct fuse_out_header header = {
		.len = (uint32_t)(sizeof(header) + len), .error = -error, .unique = unique};
	const struct iovec parts[] = {{&header, sizeof(header)}, {(void *)(uintptr_t)data, len}};

	if (writev(fuse_fd, parts, 2) < 0 && errno != ENOENT)
		die("answer");
}

static const void *argument(void)
{
	return request.bytes + sizeof(request.header);
}

static void init(void)
{
	const struct fuse_init_in *in = argument();
	const struct fuse_init_out out = {.major = FUSE_KERNEL_VERSION,
					  .minor = FUSE_KERNEL_MINOR_VERSION,
					  .max_readahead = in->max_readahead,
					  .flags = FUSE_ASYNC_READ | FUSE_ASYNC_DIO |
						   FUSE_BIG_WRITES,
					  .max_background = 64,
					  .congestion_threshold = 64,
					  .max_write = MOST_DATA};

	answer(request.header.unique, 0, &out, sizeof(out));
}

static struct fuse_attr attributes(void)
{
	return (struct fuse_attr){.ino = INODE,
				  .size = size,
				  .blocks = size / 512,
				  .mode = S_IFREG | 0600,
				  .nlink = 1,
				  .blksize = 4096};
}

/* The request's bytes within the file. */
static uint64_t within(uint64_t offset, uint32_t len)
{
	return offset >= size ? 0 : len < size - offset ? len : size - offset;
}

static void move(void)
{
	if (request.header.opcode == FUSE_READ) {
		const struct fuse_read_in *in = argument();

		answer(request.header.unique, 0, content + in->offset,
		       within(in->offset, in->size));
	} else {
		const struct fuse_write_in *in = argument();
		struct fuse_write_out out = {.size = (uint32_t)within(in->offset, in->size)};

		memcpy(content + in->offset, in + 1, out.size);
		answer(request.header.unique, 0, &out, sizeof(out));
	}
}

static int is_to_be_held(void)
{
	const struct fuse_read_in *in = argument(); /* the offset is at the same place in both */

	return !was_held && in->offset >= held_from;
}

static void move_or_hold(void)
{
	if (!is_to_be_held()) {
		move();
		return;
	}
	was_held = 1;
	held = request.header.unique;
	late = request;
	say("held");
}

static void serve(void)
{
	const struct fuse_attr_out attr = {.attr_valid = 3600, .attr = attributes()};
	const struct fuse_open_out opened = {.fh = 1};
	const struct fuse_statfs_out fs = {.st = {.bsize = 4096, .namelen = 255}};
	uint64_t unique = request.header.unique;

	switch (request.header.opcode) {
	case FUSE_INIT:
		init();
		return;
	case FUSE_GETATTR:
	case FUSE_SETATTR:
		answer(unique, 0, &attr, sizeof(attr));
		return;
	case FUSE_OPEN:
		answer(unique, 0, &opened, sizeof(opened));
		return;
	case FUSE_STATFS:
		answer(unique, 0, &fs, sizeof(fs));
		return;
	case FUSE_READ:
	case FUSE_WRITE:
		move_or_hold();
		return;
	case FUSE_FSYNC:
	case FUSE_FLUSH:
	case FUSE_RELEASE:
		answer(unique, 0, NULL, 0);
		return;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		return;
	default:
		answer(unique, ENOSYS, NULL, 0);
	}
}

static void release(void)
{
	if (!held)
		return;
	request = late;
	move();
	held = 0;
	say("ended");
}

static void mount_on(const char *path)
{
	char options[128];

	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		die("a mount namespace");
	fuse_fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fuse_fd < 0)
		die("/dev/fuse");
	snprintf(options, sizeof(options), "fd=%d,rootmode=%o,user_id=0,group_id=0,allow_other",
		 fuse_fd, S_IFREG | 0600);
	if (mount("slow-file", path, "fuse", MS_NOSUID | MS_NODEV, options) != 0)
		die(path);
	say("mounted");
}

int main(int argc, char **argv)
{
	struct pollfd fds[2];
	sigset_t signals;

	if (argc != 4) {
		fputs("usage: slow-file PATH SIZE HELD\n", stderr);
		return 2;
	}
	size = strtoull(argv[2], NULL, 0);
	held_from = strtoull(argv[3], NULL, 0);
	content = calloc(1, size);
	sigemptyset(&signals);
	sigaddset(&signals, SIGUSR1);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	mount_on(argv[1]);
	fds[0] = (struct pollfd){.fd = fuse_fd, .events = POLLIN};
	fds[1] = (struct pollfd){.fd = signalfd(-1, &signals, SFD_CLOEXEC), .events = POLLIN};
	while (poll(fds, 2, -1) > 0) {
		struct signalfd_siginfo signal;

		if (fds[0].revents && read(fuse_fd, request.bytes, sizeof(request)) < 0)
			return errno != ENODEV;
		if (fds[0].revents)
			serve();
		if (fds[1].revents && read(fds[1].fd, &signal, sizeof(signal)) > 0)
			release();
	}
	return 1;
}
