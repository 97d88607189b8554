// SPDX-License-Identifier: Apache-2.0
//
// A device's own state on its way through a pipe, as vhost-user has it under "Migrating back-end state".
//
// Functions return 0 or a negative errno; -EREMOTEIO means that the back-end refused a request or the state.
#pragma once

#include "tests/frontend/vm.h"

enum { VM_STATE_MAX = 1 << 20 };

struct vm_state {
	size_t len;
	uint8_t bytes[VM_STATE_MAX];
};

/* The device must be suspended, as after vm_stop(). */
int vm_state_save(struct vm *vm, struct vm_state *state);
int vm_state_load(struct vm *vm, const struct vm_state *state);

/* The whole of a file or pipe, and back. */
int vm_state_read(struct vm_state *state, int fd);
int vm_state_write(const struct vm_state *state, int fd);
