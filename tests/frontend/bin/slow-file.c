// SPDX-License-Identifier: Apache-2.0
//
// A file in memory on a disk that is slow at one place: the first read or write at or behind HELD does not end before we get SIGUSR1.
//	slow-file PATH SIZE HELD
// It is a file system of its own, mounted on PATH in a mount namespace of our own. Prints "mounted", "held" and "ended" as it comes
// to that.

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include "tests/frontend/fuse_file.h"

static uint8_t *content;
static uint64_t held_from;
static int was_held, is_held;
static union fuse_message late;

static void say(const char *what)
{
	puts(what);
	fflush(stdout);
}

static int is_to_be_held(const union fuse_message *message)
{
	const struct fuse_read_in *in =
		fuse_file_argument(message); /* the offset is at the same place in both */

	return !was_held && in->offset >= held_from;
}

static void serve(struct fuse_file *file, const union fuse_message *message)
{
	if (message->header.opcode == FUSE_FSYNC) {
		fuse_file_answer(file, message, 0, NULL, 0);
	} else if (message->header.opcode == FUSE_FALLOCATE) {
		fuse_file_answer(file, message, ENOSYS, NULL, 0);
	} else if (is_to_be_held(message)) {
		was_held = is_held = 1;
		late = *message;
		say("held");
	} else {
		fuse_file_move(file, message, content);
	}
}

static void release(struct fuse_file *file)
{
	if (!is_held)
		return;
	fuse_file_move(file, &late, content);
	is_held = 0;
	say("ended");
}

int main(int argc, char **argv)
{
	struct fuse_file file = {.serve = serve};
	struct pollfd fds[2];
	sigset_t signals;
	int error = 0;

	if (argc != 4) {
		fputs("usage: slow-file PATH SIZE HELD\n", stderr);
		return 2;
	}
	file.size = strtoull(argv[2], NULL, 0);
	held_from = strtoull(argv[3], NULL, 0);
	content = calloc(1, file.size);
	sigemptyset(&signals);
	sigaddset(&signals, SIGUSR1);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	error = fuse_file_mount(&file, argv[1]);
	if (error) {
		fprintf(stderr, "slow-file: %s: %s\n", argv[1], strerror(-error));
		return 1;
	}
	say("mounted");
	fds[0] = (struct pollfd){.fd = file.fd, .events = POLLIN};
	fds[1] = (struct pollfd){.fd = signalfd(-1, &signals, SFD_CLOEXEC), .events = POLLIN};
	while (!error && poll(fds, 2, -1) > 0) {
		struct signalfd_siginfo signal;

		if (fds[0].revents)
			error = fuse_file_serve(&file);
		if (fds[1].revents && read(fds[1].fd, &signal, sizeof(signal)) > 0)
			release(&file);
	}
	return error != -ENODEV;
}
