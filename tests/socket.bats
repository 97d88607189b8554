#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Where front-ends come from, how they come and go, and how the process ends.
#
# shellcheck disable=SC2030,SC2031 # each test has variables of its own, and so it should

setup() {
	# shellcheck source=tests/lib/lib.bash
	. "$BATS_TEST_DIRNAME/lib/lib.bash"
	set_up
	helper=
}

teardown() {
	[ -z "$helper" ] || kill -KILL "$helper" || true
	pkill -KILL -f -- "--socket $socket( |\$)" || true # of those that start at once
	tear_down
}

# Runs COMMAND beside the back-end; its standard output goes to $folder/helper.
help_out() { # COMMAND...
	"$@" >"$folder/helper" 2>>"$log" </dev/null 3>&- &
	helper=$!
}

end_helper() {
	kill "$helper" || true
	wait "$helper" || true
	helper=
}

@test "socket: --socket, --socket-path and -s are one" {
	for option in --socket --socket-path -s; do
		for spelling in "$option $socket" "$option=$socket"; do
			[[ $spelling != -s=* ]] || spelling="-s$socket"
			# shellcheck disable=SC2086 # two words
			launch "$bin" blk --path "$image" $spelling
			until_true accepting
			reads_image
			stop
			[ ! -e "$socket" ]
		done
	done
}

@test "socket: --fd with a listening socket serves one front-end after the other" {
	launch "$lib/with-socket" listen "$socket" 7 "$bin" blk --path "$image" --fd 7
	until_true listening "$socket"
	reads_image
	reads_image
	stop
	[ -S "$socket" ] # is not ours to remove
}

@test "socket: --fd with a connected socket serves it, and ends with it" {
	for option in --fd --socket-fd; do
		rm -f "$socket"
		launch "$lib/with-socket" accept "$socket" 7 "$bin" blk --path "$image" "$option=7"
		until_true listening "$socket"
		reads_image
		wait_end
	done
}

@test "socket: --fd with no socket, or none to be had" {
	fails 4 '--fd 9 is not an open unix stream socket' "$bin" blk --path "$image" --fd 9 9</dev/null
	fails 4 '--fd 99 is not an open unix stream socket' "$bin" blk --path "$image" --fd 99
	fails 4 '--fd 7 is not an open unix stream socket' \
		"$lib/with-socket" datagram "$socket" 7 "$bin" blk --path "$image" --fd 7
}

@test "socket: an inherited socket that passes credentials and process fds" {
	launch "$lib/with-socket" extras "$socket" 7 "$bin" blk --path "$image" --fd 7
	until_true listening "$socket"
	help_out "$root/build/tests/vu-client" idle "$socket" 60
	until_true grep -q ready=1 "$folder/helper"
	ls -l "/proc/$pid/fd"
	not grep -qi pidfd <(find "/proc/$pid/fd" -printf '%l\n')
	end_helper
	wait_end
}

@test "socket: --connect calls a peer that comes late, goes, and comes again" {
	launch "$bin" blk --path "$image" --connect "$socket"
	sleep 0.3
	for _ in 1 2 3; do
		cmp <(client --accept read "$socket" 0 2048) "$image"
	done
	# the peer that was never there for a while is called seldom, not busily
	sleep 0.2
	[ "$(awk '{ print $14 + $15 }' "/proc/$pid/stat")" -lt 20 ]
	stop
}

@test "socket: --connect ends with its peer if told so" {
	launch "$bin" blk --path "$image" --connect "$socket" --on-disconnect exit
	cmp <(client --accept read "$socket" 0 2048) "$image"
	wait_end
}

@test "socket: a path of 107 bytes is the longest" {
	long=$folder/$(printf '%0200d' 0)
	socket=${long:0:107}
	serve
	reads_image
	stop
	for option in socket connect; do
		fails 2 "--$option is empty; it needs PATH" "$bin" blk --path "$image" --$option ''
	done
	for socket in "${long:0:108}" "$long"; do
		fails 4 'socket path of .* bytes: it must have 1 to 107' \
			"$bin" blk --path "$image" --socket "$socket"
		fails 4 'socket path of .* bytes: it must have 1 to 107' \
			"$bin" blk --path "$image" --connect "$socket"
	done
}

