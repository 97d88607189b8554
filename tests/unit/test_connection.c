// SPDX-License-Identifier: Apache-2.0
// Tests of core/connection.c: messages out of a byte stream, whatever pieces it comes in.
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "core/connection.h"
#include "core/log.h"
#include "tests/frontend/frontend.h"

static struct connection connection;
static struct frontend frontend;
static int event_fd;
static unsigned fds_before;

static int setup(void **state)
{
	int sockets[2];

	(void)state;
	fds_before = unit_open_fds();
	event_fd = eventfd(0, EFD_CLOEXEC);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets))
		return -1;
	frontend_attach(&frontend, sockets[0]);
	connection_open(&connection, sockets[1]);
	return 0;
}

// No fd that ever came is left open.
static int teardown(void **state)
{
	(void)state;
	connection_close(&connection);
	frontend_close(&frontend);
	close(event_fd);
	return unit_open_fds() == fds_before ? 0 : -1;
}

struct packet {
	struct vu_header header;
	u8 payload[1048];
};

// A request with `size` bytes of payload that count up from 1.
static struct packet packet_of(u32 request, u32 flags, u32 size)
{
	struct packet packet = {.header = {.request = request, .flags = flags, .size = size}};

	for (size_t i = 0; i < sizeof(packet.payload); i++)
		packet.payload[i] = (u8)(i + 1);
	return packet;
}

static size_t packet_len(const struct packet *packet)
{
	return sizeof(packet->header) + packet->header.size;
}

static void send_bytes(const void *bytes, size_t len, const int *fds, size_t fd_count)
{
	assert_int_equal(frontend_send_bytes(&frontend, bytes, len, fds, fd_count), 0);
}

static void send_packet(const struct packet *packet, const int *fds, size_t fd_count)
{
	send_bytes(packet, packet_len(packet), fds, fd_count);
}

// Receives until there is a message or an error.
static int receive(void)
{
	int result = 0;

	for (unsigned i = 0; i < 3 && result == 0; i++)
		result = connection_receive(&connection);
	return result;
}

static void expect_packet(const struct packet *packet, unsigned fd_count)
{
	const struct message *message = &connection.message;

	assert_memory_equal(&message->header, &packet->header, sizeof(packet->header));
	assert_memory_equal(&message->payload, packet->payload, packet->header.size);
	assert_int_equal(message->fd_count, fd_count);
}

TEST(nothing_is_received_of_a_silent_front_end)
{
	assert_int_equal(connection_receive(&connection), 0);
	assert_int_equal(connection_receive(&connection), 0);
}

TEST(message_is_received_whole)
{
	struct packet packet = packet_of(VU_SET_FEATURES, VU_VERSION, 8);

	send_packet(&packet, NULL, 0);
	assert_int_equal(receive(), 1);
	expect_packet(&packet, 0);
	assert_int_equal(connection_receive(&connection), 0);
}

TEST(message_comes_together_byte_by_byte)
{
	struct packet packet = packet_of(VU_SET_MEM_TABLE, VU_VERSION | VU_NEED_REPLY, 72);
	size_t len = packet_len(&packet);

	for (size_t i = 0; i < len; i++) {
		send_bytes((u8 *)&packet + i, 1, &event_fd, i == 0);
		assert_int_equal(connection_receive(&connection), i + 1 == len);
	}
	expect_packet(&packet, 1);
	message_close_fds(&connection.message);
}

TEST(message_comes_together_from_any_two_pieces)
{
	struct packet packet = packet_of(VU_SET_VRING_ADDR, VU_VERSION, 40);
	size_t len = packet_len(&packet);

	for (size_t first = 1; first < len; first++) {
		send_bytes(&packet, first, NULL, 0);
		assert_int_equal(receive(), 0);
		send_bytes((u8 *)&packet + first, len - first, NULL, 0);
		assert_int_equal(receive(), 1);
		expect_packet(&packet, 0);
	}
}

