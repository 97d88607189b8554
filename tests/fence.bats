#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# What a killed process leaves the kernel to read and write (io_uring) is over before its successor serves. The disk is slow-file:
# it holds the first request from 512 KiB on until it is told to go on.
#
# shellcheck disable=SC2030,SC2031 # each test has its own pid

bats_require_minimum_version 1.5.0

setup() {
	# shellcheck source=tests/lib/lib.bash
	. "$BATS_TEST_DIRNAME/lib/lib.bash"
	set_up
	[ "$(id -u)" = 0 ] || skip "only root can mount a file system that is slow"
	[ -c /dev/fuse ] || skip "the host has no /dev/fuse"
	slow='' guest='' base=''
}

teardown() {
	for left in $slow $guest; do
		kill -KILL "$left" || true
		wait "$left" || true
	done
	tear_down
	[ -z "$base" ] || rm -r "$base"
}

# A disk of 1 MiB at $image, for whoever is in the mount namespace of $slow.
mount_slow_disk() {
	rm -f "$folder/slow" # what the last one has said
	"$root/build/tests/slow-file" "$image" $((1 << 20)) $((1 << 19)) >"$folder/slow" 3>&- &
	slow=$!
	until_true grep -q mounted "$folder/slow"
}

# Serves it, on a socket that was there before if told --fd, or by calling the guest if told --connect.
backend() { # OPTION...
	local command=("$bin" blk --path "$image" --engine uring --direct "$@")
	case $1 in
		--fd)
			rm -f "$socket"
			command=("$lib/with-socket" listen "$socket" "$2" "${command[@]}") ;;
		--connect) ;;
		*) command+=(--socket "$socket") ;;
	esac
	launch nsenter --mount --target "$slow" "${command[@]}"
}

served() {
	grep -q served "$folder/guest"
}

waits_or_served() {
	grep -q 'waits until the kernel is done' "$log" || served
}

# A guest whose request is held by the disk when the first back-end is killed, and what becomes of it with a second one.
change_backends() { # read|write OPTION...
	local mode=$1 accept=()
	shift
	[ "$1" != --connect ] || accept=(accept)
	: >"$log"
	rm -f "$socket"
	mount_slow_disk
	mkfifo "$folder/go"
	backend "$@"
	"$root/build/tests/vu-late" "$mode" "$socket" 1024 "${accept[@]}" >"$folder/guest" <>"$folder/go" 3>&- &
	guest=$!
	until_true grep -q held "$folder/slow"
	kill -KILL "$pid"
	wait "$pid" || true
	backend "$@"
	until_true waits_or_served
	not grep -q ended "$folder/slow"
	kill -USR1 "$slow"
	until_true grep -q ended "$folder/slow"
	until_true served
	echo >"$folder/go"
	wait "$guest"
	guest=''
	stop
	kill -KILL "$slow"
	wait "$slow" || true
	slow=''
	rm "$folder/go"
}

@test "fence: a read that a killed process left does not overwrite what its successor has given back to the guest" {
	change_backends read --read-only
	change_backends read --lock off
	change_backends read --fd 7 --read-only
	change_backends read --connect "$socket" --read-only
}

@test "fence: a write that a killed process left does not land on what its successor has written" {
	for lock in "--lock off" "--lock shared" "--lock auto" --lock-handover; do
		# shellcheck disable=SC2086 # options
		change_backends write $lock
	done
}

@test "fence: a folder that we may not read is told, and the disk served" {
	mkdir -m 0300 "$folder/closed"
	socket=$folder/closed/socket
	launch setpriv --bounding-set=-dac_override,-dac_read_search "$bin" blk --socket "$socket" --path "$image" --engine uring
	until_true accepting
	grep -q "warning: cannot lock the folder of $socket" "$log"
	reads_image
	stop
}

@test "fence: a jail whose applet was killed keeps its folder, and so its name, until what that left is over" {
	local jail
	base=$(mktemp -d /run/vm.XXXXXX)
	chmod 755 "$base"
	jail=("$bin" jail --id fence --chroot-base-dir "$base" -- blk --socket disk.sock --path "$image" --engine uring --direct --lock off)
	socket=$base/vhost-multi/fence/disk.sock
	mount_slow_disk
	launch nsenter --mount --target "$slow" "${jail[@]}"
	until_true grep -q 'fence is ready' "$log"
	"$root/build/tests/vu-late" read "$socket" 1024 </dev/null >"$folder/guest" 2>&1 3>&- &
	guest=$!
	until_true grep -q held "$folder/slow"
	kill -KILL "$(pgrep -P "$pid")"
	until_true not test -e "$socket"
	fails 5 'a jail of this id runs' nsenter --mount --target "$slow" "${jail[@]}"
	kill -USR1 "$slow"
	not wait_end
	[ ! -e "$base/vhost-multi/fence" ]
}
