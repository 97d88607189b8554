// SPDX-License-Identifier: Apache-2.0
// The kernel shows as the command line what stands where the arguments were.
#include "core/process_name.h"

#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

static char *place;
static size_t place_len;

char **process_name_take_place(int count, char **arguments)
{
	char **copies = calloc((size_t)count + 1, sizeof(*copies));

	for (int i = 0; copies && i < count; i++) {
		copies[i] = strdup(arguments[i]);
		if (!copies[i]) {
			free(copies);
			return NULL; // the process ends
		}
		if (i == 0 || arguments[i] == place + place_len) {
			place = i == 0 ? arguments[i] : place;
			place_len += strlen(arguments[i]) + 1;
		}
	}
	return copies;
}

void process_name_set(const char *role, int parent)
{
	prctl(PR_SET_NAME, role);
	if (place_len == 0)
		return; // a test's process
	memset(place, 0, place_len);
	snprintf(place, place_len, "vhost-multi %s of %d", role, parent);
}
