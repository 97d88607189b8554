#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# What is promised to be durable is: the disk is vu-durable's, which forgets what was not flushed, and whose driver looks after each
# request what a loss of power would leave.

bats_require_minimum_version 1.5.0

setup() {
	# shellcheck source=tests/lib/lib.bash
	. "$BATS_TEST_DIRNAME/lib/lib.bash"
	set_up
	[ "$(id -u)" = 0 ] || skip "only root can mount a file system that forgets"
	[ -c /dev/fuse ] || skip "the host has no /dev/fuse"
	driver=''
}

teardown() {
	[ -z "$driver" ] || kill -KILL "$driver" || true
	tear_down
}

# Serves the disk that forgets, with each cache, to a driver that looks.
keeps_its_promises() { # OPTION...
	for cache in writeback writethrough; do
		rm -f "$socket" "$folder/driver"
		: >"$log"
		"$root/build/tests/vu-durable" "$image" "$socket" >"$folder/driver" 3>&- &
		driver=$!
		until_true grep -q mounted "$folder/driver"
		launch nsenter --mount --target "$driver" "$bin" blk --socket "$socket" --path "$image" --cache $cache "$@"
		wait "$driver"
		driver=''
		[[ $1 != *uring ]] || grep -q 'engine uring' "$log"
		stop
	done
}

@test "durability: what is answered or flushed outlives a loss of power, with the sync engine" {
	keeps_its_promises --engine=sync
	keeps_its_promises --engine=sync --direct
}

@test "durability: what is answered or flushed outlives a loss of power, with io_uring" {
	needs_io_uring
	keeps_its_promises --engine=uring
	keeps_its_promises --engine=uring --direct
	keeps_its_promises --engine=uring --workers 2
}
