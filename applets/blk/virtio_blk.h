// SPDX-License-Identifier: Apache-2.0
// The block device as VIRTIO 1.3, 5.2 "Block Device" lays it out.
#pragma once

#include "core/endian.h"

enum { VIRTIO_ID_BLOCK = 2 }; // 5 "Device Types"

// 5.2.3 "Feature bits"
enum {
	VIRTIO_BLK_F_SEG_MAX = 2,
	VIRTIO_BLK_F_RO = 5,
	VIRTIO_BLK_F_BLK_SIZE = 6,
	VIRTIO_BLK_F_FLUSH = 9,
	VIRTIO_BLK_F_TOPOLOGY = 10,
	VIRTIO_BLK_F_CONFIG_WCE = 11,
	VIRTIO_BLK_F_MQ = 12,
	VIRTIO_BLK_F_DISCARD = 13,
	VIRTIO_BLK_F_WRITE_ZEROES = 14,
};

// 5.2.6 "Device Operation"
enum {
	VIRTIO_BLK_T_IN = 0,
	VIRTIO_BLK_T_OUT = 1,
	VIRTIO_BLK_T_FLUSH = 4,
	VIRTIO_BLK_T_GET_ID = 8,
	VIRTIO_BLK_T_DISCARD = 11,
	VIRTIO_BLK_T_WRITE_ZEROES = 13,
};
enum { VIRTIO_BLK_S_OK = 0, VIRTIO_BLK_S_IOERR = 1, VIRTIO_BLK_S_UNSUPP = 2 };
enum { VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP = 1 };
enum { VIRTIO_BLK_ID_BYTES = 20, VIRTIO_BLK_SECTOR_SIZE = 512, VIRTIO_BLK_SECTOR_SHIFT = 9 };

struct virtio_blk_req_header {
	le32 type;
	le32 reserved;
	le64 sector;
};

struct virtio_blk_discard_write_zeroes {
	le64 sector;
	le32 num_sectors;
	le32 flags;
};

// 5.2.4 "Device configuration layout"
struct virtio_blk_config {
	le64 capacity;
	le32 size_max;
	le32 seg_max;
	struct {
		le16 cylinders;
		u8 heads;
		u8 sectors;
	} geometry;
	le32 blk_size;
	struct {
		u8 physical_block_exp;
		u8 alignment_offset;
		le16 min_io_size;
		le32 opt_io_size;
	} topology;
	u8 writeback;
	u8 unused0;
	le16 num_queues;
	le32 max_discard_sectors;
	le32 max_discard_seg;
	le32 discard_sector_alignment;
	le32 max_write_zeroes_sectors;
	le32 max_write_zeroes_seg;
	u8 write_zeroes_may_unmap;
	u8 unused1[3];
};

static_assert(sizeof(struct virtio_blk_req_header) == 16, "VIRTIO 1.3, 5.2.6");
static_assert(sizeof(struct virtio_blk_discard_write_zeroes) == 16, "VIRTIO 1.3, 5.2.6");
static_assert(offsetof(struct virtio_blk_config, writeback) == 32, "VIRTIO 1.3, 5.2.4");
// The struct is padded to its alignment; the configuration space is not.
enum { VIRTIO_BLK_CONFIG_LEN = offsetof(struct virtio_blk_config, unused1) + 3 };
static_assert(VIRTIO_BLK_CONFIG_LEN == 60, "VIRTIO 1.3, 5.2.4");
