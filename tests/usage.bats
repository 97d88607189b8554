#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# What an operator gets wrong, what is said of it, and who may connect to what we make.
#
# shellcheck disable=SC2030,SC2031 # each test has variables of its own, and so it should

setup() {
	# shellcheck source=tests/lib/lib.bash
	. "$BATS_TEST_DIRNAME/lib/lib.bash"
	set_up
	public=
}

teardown() {
	tear_down
	[ -z "$public" ] || rm -rf "$public"
}

# A folder that others than root can reach, with the clients in it; sockets go there.
for_others() {
	[ "$EUID" = 0 ] || skip "only root can be another user"
	public=$(mktemp -d /run/vm.XXXXXX)
	chmod 755 "$public"
	install -m 755 "$root/build/tests/vu-client" "$root/build/tests/vu-console" "$root/build/tests/console-client" "$public"
	socket=$public/socket
}

as_other() { # UID GID CLIENT ARGUMENT...
	setpriv --reuid "$1" --regid "$2" --clear-groups "$public/$3" "${@:4}"
}

# The lockdown is complete, also that of the process beside it.
serving() { grep -q 'listening on' "$log" || exited "$pid"; }

owner() { stat -c '%u:%g %a' "$@" | sort -u; }

# ---- wrong command lines

@test "usage: whatever is wrong with a command line, the status is 2 and one line says it" {
	local pattern words
	while IFS='|' read -r pattern words; do
		# shellcheck disable=SC2086 # words
		fails 2 "$pattern" "$bin" $words
	done <<-END
		which applet.*stands behind $socket|--socket $socket
		which applet|--log-level debug
		which applet|--sandbox-report
		--install x: is said as --install -s DIR|--install x
		needs exactly one of --socket|rng
		needs exactly one of --socket|blk --path null:1M
		needs exactly one of --socket|console --port type=null
		needs exactly one of --socket|blk --path null:1M --socket $socket --fd 3
		needs a disk|blk --socket $socket
		needs a size|blk --socket $socket --path memory:x
		--queue-size 100 is not a power|blk --socket $socket --path null:1M --queue-size 100
		--source fd:x: not a file descriptor|rng --socket $socket --source fd:x
		--port type=nosuch: must be one of|console --socket $socket --port type=nosuch
		--port type=unix needs path=|console --socket $socket --port type=unix
		--port type=tcp,path=x: not like|console --socket $socket --port type=tcp,path=x
		x is no file descriptor|console --socket $socket --port type=fd,path=x
		--port type=stdio: only once|console --socket $socket --port type=stdio --port type=stdio
		ports 0 and 1 need paths of their own|console --socket $socket --port type=unix,path=a --port type=unix,path=a
		ports 0 and 1 need paths of their own|console --socket $socket --port type=unix,path=a --port type=pty,path=a
		path=$socket is --socket's|console --socket $socket --port type=unix,path=$socket
		no port is of type pty|console --socket $socket --port type=null --link x
		--size big: not like|console --socket $socket --port type=null --size big
		--cpus 0,1000: processor 1000 is not there|rng --socket $socket --cpus 0,1000
		--socket-mode 8: not a mode in octal|rng --socket $socket --socket-mode 8
		--socket-user nosuchuser: no such user|rng --socket $socket --socket-user nosuchuser
		--socket-group nosuchgroup: no such group|rng --socket $socket --socket-group nosuchgroup
		--socket is given twice|rng --socket $socket --socket $socket
		--socket is given twice|--socket $socket rng -s $socket
		--read-only is given twice|blk --socket $socket --path null:1M -r --read-only
		--sokcet: no such option; do you mean --socket|rng --sokcet $socket
		--read-olny: no such option; do you mean --read-only|blk --read-olny
		--cache writebck: must be one of.*; do you mean writeback|blk --cache writebck
		-socket: do you mean --socket|rng -socket $socket
		cgroup.procs is no limit|jail --id vm1 --cgroup cgroup.procs=1 -- rng --socket x
		--uid is given twice|jail --id vm1 --uid 1 --uid 2 -- rng --socket x
		what is to run|jail --id vm1
	END
	[ ! -e "$socket" ]
	fails 2 '--user is empty' "$bin" rng --socket "$socket" --user ''
	fails 2 '--socket is empty; it needs PATH' "$bin" rng --socket ''
	ln -s "$bin" "$folder/vhost-bkl"
	fails 2 'vhost-bkl: is called by the name of no applet; do you mean blk' "$folder/vhost-bkl"
	fails 2 'is called by the name of no applet' "$folder/vhost-bkl" --socket "$socket"
}

