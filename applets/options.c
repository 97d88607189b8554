// SPDX-License-Identifier: Apache-2.0
// Finds an option by name, converts its argument, prints its help.
#include "applets/options.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "applets/nearest.h"
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
static int parse_number(const char *text, int base, const char *units, u64 *value)
{
	char *end;
	u64 number, unit = 1;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	number = strtoull(text, &end, base);
	if (errno)
		return -EINVAL;
	if (*end && strchr(units, toupper(*end)))
		unit = BIT64(10 * (strchr(units, toupper(*end++)) - units + 1));
	return *end || mul_overflows(number, unit, value) ? -EINVAL : 0;
}

// A 0 in front is no more than that: who pads ids with zeroes does not mean another user.
static int base_of(const char *text)
{
	return text[0] == '0' && tolower(text[1]) == 'x' ? 16 : 10;
}

int options_parse_size(const char *text, u64 *size)
{
	return parse_number(text, base_of(text), "KMGT", size);
}

int options_parse_number(const char *text, u64 *number)
{
	return parse_number(text, 10, "", number);
}

static int set_number(const struct option *option, const char *text, u64 *value)
{
	bool is_size = option->type == OPTION_SIZE;
	u64 number;

	if (parse_number(text, base_of(text), is_size ? "KMGT" : "", &number))
		return log_errno(-EINVAL, "--%s %s: not a %s", option->name, text,
				 is_size ? "size, such as 512M or 4G" : "number");
	if (number < option->min || number > option->max)
		return log_errno(-EINVAL, "--%s %s: must be %llu to %llu", option->name, text,
				 (unsigned long long)option->min, (unsigned long long)option->max);
	*value = number;
	return 0;
}

// As chmod(1) reads it.
static int set_mode(const struct option *option, const char *text, u64 *value)
{
	u64 mode;

	if (parse_number(text, 8, "", &mode))
		return log_errno(-EINVAL, "--%s %s: not a mode in octal, such as 660", option->name,
				 text);
	if (mode > option->max)
		return log_errno(-EINVAL, "--%s %s: must be 0 to %llo", option->name, text,
				 (unsigned long long)option->max);
	*value = mode;
	return 0;
}

static int set_text(const struct option *option, const char *text, const char **value)
{
	if (!*text && !option->may_be_empty)
		return log_errno(-EINVAL, "--%s is empty; it needs %s", option->name,
				 option->argument);
	*value = text;
	return 0;
}

static int set_choice(const struct option *option, const char *text, unsigned *value)
{
	struct nearest nearest;

	if (list_has(option->choices, '|', text, strlen(text), value))
		return 0;
	nearest_init(&nearest, text, strlen(text));
	nearest_offer_list(&nearest, option->choices, '|');
	return log_errno(-EINVAL, "--%s %s: must be one of %s%s%.*s%s", option->name, text,
			 option->choices, nearest.best ? "; do you mean " : "",
			 (int)nearest.best_len, nearest.best ?: "", nearest.best ? "?" : "");
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
		return set_text(option, text, value);
	case OPTION_NUMBER:
	case OPTION_SIZE:
		return set_number(option, text, value);
	case OPTION_MODE:
		return set_mode(option, text, value);
	case OPTION_CHOICE:
		return set_choice(option, text, value);
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
	else if (option->type == OPTION_NUMBER || option->type == OPTION_SIZE ||
		 option->type == OPTION_MODE)
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

// Its row in one of the tables, -1: none has it.
static int find_row(const struct option_table *table, const struct spelling *spelling)
{
	for (size_t i = 0; i < table->count; i++) {
		const struct option *option = &table->options[i];

		if (spelling->is_letter
			    ? option->letter == *spelling->name
			    : option_is_named(option, spelling->name, spelling->name_len))
			return (int)i;
	}
	return -1;
}

static int unknown(const struct option_table *tables, size_t table_count,
		   const struct spelling *spelling)
{
	struct nearest nearest;

	nearest_init(&nearest, spelling->name, spelling->name_len);
	for (size_t t = 0; t < table_count && !spelling->is_letter; t++)
		for (size_t i = 0; i < tables[t].count; i++) {
			nearest_offer_list(&nearest, tables[t].options[i].name, ',');
			nearest_offer_list(&nearest, tables[t].options[i].aliases, ',');
		}
	return log_errno(-EINVAL, "-%s%.*s: no such option%s%.*s%s", spelling->is_letter ? "" : "-",
			 (int)spelling->name_len, spelling->name,
			 nearest.best ? "; do you mean --" : "", (int)nearest.best_len,
			 nearest.best ?: "", nearest.best ? "?" : "; see --help");
}

// "-socket x" is no -s with the path "ocket".
static bool lacks_a_dash(const struct option_table *table, const char *argument)
{
	size_t len = strcspn(argument + 1, "=");

	for (size_t i = 0; i < table->count && len > 1; i++)
		if (option_is_named(&table->options[i], argument + 1, len))
			return true;
	return false;
}

// Notes that the row's option was given.
static int note_given(const struct option_table *table, size_t row)
{
	assert(row < 64);
	if (!table->given || table->options[row].type == OPTION_LIST)
		return 0;
	if (*table->given & BIT64(row))
		return log_errno(-EINVAL, "--%s is given twice", table->options[row].name);
	*table->given |= BIT64(row);
	return 0;
}

// Parses the option of this row, which stands before arguments[*next], and moves past its argument.
static int parse_row(const struct option_table *table, size_t row, struct spelling *spelling,
		     char *const *arguments, int count, int *next)
{
	const struct option *option = &table->options[row];
	bool is_flag = option->type == OPTION_FLAG;

	if (is_flag && spelling->value)
		return log_errno(-EINVAL, "%s: --%s takes no argument", arguments[*next - 1],
				 option->name);
	if (!is_flag && !spelling->value && *next == count)
		return log_errno(-EINVAL, "--%s needs an argument: %s", option->name,
				 option->argument ? option->argument : option->choices);
	if (!is_flag && !spelling->value)
		spelling->value = arguments[(*next)++];
	return note_given(table, row) ?: set_value(option, spelling->value, table->values);
}

// Parses the option at arguments[*next] and moves past it and its argument.
static int parse_one(const struct option_table *tables, size_t table_count, char *const *arguments,
		     int count, int *next)
{
	const char *argument = arguments[(*next)++];
	struct spelling spelling = spelling_of(argument);

	for (size_t t = 0; t < table_count && spelling.is_letter; t++)
		if (lacks_a_dash(&tables[t], argument))
			return log_errno(-EINVAL, "%s: do you mean -%s?", argument, argument);
	for (size_t t = 0; t < table_count; t++) {
		int row = find_row(&tables[t], &spelling);

		if (row >= 0)
			return parse_row(&tables[t], (size_t)row, &spelling, arguments, count,
					 next);
	}
	return unknown(tables, table_count, &spelling);
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
