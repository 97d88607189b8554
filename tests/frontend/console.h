// SPDX-License-Identifier: Apache-2.0
//
// The driver of a console device (VIRTIO 1.3, 5.3 "Console Device") on a vm of its own: sends and receives on
// ports, and does what Linux does on the control queues.
//
// Functions return 0 or more, or a negative errno; -ETIMEDOUT if the device does not answer in time.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "tests/frontend/vm.h"

enum {
	VM_CONSOLE_F_SIZE = 0,
	VM_CONSOLE_F_MULTIPORT = 1,
	VM_CONSOLE_F_EMERG_WRITE = 2,
	VM_CONSOLE_DEVICE_READY = 0,
	VM_CONSOLE_DEVICE_ADD = 1,
	VM_CONSOLE_PORT_READY = 3,
	VM_CONSOLE_CONSOLE_PORT = 4,
	VM_CONSOLE_RESIZE = 5,
	VM_CONSOLE_PORT_OPEN = 6,
	VM_CONSOLE_PORT_NAME = 7,
	VM_CONSOLE_PORTS = 31,
	VM_CONSOLE_BUFFERS = 16, /* of each receiveq */
	VM_CONSOLE_BUFFER = 4096,
	VM_CONSOLE_SEND = 32 * 1024, /* most in one chain of a transmitq */
	VM_CONSOLE_CONFIG = 12,
};

/* A control message; what follows its header is text, or two numbers for RESIZE. */
struct vm_console_message {
	uint32_t id;
	uint16_t event, value;
	uint8_t more[128];
	size_t more_len;
};

struct vm_console_queue {
	struct vm_ring *ring;
	uint64_t addr; /* of its buffers */
	uint8_t *data;
	bool filled;
};

struct vm_console {
	struct vm vm;
	unsigned ports;
	bool multiport;
	struct vm_console_queue receive[VM_CONSOLE_PORTS], transmit[VM_CONSOLE_PORTS];
	struct vm_console_queue control_receive, control_transmit;
};

struct vm_console_options {
	unsigned ports;		   /* 0: without MULTIPORT, and two queues */
	uint64_t without_features; /* as in struct vm_options */
	int timeout_ms;
};

/* Connects and starts the rings; with MULTIPORT a port's receiveq has buffers when vm_console_answer has taken the port. */
int vm_console_start(struct vm_console *console, const char *path,
		     const struct vm_console_options *options);
void vm_console_close(struct vm_console *console);

/* Sends len bytes in one chain, at most VM_CONSOLE_SEND, and waits until the device has taken them. */
int vm_console_send(struct vm_console *console, unsigned port, const void *bytes, size_t len,
		    int timeout_ms);
/* The two halves of that. Answers 1 if the device has taken a chain. */
int vm_console_offer(struct vm_console *console, unsigned port, const void *bytes, size_t len);
int vm_console_taken(struct vm_console *console, unsigned port);
/* The next bytes that a port receives, at most VM_CONSOLE_BUFFER. */
int vm_console_receive(struct vm_console *console, unsigned port, void *bytes, int timeout_ms);

/* Gives a port's receiveq buffers by hand, for a port that was taken before. */
int vm_console_fill(struct vm_console *console, unsigned port);

int vm_console_tell(struct vm_console *console, uint32_t id, unsigned event, unsigned value);
int vm_console_hear(struct vm_console *console, struct vm_console_message *message, int timeout_ms);
/* Answers a message as Linux does: takes the port, opens a console. */
int vm_console_answer(struct vm_console *console, const struct vm_console_message *message);
