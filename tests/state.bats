#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# A device's own state goes from one process to another, as in a migration: saved through a pipe, loaded through
# another, both processes in the sandbox that ships.
#
# shellcheck disable=SC2119 # what stop takes is a signal

setup() {
	# shellcheck source=tests/lib/lib.bash
	. "$BATS_TEST_DIRNAME/lib/lib.bash"
	set_up
	programs=$root/${B:-build}/tests
	other=$folder/other
	state=$folder/state
	source_pid='' guest='' host=''
}

teardown() {
	for client in $guest $host; do
		! kill -KILL "$client" || true
	done
	[ -z "$source_pid" ] || kill -KILL "$source_pid" || true
	tear_down
}

# Serves at $socket and, as $pid, at $other.
serve_both() { # APPLET OPTION... -- OPTION-OF-THE-OTHER...
	local applet=$1 options=()
	shift
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	shift
	: >"$log"
	launch "$bin" "$applet" --socket "$socket" "${options[@]}"
	source_pid=$pid
	until_true accepting
	launch "$bin" "$applet" --socket "$other" "$@"
	until_true accepting
	[ "$(grep -c 'sandbox: strict$' "$log")" = 2 ]
}

stop_both() {
	stop
	pid=$source_pid source_pid=
	stop
}

# The size and a byte of the state, which is of little-endian numbers.
put() { # OFFSET BYTE
	printf '%b' "\\x$2" | dd of="$state" bs=1 seek="$1" conv=notrunc status=none
}

# The state that is in the file is refused with this message, and the device lives.
refused() { # MESSAGE
	not client load "$other" <"$state" 2>>"$folder/err"
	grep -q "error: $1" "$log" || { echo "no '$1'"; return 1; }
}

@test "blk: the write cache stays as the guest has set it" {
	cp "$image" "$folder/copy"
	serve_both blk --path "$image" -- --path "$folder/copy"
	client save "$socket" 0 | client load "$other" >"$folder/said"
	grep -qx writeback=0 "$folder/said"
	client save "$socket" 1 | client load "$other" >"$folder/said"
	grep -qx writeback=1 "$folder/said"
	stop_both
	serve_both blk --path "$image" -- --path "$folder/copy" --cache writethrough
	client save "$socket" | client load "$other" >"$folder/said"
	grep -qx writeback=1 "$folder/said"
	[ "$(value writeback config "$other")" = 0 ] # for the next driver
	stop_both
}

@test "blk: a state that is not as it must be changes nothing" {
	cp "$image" "$folder/copy"
	serve_both blk --path "$image" --num-queues 4 -- --path "$folder/copy" --num-queues 3
	client save "$socket" 1 >"$state"
	refused 'the device state is of 4 queues; we have 3'
	put 8 02
	client load "$other" <"$state" | grep -qx writeback=1
	put 16 02
	refused "the disk's state has writeback 2"
	put 16 00 && put 6 03
	refused 'the device state is of a device of type 3, not 2'
	put 6 02 && put 4 02
	refused 'the device state is of version 2, not 1'
	put 4 01 && put 12 02
	refused 'the device state is of 2 bytes, but 1 came'
	put 12 01 && put 0 00
	refused 'the device state is none of ours'
	head -c 15 "$state" >"$folder/short" && cp "$folder/short" "$state"
	refused 'the device state ends after 15 bytes'
	head -c 100K /dev/zero >"$state"
	refused 'the device state is too long'
	[ "$(value writeback config "$other")" = 1 ]
	stop_both
}

@test "rng: there is no state but that of the core" {
	serve_both rng -- --max-bytes 64 --period 600000
	client save "$socket" >"$state"
	[ "$(stat -c %s "$state")" = 16 ]
	client --queue-size 4 entropy "$other" 64 | wc -c | grep -qx 64
	client load "$other" <"$state"
	# the budget was not refilled
	not client --queue-size 4 --timeout 200 entropy "$other" 1
	printf x >>"$state"
	put 12 01
	refused 'the device state has 1 bytes too many'
	stop_both
}

@test "console: the guest goes on with its ports" {
	local ports=(--port "type=unix,path=$folder/a" --port "type=unix,path=$folder/b,name=b")
	local others=(--port "type=unix,path=$folder/c" --port "type=unix,path=$folder/d,name=b")
	serve_both console "${ports[@]}" -- "${others[@]}" --port type=null
	timeout 20 "$programs/vu-console" --ports 2 --port 1 --save "$state" "$socket" </dev/null
	[ "$(stat -c %s "$state")" -gt 16 ]
	# the guest goes on on the other host: it hears of a client there without saying anything
	timeout 20 "$programs/vu-console" --ports 3 --port 1 --bytes 5 --print --load "$state" "$other" \
		>"$folder/received" 2>"$folder/heard" </dev/null 3>&- &
	guest=$!
	timeout 20 "$programs/console-client" "unix:$folder/d" send:hello "await:$folder/done" 3>&- &
	host=$!
	wait "$guest"
	guest=
	touch "$folder/done"
	wait "$host"
	[ "$(cat "$folder/received")" = hello ]
	grep -q 'port 1 PORT_OPEN 1' "$folder/heard"
	not grep -q 'port [01] DEVICE_ADD' "$folder/heard"
	grep -q 'port 2 DEVICE_ADD' "$folder/heard"
	stop_both
}
