// SPDX-License-Identifier: Apache-2.0
// The blk applet: a disk (VIRTIO 1.3, 5.2 "Block Device"). Options, what the driver can set, and the operations.
#include "applets/blk/blk.h"

#include <linux/falloc.h>
#include <string.h>

#include "applets/applet.h"
#include "core/fence.h"
#include "core/log.h"
#include "core/sys.h"

struct blk_options {
	struct medium_options medium;
	const char *serial;
	unsigned cache, discard, on_enospc, engine;
	u64 block_size, num_queues, queue_size;
};

enum { CACHE_WRITEBACK, CACHE_WRITETHROUGH };
enum { DISCARD_UNMAP, DISCARD_IGNORE };
enum { ON_ENOSPC_REPORT, ON_ENOSPC_STOP };
enum { ENGINE_AUTO, ENGINE_URING, ENGINE_SYNC };

// clang-format off
static const struct option blk_option_table[] = {
	{.name = "path", .aliases = "blk-file,file", .letter = 'b', .type = OPTION_TEXT, .argument = "PATH",
	 .help = "file, block device, fd:N, memory:SIZE or null:SIZE",
	 .offset = offsetof(struct blk_options, medium.path)},
	{.name = "read-only", .letter = 'r', .type = OPTION_FLAG,
	 .help = "the guest cannot write",
	 .offset = offsetof(struct blk_options, medium.read_only)},
	{.name = "direct", .type = OPTION_FLAG,
	 .help = "bypass the host's page cache (O_DIRECT)",
	 .offset = offsetof(struct blk_options, medium.direct)},
	{.name = "raw", .type = OPTION_FLAG,
	 .help = "serve what looks like a qcow2 or other image as it is",
	 .offset = offsetof(struct blk_options, medium.raw)},
	{.name = "cache", .type = OPTION_CHOICE, .choices = "writeback|writethrough", .initial = "writeback",
	 .help = "when writes are durable",
	 .offset = offsetof(struct blk_options, cache)},
	{.name = "discard", .type = OPTION_CHOICE, .choices = "unmap|ignore", .initial = "unmap",
	 .help = "may the guest free space",
	 .offset = offsetof(struct blk_options, discard)},
	{.name = "on-enospc", .type = OPTION_CHOICE, .choices = "report|stop", .initial = "report",
	 .help = "host full: fail writes, or have them wait",
	 .offset = offsetof(struct blk_options, on_enospc)},
	{.name = "lock", .type = OPTION_CHOICE, .choices = "off|shared|exclusive|auto", .initial = "auto",
	 .help = "auto: one writer or many readers",
	 .offset = offsetof(struct blk_options, medium.lock)},
	{.name = "lock-handover", .type = OPTION_FLAG,
	 .help = "hold the lock only while rings run, to migrate",
	 .offset = offsetof(struct blk_options, medium.lock_handover)},
	{.name = "engine", .type = OPTION_CHOICE, .choices = "auto|uring|sync", .initial = "auto",
	 .help = "how the disk is read and written",
	 .offset = offsetof(struct blk_options, engine)},
	{.name = "block-size", .aliases = "logical-block-size", .type = OPTION_SIZE, .argument = "BYTES",
	 .min = 512, .max = 65536,
	 .help = "logical block the guest sees [medium's]",
	 .offset = offsetof(struct blk_options, block_size)},
	{.name = "serial", .type = OPTION_TEXT, .argument = "TEXT", .initial = "", .may_be_empty = true,
	 .help = "up to 20 bytes, /sys/block/vda/serial",
	 .offset = offsetof(struct blk_options, serial)},
	{.name = "num-queues", .type = OPTION_NUMBER, .argument = "N", .initial = "64", .min = 1,
	 .max = DEVICE_MAX_QUEUES,
	 .help = "most queues; crosvm, libkrun make them all",
	 .offset = offsetof(struct blk_options, num_queues)},
	{.name = "queue-size", .type = OPTION_NUMBER, .argument = "N", .initial = "1024", .min = 4,
	 .max = DEVICE_MAX_QUEUE_SIZE,
	 .help = "largest ring, a power of two",
	 .offset = offsetof(struct blk_options, queue_size)},
};
// clang-format on

