// SPDX-License-Identifier: Apache-2.0
// Tests of applets/options.c.
#include "tests/unit/unit.h"

#include <string.h>
#include <unistd.h>

#include "applets/options.h"

struct values {
	bool flag, other_flag;
	const char *text;
	u64 number, size, mode;
	unsigned choice;
	struct option_list list;
};

struct more_values {
	const char *text;
};

// clang-format off
static const struct option rows[] = {
	{.name = "flag", .letter = 'f', .type = OPTION_FLAG, .help = "a flag", .offset = offsetof(struct values, flag)},
	{.name = "other-flag", .type = OPTION_FLAG, .help = "another", .offset = offsetof(struct values, other_flag)},
	{.name = "text", .aliases = "word,line", .letter = 't', .type = OPTION_TEXT, .argument = "TEXT", .help = "a text",
	 .may_be_empty = true, .offset = offsetof(struct values, text)},
	{.name = "number", .letter = 'n', .type = OPTION_NUMBER, .argument = "N", .min = 3, .max = 100, .help = "a number",
	 .offset = offsetof(struct values, number)},
	{.name = "size", .type = OPTION_SIZE, .argument = "BYTES", .initial = "4K", .min = 512, .max = UINT64_MAX,
	 .help = "a size", .offset = offsetof(struct values, size)},
	{.name = "choice", .type = OPTION_CHOICE, .choices = "one|two|three", .initial = "two", .help = "a choice",
	 .offset = offsetof(struct values, choice)},
	{.name = "mode", .type = OPTION_MODE, .argument = "MODE", .initial = "0600", .max = 0777, .help = "a mode",
	 .offset = offsetof(struct values, mode)},
	{.name = "item", .type = OPTION_LIST, .argument = "ITEM", .max = 3, .help = "an item",
	 .offset = offsetof(struct values, list)},
};
static const struct option more_rows[] = {
	{.name = "more", .letter = 'm', .type = OPTION_TEXT, .argument = "TEXT", .help = "more",
	 .offset = offsetof(struct more_values, text)},
};
// clang-format on

static struct values values;
static struct more_values more;
static int next;
static u64 given;

static int setup(void **state)
{
	(void)state;
	memset(&values, 0xee, sizeof(values));
	memset(&more, 0xee, sizeof(more));
	next = 0;
	return 0;
}

static int parse_words(const char *const *words, int count)
{
	const struct option_table tables[] = {
		{.options = rows, .count = ARRAY_SIZE(rows), .values = &values, .given = &given},
		{.options = more_rows, .count = ARRAY_SIZE(more_rows), .values = &more},
	};

	next = 0;
	given = 0;
	options_set_defaults(tables, ARRAY_SIZE(tables));
	return options_parse(tables, ARRAY_SIZE(tables), (char *const *)words, count, &next);
}
// What options_parse answers to these words.
#define PARSE(...) \
	parse_words((const char *const[]){__VA_ARGS__}, \
		    ARRAY_SIZE(((const char *const[]){__VA_ARGS__})))

// The words are refused, with one line on standard error that holds this text.
static void expect_refused(const char *text, int result)
{
	const char *line = unit_captured();

	assert_int_equal(result, -EINVAL);
	if (!strstr(line, text))
		fail_msg("\"%s\" does not say \"%s\"", line, text);
	assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
}
#define REFUSED(text, ...) (unit_capture(STDERR_FILENO), expect_refused(text, PARSE(__VA_ARGS__)))

TEST(defaults_are_set)
{
	assert_int_equal(parse_words(NULL, 0), 0);
	assert_false(values.flag);
	assert_null(values.text);
	assert_true(values.number == OPTION_UNSET);
	assert_int_equal(values.size, 4096);
	assert_int_equal(values.choice, 1);
	assert_int_equal(values.list.count, 0);
	assert_null(more.text);
}

TEST(options_are_found_by_name_alias_and_letter)
{
	assert_int_equal(PARSE("--flag", "--text", "a"), 0);
	assert_true(values.flag);
	assert_false(values.other_flag);
	assert_string_equal(values.text, "a");
	assert_int_equal(PARSE("-f", "-t", "b"), 0);
	assert_true(values.flag);
	assert_string_equal(values.text, "b");
	assert_int_equal(PARSE("--word", "c"), 0);
	assert_string_equal(values.text, "c");
	assert_int_equal(PARSE("--line=d"), 0);
	assert_string_equal(values.text, "d");
}

TEST(argument_comes_behind_a_space_an_equals_sign_or_the_letter)
{
	assert_int_equal(PARSE("--text=a=b"), 0);
	assert_string_equal(values.text, "a=b");
	assert_int_equal(PARSE("--text="), 0);
	assert_string_equal(values.text, "");
	assert_int_equal(PARSE("-tabc"), 0);
	assert_string_equal(values.text, "abc");
	assert_int_equal(PARSE("-n7"), 0);
	assert_int_equal(values.number, 7);
}

