// SPDX-License-Identifier: Apache-2.0
// The console device as VIRTIO 1.3, 5.3 "Console Device" lays it out.
#pragma once

#include "core/endian.h"

enum { VIRTIO_ID_CONSOLE = 3 }; // 5 "Device Types"

// 5.3.2 "Virtqueues": those of port 0 and of control come first, then two for each further port
enum {
	VIRTIO_CONSOLE_PORT0_RECEIVEQ = 0,
	VIRTIO_CONSOLE_PORT0_TRANSMITQ = 1,
	VIRTIO_CONSOLE_CONTROL_RECEIVEQ = 2,
	VIRTIO_CONSOLE_CONTROL_TRANSMITQ = 3,
};

// 5.3.3 "Feature bits"
enum {
	VIRTIO_CONSOLE_F_SIZE = 0,
	VIRTIO_CONSOLE_F_MULTIPORT = 1,
	VIRTIO_CONSOLE_F_EMERG_WRITE = 2,
};

// 5.3.4 "Device configuration layout"
struct virtio_console_config {
	le16 cols;
	le16 rows;
	le32 max_nr_ports;
	le32 emerg_wr;
};

// 5.3.6.2 "Multiport Device Operation"
enum {
	VIRTIO_CONSOLE_DEVICE_READY = 0,
	VIRTIO_CONSOLE_DEVICE_ADD = 1,
	VIRTIO_CONSOLE_DEVICE_REMOVE = 2,
	VIRTIO_CONSOLE_PORT_READY = 3,
	VIRTIO_CONSOLE_CONSOLE_PORT = 4,
	VIRTIO_CONSOLE_RESIZE = 5,
	VIRTIO_CONSOLE_PORT_OPEN = 6,
	VIRTIO_CONSOLE_PORT_NAME = 7,
};

struct virtio_console_control {
	le32 id; // of the port
	le16 event;
	le16 value;
};

static_assert(sizeof(struct virtio_console_config) == 12, "VIRTIO 1.3, 5.3.4");
static_assert(sizeof(struct virtio_console_control) == 8, "VIRTIO 1.3, 5.3.6.2");
