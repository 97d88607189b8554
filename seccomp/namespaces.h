// SPDX-License-Identifier: Apache-2.0
// Namespaces of our own and an empty root. Control thread, before any other exists.
#pragma once

#include "core/base.h"

// Own mount, net, ipc, uts and cgroup namespaces; in a user namespace of our own if we may not otherwise. netns_fd: a network
// namespace to join instead of a new one; -1: none. 0 or -errno, nothing logged.
must_check int namespaces_enter(int netns_fd);

// Whether the fd is of a network namespace.
must_check bool namespaces_is_network(int fd);

// Makes an empty read-only file system our root and lets go of the old one, with all that is mounted there; where the kernel
// cannot let go of it (an initramfs), it stays covered for good. Leaves a chroot first. 0 or -errno; -EPERM unless
// namespaces_enter has succeeded.
must_check int namespaces_empty_root(void);

// What to do about the error that one of these has just answered, in words for a log line.
const char *namespaces_advice(int error);