TEST(messages_sent_at_once_are_received_one_by_one_with_their_own_fds)
{
	struct packet first = packet_of(VU_SET_OWNER, VU_VERSION, 0);
	struct packet second = packet_of(VU_SET_VRING_KICK, VU_VERSION, 8);
	struct packet third = packet_of(VU_SET_VRING_NUM, VU_VERSION, 8);

	send_packet(&first, NULL, 0);
	send_packet(&second, &event_fd, 1);
	send_packet(&third, NULL, 0);
	assert_int_equal(receive(), 1);
	expect_packet(&first, 0);
	assert_int_equal(receive(), 1);
	expect_packet(&second, 1);
	message_close_fds(&connection.message);
	assert_int_equal(receive(), 1);
	expect_packet(&third, 0);
}

TEST(largest_payload_is_received)
{
	struct packet packet =
		packet_of(VU_SET_MEM_TABLE, VU_VERSION, sizeof(union vhost_user_payload));

	send_packet(&packet, NULL, 0);
	assert_int_equal(receive(), 1);
	expect_packet(&packet, 0);
}

TEST(payload_that_is_not_sent_is_zero_and_not_the_last_one)
{
	struct packet packet = packet_of(VU_SET_MEM_TABLE, VU_VERSION, 1000);
	const u8 zeroes[sizeof(union vhost_user_payload)] = {0};

	send_packet(&packet, NULL, 0);
	assert_int_equal(receive(), 1);
	packet.header.size = 0;
	send_packet(&packet, NULL, 0);
	assert_int_equal(receive(), 1);
	assert_memory_equal(&connection.message.payload, zeroes, sizeof(zeroes));
}

// Such a header ends the connection, and the fds that came with it are closed with it.
static void expect_bad_header(u32 flags, u32 size)
{
	const struct vu_header header = {.request = VU_GET_FEATURES, .flags = flags, .size = size};

	send_bytes(&header, sizeof(header), &event_fd, 1);
	assert_int_equal(receive(), -EPROTO);
	assert_int_equal(teardown(NULL), 0);
	assert_int_equal(setup(NULL), 0);
}

TEST(header_that_is_no_request_of_version_one_is_not_trusted)
{
	for (u32 flags = 0; flags < 32; flags++)
		if (flags != VU_VERSION && flags != (VU_VERSION | VU_NEED_REPLY))
			expect_bad_header(flags, 0);
	expect_bad_header(VU_VERSION | 0x80000000, 0);
}

TEST(payload_longer_than_any_request_is_not_trusted)
{
	expect_bad_header(VU_VERSION, sizeof(union vhost_user_payload) + 1);
	expect_bad_header(VU_VERSION, 0x7fffffff);
	expect_bad_header(VU_VERSION, UINT32_MAX);
}

TEST(front_end_that_goes_is_told_from_one_that_is_silent)
{
	frontend_close(&frontend);
	assert_int_equal(receive(), -ENOTCONN);
}

TEST(front_end_may_go_in_the_middle_of_a_header_or_payload)
{
	struct packet packet = packet_of(VU_SET_FEATURES, VU_VERSION, 8);

	for (size_t len = 1; len < packet_len(&packet); len += 5) {
		send_bytes(&packet, len, &event_fd, 1);
		frontend_close(&frontend);
		assert_int_equal(receive(), -ENOTCONN);
		assert_int_equal(teardown(NULL), 0);
		assert_int_equal(setup(NULL), 0);
	}
}

TEST(front_end_that_is_gone_before_it_read_its_reply_is_gone_all_the_same)
{
	assert_int_equal(connection_reply(&connection, VU_GET_FEATURES, &(u64){1}, 8, -1), 0);
	frontend_close(&frontend); // the kernel says ECONNRESET now
	assert_int_equal(receive(), -ENOTCONN);
}

