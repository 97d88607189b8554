// SPDX-License-Identifier: Apache-2.0
//
// The pipe's reading end, with the wish for a signal, is the back-end's standard input, which it keeps.

#include "tests/frontend/leash.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

static int read_fd = -1, write_fd = -1;

bool leash_make(void)
{
	int ends[2];

	if (write_fd >= 0)
		close(write_fd);
	write_fd = -1;
	if (pipe2(ends, O_CLOEXEC) != 0)
		return false;
	read_fd = ends[0];
	write_fd = ends[1];
	return true;
}

void leash_give(void)
{
	close(read_fd);
	read_fd = -1;
}

void leash_take(void)
{
	struct pollfd gone = {.fd = read_fd, .events = POLLIN};

	close(write_fd);
	if (fcntl(read_fd, F_SETSIG, SIGKILL) != 0 || fcntl(read_fd, F_SETOWN, getpid()) != 0 ||
	    fcntl(read_fd, F_SETFL, O_ASYNC) != 0 || poll(&gone, 1, 0) != 0 ||
	    dup2(read_fd, STDIN_FILENO) != STDIN_FILENO)
		_exit(127); /* the other one was faster */
}
