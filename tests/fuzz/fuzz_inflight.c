// SPDX-License-Identifier: Apache-2.0
// The region of chains in flight, unused or forged, and a ring over it whose process dies at any time. Of a region that nobody
// has forged the next process must take up exactly what the driver has not been told of, in the order of old; from any other
// it must go on so that the one after it believes what it finds.
#include <string.h>

#include "core/inflight_region.h"
#include "tests/fuzz/rings.h"

enum { MOST_TAKEN = 2 * FUZZ_RING_MAX };

// A chain that was taken and not told, in the order of taking.
struct taken {
	u16 head;
	enum { LEFT, HELD, ANSWERED } state; // LEFT by the process before, to be taken up
	unsigned place;			     // among those that were left
	struct chain *chain;
};

static struct device device;
static struct fuzz_rings rings;
static struct fuzz_ring *const ring = &rings.ring[0];
static struct vring *const vring = &rings.ring[0].queue.vring;
static u8 *region;
static size_t region_len;
static bool honest;    // nobody but the core has written to the region
static bool scribbled; // somebody has since the process last looked at it
static struct taken taken[MOST_TAKEN];
static unsigned taken_count;
static bool at_once; // the device answers chains as it takes them

// ---- what the process knows ----

// An answer may wait for those before it.
static void forget_told(void)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < taken_count; i++)
		if (taken[i].state == LEFT && taken[i].place < vring->inflight.left_next)
			taken[i].state = ANSWERED; // it was refused
	if (deferred_is_queued(&vring->publish))
		return;
	for (unsigned i = 0; i < taken_count; i++)
		if (taken[i].state != ANSWERED || vring->pool.chains[taken[i].head].in_flight)
			taken[kept++] = taken[i];
	taken_count = kept;
}

static struct taken *find_left(u16 head)
{
	for (unsigned i = 0; i < taken_count; i++)
		if (taken[i].state == LEFT && taken[i].head == head)
			return &taken[i];
	return NULL;
}

// From here on there is no telling how many chains there are.
static void distrust(void)
{
	honest = false;
	ring->shown = UINT16_MAX;
	ring->packed.bad = true;
}

static struct taken *note_taken(struct chain *chain)
{
	struct taken *note = find_left(chain->head);

	if (!note) {
		assert(taken_count < MOST_TAKEN);
		note = &taken[taken_count++];
	}
	for (unsigned i = 0; i < taken_count; i++)
		if (&taken[i] != note && taken[i].head == chain->head)
			distrust(); // it was offered again before the driver was told of it
	*note = (struct taken){.head = chain->head, .state = HELD, .chain = chain};
	return note;
}

static void answer(struct taken *note)
{
	note->state = ANSWERED;
	vring_push(vring, note->chain, (u32)min_u64(chain_writable_len(note->chain), 7));
	assert(vring->inflight.batch_count <= ring->num);
}

// ---- the device: it holds what it takes ----

static unsigned one_queue(const struct device *of)
{
	(void)of;
	return 1;
}

static u64 no_features(const struct device *of)
{
	(void)of;
	return 0;
}

static void process_queue(struct device *of, struct vring *queue)
{
	struct chain *chain;

	(void)of;
	if (!honest)
		distrust();
	forget_told();
	while (taken_count < MOST_TAKEN && (chain = vring_pop(queue))) {
		struct taken *note = note_taken(chain);

		if (at_once)
			answer(note);
	}
}

static void queue_stop_device(struct device *of, struct vring *queue)
{
	(void)of;
	(void)queue;
	for (unsigned i = taken_count; i-- > 0;)
		if (taken[i].state == HELD)
			answer(&taken[i]);
}

static const struct device_ops ops = {
	.type = 42,
	.queue_count = one_queue,
	.features = no_features,
	.process_queue = process_queue,
	.queue_stop = queue_stop_device,
};

// ---- the death of a process ----

