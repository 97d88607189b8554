// SPDX-License-Identifier: Apache-2.0
// The rng applet: random bytes for the guest (VIRTIO 1.3, 5.4 "Entropy Device"). The shortest whole applet, explained
// line by line in docs/adding-an-applet.md.
#include <sys/random.h>
#include <sys/timerfd.h>

#include "applets/applet.h"
#include "applets/rng/bucket.h"
#include "applets/rng/source.h"
#include "core/log.h"
#include "core/sys.h"

enum { VIRTIO_ID_ENTROPY = 4, MOST_CHUNK = 65536, USUAL_PERIOD_MS = 1000, MS_NS = 1000000 };

struct rng_options {
	const char *source;
	u64 max_bytes, period, chunk;
};

// clang-format off
static const struct option rng_option_table[] = {
	{.name = "source", .aliases = "rng-source", .type = OPTION_TEXT, .argument = "SOURCE", .initial = "getrandom",
	 .help = "getrandom, PATH or fd:N",
	 .offset = offsetof(struct rng_options, source)},
	{.name = "max-bytes", .type = OPTION_SIZE, .argument = "BYTES", .min = 1, .max = INT64_MAX,
	 .help = "most for the guest in each period [no limit]",
	 .offset = offsetof(struct rng_options, max_bytes)},
	{.name = "period", .type = OPTION_NUMBER, .argument = "MS", .min = 1, .max = UINT32_MAX,
	 .help = "the length of a period [1000]",
	 .offset = offsetof(struct rng_options, period)},
	{.name = "chunk", .type = OPTION_SIZE, .argument = "BYTES", .initial = "4096", .min = 1, .max = MOST_CHUNK,
	 .help = "most for one request",
	 .offset = offsetof(struct rng_options, chunk)},
};
// clang-format on

struct rng {
	struct device device;
	struct source source;
	struct bucket bucket;
	int timer_fd;	     // for when requests wait for the next period or the next try
	struct watch go_on;  // of the timer and of the source
	struct vring *vring; // the ring, while it runs
};

static struct rng *rng_of(struct device *device)
{
	return container_of(device, struct rng, device);
}

static unsigned rng_queue_count(const struct device *device)
{
	(void)device;
	return 1; // 5.4.2 "Virtqueues"
}

static u64 rng_features(const struct device *device)
{
	(void)device;
	return 0; // 5.4.3 "Feature bits": none
}

// Has the ring served again at that time.
static void go_on_at(struct rng *rng, u64 time_ns)
{
	const struct itimerspec when = {.it_value.tv_sec = (time_t)(time_ns / 1000000000),
					.it_value.tv_nsec = (long)(time_ns % 1000000000)};
	int error = sys_int(timerfd_settime(rng->timer_fd, TFD_TIMER_ABSTIME, &when, NULL));

	assert(error == 0);
}

// How many bytes the next request may get. 0: none now, but rng_go_on will be called when there may be.
static size_t bytes_to_give(struct rng *rng)
{
	u64 now = sys_clock_ns(), retry_ns = 0;
	u64 tokens = bucket_tokens(&rng->bucket, now);
	size_t ready = tokens > 0 ? source_fill(&rng->source, &retry_ns) : 0;

	if (tokens == 0)
		go_on_at(rng, bucket_refill_ns(&rng->bucket));
	else if (retry_ns > 0)
		go_on_at(rng, now + retry_ns);
	return (size_t)min_u64(ready, tokens);
}

// 5.4.6.2 "Device Requirements: Device Operation": one byte at least, but maybe less than the whole buffer.
static void answer(struct rng *rng, struct vring *vring, struct chain *chain, size_t most)
{
	size_t given = chain_write(chain, source_bytes(&rng->source), most);

	source_take(&rng->source, given);
	bucket_take(&rng->bucket, given);
	vring_push(vring, chain, (u32)given);
}

// No request is taken from the ring before there are bytes for it, so none is ever in flight.
static void rng_process_queue(struct device *device, struct vring *vring)
{
	struct rng *rng = rng_of(device);
	struct chain *chain;
	size_t most;

	while ((most = bytes_to_give(rng)) > 0 && (chain = vring_pop(vring)))
		answer(rng, vring, chain, most);
}

static void rng_queue_start(struct device *device, struct vring *vring)
{
	rng_of(device)->vring = vring;
}

static void rng_queue_stop(struct device *device, struct vring *vring)
{
	(void)vring;
	rng_of(device)->vring = NULL;
}

