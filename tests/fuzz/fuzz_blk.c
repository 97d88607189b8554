// SPDX-License-Identifier: Apache-2.0
// The blk applet's ring, as a hostile driver has it: a disk in memory that can be written, one that cannot, one that keeps
// nothing.
#include <fcntl.h>

#include "applets/blk/virtio_blk.h"
#include "tests/fuzz/applet.h"
#include "tests/fuzz/rings.h"

extern const struct applet blk_applet;

enum { DISKS = 3, DISK_LEN = 64 * 1024 };
static struct fuzz_rings disks[DISKS];
static struct fuzz_rings *disk;

static void open_disks(void)
{
	fuzz_rings_open(&disks[0], fuzz_applet_open(&blk_applet, "--path", "memory:64K",
						    "--num-queues", "1", (char *)NULL));
	fuzz_rings_open(&disks[1],
			fuzz_applet_open(&blk_applet, "--path", "memory:64K", "--num-queues", "1",
					 "--read-only", "--cache", "writethrough", (char *)NULL));
	fuzz_rings_open(&disks[2],
			fuzz_applet_open(&blk_applet, "--path", "null:1M", "--num-queues", "2",
					 "--block-size", "4096", (char *)NULL));
}

// What an input before this one has written.
static void clean_disk(int fd)
{
	int error =
		fd < 0 ? 0 : fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, DISK_LEN);

	assert(error == 0);
}

// A request's header, more often one with a meaning than not.
static void write_header(struct fuzz_input *input)
{
	u64 addr = fuzz_addr(input);
	u8 type = fuzz_u8(input);
	u8 sector = fuzz_u8(input);
	const struct virtio_blk_req_header header = {.type = le32_of(type),
						     .sector = le64_of(sector)};

	fuzz_write_anywhere(disk, addr, &header, sizeof(header));
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct fuzz_input input = {.next = data, .left = size};

	if (!disks[0].device)
		open_disks();
	disk = &disks[fuzz_u8(&input) % DISKS];
	clean_disk(disk->device->main_fd);
	fuzz_rings_play(disk, &input, write_header);
	return 0;
}
