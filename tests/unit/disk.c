// SPDX-License-Identifier: Apache-2.0
// Opens, serves and uses a disk.
#include "tests/unit/disk.h"

#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <string.h>

#include "applets/common.h"

enum { CONFIG_LEN = 60 };

int unit_disk_try(struct unit_disk *disk, const char *const *words)
{
	struct applet_arguments arguments = {.socket = NULL};
	struct option_table table;
	int count = 0, next = 0;

	memset(disk, 0, sizeof(*disk));
	disk->applet = applet_find("blk");
	disk->values = calloc(1, disk->applet->values_size);
	table = (struct option_table){.options = disk->applet->options,
				      .count = disk->applet->option_count,
				      .values = disk->values};
	while (words[count])
		count++;
	options_set_defaults(&table, 1);
	arguments.values = disk->values;
	assert_int_equal(options_parse(&table, 1, (char *const *)words, count, &next), 0);
	return disk->applet->check(&arguments) ?: disk->applet->open(&arguments, &disk->device);
}

void unit_disk_connect(struct unit_disk *disk, const struct vm_options *options)
{
	const struct vm_options small = {.memory_size = 16 << 20};
	int error = vm_start(&disk->vm, disk->path, options ? options : &small);

	if (error)
		fail_msg("%s failed: %d", vm_step_name(disk->vm.step), error);
	vm_disk_init(&disk->disk, &disk->vm, 0);
}

void unit_disk_open(struct unit_disk *disk, const char *const *words,
		    const struct vm_options *options)
{
	assert_int_equal(unit_disk_try(disk, words), 0);
	snprintf(disk->path, sizeof(disk->path), "%s",
		 unit_server_listen(&disk->server, disk->device));
	unit_disk_connect(disk, options);
}

bool unit_disk_has_uring(void)
{
	struct io_uring ring;
	int error = io_uring_queue_init(1, &ring, 0);

	if (!error)
		io_uring_queue_exit(&ring);
	return !error;
}

void unit_disk_close(struct unit_disk *disk)
{
	if (disk->path[0]) {
		vm_close(&disk->vm);
		assert_int_equal(unit_server_stop(&disk->server), 0);
	}
	if (disk->device)
		disk->applet->close(disk->device);
	free(disk->values);
	memset(disk, 0, sizeof(*disk));
}

struct vm_blk_config unit_disk_config(struct unit_disk *disk)
{
	struct vm_blk_config config = {0};
	u8 space[DEVICE_MAX_CONFIG] = {0};

	if (disk->path[0])
		assert_int_equal(frontend_get_config(&disk->vm.frontend, 0, CONFIG_LEN, 1, space),
				 0);
	else
		assert_int_equal(disk->device->ops->config(disk->device, space), CONFIG_LEN);
	memcpy(&config, space, CONFIG_LEN);
	return config;
}

int64_t unit_disk_chain(struct unit_disk *disk, const struct vm_buffer *buffers, unsigned count)
{
	struct vm_ring *ring = disk->disk.ring;
	struct vm_completion completion;
	unsigned direct = count > 1 && count <= ring->indirect_len ? 0 : count;
	int result = vm_ring_add_mixed(ring, buffers, count, direct, NULL);

	if (result < 0)
		return result;
	vm_ring_kick(ring);
	result = vm_ring_wait(ring, disk->vm.frontend.timeout_ms);
	if (result < 0)
		return result;
	result = vm_ring_take(ring, &completion);
	return result == 1 ? (int64_t)completion.len : -EPROTO;
}

static void expect_bytes(const char *path, u64 offset, u64 len, bool zeroes)
{
	u8 *bytes = malloc(len);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_true(bytes && fd >= 0);
	assert_int_equal(pread(fd, bytes, len, (off_t)offset), len);
	for (u64 i = 0; i < len; i++)
		if (bytes[i] != (zeroes ? 0 : unit_byte(offset + i)))
			fail_msg("%s: byte %llu is %#x", path, (unsigned long long)(offset + i),
				 bytes[i]);
	free(bytes);
	close(fd);
}

void unit_expect_pattern(const char *path, u64 offset, u64 len)
{
	expect_bytes(path, offset, len, false);
}

void unit_expect_zeroes(const char *path, u64 offset, u64 len)
{
	expect_bytes(path, offset, len, true);
}
