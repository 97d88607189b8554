// SPDX-License-Identifier: Apache-2.0
// A port's data: output waits in port->output for its reader, input in port->input for the guest. Both are bounded;
// what is full makes the other side wait, or, where the port drops, loses the oldest bytes.
#include <string.h>

#include "applets/console/console.h"
#include "core/log.h"
#include "core/sys.h"

// Bytes of output that may wait for a reader.
static size_t most_waiting(const struct port *port)
{
	return port->output.size - PORT_SPARE;
}

void port_init(struct port *port, struct console *console, unsigned id)
{
	*port = (struct port){.console = console, .id = id, .file.fd = -1, .log.fd = -1};
	host_init(&port->host);
}

int port_reserve(struct port *port)
{
	size_t replay = port->console->replay;
	size_t waiting = replay > PORT_WAITING_MIN ? replay : PORT_WAITING_MIN;

	port->input = sys_reserve(PORT_INPUT);
	if (!port->input || replay_init(&port->output, waiting + PORT_SPARE))
		return log_errno(-ENOMEM, "cannot reserve the memory of port %u", port->id);
	return 0;
}

void port_fini(struct port *port)
{
	log_file_close(&port->file);
	log_file_close(&port->log);
	replay_fini(&port->output);
	sys_release(port->input, PORT_INPUT);
	port_options_fini(&port->options);
}

struct log_file *port_rotating_log(struct port *port, unsigned which)
{
	struct log_file *log = which ? &port->log : &port->file;

	return log->fd >= 0 && log->options.max ? log : NULL;
}

// ---- output ----

// Without a client, a console's output is only kept for the next one's sight; other ports' output waits for it.
static bool reader_waits(const struct port *port)
{
	const struct host *host = &port->host;

	if (host->kind == HOST_FIXED && host->out.fd < 0)
		return false;
	return host->present ? host_reads(host) : !port->is_console;
}

// How many bytes may be taken from the guest now.
static size_t room(const struct port *port)
{
	u64 waiting = port->output.end - port->sent;

	if (port->options.drop || !reader_waits(port))
		return SIZE_MAX;
	return waiting < most_waiting(port) ? most_waiting(port) - (size_t)waiting : 0;
}

static void drop(struct port *port, u64 len)
{
	if (!port->complained)
		log_warning("port %u: output is dropped, since nobody reads it fast enough",
			    port->id);
	port->complained = true;
	port->dropped += len;
}

// The oldest bytes may have been overwritten before they were sent.
static void skip_overwritten(struct port *port)
{
	u64 begin = replay_begin(&port->output);

	if (port->sent >= begin)
		return;
	if (reader_waits(port))
		drop(port, begin - port->sent);
	port->sent = begin;
}

// Printable ASCII, and the controls that only move on: so no escape sequence gets through.
static size_t keep_printable(u8 *bytes, size_t len)
{
	size_t kept = 0;

	for (size_t i = 0; i < len; i++)
		if ((bytes[i] >= ' ' && bytes[i] <= '~') ||
		    (bytes[i] && strchr("\a\b\t\n\r", bytes[i])))
			bytes[kept++] = bytes[i];
	return kept;
}

// `len` bytes are where replay_space said. Answers how many bytes that has moved, in all places.
static size_t put(struct port *port, u8 *bytes, size_t len)
{
	size_t taken = len, moved;

	if (port->options.filter)
		len = keep_printable(bytes, len);
	moved = log_file_write(&port->file, bytes, len) + log_file_write(&port->log, bytes, len);
	replay_commit(&port->output, len);
	skip_overwritten(port);
	return moved + taken;
}

// Moves up to `most` bytes from the held chain to where output waits, in parts, since with stamps a few bytes become many; but no
// more parts when `budget` is used up. Answers what is left of that.
static size_t take(struct port *port, size_t most, size_t budget)
{
	size_t len, done = 0;

	while (done < most && budget > 0 && chain_readable_len(port->held) > 0) {
		u8 *bytes = replay_space(&port->output, &len);

		len = chain_read(port->held, bytes,
				 min_size(min_size(len, PORT_PART), most - done));
		if (len == 0) { // guest memory has gone, and with it what the guest has sent
			chain_skip(&port->held->readable, chain_readable_len(port->held));
			break;
		}
		budget -= min_size(budget, put(port, bytes, len));
		done += len;
	}
	return budget;
}

static void finish_held(struct port *port)
{
	vring_push(port->transmitq, port->held, 0);
	port->held = NULL;
}

// Holds the next chain, if there is one. 5.3.6.1 "Driver Requirements: Device Operation": no writable buffer here.
static bool hold_next(struct port *port)
{
	port->held = vring_pop(port->transmitq);
	if (!port->held)
		return false;
	if (chain_writable_len(port->held) == 0)
		return true;
	vring_break(port->transmitq, "a writable buffer in a transmitq");
	finish_held(port);
	return false;
}

