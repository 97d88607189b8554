// SPDX-License-Identifier: Apache-2.0
// The console applet: consoles and serial ports (VIRTIO 1.3, 5.3 "Console Device"). Options, features, configuration,
// and the operations.
#include "applets/console/console.h"

#include <string.h>

#include "applets/console/assistant.h"
#include "applets/console/plan.h"
#include "core/log.h"
#include "core/sys.h"

enum { MOST_REPLAY = 16 << 20 };

enum { COLS_ROWS, ROWS_COLS };

// clang-format off
static const struct option console_option_table[] = {
	{.name = "port", .letter = 'p', .type = OPTION_LIST, .argument = "type=TYPE[,KEY...]", .max = CONSOLE_MAX_PORTS,
	 .help = "where a port ends on the host, see below; may be repeated",
	 .offset = offsetof(struct console_options, ports)},
	{.name = "size", .type = OPTION_TEXT, .argument = "COLSxROWS|inherit",
	 .help = "what the guest sees [as our terminal, if we have one]",
	 .offset = offsetof(struct console_options, size)},
	{.name = "resize-order", .type = OPTION_CHOICE, .choices = "cols-rows|rows-cols", .initial = "cols-rows",
	 .help = "how a resize is told; rows-cols: to Linux before 6.15",
	 .offset = offsetof(struct console_options, resize_order)},
	{.name = "replay", .type = OPTION_SIZE, .argument = "BYTES", .initial = "64K", .max = MOST_REPLAY,
	 .help = "what a late client gets to see of a console",
	 .offset = offsetof(struct console_options, replay)},
	{.name = "link", .type = OPTION_TEXT, .argument = "PATH",
	 .help = "a symbolic link to the first pty",
	 .offset = offsetof(struct console_options, link)},
};
// clang-format on

static bool is_multiport(const struct console *console)
{
	const struct port *first = &console->ports[0];

	return console->port_count > 1 || first->options.name || !first->is_console;
}

// ---- operations ----

// The control queues are there even if they are not offered: front-ends may be told to make them.
static unsigned console_queue_count(const struct device *device)
{
	return 2 * (console_of_const(device)->port_count + 1);
}

static u64 console_features(const struct device *device)
{
	const struct console *console = console_of_const(device);
	u64 features = BIT64(VIRTIO_CONSOLE_F_EMERG_WRITE);

	if (console->has_size)
		features |= BIT64(VIRTIO_CONSOLE_F_SIZE);
	if (is_multiport(console))
		features |= BIT64(VIRTIO_CONSOLE_F_MULTIPORT);
	return features;
}

// Features are negotiated anew whenever the front-end pauses the device, so the driver may be the same as before.
static void console_negotiated(struct device *device, u64 features)
{
	struct console *console = console_of(device);

	console->multiport = features & BIT64(VIRTIO_CONSOLE_F_MULTIPORT);
	if (!console->multiport)
		control_reset(console);
}

static void console_reset(struct device *device)
{
	control_reset(console_of(device));
}

static size_t console_config(const struct device *device, u8 *space)
{
	const struct console *console = console_of_const(device);
	const struct virtio_console_config config = {.cols = le16_of(console->cols),
						     .rows = le16_of(console->rows),
						     .max_nr_ports = le32_of(console->port_count)};

	memcpy(space, &config, sizeof(config));
	return sizeof(config);
}

static struct port *first_console(struct console *console)
{
	for (unsigned i = 0; i < console->port_count; i++)
		if (console->ports[i].is_console)
			return &console->ports[i];
	return &console->ports[0];
}

// 5.3.4 "Device configuration layout": a character in emerg_wr, at any time. Front-ends write the whole space for it,
// so what is read-only there is passed over.
static int console_config_write(struct device *device, size_t offset, const u8 *data, size_t len)
{
	const size_t character = offsetof(struct virtio_console_config, emerg_wr);

	if (offset <= character && character < offset + len)
		port_emergency_write(first_console(console_of(device)), data[character - offset]);
	return 0;
}

static void stop_hosts(struct console *console, unsigned count)
{
	while (count > 0)
		host_stop(&console->ports[--count]);
}

static int start_hosts(struct console *console)
{
	for (unsigned i = 0; i < console->port_count; i++) {
		int error = host_start(&console->ports[i]);

		if (error) {
			stop_hosts(console, i);
			return error;
		}
	}
	return 0;
}

static void console_ending(struct device *device)
{
	assistant_end(console_of(device));
}

