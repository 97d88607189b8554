#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# What the console's output is written to besides: logs and files, which may have a size, and what becomes of output that cannot be
# written anywhere. The guest is played by vu-console.
#
# shellcheck disable=SC2119 # what stop takes is a signal
# shellcheck disable=SC2030,SC2031 # each test has its own pid and output

bats_require_minimum_version 1.5.0

setup() {
	# shellcheck source=tests/lib/lib.bash
	. "$BATS_TEST_DIRNAME/lib/lib.bash"
	set_up
	out=$folder/out
}

teardown() {
	tear_down
}

serve_console() { # OPTION...
	launch "$bin" console --socket "$socket" "$@"
	until_true accepting
	listening "$socket"
}

guest() { timeout 60 "$root/build/tests/vu-console" "$socket"; }

said() { # COUNT TEXT
	[ "$(grep -cF -- "$2" "$log")" = "$1" ]
}

newlines() { # COUNT
	head -c "$1" /dev/zero | tr '\0' '\n'
}

# ---- a size

@test "log-max: a full log becomes FILE.1, as many as wanted are kept, and no line is lost or cut" {
	for port in type=file,path= type=unix,path=$folder/console,connect,log= type=null,log=; do
		rm -f "$out"*
		serve_console --port "$port$out,log-max=4K,log-keep=3"
		seq 1 2000 | guest
		stop
		[ "$(printf '%s\n' "$out"*)" = "$out"$'\n'"$out.1"$'\n'"$out.2" ]
		cat "$out.2" "$out.1" "$out" | cmp - <(seq 1 2000)
		for file in "$out" "$out.1" "$out.2"; do
			[ "$(stat -c '%a %s' "$file" | awk '{ print $1, $2 <= 4096 }')" = '600 1' ]
		done
		serve_console --port "$port$out,log-max=4K,log-keep=3"
		seq 2001 6000 | guest
		stop
		[ "$(printf '%s\n' "$out"* | wc -l)" = 4 ]
		cat "$out.3" "$out.2" "$out.1" "$out" | cmp - <(seq 1 6000 | tail -n "$(cat "$out"* | wc -l)")
	done
}

@test "log-max: a log that cannot make way is told once, has its size, and the guest goes on" {
	mkdir "$out.1"
	serve_console --port "type=null,log=$out,log-max=4K"
	for _ in 1 2 3; do
		seq 1 20000 | guest
	done
	said 1 "cannot begin a new $out"
	[ "$(stat -c %s "$out")" -le 4096 ]
	stop
}

@test "log-max: wrong ones are refused" {
	fails 2 'needs a size of at least 4096' "$bin" console --socket "$socket" --port "type=null,log=$out,log-max=1"
	fails 2 'needs a number from 1 to 99' "$bin" console --socket "$socket" --port "type=null,log=$out,log-max=1M,log-keep=x"
	fails 2 'is for log= and for type=file' "$bin" console --socket "$socket" --port type=null,log-max=1M
	fails 2 'needs log-max=' "$bin" console --socket "$socket" --port "type=null,log=$out,log-keep=1"
	fails 3 'is written to twice' "$bin" console --socket "$socket" --port "type=file,path=$out" \
		--port "type=null,name=a,log=$out,log-max=1M"
	ln -s elsewhere "$folder/link"
	fails 3 'must be no symlink' "$bin" console --socket "$socket" --port "type=null,log=$folder/link,log-max=1M"
}

# ---- the time

# How often the back-end has called write.
writes() {
	sed -n 's/^syscw: //p' "/proc/$pid/io"
}

@test "timestamp: a log of empty lines takes hundreds of writes, not one for each" {
	local before
	[ "$(id -u)" = 0 ] || skip "only root sees how often a locked process writes"
	serve_console --port "type=null,log=$out,timestamp"
	before=$(writes)
	newlines 100000 | guest
	stamped() { [ "$(grep -cE '^[-0-9T:.]{23}Z $' "$out")" = 100000 ]; }
	until_true stamped
	[ $(($(writes) - before)) -lt 3000 ]
	stop
}

# ---- what cannot be written

stdio_to() { # COMMAND; its standard input is the back-end's output
	"$bin" console --socket "$socket" --port type=stdio </dev/null > >(exec bash -c "$1") 2>>"$log" 3>&- &
	pid=$!
	until_true accepting
	listening "$socket"
}

@test "stdio: a reader that has gone is told once, and the guest goes on" {
	stdio_to 'exec <&-; exec sleep 0'
	for _ in 1 2 3; do
		newlines 300000 | guest
	done
	said 1 'cannot write to its stdio any more'
	stop
}

@test "fd, stdio: what is full is told once, and the guest goes on" {
	exec 5>/dev/full
	serve_console --port type=fd,path=5
	newlines 300000 | guest
	newlines 300000 | guest
	said 1 'cannot write to its fd: output is lost until there is room'
	stop
	"$bin" console --socket "$socket" --port type=stdio </dev/null >/dev/full 2>>"$log" 3>&- &
	pid=$!
	until_true accepting
	newlines 300000 | guest
	said 1 'cannot write to its stdio: output is lost until there is room'
	stop
}

@test "a limit of file sizes does not end the process: the output beyond it is lost, which is told once" {
	local limit=$((1 << 30)) # memfds have it as well
	truncate -s $((limit - 16384)) "$out"
	launch prlimit --fsize=$limit "$bin" console --socket "$socket" --port "type=file,path=$out"
	until_true accepting
	for _ in 1 2 3; do
		newlines 30000 | guest
	done
	said 1 "cannot write to $out: output is lost"
	[ "$(stat -c %s "$out")" = $limit ]
	stop
}
