// SPDX-License-Identifier: Apache-2.0
// Where front-ends come from: a socket file that we listen on, an inherited socket, or a peer that we call.
// Control thread.
#pragma once

#include <sys/stat.h>
#include <time.h>

#include "core/file_access.h"

struct listener {
	int fd;		  // listening, or -1
	int connected_fd; // inherited and connected already; -1 once taken, or none
	const char *
		path; // where we listen, or the peer does; with an @ in front: an abstract name; NULL: inherited
	bool connects; // we call the peer at `path`
	dev_t device;  // which file we made, so that we remove no other
	ino_t inode;
	struct timespec made; // its mtime: a new file of the same number has another
	int keeper_fd;	      // a socket to the process that calls and removes for us; -1: we do
};

// Makes a socket file for whom `access` says, or an abstract socket, and listens, no earlier. A file that a dead process left is
// replaced, by one of those that start at the same time; one that is in use or no socket is left alone. `path` is kept by reference.
// 0 or -errno, the reason logged.
must_check int listener_open_path(struct listener *listener, const char *path,
				  const struct file_access *access);

// No other process starts in our working folder, as in a jail, whose launcher holds the lock on it.
void listener_own_working_folder(void);

// The part of listener_open_path that sees to what is there already.
must_check int listener_clear_path(const char *path);

// Takes over an inherited stream socket, which listens or is connected. 0 or -errno, the reason logged.
must_check int listener_open_fd(struct listener *listener, int fd);

// Where the inherited socket listens, in static memory; NULL if it does not, or has no path.
const char *listener_path_of_fd(int fd);

// We will call the peer that listens at `path`, kept by reference. 0 or -errno, the reason logged.
must_check int listener_open_client(struct listener *listener, const char *path);

// True if we made a file, which is to be removed.
bool listener_has_file(const struct listener *listener);

// The next front-end's connected socket, the caller's from here on. -EAGAIN: none yet, come back when `fd` is
// readable (or, if we call, in a while); -ENOTCONN: there will be no other; else -errno, logged.
must_check int listener_accept(struct listener *listener);

// Removes the socket file, if it is still ours, and closes.
void listener_close(struct listener *listener);

// Waits until the keeper, if there is one, is locked in and serves: 0, or -errno if it has ended instead.
must_check int listener_wait_keeper(const struct listener *listener);

// ---- for the keeper ----

// Does what the listener asked of its keeper by this command, and answers by the socket.
void listener_keeper_do(const struct listener *listener, int socket, u8 command);
// Before it is locked in: what it locks to remove the file later; -1: nothing. The caller's.
int listener_open_folder(const struct listener *listener);
// The other process has ended: removes the file that it has left, if nobody has put another in its place.
void listener_remove_left_file(const struct listener *listener, int folder);
