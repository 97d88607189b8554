// SPDX-License-Identifier: Apache-2.0
// Finds an option by name, converts its argument, prints its help.
#include "applets/options.h"

#include <stdio.h>
#include <string.h>

#include "core/log.h"

// True if `word`, of len bytes, is one of the words that `separator` parts in `list`; *index says which.
static bool list_has(const char *list, char separator, const char *word, size_t len,
		     unsigned *index)
{
	*index = 0;
	while (list) {
		const char *end = strchr(list, separator);
		size_t item_len = end ? (size_t)(end - list) : strlen(list);

		if (item_len == len && memcmp(list, word, len) == 0)
			return true;
		list = end ? end + 1 : NULL;
		++*index;
	}
	return false;
}

static bool option_is_named(const struct option *option, const char *name, size_t len)
{
	unsigned ignored;

	return list_has(option->name, ',', name, len, &ignored) ||
	       list_has(option->aliases, ',', name, len, &ignored);
}

// A number, with a unit behind it if `units` has any. 0 or -EINVAL.
static int parse_number(const char *text, const char *units, u64 *value)
{
	char *end;
	u64 number, unit = 1;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	number = strtoull(text, &end, 0);
	if (errno)
		return -EINVAL;
	if (*end && strchr(units, *end))
		unit = BIT64(10 * (strchr(units, *end++) - units + 1));
	return *end || mul_overflows(number, unit, value) ? -EINVAL : 0;
}

int options_parse_size(const char *text, u64 *size)
{
	return parse_number(text, "KMGT", size);
}

static int set_number(const struct option *option, const char *text, u64 *value)
{
	bool is_size = option->type == OPTION_SIZE;
	u64 number;

	if (parse_number(text, is_size ? "KMGT" : "", &number))
		return log_errno(-EINVAL, "--%s %s: not a %s", option->name, text,
				 is_size ? "size, such as 512M or 4G" : "number");
	if (number < option->min || number > option->max)
		return log_errno(-EINVAL, "--%s %s: must be %llu to %llu", option->name, text,
				 (unsigned long long)option->min, (unsigned long long)option->max);
	*value = number;
	return 0;
}

static int add_item(const struct option *option, const char *text, struct option_list *list)
{
	unsigned most = min_uint((unsigned)option->max, OPTION_LIST_MAX);

	if (list->count == most)
		return log_errno(-EINVAL, "--%s %s: at most %u of them, please", option->name, text,
				 most);
	list->items[list->count++] = text;
	return 0;
}

static int set_value(const struct option *option, const char *text, void *values)
{
	void *value = (char *)values + option->offset;

	switch (option->type) {
	case OPTION_FLAG:
		*(bool *)value = true;
		return 0;
	case OPTION_TEXT:
		*(const char **)value = text;
		return 0;
	case OPTION_NUMBER:
	case OPTION_SIZE:
		return set_number(option, text, value);
	case OPTION_CHOICE:
		if (!list_has(option->choices, '|', text, strlen(text), value))
			return log_errno(-EINVAL, "--%s %s: must be one of %s", option->name, text,
					 option->choices);
		return 0;
	case OPTION_LIST:
		return add_item(option, text, value);
	}
	return -EINVAL;
}

static void set_default(const struct option *option, void *values)
{
	void *value = (char *)values + option->offset;
	int error = 0;

	if (option->initial)
		error = set_value(option, option->initial, values);
	else if (option->type == OPTION_NUMBER || option->type == OPTION_SIZE)
		*(u64 *)value = OPTION_UNSET;
	else if (option->type == OPTION_FLAG)
		*(bool *)value = false;
	else if (option->type == OPTION_TEXT)
		*(const char **)value = NULL;
	else if (option->type == OPTION_LIST)
		((struct option_list *)value)->count = 0;
	assert(error == 0); // a table's own default must be valid
}

void options_set_defaults(const struct option_table *tables, size_t table_count)
{
	for (size_t t = 0; t < table_count; t++)
		for (size_t i = 0; i < tables[t].count; i++)
			set_default(&tables[t].options[i], tables[t].values);
}

// What an argument such as "--path=x", "--path", "-sx" or "-s" names.
struct spelling {
	const char *name;
	size_t name_len;
	const char *value; // NULL: the next argument
	bool is_letter;
};

static struct spelling spelling_of(const char *argument)
{
	const char *equals = strchr(argument, '=');

	if (argument[1] != '-')
		return (struct spelling){.name = argument + 1,
					 .name_len = 1,
					 .value = argument[2] ? argument + 2 : NULL,
					 .is_letter = true};
	return (struct spelling){.name = argument + 2,
				 .name_len = equals ? (size_t)(equals - argument - 2)
						    : strlen(argument + 2),
				 .value = equals ? equals + 1 : NULL};
}

static const struct option *find_option(const struct option_table *tables, size_t table_count,
					const struct spelling *spelling, void **values)
{
	for (size_t t = 0; t < table_count; t++)
		for (size_t i = 0; i < tables[t].count; i++) {
			const struct option *option = &tables[t].options[i];

			*values = tables[t].values;
			if (spelling->is_letter
				    ? option->letter == *spelling->name
				    : option_is_named(option, spelling->name, spelling->name_len))
				return option;
		}
	return NULL;
}

// Parses the option at arguments[*next] and moves past it and its argument.
static int parse_one(const struct option_table *tables, size_t table_count, char *const *arguments,
		     int count, int *next)
{
	const char *argument = arguments[(*next)++];
	struct spelling spelling = spelling_of(argument);
	void *values;
	const struct option *option = find_option(tables, table_count, &spelling, &values);

	if (!option)
		return log_errno(-EINVAL, "%s: no such option; see --help", argument);
	if (option->type == OPTION_FLAG && spelling.value)
		return log_errno(-EINVAL, "%s: --%s takes no argument", argument, option->name);
	if (option->type != OPTION_FLAG && !spelling.value && *next == count)
		return log_errno(-EINVAL, "--%s needs an argument: %s", option->name,
				 option->argument ? option->argument : option->choices);
	if (option->type != OPTION_FLAG && !spelling.value)
		spelling.value = arguments[(*next)++];
	return set_value(option, spelling.value, values);
}

int options_parse(const struct option_table *tables, size_t table_count, char *const *arguments,
		  int count, int *next)
{
	while (*next < count && arguments[*next][0] == '-' && arguments[*next][1]) {
		int error;

		if (strcmp(arguments[*next], "--") == 0) {
			++*next;
			return 0;
		}
		error = parse_one(tables, table_count, arguments, count, next);
		if (error)
			return error;
	}
	return 0;
}

void options_print_help(const struct option *options, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct option *option = &options[i];
		const char *argument = option->argument ? option->argument : option->choices;
		char spelled[64];

		snprintf(spelled, sizeof(spelled), "%s%c%s --%s%s%s", option->letter ? "-" : " ",
			 option->letter ? option->letter : ' ', option->letter ? "," : " ",
			 option->name, argument ? " " : "", argument ? argument : "");
		printf("  %-38s %s", spelled, option->help);
		if (option->initial)
			printf(" [%s]", option->initial);
		printf("\n");
	}
}
