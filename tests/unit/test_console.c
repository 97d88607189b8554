// SPDX-License-Identifier: Apache-2.0
// Tests of applets/console/ as a device: its rings are here, and its ports end at sockets of this process.
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "applets/applet.h"
#include "applets/console/virtio_console.h"
#include "core/sys.h"
#include "tests/unit/ring.h"

extern const struct applet console_applet;

enum { RINGS = 6, RING_SIZE = 64, MOST_WORDS = 16 };

// The device, its rings, and the other ends of its ports of type fd.
struct guest {
	void *values;
	struct device *device;
	struct unit_ring rings[RINGS];
	unsigned ring_count;
	int host[2];
};

static void lock_nothing(void *context, const struct syscall_rule *rules, size_t count)
{
	(void)context;
	(void)rules;
	(void)count;
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

static int open_device(struct guest *guest, char **words, int count)
{
	struct applet_arguments arguments = {.lock_helper = lock_nothing};
	struct option_table table = {.options = console_applet.options,
				     .count = console_applet.option_count};
	int next = 0;

	guest->values = calloc(1, console_applet.values_size);
	table.values = guest->values;
	arguments.values = guest->values;
	options_set_defaults(&table, 1);
	assert_int_equal(options_parse(&table, 1, words, count, &next), 0);
	return console_applet.open(&arguments, &guest->device);
}

// Two ports with these keys, and an option. Without `second`, one port.
static void guest_open(struct guest *guest, const char *first, const char *second,
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

static void negotiate(struct guest *guest, u64 features)
{
	guest->device->ops->negotiated(guest->device, features);
	for (unsigned i = 0; i < guest->ring_count; i++)
		guest->device->ops->queue_start(guest->device, &guest->rings[i].vring);
}

static void guest_close(struct guest *guest)
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
static void serve(struct guest *guest, unsigned ring)
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

static void offer(struct guest *guest, unsigned ring, const void *bytes, u32 len)
{
	u16 head = unit_ring_add(&guest->rings[ring], len, 0);

	memcpy(buffer_of(&guest->rings[ring], head), bytes, len);
}

static void offer_writable(struct guest *guest, unsigned ring, u32 len)
{
	struct unit_ring *unit = &guest->rings[ring];
	const struct vm_buffer buffer = {
		.addr = vm_memory_alloc(&unit->vm, len ? len : 1, 1), .len = len, .write = true};

	assert_true(vm_ring_add(&unit->driver, &buffer, 1, NULL) >= 0);
	vm_ring_show(&unit->driver);
}

// The next answer of a ring: how many bytes it has, which are copied.
static u32 answered(struct guest *guest, unsigned ring, void *bytes, size_t len)
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

static bool is_answered(struct guest *guest, unsigned ring)
{
	struct vm_completion completion;

	return vm_ring_take(&guest->rings[ring].driver, &completion) == 1;
}

static void expect_host(int host, const char *wanted)
{
	char found[256] = "";

	for (size_t len = 0; len < strlen(wanted); len++)
		if (read(host, found + len, 1) != 1)
			break;
	assert_string_equal(found, wanted);
}

static size_t drain(int host)
{
	static u8 bytes[65536];
	size_t all = 0;
	ssize_t got;

	while ((got = read(host, bytes, sizeof(bytes))) > 0)
		all += (size_t)got;
	return all;
}

// ---- one port ----

TEST(output_reaches_the_host)
{
	struct guest guest;

	guest_open(&guest, "", NULL, NULL);
	negotiate(&guest, 0);
	offer(&guest, 1, "hello, ", 7);
	offer(&guest, 1, "host", 4);
	serve(&guest, 1);
	expect_host(guest.host[0], "hello, host");
	assert_int_equal(answered(&guest, 1, NULL, 0), 0);
	assert_int_equal(answered(&guest, 1, NULL, 0), 0);
	guest_close(&guest);
}

TEST(input_reaches_the_guest_in_as_many_buffers_as_it_takes)
{
	struct guest guest;
	char got[8] = "";

	guest_open(&guest, "", NULL, NULL);
	negotiate(&guest, 0);
	offer_writable(&guest, 0, 3);
	serve(&guest, 0);
	assert_false(is_answered(&guest, 0));
	assert_int_equal(write(guest.host[0], "abcdef", 6), 6);
	serve(&guest, 0);
	assert_int_equal(answered(&guest, 0, got, 8), 3);
	offer_writable(&guest, 0, 0);
	offer_writable(&guest, 0, 1);
	offer_writable(&guest, 0, 8);
	serve(&guest, 0);
	assert_int_equal(answered(&guest, 0, NULL, 0), 0);
	assert_int_equal(answered(&guest, 0, got + 3, 1), 1);
	assert_int_equal(answered(&guest, 0, got + 4, 4), 2);
	assert_string_equal(got, "abcdef");
	guest_close(&guest);
}

// How many chains of 64 KiB are taken while nobody reads.
static unsigned taken_unread(struct guest *guest)
{
	static const u8 bytes[65536];
	unsigned taken = 0;

	for (unsigned i = 0; i < 32; i++)
		offer(guest, 1, bytes, sizeof(bytes));
	for (unsigned i = 0; i < 32; i++)
		serve(guest, 1);
	while (is_answered(guest, 1))
		taken++;
	return taken;
}

TEST(guest_waits_for_a_slow_reader_and_nothing_is_lost)
{
	struct guest guest;
	unsigned taken;
	size_t read;

	guest_open(&guest, "", NULL, NULL);
	negotiate(&guest, 0);
	taken = taken_unread(&guest);
	assert_true(taken > 0 && taken < 16);
	read = drain(guest.host[0]);
	for (unsigned i = 0; i < 64; i++) {
		serve(&guest, 1);
		read += drain(guest.host[0]);
	}
	while (is_answered(&guest, 1))
		taken++;
	assert_int_equal(taken, 32);
	assert_int_equal(read, 32 * 65536);
	guest_close(&guest);
}

TEST(guest_goes_on_where_output_is_dropped)
{
	struct guest guest;

	guest_open(&guest, ",drop", NULL, NULL);
	negotiate(&guest, 0);
	assert_int_equal(taken_unread(&guest), 32);
	assert_true(drain(guest.host[0]) < 32 * 65536);
	unit_capture(2);
	guest_close(&guest);
	assert_non_null(strstr(unit_captured(), "bytes of output were dropped"));
}

TEST(stopping_the_ring_leaves_no_chain_in_flight)
{
	static const u8 bytes[1 << 20];
	struct guest guest;

	guest_open(&guest, "", NULL, NULL);
	negotiate(&guest, 0);
	offer(&guest, 1, bytes, sizeof(bytes));
	for (unsigned i = 0; i < 16; i++)
		serve(&guest, 1);
	assert_false(vring_idle(&guest.rings[1].vring));
	unit_capture(2);
	guest.device->ops->queue_stop(guest.device, &guest.rings[1].vring);
	assert_non_null(strstr(unit_captured(), "bytes of output were dropped"));
	assert_true(vring_idle(&guest.rings[1].vring));
	guest_close(&guest);
}

TEST(filter_keeps_what_is_printable)
{
	struct guest guest;

	guest_open(&guest, ",filter", NULL, NULL);
	negotiate(&guest, 0);
	offer(&guest, 1, "a\033[1mb\0c\233d\x7f\te\r\n!", 17);
	serve(&guest, 1);
	expect_host(guest.host[0], "a[1mbcd\te\r\n!");
	guest_close(&guest);
}

TEST(buffers_of_the_wrong_direction_break_the_ring)
{
	struct guest guest;

	guest_open(&guest, "", NULL, NULL);
	negotiate(&guest, 0);
	offer_writable(&guest, 1, 8);
	serve(&guest, 1);
	assert_int_equal(unit_ring_errors(&guest.rings[1]), 1);
	assert_int_equal(write(guest.host[0], "x", 1), 1);
	offer(&guest, 0, "y", 1);
	serve(&guest, 0);
	assert_int_equal(unit_ring_errors(&guest.rings[0]), 1);
	guest_close(&guest);
}

TEST(emergency_character_is_printed_without_a_driver)
{
	const u8 config[12] = {[8] = '!'};
	const u8 one = '?';
	struct guest guest;

	guest_open(&guest, "", NULL, NULL);
	const struct device_ops *ops = guest.device->ops;

	assert_int_equal(ops->config_write(guest.device, 0, config, sizeof(config)), 0);
	assert_int_equal(ops->config_write(guest.device, 8, &one, 1), 0);
	assert_int_equal(ops->config_write(guest.device, 0, config, 8), 0);
	assert_int_equal(ops->config_write(guest.device, 9, config, 3), 0);
	unit_ring_turn(&guest.rings[0]);
	expect_host(guest.host[0], "!?");
	assert_int_equal(drain(guest.host[0]), 0);
	negotiate(&guest, 0);
	guest_close(&guest);
}

TEST(configuration_says_what_there_is)
{
	struct guest guest;
	u8 config[DEVICE_MAX_CONFIG];

	guest_open(&guest, "", NULL, "--size=132x43");
	negotiate(&guest, 0);
	assert_int_equal(guest.device->ops->features(guest.device),
			 BIT64(VIRTIO_CONSOLE_F_SIZE) | BIT64(VIRTIO_CONSOLE_F_EMERG_WRITE));
	assert_int_equal(guest.device->ops->queue_count(guest.device), 4);
	assert_int_equal(guest.device->ops->config(guest.device, config), 12);
	assert_memory_equal(config, ((u8[12]){132, 0, 43, 0, 1}), 12);
	guest_close(&guest);
}

// ---- several ports ----

static void tell(struct guest *guest, u32 id, unsigned event, unsigned value)
{
	const struct virtio_console_control message = {
		.id = le32_of(id), .event = le16_of((u16)event), .value = le16_of((u16)value)};

	offer(guest, 3, &message, sizeof(message));
	serve(guest, 3);
	assert_int_equal(answered(guest, 3, NULL, 0), 0);
}

// The next message must be this one, and `more` what follows it.
static void expect_message(struct guest *guest, u32 id, unsigned event, unsigned value,
			   const void *more, size_t more_len)
{
	u8 bytes[256];
	struct virtio_console_control header;

	assert_int_equal(answered(guest, 2, bytes, sizeof(bytes)), sizeof(header) + more_len);
	memcpy(&header, bytes, sizeof(header));
	assert_int_equal(le32_get(header.id), id);
	assert_int_equal(le16_get(header.event), event);
	assert_int_equal(le16_get(header.value), value);
	if (more_len)
		assert_memory_equal(bytes + sizeof(header), more, more_len);
}

static void offer_control(struct guest *guest, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		offer_writable(guest, 2, 128);
	serve(guest, 2);
}

static void open_two(struct guest *guest)
{
	guest_open(guest, ",console", ",name=second", "--size=80x25");
	negotiate(guest, BIT64(VIRTIO_CONSOLE_F_MULTIPORT));
	offer_control(guest, 8);
	tell(guest, UINT32_MAX, VIRTIO_CONSOLE_DEVICE_READY, 1);
	serve(guest, 2);
	expect_message(guest, 0, VIRTIO_CONSOLE_DEVICE_ADD, 1, NULL, 0);
	expect_message(guest, 1, VIRTIO_CONSOLE_DEVICE_ADD, 1, NULL, 0);
}

TEST(driver_hears_of_the_ports)
{
	struct guest guest;

	open_two(&guest);
	tell(&guest, 1, VIRTIO_CONSOLE_PORT_READY, 1);
	serve(&guest, 2);
	expect_message(&guest, 1, VIRTIO_CONSOLE_PORT_NAME, 1, "second", 6);
	expect_message(&guest, 1, VIRTIO_CONSOLE_PORT_OPEN, 1, NULL, 0);
	tell(&guest, 0, VIRTIO_CONSOLE_PORT_READY, 1);
	serve(&guest, 2);
	expect_message(&guest, 0, VIRTIO_CONSOLE_CONSOLE_PORT, 1, NULL, 0);
	expect_message(&guest, 0, VIRTIO_CONSOLE_PORT_OPEN, 1, NULL, 0);
	expect_message(&guest, 0, VIRTIO_CONSOLE_RESIZE, 1, ((u8[]){80, 0, 25, 0}), 4);
	assert_false(is_answered(&guest, 2));
	guest_close(&guest);
}

TEST(message_waits_for_a_buffer_that_is_long_enough)
{
	struct guest guest;

	guest_open(&guest, ",console", ",name=second", NULL);
	negotiate(&guest, BIT64(VIRTIO_CONSOLE_F_MULTIPORT));
	tell(&guest, UINT32_MAX, VIRTIO_CONSOLE_DEVICE_READY, 1);
	offer_writable(&guest, 2, 0);
	offer_writable(&guest, 2, 7);
	offer_writable(&guest, 2, 8);
	serve(&guest, 2);
	assert_int_equal(answered(&guest, 2, NULL, 0), 0);
	assert_int_equal(answered(&guest, 2, NULL, 0), 0);
	expect_message(&guest, 0, VIRTIO_CONSOLE_DEVICE_ADD, 1, NULL, 0);
	guest_close(&guest);
}

TEST(second_port_is_its_own)
{
	struct guest guest;
	char got[8] = "";

	open_two(&guest);
	tell(&guest, 1, VIRTIO_CONSOLE_PORT_READY, 1);
	offer(&guest, 5, "to two", 6);
	serve(&guest, 5);
	expect_host(guest.host[1], "to two");
	assert_int_equal(drain(guest.host[0]), 0);
	assert_int_equal(write(guest.host[1], "reply", 5), 5);
	offer_writable(&guest, 4, 8);
	serve(&guest, 4);
	assert_false(is_answered(&guest, 4)); // nobody in the guest has opened it
	tell(&guest, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	serve(&guest, 4);
	assert_int_equal(answered(&guest, 4, got, sizeof(got)), 5);
	assert_string_equal(got, "reply");
	guest_close(&guest);
}

TEST(ports_do_not_exist_for_a_driver_without_multiport)
{
	struct guest guest;

	guest_open(&guest, ",console", ",name=second", NULL);
	negotiate(&guest, 0);
	offer(&guest, 5, "nowhere", 7);
	serve(&guest, 5);
	assert_int_equal(answered(&guest, 5, NULL, 0), 0);
	assert_int_equal(drain(guest.host[1]), 0);
	offer_control(&guest, 1);
	tell(&guest, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	serve(&guest, 2);
	assert_false(is_answered(&guest, 2));
	offer(&guest, 1, "console", 7);
	serve(&guest, 1);
	expect_host(guest.host[0], "console");
	guest_close(&guest);
}

TEST(nonsense_is_ignored_and_told_once)
{
	struct guest guest;
	const char *said;

	open_two(&guest);
	unit_capture(2);
	tell(&guest, 2, VIRTIO_CONSOLE_PORT_READY, 1);
	tell(&guest, UINT32_MAX, VIRTIO_CONSOLE_PORT_OPEN, 1);
	tell(&guest, 0, 0xffff, 1);
	tell(&guest, 0, VIRTIO_CONSOLE_PORT_READY, 2);
	offer(&guest, 3, "short", 5);
	serve(&guest, 3);
	assert_false(is_answered(&guest, 2));
	said = strstr(unit_captured(), "makes no sense");
	assert_non_null(said);
	assert_null(strstr(said + 1, "makes no sense"));
	guest_close(&guest);
}

TEST(storm_of_messages_leaves_at_most_one_of_each_kind)
{
	struct guest guest;
	unsigned count = 0;

	open_two(&guest);
	for (unsigned i = 0; i < 40; i++) {
		tell(&guest, UINT32_MAX, VIRTIO_CONSOLE_DEVICE_READY, 1);
		tell(&guest, 0, VIRTIO_CONSOLE_PORT_READY, 1);
		tell(&guest, 0, VIRTIO_CONSOLE_PORT_OPEN, i % 2);
	}
	for (unsigned i = 0; i < 20; i++)
		offer_control(&guest, 1);
	while (is_answered(&guest, 2))
		count++;
	// the six buffers that were there, and at most add twice, console, open and size
	assert_true(count <= 6 + 5);
	guest_close(&guest);
}

TEST(pause_does_not_make_the_ports_unknown)
{
	struct guest guest;

	open_two(&guest);
	tell(&guest, 1, VIRTIO_CONSOLE_PORT_READY, 1);
	tell(&guest, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	for (unsigned i = 0; i < guest.ring_count; i++)
		guest.device->ops->queue_stop(guest.device, &guest.rings[i].vring);
	negotiate(&guest, BIT64(VIRTIO_CONSOLE_F_MULTIPORT));
	assert_int_equal(write(guest.host[1], "later", 5), 5);
	offer_writable(&guest, 4, 8);
	serve(&guest, 4);
	assert_int_equal(answered(&guest, 4, NULL, 0), 5);
	guest_close(&guest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(output_reaches_the_host),
		RUN(input_reaches_the_guest_in_as_many_buffers_as_it_takes),
		RUN(guest_waits_for_a_slow_reader_and_nothing_is_lost),
		RUN(guest_goes_on_where_output_is_dropped),
		RUN(stopping_the_ring_leaves_no_chain_in_flight),
		RUN(filter_keeps_what_is_printable),
		RUN(buffers_of_the_wrong_direction_break_the_ring),
		RUN(emergency_character_is_printed_without_a_driver),
		RUN(configuration_says_what_there_is),
		RUN(driver_hears_of_the_ports),
		RUN(message_waits_for_a_buffer_that_is_long_enough),
		RUN(second_port_is_its_own),
		RUN(ports_do_not_exist_for_a_driver_without_multiport),
		RUN(nonsense_is_ignored_and_told_once),
		RUN(storm_of_messages_leaves_at_most_one_of_each_kind),
		RUN(pause_does_not_make_the_ports_unknown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
