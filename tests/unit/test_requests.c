// SPDX-License-Identifier: Apache-2.0
// Tests of core/requests.c: the columns of its table, replies, features, configuration. The handlers of rings and
// memory have tests of their own.
#include "tests/unit/desk.h"

#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

static struct desk desk;

static int setup(void **state)
{
	(void)state;
	desk_open(&desk, ECHO_AT_ONCE);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return desk_close(&desk);
}

// What the specification says of each request. `needs`: a protocol feature's bit number, or -1.
static const struct row {
	u32 request, min, max;
	unsigned fds_min, fds_max;
	int needs;
	enum { NO_INDEX, STATE_INDEX, FD_INDEX } index;
} rows[] = {
	{VU_GET_FEATURES, 0, 0, 0, 0, -1, NO_INDEX},
	{VU_SET_FEATURES, 8, 8, 0, 0, -1, NO_INDEX},
	{VU_SET_OWNER, 0, 0, 0, 0, -1, NO_INDEX},
	{VU_RESET_OWNER, 0, 0, 0, 0, -1, NO_INDEX},
	{VU_SET_MEM_TABLE, 8, 8 + 32 * 32, 0, 32, -1, NO_INDEX},
	{VU_SET_VRING_NUM, 8, 8, 0, 0, -1, STATE_INDEX},
	{VU_SET_VRING_ADDR, 40, 40, 0, 0, -1, STATE_INDEX},
	{VU_SET_VRING_BASE, 8, 8, 0, 0, -1, STATE_INDEX},
	{VU_GET_VRING_BASE, 8, 8, 0, 0, -1, STATE_INDEX},
	{VU_SET_VRING_KICK, 8, 8, 0, 1, -1, FD_INDEX},
	{VU_SET_VRING_CALL, 8, 8, 0, 1, -1, FD_INDEX},
	{VU_SET_VRING_ERR, 8, 8, 0, 1, -1, FD_INDEX},
	{VU_GET_PROTOCOL_FEATURES, 0, 0, 0, 0, -1, NO_INDEX},
	{VU_SET_PROTOCOL_FEATURES, 8, 8, 0, 0, -1, NO_INDEX},
	{VU_GET_QUEUE_NUM, 0, 0, 0, 0, VU_PROTOCOL_F_MQ, NO_INDEX},
	{VU_SET_VRING_ENABLE, 8, 8, 0, 0, -1, STATE_INDEX},
	{VU_SET_BACKEND_REQ_FD, 0, 0, 1, 1, VU_PROTOCOL_F_BACKEND_REQ, NO_INDEX},
	{VU_GET_CONFIG, 12, 12 + 256, 0, 0, VU_PROTOCOL_F_CONFIG, NO_INDEX},
	{VU_SET_CONFIG, 12, 12 + 256, 0, 0, VU_PROTOCOL_F_CONFIG, NO_INDEX},
	{VU_RESET_DEVICE, 0, 0, 0, 0, VU_PROTOCOL_F_RESET_DEVICE, NO_INDEX},
	{VU_GET_MAX_MEM_SLOTS, 0, 0, 0, 0, VU_PROTOCOL_F_CONFIGURE_MEM_SLOTS, NO_INDEX},
	{VU_ADD_MEM_REG, 40, 40, 1, 1, VU_PROTOCOL_F_CONFIGURE_MEM_SLOTS, NO_INDEX},
	{VU_REM_MEM_REG, 40, 40, 0, 1, VU_PROTOCOL_F_CONFIGURE_MEM_SLOTS, NO_INDEX},
	{VU_SET_STATUS, 8, 8, 0, 0, VU_PROTOCOL_F_STATUS, NO_INDEX},
	{VU_GET_STATUS, 0, 0, 0, 0, VU_PROTOCOL_F_STATUS, NO_INDEX},
	{VU_SET_DEVICE_STATE_FD, 8, 8, 1, 1, VU_PROTOCOL_F_DEVICE_STATE, NO_INDEX},
	{VU_CHECK_DEVICE_STATE, 0, 0, 0, 0, VU_PROTOCOL_F_DEVICE_STATE, NO_INDEX},
};

