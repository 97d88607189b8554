// SPDX-License-Identifier: Apache-2.0
//
// Every system call by its number, and what the rules say of those that depend on their arguments.

#include <stdio.h>

#include "tests/sandbox/probe.h"

static const u64 patterns[][ARGUMENTS] = {
	{NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING},
	{0},
};

/*
 * uretprobe and uprobe of x86-64 (Linux 6.11, 6.18): the kernel lets them through before any filter, and they do nothing
 * but from a trampoline that a tracer has put into the process.
 */
static bool is_beyond_filters(long number)
{
#ifdef __x86_64__
	return number == 335 || number == 336;
#else
	(void)number;
	return false;
#endif
}

static bool survives_pattern(const struct probed *probed, long number, bool foreign,
			     const u64 *pattern)
{
	struct attempt attempt = {.number = number, .foreign = foreign};

	for (unsigned i = 0; i < ARGUMENTS; i++)
		attempt.arguments[i] = pattern[i];
	return survives(probed, &attempt);
}

/* What passes whatever its arguments are; if that is so with some alone, a rule is not as narrow as it looks. */
static unsigned try_numbers(const struct probed *probed, enum thread thread)
{
	unsigned failures = 0;

	for (long number = 0; number < CALLS; number++) {
		bool nothing, zeroes;

		if (is_beyond_filters(number))
			continue;
		nothing = survives_pattern(probed, number, false, patterns[0]);
		zeroes = survives_pattern(probed, number, false, patterns[1]);
		if (nothing != zeroes)
			failures++;
		if (nothing || zeroes)
			printf("%s %s%s\n", thread_name(thread), call_name(number),
			       nothing == zeroes ? ""
			       : zeroes		 ? " with zeroes alone"
						 : " with high numbers alone");
	}
	return failures;
}

/* The numbers of x32, and the 32-bit gate. */
static unsigned try_foreign(const struct probed *probed, enum thread thread)
{
	unsigned failures = 0;

#ifdef __x86_64__
	for (long number = 0; number < CALLS; number++) {
		if (survives_pattern(probed, number | X32_BIT, false, patterns[0])) {
			printf("%s x32 %s\n", thread_name(thread), call_name(number));
			failures++;
		}
		if (survives_pattern(probed, number, true, patterns[0])) {
			printf("%s int80 %ld\n", thread_name(thread), number);
			failures++;
		}
	}
#else
	(void)probed;
	(void)thread;
#endif
	return failures;
}

static void try_rule(const struct probed *probed, enum thread thread,
		     const struct syscall_rule *rule)
{
	struct attempt attempt = {
		.number = rule->number,
		.arguments = {NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING}};

	for (unsigned i = 0; i < rule->check_count; i++) {
		const struct syscall_check *check = &rule->checks[i];
		u64 *argument = &attempt.arguments[check->index];

		*argument = (*argument & ~check->mask) | fd_or_value(probed, check->value);
	}
	if (rule->check_count > 0 && survives(probed, &attempt))
		print_rule(thread, rule);
}

unsigned try_calls(const struct probed *probed, enum thread thread)
{
	unsigned failures = try_numbers(probed, thread);

	for (size_t t = 0; t < probed->table_count; t++)
		for (size_t i = 0; i < probed->tables[t].count; i++)
			try_rule(probed, thread, &probed->tables[t].rules[i]);
	return failures + try_foreign(probed, thread);
}
