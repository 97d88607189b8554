// SPDX-License-Identifier: Apache-2.0
// Tests of applets/common.c.
#include "tests/unit/unit.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "applets/common.h"

TEST(every_applet_is_found_by_its_name_its_symlink_and_any_path_to_it)
{
	for (size_t i = 0; applet_list[i]; i++) {
		const struct applet *applet = applet_list[i];
		char name[128];

		assert_ptr_equal(applet_find(applet->name), applet);
		snprintf(name, sizeof(name), "vhost-%s", applet->name);
		assert_ptr_equal(applet_find(name), applet);
		snprintf(name, sizeof(name), "/usr/local/bin/vhost-%s", applet->name);
		assert_ptr_equal(applet_find(name), applet);
	}
	assert_non_null(applet_list[0]);
}

TEST(names_that_are_no_applet_are_not_found)
{
	assert_null(applet_find("nonsense"));
	assert_null(applet_find(""));
	assert_null(applet_find("vhost-"));
	assert_null(applet_find("vhost-multi"));
	assert_null(applet_find("blk/"));
	assert_null(applet_find("blkx"));
}

TEST(every_applet_has_a_complete_description)
{
	for (size_t i = 0; applet_list[i]; i++) {
		const struct applet *applet = applet_list[i];

		assert_true(strlen(applet->summary) > 0 && strlen(applet->backend_type) > 0);
		assert_non_null(applet->capabilities);
		assert_int_equal(applet->examples[strlen(applet->examples) - 1], '\n');
		assert_non_null(applet->open);
		assert_non_null(applet->close);
	}
}

// True if both tables have an option that is called so.
static bool letter_clashes(const struct option *options, size_t count, char letter)
{
	for (size_t i = 0; i < count; i++)
		if (letter && options[i].letter == letter)
			return true;
	return false;
}

TEST(no_letter_of_an_applet_is_one_of_the_common_ones)
{
	for (size_t i = 0; applet_list[i]; i++)
		for (size_t j = 0; j < applet_list[i]->option_count; j++)
			assert_false(letter_clashes(common_option_table, common_option_count,
						    applet_list[i]->options[j].letter));
}

TEST(help_of_an_applet_shows_its_options_and_those_of_serving)
{
	const struct applet *applet = applet_find("blk");
	const char *text;

	unit_capture(STDOUT_FILENO);
	print_applet_help(applet);
	text = unit_captured();
	for (size_t i = 0; i < applet->option_count; i++)
		assert_non_null(strstr(text, applet->options[i].name));
	for (size_t i = 0; i < serving_option_count; i++)
		assert_non_null(strstr(text, common_option_table[i].name));
	assert_non_null(strstr(text, applet->examples));
}

TEST(capabilities_are_json_of_type_and_features)
{
	unit_capture(STDOUT_FILENO);
	print_capabilities(applet_find("blk"));
	assert_string_equal(
		unit_captured(),
		"{\n  \"type\": \"block\",\n  \"features\": [\"read-only\", \"blk-file\"]\n}\n");
}

TEST(list_has_one_name_a_line)
{
	const char *text;

	unit_capture(STDOUT_FILENO);
	print_list();
	text = unit_captured();
	for (size_t i = 0; applet_list[i]; i++) {
		assert_memory_equal(text, applet_list[i]->name, strlen(applet_list[i]->name));
		text += strlen(applet_list[i]->name);
		assert_int_equal(*text++, '\n');
	}
	assert_string_equal(text, "");
}

TEST(symlinks_are_made_for_every_applet)
{
	char folder[128], link[256], target[PATH_MAX] = "", own[PATH_MAX] = "";

	snprintf(folder, sizeof(folder), "%s", unit_path("bin"));
	assert_int_equal(mkdir(folder, 0700), 0);
	assert_true(readlink("/proc/self/exe", own, sizeof(own) - 1) > 0);
	unit_capture(STDOUT_FILENO);
	assert_int_equal(install_symlinks(folder), 0);
	unit_captured();
	for (size_t i = 0; applet_list[i]; i++) {
		snprintf(link, sizeof(link), "%s/vhost-%s", folder, applet_list[i]->name);
		memset(target, 0, sizeof(target));
		assert_true(readlink(link, target, sizeof(target) - 1) > 0);
		assert_string_equal(target, own);
	}
	assert_int_equal(install_symlinks(folder), -EEXIST);
	assert_int_equal(install_symlinks(unit_path("missing")), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(every_applet_is_found_by_its_name_its_symlink_and_any_path_to_it),
		RUN(names_that_are_no_applet_are_not_found),
		RUN(every_applet_has_a_complete_description),
		RUN(no_letter_of_an_applet_is_one_of_the_common_ones),
		RUN(help_of_an_applet_shows_its_options_and_those_of_serving),
		RUN(capabilities_are_json_of_type_and_features),
		RUN(list_has_one_name_a_line),
		RUN(symlinks_are_made_for_every_applet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
