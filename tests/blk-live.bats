#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# What changes under a disk while machines use it: its size, and which process has its lock.

setup() {
	# shellcheck source=tests/lib/lib.bash
	. "$BATS_TEST_DIRNAME/lib/lib.bash"
	set_up
	declare -gA to=() from=()
	other='' loop=''
}

teardown() {
	[ -z "$other" ] || kill -KILL "$other" || true
	tear_down
	[ -z "$loop" ] || until_true losetup -d "$loop"
}

ioerr=1

# A machine at SOCKET that does what it is told; several may be there.
machine() { # NAME SOCKET CLIENT-OPTION...
	local name=$1 path=$2 out in
	shift 2
	mkfifo "$folder/$name.to" "$folder/$name.from"
	client "$@" steps "$path" <"$folder/$name.to" >"$folder/$name.from" 3>&- &
	exec {out}>"$folder/$name.to" {in}<"$folder/$name.from"
	to[$name]=$out from[$name]=$in
	rm "$folder/$name.to" "$folder/$name.from"
	answers "$name" ready
}

order() { # NAME STEP...
	echo "${*:2}" >&"${to[$1]}"
}

answers() { # NAME ANSWER
	local answer=nothing
	read -r -t 20 answer <&"${from[$1]}" || true
	[ "$answer" = "$2" ] || { echo "machine $1 says '$answer', not '$2'"; return 1; }
}

does() { # NAME ANSWER STEP...
	order "$1" "${@:3}"
	answers "$1" "$2"
}

silent() { # NAME
	! read -r -t 0.3 <&"${from[$1]}"
}

leaves() { # NAME
	local out=${to[$1]} in=${from[$1]}
	order "$1" leave
	exec {out}>&- {in}<&-
}

# ---- the size

resize() { # BYTES
	truncate -s "$1" "$image"
	[ -z "$loop" ] || losetup --set-capacity "$loop"
	kill -HUP "$pid"
}

# A disk of 1 MiB grows to 3 MiB and shrinks to half a MiB while a machine uses it.
grows_and_shrinks() {
	machine vm "$socket" --queues 2
	does vm ok write 2040 before
	does vm "status $ioerr" read 2048
	resize 3145728
	does vm 6144 changed
	does vm before read 2040
	does vm ok write 6136 grown
	does vm grown read 6136
	does vm "status $ioerr" read 6144
	resize 524288
	does vm 1024 changed
	does vm "status $ioerr" read 1024
	does vm "status $ioerr" write 2040 lost
	does vm ok write 1016 last
	does vm last read 1016
	leaves vm
	[ "$(sed -n 's/.*: disk is \(.*\) bytes$/\1/p' "$log" | tail -n 2)" = $'now 3145728\nnow 524288' ]
	grep -aq last "${loop:-$image}"
}

@test "blk: on SIGHUP a file that has grown or shrunk has its new size for the guest" {
	for options in "--engine sync" "--engine uring" "--direct --workers 2"; do
		! left_out "$options" || continue
		truncate -s 1M "$image"
		# shellcheck disable=SC2086 # words
		serve $options
		grows_and_shrinks
		stop
	done
}

@test "blk: on SIGHUP a block device that has grown or shrunk has its new size for the guest" {
	[ "$(id -u)" = 0 ] || skip "only root can make a block device"
	for options in "--engine sync" "--direct"; do
		truncate -s 1M "$image"
		loop=$(losetup --find --show "$image")
		# shellcheck disable=SC2086 # words
		serve_disk "$loop" $options
		grows_and_shrinks
		stop
		until_true losetup -d "$loop"
		loop=
	done
}

@test "blk: a read-only disk changes its size too, in whole blocks" {
	serve --read-only --block-size 4096
	machine vm "$socket"
	resize 2101248
	does vm 4104 changed
	resize 1050000
	does vm 2048 changed
	leaves vm
	stop
}

@test "blk: SIGHUP without a front-end: the next one sees the new size" {
	serve
	resize 2097152
	until_true grep -q 'disk is now 2097152 bytes$' "$log"
	[ "$(value capacity config "$socket")" = 4096 ]
	client read "$socket" 4088 8 >"$folder/data"
	[ -S "$socket" ]
	stop
}

@test "blk: SIGHUP with nothing to be seen changes nothing" {
	serve
	machine vm "$socket"
	does vm ok write 0 first
	for ((i = 0; i < 20; i++)); do
		kill -HUP "$pid"
		does vm first read 0
	done
	until_true grep -q 'disk is still 1048576 bytes$' "$log"
	does vm first read 0
	leaves vm
	stop
}

# ---- the lock

# Two back-ends of one image; each can be told by its log.
serve_two() { # OPTIONS OPTIONS
	log=$folder/log
	# shellcheck disable=SC2086 # words
	launch "$bin" blk --socket "$folder/other" --path "$image" $1
	other=$pid
	until_true accepting
	log=$folder/log2
	# shellcheck disable=SC2086 # words
	serve $2
}

stop_other() {
	local pid=$other
	other=
	stop
}

waits_said() { grep -c 'waits for the lock of the disk: another process has it$' "$log"; }

@test "blk: --lock-handover: the next process has the disk when this one's rings have stopped, and back" {
	for engine in sync uring; do
		! left_out "$engine" || continue
		serve_two "--engine $engine --lock-handover" "--engine $engine --lock-handover --direct"
		machine here "$folder/other" --queues 2
		does here ok write 8 one
		machine there "$socket" --queues 2
		order there read 8
		silent there
		does here one read 8
		does here ok write 8 two
		[ "$(waits_said)" = 1 ]
		does here ok stop
		answers there two
		grep -q 'has the lock of the disk now$' "$log"
		does there ok write 8 three
		order here resume
		answers here ok
		order here read 8
		silent here
		does there ok stop
		answers here three
		does here ok write 8 four
		does there ok resume
		leaves here
		does there four read 8
		leaves there
		stop
		stop_other
		rm "$folder/log" "$folder/log2"
	done
}

@test "blk: --lock-handover: a process that was killed holds nobody up" {
	serve_two --lock-handover --lock-handover
	machine here "$folder/other"
	does here ok write 0 left
	machine there "$socket"
	order there read 0
	silent there
	kill -KILL "$other"
	other=
	answers there left
	leaves here
	leaves there
	stop
}

@test "blk: --lock-handover: who holds the lock for good is waited for, and keeps others out" {
	serve_two "" --lock-handover
	machine there "$socket"
	order there write 0 mine
	silent there
	stop_other
	answers there ok
	fails 3 'in use by another process' "$bin" blk --socket "$folder/third" --path "$image"
	leaves there
	until_true serves_elsewhere
	stop
}

# Once its machine has gone, nobody has the lock.
serves_elsewhere() {
	local pid socket=$folder/third
	launch "$bin" blk --socket "$socket" --path "$image"
	until_true accepting
	if listening "$socket"; then stop; else wait_end; fi
}

@test "blk: --lock-handover: readers do not wait for each other, and keep writers out" {
	printf 'known\0' | dd of="$image" conv=notrunc status=none
	serve_two "--read-only --lock-handover" "--read-only --lock-handover"
	machine here "$folder/other"
	machine there "$socket"
	does here known read 0
	does there known read 0
	fails 3 'in use by another process' "$bin" blk --socket "$folder/third" --path "$image"
	leaves here
	leaves there
	stop
	stop_other
}
