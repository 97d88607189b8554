// SPDX-License-Identifier: Apache-2.0
// The device that unit tests use.
#include "tests/unit/echo.h"

#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

enum { ANSWER_MS = 5000 };

// The device's memory for a chain that is held.
struct echo_request {
	struct list node;
	struct vring *vring;
	struct chain *chain;
};

static struct echo *echo_of(const struct device *device)
{
	return container_of(device, struct echo, device);
}

static void count(u64 *counter)
{
	__atomic_add_fetch(counter, 1, __ATOMIC_RELEASE);
}

static void expect_worker(struct echo *echo, unsigned index)
{
	if (!pthread_equal(pthread_self(), echo->threads[index]))
		count(&echo->wrong_thread);
}

static void answer(struct vring *vring, struct chain *chain)
{
	struct echo *echo = ((struct echo_worker *)vring_worker(vring)->device_data)->echo;
	u8 bytes[512];
	size_t len, written = 0;

	while ((len = chain_read(chain, bytes, min_size(sizeof(bytes), chain_readable_len(chain)))))
		written += chain_write(chain, bytes, len);
	vring_push(vring, chain, (u32)written);
	count(&echo->served);
}

// Answers what is held of one ring, or of all.
static void answer_held(struct echo_worker *worker, const struct vring *vring)
{
	struct list *node = worker->held.previous;

	while (node != &worker->held) {
		struct echo_request *request = container_of(node, struct echo_request, node);

		node = node->previous;
		if (vring && request->vring != vring)
			continue;
		list_remove(&request->node);
		answer(request->vring, request->chain);
	}
}

static void hold(struct echo_worker *worker, struct vring *vring, struct chain *chain)
{
	struct echo_request *request = vring_request(vring, chain);

	*request = (struct echo_request){.vring = vring, .chain = chain};
	list_append(&worker->held, &request->node);
	count(&worker->echo->taken);
}

static void process_queue(struct device *device, struct vring *vring)
{
	struct echo *echo = echo_of(device);
	struct echo_worker *worker = vring_worker(vring)->device_data;
	struct chain *chain;

	expect_worker(echo, vring_worker(vring)->index);
	while ((chain = vring_pop(vring)))
		if (echo->order == ECHO_AT_ONCE)
			answer(vring, chain);
		else
			hold(worker, vring, chain);
	if (echo->order == ECHO_BACKWARDS)
		answer_held(worker, vring);
}

static void released(struct watch *watch, u32 events)
{
	struct echo_worker *worker = container_of(watch, struct echo_worker, watch);

	(void)events;
	count(&worker->echo->releases);
	answer_held(worker, NULL);
}

static int worker_starts(struct device *device, struct worker *worker)
{
	struct echo *echo = echo_of(device);
	struct echo_worker *own = &echo->workers[worker->index];

	if (echo->start_error && worker->index == echo->failing)
		return echo->start_error;
	*own = (struct echo_worker){.echo = echo, .watch.ready = released};
	list_init(&own->held);
	own->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	worker->device_data = own;
	echo->threads[worker->index] = pthread_self();
	count(&echo->worker_starts);
	return worker_watch(worker, own->fd, EPOLLIN | EPOLLET, &own->watch);
}

static void worker_stops(struct device *device, struct worker *worker)
{
	struct echo *echo = echo_of(device);
	struct echo_worker *own = worker->device_data;

	expect_worker(echo, worker->index);
	worker_unwatch(worker, own->fd, &own->watch);
	close_fd(&own->fd);
	count(&echo->worker_stops);
}

static void queue_starts(struct device *device, struct vring *vring)
{
	expect_worker(echo_of(device), vring_worker(vring)->index);
	count(&echo_of(device)->starts);
}

static void queue_stops(struct device *device, struct vring *vring)
{
	struct echo *echo = echo_of(device);
	const struct timespec pause = {.tv_nsec = (long)echo->stop_ns};

	expect_worker(echo, vring_worker(vring)->index);
	if (echo->stop_ns > 0) // even the shortest sleep is one
		nanosleep(&pause, NULL);
	answer_held(vring_worker(vring)->device_data, vring);
	count(&echo->stops);
}

static unsigned queue_count(const struct device *device)
{
	return echo_of(device)->queues;
}

static unsigned queue_size(const struct device *device)
{
	return echo_of(device)->max_size;
}

static u64 features(const struct device *device)
{
	(void)device;
	return ECHO_FEATURE;
}

static void negotiated(struct device *device, u64 accepted)
{
	struct echo *echo = echo_of(device);

	expect_worker(echo, 0);
	__atomic_store_n(&echo->features, accepted, __ATOMIC_RELEASE);
	count(&echo->negotiations);
}

static size_t config(const struct device *device, u8 *space)
{
	memcpy(space, echo_of(device)->config, ECHO_CONFIG_LEN);
	return ECHO_CONFIG_LEN;
}

