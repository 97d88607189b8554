// SPDX-License-Identifier: Apache-2.0
// The console that its unit tests are the guest and the host of.
#include "tests/unit/console.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "applets/applet.h"
#include "core/sys.h"

enum { RING_SIZE = 64 };

extern const struct applet console_applet;

static int lock_nothing(void *context, const struct syscall_rule *rules, size_t count)
{
	(void)context;
	(void)rules;
	(void)count;
	return 0;
}

// A port of type fd, with these further keys, whose other end is *host.
static void make_port(char *text, size_t len, int *host, const char *keys)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
	*host = fds[0];
	snprintf(text, len, "--port=type=fd,path=%d%s", fds[1], keys);
}

static int open_device(struct unit_console *guest, char **words, int count)
{
	struct applet_arguments arguments = {.access = {0600, FILE_ACCESS_OURS, FILE_ACCESS_OURS},
					     .lock_helper = lock_nothing};
	struct option_table table = {.options = console_applet.options,
				     .count = console_applet.option_count};
	int next = 0;

	guest->values = calloc(1, console_applet.values_size);
	table.values = guest->values;
	arguments.values = guest->values;
	options_set_defaults(&table, 1);
	assert_int_equal(options_parse(&table, 1, words, count, &next), 0);
	return console_applet.check(&arguments) ?: console_applet.open(&arguments, &guest->device);
}

// Two ports with these keys, and an option. Without `second`, one port.
void unit_console_open(struct unit_console *guest, const char *first, const char *second,
		       const char *option)
{
	char texts[2][160], *words[3];
	int count = 0;

	memset(guest, 0, sizeof(*guest));
	guest->host[1] = -1;
	make_port(texts[0], sizeof(texts[0]), &guest->host[0], first);
	words[count++] = texts[0];
	if (second) {
		make_port(texts[1], sizeof(texts[1]), &guest->host[1], second);
		words[count++] = texts[1];
	}
	if (option)
		words[count++] = (char *)(uintptr_t)option;
	assert_int_equal(open_device(guest, words, count), 0);
	guest->ring_count = guest->device->ops->queue_count(guest->device);
	for (unsigned i = 0; i < guest->ring_count; i++) {
		unit_ring_open(&guest->rings[i], RING_SIZE, 0, 0);
		guest->rings[i].vring.index = i;
		guest->rings[i].vring.worker = &guest->rings[0].worker;
	}
	assert_int_equal(guest->device->ops->worker_start(guest->device, &guest->rings[0].worker),
			 0);
}

void unit_console_start(struct unit_console *guest, u64 features)
{
	guest->device->ops->negotiated(guest->device, features);
	for (unsigned i = 0; i < guest->ring_count; i++)
		guest->device->ops->queue_start(guest->device, &guest->rings[i].vring);
}

void unit_console_close(struct unit_console *guest)
{
	const struct device_ops *ops = guest->device->ops;

	for (unsigned i = 0; i < guest->ring_count; i++) {
		ops->queue_stop(guest->device, &guest->rings[i].vring);
		assert_true(vring_idle(&guest->rings[i].vring));
	}
	ops->worker_stop(guest->device, &guest->rings[0].worker);
	for (unsigned i = guest->ring_count; i-- > 0;)
		unit_ring_close(&guest->rings[i]);
	console_applet.close(guest->device);
	free(guest->values);
	close(guest->host[0]);
	if (guest->host[1] >= 0)
		close(guest->host[1]);
}

// A turn of the worker, and of this ring.
void unit_console_serve(struct unit_console *guest, unsigned ring)
{
	unit_ring_turn(&guest->rings[0]);
	vring_begin_turn(&guest->rings[ring].vring);
	guest->device->ops->process_queue(guest->device, &guest->rings[ring].vring);
	vring_end_turn(&guest->rings[ring].vring);
	unit_ring_turn(&guest->rings[0]);
}

static u8 *buffer_of(struct unit_ring *ring, u16 head)
{
	return vm_memory_at(&ring->vm, le64toh(ring->driver.desc[head].addr), 1);
}

void unit_console_offer(struct unit_console *guest, unsigned ring, const void *bytes, u32 len)
{
	u16 head = unit_ring_add(&guest->rings[ring], len, 0);

	memcpy(buffer_of(&guest->rings[ring], head), bytes, len);
}

void unit_console_offer_writable(struct unit_console *guest, unsigned ring, u32 len)
{
	struct unit_ring *unit = &guest->rings[ring];
	const struct vm_buffer buffer = {
		.addr = vm_memory_alloc(&unit->vm, len ? len : 1, 1), .len = len, .write = true};

	assert_true(vm_ring_add(&unit->driver, &buffer, 1, NULL) >= 0);
	vm_ring_show(&unit->driver);
}

// The next answer of a ring: how many bytes it has, which are copied.
u32 unit_console_take(struct unit_console *guest, unsigned ring, void *bytes, size_t len)
{
	struct unit_ring *unit = &guest->rings[ring];
	struct vm_completion completion;
	u64 addr;

	assert_int_equal(vm_ring_take(&unit->driver, &completion), 1);
	addr = le64toh(unit->driver.desc[completion.head].addr);
	if (bytes)
		memcpy(bytes, vm_memory_at(&unit->vm, addr, completion.len),
		       min_size(len, completion.len));
	return completion.len;
}

bool unit_console_has_answer(struct unit_console *guest, unsigned ring)
{
	struct vm_completion completion;

	return vm_ring_take(&guest->rings[ring].driver, &completion) == 1;
}

void unit_console_expect_host(int host, const char *wanted)
{
	char found[256] = "";

	for (size_t len = 0; len < strlen(wanted); len++)
		if (read(host, found + len, 1) != 1)
			break;
	assert_string_equal(found, wanted);
}

size_t unit_console_drain(int host)
{
	static u8 bytes[65536];
	size_t all = 0;
	ssize_t got;

	while ((got = read(host, bytes, sizeof(bytes))) > 0)
		all += (size_t)got;
	return all;
}
