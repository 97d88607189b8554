// SPDX-License-Identifier: Apache-2.0
// Tests of applets/rng/: the bucket and the source by themselves, then the device on a ring.
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "applets/applet.h"
#include "applets/rng/bucket.h"
#include "applets/rng/source.h"
#include "core/sys.h"
#include "tests/unit/ring.h"

#define MS UINT64_C(1000000)

// ---- the bucket ----

TEST(bucket_gives_exactly_its_bytes_in_each_of_many_periods)
{
	const u64 max_bytes = 1000, period = 7, periods = 10000;
	struct bucket bucket;
	u64 given = 0, seed = 1;

	bucket_open(&bucket, max_bytes, period, 5);
	for (u64 now = 5; now < 5 + periods * period; now++) {
		u64 wish = (seed = seed * 6364136223846793005 + 1442695040888963407) >> 54;
		u64 tokens = bucket_tokens(&bucket, now);

		if ((now - 5) % period == period - 1)
			wish = tokens; // all that is left, in the last moment
		bucket_take(&bucket, min_u64(wish, tokens));
		given += min_u64(wish, tokens);
		assert_true(given <= ((now - 5) / period + 1) * max_bytes);
	}
	assert_int_equal(given, periods * max_bytes);
}

TEST(bucket_saves_nothing_and_keeps_its_periods)
{
	struct bucket bucket;

	bucket_open(&bucket, 10, 100, 1000);
	bucket_take(&bucket, bucket_tokens(&bucket, 1099));
	assert_int_equal(bucket_tokens(&bucket, 1099), 0);
	assert_int_equal(bucket_refill_ns(&bucket), 1100);
	assert_int_equal(bucket_tokens(&bucket, 1000 + 100 * 1000 + 30), 10);
	assert_int_equal(bucket_refill_ns(&bucket), 1000 + 100 * 1001);
}

TEST(bucket_without_limit_is_never_empty)
{
	struct bucket bucket;

	bucket_open(&bucket, OPTION_UNSET, 1, 0);
	bucket_take(&bucket, BIT64(62));
	assert_true(bucket_tokens(&bucket, 0) > BIT64(62));
}

// ---- the source ----

static void expect_refused(const char *name, int error)
{
	struct source source;

	unit_capture(2);
	assert_int_equal(source_open(&source, name, 16), error);
	assert_non_null(strstr(unit_captured(), name));
}

TEST(source_that_cannot_be_read_is_refused)
{
	char write_only[32];
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	unsigned fds = unit_open_fds();

	snprintf(write_only, sizeof(write_only), "fd:%d", fd);
	expect_refused("/nowhere/at/all", -ENOENT);
	expect_refused("/", -EISDIR);
	expect_refused(write_only, -EACCES);
	expect_refused("fd:1000000", -EBADF);
	expect_refused("fd:", -EINVAL);
	expect_refused("fd:1x", -EINVAL);
	assert_int_equal(unit_open_fds(), fds);
	close(fd);
}

TEST(getrandom_fills_the_whole_buffer_with_new_bytes)
{
	struct source source;
	u8 before[4096];
	u64 retry = 0;

	assert_int_equal(source_open(&source, "getrandom", sizeof(before)), 0);
	assert_int_equal(source_fill(&source, &retry), sizeof(before));
	memcpy(before, source_bytes(&source), sizeof(before));
	source_take(&source, sizeof(before));
	assert_int_equal(source_fill(&source, &retry), sizeof(before));
	assert_memory_not_equal(before, source_bytes(&source), sizeof(before));
	source_close(&source);
}

TEST(bytes_of_a_file_come_in_order_once_each)
{
	struct source source;
	u64 retry = 0, offset = 0;

	assert_int_equal(source_open(&source, unit_file("hundred", 100), 16), 0);
	while (offset < 100) {
		size_t ready = source_fill(&source, &retry);
		size_t taken = ready > 3 ? 3 : ready;

		assert_true(ready > 0);
		for (size_t i = 0; i < taken; i++)
			assert_int_equal(source_bytes(&source)[i], unit_byte(offset++));
		source_take(&source, taken);
	}
	unit_capture(2);
	assert_int_equal(source_fill(&source, &retry), 0);
	unit_captured();
	source_close(&source);
}

TEST(taken_bytes_are_wiped)
{
	struct source source;
	const u8 zeroes[8] = {0};
	u64 retry = 0;

	assert_int_equal(source_open(&source, unit_file("eight", 8), 16), 0);
	assert_int_equal(source_fill(&source, &retry), 8);
	source_take(&source, 8);
	assert_memory_equal(source.bytes, zeroes, sizeof(zeroes));
	source_close(&source);
}

static void append(const char *path, size_t len)
{
	FILE *file = fopen(path, "ae");

	assert_non_null(file);
	for (size_t i = 0; i < len; i++)
		fputc('x', file);
	assert_int_equal(fclose(file), 0);
}

