// SPDX-License-Identifier: Apache-2.0
// The jail of one VM: from the launcher's options to a process in a folder, cgroup and namespaces of its own, in which main goes on
// with the applet as if nothing had been, up to its usual lockdown. docs/jail.md draws it.
#pragma once

#include "core/log.h"
#include "jail/options.h"
#include "jail/supervisor.h"

enum { JAIL_MAX_FDS = 4 };

// Sets everything up and answers in the applet's process, which is to go on. The launcher ends in here with the applet's
// exit status, after it has removed all again; so does who waits for --daemonize. `options` are kept by reference. 0, or -errno,
// logged, if that could not be.
must_check int jail_enter(const struct jail_options *options, enum log_level log_level);

// ---- what follows does nothing in a process that is in no jail ----

// The fds that are to stay open until jail_ready: writes them to `fds`, of JAIL_MAX_FDS; answers how many.
unsigned jail_fds(int *fds);

// The network namespace that --netns names, or -1. The caller's from here on.
int jail_netns_fd(void);

// In a process that the applet's forks before the lockdown: lets go of the terminal, if so asked.
void jail_release_helper(void);

// Just before the last filter is installed: sets the resource limits, of which that of fds must be `fds` at least, and lets go of the
// terminal if so asked, so that what is said from here on is lost. 0 or -errno, logged.
must_check int jail_seal(unsigned fds);

// The applet serves: the launcher gives folder and socket to the VM's user, then tells who waits. Allowed after the lockdown.
void jail_ready(void);
