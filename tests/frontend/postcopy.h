// SPDX-License-Identifier: Apache-2.0
//
// The front-end's side of postcopy: memory is shared before it has come, and brought page by page as the back-end waits for it.
// 0 or a negative errno.
#pragma once

#include "tests/frontend/vm.h"

/* POSTCOPY_ADVISE and POSTCOPY_LISTEN: memory is shared later, none of it missing so far. Sets vm->userfault_fd. */
int vm_listen(struct vm *vm);
/* For vm.c: SET_MEM_TABLE, or ADD_MEM_REG for each region; where they are mapped, to vm->bases_there; and the word. */
int vm_share_later(struct vm *vm);
int vm_postcopy_end(struct vm *vm);

/* Takes pages away from the memory: [guest_addr, guest_addr + len), both multiples of 4096. */
int vm_memory_punch(const struct vm *vm, uint64_t guest_addr, uint64_t len);
/* Waits until the back-end waits for a page; its guest address. */
int vm_wait_for_fault(const struct vm *vm, int timeout_ms, uint64_t *guest_addr);
/* The page is there: the back-end goes on. */
int vm_wake(const struct vm *vm, uint64_t guest_addr);