TEST(argument_may_look_like_an_option)
{
	assert_int_equal(PARSE("--text", "--flag"), 0);
	assert_string_equal(values.text, "--flag");
	assert_false(values.flag);
	assert_int_equal(PARSE("--text", "--"), 0);
	assert_string_equal(values.text, "--");
}

TEST(option_that_is_given_twice_is_refused)
{
	REFUSED("--number is given twice", "--number", "5", "-n6");
	REFUSED("--text is given twice", "--word", "x", "--line=x");
	REFUSED("--flag is given twice", "-f", "--flag");
	REFUSED("--choice is given twice", "--choice=one", "--choice=two");
	assert_int_equal(PARSE("-f", "--other-flag"), 0);
}

TEST(table_without_a_note_of_what_was_given_takes_the_last)
{
	assert_int_equal(PARSE("--more", "a", "-mb"), 0);
	assert_string_equal(more.text, "b");
}

TEST(empty_text_is_refused_unless_it_means_something)
{
	assert_int_equal(PARSE("--text="), 0);
	REFUSED("--more is empty; it needs TEXT", "--more", "");
	REFUSED("--more is empty", "--more=");
}

TEST(near_miss_is_told)
{
	REFUSED("--falg: no such option; do you mean --flag?", "--falg");
	REFUSED("--txt: no such option; do you mean --text?", "--txt=x");
	REFUSED("--ohter-flga: no such option; do you mean --other-flag?", "--ohter-flga");
	REFUSED("--wrd: no such option; do you mean --word?", "--wrd");
	REFUSED("--choice tow: must be one of one|two|three; do you mean two?", "--choice", "tow");
	REFUSED("--quite-other: no such option; see --help", "--quite-other");
	REFUSED("-x: no such option; see --help", "-x");
	REFUSED("-text: do you mean --text?", "-text", "x");
	REFUSED("-number=7: do you mean --number=7?", "-number=7");
}

TEST(all_tables_are_looked_through)
{
	assert_int_equal(PARSE("-m", "x", "-f"), 0);
	assert_string_equal(more.text, "x");
	assert_true(values.flag);
}

TEST(parsing_ends_at_the_first_word_that_is_no_option)
{
	assert_int_equal(PARSE("-f", "word", "--other-flag"), 0);
	assert_int_equal(next, 1);
	assert_false(values.other_flag);
	assert_int_equal(PARSE("-", "-f"), 0);
	assert_int_equal(next, 0);
}

TEST(two_dashes_end_the_options)
{
	assert_int_equal(PARSE("-f", "--", "--other-flag"), 0);
	assert_int_equal(next, 2);
	assert_true(values.flag);
	assert_false(values.other_flag);
}

TEST(unknown_options_are_refused)
{
	REFUSED("--nonsense: no such option", "--nonsense");
	REFUSED("-x: no such option", "-x");
	REFUSED("no such option", "--fla");
	REFUSED("no such option", "--flags");
	REFUSED("no such option", "--=x");
	REFUSED("no such option", "--word,line", "x");
}

TEST(flag_with_an_argument_is_refused)
{
	REFUSED("--flag takes no argument", "--flag=yes");
	REFUSED("--flag takes no argument", "-fx");
}

TEST(missing_argument_is_told)
{
	REFUSED("--text needs an argument: TEXT", "--text");
	REFUSED("--choice needs an argument: one|two|three", "-f", "--choice");
	REFUSED("--number needs an argument: N", "-n");
}

TEST(numbers_are_decimal_or_hexadecimal)
{
	assert_int_equal(PARSE("-n", "42"), 0);
	assert_int_equal(values.number, 42);
	assert_int_equal(PARSE("-n", "0x2a"), 0);
	assert_int_equal(values.number, 42);
	assert_int_equal(PARSE("-n", "0X2A"), 0);
	assert_int_equal(values.number, 42);
	assert_int_equal(PARSE("-n", "042"), 0);
	assert_int_equal(values.number, 42);
	assert_int_equal(PARSE("-n", "009"), 0);
	assert_int_equal(values.number, 9);
}

TEST(what_is_no_number_is_refused)
{
	static const char *const bad[] = {"",
					  "x",
					  "-5",
					  "+5",
					  " 5",
					  "5 ",
					  "5x",
					  "4K",
					  "0x",
					  "0x8h",
					  "1e1",
					  "5,6",
					  "99999999999999999999"};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		REFUSED("not a number", "--number", bad[i]);
}

TEST(numbers_have_limits)
{
	assert_int_equal(PARSE("-n3"), 0);
	assert_int_equal(PARSE("-n100"), 0);
	REFUSED("must be 3 to 100", "-n2");
	REFUSED("must be 3 to 100", "-n101");
	REFUSED("must be 3 to 100", "-n0");
}

