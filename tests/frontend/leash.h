// SPDX-License-Identifier: Apache-2.0
//
// No back-end outlives the program that has started it, even if that is killed. PR_SET_PDEATHSIG, which is meant for this, ends
// when a process changes its ids, as ours does; a pipe whose other end goes sends a signal all the same.
#pragma once

#include <stdbool.h>

/* Before the fork. One back-end at a time: an earlier one has ended. False with errno. */
bool leash_make(void);
/* After it, in our process. */
void leash_give(void);
/* In the new process, before it becomes another program: takes its standard input. */
void leash_take(void);
