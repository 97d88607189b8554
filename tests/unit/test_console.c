// SPDX-License-Identifier: Apache-2.0
// Tests of applets/console/ as a device with one port.
#include <string.h>

#include "applets/console/virtio_console.h"
#include "core/memory_fault.h"
#include "tests/unit/console.h"

TEST(output_reaches_the_host)
{
	struct unit_console guest;

	unit_console_open(&guest, "", NULL, NULL);
	unit_console_start(&guest, 0);
	unit_console_offer(&guest, 1, "hello, ", 7);
	unit_console_offer(&guest, 1, "host", 4);
	unit_console_serve(&guest, 1);
	unit_console_expect_host(guest.host[0], "hello, host");
	assert_int_equal(unit_console_take(&guest, 1, NULL, 0), 0);
	assert_int_equal(unit_console_take(&guest, 1, NULL, 0), 0);
	unit_console_close(&guest);
}

TEST(input_reaches_the_guest_in_as_many_buffers_as_it_takes)
{
	struct unit_console guest;
	char got[8] = "";

	unit_console_open(&guest, "", NULL, NULL);
	unit_console_start(&guest, 0);
	unit_console_offer_writable(&guest, 0, 3);
	unit_console_serve(&guest, 0);
	assert_false(unit_console_has_answer(&guest, 0));
	assert_int_equal(write(guest.host[0], "abcdef", 6), 6);
	unit_console_serve(&guest, 0);
	assert_int_equal(unit_console_take(&guest, 0, got, 8), 3);
	unit_console_offer_writable(&guest, 0, 0);
	unit_console_offer_writable(&guest, 0, 1);
	unit_console_offer_writable(&guest, 0, 8);
	unit_console_serve(&guest, 0);
	assert_int_equal(unit_console_take(&guest, 0, NULL, 0), 0);
	assert_int_equal(unit_console_take(&guest, 0, got + 3, 1), 1);
	assert_int_equal(unit_console_take(&guest, 0, got + 4, 4), 2);
	assert_string_equal(got, "abcdef");
	unit_console_close(&guest);
}

// How many chains of 64 KiB are taken while nobody reads.
static unsigned taken_unread(struct unit_console *guest)
{
	static const u8 bytes[65536];
	unsigned taken = 0;

	for (unsigned i = 0; i < 32; i++)
		unit_console_offer(guest, 1, bytes, sizeof(bytes));
	for (unsigned i = 0; i < 32; i++)
		unit_console_serve(guest, 1);
	while (unit_console_has_answer(guest, 1))
		taken++;
	return taken;
}

TEST(guest_waits_for_a_slow_reader_and_nothing_is_lost)
{
	struct unit_console guest;
	unsigned taken;
	size_t read;

	unit_console_open(&guest, "", NULL, NULL);
	unit_console_start(&guest, 0);
	taken = taken_unread(&guest);
	assert_true(taken > 0 && taken < 16);
	read = unit_console_drain(guest.host[0]);
	for (unsigned i = 0; i < 64; i++) {
		unit_console_serve(&guest, 1);
		read += unit_console_drain(guest.host[0]);
	}
	while (unit_console_has_answer(&guest, 1))
		taken++;
	assert_int_equal(taken, 32);
	assert_int_equal(read, 32 * 65536);
	unit_console_close(&guest);
}

// The zeroes that have come in its place are not for the host's eyes.
TEST(output_in_memory_that_has_gone_is_lost)
{
	struct unit_console guest;
	struct unit_ring *ring = &guest.rings[1];
	const struct vm_buffer buffer = {.addr = UNIT_RING_GUEST + UNIT_RING_REGION - 4,
					 .len = 100000};

	unit_console_open(&guest, "", NULL, NULL);
	unit_console_start(&guest, 0);
	assert_int_equal(memory_fault_catch(&ring->memory, -1), 0);
	assert_int_equal(ftruncate(ring->vm.regions[1].fd, 0), 0);
	assert_true(vm_ring_add(&ring->driver, &buffer, 1, NULL) >= 0);
	vm_ring_show(&ring->driver);
	unit_console_serve(&guest, 1);
	assert_int_equal(unit_console_drain(guest.host[0]), 0);
	assert_true(unit_console_has_answer(&guest, 1));
	unit_console_close(&guest);
	memory_fault_release();
	memory_fault_clear();
}

