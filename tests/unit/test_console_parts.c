// SPDX-License-Identifier: Apache-2.0
// Tests of applets/console/: the parts that stand by themselves - what is replayed, what is typed, what
// --port says.
#include <fcntl.h>
#include <string.h>
#include <termios.h>

#include "applets/console/port_options.h"
#include "applets/console/replay.h"
#include "applets/console/terminal.h"
#include "tests/unit/unit.h"

// ---- replay.c ----

static void put(struct replay *replay, const char *text)
{
	size_t left = strlen(text), len;

	while (left > 0) {
		u8 *space = replay_space(replay, &len);

		len = min_size(len, left);
		memcpy(space, text, len);
		replay_commit(replay, len);
		text += len;
		left -= len;
	}
}

static void expect_bytes(const struct replay *replay, u64 position, const char *wanted)
{
	char found[64] = "";
	size_t len;

	for (size_t end = 0;; end += len) {
		const u8 *bytes = replay_peek(replay, position + end, &len);

		if (len == 0)
			break;
		memcpy(found + end, bytes, len);
	}
	assert_string_equal(found, wanted);
}

TEST(replay_keeps_the_last_bytes)
{
	struct replay replay;

	assert_int_equal(replay_init(&replay, 8), 0);
	expect_bytes(&replay, 0, "");
	put(&replay, "abc");
	expect_bytes(&replay, 0, "abc");
	assert_int_equal(replay_begin(&replay), 0);
	put(&replay, "defghijkl");
	assert_int_equal(replay.end, 12);
	assert_int_equal(replay_begin(&replay), 4);
	expect_bytes(&replay, 4, "efghijkl");
	expect_bytes(&replay, 11, "l");
	expect_bytes(&replay, 12, "");
	replay_fini(&replay);
}

// ---- terminal.c ----

static void expect_typed(struct terminal *terminal, const char *typed, const char *kept)
{
	u8 bytes[64];
	size_t len = terminal_type(terminal, (const u8 *)typed, strlen(typed), bytes);

	assert_int_equal(len, strlen(kept));
	assert_memory_equal(bytes, kept, len);
}

TEST(escape_key_is_found_wherever_it_is_cut)
{
	struct terminal terminal = {.fd = -1};

	expect_typed(&terminal, "plain", "plain");
	expect_typed(&terminal, "\035\035", "\035");
	expect_typed(&terminal, "a\035", "a");
	expect_typed(&terminal, "\035b", "\035b");
	expect_typed(&terminal, "\035x", "\035x");
	expect_typed(&terminal, "\035", "");
	expect_typed(&terminal, "y", "\035y");
	expect_typed(&terminal, "", "");
}

TEST(escape_key_helps)
{
	int fds[2];
	char text[256] = "";
	struct terminal terminal = {0};

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	terminal.fd = fds[1];
	expect_typed(&terminal, "a\035?b", "ab");
	assert_true(read(fds[0], text, sizeof(text) - 1) > 0);
	assert_non_null(strstr(text, "Ctrl-] q"));
	close(fds[0]);
	close(fds[1]);
}

TEST(terminal_is_as_before_when_it_is_restored)
{
	int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	struct terminal terminal;
	struct termios mode;

	assert_int_equal(terminal_open(&terminal, fd), 0);
	unit_capture(2);
	assert_int_equal(terminal_make_raw(&terminal), 0);
	unit_captured();
	assert_int_equal(tcgetattr(fd, &mode), 0);
	assert_int_equal(mode.c_lflag & (ICANON | ECHO | ISIG), 0);
	terminal_restore(&terminal);
	assert_int_equal(tcgetattr(fd, &mode), 0);
	assert_memory_equal(&mode.c_lflag, &terminal.before.c_lflag, sizeof(mode.c_lflag));
	assert_int_not_equal(mode.c_lflag & ICANON, 0);
	close(fd);
}

