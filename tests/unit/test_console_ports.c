// SPDX-License-Identifier: Apache-2.0
// Tests of applets/console/ as a device with several ports.
#include <endian.h>
#include <stdio.h>
#include <string.h>

#include "applets/console/console.h"
#include "tests/unit/console.h"

static void tell(struct unit_console *guest, u32 id, unsigned event, unsigned value)
{
	const struct virtio_console_control message = {
		.id = le32_of(id), .event = le16_of((u16)event), .value = le16_of((u16)value)};

	unit_console_offer(guest, 3, &message, sizeof(message));
	unit_console_serve(guest, 3);
	assert_int_equal(unit_console_take(guest, 3, NULL, 0), 0);
}

// The next message must be this one, and `more` what follows it.
static void expect_message(struct unit_console *guest, u32 id, unsigned event, unsigned value,
			   const void *more, size_t more_len)
{
	u8 bytes[256];
	struct virtio_console_control header;

	assert_int_equal(unit_console_take(guest, 2, bytes, sizeof(bytes)),
			 sizeof(header) + more_len);
	memcpy(&header, bytes, sizeof(header));
	assert_int_equal(le32_get(header.id), id);
	assert_int_equal(le16_get(header.event), event);
	assert_int_equal(le16_get(header.value), value);
	if (more_len)
		assert_memory_equal(bytes + sizeof(header), more, more_len);
}

static void offer_control(struct unit_console *guest, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		unit_console_offer_writable(guest, 2, 128);
	unit_console_serve(guest, 2);
}

static void open_two(struct unit_console *guest)
{
	unit_console_open(guest, ",console", ",name=second", "--size=80x25");
	unit_console_start(guest, BIT64(VIRTIO_CONSOLE_F_MULTIPORT));
	offer_control(guest, 8);
	tell(guest, UINT32_MAX, VIRTIO_CONSOLE_DEVICE_READY, 1);
	unit_console_serve(guest, 2);
	expect_message(guest, 0, VIRTIO_CONSOLE_DEVICE_ADD, 1, NULL, 0);
	expect_message(guest, 1, VIRTIO_CONSOLE_DEVICE_ADD, 1, NULL, 0);
}

TEST(driver_hears_of_the_ports)
{
	struct unit_console guest;

	open_two(&guest);
	tell(&guest, 1, VIRTIO_CONSOLE_PORT_READY, 1);
	unit_console_serve(&guest, 2);
	expect_message(&guest, 1, VIRTIO_CONSOLE_PORT_NAME, 1, "second", 6);
	expect_message(&guest, 1, VIRTIO_CONSOLE_PORT_OPEN, 1, NULL, 0);
	tell(&guest, 0, VIRTIO_CONSOLE_PORT_READY, 1);
	unit_console_serve(&guest, 2);
	expect_message(&guest, 0, VIRTIO_CONSOLE_CONSOLE_PORT, 1, NULL, 0);
	expect_message(&guest, 0, VIRTIO_CONSOLE_PORT_OPEN, 1, NULL, 0);
	expect_message(&guest, 0, VIRTIO_CONSOLE_RESIZE, 1, ((u8[]){80, 0, 25, 0}), 4);
	assert_false(unit_console_has_answer(&guest, 2));
	unit_console_close(&guest);
}

TEST(message_waits_for_a_buffer_that_is_long_enough)
{
	struct unit_console guest;

	unit_console_open(&guest, ",console", ",name=second", NULL);
	unit_console_start(&guest, BIT64(VIRTIO_CONSOLE_F_MULTIPORT));
	tell(&guest, UINT32_MAX, VIRTIO_CONSOLE_DEVICE_READY, 1);
	unit_console_offer_writable(&guest, 2, 0);
	unit_console_offer_writable(&guest, 2, 7);
	unit_console_offer_writable(&guest, 2, 8);
	unit_console_serve(&guest, 2);
	assert_int_equal(unit_console_take(&guest, 2, NULL, 0), 0);
	assert_int_equal(unit_console_take(&guest, 2, NULL, 0), 0);
	expect_message(&guest, 0, VIRTIO_CONSOLE_DEVICE_ADD, 1, NULL, 0);
	unit_console_close(&guest);
}