// Refused: the connection is to be closed, unless an answer is owed and says no. Either way no fd is kept.
static void expect_refused(u32 request, const void *payload, size_t len, unsigned fd_count)
{
	int fds[64];
	unsigned before;

	for (unsigned i = 0; i < fd_count; i++)
		fds[i] = desk.rings[0].kick_fd;
	before = unit_open_fds();
	assert_true(desk_send(&desk, request, VU_VERSION, payload, len, fds, fd_count) < 0);
	desk_expect_no_reply(&desk);
	assert_int_equal(
		desk_send(&desk, request, VU_VERSION | VU_NEED_REPLY, payload, len, fds, fd_count),
		0);
	desk_expect_u64(&desk, request, 1);
	assert_int_equal(unit_open_fds(), before);
}

TEST(payload_of_the_wrong_size_is_refused_in_every_request)
{
	const u8 payload[2048] = {0};

	desk_accept_protocol_features(&desk);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *row = &rows[i];

		for (u32 len = 0; len < row->min; len++)
			expect_refused(row->request, payload, len, row->fds_min);
		if (row->max < 8 + 32 * 32) // what is longer is no message at all
			expect_refused(row->request, payload, row->max + 1, row->fds_min);
	}
}

TEST(wrong_number_of_fds_is_refused_in_every_request_and_all_are_closed)
{
	const u8 payload[2048] = {0};

	desk_accept_protocol_features(&desk);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *row = &rows[i];

		expect_refused(row->request, payload, row->min, row->fds_max + 1);
		expect_refused(row->request, payload, row->min, row->fds_max + 20);
		if (row->fds_min > 0)
			expect_refused(row->request, payload, row->min, row->fds_min - 1);
	}
}

TEST(request_whose_protocol_feature_is_not_negotiated_is_refused)
{
	const u8 payload[2048] = {0};
	u64 offered = session_offered_protocol_features(&desk.session) &
		      ~VU_BIT(VU_PROTOCOL_F_GET_VRING_BASE_INFLIGHT); // it needs another

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *row = &rows[i];

		if (row->needs < 0)
			continue;
		assert_int_equal(desk_send_u64(&desk, VU_SET_PROTOCOL_FEATURES, VU_VERSION,
					       offered & ~VU_BIT(row->needs)),
				 0);
		expect_refused(row->request, payload, row->min, row->fds_min);
	}
}

TEST(ring_that_does_not_exist_is_refused_in_every_request)
{
	const u64 indices[] = {DESK_RINGS, 64, 255, UINT32_MAX};
	u8 payload[40] = {0};

	desk_accept_protocol_features(&desk);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		for (unsigned j = 0; j < ARRAY_SIZE(indices) && rows[i].index != NO_INDEX; j++) {
			memcpy(payload, &indices[j], sizeof(u64));
			expect_refused(rows[i].request, payload, rows[i].min, 0);
		}
}

TEST(index_with_unknown_bits_beside_it_is_refused)
{
	const u64 payloads[] = {BIT64(9), BIT64(16), BIT64(32), BIT64(63), BIT64(40) | 1};

	desk_accept_protocol_features(&desk);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		for (unsigned j = 0; j < ARRAY_SIZE(payloads) && rows[i].index == FD_INDEX; j++)
			expect_refused(rows[i].request, &payloads[j], sizeof(u64), 1);
}

TEST(unknown_requests_are_refused)
{
	const u32 unknown[] = {0, 6, 19, 29, 33, 35, 41, 44, 1000, 0x7fffffff, UINT32_MAX};

	desk_accept_protocol_features(&desk);
	for (unsigned i = 0; i < ARRAY_SIZE(unknown); i++) {
		expect_refused(unknown[i], NULL, 0, 0);
		expect_refused(unknown[i], NULL, 0, 3);
	}
}

TEST(answer_is_given_exactly_when_it_is_owed)
{
	// neither asked for nor negotiated; asked for, not negotiated; negotiated, not asked for
	assert_int_equal(desk_send(&desk, VU_SET_OWNER, VU_VERSION, NULL, 0, NULL, 0), 0);
	desk_expect_no_reply(&desk);
	assert_int_equal(
		desk_send(&desk, VU_SET_OWNER, VU_VERSION | VU_NEED_REPLY, NULL, 0, NULL, 0), 0);
	desk_expect_no_reply(&desk);
	desk_accept_protocol_features(&desk);
	assert_int_equal(desk_send(&desk, VU_SET_OWNER, VU_VERSION, NULL, 0, NULL, 0), 0);
	desk_expect_no_reply(&desk);
	assert_int_equal(
		desk_send(&desk, VU_SET_OWNER, VU_VERSION | VU_NEED_REPLY, NULL, 0, NULL, 0), 0);
	desk_expect_u64(&desk, VU_SET_OWNER, 0);
}

