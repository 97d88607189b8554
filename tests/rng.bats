#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# The entropy device: where its bytes come from, how many there may be, and what happens when there are none.
#
# shellcheck disable=SC2119 # what stop takes is a signal

setup() {
	# shellcheck source=tests/lib/lib.bash
	. "$BATS_TEST_DIRNAME/lib/lib.bash"
	set_up
	reader=
}

teardown() {
	[ -z "$reader" ] || kill -KILL "$reader" || true
	tear_down
}

serve_rng() { # OPTION...
	launch "$bin" rng --socket "$socket" "$@"
	until_true accepting
}

# COUNT bytes through a ring of four entries, as QEMU's, LEN bytes a request.
entropy() { # COUNT [LEN]
	client --queue-size 4 entropy "$socket" "$@"
}

# A front-end asks for COUNT bytes, gets none in a while, and goes.
asks_in_vain() { # COUNT
	local status=0
	client --timeout 1000 entropy "$socket" "$1" >"$folder/got" || status=$?
	[ "$status" = 1 ] && [ ! -s "$folder/got" ]
}

# COUNT bytes as above, in the background, to $folder/got; $reader is who waits for them.
entropy_later() { # COUNT [LEN]
	entropy "$@" >"$folder/got" 2>>"$log" </dev/null 3>&- &
	reader=$!
}

entropy_comes() {
	local waited_for=$reader
	reader=
	wait "$waited_for"
}

milliseconds() {
	echo $(($(date +%s%N) / 1000000))
}

