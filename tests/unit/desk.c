// SPDX-License-Identifier: Apache-2.0
// Plays both ends of a vhost-user connection.
#include "tests/unit/desk.h"

#include <string.h>
#include <sys/socket.h>

#include "core/device_setup.h"

enum { REGION_LEN = 1 << 20 };

static void open_memory(struct desk *desk)
{
	for (u64 i = 0; i < 2; i++)
		assert_true(vm_memory_add(&desk->vm, (i + 1) << 32, REGION_LEN, 0) >= 0);
	for (unsigned i = 0; i < DESK_RINGS; i++) {
		assert_int_equal(vm_ring_init(&desk->rings[i], &desk->vm, DESK_SIZE, true, 0), 0);
		echo_slot_init(&desk->slots[i], &desk->vm);
	}
}

void desk_open(struct desk *desk, enum echo_order order)
{
	int sockets[2];

	memset(desk, 0, sizeof(*desk));
	desk->fds = unit_open_fds();
	open_memory(desk);
	echo_init(&desk->echo, DESK_RINGS, order);
	for (unsigned i = 0; i < DESK_WORKERS; i++) {
		assert_int_equal(worker_start(&desk->workers[i], i, -1), 0);
		assert_int_equal(device_worker_start(&desk->echo.device, &desk->workers[i]), 0);
	}
	assert_int_equal(
		session_init(&desk->session, &desk->echo.device, desk->workers, DESK_WORKERS, 0),
		0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
	frontend_attach(&desk->frontend, sockets[0]);
	connection_open(&desk->connection, sockets[1]);
}

int desk_close(struct desk *desk)
{
	session_reset(&desk->session);
	connection_close(&desk->connection);
	session_fini(&desk->session);
	for (unsigned i = 0; i < DESK_WORKERS; i++) {
		device_worker_stop(&desk->echo.device, &desk->workers[i]);
		worker_stop(&desk->workers[i]);
	}
	frontend_close(&desk->frontend);
	for (unsigned i = 0; i < DESK_RINGS; i++)
		vm_ring_free(&desk->rings[i]);
	vm_memory_free(&desk->vm);
	return unit_open_fds() == desk->fds && desk->echo.wrong_thread == 0 ? 0 : -1;
}

int desk_send(struct desk *desk, u32 request, u32 flags, const void *payload, size_t len,
	      const int *fds, size_t fd_count)
{
	int received = 0;

	assert_int_equal(
		frontend_send(&desk->frontend, request, flags, payload, (u32)len, fds, fd_count),
		0);
	while (received == 0)
		received = connection_receive(&desk->connection);
	assert_int_equal(received, 1);
	return requests_handle(&desk->session, &desk->connection);
}

int desk_send_u64(struct desk *desk, u32 request, u32 flags, u64 payload)
{
	return desk_send(desk, request, flags, &payload, sizeof(payload), NULL, 0);
}

int desk_send_state(struct desk *desk, u32 request, u32 index, u32 num)
{
	const struct vu_vring_state state = {.index = index, .num = num};

	return desk_send(desk, request, VU_VERSION, &state, sizeof(state), NULL, 0);
}

void desk_expect_no_reply(struct desk *desk)
{
	u8 byte;

	assert_int_equal(recv(desk->frontend.fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK), -1);
	assert_int_equal(errno, EAGAIN);
}

void desk_expect(struct desk *desk, u32 request, void *payload, size_t len)
{
	struct frontend_message reply;

	assert_true(unit_is_readable(desk->frontend.fd));
	assert_int_equal(frontend_receive_reply(&desk->frontend, request, &reply), 0);
	assert_int_equal(reply.header.size, len);
	if (len > 0)
		memcpy(payload, &reply.payload, len);
	desk_expect_no_reply(desk);
}

void desk_expect_u64(struct desk *desk, u32 request, u64 value)
{
	u64 answer;

	desk_expect(desk, request, &answer, sizeof(answer));
	assert_true(answer == value);
}

void desk_accept_protocol_features(struct desk *desk)
{
	assert_int_equal(desk_send_u64(desk, VU_SET_PROTOCOL_FEATURES, VU_VERSION,
				       session_offered_protocol_features(&desk->session)),
			 0);
}

static int say_memory(struct desk *desk)
{
	struct vu_mem_table table = {.count = desk->vm.count};
	int fds[VM_MEMORY_REGIONS];

	for (unsigned i = 0; i < desk->vm.count; i++) {
		table.regions[i] = desk->vm.regions[i].wire;
		fds[i] = desk->vm.regions[i].fd;
	}
	return desk_send(desk, VU_SET_MEM_TABLE, VU_VERSION, &table,
			 offsetof(struct vu_mem_table, regions) +
				 desk->vm.count * sizeof(table.regions[0]),
			 fds, desk->vm.count);
}

static int say_addr(struct desk *desk, unsigned index)
{
	const struct vm_ring *ring = &desk->rings[index];
	const struct vu_vring_addr addr = {
		.index = index,
		.desc = vm_memory_user_addr(&desk->vm, ring->desc_addr),
		.used = vm_memory_user_addr(&desk->vm, ring->used_addr),
		.avail = vm_memory_user_addr(&desk->vm, ring->avail_addr),
	};

	return desk_send(desk, VU_SET_VRING_ADDR, VU_VERSION, &addr, sizeof(addr), NULL, 0);
}

static int say_fd(struct desk *desk, u32 request, u64 index, int fd)
{
	return desk_send(desk, request, VU_VERSION, &index, sizeof(index), &fd, 1);
}

int desk_say(struct desk *desk, enum desk_word word, unsigned ring)
{
	struct vm_ring *driver = &desk->rings[ring];

	switch (word) {
	case DESK_FEATURES:
		return desk_send_u64(desk, VU_SET_FEATURES, VU_VERSION, DESK_RING_FEATURES);
	case DESK_MEMORY:
		return say_memory(desk);
	case DESK_NUM:
		return desk_send_state(desk, VU_SET_VRING_NUM, ring, DESK_SIZE);
	case DESK_ADDR:
		return say_addr(desk, ring);
	case DESK_BASE:
		return desk_send_state(desk, VU_SET_VRING_BASE, ring, driver->used_idx);
	case DESK_KICK:
		return say_fd(desk, VU_SET_VRING_KICK, ring, driver->kick_fd);
	case DESK_CALL:
		return say_fd(desk, VU_SET_VRING_CALL, ring, driver->call_fd);
	case DESK_ERR:
		return say_fd(desk, VU_SET_VRING_ERR, ring, driver->err_fd);
	case DESK_ENABLE:
		return desk_send_state(desk, VU_SET_VRING_ENABLE, ring, 1);
	case DESK_WORDS:
		break;
	}
	return -EINVAL;
}

void desk_say_all(struct desk *desk, unsigned ring)
{
	for (unsigned word = 0; word < DESK_WORDS; word++)
		assert_int_equal(desk_say(desk, (enum desk_word)word, ring), 0);
}

bool desk_ring_works(struct desk *desk, unsigned ring)
{
	static u32 number;

	return echo_works(&desk->rings[ring], &desk->slots[ring], ++number);
}
