// SPDX-License-Identifier: Apache-2.0
// What all ring layouts have in common: memory, eventfds, turns, breaking, waking, and the order of answers.
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "core/crash_point.h"
#include "core/log.h"
#include "core/memory_fault.h"
#include "core/sys.h"
#include "core/vring_layout.h"

enum { INDIRECT_TABLE_MIN = 1024 }; // entries of an indirect table that are accepted in any ring

static void publish(struct deferred *deferred)
{
	vring_publish(container_of(deferred, struct vring, publish));
}

int vring_init(struct vring *vring, unsigned index, unsigned max_size, size_t request_size,
	       struct worker *worker, struct deferred *wake)
{
	int error;

	*vring = (struct vring){.index = index,
				.worker = worker,
				.wake = wake,
				.call_fd = -1,
				.err_fd = -1,
				.broken_fd = -1};
	deferred_init(&vring->publish, publish);
	vring->table_max = max_size > INDIRECT_TABLE_MIN ? max_size : INDIRECT_TABLE_MIN;
	vring->max_size = max_size;
	vring->table = sys_reserve(vring->table_max * sizeof(struct virtq_desc));
	vring->chain_descs = sys_reserve(max_size * sizeof(*vring->chain_descs));
	vring->order = sys_reserve(max_size * sizeof(*vring->order));
	error = vring->table && vring->chain_descs && vring->order ? 0 : -ENOMEM;
	if (!error)
		error = inflight_init(&vring->inflight, max_size);
	if (!error)
		error = chain_pool_init(&vring->pool, max_size, request_size);
	if (error)
		vring_fini(vring);
	return error;
}

void vring_fini(struct vring *vring)
{
	sys_release(vring->table, vring->table_max * sizeof(struct virtq_desc));
	sys_release(vring->chain_descs, vring->max_size * sizeof(*vring->chain_descs));
	sys_release(vring->order, vring->max_size * sizeof(*vring->order));
	vring->table = NULL;
	vring->chain_descs = NULL;
	vring->order = NULL;
	inflight_fini(&vring->inflight);
	chain_pool_fini(&vring->pool);
	close_fd(&vring->call_fd);
	close_fd(&vring->err_fd);
}

// ---- eventfds, breaking, waking ----

// The front-end may make its eventfd block although we have made it not to; then it is given up.
static void signal_front_end(int *fd)
{
	if (*fd >= 0 && !sys_event_signal(*fd))
		close_fd(fd);
}

void vring_signal_err(struct vring *vring)
{
	signal_front_end(&vring->err_fd);
}

void vring_break(struct vring *vring, const char *format, ...)
{
	char reason[128];
	va_list arguments;

	vring->state = VRING_BROKEN;
	if (vring->broken)
		return;
	vring->broken = true;
	va_start(arguments, format);
	vsnprintf(reason, sizeof(reason), format, arguments);
	va_end(arguments);
	// where guest memory has gone there is no reason but that, which is said once, when the front-end is given up
	if (!memory_fault_happened())
		log_error("ring %u broken: %s; it stays stopped until the driver resets the device",
			  vring->index, reason);
	vring_signal_err(vring);
	sys_event_signal(vring->broken_fd);
}

void vring_wake(struct vring *vring)
{
	event_loop_at_next_turn(&vring->worker->loop, vring->wake);
}

void vring_call(struct vring *vring)
{
	signal_front_end(&vring->call_fd);
}

void vring_signal_owed(struct vring *vring)
{
	if (vring->call_owed)
		vring_call(vring);
	vring->call_owed = false;
}

void vring_set_call_fd(struct vring *vring, int fd)
{
	close_fd(&vring->call_fd);
	vring->call_fd = fd;
	vring->call_owed = fd >= 0;
}

void vring_set_err_fd(struct vring *vring, int fd)
{
	close_fd(&vring->err_fd);
	vring->err_fd = fd;
}

// ---- what devices ask ----

void *vring_request(const struct vring *vring, const struct chain *chain)
{
	return chain_pool_request(&vring->pool, chain);
}

