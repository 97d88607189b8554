// SPDX-License-Identifier: Apache-2.0
// Tests of applets/console/log_file.c: what is appended, with the time, and how a full file makes way for a new one.
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "applets/console/log_file.h"
#include "core/helper.h"
#include "core/sys.h"
#include "tests/unit/unit.h"

enum { STAMP = sizeof("2026-01-01T00:00:00.000Z ") - 1, ROTATE = 7 };

static struct log_file log_file; // ("log" is a function of the C library)

static void open_log(const char *name, struct log_file_options options)
{
	options.path = unit_path(name);
	unlink(options.path);
	assert_int_equal(log_file_open(&log_file, &options), 0);
}

static size_t put(const char *text)
{
	return log_file_write(&log_file, (const u8 *)text, strlen(text));
}

static const char *content_of(const char *path)
{
	static char text[8192];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);

	assert_true(len >= 0);
	text[len] = '\0';
	close_fd(&fd);
	return text;
}

static const char *older(unsigned number)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s.%u", log_file.options.path, number);
	return path;
}

static void close_log(void)
{
	log_file_close(&log_file);
	unlink(log_file.options.path);
	for (unsigned i = 1; i <= 4; i++)
		unlink(older(i));
}

TEST(log_appends_to_what_is_there)
{
	const struct log_file_options options = {.path = unit_path("log")};

	for (int i = 0; i < 2; i++) {
		assert_int_equal(log_file_open(&log_file, &options), 0);
		assert_int_equal(put("a\nb"), 3);
		log_file_close(&log_file);
	}
	assert_string_equal(content_of(options.path), "a\nba\nb");
	assert_int_equal(put("closed"), 0);
	close_log();
}

TEST(log_has_the_time_on_each_line_however_its_bytes_come)
{
	const char *text;

	open_log("stamped", (struct log_file_options){.timestamp = true});
	assert_int_equal(put("one\ntw"), 6 + 2 * STAMP);
	assert_int_equal(put("o\n"), 2);
	assert_int_equal(put(""), 0);
	text = content_of(log_file.options.path);
	assert_int_equal(strlen(text), 2 * (STAMP + strlen("one\n")));
	assert_int_equal(text[10], 'T');
	assert_int_equal(text[19], '.');
	assert_non_null(strstr(text, "Z one\n20"));
	assert_non_null(strstr(text, "Z two\n"));
	close_log();
}

// Whatever is written to the file now is a message here.
static int watch_writes(void)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(dup2(fds[1], log_file.fd), log_file.fd);
	close(fds[1]);
	return fds[0];
}

TEST(log_with_the_time_is_written_once_for_a_buffer)
{
	static char bytes[65536];
	char lines[3 * 100 + 1] = "";
	int writes;

	open_log("once", (struct log_file_options){.timestamp = true});
	writes = watch_writes();
	for (size_t i = 0; i < 100; i++)
		memcpy(lines + 3 * i, "ab\n", 4);
	assert_int_equal(put(lines), 100 * (3 + STAMP));
	assert_int_equal(recv(writes, bytes, sizeof(bytes), MSG_DONTWAIT), 100 * (3 + STAMP));
	assert_int_equal(recv(writes, bytes, sizeof(bytes), MSG_DONTWAIT), -1);
	close(writes);
	close_log();
}

TEST(log_with_the_time_takes_more_than_fits_into_its_buffer)
{
	static u8 lines[32 * 1024];
	struct stat file;
	size_t moved;

	open_log("long", (struct log_file_options){.timestamp = true});
	memset(lines, '\n', sizeof(lines));
	moved = log_file_write(&log_file, lines, sizeof(lines));
	assert_int_equal(moved, sizeof(lines) * (1 + STAMP));
	memset(lines, 'x', sizeof(lines));
	for (int i = 0; i < 4; i++)
		moved += log_file_write(&log_file, lines, sizeof(lines));
	assert_int_equal(moved, sizeof(lines) * (5 + STAMP) + STAMP);
	assert_int_equal(fstat(log_file.fd, &file), 0);
	assert_int_equal(file.st_size, moved);
	close_log();
}

TEST(log_that_cannot_be_written_is_told_once)
{
	const char *said;

	unit_capture(2);
	log_file = (struct log_file){.fd = open("/dev/full", O_WRONLY | O_CLOEXEC),
				     .options.path = "the log"};
	put("a");
	put("b");
	said = strstr(unit_captured(), "cannot write to the log");
	assert_non_null(said);
	assert_null(strstr(said + 1, "cannot write"));
	log_file_close(&log_file);
}

// A process of its own, since a limit is one of the whole process.
static int write_beyond_limit(void)
{
	const struct rlimit limit = {5000, RLIM_INFINITY};

	signal(SIGXFSZ, SIG_IGN);
	if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
		return 1;
	for (int i = 0; i < 100; i++) {
		static const u8 bytes[3000];

		log_file_write(&log_file, bytes, sizeof(bytes));
	}
	return log_file.failing && log_file.len == 5000 ? 0 : 2;
}

TEST(log_of_which_a_part_can_be_written_is_told_once)
{
	const char *said;
	int status;

	open_log("part", (struct log_file_options){0});
	unit_capture(2);
	if (fork() == 0)
		_exit(write_beyond_limit());
	assert_true(wait(&status) > 0);
	said = unit_captured();
	assert_int_equal(status, 0);
	assert_null(strstr(said, "again"));
	said = strstr(said, "cannot write");
	assert_non_null(said);
	assert_null(strstr(said + 1, "cannot write"));
	close_log();
}

