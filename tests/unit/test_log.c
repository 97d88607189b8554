// SPDX-License-Identifier: Apache-2.0
// Tests of core/log.c.
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/log.h"

static char expected[256];

// What a line with this text must be.
static const char *line(const char *text)
{
	snprintf(expected, sizeof(expected), "unit[%d]: %s\n", (int)getpid(), text);
	return expected;
}

TEST(line_names_program_process_and_level)
{
	log_init("unit", LOG_LEVEL_TRACE);
	unit_capture(STDERR_FILENO);
	log_error("ring %u broken", 7);
	assert_string_equal(unit_captured(), line("error: ring 7 broken"));
	unit_capture(STDERR_FILENO);
	log_warning("odd");
	assert_string_equal(unit_captured(), line("warning: odd"));
	unit_capture(STDERR_FILENO);
	log_info("told");
	assert_string_equal(unit_captured(), line("told"));
	unit_capture(STDERR_FILENO);
	log_debug("seen");
	assert_string_equal(unit_captured(), line("debug: seen"));
	unit_capture(STDERR_FILENO);
	log_line(LOG_LEVEL_TRACE, "traced");
	assert_string_equal(unit_captured(), line("trace: traced"));
}

TEST(less_important_lines_than_wanted_are_left_out)
{
	log_init("unit", LOG_LEVEL_WARNING);
	unit_capture(STDERR_FILENO);
	log_info("not wanted");
	log_debug("not wanted");
	log_warning("wanted");
	assert_string_equal(unit_captured(), line("warning: wanted"));
}

TEST(errno_is_spelt_out_and_answered)
{
	log_init("unit", LOG_LEVEL_ERROR);
	unit_capture(STDERR_FILENO);
	assert_int_equal(log_errno(-ENOENT, "cannot open %s", "x"), -ENOENT);
	assert_string_equal(unit_captured(),
			    line("error: cannot open x: No such file or directory"));
}

TEST(errno_zero_adds_no_text)
{
	log_init("unit", LOG_LEVEL_ERROR);
	unit_capture(STDERR_FILENO);
	assert_int_equal(log_errno(0, "plain"), 0);
	assert_string_equal(unit_captured(), line("error: plain"));
}

TEST(overlong_line_is_cut_and_still_ends)
{
	char text[5000];
	const char *captured;

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	log_init("unit", LOG_LEVEL_ERROR);
	unit_capture(STDERR_FILENO);
	assert_int_equal(log_errno(-EIO, "%s", text), -EIO);
	captured = unit_captured();
	assert_in_range(strlen(captured), 1000, 1024);
	assert_ptr_equal(strchr(captured, '\n'), captured + strlen(captured) - 1);
}

TEST(nobody_listening_on_standard_error_is_no_failure)
{
	int saved = dup(STDERR_FILENO);

	log_init("unit", LOG_LEVEL_ERROR);
	close(STDERR_FILENO);
	assert_int_equal(log_errno(-EIO, "lost"), -EIO);
	assert_int_equal(dup2(saved, STDERR_FILENO), STDERR_FILENO);
	close(saved);
}

TEST(lines_that_a_full_pipe_did_not_take_are_counted)
{
	int saved = dup(STDERR_FILENO), ends[2];
	char filling[4096] = {0}, read_back[sizeof(filling)];
	size_t filled = 0;
	ssize_t len;

	log_init("unit", LOG_LEVEL_ERROR);
	assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
	while ((len = write(ends[1], filling, sizeof(filling))) > 0)
		filled += (size_t)len;
	dup2(ends[1], STDERR_FILENO);
	log_error("lost");
	log_error("lost");
	while (filled > 0)
		filled -= (size_t)read(ends[0], read_back, sizeof(read_back));
	log_error("told");
	dup2(saved, STDERR_FILENO);
	len = read(ends[0], read_back, sizeof(read_back) - 1);
	assert_true(len > 0);
	read_back[len] = '\0';
	assert_string_equal(read_back, line("error: (2 lines dropped) told"));
	close(ends[0]);
	close(ends[1]);
	close(saved);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(line_names_program_process_and_level),
		RUN(less_important_lines_than_wanted_are_left_out),
		RUN(errno_is_spelt_out_and_answered),
		RUN(errno_zero_adds_no_text),
		RUN(overlong_line_is_cut_and_still_ends),
		RUN(lines_that_a_full_pipe_did_not_take_are_counted),
		RUN(nobody_listening_on_standard_error_is_no_failure),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
