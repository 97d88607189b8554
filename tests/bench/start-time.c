// SPDX-License-Identifier: Apache-2.0
//
// How long a back-end takes from fork() until connect() on its socket succeeds and until its
// first reply (GET_FEATURES): the median of many starts, each on a socket of its own: SOCKET in the command stands for it. With - as the socket: until the command
// exits, which shows what fork() and exec() alone cost.

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "tests/frontend/frontend.h"

enum {
	MAX_COUNT = 1000,
	TIMEOUT_MS = 5000,
};

struct times {
	double accepting_ms[MAX_COUNT];
	double replying_ms[MAX_COUNT];
};

static _Noreturn void die(const char *what, int error)
{
	fprintf(stderr, "start-time: %s: %s\n", what, strerror(error));
	exit(1);
}

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* Starts the command; its stdout and stderr go to our stderr. */
static pid_t spawn(char **command)
{
	posix_spawn_file_actions_t actions;
	pid_t pid;
	int error;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
	error = posix_spawnp(&pid, command[0], &actions, NULL, command, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (error)
		die(command[0], error);
	return pid;
}

static void end(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, WNOHANG) != 0)
		die("the back-end ended by itself", ECHILD);
	kill(pid, SIGTERM);
	if (waitpid(pid, &status, 0) != pid)
		die("waitpid", errno);
}

static void time_server(const char *path, char **command, double *accepting_ms, double *replying_ms)
{
	struct frontend frontend;
	uint64_t features;
	double start;
	pid_t pid;
	int error;

	unlink(path);
	start = now_ms();
	pid = spawn(command);
	error = frontend_connect(&frontend, path, TIMEOUT_MS);
	if (error)
		die(path, -error);
	*accepting_ms = now_ms() - start;
	error = frontend_get_features(&frontend, &features);
	if (error)
		die("GET_FEATURES", -error);
	*replying_ms = now_ms() - start;
	frontend_close(&frontend);
	end(pid);
}

static void time_exit(char **command, double *exited_ms)
{
	double start = now_ms();
	int status;

	if (waitpid(spawn(command), &status, 0) < 0 || status)
		die(command[0], ECHILD);
	*exited_ms = now_ms() - start;
}

static int compare(const void *left, const void *right)
{
	double difference = *(const double *)left - *(const double *)right;

	return difference < 0 ? -1 : difference > 0;
}

/* Whoever serves a socket may be held up for a moment by who did before, which is not what is measured. */
static const char *take_own_socket(char **command, const char *socket, int number)
{
	static char own[108];
	bool taken = false;

	for (; *command; command++) {
		if (strcmp(*command, socket) == 0)
			*command = own;
		taken = taken || *command == own;
	}
	snprintf(own, sizeof(own), "%s.%d", socket, number);
	return taken ? own : socket;
}

static void print_times(const char *name, double *ms, int count)
{
	qsort(ms, (size_t)count, sizeof(*ms), compare);
	printf("%s_ms=%.2f %s_min_ms=%.2f %s_max_ms=%.2f", name, ms[count / 2], name, ms[0], name,
	       ms[count - 1]);
}

int main(int argc, char **argv)
{
	static struct times times;
	int count = argc > 1 ? (int)strtol(argv[1], NULL, 0) : 0;
	bool server;

	if (argc < 4 || count < 1 || count > MAX_COUNT) {
		fputs("usage: start-time COUNT SOCKET|- COMMAND [ARGUMENT...]\n", stderr);
		return 2;
	}
	/* The default slack of 50 us would blur the waits between two connect()s. */
	prctl(PR_SET_TIMERSLACK, 1000UL);
	server = strcmp(argv[2], "-") != 0;
	for (int i = 0; i < count; i++) {
		if (server)
			time_server(take_own_socket(argv + 3, argv[2], i), argv + 3,
				    &times.accepting_ms[i], &times.replying_ms[i]);
		else
			time_exit(argv + 3, &times.accepting_ms[i]);
	}
	print_times(server ? "accepting" : "exited", times.accepting_ms, count);
	if (server) {
		putchar(' ');
		print_times("replying", times.replying_ms, count);
	}
	putchar('\n');
	return 0;
}
