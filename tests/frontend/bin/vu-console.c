// SPDX-License-Identifier: Apache-2.0
//
// The guest of a console device, for shell tests: what it reads on standard input it sends on a port, what the port
// receives it writes to standard output. Exit status: 0 done, 1 the device or the back-end failed, 2 wrong usage.

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "tests/frontend/console.h"
#include "tests/frontend/state.h"

static const char usage[] =
	"usage: vu-console [OPTION...] SOCKET\n"
	"  --ports N         take N ports by MULTIPORT; else there is one and two queues\n"
	"  --port N          the port that is used (0)\n"
	"  --bytes N         end only when so many bytes were received\n"
	"  --linger MS       end so long after the last thing that happened (300)\n"
	"  --echo            send back what is received, instead of standard input; never ends\n"
	"  --flood MS        send as much as is taken, until then; say how many bytes that was\n"
	"  --flood-port N    beside all else send as much as is taken on this port\n"
	"  --quiet-open      do not open the port\n"
	"  --print           say what the device tells: messages, configuration\n"
	"  --save FILE       at the end stop the rings and write the device's state there\n"
	"  --load FILE       hand the device this state and go on as the driver of then, which has opened --port\n"
	"  --emergency TEXT  write this to emerg_wr before anything else, as QEMU does, and end\n";

enum { TICK_MS = 20 };

struct guest {
	struct vm_console console;
	struct vm_console_options options;
	unsigned port;
	int flood_port; /* -1: none */
	uint64_t bytes_wanted, received, sent;
	int linger_ms, flood_ms;
	bool echo, quiet_open, print, input_ended, sending, flooding;
	const char *emergency, *save, *load;
	int64_t last_event_ms;
};

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void print_config(const uint8_t *config)
{
	uint16_t size[2];
	uint32_t ports;

	memcpy(size, config, sizeof(size));
	memcpy(&ports, config + sizeof(size), sizeof(ports));
	fprintf(stderr, "config cols %u rows %u ports %u\n", le16toh(size[0]), le16toh(size[1]),
		le32toh(ports));
}

static void print_message(const struct vm_console_message *message)
{
	static const char *const names[] = {"DEVICE_READY", "DEVICE_ADD",   "DEVICE_REMOVE",
					    "PORT_READY",   "CONSOLE_PORT", "RESIZE",
					    "PORT_OPEN",    "PORT_NAME"};
	uint16_t size[2];

	fprintf(stderr, "port %u %s %u", message->id,
		message->event < 8 ? names[message->event] : "?", message->value);
	if (message->event == VM_CONSOLE_PORT_NAME)
		fprintf(stderr, " %.*s", (int)message->more_len, (const char *)message->more);
	if (message->event == VM_CONSOLE_RESIZE) {
		memcpy(size, message->more, sizeof(size));
		fprintf(stderr, " %u %u", le16toh(size[0]), le16toh(size[1]));
	}
	fputc('\n', stderr);
}

/* All control messages that are there. */
static int hear_all(struct guest *guest)
{
	struct vm_console_message message;
	int result = 0;

	while (!result && guest->console.multiport) {
		result = vm_console_hear(&guest->console, &message, 0);
		if (result)
			break;
		guest->last_event_ms = now_ms();
		if (guest->print)
			print_message(&message);
		result = vm_console_answer(&guest->console, &message);
		if (!result && message.event == VM_CONSOLE_DEVICE_ADD && !guest->quiet_open)
			result = vm_console_tell(&guest->console, message.id, VM_CONSOLE_PORT_OPEN,
						 1);
	}
	return result == -ETIMEDOUT ? 0 : result;
}

/* The back-end's word that the configuration has changed is a message without a payload. */
static int hear_of_config(struct guest *guest)
{
	struct vm *vm = &guest->console.vm;
	struct pollfd poll_fd = {.fd = vm->backend_fd, .events = POLLIN};
	struct vu_header header;
	uint8_t config[VM_CONSOLE_CONFIG];
	int error;

	if (vm->backend_fd < 0 || poll(&poll_fd, 1, 0) != 1)
		return 0;
	if (read(vm->backend_fd, &header, sizeof(header)) != sizeof(header))
		return -EPROTO;
	guest->last_event_ms = now_ms();
	error = frontend_get_config(&vm->frontend, 0, sizeof(config), 0, config);
	if (!error && guest->print)
		print_config(config);
	return error;
}

