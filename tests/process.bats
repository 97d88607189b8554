#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# What a process has inherited: closed fds, blocked and ignored signals, limits. None of it is to harm the disk or the guest.
#
# shellcheck disable=SC2030,SC2031 # each test has its own pid and socket

setup() {
	# shellcheck source=tests/lib/lib.bash
	. "$BATS_TEST_DIRNAME/lib/lib.bash"
	set_up
	inherit=$lib/inherit
	id=process-$$-$BATS_TEST_NUMBER
}

teardown() {
	local left
	left=$(pgrep -f -- "--id $id " || true)
	[ -z "$left" ] || xargs kill -KILL <<<"$left"
	tear_down
}

status_of() { # PID KEY
	sed -n "s/^$2:[[:space:]]*//p" "/proc/$1/status"
}

keeper_of() { pgrep -P "$1"; }

# The bits of these signals in a mask of /proc/PID/status.
mask_of() { # NAME...
	local mask=0
	for name in "$@"; do
		mask=$((mask | 1 << $(kill -l "$name") - 1))
	done
	printf '%016x\n' $mask
}

# A second process is refused, and says nothing into what the first one serves.
is_locked() {
	local status=0
	"$inherit" closed=2 -- "$bin" blk --socket "$folder/other" --path "$image" </dev/null 3>&- || status=$?
	[ $status = 3 ]
}

# Serves the image by a command in front of the program, which has no place to log to.
serve_silently() { # COMMAND...
	"$@" "$bin" blk --socket "$socket" --path "$image" </dev/null >>"$log" 2>&1 3>&- &
	pid=$!
	until_true listening "$socket"
}

@test "process: without standard fds nothing is logged into the disk, and all ends as it should" {
	cp "$image" "$folder/before"
	for closed in "closed=0 closed=1" closed=2 "closed=0 closed=1 closed=2"; do
		# shellcheck disable=SC2086 # words
		serve_silently "$inherit" $closed --
		reads_image
		keeper=$(keeper_of "$pid")
		[ "$closed" != closed=2 ] || is_locked
		stop
		cmp "$image" "$folder/before"
		until_true exited "$keeper"
		[ ! -e "$socket" ]
	done
}

@test "process: a port, disk or source on an fd that was closed is refused" {
	fails 3 'cannot use standard input and output: Bad file descriptor' "$inherit" closed=1 -- \
		"$bin" console --socket "$socket" --port type=stdio
	fails 3 'cannot use fd 0: Bad file descriptor' "$inherit" closed=0 -- \
		"$bin" console --socket "$socket" --port type=fd,path=0
	fails 3 '--path /dev/stdin: no such file was handed to the process' "$inherit" closed=0 -- \
		"$bin" blk --socket "$socket" --path /dev/stdin
	fails 3 'cannot open --source fd:0: Bad file descriptor' "$inherit" closed=0 -- \
		"$bin" rng --socket "$socket" --source fd:0
}

@test "process: in a jail without standard fds the same, with --daemonize too" {
	[ "$(id -u)" = 0 ] || skip "needs root"
	cp "$image" "$folder/before"
	folder_of_jail=$folder/jail
	mkdir "$folder_of_jail"
	jailed=("$inherit" closed=0 closed=1 closed=2 -- "$bin" jail --id "$id" --chroot-base-dir "$folder_of_jail")
	socket=$folder_of_jail/vhost-multi/$id/disk.sock
	chmod 755 "$folder"
	"${jailed[@]}" -- blk --socket disk.sock --path "$image" </dev/null 3>&- &
	pid=$!
	until_true test -S "$socket"
	until_true reads_image
	stop
	[ ! -e "$socket" ]
	cmp "$image" "$folder/before"
	"${jailed[@]}" --daemonize -- blk --socket disk.sock --path "$image" </dev/null 3>&-
	reads_image
	pid=$(pgrep -of -- "--id $id ")
	kill "$pid"
	until_true exited "$pid"
	pid=''
	cmp "$image" "$folder/before"
}

@test "process: standard output and error that are the disk are left alone" {
	cp "$image" "$folder/before"
	for at in 1 2; do
		if [ $at = 1 ]; then
			serve_silently sh -c "exec \"\$@\" 1<>\"$image\"" sh
		else
			serve_silently sh -c "exec \"\$@\" 2<>\"$image\"" sh
		fi
		reads_image
		stop
		cmp "$image" "$folder/before"
	done
}

@test "process: as inetd starts it, the front-end gets no log lines" {
	launch "$inherit" socket="$socket" -- "$bin" blk --fd 0 --path "$image"
	until_true listening "$socket"
	reads_image
	wait_end
	not grep -q 'vhost-multi' "$log"
}

