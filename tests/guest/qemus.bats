#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# What guest/blk.bats does with the host's QEMU, in short with those of other Debian releases, with what they take by default: each
# has sizes of rings and of the region for what is in flight of its own. `make guest-matrix` does all of it with each.
#
# GUEST_REPEAT=N runs each test's guest N times.

export GUEST_QEMU
# shellcheck source=tests/guest/disk.bash
. "$BATS_TEST_DIRNAME/disk.bash"

setup_file() {
	for GUEST_QEMU in trixie unstable; do
		set_up_file
	done
}

@test "guest: the QEMU of Debian 13, the back-end killed three times" {
	GUEST_QEMU=trixie
	repeat work_through_kills 2
}

@test "guest: the QEMU of Debian 13, packed rings" {
	GUEST_QEMU=trixie
	use_rings packed
	repeat work 2 ""
}

@test "guest: the QEMU of Debian unstable, the back-end killed three times" {
	GUEST_QEMU=unstable
	repeat work_through_kills 2
}

@test "guest: the QEMU of Debian unstable, packed rings, the back-end killed three times" {
	GUEST_QEMU=unstable
	use_rings packed
	repeat work_through_kills 2
}
