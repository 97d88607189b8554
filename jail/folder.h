// SPDX-License-Identifier: Apache-2.0
// The folder of one VM, BASE/vhost-multi/ID, which holds its sockets.
#pragma once

#include <sys/types.h>

#include "core/base.h"

enum { FOLDER_PATH_LEN = 512 };

struct folder {
	int parent_fd; // BASE/vhost-multi
	int fd;	       // -1: there is none
	const char *id;
	char path[FOLDER_PATH_LEN]; // for messages
};

// Makes the folder, for root alone as yet, and locks it for as long as `fd` is open. What a jail of the same id has left, which was
// killed, is removed, but for files that root has written; one that runs is an error. `id` is kept by reference. 0 or -errno, logged.
must_check int folder_open(struct folder *folder, const char *base, const char *id);

// Gives the folder, with what is in it as it is, to these ids. 0 or -errno, logged.
must_check int folder_hand_over(const struct folder *folder, uid_t uid, gid_t gid);

// Removes the folder with its sockets, fifos and symlinks; if something else is in it, that is left and said.
void folder_remove(struct folder *folder);
