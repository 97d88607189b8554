#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# What a QEMU does with a device while the guest runs: it takes it out and puts another in on the same connection, it
# pauses, it resets the guest.
#
# GUEST_REPEAT=N runs each test's guest N times.

setup_file() {
	# shellcheck source=tests/guest/lib.bash
	. "$BATS_TEST_DIRNAME/lib.bash"
	"$guest_tests/prepare" qemu > >(sed 's/^/# /' >&3)
	pattern made-by-the-host "$disk_mib" >"$BATS_FILE_TMPDIR/known"
}

setup() {
	# shellcheck source=tests/guest/lib.bash
	. "$BATS_TEST_DIRNAME/lib.bash"
	image=$BATS_TEST_TMPDIR/disk.img
	socket=$BATS_TEST_TMPDIR/socket
	log=$BATS_TEST_TMPDIR/guest.log
	backend_options+=(--log-level=debug)
	qemu_pid=
	patience=120
}

teardown() {
	[ -z "$qemu_pid" ] || { kill "$qemu_pid" && wait "$qemu_pid"; } || true
	[ -z "$backend_pid" ] || stop_backend || true
	grep -v 'debug: ' "$socket.log" || true
	tail -n 5 "$log" "$log.all" || true
}

qemu() { # RUN-QEMU-ARGUMENT...
	rm -f "$log" "$socket.monitor"
	"$guest_tests/run-qemu" --reboot --log "$log" "$@" -qmp "unix:$socket.monitor,server=on,wait=off" \
		>"$log.all" 2>&1 3>&- &
	qemu_pid=$!
}

monitor() { # COMMAND...
	"$guest_root/tests/migrate/monitor" "$socket.monitor" "$@"
}

said() { # TEXT
	grep -aq ": $1" "$log"
}

ended() {
	local pid=$qemu_pid
	qemu_pid=
	wait "$pid"
}

# How often the device has been told of a new driver; newer QEMUs say so themselves.
new_drivers() {
	grep -cE 'debug: (the driver is a new one|RESET_DEVICE: )' "$socket.log" || true
}

has_new_driver() { # BEFORE
	(($(new_drivers) > $1))
}

rounds() {
	grep -ac ': round ' "$log" || true
}

has_rounds() { # COUNT
	[ "$(rounds)" -ge "$1" ]
}

# The guest does more rounds than when it was asked to.
goes_on() {
	until_true has_rounds $(($(rounds) + 2))
}

# The guest may have let go of the device before QEMU has.
has_added() { # DEVICE
	[ -z "$(monitor "device_add $1")" ]
}

replaced_disk() {
	local pci=bus=root-port,vectors=2$ring_properties time
	cp "$BATS_FILE_TMPDIR/known" "$image"
	start_backend "$socket" "$image"
	qemu run=blk rings="$rings" text=replaced steps=known,replace,raw times=2 known="$(md5sum <"$image" | cut -d ' ' -f 1)" -- \
		-device pcie-root-port,id=root-port,chassis=1 -chardev "socket,id=disk,path=$socket" \
		-device "vhost-user-blk-pci,chardev=disk,id=hot,$pci"
	for time in 1 2; do
		until_true said "time $time: waiting"
		monitor 'device_del hot'
		until_true said "time $time: the disk has gone"
		until_true has_added "vhost-user-blk-pci,chardev=disk,id=hot,$pci"
	done
	ended
	stop_backend
	[ "$(grep -c 'front-end connected$' "$socket.log")" = 1 ]
	[ "$(grep -c 'front-end begins anew' "$socket.log")" = 2 ]
	check_raw "$image" replaced 1
}

@test "guest: a disk that is taken out and put in again, twice, on one connection" {
	repeat replaced_disk
}

# While the guest does its rounds: neither a pause, long or short, is taken for a new driver, nor a reset for a pause.
pauses_and_resets() {
	local before round
	until_true has_rounds 1
	before=$(new_drivers)
	for round in 1 2 3; do
		monitor stop cont stop
		monitor cont
		goes_on
	done
	[ "$(new_drivers)" = "$before" ]
	monitor system_reset
	until_true has_new_driver "$before"
	: >"$log" # what QEMU writes is appended
	until_true has_rounds 1
	goes_on
}

disk() {
	cp "$BATS_FILE_TMPDIR/known" "$image"
	start_backend "$socket" "$image"
	qemu --smp 2 --disk "$socket$ring_properties" run=blk rings="$rings" text=moving steps=show,move --
	pauses_and_resets
	echo stop | dd of="$image" bs=1M seek=$((disk_mib - 1)) conv=notrunc status=none
	ended
	stop_backend
}

@test "guest: a disk under load is paused and loses nothing; a reboot is a new driver" {
	repeat disk
}

entropy() {
	# shellcheck disable=SC2317 # start_backend calls it
	backend_command() {
		backend_command=("${VHOST_MULTI:-$guest_root/build/vhost-multi}" rng --socket "$1" "${backend_options[@]}")
	}
	start_backend "$socket"
	qemu run=rng rings="$rings" steps=rounds -- -chardev "socket,id=rng,path=$socket" \
		-device "vhost-user-rng-pci,chardev=rng$ring_properties"
	pauses_and_resets
	monitor quit
	! ended
	not grep -a 'GUEST-RESULT: FAIL' "$log"
	stop_backend
}

not() { # COMMAND...
	! "$@"
}

@test "guest: an entropy device under load is paused; a reboot is a new driver" {
	repeat entropy
}

# What the guest printed, from each of its two starts on, is its lines from the first on, each once. The reset may cut one off.
has_all_lines() { # FILE
	tr -d '\r' <"$1" | awk '/line 1$/ { starts++; next_line = 2; next } /^line / && $2 != next_line++ { bad = 1 } END { exit bad || starts != 2 }'
}

console() {
	# shellcheck disable=SC2317 # start_backend calls it
	backend_command() {
		backend_command=("${VHOST_MULTI:-$guest_root/build/vhost-multi}" console --socket "$1"
			--port "type=file,path=$socket.output" "${backend_options[@]}")
	}
	rm -f "$socket.output"
	start_backend "$socket"
	qemu run=console rings="$rings" steps=rounds -- -chardev "socket,id=console0,path=$socket" \
		-device "vhost-user-test-device-pci,chardev=console0,virtio-id=3,num_vqs=4,config_size=12$ring_properties"
	pauses_and_resets
	monitor quit
	! ended
	not grep -a 'GUEST-RESULT: FAIL' "$log"
	stop_backend
	has_all_lines "$socket.output"
}

# The host's QEMU may be older than the front-end for it: 10.2 has vhost-user-test-device.
@test "guest: a console that prints is paused and loses nothing; a reboot is a new driver" {
	export GUEST_QEMU=${GUEST_QEMU:-unstable}
	"$guest_tests/prepare" qemu
	[[ $("$(guest_qemu)" -device vhost-user-test-device-pci,help 2>&1) == *num_vqs* ]] ||
		skip "$("$(guest_qemu)" --version | head -n 1) has no vhost-user-test-device"
	repeat console
}
