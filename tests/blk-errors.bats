#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# The disk on a host that refuses something or fails: io_urings, kernel threads, room, flushes.
#
# PROCESSES (60) is how many processes of one user there are at once; the memory that they may lock is as for 300 with 8 MiB.

setup() {
	# shellcheck source=tests/lib/lib.bash
	. "$BATS_TEST_DIRNAME/lib/lib.bash"
	set_up
	helper='' loop='' public='' pids=''
}

teardown() {
	# shellcheck disable=SC2086 # numbers
	[ -z "$pids" ] || kill -KILL $pids || true
	tear_down
	[ -z "$loop" ] || until_true losetup -d "$loop"
	[ -z "$helper" ] || { kill -KILL "$helper" && wait "$helper" 2>/dev/null; } || true
	[ -z "$public" ] || rm -rf "$public"
}

needs_root() {
	[ "$(id -u)" = 0 ] || skip "needs root: $1"
}

ioerr=1

# The device answers a client's command by I/O error, and lives.
fails_io() { # CLIENT-ARGUMENT...
	not client "$@" 2>"$folder/err"
	grep -q "status $ioerr$" "$folder/err"
	kill -0 "$pid"
}

lines() { # PATTERN
	grep -c -- "$1" "$log" || true
}

logged() { # PATTERN
	grep -q -- "$1" "$log"
}

# ---- io_urings

# Serves that many disks, each by a process of one user without privileges; their sockets are $public/socket.N.
serve_many() { # COUNT LOCKED-KIB
	local as=()
	public=$(mktemp -d /tmp/blk-errors.XXXXXX)
	cp "$bin" "$public/vhost-multi"
	if [ "$(id -u)" = 0 ]; then
		as=(setpriv --reuid 65533 --regid 65533 --clear-groups --)
		chown 65533:65533 "$public"
	fi
	# shellcheck disable=SC2016 # for the other shell
	"${as[@]}" bash -c 'ulimit -l "$3" && cd "$1" && for ((i = 0; i < $2; i++)); do
			truncate -s 64K "disk.$i"
			./vhost-multi blk --socket "$1/socket.$i" --path "disk.$i" </dev/null >"log.$i" 2>&1 &
			echo $!
		done' - "$public" "$1" "$2" >"$folder/pids" 3>&-
	pids=$(cat "$folder/pids")
	for ((i = 0; i < $1; i++)); do
		until_true grep -q 'listening on' "$public/log.$i"
	done
}

@test "blk: many processes of one user all serve, though not all of them get an io_uring" {
	count=${PROCESSES:-60}
	serve_many "$count" $((count * 8192 / 300))
	sed -n 's/.*, engine/engine/p' "$public"/log.* | sort | uniq -c
	for ((i = 0; i < count; i++)); do
		client --timeout 60000 id "$public/socket.$i" >/dev/null
	done
	for ((i = 0; i < count; i += 10)); do
		client write "$public/socket.$i" 0 <<<"$i"
		client flush "$public/socket.$i"
	done
}

@test "blk: with 64 KiB of locked memory, and with none, it serves" {
	for locked in 64 0; do
		serve_many 2 $locked
		sed -n 's/.*, engine/engine/p' "$public"/log.*
		for i in 0 1; do
			client --queues 4 profile "$public/socket.$i"
		done
		# shellcheck disable=SC2086 # numbers
		kill -KILL $pids
		pids=
		rm -rf "$public"
	done
}

@test "blk: an io_uring is tried as it is used: if it cannot be had, auto does without, and both say why" {
	needs_io_uring
	for refused in large-rings io_uring; do
		reason='Out of memory'
		[ $refused = large-rings ] || reason='Function not implemented'
		: >"$log"
		launch "$root/build/tests/sandbox-without" $refused -- "$bin" blk --socket "$socket" --path "$image"
		until_true accepting
		reads_image
		[ "$(lines "engine sync (no io_uring: $reason)$")" = 1 ]
		stop
		fails 1 "--engine uring: no io_uring can be made; --engine auto does without: $reason\$" \
			"$root/build/tests/sandbox-without" $refused -- \
			"$bin" blk --socket "$socket" --path "$image" --engine uring
	done
}

@test "blk: an io_uring that gets no kernel thread loses no request" {
	needs_io_uring
	as=() user=''
	[ "$(id -u)" != 0 ] || { as=(setpriv --reuid 65533 --regid 65533 --clear-groups --) && user='--user 65533'; }
	for options in "" "--direct" "--cache writethrough"; do
		: >"$log"
		# shellcheck disable=SC2086 # words
		serve --engine uring $user $options
		until_true logged "listening on"
		"${as[@]}" prlimit --pid "$pid" --nproc=1:1
		head -c 256K /dev/urandom >"$folder/data"
		client write "$socket" 64 <"$folder/data"
		client flush "$socket"
		client discard "$socket" 1024 512
		client zeroes "$socket" 1536 256
		cmp "$folder/data" <(client read "$socket" 64 512)
		cmp <(head -c 384K /dev/zero) <(client read "$socket" 1024 768)
		[ "$(lines 'the io_uring gets no kernel thread, so a worker does what takes one: ')" = 1 ]
		stop
	done
}

# ---- flushes

