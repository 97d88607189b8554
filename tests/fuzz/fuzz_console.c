// SPDX-License-Identifier: Apache-2.0
// The console applet's rings, as a hostile driver has them, with a host that types, reads and leaves. The device is a new
// one for each input, since much of it outlives a driver.
#include <stdio.h>
#include <sys/socket.h>

#include "tests/fuzz/applet.h"
#include "tests/fuzz/rings.h"

extern const struct applet console_applet;

enum { PORTS = 2 };
static int host[PORTS]; // the other ends of the ports; -1: it has left

static void other(struct fuzz_input *input)
{
	static u8 bytes[UINT16_MAX];
	u8 what = fuzz_u8(input);
	int *fd = &host[what & 1];
	size_t len = fuzz_u8(input);

	if (*fd < 0)
		return;
	if (what & 2) {
		fuzz_bytes(input, bytes, len);
		(void)send(*fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	} else if (what & 4) {
		close_fd(fd);
	} else {
		(void)recv(*fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	}
}

static struct device *open_console(u8 kind)
{
	static char ports[PORTS][64]; // kept by reference
	int sockets[PORTS][2];
	struct device *device;

	for (unsigned i = 0; i < PORTS; i++) {
		assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
				  sockets[i]) == 0);
		host[i] = sockets[i][0];
		snprintf(ports[i], sizeof(ports[i]), "--port=type=fd,path=%d,name=p%u%s%s%s",
			 sockets[i][1], i, kind & 1 ? ",drop" : "", kind & 2 ? ",filter" : "",
			 kind & 4 && i ? ",console" : "");
	}
	device = fuzz_applet_open(&console_applet, ports[0], kind & 8 ? NULL : ports[1],
				  (char *)NULL);
	for (unsigned i = 0; i < PORTS; i++)
		close_fd(&sockets[i][1]); // the device has one of its own
	return device;
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static struct fuzz_rings rings;
	struct fuzz_input input = {.next = data, .left = size};
	unsigned fds = fuzz_open_fds(), fds_of_rings = rings.memory.count ? 0 : FUZZ_RINGS + 1;
	struct device *device = open_console(fuzz_u8(&input));

	fuzz_rings_open(&rings, device);
	fuzz_rings_play(&rings, &input, other);
	fuzz_rings_close(&rings);
	fuzz_applet_close(&console_applet, device);
	for (unsigned i = 0; i < PORTS; i++)
		close_fd(&host[i]);
	assert(fuzz_open_fds() == fds + fds_of_rings && fuzz_mappings() == FUZZ_REGIONS);
	return 0;
}
