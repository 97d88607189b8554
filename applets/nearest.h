// SPDX-License-Identifier: Apache-2.0
// What was meant by a word that is none of those that are known: the nearest of them, if one is near.
#pragma once

#include "core/base.h"

struct nearest {
	const char *word; // what was said, of `len` bytes; kept by reference
	size_t len;
	const char *best; // of `best_len` bytes; NULL: nothing is near
	size_t best_len;
	unsigned distance; // of the best one, or the least that is too much
};

void nearest_init(struct nearest *nearest, const char *word, size_t len);

// Considers one candidate, kept by reference, or all of a list of them that `separator` parts (NULL: an empty one).
void nearest_offer(struct nearest *nearest, const char *candidate, size_t len);
void nearest_offer_list(struct nearest *nearest, const char *list, char separator);
