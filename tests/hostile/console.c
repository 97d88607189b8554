// SPDX-License-Identifier: Apache-2.0
//
// C1 to C6: the console. What makes no sense is ignored, what nobody reads makes only its own ring wait, and no byte of
// the guest's output is ever looked at.

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "tests/frontend/console.h"
#include "tests/hostile/hostile.h"

enum {
	STORM = 20000,
	HUGE_PARTS = 64,
	HUGE_PART = 32 << 20, /* bytes of each of a huge chain's buffers, which all are the same */
	HUGE_MS = 20000,
	STALLED_MIB = 64,  /* that are offered to a client that does not read */
	FLAT_KIB = 1024,   /* how far resident memory may move */
	HOLD = 256 * 1024, /* bytes that may wait for a reader, and as many in its socket */
};

static const char *const two_ports[] = {"--port=type=null,console", "--port=type=null,name=two",
					NULL};

static void console_start(struct vm_console *console, const struct target *target, unsigned ports)
{
	const struct vm_console_options options = {.ports = ports, .timeout_ms = SOON_MS};
	int error = vm_console_start(console, target->socket, &options);

	expect(error == 0, "%s of a good front-end: %s", vm_step_name(console->vm.step),
	       strerror(-error));
}

/* Whoever is at the console at the host's side. */
static int join_console(const struct target *target)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s.console", target->socket);
	expect(connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0, "%s: %s",
	       address.sun_path, strerror(errno));
	return fd;
}

static void expect_sent(struct vm_console *console, unsigned port, const void *bytes, size_t len)
{
	int error = vm_console_send(console, port, bytes, len, SOON_MS);

	expect(error == 0, "%zu bytes are not taken: %s", len, strerror(-error));
}

static void serve_good_one(struct target *target)
{
	static struct vm_console console;

	console_start(&console, target, 0);
	expect_sent(&console, 0, "good\n", 5);
	vm_console_close(&console);
}

static const struct served console_served = {.applet = "console", .serve_good_one = serve_good_one};

/* ---- the control queues ---- */

/* Takes all that the device has to say, and answers as Linux does; how many messages there were. */
static unsigned hear_all(struct vm_console *console)
{
	struct vm_console_message message;
	unsigned count = 0;

	while (vm_console_hear(console, &message, MOMENT_MS) == 0) {
		count++;
		vm_console_answer(console, &message);
	}
	return count;
}

/* A driver that is new to the device hears of both ports. */
static void expect_announced(struct vm_console *console)
{
	expect(vm_console_tell(console, UINT32_MAX, VM_CONSOLE_DEVICE_READY, 1) == 0,
	       "DEVICE_READY is not taken");
	/* two DEVICE_ADD, two PORT_OPEN, a CONSOLE_PORT and a PORT_NAME */
	expect(hear_all(console) == 6, "the ports are not announced");
}

/* These buffers as one control message; they go back empty. */
static void send_control(struct vm_console *console, const struct vm_buffer *buffers,
			 unsigned count)
{
	struct vm_ring *ring = console->control_transmit.ring;
	struct vm_completion completion;

	expect(vm_ring_add(ring, buffers, count, NULL) >= 0, "the control ring is full");
	vm_ring_kick(ring);
	expect(vm_ring_wait(ring, SOON_MS) == 0 && vm_ring_take(ring, &completion) == 1,
	       "a control message is not answered");
	expect(completion.len == 0, "a control message is answered with %u bytes", completion.len);
}

static void c1(struct target *target)
{
	static struct vm_console console;
	const uint8_t ready[8] = {0xff, 0xff, 0xff, 0xff, 0, 0, 1, 0};
	struct vm_buffer pieces[8];
	uint64_t addr;

	console_start(&console, target, 2);
	addr = vm_memory_alloc(&console.vm.memory, 4096, 8);
	memcpy(vm_memory_at(&console.vm.memory, addr, 8), ready, 8);
	for (unsigned len = 0; len < 8; len++)
		send_control(&console, &(struct vm_buffer){.addr = addr, .len = len}, 1);
	expect(hear_all(&console) == 0, "a message that is too short is answered");
	send_control(&console, &(struct vm_buffer){.addr = addr, .len = 4096}, 1);
	expect(hear_all(&console) == 6, "a message with more behind it is not understood");
	for (unsigned i = 0; i < 8; i++)
		pieces[i] = (struct vm_buffer){.addr = addr + i, .len = 1};
	send_control(&console, pieces, 8);
	expect(hear_all(&console) == 6, "a message in pieces is not understood");
	vm_console_close(&console);
}

