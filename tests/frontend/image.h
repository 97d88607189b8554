// SPDX-License-Identifier: Apache-2.0
//
// A disk image of which each block tells which it is and how often it was written.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
	IMAGE_BLOCK = 4096,
	IMAGE_BLOCKS = 256,
};

struct image {
	char path[512];
	uint64_t versions[IMAGE_BLOCKS]; /* what each block holds */
};

void image_fill(void *data, unsigned block, uint64_t version);
bool image_is(const void *data, unsigned block, uint64_t version);
/* Makes the file, with all versions 0. 0, or -1 with errno. */
int image_make(struct image *image);
/* The first block that the file does not hold as it should; -1: none. */
int image_find_wrong(const struct image *image);
