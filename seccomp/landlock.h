// SPDX-License-Identifier: Apache-2.0
// Landlock without any rule: what the kernel can deny is denied.
#pragma once

#include "core/base.h"

// Denies every access to files, TCP ports, abstract sockets and other processes that this kernel's landlock knows, to
// this thread and those it makes. Needs no_new_privs. 0 or -errno (-ENOSYS, -EOPNOTSUPP: the kernel has none).
must_check int landlock_deny_all(void);