TEST(request_with_a_reply_of_its_own_sends_just_that)
{
	desk_accept_protocol_features(&desk);
	for (unsigned need = 0; need <= VU_NEED_REPLY; need += VU_NEED_REPLY) {
		u32 flags = VU_VERSION | need;

		assert_int_equal(desk_send(&desk, VU_GET_FEATURES, flags, NULL, 0, NULL, 0), 0);
		desk_expect_u64(&desk, VU_GET_FEATURES, session_offered_features(&desk.session));
		assert_int_equal(desk_send(&desk, VU_GET_QUEUE_NUM, flags, NULL, 0, NULL, 0), 0);
		desk_expect_u64(&desk, VU_GET_QUEUE_NUM, DESK_RINGS);
		assert_int_equal(desk_send(&desk, VU_GET_MAX_MEM_SLOTS, flags, NULL, 0, NULL, 0),
				 0);
		desk_expect_u64(&desk, VU_GET_MAX_MEM_SLOTS, GUEST_MEMORY_SLOTS);
	}
}

TEST(refusal_without_negotiated_answers_ends_the_connection)
{
	assert_true(desk_send_u64(&desk, VU_SET_FEATURES, VU_VERSION | VU_NEED_REPLY, BIT64(63)) <
		    0);
	desk_expect_no_reply(&desk);
}

TEST(reply_to_a_front_end_that_has_gone_is_told)
{
	frontend_send(&desk.frontend, VU_GET_FEATURES, VU_VERSION, NULL, 0, NULL, 0);
	frontend_close(&desk.frontend);
	assert_int_equal(connection_receive(&desk.connection), 1);
	assert_int_equal(requests_handle(&desk.session, &desk.connection), -ENOTCONN);
}

// ---- features

TEST(driver_learns_of_features_and_so_does_the_device)
{
	u64 features = VU_BIT(VM_F_VERSION_1) | ECHO_FEATURE;

	assert_int_equal(desk_send(&desk, VU_GET_FEATURES, VU_VERSION, NULL, 0, NULL, 0), 0);
	desk_expect_u64(&desk, VU_GET_FEATURES,
			ECHO_FEATURE | VU_BIT(VM_F_INDIRECT_DESC) | BIT64(VHOST_F_LOG_ALL) |
				DESK_RING_FEATURES);
	assert_int_equal(desk_send_u64(&desk, VU_SET_FEATURES, VU_VERSION, features), 0);
	assert_true(desk.echo.features == features);
	assert_true(desk.session.features == features);
}

TEST(features_that_were_not_offered_are_refused)
{
	const u64 bits[] = {0, 24, 33, 34, 35, 63};

	for (unsigned i = 0; i < ARRAY_SIZE(bits); i++)
		assert_true(desk_send_u64(&desk, VU_SET_FEATURES, VU_VERSION,
					  VU_BIT(VM_F_VERSION_1) | VU_BIT(bits[i])) < 0);
	assert_int_equal(desk.echo.negotiations, 0);
	assert_int_equal(desk.session.features, 0);
}

TEST(legacy_drivers_are_served_and_may_take_no_feature_at_all)
{
	const u64 legacy[] = {0, ECHO_FEATURE | VU_BIT(VM_F_EVENT_IDX)};

	for (unsigned i = 0; i < ARRAY_SIZE(legacy); i++) {
		assert_int_equal(desk_send_u64(&desk, VU_SET_FEATURES, VU_VERSION, legacy[i]), 0);
		desk.rings[0].event_idx = legacy[i] & VU_BIT(VM_F_EVENT_IDX);
		for (enum desk_word word = DESK_MEMORY; word < DESK_ENABLE; word++)
			assert_int_equal(desk_say(&desk, word, 0), 0);
		assert_true(desk.session.queues[0].running);
		assert_true(desk_ring_works(&desk, 0));
		session_reset(&desk.session);
		vm_ring_reset(&desk.rings[0]);
	}
}