static u16 left_head(const struct inflight_chain *left)
{
	const struct inflight_packed *packed = (const void *)region;

	return vring->packed ? packed->desc[left->last].id : left->entry;
}

// The driver may have written to what the core reads of the ring, or may have used heads that were still in use.
static bool must_be_exact(void)
{
	for (unsigned i = 0; i < taken_count; i++)
		for (unsigned j = 0; j < i; j++)
			if (taken[i].head == taken[j].head)
				return false;
	if (vring->refused_chains > 0) // a bad driver may have offered such a head twice, too
		return false;
	return honest && !fuzz_owned(&rings, ring->addr, FUZZ_RING_LEN, FUZZ_DEVICE);
}

static void check_left(bool exact)
{
	const struct inflight *inflight = &vring->inflight;

	if (exact)
		assert(!vring->broken && inflight->left_count == taken_count);
	for (unsigned i = 0; exact && i < taken_count; i++)
		assert(left_head(&inflight->left[i]) == taken[i].head);
	taken_count = 0;
	for (unsigned i = 0; i < inflight->left_count; i++)
		taken[taken_count++] =
			(struct taken){.head = left_head(&inflight->left[i]), .place = i};
}

// What the driver has been told of is done, even if the process dies before it can note that.
static void tell_and_die(void)
{
	fuzz_dying = true;
	vring_publish(vring);
	fuzz_dying = false;
	deferred_cancel(&vring->publish);
}

static void bury(struct queue *queue)
{
	if (queue->kick_watched)
		event_loop_remove(&rings.worker.loop, queue->kick_fd, &queue->kick);
	queue->kick_watched = false;
	queue->running = false;
	deferred_cancel(&queue->again);
	deferred_cancel(&vring->publish);
	vring_fini(vring);
	memset(ring->in_flight, 0, sizeof(ring->in_flight));
}

// Lets the process go as it is, and another one place the ring.
static void die(bool told)
{
	struct queue *queue = &ring->queue;
	bool was_running = queue->running, exact;
	int error;

	if (was_running && told)
		tell_and_die();
	forget_told();
	exact = was_running && must_be_exact();
	ring->shown = UINT16_MAX; // what is taken up is popped again
	bury(queue);
	error = vring_init(vring, 0, FUZZ_RING_MAX, 0, &rings.worker, &queue->again);
	assert(error == 0);
	inflight_attach(&vring->inflight, region, region_len);
	queue_start(queue, &rings.memory, NULL, rings.features);
	scribbled = false;
	check_left(exact);
}

// ---- the region ----

static void write_region(struct fuzz_input *input)
{
	size_t at = fuzz_u16(input) % region_len;
	size_t len = min_size(fuzz_u8(input), region_len - at);

	fuzz_bytes(input, region + at, len);
	honest = false;
	scribbled = true;
}

static void forge_split(struct fuzz_input *input, u8 count)
{
	struct inflight_split *split = (struct inflight_split *)(void *)region;

	split->last_batch_head = fuzz_u8(input);
	split->used_idx = (u16)(fuzz_u8(input) - 1);
	for (u8 i = 0; i < count; i++) {
		u8 mark = fuzz_u8(input);

		split->desc[i].inflight = mark & 3;
		split->desc[i].next = mark >> 2;
		split->desc[i].counter = fuzz_u8(input);
	}
}

static void forge_packed(struct fuzz_input *input, u8 count)
{
	struct inflight_packed *packed = (struct inflight_packed *)(void *)region;

	packed->free.head = fuzz_u8(input);
	packed->free.old_head = fuzz_u8(input);
	packed->used.idx = fuzz_u8(input);
	packed->used.old_idx = fuzz_u8(input);
	packed->used.wrap = fuzz_u8(input);
	packed->used.old_wrap = fuzz_u8(input);
	for (u8 i = 0; i < count; i++) {
		u8 mark = fuzz_u8(input), addr = fuzz_u8(input);

		packed->desc[i] =
			(struct inflight_packed_desc){.inflight = mark & 3,
						      .next = mark >> 2,
						      .last = fuzz_u8(input),
						      .num = fuzz_u8(input),
						      .counter = fuzz_u8(input),
						      .id = fuzz_u8(input),
						      .flags = fuzz_u8(input),
						      .len = fuzz_u8(input),
						      .addr = FUZZ_GUEST + (u64)addr * 256};
	}
}

