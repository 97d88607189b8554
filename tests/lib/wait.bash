# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What all bats files and the guests' runners wait for.

# Tries COMMAND until it succeeds, for half a minute or patience=SECONDS at least: a busy host may be slow.
until_true() { # COMMAND...
	local tries=$((${patience:-30} * 100))
	until "$@"; do
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || return 1
		sleep 0.01
	done
}

# Who connects there waits until it is served, which need not be now: see started.
listening() { # SOCKET
	grep -q " 00010000 .* $1\$" /proc/net/unix
}

exited() { # PID
	local stat
	{ read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 0
	[[ ${stat##*) } == Z* ]]
}

# The start of the back-end PID, whose messages are in LOG, is over: it has opened what it needs and is locked in. Its socket is
# there earlier.
started() { # PID LOG
	grep -qsE "\[$1\]: (listening on|calling) " "$2"
}
