// SPDX-License-Identifier: Apache-2.0
//
// The file system's own messages, and what moves bytes.

#include "tests/frontend/fuse_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { INODE = 1 };

int fuse_file_mount(struct fuse_file *file, const char *path)
{
	char options[128];

	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return -errno;
	file->fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (file->fd < 0)
		return -errno;
	snprintf(options, sizeof(options), "fd=%d,rootmode=%o,user_id=0,group_id=0,allow_other",
		 file->fd, S_IFREG | 0600);
	return mount("test-file", path, "fuse", MS_NOSUID | MS_NODEV, options) ? -errno : 0;
}

void fuse_file_answer(struct fuse_file *file, const union fuse_message *message, int error,
		      const void *data, size_t len)
{
	struct fuse_out_header header = {.len = (uint32_t)(sizeof(header) + len),
					 .error = -error,
					 .unique = message->header.unique};
	const struct iovec parts[] = {{&header, sizeof(header)}, {(void *)(uintptr_t)data, len}};

	if (writev(file->fd, parts, 2) < 0 && errno != ENOENT) /* who has asked may be gone */
		perror("an answer to the file system");
}

const void *fuse_file_argument(const union fuse_message *message)
{
	return message->bytes + sizeof(message->header);
}

uint32_t fuse_file_within(const struct fuse_file *file, uint64_t offset, uint64_t len)
{
	uint64_t left = offset >= file->size ? 0 : file->size - offset;

	return (uint32_t)(len < left ? len : left);
}

void fuse_file_move(struct fuse_file *file, const union fuse_message *message, uint8_t *content)
{
	if (message->header.opcode == FUSE_READ) {
		const struct fuse_read_in *in = fuse_file_argument(message);

		fuse_file_answer(file, message, 0, content + in->offset,
				 fuse_file_within(file, in->offset, in->size));
	} else {
		const struct fuse_write_in *in = fuse_file_argument(message);
		struct fuse_write_out out = {.size = fuse_file_within(file, in->offset, in->size)};

		memcpy(content + in->offset, in + 1, out.size);
		fuse_file_answer(file, message, 0, &out, sizeof(out));
	}
}

static void init(struct fuse_file *file, const union fuse_message *message)
{
	const struct fuse_init_in *in = fuse_file_argument(message);
	const struct fuse_init_out out = {.major = FUSE_KERNEL_VERSION,
					  .minor = FUSE_KERNEL_MINOR_VERSION,
					  .max_readahead = in->max_readahead,
					  .flags = FUSE_ASYNC_READ | FUSE_ASYNC_DIO |
						   FUSE_BIG_WRITES,
					  .max_background = 64,
					  .congestion_threshold = 64,
					  .max_write = FUSE_FILE_MOST_DATA};

	fuse_file_answer(file, message, 0, &out, sizeof(out));
}

static void tell_attributes(struct fuse_file *file, const union fuse_message *message)
{
	const struct fuse_attr_out out = {.attr_valid = 3600,
					  .attr = {.ino = INODE,
						   .size = file->size,
						   .blocks = file->size / 512,
						   .mode = S_IFREG | 0600,
						   .nlink = 1,
						   .blksize = 4096}};

	fuse_file_answer(file, message, 0, &out, sizeof(out));
}

static void answer(struct fuse_file *file, const union fuse_message *message)
{
	const struct fuse_open_out opened = {.fh = 1};
	const struct fuse_statfs_out fs = {.st = {.bsize = 4096, .namelen = 255}};

	switch (message->header.opcode) {
	case FUSE_INIT:
		init(file, message);
		return;
	case FUSE_GETATTR:
	case FUSE_SETATTR:
		tell_attributes(file, message);
		return;
	case FUSE_OPEN:
		fuse_file_answer(file, message, 0, &opened, sizeof(opened));
		return;
	case FUSE_STATFS:
		fuse_file_answer(file, message, 0, &fs, sizeof(fs));
		return;
	case FUSE_READ:
	case FUSE_WRITE:
	case FUSE_FSYNC:
	case FUSE_FALLOCATE:
		file->serve(file, message);
		return;
	case FUSE_FLUSH: /* a file is closed */
	case FUSE_RELEASE:
		fuse_file_answer(file, message, 0, NULL, 0);
		return;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		return;
	default:
		fuse_file_answer(file, message, ENOSYS, NULL, 0);
	}
}

int fuse_file_serve(struct fuse_file *file)
{
	static union fuse_message message;

	if (read(file->fd, message.bytes, sizeof(message)) < 0)
		return -errno;
	answer(file, &message);
	return 0;
}