// What waits in the ring may be served now.
static void rng_go_on(struct watch *watch, u32 events)
{
	struct rng *rng = container_of(watch, struct rng, go_on);

	(void)events; // edge-triggered and never read: the event is the news
	if (rng->vring)
		vring_wake(rng->vring);
}

static int rng_worker_start(struct device *device, struct worker *worker)
{
	struct rng *rng = rng_of(device);
	int error = worker_watch(worker, rng->timer_fd, EPOLLIN | EPOLLET, &rng->go_on);

	if (error)
		return log_errno(error, "cannot watch a timer");
	// a regular file, for one, cannot be watched; it is tried again by the clock
	rng->source.polled = rng->source.fd >= 0 &&
			     !worker_watch(worker, rng->source.fd, EPOLLIN | EPOLLET, &rng->go_on);
	return 0;
}

// There is no state to migrate: what a driver may still ask for is not for its front-end to say.
static const struct device_ops rng_ops = {
	.type = VIRTIO_ID_ENTROPY,
	.queue_count = rng_queue_count,
	.features = rng_features,
	.worker_start = rng_worker_start,
	.process_queue = rng_process_queue,
	.queue_start = rng_queue_start,
	.queue_stop = rng_queue_stop,
};

static const struct syscall_rule rng_rule_table[] = {
	RULE_IF(getrandom, "random bytes of the kernel", ARGUMENT_INT_IS(2, GRND_NONBLOCK)),
	RULE_IF(timerfd_settime, "when requests wait", ARGUMENT_INT_IS(1, TFD_TIMER_ABSTIME)),
};

// A file is read by a call that every worker may make.
static const struct syscall_rule *rng_rules(const struct device *device, size_t *count)
{
	bool reads_file = device && device->main_fd >= 0;

	*count = ARRAY_SIZE(rng_rule_table) - reads_file;
	return rng_rule_table + reads_file;
}

static unsigned rng_inherited_fds(const void *values, int *fds, unsigned most)
{
	const struct rng_options *options = values;

	assert(most > 0);
	*fds = source_fd_number(options->source);
	return *fds >= 0 ? 1 : 0;
}

static void rng_close(struct device *device)
{
	struct rng *rng = rng_of(device);

	source_close(&rng->source);
	close_fd(&rng->timer_fd);
	free(rng);
}

static int rng_check(const struct applet_arguments *arguments)
{
	const struct rng_options *options = arguments->values;

	if (options->period != OPTION_UNSET && options->max_bytes == OPTION_UNSET)
		log_warning("--period has no effect without --max-bytes");
	return source_check(options->source);
}

static int rng_open(const struct applet_arguments *arguments, struct device **device)
{
	const struct rng_options *options = arguments->values;
	u64 period = options->period == OPTION_UNSET ? USUAL_PERIOD_MS : options->period;
	struct rng *rng = calloc(1, sizeof(*rng));
	int error;

	if (!rng)
		return log_errno(-ENOMEM, "cannot make an entropy device");
	device_init(&rng->device, &rng_ops);
	rng->go_on.ready = rng_go_on;
	bucket_open(&rng->bucket, options->max_bytes, period * MS_NS, sys_clock_ns());
	rng->timer_fd = sys_int(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
	error = rng->timer_fd < 0 ? log_errno(rng->timer_fd, "cannot make a timer")
				  : source_open(&rng->source, options->source, options->chunk);
	if (error) {
		close_fd(&rng->timer_fd);
		free(rng);
		return error;
	}
	rng->device.main_fd = rng->source.fd; // what RULE_DEVICE_FD stands for
	*device = &rng->device;
	return 0;
}

extern const struct applet rng_applet;
const struct applet rng_applet = {
	.name = "rng",
	.summary = "random bytes, from the host's kernel, a file or a device",
	.backend_type = "rng",
	.capabilities = "",
	.examples = "  vhost-multi rng --socket /run/rng.sock\n"
		    "  vhost-multi rng --socket /run/rng.sock --max-bytes 64K --period 1000\n"
		    "  vhost-multi rng --socket /run/rng.sock --source /dev/hwrng\n",
	.options = rng_option_table,
	.option_count = ARRAY_SIZE(rng_option_table),
	.values_size = sizeof(struct rng_options),
	.rules = rng_rules,
	.inherited_fds = rng_inherited_fds,
	.check = rng_check,
	.open = rng_open,
	.close = rng_close,
};
