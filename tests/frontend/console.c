// SPDX-License-Identifier: Apache-2.0
//
// A console's queues.

#include <endian.h>
#include <errno.h>
#include <string.h>
#include "tests/frontend/console.h"

enum { HEADER_LEN = 8 };

/* As QEMU does, with the device's own features. */
static struct vm_profile console_profile(void)
{
	struct vm_profile profile = *vm_profile_find("qemu");

	profile.name = "console";
	profile.features &= ~UINT64_C(0xffffff);
	profile.features |= VU_BIT(VM_CONSOLE_F_SIZE) | VU_BIT(VM_CONSOLE_F_MULTIPORT) |
			    VU_BIT(VM_CONSOLE_F_EMERG_WRITE);
	profile.config_len = VM_CONSOLE_CONFIG;
	return profile;
}

static void set_up_queue(struct vm_console *console, struct vm_console_queue *queue, unsigned index,
			 uint64_t len)
{
	queue->ring = &console->vm.rings[index];
	queue->addr = vm_memory_alloc(&console->vm.memory, len, 8);
	queue->data = vm_memory_at(&console->vm.memory, queue->addr, len);
}

/* The cookie is where the buffer is. */
static int add_buffer(struct vm_console_queue *queue, uint8_t *data)
{
	const struct vm_buffer buffer = {.addr = queue->addr + (uint64_t)(data - queue->data),
					 .len = VM_CONSOLE_BUFFER,
					 .write = true};
	int head = vm_ring_add(queue->ring, &buffer, 1, data);

	return head < 0 ? head : 0;
}

static int fill(struct vm_console_queue *queue)
{
	int error = 0;

	for (size_t i = 0; !error && !queue->filled && i < VM_CONSOLE_BUFFERS; i++)
		error = add_buffer(queue, queue->data + i * VM_CONSOLE_BUFFER);
	queue->filled = true;
	vm_ring_kick(queue->ring);
	return error;
}

static int set_up_queues(struct vm_console *console)
{
	const uint64_t receive_len = (uint64_t)VM_CONSOLE_BUFFERS * VM_CONSOLE_BUFFER;

	for (unsigned i = 0; i < console->ports; i++) {
		unsigned index = i ? 2 * i + 2 : 0;

		set_up_queue(console, &console->receive[i], index, receive_len);
		set_up_queue(console, &console->transmit[i], index + 1, VM_CONSOLE_SEND);
	}
	if (!console->multiport)
		return fill(&console->receive[0]);
	set_up_queue(console, &console->control_receive, 2, receive_len);
	set_up_queue(console, &console->control_transmit, 3, HEADER_LEN);
	return fill(&console->control_receive);
}

int vm_console_start(struct vm_console *console, const char *path,
		     const struct vm_console_options *options)
{
	static struct vm_profile profile;
	struct vm_options vm_options = {.profile = &profile,
					.timeout_ms = options->timeout_ms,
					.connect_timeout_ms = options->timeout_ms,
					.without_features = options->without_features};
	int error;

	profile = console_profile();
	memset(console, 0, sizeof(*console));
	console->multiport = options->ports > 0;
	console->ports = console->multiport ? options->ports : 1;
	if (!console->multiport)
		vm_options.without_features |= VU_BIT(VM_CONSOLE_F_MULTIPORT);
	vm_options.queues = console->multiport ? 2 * console->ports + 2 : 2;
	if (console->ports > VM_CONSOLE_PORTS)
		return -EINVAL;
	error = vm_start(&console->vm, path, &vm_options);
	if (error)
		return error;
	error = set_up_queues(console);
	if (error)
		vm_console_close(console);
	return error;
}

void vm_console_close(struct vm_console *console)
{
	vm_close(&console->vm);
}

int vm_console_offer(struct vm_console *console, unsigned port, const void *bytes, size_t len)
{
	struct vm_console_queue *queue = &console->transmit[port];
	const struct vm_buffer buffer = {.addr = queue->addr, .len = (uint32_t)len};
	int head;

	if (len > VM_CONSOLE_SEND)
		return -E2BIG;
	memcpy(queue->data, bytes, len);
	head = vm_ring_add(queue->ring, &buffer, 1, queue);
	if (head < 0)
		return head;
	vm_ring_kick(queue->ring);
	return 0;
}