@test "usage: an applet that is nearly one" {
	fails 127 'bkl: no such applet; do you mean blk\?' "$bin" bkl
	fails 127 'consol: no such applet; do you mean console\?' "$bin" consol
	fails 127 'jial: no such applet; do you mean jail\?' "$bin" jial
	fails 127 'network: no such applet; vhost-multi --list' "$bin" network
}

@test "usage: what launchers add is taken as ever" {
	"$bin" --id x --start-time-us 1 --start-time-us 2 --id y blk --help >/dev/null
	"$bin" blk --bogus --socket a --socket b --print-capabilities >/dev/null
}

@test "usage: modes are octal, ids decimal, sizes in either case" {
	local mode
	for mode in 440 0440 640 0777; do
		launch "$bin" rng --socket "$socket" --socket-mode "$mode"
		until_true accepting
		[ "$(stat -c %a "$socket")" = "$(printf %o "$((8#$mode))")" ]
		stop
	done
	serve_disk memory:4m --log-level info
	[ "$(value capacity config "$socket")" = 8192 ]
	stop
	[ "$EUID" = 0 ] || skip "only root can be another user"
	: >"$log"
	launch "$bin" rng --socket "$socket" --user 01001 --group 0002002
	until_true serving
	[ "$(awk '/^Uid|^Gid/ { print $2 }' "/proc/$pid/status" | xargs)" = "1001 2002" ]
	stop
	for mode in -1 4294967295 +5 ' 5' 99999999999; do
		fails 5 'no such user' "$bin" rng --socket "$socket" --user "$mode"
		fails 5 'no such group' "$bin" rng --socket "$socket" --group "$mode"
	done
}

@test "usage: an option that does nothing here is warned of" {
	local pattern words
	while IFS='|' read -r pattern words; do
		: >"$log"
		# shellcheck disable=SC2086 # words
		launch "$bin" $words --socket "$socket"
		until_true serving
		stop
		grep -qE "warning: .*$pattern" "$log"
	done <<-END
		--direct has no effect on memory:1M|blk --path memory:1M --direct
		--lock-handover have no effect on null:1M|blk --path null:1M --lock-handover
		--engine uring has no effect on null:|blk --path null:1M --engine uring
		--period has no effect without --max-bytes|rng --period 10
		--link x has no effect: port 0, the first pty, says path=$folder/tty|console --port type=pty,path=$folder/tty --link x
		of 4 --workers this device has work for 1|rng --workers 4
		no effect with --sandbox none|rng --sandbox none --group 12
	END
}

# ---- who may connect

@test "usage: --socket-user and --socket-group let a VMM of another user in, to each device" {
	for_others
	serve --socket-group 2345 --socket-mode 660
	[ "$(owner "$socket")" = "0:2345 660" ]
	cmp <(as_other 1234 2345 vu-client read "$socket" 0 2048) "$image"
	not as_other 1234 1234 vu-client config "$socket"
	stop
	launch "$bin" rng --socket "$socket" --user 12 --group 2345 --socket-mode 660
	until_true accepting
	[ "$(owner "$socket")" = "0:2345 660" ] # the group of --group
	[ "$(as_other 1234 2345 vu-client entropy "$socket" 64 | wc -c)" = 64 ]
	stop
	launch "$bin" rng --socket "$socket" --socket-user 1234
	until_true accepting
	[ "$(owner "$socket")" = "1234:0 600" ]
	[ "$(as_other 1234 1234 vu-client entropy "$socket" 64 | wc -c)" = 64 ]
	not as_other 1235 1235 vu-client config "$socket"
	stop
}

@test "usage: a console's sockets, ptys, fifos and links are for whom its socket is" {
	for_others
	launch "$bin" console --socket "$socket" --socket-user 1234 --socket-group 2345 --socket-mode 660 \
		--port "type=unix,path=$public/port,log=$folder/output" --port "type=pty,path=$public/tty" --port "type=fifo,path=$public/fifo"
	until_true accepting
	[ "$(owner "$socket" "$public/port" "$public/fifo")" = "1234:2345 660" ]
	[ "$(owner -L "$public/tty")" = "1234:2345 660" ]
	[ "$(stat -c '%u:%g' "$public/tty")" = "1234:2345" ]
	echo hello | as_other 7777 2345 vu-console --ports 3 "$socket"
	grep -q hello "$folder/output"
	not as_other 7777 7777 vu-console --ports 3 "$socket" </dev/null
	as_other 7777 2345 console-client "unix:$public/port" expect:hello # what was said before
	stop
	[ -z "$(find "$public" -type s -o -type l)" ]
	launch "$bin" console --socket "$socket" --port "type=pty,path=$public/tty"
	until_true accepting
	[ "$(stat -L -c '%u %a' "$public/tty")" = "0 600" ] # nobody else, not the group of terminals either
	stop
}

@test "usage: the socket is never there for others than it is for, and listens last" {
	for_others
	launch strace -o "$folder/trace" -e trace=umask,bind,fchownat,chmod,listen \
		"$bin" rng --socket "$socket" --socket-user 1234 --socket-mode 660
	until_true listening "$socket"
	kill "$(pgrep -P "$pid")"
	wait_end
	grep -A 4 'umask(0117)' "$folder/trace" | sed -E 's/\(.*//' | tr '\n' ' ' | grep '^umask bind umask fchownat listen'
}

@test "usage: who is not root cannot give the socket away" {
	for_others
	chmod 777 "$public"
	install -m 755 "$bin" "$public/vhost-multi"
	fails 4 "cannot give $socket to user 12, group -1; who is not root" setpriv --reuid 1234 --regid 1234 --clear-groups \
		"$public/vhost-multi" rng --socket "$socket" --socket-user 12
	[ ! -e "$socket" ]
}

# ---- what is said is true

@test "usage: groups that are kept are not called strict" {
	for_others
	chmod 777 "$public"
	install -m 755 "$bin" "$public/vhost-multi"
	launch setpriv --reuid 1234 --regid 1234 --groups 7,8 "$public/vhost-multi" rng --socket "$socket" --log-level error
	until_true grep -q 'warning: sandbox: partial, missing groups$' "$log"
	stop
	: >"$log"
	launch setpriv --reuid 1234 --regid 1234 --groups 1234 "$public/vhost-multi" rng --socket "$socket"
	until_true grep -q ': sandbox: strict$' "$log"
	stop
}

@test "usage: less than strict is said at every log level" {
	launch "$bin" rng --socket "$socket" --sandbox none --log-level error
	until_true grep -q 'warning: sandbox: none$' "$log"
	stop
}

@test "usage: messages name the cause" {
	for_others
	chmod 777 "$public"
	install -m 755 "$bin" "$public/vhost-multi"
	fails 5 "--netns $image is no network namespace" "$bin" rng --socket "$socket" --netns "$image"
	# shellcheck disable=SC2016 # for the inner shell
	fails 5 'namespaces failed \(.*mount /proc, which an unprivileged start needs' unshare --mount --propagation private sh -c \
		'umount -l /proc && exec setpriv --reuid 1234 --regid 1234 --clear-groups --bounding-set=-all "$@"' sh \
		"$public/vhost-multi" rng --socket "$socket"
	fails 5 'ids failed \(they must exist in our user namespace.*unshare -r' \
		unshare -r "$bin" rng --socket "$socket"
	fails 4 'is asked for twice: --socket and each port' "$bin" console --socket "$public/./socket" \
		--port "type=unix,path=$socket"
}

@test "usage: with too few open files it is said which limit to raise, wherever they are lacking" {
	local most status
	for most in 4 5 6 8 10 12 14 16 18; do
		status=0
		timeout 30 prlimit --nofile="$most" "$bin" rng --socket "$socket" >"$folder/out" 2>&1 </dev/null 3>&- || status=$?
		cat "$folder/out"
		[ "$status" != 0 ] && [ "$status" -lt 6 ]
		tail -n 1 "$folder/out" | grep -q 'error: .*ulimit -n.*LimitNOFILE='
	done
}

# ---- names and signals

@test "usage: a pattern of the command line finds one process of each device" {
	local words name
	while read -r words; do
		: >"$log"
		# shellcheck disable=SC2086 # words
		launch "$bin" $words --socket "$socket"
		until_true serving
		[ "$(pgrep -f -- "--socket $socket")" = "$pid" ]
		for name in $(pgrep -P "$pid"); do
			grep -qxE 'keeper|assistant' "/proc/$name/comm"
			tr -d '\0' <"/proc/$name/cmdline" | grep -qxE "vhost-multi (keeper|assistant) of $pid"
		done
		stop
	done <<-END
		blk --path null:1M
		rng --max-bytes 1M --period 1000
		console --port type=pty,path=$folder/tty
	END
}

@test "usage: SIGHUP ends no device" {
	local words
	while read -r words; do
		: >"$log"
		# shellcheck disable=SC2086 # words
		launch "$bin" $words --socket "$socket"
		until_true serving
		kill -HUP "$pid"
		until_true grep -qE 'SIGHUP: this device has nothing|disk is still' "$log"
		client features "$socket" >/dev/null
		stop
	done <<-END
		blk --path memory:1M
		rng --max-bytes 1M
		console --port type=pty,path=$folder/tty
	END
}
