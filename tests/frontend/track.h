// SPDX-License-Identifier: Apache-2.0
//
// The steps by which a VMM shares the region of chains in flight and the dirty log, for vm.c. 0 or a negative errno.
#pragma once

#include "tests/frontend/vm.h"

/* The back-end's region, the first time; then the same one. */
int vm_share_inflight(struct vm *vm);
/* A log of all of the memory, if logging is wanted. */
int vm_share_log(struct vm *vm);