TEST(sizes_have_units_of_powers_of_1024)
{
	static const struct {
		const char *text;
		u64 size;
	} good[] = {{"512", 512},      {"1K", 1024},	  {"3M", 3 << 20},
		    {"4G", BIT64(32)}, {"2T", BIT64(41)}, {"1k", 1024},
		    {"3m", 3 << 20},   {"4g", BIT64(32)}, {"2t", BIT64(41)},
		    {"0x10K", 16384},  {"010K", 10240},	  {"16777215T", 16777215 * BIT64(40)}};

	for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(PARSE("--size", good[i].text), 0);
		assert_true(values.size == good[i].size);
	}
}

TEST(what_is_no_size_is_refused)
{
	static const char *const bad[] = {"",	 "K",  "1kb",	    "1KB",	    "1KK",
					  "1 K", "1P", "16777216T", "20000000000G", "-1K"};
	u64 size;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		REFUSED("not a size", "--size", bad[i]);
		assert_int_equal(options_parse_size(bad[i], &size), -EINVAL);
	}
	REFUSED("must be 512", "--size", "511");
}

TEST(modes_are_octal)
{
	static const struct {
		const char *text;
		u64 mode;
	} good[] = {{"600", 0600}, {"0660", 0660}, {"0", 0}, {"777", 0777}, {"00440", 0440}};
	static const char *const bad[] = {"", "8", "0x1ff", "rw", "-600", "6 0", "u+x"};

	assert_int_equal(parse_words(NULL, 0), 0);
	assert_int_equal(values.mode, 0600);
	for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(PARSE("--mode", good[i].text), 0);
		assert_int_equal(values.mode, good[i].mode);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		REFUSED("not a mode in octal", "--mode", bad[i]);
	REFUSED("--mode 1000: must be 0 to 777", "--mode", "1000");
}

TEST(choice_is_one_of_its_words)
{
	assert_int_equal(PARSE("--choice", "one"), 0);
	assert_int_equal(values.choice, 0);
	assert_int_equal(PARSE("--choice=three"), 0);
	assert_int_equal(values.choice, 2);
	REFUSED("must be one of one|two|three", "--choice", "four");
	REFUSED("must be one of one|two|three", "--choice", "thre");
	REFUSED("must be one of one|two|three", "--choice", "");
	REFUSED("must be one of one|two|three", "--choice", "one|two");
}

TEST(list_collects_its_items_up_to_its_limit)
{
	assert_int_equal(PARSE("--item", "a", "--item=b", "-f", "--item", "c"), 0);
	assert_int_equal(values.list.count, 3);
	assert_string_equal(values.list.items[0], "a");
	assert_string_equal(values.list.items[2], "c");
	REFUSED("at most 3", "--item=a", "--item=b", "--item=c", "--item=d");
}

TEST(help_names_every_option_its_letter_argument_and_default)
{
	const char *text;

	unit_capture(STDOUT_FILENO);
	options_print_help(rows, ARRAY_SIZE(rows));
	text = unit_captured();
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_non_null(strstr(text, rows[i].name));
		assert_non_null(strstr(text, rows[i].help));
	}
	assert_non_null(strstr(text, "-t, --text TEXT"));
	assert_non_null(strstr(text, "--choice one|two|three"));
	assert_non_null(strstr(text, "[two]"));
	assert_non_null(strstr(text, "[4K]"));
}

#define OPTION_TEST(name) RUN_WITH(setup, name, NULL)

int main(void)
{
	const struct CMUnitTest tests[] = {
		OPTION_TEST(defaults_are_set),
		OPTION_TEST(options_are_found_by_name_alias_and_letter),
		OPTION_TEST(argument_comes_behind_a_space_an_equals_sign_or_the_letter),
		OPTION_TEST(argument_may_look_like_an_option),
		OPTION_TEST(option_that_is_given_twice_is_refused),
		OPTION_TEST(table_without_a_note_of_what_was_given_takes_the_last),
		OPTION_TEST(empty_text_is_refused_unless_it_means_something),
		OPTION_TEST(near_miss_is_told),
		OPTION_TEST(all_tables_are_looked_through),
		OPTION_TEST(parsing_ends_at_the_first_word_that_is_no_option),
		OPTION_TEST(two_dashes_end_the_options),
		OPTION_TEST(unknown_options_are_refused),
		OPTION_TEST(flag_with_an_argument_is_refused),
		OPTION_TEST(missing_argument_is_told),
		OPTION_TEST(numbers_are_decimal_or_hexadecimal),
		OPTION_TEST(what_is_no_number_is_refused),
		OPTION_TEST(numbers_have_limits),
		OPTION_TEST(sizes_have_units_of_powers_of_1024),
		OPTION_TEST(what_is_no_size_is_refused),
		OPTION_TEST(modes_are_octal),
		OPTION_TEST(choice_is_one_of_its_words),
		OPTION_TEST(list_collects_its_items_up_to_its_limit),
		OPTION_TEST(help_names_every_option_its_letter_argument_and_default),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
