// SPDX-License-Identifier: Apache-2.0
//
// Moves a device's state.

#include "tests/frontend/state.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int vm_state_read(struct vm_state *state, int fd)
{
	ssize_t len = 1;

	state->len = 0;
	while (len > 0 && state->len < sizeof(state->bytes)) {
		len = read(fd, state->bytes + state->len, sizeof(state->bytes) - state->len);
		state->len += len > 0 ? (size_t)len : 0;
	}
	if (len < 0)
		return -errno;
	return len == 0 ? 0 : -EFBIG;
}

int vm_state_write(const struct vm_state *state, int fd)
{
	size_t done = 0;

	while (done < state->len) {
		ssize_t len = write(fd, state->bytes + done, state->len - done);

		if (len < 0)
			return -errno;
		done += (size_t)len;
	}
	return 0;
}

/* The back-end makes the end that it gets a nonblocking one; ours stays as it is. */
static int begin(struct vm *vm, uint32_t direction, int fd)
{
	uint64_t answer;
	int error = frontend_set_device_state_fd(&vm->frontend, direction, 0, fd, &answer);

	close(fd);
	if (error)
		return error;
	return answer == VU_TRANSFER_NO_FD ? 0 : -EREMOTEIO;
}

static int end(struct vm *vm)
{
	uint64_t answer;
	int error = frontend_check_device_state(&vm->frontend, &answer);

	if (error)
		return error;
	return answer == 0 ? 0 : -EREMOTEIO;
}

int vm_state_save(struct vm *vm, struct vm_state *state)
{
	int fds[2], error;

	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	error = begin(vm, VU_TRANSFER_SAVE, fds[1]);
	if (!error)
		error = vm_state_read(state, fds[0]);
	close(fds[0]);
	return error ? error : end(vm);
}

int vm_state_load(struct vm *vm, const struct vm_state *state)
{
	int fds[2], error;

	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	error = begin(vm, VU_TRANSFER_LOAD, fds[0]);
	if (!error)
		error = vm_state_write(state, fds[1]);
	close(fds[1]);
	return error ? error : end(vm);
}
