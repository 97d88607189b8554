// SPDX-License-Identifier: Apache-2.0
// The state of each applet's device, forged: it comes through a pipe or a file, in pieces. It is taken as a whole or not at all,
// and what is saved then is taken by the next process, and says the same.
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "applets/applet.h"
#include "core/device_state.h"
#include "core/sys.h"
#include "tests/fuzz/applet.h"
#include "tests/fuzz/fuzz.h"

extern const struct applet blk_applet, console_applet, rng_applet;

enum { DEVICES = 4, BYTES = 2048, MOST = DEVICE_STATE_MAX + 1 };

static struct device *devices[DEVICES];
static struct worker worker;
static struct device_state state;
static u8 before[MOST], after[MOST];

static void open_devices(void)
{
	int error = worker_start(&worker, 0, -1);

	assert(error == 0);
	devices[0] = fuzz_applet_open(&blk_applet, "--path", "memory:64K", (char *)NULL);
	devices[1] = fuzz_applet_open(&console_applet, "--port=type=null,name=a,console",
				      "--port=type=null,name=b", (char *)NULL);
	devices[2] = fuzz_applet_open(&console_applet, "--port=type=null,name=c", (char *)NULL);
	devices[3] = fuzz_applet_open(&rng_applet, (char *)NULL);
	for (unsigned i = 0; i < DEVICES; i++)
		if (devices[i]->ops->worker_start)
			error |= devices[i]->ops->worker_start(devices[i], &worker);
	assert(error == 0);
}

static int make_file(const u8 *bytes, size_t len)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	assert(fd >= 0 && write(fd, bytes, len) == (ssize_t)len && lseek(fd, 0, SEEK_SET) == 0);
	return fd;
}

static size_t save(struct device *device, u8 *bytes)
{
	int fd = make_file(NULL, 0), kept = dup(fd);
	bool saved;
	ssize_t len;

	device_state_init(&state, device, &worker);
	device_state_transfer(&state, false, fd);
	saved = device_state_check(&state);
	len = pread(kept, bytes, MOST, 0);
	close(kept);
	assert(saved && len >= (ssize_t)sizeof(struct device_state_header));
	return (size_t)len;
}

static bool load_file(struct device *device, const u8 *bytes, size_t len)
{
	device_state_init(&state, device, &worker);
	device_state_transfer(&state, true, make_file(bytes, len));
	return device_state_check(&state);
}

// The front-end may ask for the result before all has come, or go on writing afterwards.
static bool load_pipe(struct device *device, const u8 *bytes, size_t len, size_t first, bool early)
{
	int ends[2], error = pipe2(ends, O_CLOEXEC | O_NONBLOCK);
	bool loaded;

	assert(error == 0);
	device_state_init(&state, device, &worker);
	device_state_transfer(&state, true, ends[0]);
	assert(write(ends[1], bytes, first) == (ssize_t)first);
	fuzz_turn(&worker);
	if (early) {
		loaded = device_state_check(&state);
		assert(!loaded);
	} else {
		assert(write(ends[1], bytes + first, len - first) == (ssize_t)(len - first));
	}
	close(ends[1]);
	fuzz_turn(&worker);
	loaded = device_state_check(&state);
	assert(!(early && loaded));
	return loaded;
}

// A header that is right for this device unless `odd` says which part of it is not, and what follows.
static size_t make_bytes(struct fuzz_input *input, const struct device *device, u8 odd, u8 *bytes)
{
	size_t len = min_size(input->left, BYTES);
	struct device_state_header header = {
		.magic = DEVICE_STATE_MAGIC,
		.version = le16_of(DEVICE_STATE_VERSION),
		.type = le16_of(device->ops->type),
		.queue_count = le32_of(device->ops->queue_count(device)),
		.len = le32_of((u32)len),
	};

	if (odd & 1) // all of it is the input's
		return fuzz_bytes(input, bytes, len), len;
	if (odd & 2)
		header.queue_count = le32_of(odd >> 2);
	fuzz_bytes(input, bytes + sizeof(header), len);
	memcpy(bytes, &header, sizeof(header));
	return sizeof(header) + len;
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static u8 bytes[MOST];
	struct fuzz_input input = {.next = data, .left = size};
	unsigned fds;
	struct device *device;
	u8 way, odd;
	size_t len, len_before, len_after;
	bool loaded;

	if (!devices[0])
		open_devices();
	fds = fuzz_open_fds();
	way = fuzz_u8(&input);
	odd = fuzz_u8(&input);
	device = devices[way % DEVICES];
	len_before = save(device, before);
	len = make_bytes(&input, device, odd, bytes);
	if (way & 0x10) // as much as there may be, and one more
		len = MOST;
	if (way & 0x20 && len < BYTES)
		loaded = load_pipe(device, bytes, len, (size_t)(way >> 6) * len / 3, way & 0x08);
	else
		loaded = load_file(device, bytes, len);
	len_after = save(device, after);
	if (!loaded)
		assert(len_after == len_before && memcmp(before, after, len_after) == 0);
	loaded = load_file(device, after, len_after);
	assert(loaded);
	assert(save(device, before) == len_after && memcmp(before, after, len_after) == 0);
	device_state_cancel(&state);
	if (odd & 0x80 && device->ops->reset)
		device->ops->reset(device);
	fuzz_turn(&worker);
	assert(fuzz_open_fds() == fds);
	return 0;
}
