// SPDX-License-Identifier: Apache-2.0
// What ps and pgrep show of a process that was forked from ours, which would pass for ours otherwise.
#pragma once

#include "core/base.h"

// Answers a copy of main's arguments to use instead of them, for as long as the process lives, so that their place can take a name.
// NULL: no memory. First thing in a process.
must_check char **process_name_take_place(int count, char **arguments);

// In the new process, of which `role` is one word: "vhost-multi ROLE of PID", and ROLE alone where there is no room.
void process_name_set(const char *role, int parent);
