// SPDX-License-Identifier: Apache-2.0
// Tests of applets/console/assistant.c: what the process beside a console's does, and what it refuses.
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "applets/applet.h"
#include "applets/console/assistant.h"
#include "applets/console/console.h"

extern const struct applet console_applet;

static int note_rules(void *context, const struct syscall_rule *rules, size_t count)
{
	size_t *calling = context;

	for (size_t i = 0; i < count; i++)
		*calling += rules[i].number == SYS_socket || rules[i].number == SYS_connect;
	return *calling > 0 ? 0 : -EPERM;
}

// Opens a console with these ports.
static u64 values[64];

static struct device *open_console(char **words, int count, size_t *calling)
{
	struct applet_arguments arguments = {
		.access = *FILE_ACCESS(0600), .lock_helper = note_rules, .lock_context = calling};
	struct option_table table = {.options = console_applet.options,
				     .count = console_applet.option_count};
	struct device *device = NULL;
	int next = 0;

	assert_true(console_applet.values_size <= sizeof(values));
	memset(values, 0, sizeof(values));
	table.values = values;
	arguments.values = table.values;
	options_set_defaults(&table, 1);
	assert_int_equal(options_parse(&table, 1, words, count, &next), 0);
	assert_int_equal(console_applet.open(&arguments, &device), 0);
	return device;
}

TEST(only_ports_that_call_are_called)
{
	char listening[160], calling[160], nobody[] = "--port=type=null";
	char *words[] = {listening, calling, nobody};
	size_t calls = 0;
	struct device *device;
	struct console *console;

	snprintf(listening, sizeof(listening), "--port=type=unix,path=%s", unit_path("here"));
	snprintf(calling, sizeof(calling), "--port=type=unix,connect,path=%s", unit_path("there"));
	device = open_console(words, 3, &calls);
	console = console_of(device);
	assert_int_equal(assistant_wait(console), 0);
	assert_int_equal(assistant_call(console, 0), -EPERM);
	assert_int_equal(assistant_call(console, 1), -ENOENT);
	assert_int_equal(assistant_call(console, 2), -EPERM);
	assert_int_equal(assistant_call(console, 3), -EPERM);
	console_applet.close(device);
	assert_true(wait(NULL) > 0);
}

// Without a rule of these note_rules refuses to lock it in.
TEST(rules_have_no_calling_where_no_port_calls)
{
	char listening[160];
	char *words[] = {listening};
	size_t calls = 0;
	struct device *device;

	snprintf(listening, sizeof(listening), "--port=type=unix,path=%s", unit_path("here"));
	device = open_console(words, 1, &calls);
	assert_int_equal(assistant_wait(console_of(device)), -EPIPE);
	console_applet.close(device);
	assert_true(wait(NULL) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(only_ports_that_call_are_called),
		RUN(rules_have_no_calling_where_no_port_calls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
