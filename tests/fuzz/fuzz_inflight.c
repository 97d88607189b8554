// SPDX-License-Identifier: Apache-2.0
// The region of chains in flight, unused or forged, and a ring over it whose process dies at any of the core's crash points,
// and the one after it, too. A model follows each chain that is taken, answered and told. The next process must take up
// exactly what was taken and not told, in the order of old, and go on where the ring was left, unless
//  - somebody else has written to the region since the process before has looked at it, or wrote counters near their end there;
//  - the driver has written what only the device may: the used index, or the descriptor where the answers begin;
//  - of a split ring: the driver has offered a head again before it was told of it, as the region has one place for each.
// Then the process must go on so that the one after it believes what it finds, and with that one the model is exact again.
#include <string.h>

#include "core/inflight_region.h"
#include "core/sys.h"
#include "core/vring_layout.h"
#include "tests/fuzz/region.h"
#include "tests/fuzz/rings.h"

enum {
	COUNTERS_LEFT = 1 << 16, // more than an input has chains
	AT_ONCE = 8,		 // beside the bits of enum fuzz_region_kind
};

// A chain that was taken and not told, in the order of taking.
struct taken {
	u16 head;
	enum { LEFT, TAKEN, ANSWERED } state; // LEFT by the process before, to be taken up
	struct chain *held;		      // the device has it
};

// Where a ring is; a split one has no wrap counter.
struct place {
	u16 index;
	bool wrap;
};

static struct device device;
static struct fuzz_rings rings;
static struct fuzz_ring *const ring = &rings.ring[0];
static struct queue *const queue = &rings.ring[0].queue;
static struct vring *const vring = &rings.ring[0].queue.vring;
static u8 *region;
static size_t region_len;
static bool at_once; // the device answers chains as it takes them

static struct taken taken[FUZZ_RING_MAX];
static unsigned taken_count;
static struct place avail, used; // the next chain to take; the next answer to tell of
static bool scribbled;		 // somebody else has written what this process has gone by
static bool offered_again;	 // a head before it was told of, and chains are in flight since
static bool taking, telling;	 // the core is at it
static bool blurred;		 // whether it has told cannot be seen
static bool born, exact, unused; // a new process: it finds what the model says; nothing

// ---- the model ----

static bool same(struct place a, struct place b)
{
	return a.index == b.index && a.wrap == b.wrap;
}

static struct place avail_now(void)
{
	return (struct place){vring->last_avail, vring->packed && vring->avail_wrap};
}

static struct place used_now(void)
{
	return (struct place){vring->packed ? vring->used_next : vring->used_published,
			      vring->packed && vring->used_wrap};
}

static struct taken *find_taken(unsigned state, const u16 *head)
{
	for (unsigned i = 0; i < taken_count; i++)
		if (taken[i].state == state && (!head || taken[i].head == *head))
			return &taken[i];
	return NULL;
}

static void add_taken(u16 head, unsigned state)
{
	assert(taken_count < ring->num);
	taken[taken_count++] = (struct taken){.head = head, .state = state};
}

static void forget_told(void)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < taken_count; i++)
		if (taken[i].state != ANSWERED)
			taken[kept++] = taken[i];
	taken_count = kept;
	if (kept == 0)
		offered_again = false;
}

// From here on there is no telling how many chains the driver believes there are.
static void distrust_driver(void)
{
	ring->shown = UINT16_MAX;
	ring->bad = true;
}

// What was left is taken first, and what is new once.
static void note_taken(const struct chain *chain, bool left)
{
	struct taken *note = find_taken(LEFT, NULL);
	u16 descs = vring->packed ? chain->descs : 1;
	unsigned next = avail.index + descs;

	assert(!find_taken(TAKEN, &chain->head) && left == (note != NULL));
	if (left) {
		assert(scribbled || note->head == chain->head);
		note->head = chain->head;
		note->state = TAKEN;
		return;
	}
	offered_again |= !vring->packed && find_taken(ANSWERED, &chain->head) != NULL;
	add_taken(chain->head, TAKEN);
	avail.wrap ^= vring->packed && next >= ring->num;
	avail.index = (u16)(vring->packed ? next % ring->num : next);
}

typedef struct chain *take_function(struct vring *of, bool *refused);
typedef void answer_function(struct vring *of, const struct chain *chain, u32 written);
typedef bool show_function(struct vring *of);

static struct chain *take(take_function *really, struct vring *of, bool *refused)
{
	unsigned left = vring->inflight.left_next;
	struct chain *chain;

	assert(same(avail, avail_now()));
	taking = left == vring->inflight.left_count;
	chain = really(of, refused);
	taking = false;
	if (chain)
		note_taken(chain, vring->inflight.left_next > left);
	assert(same(avail, avail_now()));
	return chain;
}

