// SPDX-License-Identifier: Apache-2.0
// Turns tables of rules into filters, by libseccomp. They are compiled early, since that takes memory, and installed last.
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/prctl.h>

#include "core/log.h"
#include "core/sys.h"
#include "seccomp/sandbox.h"

static u64 value_of(const struct syscall_check *check, const struct sandbox_fds *fds, unsigned own)
{
	switch (check->value) {
	case RULE_REPLACEMENT_FD:
		return (u32)fds->replacement;
	case RULE_DEVICE_FD:
		return (u32)fds->device;
	case RULE_LISTENER_FD:
		return (u32)fds->listener;
	case RULE_USERFAULT_FD:
		return (u32)fds->userfault;
	case RULE_OWN_FDS:
		return (u32)fds->own[own];
	case RULE_OWN_PID:
		return (u32)getpid();
	default:
		return check->value;
	}
}

// With the fd of this index for RULE_OWN_FDS.
static int add_alternative(scmp_filter_ctx context, const struct syscall_rule *rule,
			   const struct sandbox_fds *fds, unsigned own)
{
	struct scmp_arg_cmp checks[RULE_MAX_CHECKS];

	for (unsigned i = 0; i < rule->check_count; i++)
		checks[i] = (struct scmp_arg_cmp){.arg = rule->checks[i].index,
						  .op = SCMP_CMP_MASKED_EQ,
						  .datum_a = rule->checks[i].mask,
						  .datum_b = value_of(&rule->checks[i], fds, own)};
	return seccomp_rule_add_array(context, SCMP_ACT_ALLOW, rule->number, rule->check_count,
				      checks);
}

static bool is_of_several(const struct syscall_rule *rule)
{
	for (unsigned i = 0; i < rule->check_count; i++)
		if (rule->checks[i].value == RULE_OWN_FDS)
			return true;
	return false;
}

static int add_rule(scmp_filter_ctx context, const struct syscall_rule *rule,
		    const struct sandbox_fds *fds)
{
	unsigned alternatives = is_of_several(rule) ? fds->own_count : 1;
	int error = 0;

	for (unsigned i = 0; i < alternatives && !error; i++)
		error = add_alternative(context, rule, fds, i);
	return error;
}

static int add_tables(scmp_filter_ctx context, const struct sandbox_table *tables,
		      size_t table_count, const struct sandbox_fds *fds)
{
	int error = 0;

	for (size_t t = 0; t < table_count; t++)
		for (size_t i = 0; i < tables[t].count && !error; i++)
			error = add_rule(context, &tables[t].rules[i], fds);
	return error;
}

// The program goes through a pipe: this libseccomp can only write it to an fd.
static int export(scmp_filter_ctx context, struct sandbox_filter *filter)
{
	int fds[2], error;
	long len;

	if (pipe(fds) != 0)
		return -errno;
	error = seccomp_export_bpf(context, fds[1]);
	close(fds[1]);
	len = sys(read(fds[0], filter->instructions, sizeof(filter->instructions)));
	close(fds[0]);
	if (error || len <= 0 || len == sizeof(filter->instructions))
		return error ? error : -EOVERFLOW;
	filter->count = (unsigned short)((size_t)len / sizeof(filter->instructions[0]));
	return 0;
}

// Foreign architectures, and on x86-64 the x32 numbers, are killed by default.
int sandbox_compile(struct sandbox *sandbox, struct sandbox_filter *filter,
		    const struct sandbox_table *tables, size_t table_count,
		    const struct sandbox_fds *fds)
{
	scmp_filter_ctx context;
	int error;

	filter->count = 0;
	if (sandbox->mode == SANDBOX_NONE)
		return 0;
	context = seccomp_init(SCMP_ACT_KILL_PROCESS);
	error = context ? seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS)
			: -ENOMEM;
	if (!error)
		error = seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (!error)
		error = add_tables(context, tables, table_count, fds);
	if (!error)
		error = export(context, filter);
	seccomp_release(context);
	return error ? sandbox_step_failed(sandbox, "seccomp", error,
					   "the filter could not be made")
		     : 0;
}

int sandbox_install(struct sandbox *sandbox, const struct sandbox_filter *filter)
{
	// the kernel does not write to it, whatever the type says
	struct sock_fprog program = {.len = filter->count,
				     .filter =
					     (struct sock_filter *)(uintptr_t)filter->instructions};
	int error;

	if (filter->count == 0)
		return 0;
	error = sys_int(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0));
	return error ? sandbox_step_failed(sandbox, "seccomp", error,
					   "the kernel must have CONFIG_SECCOMP_FILTER")
		     : 0;
}