# How often the back-end's threads went to sleep so far.
sleeps() {
	awk '/^voluntary/ { sum += $2 } END { print sum }' "/proc/$pid/task"/*/status
}

# Nobody is woken for longer than the back-off ever waits.
is_quiet() {
	local before
	before=$(sleeps)
	sleep 1.5
	[ "$(sleeps)" = "$before" ]
}

# The reader's request is there, nothing is done about it, and it is still waited for.
waits_quietly() {
	until_true visited
	until_true is_quiet
	kill -0 "$reader"
}

said() { # TEXT
	grep -qF -- "$1" "$log"
}

@test "rng: in the list, in help, by its symlink, and in vhost-user.json's words" {
	"$bin" --list | grep -qx rng
	ln -s "$bin" "$folder/vhost-rng"
	"$folder/vhost-rng" --help >"$folder/help"
	for option in source max-bytes period chunk socket; do
		grep -q -- " --$option" "$folder/help"
	done
	"$folder/vhost-rng" --print-capabilities |
		"$python" -c 'import json, sys; assert json.load(sys.stdin) == {"type": "rng", "features": []}'
}

@test "rng: wrong options" {
	fails 3 'cannot open --source /nowhere: No such file' "$bin" rng --socket "$socket" --source /nowhere
	fails 3 'cannot open --source /: Is a directory' "$bin" rng --socket "$socket" --source /
	fails 3 'cannot open --source fd:9: Bad file descriptor' "$bin" rng --socket "$socket" --source fd:9
	fails 3 'cannot open --source fd:9: Permission denied' "$bin" rng --socket "$socket" --source fd:9 9>"$folder/w"
	fails 2 '--source fd:x: not a file descriptor' "$bin" rng --socket "$socket" --source fd:x
	fails 2 '--chunk 0: must be 1 to 65536' "$bin" rng --socket "$socket" --chunk 0
	fails 2 '--chunk 1M: must be 1 to 65536' "$bin" rng --socket "$socket" --chunk 1M
	fails 2 '--max-bytes 0: must be 1 to' "$bin" rng --socket "$socket" --max-bytes 0
	fails 2 '--period 0: must be 1 to' "$bin" rng --socket "$socket" --period 0
	[ ! -e "$socket" ]
}

@test "rng: one queue, no configuration space, no feature bit of its own" {
	serve_rng
	[ "$(value queue_num features "$socket")" = 1 ]
	(($(value offered_protocol_features features "$socket") >> 9 & 1)) && return 1
	[ $(($(value offered_features features "$socket") & 0xffffff)) = 0 ]
	stop
}

@test "rng: a MiB looks random, and no two are the same" {
	serve_rng
	entropy 1048576 >"$folder/one"
	entropy 1048576 4096 >"$folder/two"
	"$lib/looks-random" "$folder/one"
	"$lib/looks-random" "$folder/two"
	cat "$folder/one" "$folder/two" >"$folder/both"
	"$lib/looks-random" "$folder/both"
	stop
}

@test "rng: every front-end in turn" {
	serve_rng
	for profile in qemu cloud-hypervisor firecracker crosvm libblkio; do
		[ "$(client --profile "$profile" entropy "$socket" 1000 | wc -c)" = 1000 ]
	done
	stop
}

@test "rng: /dev/urandom and /dev/random as sources" {
	for source in /dev/urandom /dev/random; do
		serve_rng --source "$source"
		entropy 300000 1000 >"$folder/got"
		"$lib/looks-random" "$folder/got"
		stop
	done
}

@test "rng: the bytes of a file, each once and in order, then none until it grows" {
	head -c 100000 "$image" >"$folder/source"
	serve_rng --source "$folder/source" --chunk 1000
	cmp <(entropy 40000) <(head -c 40000 "$image")
	cmp <(entropy 59000 777) <(head -c 99000 "$image" | tail -c 59000)
	entropy_later 2000
	until_true said 'is at its end, requests wait'
	sleep 0.3 # further tries
	kill -0 "$reader"
	[ "$(grep -c 'is at its end, requests wait' "$log")" = 1 ]
	head -c 101000 "$image" | tail -c 1000 >>"$folder/source"
	entropy_comes
	cmp "$folder/got" <(head -c 101000 "$image" | tail -c 2000)
	[ "$(grep -c 'gives bytes again' "$log")" = 1 ]
	stop
}

@test "rng: a request that no front-end waits for any more costs no bytes" {
	: >"$folder/source"
	serve_rng --source "$folder/source"
	asks_in_vain 64
	printf 0123456789 >>"$folder/source"
	[ "$(entropy 10)" = 0123456789 ]
	stop
}

@test "rng: a source in error keeps requests, is logged once, and costs nothing while it lasts" {
	local before
	serve_rng --source /proc/self/mem # nothing can be read at address 0
	entropy_later 64
	until_true said 'cannot be read, requests wait'
	sleep 1.2 # the back-off has reached its second
	before=$(sleeps)
	sleep 0.3
	kill -0 "$reader"
	(($(sleeps) - before <= 8))
	[ "$(grep -cE 'cannot be read, requests wait: (I/O|Input/output) error$' "$log")" = 1 ]
	[ ! -s "$folder/got" ]
	stop
}

@test "rng: a pipe by fd:N gives what it has and is waited for without polling" {
	mkfifo "$folder/pipe"
	exec 8<>"$folder/pipe"
	serve_rng --source fd:8 8<"$folder/pipe"
	printf abc >&8
	[ "$(entropy 3)" = abc ]
	entropy_later 64
	waits_quietly
	head -c 64 "$image" >&8
	entropy_comes
	cmp "$folder/got" <(head -c 64 "$image")
	[ "$(grep -c 'requests wait' "$log")" = 0 ]
	exec 8>&-
	stop
}

@test "rng: a named pipe whose writers come and go" {
	mkfifo "$folder/pipe"
	serve_rng --source "$folder/pipe"
	for start in 1 2 3; do
		entropy_later 64
		tail -c "+$start" "$image" | head -c 64 >"$folder/pipe"
		entropy_comes
		cmp "$folder/got" <(tail -c "+$start" "$image" | head -c 64)
	done
	stop
}

@test "rng: the byte budget is exact, and the ring goes on by itself" {
	local began took
	serve_rng --max-bytes 1000 --period 100
	began=$(milliseconds)
	[ "$(entropy 10000 | wc -c)" = 10000 ]
	took=$(($(milliseconds) - began))
	echo "10 periods' bytes took $took ms"
	((took >= 800)) # the first period had begun, the last need not pass
	stop
}

@test "rng: with the budget spent, nobody is woken before the next period" {
	serve_rng --max-bytes 64 --period 3600000
	[ "$(entropy 64 | wc -c)" = 64 ]
	asks_in_vain 1
	entropy_later 1
	waits_quietly
	stop
}

@test "rng: unasked it does nothing" {
	serve_rng --max-bytes 64 --period 1
	client idle "$socket" 60 >"$folder/got" 2>>"$log" 3>&- &
	reader=$!
	until_true grep -q ready=1 "$folder/got"
	waits_quietly
	stop
}

@test "rng: docs/adding-an-applet.md quotes it as it is" {
	local line quoted=0
	while IFS= read -r line; do
		grep -qxF -- "$line" "$root"/applets/rng/* || { echo "not in applets/rng: $line"; return 1; }
		quoted=$((quoted + 1))
	done < <(awk '/^```/ { code = $0 == "```c"; next } code' "$root/docs/adding-an-applet.md")
	((quoted > 40))
}