TEST(log_takes_regular_files_only)
{
	const struct log_file_options null = {.path = "/dev/null"},
				      nowhere = {.path = "/nowhere/at/all"};

	unit_capture(2);
	assert_int_equal(log_file_open(&log_file, &null), -EINVAL);
	assert_int_equal(log_file_open(&log_file, &nowhere), -ENOENT);
	assert_non_null(strstr(unit_captured(), "is no regular file"));
}

TEST(log_that_is_renamed_must_be_no_symlink)
{
	const struct log_file_options options = {.path = unit_path("link"), .max = 4096, .keep = 1};

	assert_int_equal(symlink("elsewhere", options.path), 0);
	unit_capture(2);
	assert_int_equal(log_file_open(&log_file, &options), -ELOOP);
	assert_non_null(strstr(unit_captured(), "no symlink"));
	unlink(options.path);
}

TEST(log_knows_the_same_file)
{
	struct log_file other;

	open_log("same", (struct log_file_options){0});
	assert_int_equal(log_file_open(&other, &log_file.options), 0);
	assert_true(log_file_is(&log_file, &other));
	log_file_close(&other);
	assert_false(log_file_is(&log_file, &other));
	close_log();
}

// ---- full files ----

static void serve(void *context, int socket)
{
	u8 command;

	while (helper_next(socket, &command)) {
		int fd = command == ROTATE ? log_file_rotate(context) : -EPERM;

		helper_answer(socket, fd);
		close_fd(&fd);
	}
}

static void open_limited(const char *name, unsigned keep)
{
	open_log(name, (struct log_file_options){.max = 10, .keep = keep});
	log_file.assistant_fd = helper_start("helper", serve, &log_file.options);
	assert_true(log_file.assistant_fd >= 0);
	log_file.rotate_command = ROTATE;
}

static void close_limited(void)
{
	close(log_file.assistant_fd);
	assert_true(wait(NULL) > 0);
	close_log();
}

static void expect_files(const char *newest, const char *one, const char *two, const char *three)
{
	assert_string_equal(content_of(log_file.options.path), newest);
	assert_string_equal(content_of(older(1)), one);
	assert_string_equal(content_of(older(2)), two);
	assert_string_equal(content_of(older(3)), three);
}

TEST(full_log_makes_way_and_as_many_as_wanted_are_kept)
{
	open_limited("kept", 2);
	put("11111111\n");
	expect_files("11111111\n", "", "", "");
	put("22222222\n");
	put("3333\n");
	put("333\n");
	put("4\n");
	expect_files("4\n", "3333\n333\n", "22222222\n", "");
	put("555555555\n");
	expect_files("555555555\n", "4\n", "3333\n333\n", "");
	close_limited();
}

TEST(full_log_is_cut_between_lines_unless_one_is_longer)
{
	open_limited("lines", 3);
	put("aa\nbb\ncc\ndd\n");
	expect_files("dd\n", "aa\nbb\ncc\n", "", "");
	put("0123456789abcdefghij");
	expect_files("abcdefghij", "0123456789", "dd\n", "aa\nbb\ncc\n");
	put("\nk\n");
	expect_files("\nk\n", "abcdefghij", "0123456789", "dd\n");
	close_limited();
}

TEST(full_log_of_before_is_not_added_to)
{
	open_limited("before", 1);
	log_file.len = 10;
	put("a\n");
	expect_files("a\n", "", "", "");
	close_limited();
}

TEST(log_knows_how_long_it_is_already)
{
	open_log("length", (struct log_file_options){0});
	put("1234567\n");
	log_file_close(&log_file);
	assert_int_equal(log_file_open(&log_file, &log_file.options), 0);
	assert_int_equal(log_file.len, 8);
	close_log();
}

TEST(full_log_that_somebody_has_taken_away_is_begun_anew)
{
	open_limited("taken", 1);
	put("123456789\n");
	unlink(log_file.options.path);
	put("a\n");
	expect_files("a\n", "", "", "");
	close_limited();
}

TEST(full_log_that_cannot_be_renamed_is_told_once_and_bounded)
{
	const char *said;

	open_limited("stuck", 1);
	assert_int_equal(mkdir(older(1), 0700), 0);
	unit_capture(2);
	put("123456789\n");
	put("lost\n");
	log_file.try_again_ns = 0;
	put("lost too\n");
	said = strstr(unit_captured(), "cannot begin a new");
	assert_non_null(said);
	assert_null(strstr(said + 1, "cannot"));
	assert_string_equal(content_of(log_file.options.path), "123456789\n");
	rmdir(older(1));
	log_file.try_again_ns = UINT64_MAX;
	put("too early\n");
	log_file.try_again_ns = 0;
	unit_capture(2);
	put("again\n");
	assert_non_null(strstr(unit_captured(), "can be written again"));
	expect_files("again\n", "123456789\n", "", "");
	close_limited();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(log_appends_to_what_is_there),
		RUN(log_has_the_time_on_each_line_however_its_bytes_come),
		RUN(log_with_the_time_is_written_once_for_a_buffer),
		RUN(log_with_the_time_takes_more_than_fits_into_its_buffer),
		RUN(log_that_cannot_be_written_is_told_once),
		RUN(log_of_which_a_part_can_be_written_is_told_once),
		RUN(log_takes_regular_files_only),
		RUN(log_that_is_renamed_must_be_no_symlink),
		RUN(log_knows_the_same_file),
		RUN(full_log_makes_way_and_as_many_as_wanted_are_kept),
		RUN(full_log_is_cut_between_lines_unless_one_is_longer),
		RUN(full_log_of_before_is_not_added_to),
		RUN(log_knows_how_long_it_is_already),
		RUN(full_log_that_somebody_has_taken_away_is_begun_anew),
		RUN(full_log_that_cannot_be_renamed_is_told_once_and_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
