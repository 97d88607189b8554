// SPDX-License-Identifier: Apache-2.0
// Why a host refuses namespaces or an empty root, and what helps. Control thread, before the lockdown is complete.
#pragma once

#include "core/base.h"

// What was tried when the host refused.
enum refused {
	REFUSED_NETNS,		 // joining the network namespace of --netns
	REFUSED_NAMESPACES,	 // namespaces, with the rights that we were started with
	REFUSED_USER_NAMESPACE,	 // namespaces in a user namespace of our own
	REFUSED_ID_MAP,		 // giving that user namespace its ids
	REFUSED_PRIVATE_MOUNTS,	 // cutting our mounts off from those of others
	REFUSED_EMPTY_ROOT,	 // mounting it
	REFUSED_LEAVING_OLD_ROOT // both by pivot_root and by chroot
};

// What to do about `error`, in words for a log line. It may read files to find the reason out. Never NULL.
const char *refusal_advice(enum refused what, int error);
