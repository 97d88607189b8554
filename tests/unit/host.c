// SPDX-License-Identifier: Apache-2.0
// The host that fails.
#include "tests/unit/host.h"

#include <endian.h>
#include <stdio.h>
#include <string.h>

#define SECTOR UINT64_C(512)

enum { NOT_SUPPORTED = 0x1000 /* a mode that fallocate does not have */ };

struct unit_host host;
struct unit_disk disk;
const char *disk_path;
struct vm_blk_slot slots[HOST_SLOTS];

static void turn_ended(struct deferred *deferred)
{
	(void)deferred;
	host.steps_this_turn = 0;
}

static int host_start(struct blk_worker *worker)
{
	if (worker->worker->index >= host.rings)
		return -ENOMEM;
	return host.real->start(worker);
}

static void host_stop(struct blk_worker *worker)
{
	host.real->stop(worker);
}

static void count_step(const struct blk_request *request)
{
	if (++host.steps_this_turn > host.most_steps_in_a_turn)
		host.most_steps_in_a_turn = host.steps_this_turn;
	event_loop_at_turn_end(&request->worker->worker->loop, &host.turn_end);
}

static int host_move(struct blk_request *request, const struct iovec *segments, unsigned count,
		     u64 offset)
{
	int error = __atomic_load_n(&host.write_error, __ATOMIC_RELAXED);

	if (request->type != VIRTIO_BLK_T_IN && error)
		return error;
	if (request->type != VIRTIO_BLK_T_IN && host.moves_nothing)
		return 0;
	if (request->step == BLK_ZERO) {
		host.zero_steps++;
		count_step(request);
	}
	return host.real->move(request, segments, count, offset);
}

static int host_flush(struct blk_request *request)
{
	host.flushes++;
	return host.flush_error ? host.flush_error : host.real->flush(request);
}

static int host_allocate(struct blk_request *request, int mode, u64 offset, u64 len)
{
	int error = __atomic_load_n(&host.write_error, __ATOMIC_RELAXED);

	if (error)
		return error;
	if (!host.cannot_zero)
		count_step(request);
	return host.real->allocate(request, host.cannot_zero ? mode | NOT_SUPPORTED : mode, offset,
				   len);
}

static void host_submit(struct blk_worker *worker)
{
	host.real->submit(worker);
}

static void host_wait(struct blk_worker *worker)
{
	host.real->wait(worker);
}

static const struct blk_engine host_engine = {
	.name = "host",
	.start = host_start,
	.stop = host_stop,
	.move = host_move,
	.flush = host_flush,
	.allocate = host_allocate,
	.submit = host_submit,
	.wait = host_wait,
};

int unit_host_sync(void **state)
{
	(void)state;
	memset(&host, 0, sizeof(host));
	host.real = &blk_engine_sync;
	host.rings = UINT32_MAX;
	deferred_init(&host.turn_end, turn_ended);
	return 0;
}

int unit_host_uring(void **state)
{
	unit_host_sync(state);
	host.real = &blk_engine_uring;
	return 0;
}

int unit_host_end(void **state)
{
	(void)state;
	unit_disk_close(&disk);
	return 0;
}

struct blk *unit_blk(void)
{
	return blk_of(disk.device);
}

void unit_host_serve(unsigned workers, const char *const *words)
{
	const struct vm_options options = {
		.memory_size = 16 << 20, .queue_size = 64, .queues = workers > 1 ? workers : 2};

	if (host.real == &blk_engine_uring && !unit_disk_has_uring())
		UNIT_SKIP("this host does not allow io_uring");
	assert_int_equal(unit_disk_try(&disk, words), 0);
	unit_blk()->engine = &host_engine;
	snprintf(disk.path, sizeof(disk.path), "%s", unit_path("socket"));
	disk.server.options = (struct server_options){.workers = workers};
	assert_int_equal(listener_open_path(&disk.server.listener, disk.path, FILE_ACCESS(0600)),
			 0);
	unit_server_start(&disk.server, disk.device);
	unit_disk_connect(&disk, &options);
}

int unit_write_sector(u64 sector)
{
	static const u8 bytes[512];

	return vm_disk_write(&disk.disk, sector, bytes, sizeof(bytes));
}

unsigned unit_count(const char *text, const char *part)
{
	unsigned found = 0;

	for (; (text = strstr(text, part)); text += strlen(part))
		found++;
	return found;
}

void unit_add_range(unsigned i, u32 type, u64 offset, u64 len)
{
	struct vm_blk_range *range;

	vm_blk_slot_init(&slots[i], &disk.vm.memory, 4096);
	range = (struct vm_blk_range *)(void *)slots[i].data;
	*range = (struct vm_blk_range){.sector = htole64(offset / SECTOR),
				       .sectors = htole32((u32)(len / SECTOR))};
	assert_true(vm_blk_add(&disk.vm.rings[0], &slots[i], type, 0, sizeof(*range)) >= 0);
}

void unit_add_zeroes(unsigned i, u64 offset, u64 len)
{
	unit_add_range(i, VM_BLK_T_WRITE_ZEROES, offset, len);
}

void unit_expect_answers(u8 status)
{
	struct vm_completion completion;

	for (unsigned done = 0; done < HOST_SLOTS; done++) {
		assert_int_equal(vm_ring_wait(&disk.vm.rings[0], 10000), 0);
		assert_int_equal(vm_ring_take(&disk.vm.rings[0], &completion), 1);
	}
	for (unsigned i = 0; i < HOST_SLOTS; i++)
		assert_int_equal(*slots[i].status, status);
}
