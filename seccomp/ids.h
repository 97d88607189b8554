// SPDX-License-Identifier: Apache-2.0
// Users and groups, as options name them.
#pragma once

#include <sys/types.h>

#include "core/base.h"

// A name, or a decimal number. *gid: the user's own group; of a number, the same number. `option` is for the message:
// 0, or -EINVAL, logged.
must_check int ids_find_user(const char *option, const char *text, uid_t *uid, gid_t *gid);
must_check int ids_find_group(const char *option, const char *text, gid_t *gid);