static int console_worker_start(struct device *device, struct worker *worker)
{
	struct console *console = console_of(device);
	int error;

	console->worker = worker;
	error = assistant_wait(console);
	if (!error)
		error = size_start(console);
	if (!error)
		error = host_watch_presence(console);
	return error ? error : start_hosts(console);
}

static void console_worker_stop(struct device *device, struct worker *worker)
{
	struct console *console = console_of(device);

	stop_hosts(console, console->port_count);
	size_stop(console);
	if (console->presence_fd >= 0)
		worker_unwatch(worker, console->presence_fd, &console->presence);
}

// Where the device keeps this ring while it runs.
static struct vring **slot_of(struct console *console, const struct vring *vring)
{
	unsigned index = vring_index(vring);
	struct port *port = &console->ports[index < 2 ? 0 : index / 2 - 1];

	if (index == VIRTIO_CONSOLE_CONTROL_RECEIVEQ)
		return &console->control_receiveq;
	if (index == VIRTIO_CONSOLE_CONTROL_TRANSMITQ)
		return &console->control_transmitq;
	return index % 2 ? &port->transmitq : &port->receiveq;
}

static void console_process_queue(struct device *device, struct vring *vring)
{
	struct console *console = console_of(device);
	struct vring **slot = slot_of(console, vring);

	if (slot == &console->control_receiveq)
		control_receive(console);
	else if (slot == &console->control_transmitq)
		control_transmit(console);
	else if (vring_index(vring) % 2)
		port_transmit(container_of(slot, struct port, transmitq));
	else
		port_receive(container_of(slot, struct port, receiveq));
}

static void console_queue_start(struct device *device, struct vring *vring)
{
	struct console *console = console_of(device);

	*slot_of(console, vring) = vring;
	if (vring_index(vring) == VIRTIO_CONSOLE_CONTROL_TRANSMITQ)
		console->complained = false;
	// Linux does not look for the size before it hears that it has changed
	if (vring_index(vring) == VIRTIO_CONSOLE_PORT0_TRANSMITQ && console->has_size)
		device_config_changed(device);
}

static void console_queue_stop(struct device *device, struct vring *vring)
{
	struct console *console = console_of(device);
	struct vring **slot = slot_of(console, vring);

	if (slot != &console->control_transmitq && vring_index(vring) % 2)
		port_stop_transmit(container_of(slot, struct port, transmitq));
	*slot = NULL;
}

static const struct device_ops console_ops = {
	.type = VIRTIO_ID_CONSOLE,
	.queue_count = console_queue_count,
	.features = console_features,
	.one_worker = true,
	.negotiated = console_negotiated,
	.config = console_config,
	.config_write = console_config_write,
	.reset = console_reset,
	.save = state_save,
	.load = state_load,
	.ending = console_ending,
	.worker_start = console_worker_start,
	.worker_stop = console_worker_stop,
	.process_queue = console_process_queue,
	.queue_start = console_queue_start,
	.queue_stop = console_queue_stop,
};

static const struct syscall_rule *console_rules(const struct device *device, size_t *count)
{
	static struct syscall_rule all[CONSOLE_MAX_RULES];

	if (!device) {
		*count = rules_make(NULL, all);
		return all;
	}
	*count = console_of_const(device)->rule_count;
	return console_of_const(device)->rules;
}

// ---- opening ----

static unsigned console_inherited_fds(const void *values, int *fds, unsigned most)
{
	const struct option_list *list = &((const struct console_options *)values)->ports;
	unsigned count = 0;

	for (unsigned i = 0; i < list->count && count + 2 <= most; i++)
		count += port_options_fds(list->items[i], fds + count);
	return count;
}

static int open_ports(struct console *console, const char *link)
{
	for (unsigned i = 0; i < console->port_count; i++) {
		struct port *port = &console->ports[i];
		bool is_pty = port->options.type == PORT_PTY;
		int error = port_reserve(port);

		if (!error)
			error = host_open(port, is_pty ? link : NULL);
		if (error)
			return error;
		if (is_pty)
			link = NULL;
	}
	return 0;
}

static struct log_file *log_at(const struct console *console, unsigned index)
{
	struct port *port = &console->ports[index / 2];

	return index % 2 ? &port->log : &port->file;
}