// As another process, or a forger, would have left it.
static void forge_region(struct fuzz_input *input, bool packed)
{
	struct inflight_split *head = (struct inflight_split *)(void *)region;
	u8 count = fuzz_u8(input) % (FUZZ_RING_MAX + 1), odd;

	head->desc_num = fuzz_u8(input);
	odd = fuzz_u8(input);
	head->version = odd & 1 ? odd >> 2 : INFLIGHT_VERSION;
	head->features = odd & 2;
	if (packed)
		forge_packed(input, count);
	else
		forge_split(input, count);
	honest = false;
}

// As long as it is said to be, so that each byte behind it is an error.
static void cut_region(void)
{
	u8 *cut = malloc(region_len);

	assert(cut);
	memcpy(cut, region, region_len);
	free(region);
	region = (void *)cut;
}

// In the bits of the first byte: it is forged, for a packed ring, and too short maybe; the device answers at once.
static void make_region(struct fuzz_input *input)
{
	u8 kind = fuzz_u8(input);

	region_len = inflight_len(FUZZ_RING_MAX);
	region = calloc(1, UINT8_MAX * sizeof(u64) + INFLIGHT_HEAD_LEN);
	honest = true;
	scribbled = false;
	if (kind & 1)
		forge_region(input, kind & 2);
	if (kind & 4)
		region_len = fuzz_u8(input) * sizeof(u64) + INFLIGHT_HEAD_LEN;
	cut_region();
	at_once = kind & 8;
	inflight_attach(&vring->inflight, region, region_len);
}

// ---- ----

enum deed { ANSWER, TURN, DIE, DIE_TOLD, WRITE, DEEDS };

static void other(struct fuzz_input *input)
{
	u8 what = fuzz_u8(input);
	struct taken *note;

	switch ((enum deed)(what % DEEDS)) {
	case ANSWER:
		forget_told();
		note = &taken[what / DEEDS % MOST_TAKEN];
		if (note < &taken[taken_count] && note->state == HELD)
			answer(note);
		break;
	case TURN:
		fuzz_turn(&rings.worker);
		break;
	case DIE:
	case DIE_TOLD:
		die(what % DEEDS == DIE_TOLD);
		break;
	case WRITE:
		write_region(input);
		break;
	case DEEDS:
		break;
	}
}

// Nothing is in flight any more. If the ring was good to its end, the next process believes what it finds, and finds nothing.
static void check_region(void)
{
	const struct pvirtq_desc *descs;
	u16 used = 0, left = 0;
	bool wrap = false, recovered;
	int error;

	if (scribbled || vring->inflight.num == 0 || region_len < inflight_len(ring->num))
		return;
	inflight_attach(&vring->inflight, region, region_len);
	descs = fuzz_read(&rings, ring->addr, ring->num * sizeof(*descs));
	if (vring->packed)
		error = inflight_packed_start(&vring->inflight, ring->num, descs, &used, &wrap,
					      &left, &recovered);
	else
		error = inflight_split_start(&vring->inflight, ring->num, vring->used_published,
					     &recovered);
	assert(error == 0 && recovered && vring->inflight.left_count == 0 && left == 0);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct fuzz_input input = {.next = data, .left = size};

	if (!rings.device) {
		device_init(&device, &ops);
		fuzz_rings_open(&rings, &device);
	}
	taken_count = 0;
	make_region(&input);
	fuzz_rings_play(&rings, &input, other);
	check_region();
	inflight_attach(&vring->inflight, NULL, 0);
	free(region);
	return 0;
}