TEST(legacy_drivers_that_take_what_only_modern_ones_know_are_refused)
{
	desk.session.ring_features = BIT64(VIRTIO_F_RING_PACKED);
	assert_true(desk_send_u64(&desk, VU_SET_FEATURES, VU_VERSION, BIT64(VIRTIO_F_RING_PACKED)) <
		    0);
	assert_int_equal(desk.echo.negotiations, 0);
}

TEST(features_cannot_change_while_a_ring_runs_but_may_be_repeated)
{
	desk_say_all(&desk, 0);
	assert_true(desk_send_u64(&desk, VU_SET_FEATURES, VU_VERSION,
				  DESK_RING_FEATURES | ECHO_FEATURE) < 0);
	assert_true(desk.echo.features == DESK_RING_FEATURES);
	assert_int_equal(desk_say(&desk, DESK_FEATURES, 0), 0);
	assert_true(desk_ring_works(&desk, 0));
}

TEST(protocol_features_that_were_not_offered_are_refused)
{
	assert_true(desk_send_u64(&desk, VU_SET_PROTOCOL_FEATURES, VU_VERSION, BIT64(62)) < 0);
	assert_true(desk_send_u64(&desk, VU_SET_PROTOCOL_FEATURES, VU_VERSION, BIT64(2)) < 0);
	assert_int_equal(desk.session.protocol_features, 0);
}

TEST(protocol_feature_without_the_one_that_it_needs_is_refused)
{
	const u64 region = VU_BIT(VU_PROTOCOL_F_INFLIGHT_SHMFD);
	const u64 base = VU_BIT(VU_PROTOCOL_F_GET_VRING_BASE_INFLIGHT);

	assert_true(desk_send_u64(&desk, VU_SET_PROTOCOL_FEATURES, VU_VERSION, base) < 0);
	assert_int_equal(desk.session.protocol_features, 0);
	assert_int_equal(desk_send_u64(&desk, VU_SET_PROTOCOL_FEATURES, VU_VERSION, base | region),
			 0);
	assert_int_equal(desk_send_u64(&desk, VU_SET_PROTOCOL_FEATURES, VU_VERSION, region), 0);
}

TEST(protocol_features_are_derived_from_the_device)
{
	u64 offered;

	assert_int_equal(desk_send(&desk, VU_GET_PROTOCOL_FEATURES, VU_VERSION, NULL, 0, NULL, 0),
			 0);
	desk_expect(&desk, VU_GET_PROTOCOL_FEATURES, &offered, sizeof(offered));
	assert_true(offered & VU_BIT(VU_PROTOCOL_F_CONFIG));
	assert_true(offered & VU_BIT(VU_PROTOCOL_F_MQ));
	assert_true(offered & VU_BIT(VU_PROTOCOL_F_REPLY_ACK));
	desk.echo.ops.config = NULL;
	assert_int_equal(desk_send(&desk, VU_GET_PROTOCOL_FEATURES, VU_VERSION, NULL, 0, NULL, 0),
			 0);
	desk_expect_u64(&desk, VU_GET_PROTOCOL_FEATURES, offered & ~VU_BIT(VU_PROTOCOL_F_CONFIG));
}

TEST(rings_are_enabled_from_the_start_without_the_feature_bit)
{
	desk_say_all(&desk, 0);
	assert_int_equal(desk_send_state(&desk, VU_GET_VRING_BASE, 0, 0), 0);
	desk_expect(&desk, VU_GET_VRING_BASE, &(u64){0}, 8);
	assert_int_equal(desk_send_state(&desk, VU_SET_VRING_ENABLE, 0, 0), 0);
	assert_int_equal(desk_send_u64(&desk, VU_SET_FEATURES, VU_VERSION,
				       VU_BIT(VM_F_VERSION_1) | VU_BIT(VM_F_EVENT_IDX)),
			 0);
	for (enum desk_word word = DESK_MEMORY; word <= DESK_CALL; word++)
		assert_int_equal(desk_say(&desk, word, 0), 0);
	assert_true(desk_ring_works(&desk, 0));
	assert_true(desk_send_state(&desk, VU_SET_VRING_ENABLE, 0, 0) < 0);
	assert_true(desk_ring_works(&desk, 0));
}