static unsigned lines_of(const char *text)
{
	unsigned lines = 0;

	for (; *text; text++)
		lines += *text == '\n';
	return lines;
}

TEST(source_at_its_end_is_tried_again_ever_more_seldom_and_logged_once_per_outage)
{
	const char *path = unit_file("grows", 1);
	struct source source;
	u64 retry = 0;

	assert_int_equal(source_open(&source, path, 16), 0);
	unit_capture(2);
	for (unsigned outage = 0; outage < 2; outage++) {
		assert_int_equal(source_fill(&source, &retry), 1);
		source_take(&source, 1);
		for (u64 expected = MS; expected < 2000 * MS; expected *= 2) {
			assert_int_equal(source_fill(&source, &retry), 0);
			assert_int_equal(retry, min_u64(expected, 1000 * MS));
		}
		append(path, 1);
	}
	assert_int_equal(source_fill(&source, &retry), 1);
	assert_int_equal(lines_of(unit_captured()), 2 + 2); // twice ended, twice back
	source_close(&source);
}

TEST(source_in_error_is_logged_with_the_reason)
{
	struct source source;
	const char *said;
	u64 retry = 0;

	assert_int_equal(source_open(&source, "/proc/self/mem", 16), 0); // nothing is at address 0
	unit_capture(2);
	assert_int_equal(source_fill(&source, &retry), 0);
	assert_int_equal(source_fill(&source, &retry), 0);
	said = unit_captured();
	assert_int_equal(lines_of(said), 1);
	assert_non_null(
		strstr(said, "/proc/self/mem cannot be read, requests wait: Input/output error"));
	assert_true(retry > 0);
	source_close(&source);
}

// ---- the device ----

static struct device_test {
	struct unit_ring ring;
	struct device *device;
	void *values;
	int pair[2]; // a socket that is the source, and its other end
	unsigned fds;
} t;

static const struct device_ops *ops(void)
{
	return t.device->ops;
}

extern const struct applet rng_applet;

// Opens the device with up to two arguments and starts it on a ring of four entries, as QEMU makes it.
static void start(const char *first, const char *second)
{
	char *arguments[] = {(char *)(uintptr_t)first, (char *)(uintptr_t)second};
	struct option_table table = {.options = rng_applet.options,
				     .count = rng_applet.option_count};
	int next = 0, count = first ? second ? 2 : 1 : 0;

	t.fds = unit_open_fds();
	t.values = calloc(1, rng_applet.values_size);
	assert_non_null(t.values);
	table.values = t.values;
	options_set_defaults(&table, 1);
	assert_int_equal(options_parse(&table, 1, arguments, count, &next), 0);
	assert_int_equal(rng_applet.open(&(struct applet_arguments){.values = t.values}, &t.device),
			 0);
	unit_ring_open(&t.ring, 4, 0, 0);
	assert_int_equal(ops()->worker_start(t.device, &t.ring.worker), 0);
	ops()->queue_start(t.device, &t.ring.vring);
}

static void stop(void)
{
	ops()->queue_stop(t.device, &t.ring.vring);
	assert_true(vring_idle(&t.ring.vring));
	unit_ring_close(&t.ring);
	rng_applet.close(t.device);
	free(t.values);
	assert_int_equal(unit_open_fds(), t.fds);
}

static void start_on_socket(const char *second)
{
	char name[32];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, t.pair), 0);
	snprintf(name, sizeof(name), "--source=fd:%d", t.pair[0]);
	start(name, second);
	t.fds--; // the device closes pair[0]
}

// Makes a request of these lengths available: the guest address of its writable part.
static u64 ask(u32 readable, u32 writable)
{
	struct vm_buffer buffers[2];
	unsigned count = 0;
	u64 addr = vm_memory_alloc(&t.ring.vm, writable + 1, 1);

	if (readable)
		buffers[count++] = (struct vm_buffer){
			.addr = vm_memory_alloc(&t.ring.vm, readable, 1), .len = readable};
	if (writable)
		buffers[count++] = (struct vm_buffer){.addr = addr, .len = writable, .write = true};
	assert_true(vm_ring_add(&t.ring.driver, buffers, count, NULL) >= 0);
	vm_ring_show(&t.ring.driver);
	return addr;
}

static void process(void)
{
	vring_begin_turn(&t.ring.vring);
	ops()->process_queue(t.device, &t.ring.vring);
	unit_ring_turn(&t.ring);
}

// The length that the next answer has; -1: there is none.
static int64_t answer(void)
{
	struct vm_completion completion;
	int got = vm_ring_take(&t.ring.driver, &completion);

	assert_true(got >= 0);
	return got ? (int64_t)completion.len : -1;
}

// Turns the worker's loop until the ring is to be processed again; nanoseconds that it took.
static u64 wait_for_wake(void)
{
	u64 began = sys_clock_ns();
	unsigned wakes = t.ring.wakes;

	while (t.ring.wakes == wakes && sys_clock_ns() - began < 5000 * MS)
		event_loop_turn(&t.ring.worker.loop, 1000);
	assert_true(t.ring.wakes > wakes);
	return sys_clock_ns() - began;
}

