// SPDX-License-Identifier: Apache-2.0
// The distance of Damerau and Levenshtein: how many letters are too many, missing, wrong, or change places with the next.
#include "applets/nearest.h"

#include <string.h>

enum { MOST_LEN = 32, LETTERS_PER_SLIP = 3, MOST_SLIPS = 2 };

static unsigned least(unsigned a, unsigned b, unsigned c)
{
	return min_uint(a, min_uint(b, c));
}

// Row i of the table is what the first i letters of a are away from the first j of b.
static unsigned distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	unsigned rows[MOST_LEN + 1][MOST_LEN + 1];

	for (unsigned j = 0; j <= b_len; j++)
		rows[0][j] = j;
	for (unsigned i = 1; i <= a_len; i++) {
		rows[i][0] = i;
		for (unsigned j = 1; j <= b_len; j++) {
			rows[i][j] = least(rows[i - 1][j] + 1, rows[i][j - 1] + 1,
					   rows[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				rows[i][j] = min_uint(rows[i][j], rows[i - 2][j - 2] + 1);
		}
	}
	return rows[a_len][b_len];
}

void nearest_init(struct nearest *nearest, const char *word, size_t len)
{
	*nearest = (struct nearest){
		.word = word,
		.len = len,
		.distance = min_uint((unsigned)len / LETTERS_PER_SLIP, MOST_SLIPS) + 1};
}

void nearest_offer(struct nearest *nearest, const char *candidate, size_t len)
{
	unsigned away;

	if (len > MOST_LEN || nearest->len > MOST_LEN)
		return;
	away = distance(nearest->word, nearest->len, candidate, len);
	if (away >= nearest->distance)
		return;
	nearest->distance = away;
	nearest->best = candidate;
	nearest->best_len = len;
}

void nearest_offer_list(struct nearest *nearest, const char *list, char separator)
{
	while (list) {
		const char *end = strchr(list, separator);

		nearest_offer(nearest, list, end ? (size_t)(end - list) : strlen(list));
		list = end ? end + 1 : NULL;
	}
}
