#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# The front-ends' orders of messages over packed rings of any size, with answers in order, and with the dirty log on.

setup() {
	# shellcheck source=tests/lib/lib.bash
	. "$BATS_TEST_DIRNAME/lib/lib.bash"
	set_up
}

teardown() {
	tear_down
}

profiles() { # CLIENT-OPTION...
	local profile
	for profile in qemu cloud-hypervisor firecracker crosvm libblkio; do
		client --profile "$profile" --queues 2 "$@" profile "$socket"
	done
}

@test "packed rings are offered only with --packed=on, in order only with --in-order" {
	serve
	not client --packed features "$socket"
	not client --in-order features "$socket"
	client --log features "$socket"
}

@test "packed rings as the front-ends use them" {
	serve --num-queues 2 --packed=on
	for size in 4 7 100 128 1000 1024; do
		profiles --packed --queue-size "$size"
	done
}

@test "answers in order as the front-ends use them" {
	serve --num-queues 2 --packed=on --in-order
	profiles --in-order
	profiles --in-order --packed --queue-size 33
}

@test "the dirty log as the front-ends use it" {
	serve --num-queues 2 --packed=on
	client --log --queues 2 profile "$socket"
	client --log --packed --queues 2 profile "$socket"
}
