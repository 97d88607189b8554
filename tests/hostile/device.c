// SPDX-License-Identifier: Apache-2.0
//
// O: the device as a whole - its status, and its state on the way from or to another process.

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include "tests/hostile/hostile.h"

enum { HEADER_LEN = 16, STATE_LEN = HEADER_LEN + 1, MOST_STATE = 64 * 1024 };

static uint64_t status_of(struct frontend *frontend)
{
	uint64_t status = UINT64_MAX;

	expect(frontend_get_status(frontend, &status) == 0, "GET_STATUS has no answer");
	return status;
}

static void expect_status_is(struct frontend *frontend, uint64_t wanted)
{
	uint64_t status = status_of(frontend);

	expect(status == wanted, "the status is %#jx, not %#jx", (uintmax_t)status,
	       (uintmax_t)wanted);
}

static void refuse_early_status(struct target *target)
{
	const uint64_t ok = VM_STATUS_FEATURES_OK, unknown = VU_BIT(63), driver = VM_STATUS_DRIVER;
	const uint64_t features = VU_BIT(VM_F_VERSION_1);
	struct frontend frontend;

	expect(frontend_connect(&frontend, target->socket, SOON_MS) == 0, "cannot connect");
	frontend.timeout_ms = SOON_MS;
	expect(frontend_set_protocol_features(&frontend, VU_BIT(VU_PROTOCOL_F_REPLY_ACK) |
								 VU_BIT(VU_PROTOCOL_F_STATUS)) == 0,
	       "SET_PROTOCOL_FEATURES is refused");
	/* never any features, features that were refused, good ones, then bad ones again */
	expect_accepted(&frontend, MESSAGE(VU_SET_STATUS, &driver, 8));
	expect_refused(target, &frontend, MESSAGE(VU_SET_STATUS, &ok, 8));
	expect_status_is(&frontend, driver);
	expect_refused(target, &frontend, MESSAGE(VU_SET_FEATURES, &unknown, 8));
	expect_refused(target, &frontend, MESSAGE(VU_SET_STATUS, &ok, 8));
	expect_accepted(&frontend, MESSAGE(VU_SET_FEATURES, &features, 8));
	expect_accepted(&frontend, MESSAGE(VU_SET_STATUS, &ok, 8));
	expect_status_is(&frontend, ok);
	expect_refused(target, &frontend, MESSAGE(VU_SET_FEATURES, &unknown, 8));
	expect_status_is(&frontend, 0);
	frontend_close(&frontend);
}

static void o17(struct target *target)
{
	const uint64_t too_much[] = {0x100, UINT32_MAX, UINT64_MAX, VU_BIT(63)};
	const uint64_t running = VM_STATUS_ACKNOWLEDGE | VM_STATUS_DRIVER | VM_STATUS_DRIVER_OK |
				 VM_STATUS_FEATURES_OK;
	const uint64_t needs_reset = VM_STATUS_DEVICE_NEEDS_RESET, none = 0;
	struct guest guest;
	struct pollfd err = {.events = POLLIN};

	for (size_t i = 0; i < ARRAY_SIZE(too_much); i++)
		expect_refused_or_closed(target, MESSAGE(VU_SET_STATUS, &too_much[i], 8));
	refuse_early_status(target);
	guest_start(&guest, target, NULL);
	err.fd = guest.vm.rings[0].err_fd;
	expect_status_is(&guest.vm.frontend, running);
	/* what is the device's to say is not the front-end's */
	expect_accepted(&guest.vm.frontend, MESSAGE(VU_SET_STATUS, &needs_reset, 8));
	expect_status_is(&guest.vm.frontend, 0);
	expect_io(&guest, 0);
	raw_index(&guest.vm.rings[0], (uint16_t)(guest.vm.rings[0].avail->idx + RING_SIZE + 1));
	expect(poll(&err, 1, SOON_MS) == 1, "the ring is not broken");
	expect_status_is(&guest.vm.frontend, needs_reset);
	expect_io(&guest, 1);
	expect_accepted(&guest.vm.frontend, MESSAGE(VU_SET_STATUS, &none, 8));
	expect_status_is(&guest.vm.frontend, 0);
	guest_close(&guest);
}

/* ---- the state ---- */

static uint64_t begin(struct frontend *frontend, uint32_t direction, uint32_t phase, int fd)
{
	uint64_t answer = 0;
	int error = frontend_set_device_state_fd(frontend, direction, phase, fd, &answer);

	expect(error == 0, "SET_DEVICE_STATE_FD is not answered: %s", strerror(-error));
	expect(answer & VU_TRANSFER_NO_FD, "an fd is promised");
	return answer & 0xff;
}