/* Sends the next bytes if the last ones were taken. */
static int send_next(struct guest *guest, const uint8_t *bytes, size_t len)
{
	int result = guest->sending ? vm_console_taken(&guest->console, guest->port) : 1;

	if (result <= 0)
		return result;
	guest->sending = false;
	if (len == 0)
		return 0;
	result = vm_console_offer(&guest->console, guest->port, bytes, len);
	if (result)
		return result;
	guest->sending = true;
	guest->sent += len;
	guest->last_event_ms = now_ms();
	return 0;
}

static int send_input(struct guest *guest)
{
	struct pollfd poll_fd = {.fd = STDIN_FILENO, .events = POLLIN};
	uint8_t bytes[VM_CONSOLE_SEND];
	ssize_t len = 0;
	int result = send_next(guest, NULL, 0);

	if (result || guest->sending || guest->input_ended || poll(&poll_fd, 1, 0) != 1)
		return result;
	len = read(STDIN_FILENO, bytes, sizeof(bytes));
	guest->input_ended = len <= 0;
	return len > 0 ? send_next(guest, bytes, (size_t)len) : 0;
}

static int echo(struct guest *guest, const uint8_t *bytes, size_t len)
{
	int error = vm_console_send(&guest->console, guest->port, bytes, len, 10000);

	guest->sent += error ? 0 : len;
	return error;
}

/* Up to a whole ring of what the port receives. */
static int receive_all(struct guest *guest)
{
	uint8_t bytes[VM_CONSOLE_BUFFER];
	int len = 1;

	for (unsigned i = 0; len > 0 && i < VM_CONSOLE_BUFFERS; i++) {
		len = vm_console_receive(&guest->console, guest->port, bytes, 0);
		if (len <= 0)
			break;
		guest->received += (uint64_t)len;
		guest->last_event_ms = now_ms();
		if (guest->echo) {
			int error = echo(guest, bytes, (size_t)len);

			if (error)
				return error;
		} else if (fwrite(bytes, 1, (size_t)len, stdout) != (size_t)len) {
			return -EPIPE;
		}
	}
	fflush(stdout);
	return len == -ETIMEDOUT || len > 0 ? 0 : len;
}

/* The device keeps at most one chain of that port waiting. */
static int flood_beside(struct guest *guest)
{
	static const uint8_t bytes[VM_CONSOLE_SEND];
	unsigned port = (unsigned)guest->flood_port;
	int result = guest->flooding ? vm_console_taken(&guest->console, port) : 1;

	if (result <= 0)
		return result;
	guest->flooding = true;
	return vm_console_offer(&guest->console, port, bytes, sizeof(bytes));
}

static int flood(struct guest *guest)
{
	static uint8_t bytes[VM_CONSOLE_SEND];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = i % 64 == 63 ? '\n' : (uint8_t)('0' + guest->sent / sizeof(bytes) % 10);
	return send_next(guest, bytes, sizeof(bytes));
}

static bool is_done(const struct guest *guest, int64_t start_ms)
{
	if (guest->flood_ms)
		return now_ms() >= start_ms + guest->flood_ms;
	return guest->input_ended && !guest->sending && guest->received >= guest->bytes_wanted &&
	       now_ms() >= guest->last_event_ms + guest->linger_ms;
}

/* Sleeps until something may have happened. */
static void wait_a_tick(struct guest *guest)
{
	struct vm_console *console = &guest->console;
	struct pollfd poll_fds[4] = {
		{.fd = console->receive[guest->port].ring->call_fd, .events = POLLIN},
		{.fd = guest->sending ? console->transmit[guest->port].ring->call_fd : -1,
		 .events = POLLIN},
		{.fd = guest->echo || guest->flood_ms || guest->input_ended || guest->sending
			       ? -1
			       : STDIN_FILENO,
		 .events = POLLIN},
		{.fd = console->multiport ? console->control_receive.ring->call_fd : -1,
		 .events = POLLIN},
	};
	struct vm_ring *rings[4] = {console->receive[guest->port].ring,
				    console->transmit[guest->port].ring, NULL,
				    console->multiport ? console->control_receive.ring : NULL};

	for (unsigned i = 0; i < 4; i++)
		if (rings[i] && poll_fds[i].fd >= 0 && vm_ring_arm(rings[i]))
			return;
	poll(poll_fds, 4, TICK_MS);
	for (unsigned i = 0; i < 4; i++)
		if (rings[i] && poll_fds[i].revents)
			vm_ring_eventfd_read(poll_fds[i].fd);
}