unsigned vring_index(const struct vring *vring)
{
	return vring->index;
}

struct worker *vring_worker(const struct vring *vring)
{
	return vring->worker;
}

bool vring_idle(const struct vring *vring)
{
	return vring->pool.in_flight == 0;
}

void vring_spend(struct vring *vring, u64 len)
{
	vring->turn_bytes += len;
}

// ---- taking chains ----

int vring_add_buffer(struct vring *vring, struct chain *chain, struct guest_addr addr, u32 len,
		     bool writable)
{
	int error = chain_add(&vring->pool, chain, vring->memory, &vring->memory_hint, addr, len,
			      writable);

	if (error == -EPROTO)
		vring_break(vring, "chain %u has a readable descriptor after a writable one",
			    chain->head);
	return error;
}

int vring_load_table(struct vring *vring, struct guest_addr addr, u32 len, bool nested,
		     bool chained, u32 *count)
{
	*count = len / (u32)sizeof(struct virtq_desc);
	if (!vring->indirect || nested || chained) {
		vring_break(vring, "indirect descriptor %s",
			    !vring->indirect ? "without VIRTIO_F_INDIRECT_DESC"
			    : nested	     ? "inside an indirect table"
					     : "with a next descriptor");
		return -EPROTO;
	}
	if (len == 0 || len % sizeof(struct virtq_desc) != 0 || *count > vring->table_max) {
		vring_break(vring, "indirect table of %u bytes", len);
		return -EPROTO;
	}
	return guest_memory_read(vring->memory, addr, vring->table, len);
}

static void note_order(struct vring *vring, struct chain *chain)
{
	chain->done = false;
	if (vring->in_order)
		vring->order[vring->order_next++ % vring->max_size] = chain->head;
}

struct chain *vring_taken(struct vring *vring, struct chain *chain, int error, bool *refused)
{
	if (unlikely(memory_fault_happened())) { // then it is not the driver who has made it
		vring_break(vring, "guest memory has gone");
		error = -EPROTO;
	}
	if (error == -EPROTO || error == -ENOBUFS) {
		chain_release(&vring->pool, chain);
		if (error == -ENOBUFS)
			vring->state = VRING_STARVED;
		return NULL;
	}
	chain_submit(&vring->pool, chain);
	note_order(vring, chain);
	*refused = error != 0;
	return chain;
}

// The chain cannot be translated, so no device can serve it: it goes back with nothing written.
static void refuse(struct vring *vring, struct chain *chain)
{
	if (vring->refused_chains++ == 0)
		log_warning("ring %u: chain %u is not in guest memory or too long: refused",
			    vring->index, chain->head);
	vring_push(vring, chain, 0);
}

// The driver goes on with what is done while we do the rest, if that takes long.
static void publish_if_late(struct vring *vring)
{
	u64 now, since;

	if (!deferred_is_queued(&vring->publish) ||
	    (!vring->turns_are_slow && vring->turn_chains % VRING_PUBLISH_CHAINS))
		return;
	now = sys_clock_ns();
	since = now - vring->publish_time;
	if (since < VRING_PUBLISH_NS)
		return;
	vring->turns_are_slow = since > (u64)VRING_PUBLISH_NS * VRING_PUBLISH_CHAINS;
	vring->publish_time = now;
	vring_publish(vring);
}

static bool may_take(struct vring *vring)
{
	if (unlikely(vring->broken))
		return false;
	if (unlikely(memory_fault_happened())) {
		vring_break(vring, "guest memory has gone");
		return false;
	}
	if (vring->turn_chains > 0 && vring->turn_bytes < VRING_TURN_BYTES)
		return true;
	vring->state = VRING_BUDGET;
	return false;
}

struct chain *vring_pop(struct vring *vring)
{
	bool refused = false;
	struct chain *chain;

