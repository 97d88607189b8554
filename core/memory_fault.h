// SPDX-License-Identifier: Apache-2.0
// Guest memory that goes away under us: a front-end may truncate the file, or the host run out of pages. The kernel says
// so by SIGBUS at the access; the page is replaced by one of our own, so that the access goes on, and the session is given up.
#pragma once

#include "core/guest_memory.h"

// From now on an access to these regions does not end the process; event_fd is signalled instead. There is one such memory in
// a process. Control thread, before any other exists. 0 or -errno, logged.
must_check int memory_fault_catch(const struct guest_memory *memory, int event_fd);

// The same for other maps, one in each slot, for as long as they exist. Control thread.
enum { MEMORY_FAULT_LOG, MEMORY_FAULT_INFLIGHT, MEMORY_FAULT_OTHER_MAPS };
void memory_fault_watch(unsigned slot, const struct shared_map *map);

// As if all of the guest's memory had gone, for good. Control thread.
void memory_fault_take_all(void);

// Back to how it was before.
void memory_fault_release(void);

// True from the first such access until memory_fault_clear. Who has read guest memory and then is told false has read what the
// guest has written. Any thread.
bool memory_fault_happened(void);
void memory_fault_clear(void);

// The fd that the replacing pages come from, for the filters; -1 before memory_fault_catch.
int memory_fault_fd(void);