static int save_state(struct guest *guest)
{
	static struct vm_state state;
	int fd = open(guest->save, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int error = fd < 0 ? -errno : vm_stop(&guest->console.vm);

	if (!error)
		error = vm_state_save(&guest->console.vm, &state);
	if (!error)
		error = vm_state_write(&state, fd);
	if (fd >= 0)
		close(fd);
	return error;
}

static int load_state(struct guest *guest)
{
	static struct vm_state state;
	int fd = open(guest->load, O_RDONLY | O_CLOEXEC);
	int error = fd < 0 ? -errno : vm_state_read(&state, fd);

	if (fd >= 0)
		close(fd);
	if (!error)
		error = vm_stop(&guest->console.vm);
	if (!error)
		error = vm_state_load(&guest->console.vm, &state);
	if (!error)
		error = vm_resume(&guest->console.vm);
	return error ? error : vm_console_fill(&guest->console, guest->port);
}

/* What a driver does first: it comes, or it goes on. */
static int begin(struct guest *guest)
{
	if (guest->load)
		return load_state(guest);
	if (!guest->console.multiport)
		return 0;
	return vm_console_tell(&guest->console, UINT32_MAX, VM_CONSOLE_DEVICE_READY, 1);
}

static int run(struct guest *guest)
{
	int64_t start_ms = now_ms();
	int error = begin(guest);

	guest->last_event_ms = start_ms;
	if (guest->print)
		print_config(guest->console.vm.config);
	while (!error && !is_done(guest, start_ms)) {
		error = hear_all(guest);
		if (!error)
			error = hear_of_config(guest);
		if (!error)
			error = receive_all(guest);
		if (!error && guest->flood_port >= 0)
			error = flood_beside(guest);
		if (!error && guest->flood_ms)
			error = flood(guest);
		else if (!error && !guest->echo)
			error = send_input(guest);
		wait_a_tick(guest);
	}
	if (guest->flood_ms)
		printf("%ju\n", (uintmax_t)guest->sent);
	return error || !guest->save ? error : save_state(guest);
}

/* Without rings or driver; the whole configuration each time. */
static int write_emergency(const struct guest *guest, const char *path)
{
	struct vm vm;
	struct vm_profile profile = *vm_profile_find("qemu");
	int error;

	profile.config_len = VM_CONSOLE_CONFIG;
	error = vm_connect(&vm, path, &(struct vm_options){.profile = &profile, .queues = 2});
	if (error)
		return error;
	for (const char *c = guest->emergency; *c && !error; c++) {
		vm.config[8] = (uint8_t)*c;
		error = (int)frontend_set_config(&vm.frontend, 0, VM_CONSOLE_CONFIG, 0, vm.config);
	}
	vm_close(&vm);
	return error;
}

static int parse(struct guest *guest, int argc, char **argv)
{
	static const struct option options[] = {{"ports", required_argument, NULL, 'n'},
						{"port", required_argument, NULL, 'p'},
						{"bytes", required_argument, NULL, 'b'},
						{"linger", required_argument, NULL, 'l'},
						{"echo", no_argument, NULL, 'e'},
						{"flood", required_argument, NULL, 'f'},
						{"flood-port", required_argument, NULL, 'o'},
						{"quiet-open", no_argument, NULL, 'q'},
						{"print", no_argument, NULL, 'v'},
						{"emergency", required_argument, NULL, 'x'},
						{"save", required_argument, NULL, 's'},
						{"load", required_argument, NULL, 'r'},
						{0}};
	int option;

	guest->linger_ms = 300;
	guest->flood_port = -1;
	guest->options.timeout_ms = 20000;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		int number = optarg ? atoi(optarg) : 0;

		guest->echo |= option == 'e';
		guest->quiet_open |= option == 'q';
		guest->print |= option == 'v';
		if (option == 'n')
			guest->options.ports = (unsigned)number;
		else if (option == 'p')
			guest->port = (unsigned)number;
		else if (option == 'b')
			guest->bytes_wanted = (uint64_t)number;
		else if (option == 'l')
			guest->linger_ms = number;
		else if (option == 'f')
			guest->flood_ms = number;
		else if (option == 'o')
			guest->flood_port = number;
		else if (option == 'x')
			guest->emergency = optarg;
		else if (option == 's')
			guest->save = optarg;
		else if (option == 'r')
			guest->load = optarg;
		else if (option == '?')
			return -EINVAL;
	}
	return argc - optind == 1 ? 0 : -EINVAL;
}

int main(int argc, char **argv)
{
	static struct guest guest;
	int error = parse(&guest, argc, argv);

	if (error) {
		fputs(usage, stderr);
		return 2;
	}
	if (guest.emergency) {
		error = write_emergency(&guest, argv[optind]);
	} else {
		error = vm_console_start(&guest.console, argv[optind], &guest.options);
		if (!error) {
			error = run(&guest);
			vm_console_close(&guest.console);
		}
	}
	if (error)
		fprintf(stderr, "vu-console: %s\n", strerror(-error));
	return error != 0;
}
