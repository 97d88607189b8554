// SPDX-License-Identifier: Apache-2.0
// The control queues (VIRTIO 1.3, 5.3.6.2 "Multiport Device Operation"). What the driver is to be told is kept as one
// bit for each thing, so that no storm of events makes it grow.
#include <string.h>

#include "applets/console/console.h"
#include "core/log.h"

// ---- to the driver ----

// A message and what follows its header.
struct control_message {
	struct virtio_console_control header;
	u8 more[PORT_NAME_MAX];
};

void control_tell(struct port *port, unsigned tell)
{
	struct console *console = port->console;

	if (!console->driver_ready || (!port->ready && tell != TELL_ADD))
		return;
	// who is told that it is open need not hear first that it was closed before that
	if (tell == TELL_CLOSED)
		port->tell &= ~(unsigned)TELL_OPEN;
	port->tell |= tell;
	if (console->control_receiveq)
		vring_wake(console->control_receiveq);
}

static size_t put_name(const struct port *port, struct control_message *message)
{
	size_t len = strlen(port->options.name);

	memcpy(message->more, port->options.name, len);
	return len;
}

// The specification has the columns first. Linux took the rows first until 2025, when its stable branches changed as well.
static size_t put_size(const struct console *console, struct control_message *message)
{
	const le16 cols = le16_of(console->cols), rows = le16_of(console->rows);
	const le16 size[2] = {console->rows_first ? rows : cols, console->rows_first ? cols : rows};

	memcpy(message->more, size, sizeof(size));
	return sizeof(size);
}

// Makes the first message that the port has for the driver; answers its length.
static size_t make_message(const struct port *port, unsigned tell, struct control_message *message)
{
	unsigned event = VIRTIO_CONSOLE_PORT_OPEN, value = 1;
	size_t more = 0;

	if (tell == TELL_ADD) {
		event = VIRTIO_CONSOLE_DEVICE_ADD;
	} else if (tell == TELL_CONSOLE) {
		event = VIRTIO_CONSOLE_CONSOLE_PORT;
	} else if (tell == TELL_NAME) {
		event = VIRTIO_CONSOLE_PORT_NAME;
		more = put_name(port, message);
	} else if (tell == TELL_SIZE) {
		event = VIRTIO_CONSOLE_RESIZE;
		more = put_size(port->console, message);
	} else if (tell == TELL_CLOSED) {
		value = 0;
	}
	message->header = (struct virtio_console_control){.id = le32_of(port->id),
							  .event = le16_of((u16)event),
							  .value = le16_of((u16)value)};
	return sizeof(message->header) + more;
}

// A buffer that is too short goes back empty, and the message waits for the next.
static void send_first(struct port *port, struct vring *vring, struct chain *chain)
{
	unsigned first = port->tell & -port->tell; // the lowest bit
	struct control_message message;
	size_t len = make_message(port, first, &message);

	if (chain_writable_len(chain) < len) {
		vring_push(vring, chain, 0);
		return;
	}
	port->tell &= ~first;
	chain_write(chain, &message, len);
	vring_push(vring, chain, (u32)len);
}

// True if the port has nothing left for the driver.
static bool send_all(struct port *port, struct vring *vring)
{
	struct chain *chain;

	while (port->tell && (chain = vring_pop(vring))) {
		if (chain_readable_len(chain) == 0) {
			send_first(port, vring, chain);
			continue;
		}
		vring_break(vring, "a readable buffer in the control receiveq");
		vring_push(vring, chain, 0);
	}
	return port->tell == 0;
}

void control_receive(struct console *console)
{
	for (unsigned i = 0; i < console->port_count && console->multiport; i++)
		if (!send_all(&console->ports[i], console->control_receiveq))
			return;
}

// ---- from the driver ----

void control_reset(struct console *console)
{
	console->driver_ready = false;
	for (unsigned i = 0; i < console->port_count; i++) {
		console->ports[i].ready = false;
		console->ports[i].guest_open = false;
		console->ports[i].tell = 0;
	}
}

// The same driver says so once; again, it is a new one that has to hear of all ports.
static void driver_is_ready(struct console *console, unsigned value)
{
	control_reset(console);
	console->driver_ready = value == 1;
	for (unsigned i = 0; i < console->port_count && value == 1; i++)
		control_tell(&console->ports[i], TELL_ADD);
}

static void port_is_ready(struct port *port, unsigned value)
{
	port->ready = value == 1;
	if (!port->ready)
		return;
	if (port->is_console)
		control_tell(port, TELL_CONSOLE);
	if (port->options.name)
		control_tell(port, TELL_NAME);
	if (port->host.present)
		control_tell(port, TELL_OPEN);
	if (port->is_console && port->console->has_size)
		control_tell(port, TELL_SIZE);
}

static void port_is_open(struct port *port, unsigned value)
{
	port->guest_open = value == 1;
	if (port->receiveq)
		vring_wake(port->receiveq);
}

// Handles a message; false if it makes no sense.
static bool handle(struct console *console, const struct virtio_console_control *message)
{
	u32 id = le32_get(message->id);
	unsigned event = le16_get(message->event), value = le16_get(message->value);

	if (value > 1)
		return false;
	if (event == VIRTIO_CONSOLE_DEVICE_READY) {
		driver_is_ready(console, value);
		return true;
	}
	if (id >= console->port_count || !console->driver_ready)
		return false;
	if (event == VIRTIO_CONSOLE_PORT_READY)
		port_is_ready(&console->ports[id], value);
	else if (event == VIRTIO_CONSOLE_PORT_OPEN)
		port_is_open(&console->ports[id], value);
	else
		return false;
	return true;
}

static void take_message(struct console *console, struct chain *chain)
{
	struct virtio_console_control message = {0};
	size_t len = chain_read(chain, &message, sizeof(message));

	if (len == sizeof(message) && handle(console, &message))
		return;
	if (!console->complained)
		log_warning("a control message of %zu bytes (port %u, event %u, value %u) makes no "
			    "sense: ignored, as are others like it",
			    len, le32_get(message.id), le16_get(message.event),
			    le16_get(message.value));
	console->complained = true;
}

void control_transmit(struct console *console)
{
	struct vring *vring = console->control_transmitq;
	struct chain *chain;

	while ((chain = vring_pop(vring))) {
		if (chain_writable_len(chain) > 0)
			vring_break(vring, "a writable buffer in the control transmitq");
		else if (console->multiport)
			take_message(console, chain);
		vring_push(vring, chain, 0);
	}
}