static void answer(answer_function *really, struct vring *of, const struct chain *chain,
		   u32 written)
{
	struct taken *note = find_taken(TAKEN, &chain->head);

	assert(note);
	really(of, chain, written);
	note->state = ANSWERED;
}

// 2.8.1 "Driver and Device Ring Wrap Counters", of the descriptor where the answers begin
static bool first_is(bool told)
{
	bool wrap = fuzz_batch_wrap(vring);
	u16 flags = le16_get(vring->ring[vring->batch_first].flags);

	return !(flags & PVIRTQ_DESC_F_AVAIL) == !wrap &&
	       !(flags & PVIRTQ_DESC_F_USED) == (wrap != told);
}

static bool show(show_function *really, struct vring *of)
{
	bool called;

	blurred = vring->packed && vring->batch_descs > 0 && !first_is(false);
	telling = true;
	called = really(of);
	telling = false;
	forget_told();
	used = used_now();
	return called;
}

// What the linker makes of the core's calls (its option --wrap). NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl*,bugprone-macro-parentheses)
#define WATCH(layout) \
	take_function __real_vring_##layout##_take, __wrap_vring_##layout##_take; \
	answer_function __real_vring_##layout##_answer, __wrap_vring_##layout##_answer; \
	show_function __real_vring_##layout##_show, __wrap_vring_##layout##_show; \
