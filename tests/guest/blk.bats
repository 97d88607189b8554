#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# A Debian guest in QEMU uses a disk that vhost-multi serves; the host checks the bytes it wrote.
#
# GUEST_REPEAT=N runs each test's guest N times; BACKEND=qsd serves with qemu-storage-daemon instead.

# shellcheck source=tests/guest/disk.bash
. "$BATS_TEST_DIRNAME/disk.bash"

@test "guest: one queue with indirect descriptors and event index" {
	repeat work 1 "" has=9,28,29,32
}

@test "guest: packed rings" {
	use_rings packed
	repeat work 1 "" has=28,29,32
	repeat work 4 ,event_idx=off lacks=29
}

@test "guest: four queues, all of them used" {
	repeat work 4 "" has=12,28,29,32
}

@test "guest: four queues without indirect descriptors" {
	repeat work 4 ,indirect_desc=off has=12,29 lacks=28
}

@test "guest: four queues without event index" {
	repeat work 4 ,event_idx=off has=12,28 lacks=29
}

@test "guest: the back-end is killed three times, and another one goes on with what was in flight" {
	[ "${BACKEND:-}" != qsd ] || skip "qemu-storage-daemon tracks nothing in flight"
	repeat work_through_kills 2
}

@test "guest: neither indirect descriptors nor event index" {
	repeat work 1 ,indirect_desc=off,event_idx=off lacks=28,29
}

zero_and_discard() {
	local before after
	serve
	before=$(stat -c %b "$image")
	boot "" has=13,14 steps=show,zero
	stop_backend
	cmp <(head -c 1M /dev/zero) <(image_mib "$image" "$zero_mib" 1)
	check_untouched "$image" "$known"
	after=$(stat -c %b "$image")
	echo "blocks allocated: $before before, $after after"
	((before - after >= 2048))
}

@test "guest: write-zeroes zeroes and discard frees the host's space" {
	repeat zero_and_discard
}

read_only() {
	serve ro
	boot "" readonly=1 has=5 steps=show,known,refuse
	stop_backend
	cmp "$known" "$image"
}

@test "guest: a read-only disk can be read and refuses writes" {
	repeat read_only
}

reboot_guest() {
	serve
	boot "" --reboot text=qemu steps=reboot,show,raw
	stop_backend
	[ "$(grep -ac 'mark written, rebooting' "$log")" = 1 ]
	grep -aq 'second boot: the mark is there' "$log"
	check_raw "$image" qemu 1
	check_untouched "$image" "$known"
}

@test "guest: a reboot finds the disk again" {
	repeat reboot_guest
}

# A guest whose disk the host makes larger, or smaller, while it runs.
resize() { # MIB
	local guest
	serve
	rm -f "$log"
	boot "" --smp 2 text=qemu steps=show,resize,known,raw resized="$1" known="$(resized_md5 "$1")" &
	guest=$!
	await_guest "$guest" "$log" ", waiting for $1"
	truncate -s "$1M" "$image"
	kill -HUP "$backend_pid"
	wait "$guest"
	stop_backend
	grep -q "disk is now $(($1 * 1048576)) bytes" "$socket.log"
	[ "$(stat -c %s "$image")" = $(($1 * 1048576)) ]
	cmp <(pattern qemu-end 1) <(image_mib "$image" $(($1 - 1)) 1)
}

# Of the known disk in that size, with what the guest has written to its end.
resized_md5() { # MIB
	{
		cat "$known"
		truncate -s "$((disk_mib * 2 * 1048576))" "$BATS_TEST_TMPDIR/zeroes"
		cat "$BATS_TEST_TMPDIR/zeroes"
	} | head -c "$((($1 - 1) * 1048576))" | cat - <(pattern qemu-end 1) | md5sum | cut -d ' ' -f 1
}

@test "guest: a disk that the host makes larger, and one that it makes smaller" {
	repeat resize $((disk_mib * 2))
	repeat resize $((disk_mib - 8))
}

fds() {
	find "/proc/$backend_pid/fd" -mindepth 1 -printf '%l\n' | sort
}

# qemu-storage-daemon's thread and coroutine pools grow and stay, so there only guest memory counts.
maps() {
	local counted=''
	[ "${BACKEND:-}" != qsd ] || counted=memfd
	awk -v counted="$counted" '$0 ~ counted { print $2, $6, $7 }' "/proc/$backend_pid/maps" | sort
}

as_many_as_in() { # SAVED
	[ "$(fds | wc -l)" = "$(wc -l <"$1.fds")" ] && [ "$(maps | wc -l)" = "$(wc -l <"$1.maps")" ]
}

# The back-end holds as many descriptors and mappings as it did when SAVED was taken.
same_resources() { # SAVED
	until_true as_many_as_in "$1" && return
	diff "$1.fds" <(fds) || true
	diff "$1.maps" <(maps) || true
	return 1
}

boot_and_kill() {
	local runner
	rm -f "$log" "$pidfile"
	boot "" --smp 2 --pidfile "$pidfile" text=busy steps=known,busy >/dev/null 2>&1 &
	runner=$!
	await_guest "$runner" "$log" ': busy'
	kill -KILL "$(cat "$pidfile")"
	rm "$pidfile"
	! wait "$runner"
}

kill_guest() {
	serve
	fds >"$socket.fds"
	maps >"$socket.maps"
	[ -s "$socket.fds" ] && [ -s "$socket.maps" ]
	boot_and_kill
	same_resources "$socket"
	cat "$known" >"$image"
	boot "" --smp 2 text=qemu steps=show,known,fs,raw
	same_resources "$socket"
	stop_backend
	check_files "$image" "$log" qemu
	check_raw "$image" qemu 2
}

@test "guest: QEMU killed during I/O leaves the back-end ready for the next, nothing leaked" {
	repeat kill_guest
}
