// SPDX-License-Identifier: Apache-2.0
// The console device: what its files share. Output goes transmitq → port.c → replay → host.c, input goes
// host.c → port.c → receiveq; control.c tells the driver of the ports. All on one worker, so nothing is locked.
#pragma once

#include "applets/console/host.h"
#include "applets/console/log_file.h"
#include "applets/console/port_options.h"
#include "applets/console/replay.h"
#include "applets/console/virtio_console.h"
#include "core/device.h"
#include "seccomp/rule.h"

enum {
	CONSOLE_MAX_PORTS = DEVICE_MAX_QUEUES / 2 - 1,
	PORT_WAITING_MIN =
		64 * 1024, // bytes of output that may wait for a reader, unless --replay says more
	PORT_SPARE = 64 * 1024, // room for the rest of a chain when its ring stops
	PORT_INPUT = 16 * 1024, // bytes of input that may wait for the guest
	PORT_TURN = 256 * 1024, // bytes of output, and of logs, before other ports have their turn
	PORT_PART = 8 * 1024,	// bytes of output that are logged at once
};

// Control messages that the driver has not got yet, in the order in which it gets them.
enum {
	TELL_ADD = 1,
	TELL_CONSOLE = 2,
	TELL_NAME = 4,
	TELL_CLOSED = 8,
	TELL_OPEN = 16,
	TELL_SIZE = 32,
};

struct console;

struct port {
	struct console *console;
	unsigned id;
	struct port_options options;
	bool is_console;
	struct host host;

	struct vring *receiveq, *transmitq; // NULL while they do not run
	struct chain *held;		    // of transmitq: taken in part
	struct replay output;
	u64 sent;		   // the position in the output of what the reader gets next
	u64 dropped;		   // bytes that the reader did not get
	u64 reported;		   // of these, when it was last logged
	bool complained;	   // that bytes are dropped, to this reader
	struct log_file file, log; // where output goes besides
	u8 *input;		   // PORT_INPUT bytes; NULL: there never is any
	size_t input_first, input_len;

	unsigned tell;	 // TELL_… bits
	bool ready;	 // the driver has taken the port
	bool guest_open; // it has opened it
};

enum { CONSOLE_MAX_RULES = 11 };

struct console {
	struct device device;
	struct file_access access; // of what we make for clients
	struct port *ports;
	unsigned port_count;
	size_t replay; // bytes that a late client gets
	struct worker *worker;

	bool multiport; // negotiated
	struct vring *control_receiveq, *control_transmitq;
	bool driver_ready;
	bool complained; // about the driver's control messages, in this run of the ring

	bool has_size, rows_first;
	u16 cols, rows;
	int size_fd;	// the terminal whose size the guest's console has; -1: none
	int resized_fd; // a signalfd for SIGWINCH; -1: none
	struct watch resized;

	struct terminal terminal; // of the port of type stdio; fd -1: it is none
	int assistant_fd;	  // -1: there is none
	int presence_fd; // inotify: somebody opens or closes a pty or fifo; -1: there are none
	struct watch presence;
	struct syscall_rule rules[CONSOLE_MAX_RULES]; // of the worker
	size_t rule_count;
};

static inline struct console *console_of(struct device *device)
{
	return container_of(device, struct console, device);
}

static inline const struct console *console_of_const(const struct device *device)
{
	return container_of(device, const struct console, device);
}

// port.c: between the rings and the memory where bytes wait.
void port_init(struct port *port, struct console *console, unsigned id);
must_check int port_reserve(struct port *port); // its memory
void port_fini(struct port *port);
void port_transmit(struct port *port);	    // process_queue of its transmitq …
void port_receive(struct port *port);	    // … and of its receiveq
void port_stop_transmit(struct port *port); // leaves no chain held
void port_emergency_write(struct port *port, u8 byte);
// The host side has called: a client has come, it has gone, there may be input, output can go on.
void port_joined(struct port *port);
void port_left(struct port *port);
void port_readable(struct port *port);
void port_writable(struct port *port);

// control.c: what the driver and we tell each other of the ports (VIRTIO 1.3, 5.3.6.2).
void control_transmit(struct console *console); // process_queue of the two control queues
void control_receive(struct console *console);
void control_reset(struct console *console); // the driver is gone
void control_tell(struct port *port, unsigned tell);

// state.c: what another process has to know so that the same driver goes on there.
size_t state_save(const struct device *device, u8 *state, size_t size);
int state_load(struct device *device, const u8 *state, size_t len);

// The port's logs that begin a new file when they are full: `which` 0 or 1; NULL: it is none.
struct log_file *port_rotating_log(struct port *port, unsigned which);

// rules.c: the system calls of the worker, by what the ports need; all that there may be without a console.
size_t rules_make(const struct console *console, struct syscall_rule *rules);

// size.c: the console's size.
enum { SIZE_NONE, SIZE_FIXED, SIZE_INHERIT };
// What is wrong with --size itself: 0 or -EINVAL, logged.
must_check int size_check(const char *text);
// --size; NULL: as the terminal, if there is one. 0 or -EINVAL, logged.
must_check int size_open(struct console *console, const char *text);
must_check int size_start(struct console *console);
void size_stop(struct console *console);
