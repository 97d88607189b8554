#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# The console: where its ports end on the host, who may come and go there, and what a slow or absent reader means.
# The guest is played by vu-console, the host's side by console-client.
#
# ECHO_ROUNDS=100 and STALL_SECONDS=60 make the long tests as long as is claimed.
#
# shellcheck disable=SC2119 # what stop takes is a signal
# shellcheck disable=SC2030,SC2031 # each test has its own pid and output

bats_require_minimum_version 1.5.0

setup() {
	# shellcheck source=tests/lib/lib.bash
	. "$BATS_TEST_DIRNAME/lib/lib.bash"
	set_up
	programs=$root/${B:-build}/tests
	console=$folder/console
	guest=
}

teardown() {
	[ -z "$guest" ] || kill -KILL "$guest" || true
	tear_down
}

# Serves a console; without an option on the port at $console.
serve_console() { # OPTION...
	[ $# -gt 0 ] || set -- --port "type=unix,path=$console"
	launch "$bin" console --socket "$socket" "$@"
	until_true accepting
	not exited "$pid"
}

guest() { timeout 60 "$programs/vu-console" "$@"; }
host() { timeout 120 "$programs/console-client" "$@"; }

# A guest in the background; what it prints goes to $folder/guest.
guest_later() { # OPTION...
	"$programs/vu-console" "$@" "$socket" >"$folder/guest" 2>&1 </dev/null 3>&- &
	guest=$!
}

guest_ends() {
	local ending=$guest
	guest=
	wait "$ending"
}

# What the back-end said contains this.
said() { # TEXT
	grep -qF -- "$1" "$log"
}

guest_heard() { # TEXT
	until_true grep -qF -- "$1" "$folder/guest"
}

# FILE is there as soon as the command succeeds.
mark_when() { # FILE COMMAND...
	{ until_true "${@:2}" && touch "$1"; } 3>&- &
}

# A client is connected to the socket of a port.
client_there() { # SOCKET
	grep -qE " 03 +[0-9]+ $1\$" /proc/net/unix
}

# A client in the background, once it is there.
client_later() { # SOCKET STEP...
	host "unix:$1" "${@:2}" 3>&- &
	reader=$!
	until_true client_there "$1"
}

memory() {
	awk '/^Anonymous:/ { print $2 }' "/proc/$pid/smaps_rollup"
}

# ---- types of ports ----

@test "unix: what the guest prints reaches the client, and what is typed the guest" {
	serve_console
	guest_later --bytes 6
	host "unix:$console" 'send:hello\n'
	guest_ends
	[ "$(cat "$folder/guest")" = hello ]
	echo from the guest | guest "$socket"
	host "unix:$console" 'expect:from the guest\n'
	stop
	[ ! -e "$console" ]
}

@test "without --port and without a terminal: a socket beside the front-end's" {
	serve_console --replay 64K
	echo hi | guest "$socket"
	host "unix:$socket.console" 'expect:hi\n'
	stop
	[ ! -e "$socket.console" ]
}

@test "unix,connect: we call, and call again" {
	serve_console --port "type=unix,path=$console,connect"
	echo one | guest "$socket"
	host "listen:$console" 'expect:one\n' 'send:x'
	guest_later --bytes 1
	host "listen:$console" 'send:y'
	guest_heard x
	stop
}

@test "tcp: on the address that is given and no other" {
	local port=$((20000 + BASHPID % 20000))
	serve_console --port "type=tcp,path=$port"
	grep -q "0100007F:$(printf %04X $port) 00000000:0000 0A" /proc/net/tcp
	echo over tcp | guest "$socket"
	host "tcp:$port" 'expect:over tcp\n'
	not said 'whoever can reach'
	stop
}

@test "tcp: who listens beyond the own machine is warned" {
	serve_console --port "type=tcp,path=0.0.0.0:$((20000 + BASHPID % 20000))"
	said 'whoever can reach'
	stop
}

@test "pty: a link to it, raw, and everything gone at the end" {
	serve_console --port type=pty --link "$folder/tty"
	[ "$(stat -Lc %F "$folder/tty")" = 'character special file' ]
	stty -F "$folder/tty" -a | grep -q -- '-icanon.*'
	guest_later --echo
	host "pty:$folder/tty" 'send:through a pty\n' 'expect:through a pty\n'
	host "pty:$folder/tty" 'send:and again\n' 'expect:and again\n'
	stop
	[ ! -L "$folder/tty" ]
}

@test "pty: a stale link is replaced, a file is not" {
	ln -s /dev/pts/99999 "$folder/tty"
	serve_console --port type=pty --link "$folder/tty"
	[ -e "$folder/tty" ]
	stop
	echo mine >"$folder/file"
	run -3 "$bin" console --socket "$socket" --port type=pty --link "$folder/file"
	[[ $output == *"exists and is no link to a pty"* ]]
	[ "$(cat "$folder/file")" = mine ]
}

@test "stdio on pipes" {
	"$bin" console --socket "$socket" --port type=stdio < <(echo typed; sleep 10) >"$folder/out" 2>>"$log" 3>&- &
	pid=$!
	until_true accepting
	echo printed | guest --bytes 6 "$socket" >"$folder/guest"
	[ "$(cat "$folder/guest")" = typed ]
	until_true grep -qx printed "$folder/out"
	stop
}

@test "file: output is appended, input= is read once" {
	echo before >"$folder/out"
	printf 'from a file' >"$folder/in"
	serve_console --port "type=file,path=$folder/out,input=$folder/in"
	[ "$(echo after | guest --bytes 11 "$socket")" = 'from a file' ]
	[ "$(cat "$folder/out")" = $'before\nafter' ]
	stop
}

@test "fifo: readers and writers come and go" {
	serve_console --port "type=fifo,path=$folder/out,input=$folder/in"
	echo nobody is there | guest "$socket"
	[ "$(timeout 30 head -n 1 "$folder/out")" = 'nobody is there' ]
	guest_later --echo
	for text in one two; do
		timeout 30 sed "/$text/q" "$folder/out" >"$folder/read" 3>&- &
		reader=$!
		echo $text >"$folder/in"
		wait $reader
		grep -qx $text "$folder/read"
	done
	stop
}

@test "fd: one for output and one for input" {
	exec 5>"$folder/out" 6< <(echo inherited)
	launch "$bin" console --socket "$socket" --port type=fd,path=5,input=6
	exec 5>&- 6<&-
	until_true accepting
	[ "$(echo written | guest --bytes 10 "$socket")" = inherited ]
	[ "$(cat "$folder/out")" = written ]
	stop
}

@test "null: output is taken and gone" {
	serve_console --port type=null
	head -c 3M /dev/zero | guest "$socket"
	stop
}

# ---- the terminal ----

on_terminal() { # STEP...
	host "run:80x24:exec '$bin' console --socket '$socket' 2>>'$log'" mode:raw "$@"
}

@test "stdio on a terminal: raw, Ctrl-] q ends it cleanly and the mode is as before" {
	on_terminal 'send:\^?' 'expect:Ctrl-] q' 'send:\^q' exit:0 mode:cooked
	said 'ending on signal 15'
	[ ! -e "$socket" ]
}

@test "stdio on a terminal: what else is typed is the guest's, a doubled Ctrl-] too" {
	guest_later --bytes 5
	mark_when "$folder/ended" exited "$guest"
	on_terminal 'send:\^\^a\^' sleep:100 'send:b\^\^' "await:$folder/ended" 'send:\^q' exit:0
	guest_ends
	[ "$(tr '\035' ']' <"$folder/guest")" = ']a]b]' ]
}

@test "stdio on a terminal: the mode is as before after SIGTERM, and after SIGKILL" {
	on_terminal kill:15 exit:0 mode:cooked
	on_terminal kill:9 exit:137 mode:cooked
}

@test "stdio on a terminal: it has the terminal's size, and follows it" {
	guest_later --print --linger 60000
	mark_when "$folder/before" grep -qF 'config cols 80 rows 24 ports 1' "$folder/guest"
	mark_when "$folder/after" grep -qF 'config cols 111 rows 37 ports 1' "$folder/guest"
	on_terminal "await:$folder/before" resize:111x37 "await:$folder/after" 'send:\^q' exit:0
}

# ---- what goes with the output ----

@test "log: a copy of the output, with the time on each line" {
	serve_console --port "type=unix,path=$console,log=$folder/log.txt,timestamp"
	printf 'one\ntwo' | guest "$socket"
	echo ' and a half' | guest "$socket"
	[ "$(wc -l <"$folder/log.txt")" = 2 ]
	grep -qE '^20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]\.[0-9]{3}Z one$' "$folder/log.txt"
	grep -qE 'Z two and a half$' "$folder/log.txt"
	host "unix:$console" 'expect:one\ntwo and a half\n'
	stop
}

@test "filter: escape sequences do not get through; without it they do" {
	serve_console --port "type=unix,path=$console,filter"
	printf 'a\033]0;title\007b\302\233c\tend\r\n' | guest "$socket"
	host "unix:$console" "expect:a]0;title$(printf '\007')bc	end\\r\\n"
	stop
	serve_console
	printf 'a\033[31mend' | guest "$socket"
	host "unix:$console" 'expect:a\e[31mend'
	stop
}

@test "replay: a late client gets the last bytes, and the next one again" {
	serve_console --port "type=unix,path=$console" --replay 100
	{ printf 'x%.0s' {1..300}; printf 'y%.0s' {1..100}; } | guest "$socket"
	host "unix:$console" "get:100:$folder/one"
	host "unix:$console" "get:100:$folder/two" without:x
	[ "$(cat "$folder/one")" = "$(printf 'y%.0s' {1..100})" ]
	cmp "$folder/one" "$folder/two"
	stop
}

@test "replay: 0 bytes if so wished" {
	serve_console --port "type=unix,path=$console" --replay 0
	echo early | guest "$socket"
	host "unix:$console" without:early
	stop
}

# ---- clients ----

@test "one client at a time; who has stopped talking gives way" {
	serve_console
	guest_later --echo
	client_later "$console" 'send:first\n' 'expect:first' half-close sleep:600
	host "unix:$console" 'send:second\n' 'expect:second'
	wait "$reader"
	stop
}

@test "a second client waits until the first has gone" {
	serve_console
	guest_later --echo
	client_later "$console" 'send:first\n' 'expect:first' sleep:500 without:second
	host "unix:$console" 'send:second\n' 'expect:second'
	stop
}

@test "200 clients in a row leave nothing behind" {
	local fds
	serve_console
	guest_later --echo
	host "unix:$console" 'send:x' 'expect:x'
	until_true not client_there "$console"
	fds=$(fd_count)
	for i in {1..200}; do
		host "unix:$console" "send:<$i>" "expect:<$i>"
	done
	until_true fds_are "$fds"
	stop
}

@test "1 MiB echoed again and again loses and reorders nothing" {
	serve_console --port "type=unix,path=$console" --replay 0
	guest_later --echo
	host "unix:$console" "echo:1048576:${ECHO_ROUNDS:-10}"
	stop
}

# ---- slow and absent readers ----

@test "a stalled reader makes the guest wait, nothing is lost, and other ports live" {
	local taken
	serve_console --port "type=unix,path=$console,console" --port "type=unix,path=$folder/two,name=two"
	client_later "$console" "await:$folder/go" "get:2000000:$folder/got"
	guest_later --ports 2 --flood 1000
	host "unix:$folder/two" sleep:500
	guest_ends
	taken=$(cat "$folder/guest")
	echo "$taken bytes taken while nobody read"
	[ "$taken" -lt 1000000 ]
	guest_later --ports 2 --flood 60000
	touch "$folder/go"
	wait "$reader"
	kill -KILL "$guest"
	guest_ends || true
	[ "$(tr -d '0-9\n' <"$folder/got" | wc -c)" = 0 ]
	stop
}

@test "a stalled reader of one port keeps neither another port nor the front-end waiting" {
	serve_console --port "type=unix,path=$console,console" --port "type=unix,path=$folder/two,name=two" --replay 0
	client_later "$console" "await:$folder/go"
	guest_later --ports 2 --flood-port 0 --port 1 --echo
	host "unix:$folder/two" sleep:300 echo:1048576:3
	kill -KILL "$guest"
	guest_ends || true
	guest_later --ports 2 --print --linger 60000
	guest_heard DEVICE_ADD
	touch "$folder/go"
	wait "$reader" # it was still there
	stop
}

@test "drop: the guest goes on, what the reader misses is counted, the newest comes through" {
	serve_console --port "type=unix,path=$console,drop"
	client_later "$console" "await:$folder/go" 'expect:the end'
	head -c 8M /dev/zero | guest "$socket"
	echo the end | guest "$socket"
	touch "$folder/go"
	wait "$reader"
	said 'output is dropped'
	stop
	grep -qE 'port 0: [0-9]+ bytes of output were dropped' "$log"
}

@test "nobody there: a console's guest never waits" {
	serve_console
	head -c 8M /dev/zero | guest "$socket"
	stop
}

stalled_memory() {
	local seconds=${STALL_SECONDS:-4} before after
	client_later "$console" "await:$folder/go"
	guest --flood 1000 "$socket"
	before=$(memory)
	guest --flood $((seconds * 1000 - 1000)) "$socket"
	after=$(memory)
	echo "$before kB of memory, after $seconds s of output $after kB"
	((after <= before + 16))
	touch "$folder/go"
	wait "$reader"
}

@test "memory is flat while a stalled reader makes the guest wait" {
	serve_console
	stalled_memory
	stop
}

@test "memory is flat while output is dropped" {
	serve_console --port "type=unix,path=$console,drop"
	stalled_memory
	stop
}

# ---- several ports ----

@test "multiport: the driver hears of ports, names, consoles, and who is there" {
	serve_console --port "type=unix,path=$console,console" --port "type=unix,path=$folder/two,name=org.two" --size 90x30
	guest_later --ports 2 --print --port 1 --echo
	host "unix:$folder/two" 'send:to the second\n' 'expect:to the second\n'
	guest_heard 'port 1 PORT_OPEN 1'
	guest_heard 'port 1 PORT_OPEN 0'
	grep -qx 'config cols 90 rows 30 ports 2' "$folder/guest"
	for text in 'port 0 DEVICE_ADD 1' 'port 1 DEVICE_ADD 1' 'port 0 CONSOLE_PORT 1' 'port 0 RESIZE 1 90 30' \
		'port 1 PORT_NAME 1 org.two'; do
		grep -qx "$text" "$folder/guest"
	done
	not grep -q 'port 1 CONSOLE_PORT' "$folder/guest"
	stop
}

@test "multiport: the size in the other order, for drivers that take it so" {
	serve_console --port type=null,console --port type=null,name=two --size 90x30 --resize-order rows-cols
	guest_later --ports 2 --print --linger 60000
	guest_heard 'port 0 RESIZE 1 30 90'
	stop
}

@test "multiport: input waits until the guest has opened the port" {
	serve_console --port type=null,console --port "type=unix,path=$folder/two,name=two"
	client_later "$folder/two" 'send:kept' "await:$folder/go"
	[ -z "$(guest --ports 2 --port 1 --quiet-open "$socket" </dev/null)" ]
	[ "$(guest --ports 2 --port 1 --bytes 4 "$socket" </dev/null)" = kept ]
	touch "$folder/go"
	stop
}

@test "multiport: what a data port's client did not get, the next one gets, and nothing twice" {
	serve_console --port type=null,console --port "type=unix,path=$folder/two,name=two"
	echo for whoever comes | guest --ports 2 --port 1 "$socket"
	host "unix:$folder/two" 'expect:for whoever comes\n'
	host "unix:$folder/two" without:whoever
	stop
}

@test "ports that are offered and not taken: the first one works as a console" {
	serve_console --port "type=unix,path=$console,console" --port "type=unix,path=$folder/two,name=two"
	echo only one | guest "$socket"
	host "unix:$console" 'expect:only one\n'
	stop
}

@test "emerg_wr: printed although no driver is there" {
	serve_console
	guest --emergency 'Oops' "$socket"
	host "unix:$console" expect:Oops
	stop
}

# ---- wrong options ----

refused() { # STATUS MESSAGE OPTION...
	local status_wanted=$1 message=$2
	shift 2
	run "-$status_wanted" timeout 30 "$bin" console --socket "$socket" "$@" </dev/null
	echo "$output"
	[[ $output == *"$message"* ]]
	[ ! -e "$socket" ]
}

@test "wrong options are refused with one line that says what is wrong" {
	refused 2 'needs type=' --port path=x
	refused 2 'must be one of' --port type=serial
	refused 2 'there is no key colour=' --port type=null,colour=red
	refused 2 "there is no key 'blue'" --port type=null,blue
	refused 2 'needs path=' --port type=unix
	refused 2 'takes no path=' --port type=null,path=x
	refused 2 'takes no input=' --port type=pty,input=x
	refused 2 'neither listens nor connects' --port type=pty,connect
	refused 2 'either listen or connect' --port type=unix,path=x,listen,connect
	refused 2 'timestamp is for log=' --port type=pty,timestamp
	refused 2 'only once' --port type=null,name=a --port type=null,name=a
	refused 2 'only once' --port type=stdio --port type=stdio
	refused 2 'not like 127.0.0.1:4000' --port type=tcp,path=localhost:4000
	refused 2 'is no file descriptor' --port type=fd,path=x
	refused 3 'cannot use fd 99' --port type=fd,path=99
	refused 2 'not like 80x24' --size 80
	refused 3 'no port is of type stdio' --size inherit
	refused 2 'no port is of type pty' --link "$folder/x"
	refused 3 'is no regular file' --port type=file,path=/dev/null
	refused 3 'is no fifo' --port "type=fifo,path=$image"
	refused 3 'is not a socket' --port "type=unix,path=$image"
}

@test "too many ports are refused" {
	local ports=()
	for i in {1..32}; do ports+=(--port "type=null,name=p$i"); done
	run -2 "$bin" console --socket "$socket" "${ports[@]}"
	[[ $output == *'at most 31'* ]]
}