static int config_write(struct device *device, size_t offset, const u8 *data, size_t len)
{
	struct echo *echo = echo_of(device);

	expect_worker(echo, 0);
	if (offset != ECHO_WRITABLE || len != 1)
		return -EINVAL;
	echo->config[offset] = *data;
	count(&echo->config_writes);
	return 0;
}

static size_t save(const struct device *device, u8 *state, size_t size)
{
	const struct echo *echo = echo_of(device);

	expect_worker(echo_of(device), 0);
	assert_true(size >= echo->state_len);
	memcpy(state, echo->state, echo->state_len);
	return echo->state_len;
}

static int load(struct device *device, const u8 *state, size_t len)
{
	struct echo *echo = echo_of(device);

	expect_worker(echo, 0);
	if (len != echo->state_len)
		return -EINVAL;
	memcpy(echo->state, state, len);
	count(&echo->loads);
	return 0;
}

static void reset(struct device *device)
{
	expect_worker(echo_of(device), 0);
	count(&echo_of(device)->resets);
}

// A ring that runs would find its device changed under it.
static void refresh(struct device *device)
{
	struct echo *echo = echo_of(device);

	expect_worker(echo, 0);
	assert(echo_count(&echo->starts) == echo_count(&echo->stops));
	count(&echo->refreshes);
}

static int activate(struct device *device)
{
	struct echo *echo = echo_of(device);

	assert(echo_count(&echo->starts) == echo_count(&echo->stops));
	count(&echo->activations);
	return __atomic_load_n(&echo->busy, __ATOMIC_ACQUIRE);
}

static void deactivate(struct device *device)
{
	struct echo *echo = echo_of(device);

	assert(echo_count(&echo->starts) == echo_count(&echo->stops));
	count(&echo->deactivations);
}

void echo_init(struct echo *echo, unsigned queues, enum echo_order order)
{
	memset(echo, 0, sizeof(*echo));
	echo->queues = queues;
	echo->max_size = 256;
	echo->order = order;
	for (unsigned i = 0; i < sizeof(echo->config); i++)
		echo->config[i] = (u8)(i + 1);
	echo->ops = (struct device_ops){
		.type = ECHO_TYPE,
		.queue_count = queue_count,
		.queue_size = queue_size,
		.features = features,
		.request_size = sizeof(struct echo_request),
		.negotiated = negotiated,
		.config = config,
		.config_write = config_write,
		.reset = reset,
		.save = save,
		.load = load,
		.refresh = refresh,
		.activate = activate,
		.deactivate = deactivate,
		.worker_start = worker_starts,
		.worker_stop = worker_stops,
		.process_queue = process_queue,
		.queue_start = queue_starts,
		.queue_stop = queue_stops,
	};
	device_init(&echo->device, &echo->ops);
}

struct goal {
	const u64 *counter;
	u64 least;
};

static bool is_reached(const void *context)
{
	const struct goal *goal = context;

	return echo_count(goal->counter) >= goal->least;
}

void echo_wait(const u64 *counter, u64 least)
{
	unit_wait(is_reached, &(struct goal){.counter = counter, .least = least});
}

void echo_release(struct echo *echo, unsigned worker)
{
	sys_event_signal(echo->workers[worker].fd);
}

void echo_slot_init(struct echo_slot *slot, struct vm_memory *memory)
{
	slot->addr = vm_memory_alloc(memory, 2 * sizeof(u32), 8);
	slot->sent = vm_memory_at(memory, slot->addr, 2 * sizeof(u32));
	slot->answer = slot->sent + 1;
}

bool echo_add(struct vm_ring *ring, struct echo_slot *slot, u32 number)
{
	const struct vm_buffer buffers[2] = {
		{.addr = slot->addr, .len = sizeof(u32)},
		{.addr = slot->addr + sizeof(u32), .len = sizeof(u32), .write = true}};

	*slot->sent = number;
	*slot->answer = ~number;
	return vm_ring_add(ring, buffers, ARRAY_SIZE(buffers), slot) >= 0;
}

struct echo_slot *echo_take(struct vm_ring *ring)
{
	struct vm_completion completion;
	struct echo_slot *slot;
	int taken = vm_ring_take(ring, &completion);

	if (taken == 0)
		return NULL;
	assert(taken == 1 && completion.len == sizeof(u32)); // on any thread: not cmocka's
	slot = completion.cookie;
	assert(*slot->answer == *slot->sent);
	return slot;
}

bool echo_works(struct vm_ring *ring, struct echo_slot *slot, u32 number)
{
	if (!echo_add(ring, slot, number))
		return false;
	vm_ring_kick(ring);
	return vm_ring_wait(ring, ANSWER_MS) == 0 && echo_take(ring) == slot;
}
