// SPDX-License-Identifier: Apache-2.0
// The launcher's process, which stays outside of the jail: passes the wish to end on, waits for the applet, tells who waits when it
// is ready.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include "core/base.h"

struct supervisor {
	sigset_t before; // the signal mask that the launcher was started with
	int signal_fd;
	int ready_fd;	// the applet's process writes a byte to the other end when it serves
	int life_fd;	// its other end tells the applet's process when the launcher dies
	int waiting_fd; // to the process that waits for --daemonize, or -1
	pid_t applet;	// 0: none, or it has ended
};

// The other ends, in the applet's process.
struct supervised {
	int ready_fd, life_fd;
};

// Goes on in the background: answers in the new process. The one that was started ends with status 0 when supervisor_announce is
// called, or else with the new one's status. 0 or -errno, logged.
must_check int supervisor_detach(struct supervisor *supervisor);

// Holds signals back from here on, so that none ends the launcher before it has cleaned up. 0 or -errno, logged.
must_check int supervisor_hold_signals(struct supervisor *supervisor);

// Forks. 0 in the applet's process, which gets SIGTERM when the launcher dies and ends with status 0 if it comes before the applet
// has a handler; 1 in the launcher's; -errno, logged. new_pid_ns: the applet's is process 1 of a new pid namespace. Needs
// supervisor_hold_signals.
must_check int supervisor_fork(struct supervisor *supervisor, bool new_pid_ns,
			       struct supervised *supervised);

// Waits until the applet and all that it has forked have ended; calls `ready` once it serves, and ends it if that fails.
// Its exit status, or 128 and the signal that it died of.
int supervisor_wait(struct supervisor *supervisor, int (*ready)(void *context), void *context);

// Tells the process that waits for --daemonize that all is ready, and lets go of the terminal. Nothing if there is none. 0 or -errno, logged.
must_check int supervisor_announce(struct supervisor *supervisor);