TEST(fds_can_be_taken_out_of_a_message_once)
{
	struct packet packet = packet_of(VU_SET_MEM_TABLE, VU_VERSION, 72);
	const int fds[3] = {event_fd, event_fd, event_fd};
	int taken;

	send_packet(&packet, fds, 3);
	assert_int_equal(receive(), 1);
	taken = message_take_fd(&connection.message, 1);
	assert_int_equal(eventfd_write(taken, 1), 0);
	assert_true(unit_is_readable(event_fd));
	assert_int_equal(fcntl(taken, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(message_take_fd(&connection.message, 1), -1);
	assert_int_equal(message_take_fd(&connection.message, 3), -1);
	message_close_fds(&connection.message);
	assert_int_equal(connection.message.fd_count, 0);
	assert_int_equal(fcntl(taken, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC); // still open
	close(taken);
}

TEST(as_many_fds_as_the_kernel_passes_are_received)
{
	struct packet packet = packet_of(VU_SET_MEM_TABLE, VU_VERSION, 72);
	int fds[MESSAGE_MAX_FDS];

	for (unsigned i = 0; i < MESSAGE_MAX_FDS; i++)
		fds[i] = event_fd;
	send_packet(&packet, fds, MESSAGE_MAX_FDS);
	assert_int_equal(receive(), 1);
	assert_int_equal(connection.message.fd_count, MESSAGE_MAX_FDS);
	message_close_fds(&connection.message);
}

TEST(fds_in_the_middle_of_a_message_are_not_trusted)
{
	struct packet packet = packet_of(VU_SET_VRING_KICK, VU_VERSION, 8);

	for (size_t first = 1; first < packet_len(&packet); first += 5) {
		send_bytes(&packet, first, NULL, 0);
		assert_int_equal(receive(), 0);
		send_bytes((u8 *)&packet + first, packet_len(&packet) - first, &event_fd, 1);
		assert_int_equal(receive(), -EPROTO);
		assert_int_equal(teardown(NULL), 0);
		assert_int_equal(setup(NULL), 0);
	}
}

// Those of both pieces are closed, also if they are more than one message can have.
TEST(fds_with_each_piece_of_a_header_are_not_trusted)
{
	static const size_t counts[][2] = {{1, 1}, {2, 3}, {MESSAGE_MAX_FDS, MESSAGE_MAX_FDS}};
	struct packet packet = packet_of(VU_SET_MEM_TABLE, VU_VERSION, 72);
	int fds[MESSAGE_MAX_FDS];

	for (unsigned i = 0; i < MESSAGE_MAX_FDS; i++)
		fds[i] = event_fd;
	for (unsigned i = 0; i < ARRAY_SIZE(counts); i++)
		for (size_t first = 1; first < sizeof(packet.header); first += 5) {
			send_bytes(&packet, first, fds, counts[i][0]);
			assert_int_equal(receive(), 0);
			assert_int_equal(connection.message.fd_count, counts[i][0]);
			send_bytes((u8 *)&packet + first, packet_len(&packet) - first, fds,
				   counts[i][1]);
			assert_int_equal(receive(), -EPROTO);
			assert_int_equal(teardown(NULL), 0);
			assert_int_equal(setup(NULL), 0);
			for (unsigned j = 0; j < MESSAGE_MAX_FDS; j++)
				fds[j] = event_fd;
		}
}

TEST(fds_that_were_lost_for_lack_of_room_end_the_connection)
{
	struct packet packet = packet_of(VU_SET_MEM_TABLE, VU_VERSION, 72);
	const int fds[8] = {event_fd, event_fd, event_fd, event_fd,
			    event_fd, event_fd, event_fd, event_fd};
	struct rlimit limit, tight;
	int lowest_free = dup(event_fd);

	close(lowest_free);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	tight = (struct rlimit){.rlim_cur = (rlim_t)lowest_free + 3, .rlim_max = limit.rlim_max};
	send_packet(&packet, fds, 8);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
	assert_int_equal(receive(), -EPROTO);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_in_range(connection.message.fd_count, 1, 3);
}

TEST(reply_names_its_request_and_is_whole)
{
	struct frontend_message reply;
	u64 payload = 0x1122334455667788;

	assert_int_equal(
		connection_reply(&connection, VU_GET_FEATURES, &payload, sizeof(payload), -1), 0);
	assert_int_equal(connection_reply(&connection, VU_GET_CONFIG, NULL, 0, -1), 0);
	assert_int_equal(frontend_receive_reply(&frontend, VU_GET_FEATURES, &reply), 0);
	assert_int_equal(reply.header.size, 8);
	assert_true(reply.payload.u64 == payload);
	assert_int_equal(frontend_receive_reply(&frontend, VU_GET_CONFIG, &reply), 0);
	assert_int_equal(reply.header.size, 0);
}

TEST(front_end_that_reads_no_replies_is_given_up)
{
	const u8 payload[256] = {0};
	int result = 0, size = 1;

	setsockopt(connection.fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	for (unsigned i = 0; i < 10000 && result == 0; i++)
		result = connection_reply(&connection, VU_GET_CONFIG, payload, sizeof(payload), -1);
	assert_int_equal(result, -EAGAIN);
}

TEST(reply_to_nobody_is_no_error_of_ours)
{
	frontend_close(&frontend);
	assert_int_equal(connection_reply(&connection, VU_GET_FEATURES, &(u64){1}, 8, -1),
			 -ENOTCONN);
}

TEST(notification_is_a_request_without_payload_and_is_given_up_silently)
{
	struct frontend_message request;
	int result = 0;

	connection_notify(connection.fd, 2);
	assert_int_equal(frontend_receive(&frontend, &request), 0);
	assert_int_equal(request.header.request, 2);
	assert_int_equal(request.header.flags, VU_VERSION);
	assert_int_equal(request.header.size, 0);
	while (result == 0)
		result = connection_reply(&connection, VU_GET_CONFIG, request.payload.bytes, 256,
					  -1);
	connection_notify(connection.fd, 2); // full
	frontend_close(&frontend);
	connection_notify(connection.fd, 2); // gone
	assert_int_equal(receive(), -ENOTCONN);
}

TEST(messages_are_traced_as_they_come_and_go)
{
	struct packet packet = packet_of(VU_SET_OWNER, VU_VERSION, 0);
	const char *text;

	log_init("unit", LOG_LEVEL_TRACE);
	unit_capture(STDERR_FILENO);
	send_packet(&packet, &event_fd, 1);
	assert_int_equal(receive(), 1);
	assert_int_equal(connection_reply(&connection, VU_GET_FEATURES, &(u64){1}, 8, event_fd), 0);
	connection_notify(connection.fd, 2);
	text = unit_captured();
	log_init("unit", LOG_LEVEL_INFO);
	assert_non_null(strstr(text, "trace: <- SET_OWNER #3, fd "));
	assert_non_null(strstr(text, "trace: -> GET_FEATURES #1 reply, 8 bytes: 0x1, fd "));
	assert_non_null(strstr(text, "trace: -> BACKEND_CONFIG_CHANGE #2\n"));
}

TEST(closed_connection_is_not_open)
{
	assert_true(connection_is_open(&connection));
	connection_close(&connection);
	assert_false(connection_is_open(&connection));
}

#define CONNECTION_TEST(name) RUN_WITH(setup, name, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CONNECTION_TEST(nothing_is_received_of_a_silent_front_end),
		CONNECTION_TEST(message_is_received_whole),
		CONNECTION_TEST(message_comes_together_byte_by_byte),
		CONNECTION_TEST(message_comes_together_from_any_two_pieces),
		CONNECTION_TEST(messages_sent_at_once_are_received_one_by_one_with_their_own_fds),
		CONNECTION_TEST(largest_payload_is_received),
		CONNECTION_TEST(payload_that_is_not_sent_is_zero_and_not_the_last_one),
		CONNECTION_TEST(header_that_is_no_request_of_version_one_is_not_trusted),
		CONNECTION_TEST(payload_longer_than_any_request_is_not_trusted),
		CONNECTION_TEST(front_end_that_goes_is_told_from_one_that_is_silent),
		CONNECTION_TEST(front_end_may_go_in_the_middle_of_a_header_or_payload),
		CONNECTION_TEST(
			front_end_that_is_gone_before_it_read_its_reply_is_gone_all_the_same),
		CONNECTION_TEST(fds_can_be_taken_out_of_a_message_once),
		CONNECTION_TEST(as_many_fds_as_the_kernel_passes_are_received),
		CONNECTION_TEST(fds_in_the_middle_of_a_message_are_not_trusted),
		CONNECTION_TEST(fds_with_each_piece_of_a_header_are_not_trusted),
		CONNECTION_TEST(fds_that_were_lost_for_lack_of_room_end_the_connection),
		CONNECTION_TEST(reply_names_its_request_and_is_whole),
		CONNECTION_TEST(front_end_that_reads_no_replies_is_given_up),
		CONNECTION_TEST(reply_to_nobody_is_no_error_of_ours),
		CONNECTION_TEST(notification_is_a_request_without_payload_and_is_given_up_silently),
		CONNECTION_TEST(messages_are_traced_as_they_come_and_go),
		CONNECTION_TEST(closed_connection_is_not_open),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