int vm_console_taken(struct vm_console *console, unsigned port)
{
	struct vm_completion completion;

	return vm_ring_take(console->transmit[port].ring, &completion);
}

int vm_console_send(struct vm_console *console, unsigned port, const void *bytes, size_t len,
		    int timeout_ms)
{
	int result = vm_console_offer(console, port, bytes, len);

	if (result == 0)
		result = vm_ring_wait(console->transmit[port].ring, timeout_ms);
	return result ? result : vm_console_taken(console, port) - 1;
}

/* Takes the next filled buffer's bytes and gives the buffer back. */
static int receive(struct vm_console_queue *queue, void *bytes, size_t most, int timeout_ms)
{
	struct vm_completion completion = {0};
	int result = vm_ring_wait(queue->ring, timeout_ms);

	if (result == 0)
		result = vm_ring_take(queue->ring, &completion);
	if (result < 0)
		return result;
	if (completion.len > most)
		return -EPROTO;
	if (completion.len > 0)
		memcpy(bytes, completion.cookie, completion.len);
	result = add_buffer(queue, completion.cookie);
	vm_ring_kick(queue->ring);
	return result ? result : (int)completion.len;
}

int vm_console_receive(struct vm_console *console, unsigned port, void *bytes, int timeout_ms)
{
	return receive(&console->receive[port], bytes, VM_CONSOLE_BUFFER, timeout_ms);
}

int vm_console_fill(struct vm_console *console, unsigned port)
{
	return fill(&console->receive[port]);
}

int vm_console_tell(struct vm_console *console, uint32_t id, unsigned event, unsigned value)
{
	struct vm_console_queue *queue = &console->control_transmit;
	const struct vm_buffer buffer = {.addr = queue->addr, .len = HEADER_LEN};
	const uint16_t words[2] = {htole16((uint16_t)event), htole16((uint16_t)value)};
	struct vm_completion completion;
	int result;

	id = htole32(id);
	memcpy(queue->data, &id, sizeof(id));
	memcpy(queue->data + sizeof(id), words, sizeof(words));
	result = vm_ring_add(queue->ring, &buffer, 1, queue);
	if (result < 0)
		return result;
	vm_ring_kick(queue->ring);
	result = vm_ring_wait(queue->ring, console->vm.options.timeout_ms);
	return result ? result : vm_ring_take(queue->ring, &completion) - 1;
}

int vm_console_hear(struct vm_console *console, struct vm_console_message *message, int timeout_ms)
{
	uint8_t bytes[HEADER_LEN + sizeof(message->more)];
	int len = receive(&console->control_receive, bytes, sizeof(bytes), timeout_ms);

	if (len < HEADER_LEN)
		return len < 0 ? len : -EPROTO;
	memset(message, 0, sizeof(*message));
	memcpy(&message->id, bytes, 4);
	memcpy(&message->event, bytes + 4, 2);
	memcpy(&message->value, bytes + 6, 2);
	message->id = le32toh(message->id);
	message->event = le16toh(message->event);
	message->value = le16toh(message->value);
	message->more_len = (size_t)len - HEADER_LEN;
	memcpy(message->more, bytes + HEADER_LEN, message->more_len);
	return 0;
}

int vm_console_answer(struct vm_console *console, const struct vm_console_message *message)
{
	if (message->id >= console->ports)
		return -EPROTO;
	if (message->event == VM_CONSOLE_DEVICE_ADD && fill(&console->receive[message->id]))
		return -ENOSPC;
	if (message->event == VM_CONSOLE_DEVICE_ADD)
		return vm_console_tell(console, message->id, VM_CONSOLE_PORT_READY, 1);
	if (message->event == VM_CONSOLE_CONSOLE_PORT)
		return vm_console_tell(console, message->id, VM_CONSOLE_PORT_OPEN, 1);
	return 0;
}