@test "blk: after a flush has failed none succeeds until the disk is opened anew" {
	# what strace makes of a call the lockdown would not pass
	for cache in writeback writethrough; do
		: >"$log"
		launch strace -f -o "$folder/trace" -e trace=fdatasync,pwritev2 -e inject=fdatasync:error=EIO:when=1 \
			"$bin" blk --socket "$socket" --path "$image" --engine sync --cache $cache --sandbox none
		tracer=$pid
		until_true listening "$socket"
		until_true logged 'listening on'
		pids=$(pgrep -P "$tracer" | head -n 1) # what strace leaves if it is killed
		for _ in 1 2 3; do
			fails_io flush "$socket"
		done
		client read "$socket" 0 8 >/dev/null
		if [ $cache = writeback ]; then
			client write "$socket" 0 <<<"x"
		else
			fails_io write "$socket" 0 <<<"x"
		fi
		[ "$(lines 'the disk cannot flush: I/O error$')" = 1 ]
		[ "$(lines 'flushes fail from now on')" = 1 ]
		kill -TERM "$pids"
		wait_end
		pids=
		serve
		client flush "$socket"
		stop
	done
}

# A mount namespace of our own with a file system of 256 KiB at $folder/small.
make_small() {
	mkdir "$folder/small"
	unshare --mount sleep 600 </dev/null >/dev/null 2>&1 3>&- &
	helper=$!
	until_true has_own_mounts
	inside mount -t tmpfs -o size=256K none "$folder/small"
}

has_own_mounts() {
	[ "$(readlink "/proc/$helper/ns/mnt")" != "$(readlink /proc/self/ns/mnt)" ]
}

inside() { # COMMAND...
	nsenter --target "$helper" --mount "$@"
}

serve_inside() { # PATH OPTION...
	launch nsenter --target "$helper" --mount "$bin" blk --socket "$socket" --path "$@"
	until_true accepting
}

@test "blk: what a full host has not taken from the page cache is not flushed the next time either" {
	needs_root "a loop device on a small file system"
	make_small
	for engine in uring sync; do
		! left_out "$engine" || continue
		: >"$log"
		inside truncate -s 4M "$folder/small/disk"
		loop=$(inside losetup --find --show "$folder/small/disk")
		serve_inside "$loop" --engine $engine
		head -c 1M /dev/urandom | client write "$socket" 0
		fails_io flush "$socket"
		fails_io flush "$socket"
		[ "$(lines 'flushes fail from now on')" = 1 ]
		stop
		until_true losetup -d "$loop"
		loop=
		inside rm "$folder/small/disk"
	done
}

# ---- room

@test "blk: a full host fails requests, each of which it names, and the guest's own mistakes it does not" {
	needs_root "a small file system"
	make_small
	for engine in uring sync; do
		! left_out "$engine" || continue
		: >"$log"
		inside truncate -s 4M "$folder/small/disk"
		serve_inside "$folder/small/disk" --engine $engine
		for _ in 1 2 3 4 5 6 7 8; do
			fails_io read "$socket" 8192 8
		done
		[ "$(lines 'error: ')" = 0 ]
		head -c 512K /dev/urandom >"$folder/data"
		began=$(date +%s)
		for _ in 1 2 3 4 5 6 7 8; do
			fails_io write "$socket" 0 <"$folder/data"
		done
		# a line for each second that has begun, by another clock's seconds
		[ "$(lines 'error: ')" -le $(($(date +%s) - began + 2)) ]
		logged 'error: the disk cannot write at byte [1-9][0-9]*: No space left on device$'
		stop
		inside rm "$folder/small/disk"
	done
}

@test "blk: --on-enospc=stop has writes wait until there is room" {
	needs_root "a small file system"
	make_small
	for options in "--engine uring" "--engine sync" "--engine uring --cache writethrough"; do
		! left_out "$options" || continue
		: >"$log"
		inside truncate -s 4M "$folder/small/disk"
		until_true inside fallocate -l 192K "$folder/small/other" # what was there may be kept open by an io_uring
		# shellcheck disable=SC2086 # words
		serve_inside "$folder/small/disk" --on-enospc stop $options
		head -c 128K /dev/urandom >"$folder/data"
		client --timeout 60000 write "$socket" 0 <"$folder/data" 3>&- &
		writer=$!
		until_true logged 'the host has no room for the disk: requests wait until it has'
		kill -0 $writer
		inside rm "$folder/small/other"
		wait $writer
		until_true logged 'the host has room for the disk again'
		cmp "$folder/data" <(client read "$socket" 0 256)
		[ "$(lines 'room')" = 2 ]
		stop
		inside rm "$folder/small/disk"
	done
}

@test "blk: what waits for room holds up neither the end of a front-end nor that of the process" {
	needs_root "a small file system"
	make_small
	for engine in uring sync; do
		! left_out "$engine" || continue
		: >"$log"
		inside truncate -s 4M "$folder/small/disk"
		serve_inside "$folder/small/disk" --on-enospc stop --engine $engine
		for end in front-end process; do
			"$root/build/tests/vu-client" --timeout 60000 write "$socket" 0 <"$image" 2>"$folder/err" 3>&- &
			writer=$!
			until_true logged 'requests wait until it has'
			if [ $end = front-end ]; then
				kill -KILL $writer
				wait $writer || true
				until_true logged 'no request waits for room any more: the last has failed'
				: >"$log"
			else
				stop
				not wait $writer
			fi
		done
		logged 'no request waits for room any more: the last has failed'
		inside rm "$folder/small/disk"
	done
}
