// SPDX-License-Identifier: Apache-2.0
// What all ring layouts have in common: memory, eventfds, breaking, waking.
#include <stdarg.h>
#include <stdio.h>

#include "core/log.h"
#include "core/sys.h"
#include "core/vring_setup.h"

enum { INDIRECT_TABLE_MIN = 1024 }; // entries of an indirect table that are accepted in any ring

static void publish(struct deferred *deferred)
{
	vring_publish(container_of(deferred, struct vring, publish));
}

int vring_init(struct vring *vring, unsigned index, unsigned max_size, size_t request_size,
	       struct worker *worker, struct deferred *wake)
{
	int error;

	*vring = (struct vring){
		.index = index, .worker = worker, .wake = wake, .call_fd = -1, .err_fd = -1};
	deferred_init(&vring->publish, publish);
	vring->table_max = max_size > INDIRECT_TABLE_MIN ? max_size : INDIRECT_TABLE_MIN;
	vring->table = sys_reserve(vring->table_max * sizeof(*vring->table));
	if (!vring->table)
		return -ENOMEM;
	error = chain_pool_init(&vring->pool, max_size, request_size);
	if (error)
		vring_fini(vring);
	return error;
}

void vring_fini(struct vring *vring)
{
	sys_release(vring->table, vring->table_max * sizeof(*vring->table));
	vring->table = NULL;
	chain_pool_fini(&vring->pool);
	close_fd(&vring->call_fd);
	close_fd(&vring->err_fd);
}

// The front-end may make its eventfd block although we have made it not to; then it is given up.
static void signal_front_end(int *fd)
{
	if (*fd >= 0 && !sys_event_signal(*fd))
		close_fd(fd);
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
	log_error("ring %u broken: %s; it stays stopped until the driver resets the device",
		  vring->index, reason);
	signal_front_end(&vring->err_fd);
}

void vring_wake(struct vring *vring)
{
	event_loop_at_next_turn(&vring->worker->loop, vring->wake);
}

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

void vring_call(struct vring *vring)
{
	signal_front_end(&vring->call_fd);
}

void vring_set_call_fd(struct vring *vring, int fd)
{
	close_fd(&vring->call_fd);
	vring->call_fd = fd;
	vring_call(
		vring); // for an answer that the one before, or a process before us, did not signal
}

void vring_set_err_fd(struct vring *vring, int fd)
{
	close_fd(&vring->err_fd);
	vring->err_fd = fd;
}
