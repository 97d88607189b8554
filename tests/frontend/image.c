// SPDX-License-Identifier: Apache-2.0
//
// Images that verify themselves.

#include "tests/frontend/image.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void image_fill(void *data, unsigned block, uint64_t version)
{
	uint64_t *words = data;

	for (unsigned i = 0; i < IMAGE_BLOCK / sizeof(*words); i++)
		words[i] = version << 32 | (uint64_t)block << 16 | i;
}

bool image_is(const void *data, unsigned block, uint64_t version)
{
	uint64_t expected[IMAGE_BLOCK / sizeof(uint64_t)];

	image_fill(expected, block, version);
	return memcmp(data, expected, IMAGE_BLOCK) == 0;
}

int image_make(struct image *image)
{
	uint64_t words[IMAGE_BLOCK / sizeof(uint64_t)];
	FILE *file = fopen(image->path, "we");

	if (!file)
		return -1;
	for (unsigned block = 0; block < IMAGE_BLOCKS; block++) {
		image_fill(words, block, 0);
		fwrite(words, IMAGE_BLOCK, 1, file);
		image->versions[block] = 0;
	}
	return fclose(file);
}

int image_find_wrong(const struct image *image)
{
	uint64_t data[IMAGE_BLOCK / sizeof(uint64_t)];
	int fd = open(image->path, O_RDONLY | O_CLOEXEC), block = 0;

	while (block < IMAGE_BLOCKS &&
	       pread(fd, data, IMAGE_BLOCK, (off_t)block * IMAGE_BLOCK) == IMAGE_BLOCK &&
	       image_is(data, (unsigned)block, image->versions[block]))
		block++;
	close(fd);
	return block < IMAGE_BLOCKS ? block : -1;
}
