// SPDX-License-Identifier: Apache-2.0
// What the driver has said of the ports, on its way to another process, where the same driver goes on. Bytes that wait
// for a reader or for the guest stay behind: they belong to this host's clients.
#include <string.h>

#include "applets/console/console.h"
#include "core/log.h"

struct console_state {
	u8 driver_ready;
	u8 padding;
	le16 port_count; // what follows: a struct port_state for each
};

enum { STATE_READY = 1, STATE_OPEN = 2 };
enum { STATE_TELL = TELL_ADD | TELL_CONSOLE | TELL_NAME };

struct port_state {
	u8 flags; // STATE_READY, STATE_OPEN
	u8 tell;  // of STATE_TELL: what the driver has not heard yet
};

size_t state_save(const struct device *device, u8 *state, size_t size)
{
	const struct console *console = console_of_const(device);
	const struct console_state saved = {.driver_ready = console->driver_ready,
					    .port_count = le16_of((u16)console->port_count)};
	size_t len = sizeof(saved);

	assert(size >= len + console->port_count * sizeof(struct port_state));
	memcpy(state, &saved, len);
	for (unsigned i = 0; i < console->port_count; i++) {
		const struct port *port = &console->ports[i];
		const struct port_state of_port = {
			.flags = (u8)((port->ready ? STATE_READY : 0) |
				      (port->guest_open ? STATE_OPEN : 0)),
			.tell = (u8)(port->tell & STATE_TELL)};

		memcpy(state + len, &of_port, sizeof(of_port));
		len += sizeof(of_port);
	}
	return len;
}

static int check_port(const struct console_state *saved, unsigned id, struct port_state state)
{
	bool any = state.flags || state.tell;

	if (state.flags & ~(unsigned)(STATE_READY | STATE_OPEN) ||
	    state.tell & ~(unsigned)STATE_TELL || (any && !saved->driver_ready))
		return log_errno(-EINVAL, "the console's state has port %u as %#x, %#x", id,
				 state.flags, state.tell);
	return 0;
}

static int check(const struct console *console, const u8 *state, size_t len,
		 struct console_state *saved)
{
	unsigned count;
	int error = 0;

	if (len < sizeof(*saved))
		return log_errno(-EINVAL, "the console's state has %zu bytes", len);
	memcpy(saved, state, sizeof(*saved));
	count = le16_get(saved->port_count);
	if (saved->driver_ready > 1 || saved->padding || count == 0 ||
	    count > console->port_count ||
	    len != sizeof(*saved) + count * sizeof(struct port_state))
		return log_errno(-EINVAL,
				 "the console's state is of %u ports in %zu bytes; we have %u",
				 count, len, console->port_count);
	for (unsigned i = 0; i < count && !error; i++) {
		struct port_state of_port;

		memcpy(&of_port, state + sizeof(*saved) + i * sizeof(of_port), sizeof(of_port));
		error = check_port(saved, i, of_port);
	}
	return error;
}

// The driver hears what it could not before, and how things are with this process's client and terminal.
static void load_port(struct port *port, struct port_state state)
{
	port->ready = state.flags & STATE_READY;
	port->guest_open = state.flags & STATE_OPEN;
	port->tell = state.tell;
	control_tell(port, port->host.present ? TELL_OPEN : TELL_CLOSED);
	if (port->is_console && port->console->has_size)
		control_tell(port, TELL_SIZE);
}

int state_load(struct device *device, const u8 *state, size_t len)
{
	struct console *console = console_of(device);
	struct console_state saved = {0};
	int error = check(console, state, len, &saved);

	if (error)
		return error;
	control_reset(console);
	console->driver_ready = saved.driver_ready;
	for (unsigned i = 0; i < console->port_count; i++) {
		struct port_state of_port = {.tell = saved.driver_ready ? TELL_ADD : 0};

		if (i < le16_get(saved.port_count)) // else it is new to the driver
			memcpy(&of_port, state + sizeof(saved) + i * sizeof(of_port),
			       sizeof(of_port));
		load_port(&console->ports[i], of_port);
	}
	return 0;
}