static bool state_is_good(struct frontend *frontend)
{
	uint64_t answer;

	expect(frontend_check_device_state(frontend, &answer) == 0,
	       "CHECK_DEVICE_STATE is not answered");
	return answer == 0;
}

/* Refused, with the fd closed, and the connection goes on. */
static void refuse_fd(struct target *target, struct frontend *frontend, int fd)
{
	unsigned fds = target_fds(target);

	for (uint32_t direction = 0; direction <= 1; direction++)
		expect(begin(frontend, direction, 0, fd) != 0, "an odd fd is accepted");
	expect(!state_is_good(frontend), "what never began is good");
	expect(target_fds(target) == fds, "an odd fd is kept");
	close(fd);
}

static void refuse_wrong_way_round(struct target *target, struct frontend *frontend)
{
	int fds[2];

	expect(pipe2(fds, O_CLOEXEC) == 0, "pipe");
	expect(begin(frontend, VU_TRANSFER_SAVE, 0, fds[0]) != 0 &&
		       begin(frontend, VU_TRANSFER_LOAD, 0, fds[1]) != 0,
	       "the wrong end of a pipe is accepted");
	for (uint32_t odd = 1; odd; odd <<= 1)
		expect(begin(frontend, VU_TRANSFER_LOAD, odd, fds[0]) != 0 &&
			       (odd == 1 || begin(frontend, odd, 0, fds[0]) != 0),
		       "direction or phase %u is accepted", odd);
	expect_answers(frontend);
	close(fds[0]);
	close(fds[1]);
	expect(target_fds(target) > 0, "the back-end has ended");
}

static void refuse_while_running(struct target *target)
{
	struct guest guest;
	int fds[2];

	guest_start(&guest, target, NULL);
	expect(pipe2(fds, O_CLOEXEC) == 0, "pipe");
	expect(begin(&guest.vm.frontend, VU_TRANSFER_LOAD, 0, fds[0]) != 0 &&
		       begin(&guest.vm.frontend, VU_TRANSFER_SAVE, 0, fds[1]) != 0,
	       "a transfer begins while a ring runs");
	expect_io(&guest, 0);
	guest_close(&guest);
	close(fds[0]);
	close(fds[1]);
}

/* Whoever shares the pipe has it block again: the read and the write that wait for ever are ended. */
static void block_again(struct target *target, struct frontend *frontend, uint32_t direction)
{
	static const uint8_t filling[4096];
	int fds[2], own;

	expect(pipe2(fds, O_CLOEXEC) == 0, "pipe");
	own = direction == VU_TRANSFER_LOAD ? fds[0] : fds[1];
	fcntl(fds[1], F_SETFL, O_NONBLOCK);
	while (direction == VU_TRANSFER_SAVE && write(fds[1], filling, sizeof(filling)) > 0)
		;
	expect(begin(frontend, direction, 0, own) == 0, "a pipe is refused");
	fcntl(own, F_SETFL, 0);
	expect(!state_is_good(frontend), "a transfer that waits for ever is good");
	close(fds[0]);
	close(fds[1]);
	expect(target_fds(target) > 0, "the back-end has ended");
}

