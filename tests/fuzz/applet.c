// SPDX-License-Identifier: Apache-2.0
// Opens an applet as main() does, but for the lockdown.
#include "tests/fuzz/applet.h"

#include <stdarg.h>

#include "core/log.h"

enum { MOST_WORDS = 8, MOST_DEVICES = 8 };

// The options' values must be kept as long as their device.
static struct {
	struct device *device;
	void *values;
} opened[MOST_DEVICES];

static int lock_nothing(void *context, const struct syscall_rule *rules, size_t count)
{
	(void)context;
	(void)rules;
	(void)count;
	return 0;
}

struct device *fuzz_applet_open(const struct applet *applet, ...)
{
	struct applet_arguments arguments = {.access = {0600, FILE_ACCESS_OURS, FILE_ACCESS_OURS},
					     .lock_helper = lock_nothing};
	struct option_table table = {.options = applet->options, .count = applet->option_count};
	char *words[MOST_WORDS];
	int count = 0, next = 0, error;
	unsigned slot = 0;
	va_list list;

	log_init("fuzz", LOG_LEVEL_ERROR);
	va_start(list, applet);
	while (count < MOST_WORDS && (words[count] = va_arg(list, char *)))
		count++;
	va_end(list);
	while (opened[slot].device)
		slot++;
	assert(slot < MOST_DEVICES && count < MOST_WORDS);
	opened[slot].values = calloc(1, applet->values_size);
	arguments.values = table.values = opened[slot].values;
	options_set_defaults(&table, 1);
	error = options_parse(&table, 1, words, count, &next);
	if (!error)
		error = applet->open(&arguments, &opened[slot].device);
	assert(error == 0);
	return opened[slot].device;
}

void fuzz_applet_close(const struct applet *applet, struct device *device)
{
	unsigned slot = 0;

	while (opened[slot].device != device)
		slot++;
	applet->close(device);
	free(opened[slot].values);
	opened[slot].device = NULL;
}
