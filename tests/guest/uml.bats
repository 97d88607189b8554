#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# User Mode Linux, with its own vhost-user driver and at native speed, puts load on a disk that
# vhost-multi serves; the host checks the bytes it wrote.
#
# GUEST_REPEAT=N runs each test's guest N times; BACKEND=qsd serves with qemu-storage-daemon instead.

setup_file() {
	# shellcheck source=tests/guest/lib.bash
	. "$BATS_TEST_DIRNAME/lib.bash"
	[ "$(uname -m)" = x86_64 ] || return 0
	"$guest_tests/prepare" uml > >(sed 's/^/# /' >&3)
	pattern made-by-the-host "$disk_mib" >"$BATS_FILE_TMPDIR/known"
}

setup() {
	[ "$(uname -m)" = x86_64 ] || skip "User Mode Linux is for x86 only"
	# shellcheck source=tests/guest/lib.bash
	. "$BATS_TEST_DIRNAME/lib.bash"
	image=$BATS_TEST_TMPDIR/disk.img
	socket=$BATS_TEST_TMPDIR/socket
	log=$BATS_TEST_TMPDIR/guest.log
	known=$BATS_FILE_TMPDIR/known
}

teardown() {
	[ -z "${backend_pid:-}" ] || stop_backend || true
	[ -z "${socket:-}" ] || cat "$socket.log" || true
}

serve() {
	cp "$known" "$image"
	truncate -s "$1M" "$image"
	start_backend "$socket" "$image"
}

boot() { # RUN-UML-ARGUMENT...
	"$guest_tests/run-uml" --disk "$socket" --log "$log" run=blk serial="$backend_serial" "$@" 3>&-
}

work() {
	serve "$disk_mib"
	boot text=uml steps=show,known,fs,raw,zero known="$(md5sum <"$known" | cut -d ' ' -f 1)" file_mib=8
	stop_backend
	check_files "$image" "$log" uml
	check_raw "$image" uml 1
	check_untouched "$image" "$known"
	cmp <(head -c 1M /dev/zero) <(image_mib "$image" "$zero_mib" 1)
}

@test "User Mode Linux: file system, raw writes, write-zeroes and discard" {
	repeat work
}

stress() {
	local copies=9 copy
	serve $((disk_mib * (copies + 1)))
	boot --timeout 120 steps=show,copy copies=$copies
	stop_backend
	for ((copy = 1; copy <= copies; copy++)); do
		cmp "$known" <(image_mib "$image" $((copy * disk_mib)) "$disk_mib")
	done
}

@test "User Mode Linux: 288 MiB copied on the disk in blocks of many sizes" {
	repeat stress
}
