// SPDX-License-Identifier: Apache-2.0
// Command-line options as tables: parsing, help and completion all come from the same rows.
#pragma once

#include "core/base.h"

enum option_type {
	OPTION_FLAG,   // bool: no argument
	OPTION_TEXT,   // const char *: kept by reference
	OPTION_NUMBER, // u64: decimal, whatever zeroes stand in front, or 0x…
	OPTION_SIZE, // u64: a number with K, M, G or T behind it (or k, m, g, t), in powers of 1024
	OPTION_MODE, // u64: octal, with or without a 0 in front
	OPTION_CHOICE, // unsigned: which of the words in `choices`
	OPTION_LIST, // struct option_list: each time the option is given adds a text, kept by reference
};

enum { OPTION_LIST_MAX = 32 };

struct option_list {
	const char *items[OPTION_LIST_MAX];
	unsigned count;
};

#define OPTION_UNSET UINT64_MAX // a number or size without default that was not given

struct option {
	const char *name;    // "socket"
	const char *aliases; // "socket-path,unix": other names, or NULL
	enum option_type type;
	char letter;	   // 's', or 0
	bool may_be_empty; // of a text: if not, an empty one is refused
	const char *
		argument; // what stands for the argument in help: "PATH"; NULL for flags and choices
	const char *choices; // "auto|uring|sync"
	const char *initial; // the default, as it would be typed; NULL: unset
	u64 min, max;	     // of numbers and sizes; max: of a list, how often it may be given
	const char *help;    // one line
	size_t offset;	     // where its value is in the table's struct of values
};

// A table, at most 64 rows, and the struct that its values go to.
struct option_table {
	const struct option *options;
	size_t count;
	void *values;
	u64 *given; // which rows have been given, by bit; each may be once, but for lists. NULL: as often as you like
};

// Writes all defaults to the tables' values.
void options_set_defaults(const struct option_table *tables, size_t table_count);

// Parses arguments[*next] and what follows, up to the first that is no option; *next is its index then. "--" is
// skipped and ends the options. 0, or -EINVAL with one line on standard error that says what and why.
must_check int options_parse(const struct option_table *tables, size_t table_count,
			     char *const *arguments, int count, int *next);

// Converts a size such as "4096", "512M" or "4g"; a decimal number. 0 or -EINVAL, nothing logged.
must_check int options_parse_size(const char *text, u64 *size);
must_check int options_parse_number(const char *text, u64 *number);

// Prints one line or two for each option of a table.
void options_print_help(const struct option *options, size_t count);