// A file with a limit is renamed, of which whoever else writes to it would not know.
static int check_logs(const struct console *console)
{
	for (unsigned i = 0; i < 2 * console->port_count; i++) {
		const struct log_file *log = log_at(console, i);

		for (unsigned j = 0; j < i; j++) {
			const struct log_file *other = log_at(console, j);

			if ((log->options.max || other->options.max) && log_file_is(log, other))
				return log_errno(-EINVAL,
						 "--port log-max=: %s is written to twice; choose "
						 "another",
						 log->options.path);
		}
	}
	return 0;
}

// A client is accepted before the one in front of it is let go; a peer has one socket at a time.
static void declare_fds(struct console *console)
{
	unsigned peers = 0;

	for (unsigned i = 0; i < console->port_count; i++) {
		const struct host *host = &console->ports[i].host;

		peers += host->kind == HOST_LISTENS || host->kind == HOST_CALLS;
		if (host->kind == HOST_LISTENS)
			device_own_fd(&console->device, host->listener.fd);
	}
	console->device.later_fds = peers ? peers + 1 : 0;
	if (console->assistant_fd >= 0)
		console->device.later_fds++; // a log's new file, before the old one is closed
}

static int set_up(struct console *console, const struct applet_arguments *arguments)
{
	const struct console_options *options = arguments->values;
	int error = plan_make(console, arguments);

	if (!error)
		error = open_ports(console, options->link);
	if (!error)
		error = check_logs(console);
	if (!error)
		error = size_open(console, options->size);
	if (!error)
		error = assistant_start(console, arguments);
	if (!error && console->terminal.fd >= 0)
		error = terminal_make_raw(&console->terminal);
	console->rule_count = rules_make(console, console->rules);
	declare_fds(console);
	return error;
}

static void console_free(struct console *console)
{
	assistant_end(console);
	for (unsigned i = 0; console->ports && i < console->port_count; i++) {
		host_close(&console->ports[i]);
		port_fini(&console->ports[i]);
	}
	close_fd(&console->presence_fd);
	close_fd(&console->resized_fd);
	free(console->ports);
	free(console);
}

static void console_close(struct device *device)
{
	console_free(console_of(device));
}

static int console_open(const struct applet_arguments *arguments, struct device **device)
{
	const struct console_options *options = arguments->values;
	struct console *console = calloc(1, sizeof(*console));
	int error;

	if (!console)
		return log_errno(-ENOMEM, "cannot make a console");
	device_init(&console->device, &console_ops);
	console->replay = (size_t)options->replay;
	console->access = arguments->access;
	console->rows_first = options->resize_order == ROWS_COLS;
	console->terminal.fd = -1;
	console->assistant_fd = -1;
	console->presence_fd = -1;
	console->resized_fd = -1;
	console->size_fd = -1;
	error = set_up(console, arguments);
	if (error) {
		console_free(console);
		return error;
	}
	*device = &console->device;
	return 0;
}

extern const struct applet console_applet;
const struct applet console_applet = {
	.name = "console",
	.summary = "a console and serial ports, on a terminal, ptys, sockets, files or fifos",
	.backend_type = "console",
	.capabilities = "",
	.examples =
		"  vhost-multi console --socket /run/vm.sock\n"
		"  vhost-multi console --socket /run/vm.sock --port type=pty --link /run/vm.tty\n"
		"  vhost-multi console --socket /run/vm.sock --port type=unix,path=/run/vm.console,log=/var/log/vm \\\n"
		"    --port type=unix,path=/run/vm.agent,name=org.example.agent\n"
		"\nPorts: type=stdio | pty[,path=LINK] | unix,path=PATH[,connect] | tcp,path=[HOST:]PORT[,connect] |\n"
		"  file,path=PATH[,input=PATH] | fd,path=N[,input=N] | fifo,path=PATH[,input=PATH] | null, each with\n"
		"  name=NAME    what the guest calls it, /dev/virtio-ports/NAME\n"
		"  console      it is a console; without any, the first port is\n"
		"  log=FILE     append the output to this file, timestamp: with the time on each line\n"
		"  log-max=SIZE keep the log, or type=file, below this size: a full one becomes FILE.1\n"
		"  log-keep=N   how many of these there are, FILE.1 to FILE.N [1]\n"
		"  filter       only printable output gets through, no terminal escape sequences\n"
		"  drop         lose the oldest output when the reader is slow; else the guest waits\n",
	.options = console_option_table,
	.option_count = ARRAY_SIZE(console_option_table),
	.values_size = sizeof(struct console_options),
	.rules = console_rules,
	.inherited_fds = console_inherited_fds,
	.check = plan_check,
	.open = console_open,
	.close = console_close,
};