static unsigned blk_queue_count(const struct device *device)
{
	return blk_of_const(device)->num_queues;
}

static unsigned blk_queue_size(const struct device *device)
{
	return blk_of_const(device)->queue_size;
}

// 5.2.6.2: without FLUSH, or with the cache off, a write is durable when it is answered.
static void decide_sync_writes(struct blk *blk)
{
	blk->sync_writes = !blk->write_cache || !(blk->features & BIT64(VIRTIO_BLK_F_FLUSH));
}

static void blk_negotiated(struct device *device, u64 features)
{
	struct blk *blk = blk_of(device);

	blk->features = features;
	decide_sync_writes(blk);
}

// 5.2.5 "Device Initialization": only the "writeback" field can be written. What was written into the cache
// before it is turned off is made durable.
static int blk_config_write(struct device *device, size_t offset, const u8 *data, size_t len)
{
	struct blk *blk = blk_of(device);
	bool write_cache = len > 0 && *data != 0;
	int error = 0;

	if (offset != offsetof(struct virtio_blk_config, writeback) || len != 1)
		return -EINVAL; // not logged: the guest may do so as often as it likes
	if (!write_cache && blk->medium.fd >= 0)
		error = blk_error_flush_now(blk);
	if (error)
		return error;
	blk->write_cache = write_cache;
	decide_sync_writes(blk);
	return 0;
}

// A front-end may show its guest a copy of our configuration from before the reset, so the cache is never turned on by one.
static void blk_reset(struct device *device)
{
	struct blk *blk = blk_of(device);

	blk->write_cache = blk->write_cache && blk->configured_write_cache;
	decide_sync_writes(blk);
}

// For migration: what the driver has set.
struct blk_state {
	u8 writeback;
};

static size_t blk_save(const struct device *device, u8 *state, size_t size)
{
	const struct blk_state saved = {.writeback = blk_of_const(device)->write_cache};

	assert(size >= sizeof(saved));
	memcpy(state, &saved, sizeof(saved));
	return sizeof(saved);
}

static int blk_load(struct device *device, const u8 *state, size_t len)
{
	struct blk *blk = blk_of(device);
	struct blk_state saved;

	if (len != sizeof(saved))
		return log_errno(-EINVAL, "the disk's state has %zu bytes, not %zu", len,
				 sizeof(saved));
	memcpy(&saved, state, sizeof(saved));
	if (saved.writeback > 1)
		return log_errno(-EINVAL, "the disk's state has writeback %u", saved.writeback);
	blk->write_cache = saved.writeback;
	decide_sync_writes(blk);
	return 0;
}

// The size may have changed; what else is known of the medium has not.
static void blk_refresh(struct device *device)
{
	struct blk *blk = blk_of(device);
	u64 len = blk->len;
	int error = blk->medium.fd >= 0 ? medium_measure(&blk->medium, blk->block_size, &len) : 0;

	if (error) {
		log_errno(error, "cannot find the end of the disk, which stays at %llu bytes",
			  (unsigned long long)len);
		return;
	}
	len = blk_whole_blocks(blk, len);
	log_info("disk %s %llu bytes", len == blk->len ? "is still" : "is now",
		 (unsigned long long)len);
	if (len == blk->len)
		return;
	blk->len = len;
	device_config_changed(device);
}

static int blk_activate(struct device *device)
{
	struct blk *blk = blk_of(device);
	int error = blk->lock_handover ? medium_lock(&blk->medium) : 0;

	if (error && !blk->lock_awaited)
		log_warning("waits for the lock of the disk: %s",
			    error == -EAGAIN ? "another process has it" : strerror(-error));
	if (!error && blk->lock_awaited)
		log_info("has the lock of the disk now");
	blk->lock_awaited = error != 0;
	return error;
}