@test "process: a connected socket that others share does not become a nonblocking one" {
	cat >"$folder/parent" <<-'END'
		import os, socket, subprocess, sys
		ours, theirs = socket.socketpair()
		child = subprocess.Popen([sys.argv[1], "blk", "--fd", str(theirs.fileno()), "--path", sys.argv[2]],
		                         pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
		ours.sendall((1).to_bytes(4, "little") + (1).to_bytes(4, "little") + bytes(4))
		assert len(ours.recv(20, socket.MSG_WAITALL)) == 20
		assert os.get_blocking(theirs.fileno())
		ours.close()
		theirs.close()
		sys.exit(child.wait())
	END
	launch "$python" "$folder/parent" "$bin" "$image"
	wait_end
}

@test "process: signals that were blocked or ignored are as usual again, in each process" {
	for how in blocked ignored; do
		serve_silently "$inherit" $how --
		keeper=$(keeper_of "$pid")
		[ "$(status_of "$pid" SigBlk)" = 0000000000000000 ]
		[ "$(status_of "$keeper" SigIgn)" = "$(status_of "$pid" SigIgn)" ]
		[ "$(status_of "$pid" SigIgn)" = "$(mask_of PIPE XFSZ)" ] # SIGHUP means something to a disk
		kill -HUP "$pid"
		until_true grep -q 'disk is still' "$log"
		reads_image
		stop
		: >"$log"
	done
	# what nohup(1) asks for, with it or without
	for nohup in nohup env; do
		launch "$nohup" "$bin" rng --socket "$socket"
		until_true accepting
		kill -HUP "$pid"
		until_true grep -q 'SIGHUP: this device has nothing to look at anew' "$log"
		stop
		: >"$log"
	done
}

@test "process: a jail whose children's ends were ignored tells the applet's status" {
	[ "$(id -u)" = 0 ] || skip "needs root"
	status=0
	timeout 60 "$inherit" ignored blocked -- "$bin" jail --id "$id" --chroot-base-dir "$folder/jail" -- \
		blk --socket disk.sock --path "$folder/none" 2>"$folder/err" </dev/null 3>&- || status=$?
	cat "$folder/err"
	[ "$status" = 3 ]
}

@test "process: a timer that was running ends nothing" {
	serve_silently "$inherit" timer --
	# it is over by now: what is asked of the clock is longer than the timer was
	"$python" -c 'import time; time.sleep(0.15)'
	reads_image
	stop
}

@test "process: what it makes has the permissions that it says, whatever the umask" {
	launch "$inherit" umask -- "$bin" console --socket "$socket" --port "type=fifo,path=$folder/fifo,log=$folder/output"
	until_true accepting
	[ "$(stat -c %a "$socket" "$folder/fifo" "$folder/output" | xargs)" = "600 600 600" ]
	stop
}

# ---- limits

@test "process: a disk's write beyond the limit of file sizes fails, and only that" {
	head -c 4096 /dev/urandom >"$folder/data"
	for engine in uring sync; do
		launch prlimit --fsize=$((512 << 10)) "$bin" blk --socket "$socket" --path "$image" --num-queues 1 --engine $engine
		until_true accepting
		client write "$socket" 0 <"$folder/data"
		not client write "$socket" 1024 <"$folder/data"
		reads_image
		stop
	done
}

# The limit on open files is what the lockdown has counted, and all of it is there.
limit_of() { # PID
	awk '/^Max open files/ { print $4 }' "/proc/$1/limits"
}

@test "process: as many fds as workers and queues need, whatever the soft limit was" {
	for shape in 1:1 64:1 16:16 32:32 64:64; do
		for engine in sync uring; do
			launch prlimit --nofile=16: "$bin" blk --socket "$socket" --path "$image" --engine $engine \
				--num-queues ${shape%:*} --workers ${shape#*:}
			until_true accepting
			client --queues ${shape%:*} --regions 32 profile "$socket"
			not grep -E 'error|warning' "$log"
			stop
		done
	done
}

@test "process: a hard limit that is too low is refused at the start, with the number" {
	launch "$bin" blk --socket "$socket" --path "$image" --engine sync --num-queues 8 --workers 4
	until_true accepting
	until_true grep -q 'listening on' "$log"
	[ "$(id -u)" = 0 ] || skip "needs root to look"
	needed=$(limit_of "$pid")
	stop
	fails 1 "needs $needed open files, and the limit is $((needed - 1)): raise it" prlimit --nofile="$((needed - 1))" \
		"$bin" blk --socket "$socket" --path "$image" --engine sync --num-queues 8 --workers 4 --log-level error
	[ ! -e "$socket" ]
	launch prlimit --nofile="$needed" "$bin" blk --socket "$socket" --path "$image" --engine sync --num-queues 8 --workers 4
	until_true accepting
	client --queues 8 --regions 32 profile "$socket"
	stop
}

@test "process: as many fds as a console's ports and their clients need" {
	ports=()
	for i in {0..30}; do
		ports+=(--port "type=unix,path=$folder/port$i,log=$folder/log$i")
	done
	launch prlimit --nofile=16: "$bin" console --socket "$socket" "${ports[@]}"
	until_true accepting
	for i in {0..30}; do
		"$root/build/tests/console-client" "unix:$folder/port$i" 'expect:last\n' 3>&- &
		clients[i]=$!
	done
	echo first | timeout 60 "$root/build/tests/vu-console" --ports 31 --port 0 "$socket"
	for i in {0..30}; do
		echo last | timeout 60 "$root/build/tests/vu-console" --ports 31 --port "$i" --linger 10 "$socket"
	done
	wait "${clients[@]}"
	not grep -E 'error|warning|lost' "$log"
	stop
}

# ---- these tests

# Somebody has been told to wait, and does.
@test "process: a test's back-end ends with its driver, even if that is killed" {
	for ids in "" "setpriv --reuid 65534 --regid 65534 --clear-groups"; do
		[ -z "$ids" ] || [ "$(id -u)" = 0 ] || continue
		rm -f "$folder/pid"
		# shellcheck disable=SC2016 # for the program
		printf '#!/bin/sh\necho "${3%%/*}" >"%s"; echo $$ >"%s"; exec %s sleep 60' \
			"$folder/made" "$folder/pid" "$ids" >"$folder/program"
		chmod 755 "$folder/program"
		"$root/build/tests/hostile" --program "$folder/program" --folder "$disks" S1 </dev/null >>"$log" 2>&1 3>&- &
		driver=$!
		until_true test -s "$folder/pid"
		kill -KILL "$driver"
		until_true exited "$(cat "$folder/pid")"
		rm -r "$(cat "$folder/made")" "$disks/S1-$driver.img"
	done
}
