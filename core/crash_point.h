// SPDX-License-Identifier: Apache-2.0
// Where a process may die with the most harm. In the build for crash tests each passage is counted, and the process dies at
// the one that the environment's VHOST_CRASH_AT says; in others nothing is left of it.
#pragma once

#ifdef CRASH_POINTS
void crash_point(void);
#else
static inline void crash_point(void)
{
}
#endif