static void c2(struct target *target)
{
	static struct vm_console console;
	static const struct {
		uint32_t id;
		unsigned event, value;
	} wrong[] = {
		{0, VM_CONSOLE_PORT_READY, 1}, /* before DEVICE_READY */
		{2, VM_CONSOLE_PORT_READY, 1},
		{UINT32_MAX, VM_CONSOLE_PORT_OPEN, 1},
		{0, 0xffff, 1},
		{0, 8, 0},
		{0, VM_CONSOLE_PORT_OPEN, 2},
		{0, VM_CONSOLE_DEVICE_READY, 0xffff},
		{0, VM_CONSOLE_DEVICE_ADD, 1},
		{1, VM_CONSOLE_PORT_NAME, 1},
	};

	console_start(&console, target, 2);
	for (unsigned round = 0; round < 100; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
			expect(vm_console_tell(&console, wrong[i].id, wrong[i].event,
					       wrong[i].value) == 0,
			       "message %zu is not taken", i);
	}
	expect(hear_all(&console) == 0, "nonsense is answered");
	for (unsigned i = 0; i < STORM; i++) {
		vm_console_tell(&console, UINT32_MAX, VM_CONSOLE_DEVICE_READY, 1);
		vm_console_tell(&console, i % 2, VM_CONSOLE_PORT_OPEN, i / 2 % 2);
	}
	hear_all(&console);
	expect_announced(&console);
	vm_console_close(&console);
}

/* The control queues are there; but who has not negotiated MULTIPORT has no business with them. */
static void c3(struct target *target)
{
	static struct vm_console console;
	const struct vm_console_options options = {.ports = 2,
						   .without_features =
							   VU_BIT(VM_CONSOLE_F_MULTIPORT),
						   .timeout_ms = SOON_MS};

	expect(vm_console_start(&console, target->socket, &options) == 0, "it does not start");
	for (unsigned i = 0; i < 8; i++)
		expect(vm_console_tell(&console, i % 3, i, 1) == 0, "message %u is not taken", i);
	expect(hear_all(&console) == 0, "messages are answered without MULTIPORT");
	expect_sent(&console, 1, "nowhere", 7);
	expect_sent(&console, 0, "console", 7);
	vm_console_close(&console);
}

/* ---- output ---- */

/* One chain of 2 GiB, in which the same memory comes again and again. */
static void offer_huge(struct vm_console *console)
{
	struct vm_buffer buffers[HUGE_PARTS];
	struct vm_ring *ring = console->transmit[0].ring;
	uint64_t addr = vm_memory_alloc(&console->vm.memory, HUGE_PART, 4096);

	for (unsigned i = 0; i < HUGE_PARTS; i++)
		buffers[i] = (struct vm_buffer){.addr = addr, .len = HUGE_PART};
	ring->indirect_len = 0;
	expect(vm_ring_add(ring, buffers, HUGE_PARTS, NULL) >= 0, "the ring is full");
	vm_ring_kick(ring);
}

/* Once the back-end has let go of the front-end's memory. */
static void expect_flat(const struct target *target, unsigned before)
{
	int64_t deadline = clock_ms() + SOON_MS;

	while (target_rss(target) > before + FLAT_KIB) {
		expect(clock_ms() < deadline, "%u KiB resident, %u before", target_rss(target),
		       before);
		sleep_ms(1);
	}
}

/* Offers much more than may wait, of which no more is taken than may. */
static void offer_unread(struct vm_console *console)
{
	static const uint8_t bytes[VM_CONSOLE_SEND];
	size_t taken = 0;

	while (taken < STALLED_MIB << 20 &&
	       vm_console_send(console, 0, bytes, sizeof(bytes), 10 * MOMENT_MS) == 0)
		taken += sizeof(bytes);
	expect(taken <= (size_t)2 * HOLD, "%zu bytes are taken although nobody reads", taken);
}

static void expect_used(struct vm_ring *ring, int timeout_ms)
{
	struct vm_completion completion;

	expect(vm_ring_wait(ring, timeout_ms) == 0 && vm_ring_take(ring, &completion) == 1,
	       "output is not taken");
}

static void c4(struct target *target)
{
	static struct vm_console console;
	unsigned rss = target_rss(target);
	uint32_t base;
	int fd;

	console_start(&console, target, 0);
	offer_huge(&console); /* nobody there: kept for nobody */
	expect_used(console.transmit[0].ring, HUGE_MS);
	vm_console_close(&console);
	expect_flat(target, rss);

	fd = join_console(target);
	console_start(&console, target, 0);
	offer_unread(&console); /* somebody there who does not read */
	expect(frontend_get_vring_base(&console.vm.frontend, 1, &base) == 0,
	       "GET_VRING_BASE has no answer while output waits");
	vm_console_close(&console);
	expect_flat(target, rss);

	console_start(&console, target, 0);
	offer_huge(&console);
	close(fd); /* and now gone */
	expect_used(console.transmit[0].ring, HUGE_MS);
	vm_console_close(&console);
	expect_flat(target, rss);
}