// ---- configuration

// Asks for `size` bytes at `offset` with a payload that has room for `room` bytes.
static void ask_config(u32 offset, u32 size, size_t room)
{
	const struct vu_config config = {.offset = offset, .size = size, .flags = 1};

	assert_int_equal(desk_send(&desk, VU_GET_CONFIG, VU_VERSION, &config, 12 + room, NULL, 0),
			 0);
}

static void expect_config(u32 offset, u32 size)
{
	struct vu_config config;

	desk_expect(&desk, VU_GET_CONFIG, &config, 12 + size);
	assert_int_equal(config.offset, offset);
	assert_int_equal(config.size, size);
	assert_int_equal(config.flags, 1);
	for (u32 i = 0; i < size; i++)
		assert_int_equal(config.data[i],
				 offset + i < ECHO_CONFIG_LEN ? (u8)(offset + i + 1) : 0);
}

TEST(configuration_is_read_in_any_slice_and_is_zero_behind_its_end)
{
	const u32 slices[][2] = {{0, 60},  {0, 57}, {0, 1},   {59, 1},	{20, 8},
				 {0, 256}, {60, 4}, {50, 20}, {255, 1}, {256, 256}};

	desk_accept_protocol_features(&desk);
	for (unsigned i = 0; i < ARRAY_SIZE(slices); i++) {
		ask_config(slices[i][0], slices[i][1], slices[i][1]);
		expect_config(slices[i][0], slices[i][1]);
	}
}

TEST(configuration_may_be_asked_for_with_a_longer_payload)
{
	desk_accept_protocol_features(&desk);
	ask_config(0, 8, 256);
	expect_config(0, 8);
}

TEST(configuration_that_cannot_be_read_is_answered_with_nothing)
{
	const u32 bad[][3] = {{0, 0, 0},	  {0, 257, 256},      {257, 1, 1},
			      {UINT32_MAX, 2, 2}, {0, UINT32_MAX, 8}, {0, 9, 8}};

	desk_accept_protocol_features(&desk);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		ask_config(bad[i][0], bad[i][1], bad[i][2]);
		desk_expect(&desk, VU_GET_CONFIG, NULL, 0);
	}
}

static int write_config(u32 offset, u32 size, u32 flags, size_t room)
{
	struct vu_config config = {.offset = offset, .size = size, .flags = flags, .data = {99}};

	return desk_send(&desk, VU_SET_CONFIG, VU_VERSION, &config, 12 + room, NULL, 0);
}

TEST(configuration_is_written_while_all_rings_are_paused)
{
	u64 stops;

	desk_accept_protocol_features(&desk);
	desk_say_all(&desk, 0);
	desk_say_all(&desk, 1);
	stops = echo_count(&desk.echo.stops);
	assert_int_equal(write_config(ECHO_WRITABLE, 1, 0, 1), 0);
	assert_int_equal(desk.echo.config[ECHO_WRITABLE], 99);
	assert_int_equal(echo_count(&desk.echo.stops), stops + 2);
	assert_true(desk_ring_works(&desk, 0));
	assert_true(desk_ring_works(&desk, 1));
	assert_int_equal(write_config(ECHO_WRITABLE, 1, 1, 1), 0); // both flags mean "writable"
}

TEST(configuration_that_cannot_be_written_is_refused)
{
	desk_accept_protocol_features(&desk);
	assert_true(write_config(0, 1, 0, 1) < 0);		     // read-only
	assert_true(write_config(ECHO_WRITABLE, 0, 0, 0) < 0);	     // nothing
	assert_true(write_config(ECHO_WRITABLE, 2, 0, 1) < 0);	     // more than is there
	assert_true(write_config(ECHO_WRITABLE, 1, 2, 1) < 0);	     // unknown flags
	assert_true(write_config(ECHO_CONFIG_LEN, 1, 0, 1) < 0);     // behind the end
	assert_true(write_config(ECHO_CONFIG_LEN - 1, 2, 0, 2) < 0); // across it
	assert_true(write_config(UINT32_MAX, 2, 0, 2) < 0);	     // wraps
	assert_int_equal(desk.echo.config_writes, 0);
	desk.echo.ops.config_write = NULL;
	assert_true(write_config(ECHO_WRITABLE, 1, 0, 1) < 0); // not at all
}

