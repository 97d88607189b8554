// SPDX-License-Identifier: Apache-2.0
// Names are looked up in the files of /etc.
#include "seccomp/ids.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <string.h>

#include "core/log.h"

// What is all digits is a number, and not more than the kernel takes: its -1 would change nothing.
static int parse_id(const char *text, id_t *id)
{
	char *end;
	unsigned long number = strtoul(text, &end, 10);

	if (!*text || text[strspn(text, "0123456789")] || number >= UINT_MAX)
		return -EINVAL;
	*id = (id_t)number;
	return 0;
}

int ids_find_user(const char *option, const char *text, uid_t *uid, gid_t *gid)
{
	const struct passwd *entry = NULL;

	if (parse_id(text, uid) == 0) {
		*gid = *uid;
		return 0;
	}
	entry = getpwnam(text);
	if (!entry)
		return log_errno(-EINVAL, "--%s %s: no such user", option, text);
	*uid = entry->pw_uid;
	*gid = entry->pw_gid;
	return 0;
}

int ids_find_group(const char *option, const char *text, gid_t *gid)
{
	const struct group *entry = NULL;

	if (parse_id(text, gid) == 0)
		return 0;
	entry = getgrnam(text);
	if (!entry)
		return log_errno(-EINVAL, "--%s %s: no such group", option, text);
	*gid = entry->gr_gid;
	return 0;
}