/* ---- the wrong buffers ---- */

static void expect_ring_broken(struct vm_console *console, unsigned index)
{
	struct pollfd err = {.fd = console->vm.rings[index].err_fd, .events = POLLIN};
	uint32_t base;

	expect(poll(&err, 1, SOON_MS) == 1, "ring %u is not broken", index);
	expect(vm_ring_eventfd_read(err.fd) == 1, "err is not signalled exactly once");
	expect(frontend_get_vring_base(&console->vm.frontend, index, &base) == 0,
	       "GET_VRING_BASE of a broken ring has no answer");
}

static void offer_wrong_way(struct vm_console *console, unsigned index)
{
	struct vm_ring *ring = &console->vm.rings[index];
	const struct vm_buffer buffer = {.addr = vm_memory_alloc(&console->vm.memory, 64, 8),
					 .len = 64,
					 .write = index == 1};

	vm_ring_reset(ring);
	expect(vm_ring_add(ring, &buffer, 1, NULL) >= 0, "the ring is full");
	vm_ring_show(ring);
	vm_ring_notify(ring);
}

static void c5(struct target *target)
{
	static struct vm_console console;
	struct vm_buffer buffer = {.write = true};
	struct vm_completion completion;
	uint8_t byte = 'x';
	struct vm_ring *ring;
	int fd = join_console(target);

	console_start(&console, target, 0);
	ring = console.receive[0].ring;
	buffer.addr = vm_memory_alloc(&console.vm.memory, 64, 8);
	for (unsigned i = 0; i < VM_CONSOLE_BUFFERS; i++) { /* use up those that are there */
		expect(write(fd, &byte, 1) == 1, "write: %s", strerror(errno));
		expect(vm_ring_wait(ring, SOON_MS) == 0 && vm_ring_take(ring, &completion) == 1,
		       "input does not come");
	}
	for (buffer.len = 0; buffer.len < 2; buffer.len++)
		expect(vm_ring_add(ring, &buffer, 1, NULL) >= 0, "the ring is full");
	vm_ring_kick(ring);
	expect(write(fd, &byte, 1) == 1, "write: %s", strerror(errno));
	for (uint32_t len = 0; len < 2; len++) {
		expect(vm_ring_wait(ring, SOON_MS) == 0 && vm_ring_take(ring, &completion) == 1,
		       "a buffer of %u bytes does not come back", len);
		expect(completion.len == len, "a buffer of %u bytes has %u", len, completion.len);
	}
	vm_console_close(&console);

	console_start(&console, target, 0);
	offer_wrong_way(&console, 1);
	expect_ring_broken(&console, 1);
	vm_console_close(&console);

	console_start(&console, target, 0);
	offer_wrong_way(&console, 0);
	expect(write(fd, &byte, 1) == 1, "write: %s", strerror(errno));
	expect_ring_broken(&console, 0);
	expect_sent(&console, 0, "the other ring lives", 20);
	vm_console_close(&console);
	close(fd);
}

static void c6(struct target *target)
{
	static struct vm_console console;
	static const char text[] = "\033[2J\033]0;title\007\033P+q544e\033\\\033[21t\033[6n\x9b"
				   "31m\x90\xff\0\033c\033[?1049h";
	char got[sizeof(text)] = "";
	size_t len = 0;
	int fd = join_console(target);

	console_start(&console, target, 0);
	while (recv(fd, got, sizeof(got), MSG_DONTWAIT) > 0)
		; /* what was printed before */
	expect_sent(&console, 0, text, sizeof(text));
	while (len < sizeof(text)) {
		ssize_t part = recv(fd, got + len, sizeof(got) - len, 0);

		expect(part > 0, "recv: %s", strerror(errno));
		len += (size_t)part;
	}
	expect(memcmp(got, text, sizeof(text)) == 0, "output was changed");
	expect(vm_console_receive(&console, 0, got, MOMENT_MS) == -ETIMEDOUT,
	       "the output was answered");
	vm_console_close(&console);
	close(fd);
}

const struct input console_inputs[] = {
	{"C1", "control messages that are too short, too long, in pieces", c1, two_ports, NULL,
	 &console_served},
	{"C2", "control messages of unknown ports, events and values, without end", c2, two_ports,
	 NULL, &console_served},
	{"C3", "control messages without MULTIPORT", c3, two_ports, NULL, &console_served},
	{"C4", "output of 2 GiB in one chain; output that nobody reads", c4, NULL, NULL,
	 &console_served},
	{"C5", "buffers of 0 and 1 byte; buffers of the wrong direction", c5, NULL, NULL,
	 &console_served},
	{"C6", "terminal escape sequences", c6, NULL, NULL, &console_served},
	{0},
};