// ---- the rest

TEST(reset_of_the_owner_disables_all_rings)
{
	desk_say_all(&desk, 0);
	desk_say_all(&desk, 1);
	assert_int_equal(desk_send(&desk, VU_RESET_OWNER, VU_VERSION, NULL, 0, NULL, 0), 0);
	assert_false(session_is_running(&desk.session));
	assert_int_equal(desk.session.memory.count, 2);
	assert_int_equal(desk_say(&desk, DESK_ENABLE, 0), 0);
	assert_true(desk_ring_works(&desk, 0));
}

TEST(reset_of_the_device_stops_all_rings_and_reaches_the_device)
{
	desk_accept_protocol_features(&desk);
	desk_say_all(&desk, 0);
	assert_true(desk_ring_works(&desk, 0));
	assert_int_equal(desk_send(&desk, VU_RESET_DEVICE, VU_VERSION, NULL, 0, NULL, 0), 0);
	assert_int_equal(desk.echo.resets, 1);
	assert_false(session_is_running(&desk.session));
	assert_int_equal(desk.session.memory.count, 2);
	vm_ring_reset(&desk.rings[0]);
	desk_say_all(&desk, 0);
	assert_true(desk_ring_works(&desk, 0));
}

TEST(backend_channel_must_be_a_socket_and_can_be_replaced)
{
	int sockets[2];
	unsigned before;

	desk_accept_protocol_features(&desk);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
	expect_refused(VU_SET_BACKEND_REQ_FD, NULL, 0, 1);
	before = unit_open_fds();
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(desk_send(&desk, VU_SET_BACKEND_REQ_FD, VU_VERSION, NULL, 0,
					   &sockets[i % 2], 1),
				 0);
	assert_int_equal(unit_open_fds(), before + 1);
	close(sockets[0]);
	close(sockets[1]);
}

#define DESK_TEST(name) RUN_WITH(setup, name, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		DESK_TEST(payload_of_the_wrong_size_is_refused_in_every_request),
		DESK_TEST(wrong_number_of_fds_is_refused_in_every_request_and_all_are_closed),
		DESK_TEST(request_whose_protocol_feature_is_not_negotiated_is_refused),
		DESK_TEST(ring_that_does_not_exist_is_refused_in_every_request),
		DESK_TEST(index_with_unknown_bits_beside_it_is_refused),
		DESK_TEST(unknown_requests_are_refused),
		DESK_TEST(answer_is_given_exactly_when_it_is_owed),
		DESK_TEST(request_with_a_reply_of_its_own_sends_just_that),
		DESK_TEST(refusal_without_negotiated_answers_ends_the_connection),
		DESK_TEST(reply_to_a_front_end_that_has_gone_is_told),
		DESK_TEST(driver_learns_of_features_and_so_does_the_device),
		DESK_TEST(features_that_were_not_offered_are_refused),
		DESK_TEST(legacy_drivers_are_served_and_may_take_no_feature_at_all),
		DESK_TEST(legacy_drivers_that_take_what_only_modern_ones_know_are_refused),
		DESK_TEST(features_cannot_change_while_a_ring_runs_but_may_be_repeated),
		DESK_TEST(protocol_features_that_were_not_offered_are_refused),
		DESK_TEST(protocol_feature_without_the_one_that_it_needs_is_refused),
		DESK_TEST(protocol_features_are_derived_from_the_device),
		DESK_TEST(rings_are_enabled_from_the_start_without_the_feature_bit),
		DESK_TEST(configuration_is_read_in_any_slice_and_is_zero_behind_its_end),
		DESK_TEST(configuration_may_be_asked_for_with_a_longer_payload),
		DESK_TEST(configuration_that_cannot_be_read_is_answered_with_nothing),
		DESK_TEST(configuration_is_written_while_all_rings_are_paused),
		DESK_TEST(configuration_that_cannot_be_written_is_refused),
		DESK_TEST(reset_of_the_owner_disables_all_rings),
		DESK_TEST(reset_of_the_device_stops_all_rings_and_reaches_the_device),
		DESK_TEST(backend_channel_must_be_a_socket_and_can_be_replaced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