static void blk_deactivate(struct device *device)
{
	struct blk *blk = blk_of(device);

	if (blk->lock_handover)
		medium_unlock(&blk->medium);
	blk->lock_awaited = false;
}

// All io_urings are there, and keep what is theirs.
static void blk_started(struct device *device)
{
	close_fd(&blk_of(device)->fence_fd);
}

static const struct device_ops blk_ops = {
	.type = VIRTIO_ID_BLOCK,
	.queue_count = blk_queue_count,
	.queue_size = blk_queue_size,
	.features = blk_features,
	.request_size = sizeof(struct blk_request),
	.started = blk_started,
	.negotiated = blk_negotiated,
	.config = blk_config,
	.config_write = blk_config_write,
	.reset = blk_reset,
	.save = blk_save,
	.load = blk_load,
	.refresh = blk_refresh,
	.activate = blk_activate,
	.deactivate = blk_deactivate,
	.worker_start = blk_worker_start,
	.worker_stop = blk_worker_stop,
	.process_queue = blk_process_queue,
	.queue_stop = blk_queue_stop,
};

static const struct syscall_rule blk_rule_table[] = {
	RULE_IF(ioctl, "discards, on a device that has no other way",
		ARGUMENT_INT_IS(0, RULE_DEVICE_FD), ARGUMENT_INT_IS(1, BLKDISCARD)),
	RULE_IF(preadv2, "reads", ARGUMENT_INT_IS(0, RULE_DEVICE_FD)),
	RULE_IF(fdatasync, "flushes", ARGUMENT_INT_IS(0, RULE_DEVICE_FD)),
	RULE_IF(pwritev2, "writes", ARGUMENT_INT_IS(0, RULE_DEVICE_FD)),
	RULE_IF(fallocate, "discards", ARGUMENT_INT_IS(0, RULE_DEVICE_FD),
		ARGUMENT_INT_IS(1, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE)),
	RULE_IF(fallocate, "writes zeroes", ARGUMENT_INT_IS(0, RULE_DEVICE_FD),
		ARGUMENT_INT_IS(1, FALLOC_FL_KEEP_SIZE | FALLOC_FL_ZERO_RANGE)),
	RULE_IF(io_uring_enter,
		"hands requests to its ring, which allows reads, writes, fsync and fallocate of the disk",
		ARGUMENT_INT_IS(0, RULE_OWN_FDS)),
};

// In front what few disks need; at the end what the ring takes, and before that what only a disk that can be written needs.
static const struct syscall_rule *blk_rules(const struct device *device, size_t *count)
{
	const struct blk *blk = device ? blk_of_const(device) : NULL;
	size_t first = blk && !(blk->discard && blk->medium.discards_by_ioctl);

	*count = ARRAY_SIZE(blk_rule_table) - first;
	if (blk && !blk->device.kernel_threads)
		*count = blk->read_only ? 2 : *count - 1;
	return blk_rule_table + first;
}

// What is in memory is moved at once, so a ring would only cost. Whether a ring can be had is seen where it is made: what root may
// here, a worker may not.
static void choose_engine(struct blk *blk, unsigned wanted)
{
	bool ring = wanted == ENGINE_URING || (wanted == ENGINE_AUTO && !blk->medium.in_memory);

	if (wanted == ENGINE_URING && blk->medium.fd < 0)
		log_warning("--engine uring has no effect on null:, which moves nothing");
	blk->engine = ring && blk->medium.fd >= 0 ? &blk_engine_uring : &blk_engine_sync;
	blk->engine_required = wanted == ENGINE_URING;
}