@test "S22: what stands at the socket's path: a file, a folder, symlinks" {
	echo precious >"$folder/file"
	cp "$folder/file" "$folder/copy"
	ln -s file "$folder/link"
	ln -s nowhere "$folder/dangling"
	mkfifo "$folder/fifo"
	for path in file link dangling fifo; do
		fails 4 "$path exists and is not a socket" "$bin" blk --path "$image" --socket "$folder/$path"
	done
	fails 4 'exists and is not a socket' "$bin" blk --path "$image" --socket "$folder"
	cmp "$folder/file" "$folder/copy"
	[ -L "$folder/link" ] && [ -L "$folder/dangling" ] && [ -p "$folder/fifo" ]
}

@test "S22: a symlink to a socket is not followed" {
	serve
	ln -s socket "$folder/link"
	fails 4 'link exists and is not a socket' "$bin" blk --path null:1M --socket "$folder/link"
	reads_image
	stop
	[ -L "$folder/link" ]
}

@test "S22: a stale socket is replaced, a live one is not" {
	serve
	fails 4 'process [0-9]+ listens on' "$bin" blk --path null:1M --socket "$socket"
	reads_image
	stop
	"$python" -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$socket"
	[ -S "$socket" ]
	not listening "$socket"
	serve
	reads_image
	stop
}

@test "socket: a live socket whose backlog is full is not taken for a stale one" {
	launch "$lib/with-socket" listen "$socket" 7 /bin/sleep 60
	until_true listening "$socket"
	for _ in 1 2 3 4 5 6; do
		"$python" -c 'import socket, sys, time
s = socket.socket(socket.AF_UNIX); s.setblocking(False)
try: s.connect(sys.argv[1])
except BlockingIOError: print("full", flush=True)
time.sleep(30)' "$socket" >>"$folder/waiting" 3>&- &
		waiting+=("$!")
	done
	until_true grep -q full "$folder/waiting"
	fails 4 'another process listens on' "$bin" blk --path null:1M --socket "$socket"
	kill "${waiting[@]}"
	[ -S "$socket" ]
}

@test "socket: a folder that is not there, or where nobody may write" {
	fails 4 'cannot make the socket .*does its folder exist' "$bin" blk --path "$image" --socket "$folder/none/x"
	fails 4 'cannot (look at|make the socket)' "$bin" blk --path "$image" --socket "$image/x"
	fails 4 'cannot make the socket' "$bin" blk --path "$image" --socket /proc/x
}

@test "S22: the socket is for its owner alone, or as --socket-mode says" {
	(umask 0 && serve && [ "$(stat -c %a "$socket")" = 600 ] && stop)
	for mode in 0600 0660 0666 0777; do
		serve --socket-mode "$mode"
		[ "0$(stat -c %a "$socket")" = "$mode" ]
		stop
	done
}

@test "socket: a hundred front-ends, one after the other" {
	serve
	reads_image
	until_true all_gone
	fds=$(fd_count) maps=$(map_count)
	for ((i = 0; i < 100; i++)); do
		client id "$socket" >/dev/null
	done
	until_true same_resources "$fds" "$maps"
	stop
}

@test "socket: a second front-end waits until the first has gone" {
	serve
	help_out "$root/build/tests/vu-client" idle "$socket" 60
	until_true grep -q ready=1 "$folder/helper"
	not timeout 0.3 "$root/build/tests/vu-client" id "$socket"
	(sleep 0.3 && kill "$helper") 3>&- &
	reads_image
	end_helper
	stop
}

@test "socket: SIGTERM and SIGINT end it, idle, connected and under load" {
	local fastest=60000
	for signal in TERM INT; do
		serve
		stop_by $signal
		[ ! -e "$socket" ]
		serve
		help_out "$root/build/tests/vu-client" idle "$socket" 60
		until_true grep -q ready=1 "$folder/helper"
		stop_by $signal
		[ ! -e "$socket" ]
		end_helper
		for engine in sync uring; do
			! left_out "$engine" || continue
			: >"$log"
			serve --engine $engine --direct
			help_out "$root/build/tests/vhost-blk-load" --socket "$socket" --rw mix --bs 4096 --depth 64 \
				--queues 2 --seconds 30
			until_true visited
			sleep 0.3 # to be in the midst of it
			stop_by $signal
			[ ! -e "$socket" ]
			end_helper
			((ending_ms >= fastest)) || fastest=$ending_ms
		done
	done
	((fastest < 1000)) # a busy host may delay one of them
}