	do {
		if (!may_take(vring))
			return NULL;
		publish_if_late(vring);
		vring->state = VRING_EMPTY;
		chain = vring->packed ? vring_packed_take(vring, &refused)
				      : vring_split_take(vring, &refused);
		if (!chain)
			return NULL;
		vring->turn_chains--;
		vring->turn_bytes += chain->readable.len + chain->writable.len;
		if (unlikely(refused))
			refuse(vring, chain);
	} while (unlikely(refused));
	vring->state = VRING_HELD;
	crash_point();
	return chain;
}

// ---- answering them ----

void vring_log_host(struct vring *vring, const void *host, u64 len)
{
	if (unlikely(vring->log_used))
		dirty_log_mark_host(vring->log, vring->memory, host, len, &vring->log_hint);
}

void vring_log_used(struct vring *vring, u64 offset, u64 len)
{
	if (unlikely(vring->log_used))
		dirty_log_mark(vring->log, vring->log_addr + offset, len);
}

// vhost-user.rst, "Migration": exactly what was written, from the first writable byte on, and the byte that the device took.
static void log_buffers(struct vring *vring, struct chain *chain, u64 written)
{
	unsigned count;
	const struct iovec *segment = chain_rewind_writable(chain, &count);

	for (; count > 0 && written > 0; count--, segment++) {
		size_t len = min_size(segment->iov_len, written);

		dirty_log_mark_host(vring->log, vring->memory, segment->iov_base, len,
				    &vring->log_hint);
		written -= len;
	}
	if (chain->last_byte)
		dirty_log_mark_host(vring->log, vring->memory, chain->last_byte, 1,
				    &vring->log_hint);
}

static void answer(struct vring *vring, struct chain *chain, u32 written)
{
	crash_point();
	if (unlikely(vring->log))
		log_buffers(vring, chain, written);
	if (vring->packed)
		vring_packed_answer(vring, chain, written);
	else
		vring_split_answer(vring, chain, written);
	chain_release(&vring->pool, chain);
}

// 2.7.9 and 2.8.8, "In-order use of descriptors": what is done waits until all that was taken before it is.
static void answer_in_order(struct vring *vring, struct chain *chain, u32 written)
{
	chain->done = true;
	chain->written = written;
	while (vring->order_first != vring->order_next) {
		u16 head = vring->order[vring->order_first % vring->max_size];
		struct chain *next = &vring->pool.chains[head];

		if (!next->done)
			return;
		vring->order_first++;
		answer(vring, next, next->written);
	}
}

void vring_push(struct vring *vring, struct chain *chain, u32 written)
{
	if (unlikely(vring->in_order))
		answer_in_order(vring, chain, written);
	else
		answer(vring, chain, written);
	event_loop_at_turn_end(&vring->worker->loop, &vring->publish);
	if (unlikely(vring->state == VRING_STARVED))
		vring_wake(vring);
}

// As signal_front_end, but the fd is the session's.
static void signal_log(struct vring *vring)
{
	if (vring->log->event_fd >= 0 && !vring->log_fd_dead)
		vring->log_fd_dead = !sys_event_signal(vring->log->event_fd);
}

void vring_publish(struct vring *vring)
{
	bool wanted = vring->packed ? vring_packed_show(vring) : vring_split_show(vring);

	if (unlikely(vring->log))
		signal_log(vring);
	if (wanted)
		vring_call(vring);
}

// ---- turns ----

static bool want_kick(struct vring *vring, bool wanted)
{
	return vring->packed ? vring_packed_want_kick(vring, wanted)
			     : vring_split_want_kick(vring, wanted);
}

void vring_begin_turn(struct vring *vring)
{
	vring->turn_chains = VRING_TURN_CHAINS;
	vring->turn_bytes = 0;
	vring->publish_time = sys_clock_ns();
	vring->state = VRING_HELD;
	want_kick(vring, false);
}

bool vring_end_turn(struct vring *vring)
{
	if (vring->broken || vring->state == VRING_HELD || vring->state == VRING_STARVED)
		return false;
	return vring->state == VRING_BUDGET || want_kick(vring, true);
}