static int check_options(const struct blk_options *options)
{
	if (!options->medium.path)
		return log_errno(-EINVAL, "needs a disk: --path FILE, or --path memory:SIZE");
	if (!is_power_of_two(options->queue_size))
		return log_errno(-EINVAL, "--queue-size %llu is not a power of two",
				 (unsigned long long)options->queue_size);
	if (options->block_size != OPTION_UNSET && !is_power_of_two(options->block_size))
		return log_errno(-EINVAL, "--block-size %llu is not a power of two",
				 (unsigned long long)options->block_size);
	if (strlen(options->serial) > VIRTIO_BLK_ID_BYTES)
		return log_errno(-EINVAL, "--serial %s is longer than %d bytes", options->serial,
				 VIRTIO_BLK_ID_BYTES);
	return 0;
}

static int blk_check(const struct applet_arguments *arguments)
{
	const struct blk_options *options = arguments->values;

	return check_options(options) ?: medium_check(&options->medium);
}

static int set_up(struct blk *blk, const struct applet_arguments *arguments)
{
	const struct blk_options *options = arguments->values;
	u32 block_size = options->block_size == OPTION_UNSET ? 0 : (u32)options->block_size;
	int error = fence_pass(arguments->front_end, &blk->fence_fd);

	if (!error)
		error = medium_open(&blk->medium, &options->medium);
	if (error)
		return error;
	blk->read_only = blk->medium.read_only;
	error = blk_set_geometry(blk, block_size, options->discard == DISCARD_UNMAP);
	if (error)
		return error;
	choose_engine(blk, options->engine);
	blk->lock_handover = options->medium.lock_handover && blk->medium.fd >= 0;
	blk->device.main_fd = blk->medium.fd;
	blk->device.worker_fds = blk->engine->worker_fds + (blk->stop_when_full ? 1 : 0);
	return 0;
}

static unsigned blk_inherited_fds(const void *values, int *fds, unsigned most)
{
	const struct blk_options *options = values;

	assert(most > 0);
	*fds = options->medium.path ? medium_fd_number(options->medium.path) : -1;
	return *fds >= 0 ? 1 : 0;
}

static void blk_close(struct device *device)
{
	struct blk *blk = blk_of(device);

	medium_close(&blk->medium);
	close_fd(&blk->fence_fd);
	free(blk);
}

static int blk_open(const struct applet_arguments *arguments, struct device **device)
{
	const struct blk_options *options = arguments->values;
	struct blk *blk = calloc(1, sizeof(*blk));
	int error;

	if (!blk)
		return log_errno(-ENOMEM, "cannot make a disk");
	device_init(&blk->device, &blk_ops);
	blk->path = options->medium.path;
	blk->serial = options->serial;
	blk->num_queues = (unsigned)options->num_queues;
	blk->queue_size = (unsigned)options->queue_size;
	blk->stop_when_full = options->on_enospc == ON_ENOSPC_STOP;
	blk->configured_write_cache = options->cache == CACHE_WRITEBACK;
	blk->write_cache = blk->configured_write_cache;
	blk->medium.fd = -1;
	error = set_up(blk, arguments);
	if (error)
		blk_close(&blk->device);
	else
		*device = &blk->device;
	return error;
}

extern const struct applet blk_applet;
const struct applet blk_applet = {
	.name = "blk",
	.summary = "a disk, from a file, a block device or memory",
	.backend_type = "block",
	.capabilities = "\"read-only\", \"blk-file\"",
	.examples = "  vhost-multi blk --socket /run/disk.sock --path disk.img\n"
		    "  vhost-multi blk --socket /run/disk.sock --path /dev/vg/disk --direct\n"
		    "  vhost-multi blk --socket /run/try.sock --path memory:1G\n",
	.options = blk_option_table,
	.option_count = ARRAY_SIZE(blk_option_table),
	.values_size = sizeof(struct blk_options),
	.rules = blk_rules,
	.inherited_fds = blk_inherited_fds,
	.check = blk_check,
	.open = blk_open,
	.close = blk_close,
};