@test "socket: many signals at once end it as one does" {
	serve
	for _ in 1 2 3 4 5; do
		kill -s INT "$pid" || true
		kill -s TERM "$pid" || true
		kill -s PIPE "$pid" || true
	done
	wait_end
	[ ! -e "$socket" ]
}

@test "socket: --on-disconnect exit serves one front-end" {
	serve --on-disconnect exit
	reads_image
	wait_end
	[ ! -e "$socket" ]
}

@test "socket: --on-disconnect exit tells if its front-end broke the protocol" {
	serve --on-disconnect exit
	"$python" -c 'import socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.send(b"x" * 12); s.recv(1)' "$socket" || true
	status=0
	wait_end || status=$?
	[ "$status" = 6 ]
}

@test "socket: a front-end that goes in the middle of a message is no error" {
	serve --on-disconnect exit
	"$python" -c 'import socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.send(b"\1\0\0\0\1")' "$socket"
	wait_end
}

@test "socket: a socket file that somebody else has put there is not removed" {
	serve
	mv "$socket" "$folder/moved"
	"$python" -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$socket"
	stop
	[ -S "$socket" ]
	rm "$socket"
	serve
	rm "$socket"
	echo precious >"$socket"
	stop
	[ "$(cat "$socket")" = precious ]
}

@test "socket: killed, its socket goes as well" {
	serve
	reads_image
	kill -KILL "$pid"
	wait_end || true
	until_true [ ! -e "$socket" ]
}

@test "socket: killed, and started anew on the same path and disk at once" {
	for _ in 1 2 3 4 5; do
		: >"$log"
		serve --direct # with io_uring where the host has it, whose kernel part may hold the disk for a moment
		help_out "$root/build/tests/vhost-blk-load" --socket "$socket" --rw mix --bs 4096 --depth 32 --seconds 30
		until_true visited
		sleep 0.1
		kill -KILL "$pid"
		wait "$pid" || true
		end_helper
	done
	serve
	reads_image
	stop
}

@test "socket: --log-level trace shows each message in words, in the strict sandbox" {
	serve --log-level=trace --num-queues 2
	client --profile qemu --regions 2 profile "$socket"
	client --profile firecracker --regions 2 profile "$socket"
	stop
	grep -q ': sandbox: strict$' "$log"
	for line in \
		'<- GET_FEATURES #1' \
		'-> GET_FEATURES #1 reply, 8 bytes: 0x[0-9a-f]+ .*EVENT_IDX PROTOCOL_FEATURES VERSION_1 .*and 0x[0-9a-f]+' \
		'<- SET_PROTOCOL_FEATURES #16, 8 bytes: 0x[0-9a-f]+ MQ .*REPLY_ACK BACKEND_REQ CONFIG .*' \
		'<- SET_BACKEND_REQ_FD #21, need_reply, fd [0-9]+ \(socket\)' \
		'-> SET_BACKEND_REQ_FD #21 reply, 8 bytes: 0 \(success\)' \
		'-> GET_CONFIG #24 reply, 69 bytes: offset 0, size 57, flags 0: 00 08( 00){6}( [0-9a-f]{2}){49}' \
		'<- SET_MEM_TABLE #5, 72 bytes: 2 regions' \
		'<- SET_MEM_TABLE #5, region 1: guest 0x[0-9a-f]+, size 0x[0-9a-f]+, front-end 0x[0-9a-f]+, offset 0x[0-9a-f]+, fd [0-9]+ \(file without a name, 0x[0-9a-f]+ bytes\)' \
		'<- ADD_MEM_REG #37, need_reply, 40 bytes: guest 0, size 0x[0-9a-f]+, front-end 0x.*' \
		'<- SET_VRING_NUM #8, 8 bytes: ring 0, num 128' \
		'<- SET_VRING_ADDR #9, 40 bytes: ring 0, flags 0, descriptors 0x[0-9a-f]+, available 0x[0-9a-f]+, used 0x[0-9a-f]+, log [0-9a-fx]+' \
		'<- SET_VRING_KICK #12, 8 bytes: ring 0, fd [0-9]+ \(eventfd or the like\)' \
		'-> GET_VRING_BASE #11 reply, 8 bytes: ring 0, num [1-9][0-9]*'; do
		grep -qE "^vhost-multi blk\[[0-9]+\]: trace: $line\$" "$log" || { echo "no line: $line"; return 1; }
	done
	# each message has its line of the dispatcher behind it, none is lost
	[ "$(grep -cE 'trace: <- [A-Z_]+ #[0-9]+(, need_reply|, [0-9]+ bytes|, fd|$)' "$log")" = "$(grep -cE 'debug: [A-Z_]+: [0-9]+ bytes' "$log")" ]
}