\
	struct chain *__wrap_vring_##layout##_take(struct vring *of, bool *refused) \
	{ \
		return take(__real_vring_##layout##_take, of, refused); \
	} \
\
	void __wrap_vring_##layout##_answer(struct vring *of, const struct chain *chain, \
					    u32 written) \
	{ \
		answer(__real_vring_##layout##_answer, of, chain, written); \
	} \
\
	bool __wrap_vring_##layout##_show(struct vring *of) \
	{ \
		return show(__real_vring_##layout##_show, of); \
	}
WATCH(split)
WATCH(packed)
// NOLINTEND(bugprone-reserved-identifier,cert-dcl*,bugprone-macro-parentheses)

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

static void give_back(struct taken *note)
{
	struct chain *chain = note->held;

	note->held = NULL;
	vring_push(vring, chain, (u32)min_u64(chain_writable_len(chain), 7));
}

static void process_queue(struct device *of, struct vring *from)
{
	struct chain *chain;

	(void)of;
	while ((chain = vring_pop(from))) {
		struct taken *note = find_taken(TAKEN, &chain->head);

		note->held = chain;
		if (at_once)
			give_back(note);
	}
}

// Answers a chain moves none of the notes, but in order it may answer others.
static void queue_stop_device(struct device *of, struct vring *from)
{
	(void)of;
	(void)from;
	for (unsigned i = taken_count; i-- > 0;)
		if (taken[i].held)
			give_back(&taken[i]);
}

// ---- the next process ----

static u16 left_head(const struct inflight_chain *left)
{
	const struct inflight_packed *packed = (const void *)region;

	return vring->packed ? packed->desc[left->last].id : left->entry;
}

// It may have noted in the region the chain that it was just taking, which the model does not know.
static void check_left(void)
{
	const struct inflight *inflight = &vring->inflight;
	unsigned extra = inflight->left_count - taken_count;

	assert(!vring->broken && extra <= (taking ? 1 : 0));
	for (unsigned i = 0; i < taken_count; i++)
		assert(left_head(&inflight->left[i]) == taken[i].head);
	assert(same(used, used_now()));
	if (!extra)
		assert(same(avail, avail_now()));
	else if (!vring->packed)
		assert(vring->last_avail == (u16)(avail.index + 1));
}

static void adopt_left(void)
{
	const struct inflight *inflight = &vring->inflight;

	taken_count = 0;
	for (unsigned i = 0; i < inflight->left_count; i++)
		add_taken(left_head(&inflight->left[i]), LEFT);
	offered_again = false;
	avail = avail_now();
	used = used_now();
	scribbled = vring->broken || !inflight->region ||
		    (taken_count == 0 && !same(avail, used)) ||
		    (taken_count > 0 && inflight->counter - 1 > UINT64_MAX - COUNTERS_LEFT);
}

// The ring begins to run; after a pause it goes on as it was.
static void queue_start_device(struct device *of, struct vring *from)
{
	(void)of;
	(void)from;
	if (born) {
		if (exact)
			check_left();
		else if (!unused)
			distrust_driver();
		assert(!unused || (!vring->broken && vring->inflight.left_count == 0));
		unused = false;
		adopt_left();
	} else if (!same(avail, avail_now()) || !same(used, used_now())) {
		scribbled = true; // the driver has written the used index
		distrust_driver();
		avail = avail_now();
		used = used_now();
	}
	born = taking = false;
}

static const struct device_ops ops = {
	.type = 42,
	.queue_count = one_queue,
	.features = no_features,
	.process_queue = process_queue,
	.queue_start = queue_start_device,
	.queue_stop = queue_stop_device,
};

// ---- the death of a process ----

// Whether the driver can see the answers that were being told, or *unclear.
static bool was_told(bool *unclear)
{
	u16 idx;

	if (vring->packed) {
		*unclear = telling && blurred;
		return telling && first_is(true);
	}
	idx = le16_get(vring->used->idx);
	*unclear = idx != used.index && !(telling && idx == vring->used_next);
	return telling && idx == vring->used_next;
}

static void note_death(void)
{
	bool unclear = false;

	if (born)
		return; // it has died before it looked, or as it did
	if (taking && !vring->packed) {
		u16 head = le16_get(vring->avail->ring[avail.index % ring->num]);

		offered_again |= find_taken(ANSWERED, &head) != NULL;
	}
	exact = !scribbled && !offered_again;
	if (was_told(&unclear)) {
		forget_told();
		used = (struct place){vring->used_next, vring->packed && vring->used_wrap};
	}
	exact = exact && !unclear;
}

// What the process leaves in private memory is gone; the event loop may have been left in the middle of a turn.
static void bury(void)
{
	int error;

	if (queue->kick_watched)
		event_loop_remove(&rings.worker.loop, queue->kick_fd, &queue->kick);
	queue->kick_watched = false;
	queue->running = false;
	list_init(&rings.worker.loop.next_turn);
	list_init(&rings.worker.loop.turn_end);
	list_init(&queue->again.node);
	vring_fini(vring);
	memset(ring->in_flight, 0, sizeof(ring->in_flight));
	error = vring_init(vring, 0, FUZZ_RING_MAX, 0, &rings.worker, &queue->again);
	assert(error == 0);
	inflight_attach(&vring->inflight, region, region_len);
	born = true;
	telling = false;
}

static void start(void)
{
	queue_start(queue, &rings.memory, NULL, rings.features);
}

static void turn(void)
{
	sys_event_signal(ring->kick_fd);
	fuzz_turn(&rings.worker);
}

static void stop(void)
{
	queue_stop(queue);
}

// Dies at this many crash points from here, or (0, too) when it is done with that.
static void do_and_die(void (*deed)(void), unsigned points)
{
	fuzz_die_in = points;
	if (setjmp(fuzz_death) == 0) // NOLINT(cert-err52-cpp)
		if (deed)
			deed();
	fuzz_die_in = 0;
	note_death();
	bury();
}

static void die(struct fuzz_input *input)
{
	static void (*const deeds[])(void) = {NULL, turn, stop};
	u8 how = fuzz_u8(input), again = fuzz_u8(input);

	if (!queue->running)
		return;
	do_and_die(deeds[how % ARRAY_SIZE(deeds)], how / ARRAY_SIZE(deeds));
	if (again)
		do_and_die(start, again);
	start();
}

// ---- the region ----

static void write_region(struct fuzz_input *input)
{
	size_t at = fuzz_u16(input) % region_len;
	size_t len = min_size(fuzz_u8(input), region_len - at);

	fuzz_bytes(input, region + at, len);
	scribbled = true;
	if (find_taken(LEFT, NULL))
		distrust_driver(); // of a packed ring the chain itself is there
}

static void make_region(struct fuzz_input *input)
{
	u8 kind = fuzz_u8(input);

	region = fuzz_region(input, kind, &region_len);
	unused = !(kind & FUZZ_FORGED);
	at_once = kind & AT_ONCE;
	taken_count = 0;
	born = true;
	exact = scribbled = false;
	inflight_attach(&vring->inflight, region, region_len);
}

enum { ANSWER, TURN, DIE, WRITE, DEEDS };

static void other(struct fuzz_input *input)
{
	u8 what = fuzz_u8(input);
	struct taken *note = &taken[what / DEEDS % FUZZ_RING_MAX];

	switch (what % DEEDS) {
	case ANSWER:
		if (note < &taken[taken_count] && note->held)
			give_back(note);
		break;
	case TURN:
		turn();
		break;
	case DIE:
		die(input);
		break;
	default:
		write_region(input);
	}
}

// Nothing is in flight any more. If the ring was good to its end, the next process believes what it finds, and finds nothing.
static void check_region(void)
{
	const struct pvirtq_desc *descs;
	u16 next = 0, left = 0;
	bool wrap = false, recovered;
	int error;

	if (scribbled || vring->inflight.num == 0)
		return;
	inflight_attach(&vring->inflight, region, region_len);
	descs = fuzz_read(&rings, ring->addr, ring->num * sizeof(*descs));
	if (vring->packed)
		error = inflight_packed_start(&vring->inflight, ring->num, descs, &next, &wrap,
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
	make_region(&input);
	fuzz_rings_play(&rings, &input, other);
	check_region();
	inflight_attach(&vring->inflight, NULL, 0);
	free(region);
	return 0;
}