TEST(second_port_is_its_own)
{
	struct unit_console guest;
	char got[8] = "";

	open_two(&guest);
	tell(&guest, 1, VIRTIO_CONSOLE_PORT_READY, 1);
	unit_console_offer(&guest, 5, "to two", 6);
	unit_console_serve(&guest, 5);
	unit_console_expect_host(guest.host[1], "to two");
	assert_int_equal(unit_console_drain(guest.host[0]), 0);
	assert_int_equal(write(guest.host[1], "reply", 5), 5);
	unit_console_offer_writable(&guest, 4, 8);
	unit_console_serve(&guest, 4);
	assert_false(unit_console_has_answer(&guest, 4)); // nobody in the guest has opened it
	tell(&guest, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	unit_console_serve(&guest, 4);
	assert_int_equal(unit_console_take(&guest, 4, got, sizeof(got)), 5);
	assert_string_equal(got, "reply");
	unit_console_close(&guest);
}

TEST(ports_do_not_exist_for_a_driver_without_multiport)
{
	struct unit_console guest;

	unit_console_open(&guest, ",console", ",name=second", NULL);
	unit_console_start(&guest, 0);
	unit_console_offer(&guest, 5, "nowhere", 7);
	unit_console_serve(&guest, 5);
	assert_int_equal(unit_console_take(&guest, 5, NULL, 0), 0);
	assert_int_equal(unit_console_drain(guest.host[1]), 0);
	offer_control(&guest, 1);
	tell(&guest, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	unit_console_serve(&guest, 2);
	assert_false(unit_console_has_answer(&guest, 2));
	unit_console_offer(&guest, 1, "console", 7);
	unit_console_serve(&guest, 1);
	unit_console_expect_host(guest.host[0], "console");
	unit_console_close(&guest);
}

TEST(nonsense_is_ignored_and_told_once)
{
	struct unit_console guest;
	const char *said;

	open_two(&guest);
	unit_capture(2);
	tell(&guest, 2, VIRTIO_CONSOLE_PORT_READY, 1);
	tell(&guest, UINT32_MAX, VIRTIO_CONSOLE_PORT_OPEN, 1);
	tell(&guest, 0, 0xffff, 1);
	tell(&guest, 0, VIRTIO_CONSOLE_PORT_READY, 2);
	unit_console_offer(&guest, 3, "short", 5);
	unit_console_serve(&guest, 3);
	assert_false(unit_console_has_answer(&guest, 2));
	said = strstr(unit_captured(), "makes no sense");
	assert_non_null(said);
	assert_null(strstr(said + 1, "makes no sense"));
	unit_console_close(&guest);
}

TEST(storm_of_messages_leaves_at_most_one_of_each_kind)
{
	struct unit_console guest;
	unsigned count = 0;

	open_two(&guest);
	for (unsigned i = 0; i < 40; i++) {
		tell(&guest, UINT32_MAX, VIRTIO_CONSOLE_DEVICE_READY, 1);
		tell(&guest, 0, VIRTIO_CONSOLE_PORT_READY, 1);
		tell(&guest, 0, VIRTIO_CONSOLE_PORT_OPEN, i % 2);
	}
	for (unsigned i = 0; i < 20; i++)
		offer_control(&guest, 1);
	while (unit_console_has_answer(&guest, 2))
		count++;
	// the six buffers that were there, and at most add twice, console, open and size
	assert_true(count <= 6 + 5);
	unit_console_close(&guest);
}

TEST(pause_does_not_make_the_ports_unknown)
{
	struct unit_console guest;

	open_two(&guest);
	tell(&guest, 1, VIRTIO_CONSOLE_PORT_READY, 1);
	tell(&guest, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	for (unsigned i = 0; i < guest.ring_count; i++)
		guest.device->ops->queue_stop(guest.device, &guest.rings[i].vring);
	unit_console_start(&guest, BIT64(VIRTIO_CONSOLE_F_MULTIPORT));
	assert_int_equal(write(guest.host[1], "later", 5), 5);
	unit_console_offer_writable(&guest, 4, 8);
	unit_console_serve(&guest, 4);
	assert_int_equal(unit_console_take(&guest, 4, NULL, 0), 5);
	unit_console_close(&guest);
}

// 5.3.6.2 "Multiport Device Operation": whatever becomes of clients and drivers, ports stay.
TEST(no_port_is_ever_removed)
{
	struct virtio_console_control header;
	struct unit_console guest;
	const struct vm_ring *driver;

	open_two(&guest);
	driver = &guest.rings[2].driver;
	for (unsigned i = 0; i < 2; i++) {
		tell(&guest, 1, VIRTIO_CONSOLE_PORT_READY, 1);
		tell(&guest, 1, VIRTIO_CONSOLE_PORT_OPEN, i);
		port_left(&console_of(guest.device)->ports[1]);
		offer_control(&guest, 4);
		tell(&guest, UINT32_MAX, VIRTIO_CONSOLE_DEVICE_READY, 1 - i);
		offer_control(&guest, 4);
	}
	for (unsigned i = 0; i < guest.ring_count; i++)
		guest.device->ops->queue_stop(guest.device, &guest.rings[i].vring);
	guest.device->ops->reset(guest.device);
	unit_console_start(&guest, BIT64(VIRTIO_CONSOLE_F_MULTIPORT));
	tell(&guest, UINT32_MAX, VIRTIO_CONSOLE_DEVICE_READY, 1);
	offer_control(&guest, 4);
	assert_int_not_equal(le16toh(driver->used->idx), driver->used_idx);
	while (le16toh(driver->used->idx) != driver->used_idx) {
		unit_console_take(&guest, 2, &header, sizeof(header));
		assert_int_not_equal(le16_get(header.event), VIRTIO_CONSOLE_DEVICE_REMOVE);
	}
	unit_console_close(&guest);
}

// What a console of two ports is saved as: the driver's readiness and two ports, then each port's flags and what is yet to be told.
static int load(struct unit_console *guest, const char *state, size_t len)
{
	return guest->device->ops->load(guest->device, (const u8 *)state, len);
}

TEST(driver_goes_on_with_its_ports_in_another_process)
{
	struct unit_console guest;
	u8 saved[256];

	open_two(&guest);
	tell(&guest, 1, VIRTIO_CONSOLE_PORT_READY, 1);
	tell(&guest, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	assert_int_equal(guest.device->ops->save(guest.device, saved, sizeof(saved)), 8);
	assert_memory_equal(saved, "\1\0\2\0\0\0\3\4", 8); // the name is yet to be told
	unit_console_close(&guest);
	unit_console_open(&guest, ",console", ",name=second", "--size=80x25");
	unit_console_start(&guest, BIT64(VIRTIO_CONSOLE_F_MULTIPORT));
	assert_int_equal(load(&guest, (const char *)saved, 8), 0);
	offer_control(&guest, 8);
	expect_message(&guest, 1, VIRTIO_CONSOLE_PORT_NAME, 1, "second", 6);
	expect_message(&guest, 1, VIRTIO_CONSOLE_PORT_OPEN, 1, NULL, 0);
	assert_false(unit_console_has_answer(&guest, 2));
	assert_int_equal(write(guest.host[1], "later", 5), 5);
	unit_console_offer_writable(&guest, 4, 8);
	unit_console_serve(&guest, 4);
	assert_int_equal(unit_console_take(&guest, 4, NULL, 0), 5);
	unit_console_close(&guest);
}

TEST(driver_hears_of_a_port_that_it_did_not_have_before)
{
	struct unit_console guest;

	unit_console_open(&guest, ",console", ",name=second", NULL);
	unit_console_start(&guest, BIT64(VIRTIO_CONSOLE_F_MULTIPORT));
	assert_int_equal(load(&guest, "\1\0\1\0\3\0", 6), 0);
	offer_control(&guest, 4);
	expect_message(&guest, 0, VIRTIO_CONSOLE_PORT_OPEN, 1, NULL, 0);
	expect_message(&guest, 1, VIRTIO_CONSOLE_DEVICE_ADD, 1, NULL, 0);
	assert_false(unit_console_has_answer(&guest, 2));
	unit_console_close(&guest);
}

TEST(forged_states_change_nothing)
{
	static const struct {
		const char *bytes;
		size_t len;
	} bad[] = {
		{"", 0},
		{"\1\0\1", 3},
		{"\2\0\1\0\0\0", 6},	      // neither ready nor not
		{"\1\1\1\0\0\0", 6},	      // padding
		{"\1\0\0\0", 4},	      // no port
		{"\1\0\1\0\0", 5},	      // a port cut off
		{"\1\0\1\0\0\0\0", 7},	      // and one too much
		{"\1\0\3\0\0\0\0\0\0\0", 10}, // more than there are
		{"\1\0\1\1\0\0", 6},
		{"\1\0\1\0\4\0", 6},  // unknown flags
		{"\1\0\1\0\0\10", 6}, // what is not to be told so
		{"\1\0\2\0\0\0\200\0", 8},
		{"\0\0\1\0\1\0", 6}, // a port without a driver
		{"\0\0\1\0\0\1", 6},
	};
	struct unit_console guest;
	u8 before[64], after[64];
	size_t len;

	open_two(&guest);
	tell(&guest, 1, VIRTIO_CONSOLE_PORT_READY, 1);
	len = guest.device->ops->save(guest.device, before, sizeof(before));
	unit_capture(STDERR_FILENO);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(load(&guest, bad[i].bytes, bad[i].len), -EINVAL);
	unit_captured();
	assert_int_equal(guest.device->ops->save(guest.device, after, sizeof(after)), len);
	assert_memory_equal(before, after, len);
	unit_console_close(&guest);
}

// What a few bytes make of a log counts as what they are.
TEST(log_with_the_time_is_charged_to_the_turn)
{
	static char newlines[64 * 1024], keys[256];
	struct unit_console guest;
	unsigned turns = 0;

	memset(newlines, '\n', sizeof(newlines));
	snprintf(keys, sizeof(keys), ",drop,timestamp,log=%s", unit_path("log"));
	unit_console_open(&guest, keys, NULL, NULL);
	unit_console_start(&guest, 0);
	unit_console_offer(&guest, 1, newlines, sizeof(newlines));
	do
		unit_console_serve(&guest, 1);
	while (++turns < 100 && !unit_console_has_answer(&guest, 1));
	assert_in_range(turns, 4, 16);
	unlink(strstr(keys, "log=") + 4);
	unit_console_close(&guest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(log_with_the_time_is_charged_to_the_turn),
		RUN(driver_hears_of_the_ports),
		RUN(message_waits_for_a_buffer_that_is_long_enough),
		RUN(second_port_is_its_own),
		RUN(ports_do_not_exist_for_a_driver_without_multiport),
		RUN(nonsense_is_ignored_and_told_once),
		RUN(storm_of_messages_leaves_at_most_one_of_each_kind),
		RUN(pause_does_not_make_the_ports_unknown),
		RUN(no_port_is_ever_removed),
		RUN(driver_goes_on_with_its_ports_in_another_process),
		RUN(driver_hears_of_a_port_that_it_did_not_have_before),
		RUN(forged_states_change_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
