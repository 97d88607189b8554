#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# A back-end dies with requests in flight, at whatever point, and another one goes on: each request is answered once, the
# disk holds what was written, and the base and the region say that nothing is in flight. All in the sandbox as shipped.
#
# To look into one: build/tests/vu-crash --packed --batch 8 points
# KILL_ROUNDS: how often a back-end is killed under load (200)

setup() {
	# shellcheck source=tests/lib/lib.bash
	. "$BATS_TEST_DIRNAME/lib/lib.bash"
	mkdir -p "$disks"
}

crash() { # OPTION... MODE
	"$root/build/tests/vu-crash" --folder "$disks" "$@"
}

# Runs a test for split and for packed rings at once, since most of the time is spent waiting for processes to end.
both() { # COMMAND...
	"$@" >"$BATS_TEST_TMPDIR/split" &
	local split=$!
	"$@" --packed
	wait "$split"
	cat "$BATS_TEST_TMPDIR/split"
}

# At every point of the build with crash points, with at least so many of them.
dies_at_each_point() { # LEAST OPTION...
	local least=$1 points
	shift
	points=$(crash --program "$root/build/crash/vhost-multi" "$@" points)
	echo "$points"
	[ "${points#points=}" -ge "$least" ]
}

dies_twice() { # OPTION...
	crash --program "$root/build/crash/vhost-multi" --batch 8 "$@" points-twice
}

killed() { # OPTION...
	crash --program "$bin" --rounds "${KILL_ROUNDS:-200}" --seed "${KILL_SEED:-$RANDOM}" "$@" kill
}

@test "one request at a time, engine sync: death at every point" {
	both dies_at_each_point 40 --engine sync
}

@test "one request at a time, engine uring: death at every point" {
	needs_io_uring
	both dies_at_each_point 40 --engine uring
}

@test "batches of 8, engine sync: death at every point" {
	both dies_at_each_point 80 --engine sync --batch 8
}

@test "batches of 8, engine uring: death at every point" {
	needs_io_uring
	both dies_at_each_point 80 --engine uring --batch 8
}

@test "the one that takes over dies too, engine sync" {
	both dies_twice --engine sync
}

@test "the one that takes over dies too, engine uring" {
	needs_io_uring
	both dies_twice --engine uring
}

@test "kill -9 under load, engine sync" {
	both killed --engine sync
}

@test "kill -9 under load, engine uring" {
	needs_io_uring
	both killed --engine uring
}