// Hands the reader what waits for it, as much as it takes at once.
static void flush(struct port *port)
{
	size_t len, written;

	if (!host_reads(&port->host))
		return;
	do {
		const u8 *bytes = replay_peek(&port->output, port->sent, &len);

		written = len > 0 ? host_write(port, bytes, len) : 0;
		port->sent += written;
	} while (written > 0);
	host_settle(port);
}

// A port without MULTIPORT, other than the first, does not exist.
static bool exists(const struct port *port)
{
	return port->id == 0 || port->console->multiport;
}

static void ignore_chains(struct vring *vring)
{
	struct chain *chain;

	while ((chain = vring_pop(vring)))
		vring_push(vring, chain, 0);
}

void port_transmit(struct port *port)
{
	size_t budget = PORT_TURN;
	bool empty = false;

	if (!exists(port)) {
		ignore_chains(port->transmitq);
		return;
	}
	while (budget > 0 && room(port) > 0 && !empty) {
		if (!port->held && !hold_next(port)) {
			empty = true;
			continue;
		}
		budget = take(port, min_size(budget, room(port)), budget);
		if (chain_readable_len(port->held) == 0)
			finish_held(port);
	}
	flush(port);
	if (!empty && room(port) > 0)
		vring_wake(port->transmitq);
}

static void finish_at_once(struct port *port)
{
	u64 lost;

	take(port, PORT_SPARE, SIZE_MAX);
	lost = chain_readable_len(port->held);
	if (lost > 0)
		drop(port, lost);
	finish_held(port);
}

void port_stop_transmit(struct port *port)
{
	if (port->held)
		finish_at_once(port);
	flush(port);
	if (port->dropped > port->reported)
		log_warning("port %u: %llu bytes of output were dropped so far", port->id,
			    (unsigned long long)port->dropped);
	port->reported = port->dropped;
}

void port_emergency_write(struct port *port, u8 byte)
{
	size_t len;
	u8 *space = replay_space(&port->output, &len);

	*space = byte;
	put(port, space, 1);
	flush(port);
}

void port_writable(struct port *port)
{
	flush(port);
	if (port->transmitq && room(port) > 0)
		vring_wake(port->transmitq);
}

// ---- input ----

// What is typed is looked through for the escape key at once, even if the guest takes nothing, for as long as there is room.
static void read_terminal(struct port *port)
{
	u8 typed[256], kept[sizeof(typed) + 1];
	size_t len, room;

	memmove(port->input, port->input + port->input_first, port->input_len);
	port->input_first = 0;
	while ((room = PORT_INPUT - port->input_len) > 1) {
		len = host_read(port, typed, min_size(sizeof(typed), room - 1));
		if (len == 0)
			return;
		len = terminal_type(&port->console->terminal, typed, len, kept);
		memcpy(port->input + port->input_len, kept, len);
		port->input_len += len;
	}
}

static bool is_terminal(const struct port *port)
{
	return port->options.type == PORT_STDIO && port->console->terminal.fd >= 0;
}

static bool have_input(struct port *port)
{
	if (port->input_len == 0)
		port->input_first = 0;
	if (is_terminal(port))
		read_terminal(port);
	else if (port->input_len == 0)
		port->input_len = host_read(port, port->input, PORT_INPUT);
	return port->input_len > 0;
}

// A driver that manages ports throws away what comes before it has opened the port.
static bool guest_listens(const struct port *port)
{
	if (!exists(port))
		return false;
	return !port->console->multiport || !port->console->driver_ready || port->guest_open;
}

static void give(struct port *port, struct chain *chain)
{
	size_t given = chain_write(chain, port->input + port->input_first, port->input_len);

	port->input_first += given;
	port->input_len -= given;
	vring_push(port->receiveq, chain, (u32)given);
}

// No chain is taken before there is input for it, so none is ever in flight.
void port_receive(struct port *port)
{
	struct chain *chain;

	while (guest_listens(port) && have_input(port) && (chain = vring_pop(port->receiveq))) {
		if (chain_readable_len(chain) > 0) {
			vring_break(port->receiveq, "a readable buffer in a receiveq");
			vring_push(port->receiveq, chain, 0);
			break;
		}
		give(port, chain);
	}
	host_settle(port);
}

void port_readable(struct port *port)
{
	if (is_terminal(port))
		have_input(port);
	if (port->receiveq)
		vring_wake(port->receiveq);
}

// ---- clients ----

void port_joined(struct port *port)
{
	u64 again = min_u64(port->console->replay, port->output.end);

	if (port->is_console)
		port->sent = port->output.end - again;
	skip_overwritten(port);
	port->complained = false;
	control_tell(port, TELL_OPEN);
	port_readable(port);
	port_writable(port);
}

void port_left(struct port *port)
{
	control_tell(port, TELL_CLOSED);
	port_writable(port); // a console's guest need not wait any longer
}
