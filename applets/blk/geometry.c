// SPDX-License-Identifier: Apache-2.0
// What the driver is told of the disk: features, sizes, and how much of what it may ask for at once.
#include <string.h>

#include "applets/blk/blk.h"
#include "core/log.h"

enum { MOST_SEGMENTS = 126 };

u64 blk_features(const struct device *device)
{
	const struct blk *blk = blk_of_const(device);
	u64 features = BIT64(VIRTIO_BLK_F_SEG_MAX) | BIT64(VIRTIO_BLK_F_BLK_SIZE) |
		       BIT64(VIRTIO_BLK_F_FLUSH) | BIT64(VIRTIO_BLK_F_TOPOLOGY) |
		       BIT64(VIRTIO_BLK_F_CONFIG_WCE);

	if (blk->num_queues > 1)
		features |= BIT64(VIRTIO_BLK_F_MQ);
	if (blk->read_only)
		return features | BIT64(VIRTIO_BLK_F_RO);
	features |= BIT64(VIRTIO_BLK_F_WRITE_ZEROES);
	return blk->discard ? features | BIT64(VIRTIO_BLK_F_DISCARD) : features;
}

// 5.2.4 "Device configuration layout"
size_t blk_config(const struct device *device, u8 *space)
{
	const struct blk *blk = blk_of_const(device);
	const struct medium *medium = &blk->medium;
	u32 physical =
		medium->physical_block > blk->block_size ? medium->physical_block : blk->block_size;
	// 5.2.5.2 "Device Requirements: Device Initialization"
	bool wce_without_flush = blk->features & BIT64(VIRTIO_BLK_F_CONFIG_WCE) &&
				 !(blk->features & BIT64(VIRTIO_BLK_F_FLUSH));
	struct virtio_blk_config config = {
		.capacity = le64_of(blk->len >> VIRTIO_BLK_SECTOR_SHIFT),
		.seg_max = le32_of(min_uint(MOST_SEGMENTS, blk->queue_size - 2)),
		.blk_size = le32_of(blk->block_size),
		.topology.physical_block_exp = (u8)__builtin_ctz(physical / blk->block_size),
		.topology.min_io_size = le16_of((u16)(physical / blk->block_size)),
		.topology.opt_io_size = le32_of(medium->optimal_io / blk->block_size),
		.writeback = blk->write_cache && !wce_without_flush,
		.num_queues = le16_of((u16)blk->num_queues),
		.write_zeroes_may_unmap = blk->discard,
	};

	if (blk->discard) {
		config.max_discard_sectors = le32_of(blk->max_discard_sectors);
		config.max_discard_seg = le32_of(BLK_MAX_RANGES);
		config.discard_sector_alignment = le32_of(blk->discard_alignment_sectors);
	}
	if (!blk->read_only) {
		config.max_write_zeroes_sectors =
			le32_of(blk->max_zeroes_len >> VIRTIO_BLK_SECTOR_SHIFT);
		config.max_write_zeroes_seg = le32_of(blk->max_zeroes_segments);
	}
	memcpy(space, &config, VIRTIO_BLK_CONFIG_LEN);
	return VIRTIO_BLK_CONFIG_LEN;
}

u64 blk_whole_blocks(const struct blk *blk, u64 len)
{
	u64 rest = len % blk->block_size;

	if (rest > 0)
		log_warning("the last %llu of the disk's %llu bytes are not served: they are no "
			    "whole block of %u",
			    (unsigned long long)rest, (unsigned long long)len, blk->block_size);
	else if (len == 0)
		log_warning("the disk is empty");
	return len - rest;
}

static int set_block_size(struct blk *blk, u32 wanted)
{
	blk->block_size = wanted ? wanted : blk->medium.logical_block;
	if (!is_power_of_two(blk->block_size))
		return log_errno(-EINVAL, "--block-size %u is not a power of two", blk->block_size);
	if (blk->medium.direct && blk->block_size < blk->medium.logical_block)
		return log_errno(-EINVAL,
				 "--block-size %u: with --direct this disk needs at least %u",
				 blk->block_size, blk->medium.logical_block);
	return 0;
}

// A discard that a worker has to wait for is not as long as it could be.
static void set_discard_limits(struct blk *blk)
{
	const struct medium *medium = &blk->medium;
	u32 alignment = medium->discard_granularity > blk->block_size ? medium->discard_granularity
								      : blk->block_size;
	u32 most = medium->discards_by_ioctl ? BLK_WAITED_DISCARD_LEN >> VIRTIO_BLK_SECTOR_SHIFT
					     : UINT32_MAX;

	blk->discard_alignment_sectors = alignment >> VIRTIO_BLK_SECTOR_SHIFT;
	most = most > blk->discard_alignment_sectors ? most : blk->discard_alignment_sectors;
	blk->max_discard_sectors = most - most % blk->discard_alignment_sectors;
}

int blk_set_geometry(struct blk *blk, u32 block_size, bool discard)
{
	const struct medium *medium = &blk->medium;
	bool cheap = medium->can_zero || medium->fd < 0;
	int error = set_block_size(blk, block_size);

	if (error)
		return error;
	blk->len = blk_whole_blocks(blk, medium->len);
	blk->discard = discard && !blk->read_only && medium->can_discard;
	set_discard_limits(blk);
	blk->max_zeroes_len = cheap ? BLK_ALLOCATED_ZEROES_LEN : BLK_WRITTEN_ZEROES_LEN;
	blk->max_zeroes_segments = cheap ? BLK_MAX_RANGES : 1;
	return 0;
}