TEST(guest_goes_on_where_output_is_dropped)
{
	struct unit_console guest;

	unit_console_open(&guest, ",drop", NULL, NULL);
	unit_console_start(&guest, 0);
	assert_int_equal(taken_unread(&guest), 32);
	assert_true(unit_console_drain(guest.host[0]) < (size_t)32 * 65536);
	unit_capture(2);
	unit_console_close(&guest);
	assert_non_null(strstr(unit_captured(), "bytes of output were dropped"));
}

TEST(stopping_the_ring_leaves_no_chain_in_flight)
{
	static const u8 bytes[1 << 20];
	struct unit_console guest;

	unit_console_open(&guest, "", NULL, NULL);
	unit_console_start(&guest, 0);
	unit_console_offer(&guest, 1, bytes, sizeof(bytes));
	for (unsigned i = 0; i < 16; i++)
		unit_console_serve(&guest, 1);
	assert_false(vring_idle(&guest.rings[1].vring));
	unit_capture(2);
	guest.device->ops->queue_stop(guest.device, &guest.rings[1].vring);
	assert_non_null(strstr(unit_captured(), "bytes of output were dropped"));
	assert_true(vring_idle(&guest.rings[1].vring));
	unit_console_close(&guest);
}

TEST(filter_keeps_what_is_printable)
{
	struct unit_console guest;

	unit_console_open(&guest, ",filter", NULL, NULL);
	unit_console_start(&guest, 0);
	unit_console_offer(&guest, 1, "a\033[1mb\0c\233d\x7f\te\r\n!", 17);
	unit_console_serve(&guest, 1);
	unit_console_expect_host(guest.host[0], "a[1mbcd\te\r\n!");
	unit_console_close(&guest);
}

TEST(buffers_of_the_wrong_direction_break_the_ring)
{
	struct unit_console guest;

	unit_console_open(&guest, "", NULL, NULL);
	unit_console_start(&guest, 0);
	unit_console_offer_writable(&guest, 1, 8);
	unit_console_serve(&guest, 1);
	assert_int_equal(unit_ring_errors(&guest.rings[1]), 1);
	assert_int_equal(write(guest.host[0], "x", 1), 1);
	unit_console_offer(&guest, 0, "y", 1);
	unit_console_serve(&guest, 0);
	assert_int_equal(unit_ring_errors(&guest.rings[0]), 1);
	unit_console_close(&guest);
}

TEST(emergency_character_is_printed_without_a_driver)
{
	const u8 config[12] = {[8] = '!'};
	const u8 one = '?';
	struct unit_console guest;

	unit_console_open(&guest, "", NULL, NULL);
	const struct device_ops *ops = guest.device->ops;

	assert_int_equal(ops->config_write(guest.device, 0, config, sizeof(config)), 0);
	assert_int_equal(ops->config_write(guest.device, 8, &one, 1), 0);
	assert_int_equal(ops->config_write(guest.device, 0, config, 8), 0);
	assert_int_equal(ops->config_write(guest.device, 9, config, 3), 0);
	unit_ring_turn(&guest.rings[0]);
	unit_console_expect_host(guest.host[0], "!?");
	assert_int_equal(unit_console_drain(guest.host[0]), 0);
	unit_console_start(&guest, 0);
	unit_console_close(&guest);
}

TEST(configuration_says_what_there_is)
{
	struct unit_console guest;
	u8 config[DEVICE_MAX_CONFIG];

	unit_console_open(&guest, "", NULL, "--size=132x43");
	unit_console_start(&guest, 0);
	assert_int_equal(guest.device->ops->features(guest.device),
			 BIT64(VIRTIO_CONSOLE_F_SIZE) | BIT64(VIRTIO_CONSOLE_F_EMERG_WRITE));
	assert_int_equal(guest.device->ops->queue_count(guest.device), 4);
	assert_int_equal(guest.device->ops->config(guest.device, config), 12);
	assert_memory_equal(config, ((u8[12]){132, 0, 43, 0, 1}), 12);
	unit_console_close(&guest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(output_reaches_the_host),
		RUN(input_reaches_the_guest_in_as_many_buffers_as_it_takes),
		RUN(guest_waits_for_a_slow_reader_and_nothing_is_lost),
		RUN(output_in_memory_that_has_gone_is_lost),
		RUN(guest_goes_on_where_output_is_dropped),
		RUN(stopping_the_ring_leaves_no_chain_in_flight),
		RUN(filter_keeps_what_is_printable),
		RUN(buffers_of_the_wrong_direction_break_the_ring),
		RUN(emergency_character_is_printed_without_a_driver),
		RUN(configuration_says_what_there_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