// The loop is at rest: nothing wakes the ring.
static void expect_no_wake(void)
{
	unsigned wakes = t.ring.wakes;

	for (unsigned i = 0; i < 5; i++)
		event_loop_turn(&t.ring.worker.loop, 10);
	assert_int_equal(t.ring.wakes, wakes);
}

TEST(request_is_filled_and_its_length_told)
{
	u64 addr;

	start(NULL, NULL);
	addr = ask(0, 64);
	process();
	assert_int_equal(answer(), 64);
	assert_memory_not_equal(vm_memory_at(&t.ring.vm, addr, 64), (u8[64]){0}, 64);
	assert_int_equal(*(u8 *)vm_memory_at(&t.ring.vm, addr + 64, 1), 0);
	stop();
}

TEST(one_request_gets_at_most_a_chunk)
{
	start("--chunk=100", NULL);
	ask(0, 4096);
	process();
	assert_int_equal(answer(), 100);
	stop();
}

TEST(request_without_room_gets_nothing_and_costs_nothing)
{
	start("--max-bytes=64", "--period=3600000");
	ask(16, 0);
	ask(16, 40);
	ask(0, 40);
	process();
	assert_int_equal(answer(), 0);
	assert_int_equal(answer(), 40);
	assert_int_equal(answer(), 24);
	stop();
}

TEST(requests_beyond_the_budget_wait_for_the_next_period)
{
	u64 began = sys_clock_ns(), given = 0;

	start("--max-bytes=100", "--period=20");
	for (u64 holds = 1; holds <= 10; holds++) {
		int64_t len;

		do {
			ask(0, 60);
			process();
			len = answer();
			given += len > 0 ? (u64)len : 0;
		} while (len > 0);
		assert_true(given >= 100 * holds);
		assert_true(given <= 100 * ((sys_clock_ns() - began) / (20 * MS) + 1));
		wait_for_wake();
		process();
		given += (u64)answer();
	}
	stop();
}

TEST(source_that_is_silent_is_waited_for_without_polling)
{
	start_on_socket("--chunk=4096");
	ask(0, 64);
	process();
	assert_int_equal(answer(), -1);
	expect_no_wake();
	assert_int_equal(write(t.pair[1], "abc", 3), 3);
	wait_for_wake();
	process();
	assert_int_equal(answer(), 3); // a short answer rather than none
	stop();
	close(t.pair[1]);
}

TEST(source_at_its_end_keeps_the_request_and_resumes_by_itself)
{
	const char *path = unit_path("ends");
	char option[160];
	u64 addr;

	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	snprintf(option, sizeof(option), "--source=%s", path);
	start(option, NULL);
	addr = ask(0, 64);
	unit_capture(2);
	for (unsigned i = 0; i < 4; i++) {
		process();
		assert_int_equal(answer(), -1);
		wait_for_wake();
	}
	append(path, 5);
	process();
	assert_non_null(strstr(unit_captured(), "is at its end, requests wait"));
	assert_int_equal(answer(), 5);
	assert_memory_equal(vm_memory_at(&t.ring.vm, addr, 6), "xxxxx", 6);
	stop();
}

TEST(ring_that_stops_with_a_request_waiting_is_left_alone_and_goes_on_later)
{
	start_on_socket(NULL);
	ask(0, 64);
	process();
	ops()->queue_stop(t.device, &t.ring.vring);
	assert_true(vring_idle(&t.ring.vring));
	assert_int_equal(write(t.pair[1], "12345", 5), 5);
	expect_no_wake();
	ops()->queue_start(t.device, &t.ring.vring);
	process();
	assert_int_equal(answer(), 5);
	stop();
	close(t.pair[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(bucket_gives_exactly_its_bytes_in_each_of_many_periods),
		RUN(bucket_saves_nothing_and_keeps_its_periods),
		RUN(bucket_without_limit_is_never_empty),
		RUN(source_that_cannot_be_read_is_refused),
		RUN(getrandom_fills_the_whole_buffer_with_new_bytes),
		RUN(bytes_of_a_file_come_in_order_once_each),
		RUN(taken_bytes_are_wiped),
		RUN(source_at_its_end_is_tried_again_ever_more_seldom_and_logged_once_per_outage),
		RUN(source_in_error_is_logged_with_the_reason),
		RUN(request_is_filled_and_its_length_told),
		RUN(one_request_gets_at_most_a_chunk),
		RUN(request_without_room_gets_nothing_and_costs_nothing),
		RUN(requests_beyond_the_budget_wait_for_the_next_period),
		RUN(source_that_is_silent_is_waited_for_without_polling),
		RUN(source_at_its_end_keeps_the_request_and_resumes_by_itself),
		RUN(ring_that_stops_with_a_request_waiting_is_left_alone_and_goes_on_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
