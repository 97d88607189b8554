// SPDX-License-Identifier: Apache-2.0
// Opening by path what others may have tampered with.
#pragma once

#include "core/base.h"

// As openat(2), but no symlink and no magic link of /proc is followed on the way (-ELOOP). fd or -errno, nothing logged.
must_check int path_open(int folder, const char *path, int flags);

// Opens the folder at `path` below `folder`, and makes what is missing of it. Each folder on the way must be root's and nobody else
// may replace what is in it; in the last one nobody else may write at all. fd or -errno, logged.
must_check int path_open_trusted(int folder, const char *path);

// Makes a folder, unless it is there, and opens it. fd or -errno, nothing logged.
must_check int path_make_folder(int folder, const char *name, unsigned mode);

// Writes `text` to an existing file. 0 or -errno, nothing logged.
must_check int path_write(int folder, const char *name, const char *text);
