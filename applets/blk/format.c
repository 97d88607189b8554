// SPDX-License-Identifier: Apache-2.0
// Knows images of other formats by how they begin.
#include <string.h>

#include "applets/blk/limits.h"

// A format that can begin with a guest's own first sector, such as LUKS or that of a fixed VHD, is none of these.
// clang-format off
static const struct format {
	const char *name;
	unsigned offset, len;
	const char *magic;
} formats[] = {
	{"qcow2", 0, 4, "QFI\xfb"},
	{"qed", 0, 4, "QED"},
	{"vmdk", 0, 4, "KDMV"},
	{"vmdk", 0, 4, "COWD"},
	{"vmdk", 0, 21, "# Disk DescriptorFile"},
	{"vdi", 64, 4, "\x7f\x10\xda\xbe"},
	{"vhdx", 0, 8, "vhdxfile"},
	{"vhd", 0, 8, "conectix"},
	{"parallels", 0, 16, "WithoutFreeSpace"},
	{"parallels", 0, 16, "WithouFreSpacExt"},
};
// clang-format on

const char *medium_format(const struct medium *medium)
{
	static _Alignas(LIMITS_PAGE) u8 bytes[LIMITS_MAX_BLOCK];
	const struct iovec segment = {.iov_base = bytes, .iov_len = medium->logical_block};
	int len = medium_read(medium, &segment, 1, 0, 0);

	for (unsigned i = 0; i < ARRAY_SIZE(formats); i++) {
		const struct format *format = &formats[i];

		if (len >= (int)(format->offset + format->len) &&
		    memcmp(bytes + format->offset, format->magic, format->len) == 0)
			return format->name;
	}
	return NULL;
}