@test "socket: --log-level debug shows no message in words" {
	serve --log-level=debug
	reads_image
	stop
	grep -q 'debug: GET_FEATURES: ' "$log"
	not grep -q 'trace: ' "$log"
}

@test "socket: who waits for the front-end before it to go is told of, once" {
	serve
	help_out "$root/build/tests/vu-client" idle "$socket" 60
	until_true grep -q ready=1 "$folder/helper"
	not timeout 0.3 "$root/build/tests/vu-client" id "$socket"
	until_true grep -q 'another front-end waits' "$log"
	not timeout 0.3 "$root/build/tests/vu-client" id "$socket"
	end_helper
	reads_image
	stop
	[ "$(grep -c 'another front-end waits' "$log")" = 1 ]
}

@test "socket: abstract ones, to listen and to call" {
	socket=@${folder//[^a-zA-Z0-9]/-}-${RANDOM}
	serve
	fails 4 'process [0-9]* listens on @' "$bin" blk --path null:1M --socket "$socket"
	reads_image
	stop
	[ ! -e "$socket" ]
	launch "$bin" blk --path "$image" --connect "$socket"
	cmp <(client --accept read "$socket" 0 2048) "$image"
	stop
	fails 4 'needs a name behind the @' "$bin" blk --path "$image" --socket @
}

# The two that start, and what they say in all.
said_at_start() { # TEXT
	[ "$(cat "$folder"/start.? | grep -c "$1")" = 1 ]
}

@test "socket: two that start on one stale path: none comes between the look and the removal of the other" {
	"$python" -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$socket"
	strace -o /dev/null -e trace=?unlink,unlinkat -e inject=?unlink,unlinkat:delay_enter=1000000 \
		"$bin" blk --path "$image" --read-only --socket "$socket" --sandbox none </dev/null >"$folder/start.1" 2>&1 3>&- &
	starts+=("$!")
	until_true grep -q replacing "$folder/start.1"
	"$bin" blk --path "$image" --read-only --socket "$socket" --sandbox none </dev/null >"$folder/start.2" 2>&1 3>&- &
	starts+=("$!")
	until_true said_at_start 'error: .* listens on'
	until_true said_at_start ': listening on'
	reads_image
	kill "$(pgrep -P "${starts[0]}")" "${starts[1]}" || true
	wait "${starts[@]}" || true
}

# What all but one of them say.
refused_starts() {
	cat "$folder"/start.* | grep -c 'error: .* listens on .*; stop it' || true
}

all_but_one_refused() {
	[ "$(refused_starts)" = 49 ]
}

@test "socket: fifty that start at once on one stale path: one serves, and always" {
	"$python" -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$socket"
	for ((i = 0; i < 50; i++)); do
		"$bin" blk --path memory:1M --socket "$socket" --sandbox none </dev/null >"$folder/start.$i" 2>&1 3>&- &
		starts+=("$!")
	done
	until_true all_but_one_refused
	listening "$socket"
	client read "$socket" 0 8 | cmp - <(head -c 4096 /dev/zero)
	[ "$(cat "$folder"/start.* | grep -c 'replacing .*, which a process left')" = 1 ]
	[ "$(cat "$folder"/start.* | grep -c 'listening on')" = 1 ]
	kill "${starts[@]}" 2>/dev/null || true
	wait "${starts[@]}" || true
	[ ! -e "$socket" ]
}

@test "socket: a front-end that has given us its own end of the connection, and dies, is gone" {
	serve
	for how in own nested channel; do
		"$python" "$lib/stranger" "$socket" "$how"
		reads_image
	done
	"$python" "$lib/stranger" "$socket" lingering | grep -q refused
	reads_image
	stop
	grep -q 'SET_VRING_CALL: the file descriptor is no eventfd' "$log"
}
