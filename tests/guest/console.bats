#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Somebody at the host works in the shell of a real guest, on its console: through a unix socket, a pty and the
# terminal, with User Mode Linux and with a QEMU that knows vhost-user-test-device, its front-end for devices that it has no
# class for: 10.2 or newer.
#
# GUEST_REPEAT=N runs each test's guest N times.
# shellcheck disable=SC2016 # what is sent is for the guest's shell

setup_file() {
	# shellcheck source=tests/guest/lib.bash
	. "$BATS_TEST_DIRNAME/lib.bash"
	export GUEST_QEMU=${GUEST_QEMU:-unstable}
	"$guest_tests/prepare" qemu > >(sed 's/^/# /' >&3)
	[ "$(uname -m)" != x86_64 ] || "$guest_tests/prepare" uml > >(sed 's/^/# /' >&3)
	# all bytes but Ctrl-], which the terminal takes for itself
	tr '\035' x </dev/urandom | head -c 1048576 >"$BATS_FILE_TMPDIR/random"
}

setup() {
	# shellcheck source=tests/guest/lib.bash
	. "$BATS_TEST_DIRNAME/lib.bash"
	vhost_multi=${VHOST_MULTI:-$guest_root/build/vhost-multi}
	socket=$BATS_TEST_TMPDIR/socket
	log=$BATS_TEST_TMPDIR/guest.log
	random=$BATS_FILE_TMPDIR/random
	guest_pid=
	host_pid=
	# User Mode Linux takes packed rings where they are offered, but begins them as if they were split ones.
	[[ $BATS_TEST_DESCRIPTION != "User Mode Linux"* ]] || use_rings split
}

teardown() {
	touch "$socket.ended" # what who works on the terminal may still wait for
	[ -z "$host_pid" ] || wait "$host_pid" || true
	[ -z "$guest_pid" ] || kill "$guest_pid" || true
	[ -z "$backend_pid" ] || stop_backend || true
	cat "$socket.log" || true
}

host() { # TARGET STEP...
	timeout 300 "$guest_root/${B:-build}/tests/console-client" "$@" 3>&-
}

serve() { # OPTION...
	# shellcheck disable=SC2317 # start_backend calls it
	backend_command() {
		backend_command=("$vhost_multi" console --socket "$@" ${backend_options:+"${backend_options[@]}"})
	}
	start_backend "$socket" "$@"
}

# The guest in the background.
uml() { # KEY=VALUE...
	[ "$(uname -m)" = x86_64 ] || skip "User Mode Linux is for x86 only"
	"$guest_tests/run-uml" --device "$socket:3" --log "$log" run=console "$@" >"$log.all" 2>&1 3>&- &
	guest_pid=$!
}

qemu() { # QUEUES KEY=VALUE...
	local queues=$1
	shift
	[[ $("$(guest_qemu)" -device vhost-user-test-device-pci,help 2>&1) == *num_vqs* ]] ||
		skip "$("$(guest_qemu)" --version | head -n 1) has no vhost-user-test-device"
	"$guest_tests/run-qemu" --log "$log" run=console rings="$rings" "$@" -- -chardev "socket,id=console0,path=$socket" \
		-device "vhost-user-test-device-pci,chardev=console0,virtio-id=3,num_vqs=$queues,config_size=12$ring_properties" \
		>"$log.all" 2>&1 3>&- &
	guest_pid=$!
}

# The guest has ended by itself, and says that all was well.
guest_is_well() {
	local pid=$guest_pid status=0
	guest_pid=
	wait "$pid" || status=$?
	[ "$status" = 0 ] || cat "$log.all"
	return "$status"
}

# Logs in, types a command and reads its answer, moves 1 MiB each way, and does the steps.
work() { # TARGET STEP...
	local target=$1 got=$BATS_TEST_TMPDIR/got said=$BATS_TEST_TMPDIR/said
	shift
	rm -f "$got" "$said"
	host "$target" 'expect:guest login: ' 'send:joe\n' 'expect:welcome, joe' 'expect:joe@guest# ' \
		'send:echo $((6*7)) && tty\n' 'expect:\n42' expect:/dev/hvc0 'expect:joe@guest# ' \
		'send:give\n' 'expect:md5 of it: ' "get:32:$said" 'expect:FROM HERE' "get:1048576:$got" 'expect:TO HERE' \
		'expect:joe@guest# ' \
		'send:take\n' 'expect:I LISTEN' "put:$random" "expect:md5 of it: $(md5sum <"$random" | cut -d ' ' -f 1)" \
		'expect:joe@guest# ' "$@"
	[ "$(md5sum <"$got" | cut -d ' ' -f 1)" = "$(cat "$said")" ]
}

on_unix() { # uml | qemu N
	serve --port "type=unix,path=$socket.console"
	"$@"
	work "unix:$socket.console" 'send:bye\n'
	guest_is_well
	stop_backend
}

on_pty() {
	serve --port type=pty --link "$socket.tty"
	"$@"
	work "pty:$socket.tty" 'send:bye\n'
	guest_is_well
	stop_backend
}

# The guest is started as soon as the back-end is there, which the client starts on a terminal of its own.
on_terminal() {
	work_on_terminal 3>&- &
	host_pid=$!
	until_true listening "$socket"
	"$@"
	guest_is_well
	touch "$socket.ended"
	wait "$host_pid"
	rm "$socket.ended"
}

work_on_terminal() {
	work "run:80x24:exec '$vhost_multi' console --socket '$socket' ${backend_options[*]} 2>'$socket.log'" \
		'send:stty size\n' 'expect:24 80' resize:101x41 \
		'send:until stty size | grep ^41; do sleep 0.1; done\n' 'expect:41 101' 'expect:joe@guest# ' \
		'send:bye\n' "await:$socket.ended" 'send:\^q' exit:0 mode:cooked
}

several_ports() {
	serve --port "type=unix,path=$socket.console,console" --port "type=unix,path=$socket.echo,name=org.example.echo" \
		--size 100x40
	qemu 6 port=org.example.echo
	work "unix:$socket.console" 'send:stty size\n' 'expect:40 100' 'expect:joe@guest# ' 'send:bye\n' &
	host_pid=$!
	host "unix:$socket.echo" echo:65536:4
	host "unix:$socket.echo" 'send:the next client\n' 'expect:the next client\n'
	wait "$host_pid"
	guest_is_well
	stop_backend
}

@test "User Mode Linux: a shell on hvc0 through a unix socket" {
	repeat on_unix uml
}

@test "User Mode Linux: a shell on hvc0 through a pty" {
	repeat on_pty uml
}

@test "User Mode Linux: a shell on hvc0 on the terminal, whose size it follows" {
	repeat on_terminal uml
}

@test "QEMU: a shell on hvc0 through a unix socket, with two queues" {
	repeat on_unix qemu 2
}

@test "QEMU: a shell on hvc0 through a pty" {
	repeat on_pty qemu 4
}

@test "QEMU: a shell on hvc0 on the terminal, whose size it follows" {
	repeat on_terminal qemu 4
}

@test "QEMU: two ports; the second, by its name, is there for one client after the other" {
	repeat several_ports
}