static void o23(struct target *target)
{
	const struct vu_transfer load = {.direction = VU_TRANSFER_LOAD};
	struct frontend frontend;
	unsigned fds;

	meet(target, &frontend, EVERYTHING);
	fds = target_fds(target);
	expect(!state_is_good(&frontend), "a check without a transfer is good");
	refuse_fd(target, &frontend, eventfd(0, EFD_CLOEXEC));
	refuse_fd(target, &frontend, open("/dev/zero", O_RDWR | O_CLOEXEC));
	refuse_fd(target, &frontend, open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	refuse_fd(target, &frontend, open("/proc/self/exe", O_PATH | O_CLOEXEC));
	refuse_wrong_way_round(target, &frontend);
	block_again(target, &frontend, VU_TRANSFER_LOAD);
	block_again(target, &frontend, VU_TRANSFER_SAVE);
	expect(target_fds(target) == fds, "%u fds, before it %u", target_fds(target), fds);
	frontend_close(&frontend);
	expect_refused_or_closed(target, MESSAGE(VU_SET_DEVICE_STATE_FD, &load, sizeof(load)));
	refuse_while_running(target);
}

/* ---- a forged state ---- */

static const uint8_t good_state[STATE_LEN] = {'V', 'M', 'D', 'S', 1, 0, 2, 0, QUEUES, 0, 0, 0, 1};

static uint8_t writeback(struct frontend *frontend)
{
	uint8_t value = 0xff;

	expect(frontend_get_config(frontend, offsetof(struct vm_blk_config, writeback), 1, 0,
				   &value) == 0,
	       "GET_CONFIG has no answer");
	return value;
}

/* Begins to load these bytes; our end of the socket, which is not yet closed. */
static int send_state(struct frontend *frontend, const uint8_t *bytes, size_t len)
{
	int fds[2];

	expect(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0, "socketpair");
	expect(begin(frontend, VU_TRANSFER_LOAD, 0, fds[1]) == 0, "a socket is refused");
	close(fds[1]);
	/* it may have been given up already */
	send(fds[0], bytes, len, MSG_NOSIGNAL);
	return fds[0];
}

static bool state_is_taken(struct frontend *frontend, const uint8_t *bytes, size_t len)
{
	close(send_state(frontend, bytes, len));
	return state_is_good(frontend);
}

static void refuse_forged(struct frontend *frontend)
{
	/* where, and what is not to be there */
	static const uint8_t bad[][2] = {
		{0, 0},	 {3, 's'}, {4, 0},   {4, 2},	{5, 1},	 {6, 0},    {6, 3},
		{7, 1},	 {8, 0},   {8, 255}, {9, 1},	{11, 1}, {11, 128}, {12, 0},
		{12, 2}, {13, 1},  {15, 1},  {15, 255}, {16, 2}, {16, 255},
	};
	uint8_t state[MOST_STATE + 1] = {0};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		memcpy(state, good_state, STATE_LEN);
		state[bad[i][0]] = bad[i][1];
		expect(!state_is_taken(frontend, state, STATE_LEN), "byte %u as %#x is taken",
		       bad[i][0], bad[i][1]);
	}
	memcpy(state, good_state, STATE_LEN);
	for (size_t len = 0; len < STATE_LEN; len++)
		expect(!state_is_taken(frontend, state, len), "%zu bytes are taken", len);
	for (size_t len = STATE_LEN + 1; len < sizeof(state); len = len * 2)
		expect(!state_is_taken(frontend, state, len), "%zu bytes are taken", len);
	expect(!state_is_taken(frontend, state, sizeof(state)), "a state without end is taken");
}

/* One that a check has found unfinished, and one during which a ring starts, are given up: their end comes too late. */
static void finish_late(struct target *target)
{
	struct guest guest;
	int fd;

	guest_start(&guest, target, NULL);
	expect(vm_stop(&guest.vm) == 0, "the rings do not stop");
	fd = send_state(&guest.vm.frontend, good_state, STATE_LEN);
	expect(!state_is_good(&guest.vm.frontend), "a state that goes on is good");
	close(fd);
	expect(!state_is_good(&guest.vm.frontend), "a state that went on too long is good");
	fd = send_state(&guest.vm.frontend, good_state, STATE_LEN);
	expect(vm_resume(&guest.vm) == 0, "the rings do not start");
	expect_io(&guest, 0);
	close(fd);
	expect(!state_is_good(&guest.vm.frontend), "a state is good while rings run");
	expect(writeback(&guest.vm.frontend) == 1, "a state is applied while rings run");
	expect_io(&guest, 1);
	guest_close(&guest);
}

static void o24(struct target *target)
{
	uint8_t cached[STATE_LEN];
	struct frontend frontend;
	unsigned fds;
	int last = -1;

	meet(target, &frontend, EVERYTHING);
	fds = target_fds(target);
	refuse_forged(&frontend);
	expect(writeback(&frontend) == 1, "a forged state has changed the disk");
	/* each takes the place of the one before */
	for (int i = 0; i < 200; i++) {
		if (last >= 0)
			close(last);
		last = send_state(&frontend, good_state, STATE_LEN / 2);
		expect(target_fds(target) == fds + 1, "%u fds, before it %u", target_fds(target),
		       fds);
	}
	close(last);
	expect(state_is_taken(&frontend, good_state, STATE_LEN), "a good state is refused");
	expect(writeback(&frontend) == 0, "a good state changes nothing");
	memcpy(cached, good_state, STATE_LEN);
	cached[HEADER_LEN] = 1;
	expect(state_is_taken(&frontend, cached, STATE_LEN) && writeback(&frontend) == 1,
	       "another good state changes nothing");
	last = send_state(&frontend, good_state, STATE_LEN - 1); /* left behind */
	frontend_close(&frontend);
	finish_late(target);
	close(last);
}

const struct input device_inputs[] = {
	{.id = "O17",
	 .description = "a status of more than a byte, or FEATURES_OK without accepted features",
	 .run = o17},
	{.id = "O23",
	 .description =
		 "a transfer of the state with an odd fd, direction or phase, or while a ring runs",
	 .run = o23},
	{.id = "O24",
	 .description = "a state that is forged, cut off, too long, or never comes to its end",
	 .run = o24},
	{0},
};
