// SPDX-License-Identifier: Apache-2.0
// The folder of one VM, BASE/vhost-multi/ID, which holds its sockets.
#pragma once

#include <sys/types.h>

#include "core/base.h"

struct folder {
	int parent_fd; // BASE/vhost-multi
	int fd;	       // -1: there is none
	const char *id;
};

// Makes the folder, for root alone as yet, and locks it for as long as `fd` is open. What a jail of the same id has left, which was
// killed, is removed; one that runs is an error. `id` is kept by reference. 0 or -errno, logged.
must_check int folder_open(struct folder *folder, const char *base, const char *id);

// Gives the folder and the sockets in it to these ids. 0 or -errno, logged.
must_check int folder_hand_over(const struct folder *folder, uid_t uid, gid_t gid);

// Removes the folder with its sockets and symlinks; if something else is in it, that is left and a warning logged.
void folder_remove(struct folder *folder);