TEST(what_is_no_terminal_is_refused)
{
	struct terminal terminal;
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	unit_capture(2);
	assert_true(terminal_open(&terminal, fd) < 0);
	unit_captured();
	assert_int_equal(terminal.fd, -1);
	close(fd);
}

// ---- port_options.c ----

TEST(port_options_are_understood)
{
	struct port_options options;

	assert_int_equal(port_options_parse(&options,
					    "type=unix,path=/a/b,name=n,console,drop,filter,"
					    "log=/c,timestamp,connect"),
			 0);
	assert_int_equal(options.type, PORT_UNIX);
	assert_string_equal(options.path, "/a/b");
	assert_string_equal(options.name, "n");
	assert_string_equal(options.log, "/c");
	assert_null(options.input);
	assert_true(options.console && options.drop && options.filter && options.timestamp &&
		    options.connect);
	assert_int_equal(options.log_max, 0);
	port_options_fini(&options);
	assert_int_equal(port_options_parse(&options, "type=file,path=a,log-max=4K,log-keep=99"),
			 0);
	assert_int_equal(options.log_max, 4096);
	assert_int_equal(options.log_keep, 99);
	port_options_fini(&options);
	assert_int_equal(port_options_parse(&options, "type=file,path=a=b,input=c"), 0);
	assert_string_equal(options.path, "a=b");
	assert_string_equal(options.input, "c");
	assert_false(options.console || options.connect);
	port_options_fini(&options);
}

TEST(port_options_that_make_no_sense_are_refused)
{
	static const char *const wrong[] = {
		"",
		"path=x",
		"type=",
		"type=pipe",
		"type=unix",
		"type=unix,path=",
		"type=null,",
		"type=null,path=x",
		"type=null,colour=red",
		"type=null,wet",
		"type=stdio,input=x",
		"type=pty,connect",
		"type=tcp,path=1,connect,listen",
		"type=pty,timestamp",
		"type=null,log=a,log-max=",
		"type=null,log=a,log-max=4095",
		"type=null,log=a,log-max=10Q",
		"type=null,log=a,log-max=1M,log-keep=0",
		"type=null,log=a,log-max=1M,log-keep=100",
		"type=null,log=a,log-keep=2",
		"type=null,log-max=1M",
		"type=fd",
		"type=fifo",
	};
	struct port_options options;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		unit_capture(2);
		assert_int_equal(port_options_parse(&options, wrong[i]), -EINVAL);
		assert_non_null(strstr(unit_captured(), "--port"));
	}
}

TEST(port_names_have_a_limit)
{
	char text[256] = "type=null,name=";
	size_t len = strlen(text);
	struct port_options options;

	memset(text + len, 'n', PORT_NAME_MAX);
	assert_int_equal(port_options_parse(&options, text), 0);
	port_options_fini(&options);
	text[len + PORT_NAME_MAX] = 'n';
	unit_capture(2);
	assert_int_equal(port_options_parse(&options, text), -EINVAL);
	unit_captured();
}

TEST(inherited_fds_are_known_before_the_ports_are_opened)
{
	int fds[2];

	assert_int_equal(port_options_fds("type=fd,path=5,input=7", fds), 2);
	assert_int_equal(fds[0], 5);
	assert_int_equal(fds[1], 7);
	assert_int_equal(port_options_fds("input=3,name=x,type=fd", fds), 1);
	assert_int_equal(fds[0], 3);
	assert_int_equal(port_options_fds("type=unix,path=5", fds), 0);
	assert_int_equal(port_options_fds("type=fd,path=x5", fds), 0);
	assert_int_equal(port_options_fds("", fds), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(replay_keeps_the_last_bytes),
		RUN(escape_key_is_found_wherever_it_is_cut),
		RUN(escape_key_helps),
		RUN(terminal_is_as_before_when_it_is_restored),
		RUN(what_is_no_terminal_is_refused),
		RUN(port_options_are_understood),
		RUN(port_options_that_make_no_sense_are_refused),
		RUN(port_names_have_a_limit),
		RUN(inherited_fds_are_known_before_the_ports_are_opened),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
