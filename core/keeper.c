// SPDX-License-Identifier: Apache-2.0
// The keeper's whole life: wait for a command byte, or for the end of the process that made it.
#include "core/keeper.h"

#include <sys/socket.h>

#include "core/helper.h"

const struct syscall_rule keeper_listening_rules[] = {
	RULE(recvfrom, "waits for a command or the end"),
	RULE(sendmsg, "answers"),
	RULE(newfstatat, "whether the socket file is still ours"),
#ifdef __NR_lstat
	RULE(lstat, "whether the socket file is still ours"),
	RULE(unlink, "removes the socket file"),
#endif
	RULE(unlinkat, "removes the socket file"),
	RULE(flock, "keeps those that start from taking its place meanwhile"),
	RULE(nanosleep, "until one that starts is done"),
	RULE(exit_group, "ends"),
};

const struct syscall_rule keeper_calling_rules[] = {
	RULE(recvfrom, "waits for a command or the end"),
	RULE(sendmsg, "answers, with a socket"),
	RULE_IF(socket, "calls the front-end", ARGUMENT_INT_IS(0, AF_UNIX)),
	RULE(connect, "calls the front-end"),
	RULE(close, "gives back what it has passed on"),
	RULE(write, "logs"),
	RULE(exit_group, "ends"),
};

struct duty {
	const struct listener *listener;
	int (*lock)(void *context, const struct syscall_rule *rules, size_t count);
	void *lock_context;
};

static int lock(const struct duty *duty)
{
	if (duty->listener->connects)
		return duty->lock(duty->lock_context, keeper_calling_rules,
				  ARRAY_SIZE(keeper_calling_rules));
	return duty->lock(duty->lock_context, keeper_listening_rules,
			  ARRAY_SIZE(keeper_listening_rules));
}

static void serve(void *context, int socket)
{
	const struct duty *duty = context;
	int folder = listener_open_folder(duty->listener); // as long as the process
	u8 command = 0;

	if (!lock(duty))
		while (helper_next(socket, &command))
			listener_keeper_do(duty->listener, socket, command);
	// also if it is not locked in: by now the other process cannot
	listener_remove_left_file(duty->listener, folder);
}

int keeper_start(struct listener *listener,
		 int (*lock_in)(void *context, const struct syscall_rule *rules, size_t count),
		 void *context)
{
	struct duty duty = {.listener = listener, .lock = lock_in, .lock_context = context};
	int socket;

	if (!listener->connects && !listener_has_file(listener))
		return 0; // nothing to remove, nobody to call
	socket = helper_start("keeper", serve, &duty);
	if (socket < 0)
		return socket;
	listener->keeper_fd = socket;
	return 0;
}
