// SPDX-License-Identifier: Apache-2.0
//
// A file whose reads, writes and flushes a test answers itself: a file system (FUSE) of one file, without a cache for writes, so
// that each write and each flush is a message of its own. Only root can mount it.
#pragma once

#include <linux/fuse.h>
#include <stddef.h>
#include <stdint.h>

enum { FUSE_FILE_MOST_DATA = 128 * 1024 };

union fuse_message {
	struct fuse_in_header header;
	uint8_t bytes[FUSE_FILE_MOST_DATA + 4096];
};

struct fuse_file {
	int fd;
	uint64_t size;
	/* Answers, now or later, a FUSE_READ, FUSE_WRITE, FUSE_FSYNC or FUSE_FALLOCATE. */
	void (*serve)(struct fuse_file *file, const union fuse_message *message);
};

/* Mounts it on a file, in a mount namespace of the process's own that this makes. 0 or a negative errno. */
int fuse_file_mount(struct fuse_file *file, const char *path);
/* Waits for a message and sees to its answer. 0, or a negative errno: -ENODEV once it is unmounted. */
int fuse_file_serve(struct fuse_file *file);
/* error: 0 or an errno. The data are the kind of message's own. */
void fuse_file_answer(struct fuse_file *file, const union fuse_message *message, int error,
		      const void *data, size_t len);
/* What comes behind a message's header. */
const void *fuse_file_argument(const union fuse_message *message);
/* Of `len` bytes at `offset`, those that are in the file. */
uint32_t fuse_file_within(const struct fuse_file *file, uint64_t offset, uint64_t len);
/* Answers a read or write that moves bytes from or to `content`. */
void fuse_file_move(struct fuse_file *file, const union fuse_message *message, uint8_t *content);
