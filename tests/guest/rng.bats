#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# A Debian guest in QEMU reads /dev/hwrng, which vhost-multi serves; the host checks what it got.
#
# GUEST_REPEAT=N runs each test's guest N times.

setup_file() {
	# shellcheck source=tests/guest/lib.bash
	. "$BATS_TEST_DIRNAME/lib.bash"
	"$guest_tests/prepare" qemu > >(sed 's/^/# /' >&3)
}

setup() {
	# shellcheck source=tests/guest/lib.bash
	. "$BATS_TEST_DIRNAME/lib.bash"
	socket=$BATS_TEST_TMPDIR/socket
	log=$BATS_TEST_TMPDIR/guest.log
	saved=$BATS_TEST_TMPDIR/saved
}

teardown() {
	[ -z "$backend_pid" ] || stop_backend || true
	cat "$socket.log" || true
}

serve() { # OPTION...
	# shellcheck disable=SC2317 # start_backend calls it
	backend_command() {
		backend_command=("${VHOST_MULTI:-$guest_root/build/vhost-multi}" rng --socket "$@"
			${backend_options:+"${backend_options[@]}"})
	}
	start_backend "$socket" "$@"
}

boot() { # RUN-QEMU-ARGUMENT...
	truncate -s 1M "$saved"
	"$guest_tests/run-qemu" --log "$log" run=rng rings="$rings" "$@" -- \
		-chardev "socket,id=rng,path=$socket" -device "vhost-user-rng-pci,chardev=rng$ring_properties" \
		-drive "file=$saved,format=raw,if=none,id=saved" -device virtio-blk-pci,drive=saved 3>&-
}

guest_said() { # PATTERN
	tr -d '\r' <"$log" | sed -nE "s/.*$1.*/\1/p" | tail -n 1
}

looks_random() {
	serve
	boot --timeout 120 steps=show,save bytes=1048576
	stop_backend
	[ "$(guest_said 'bytes saved, md5 ([0-9a-f]+)')" = "$(md5sum <"$saved" | cut -d ' ' -f 1)" ]
	"$guest_root/tests/lib/looks-random" "$saved"
}

@test "guest: a MiB of /dev/hwrng looks random" {
	repeat looks_random
}

# The guest's kernel takes of the budget, too, for its own pool: the reader cannot be faster, but it can be slower.
keeps_budget() {
	local took periods=12
	serve --max-bytes 4096 --period 250
	boot steps=show,time bytes=$((4096 * periods))
	stop_backend
	took=$(guest_said 'bytes took ([0-9]+) ms')
	echo "$periods periods' bytes, with 4096 each 250 ms, took $took ms"
	# the first period had begun, the last need not pass; a standstill is ended by the guest's time limit
	((took >= (periods - 2) * 250))
}

@test "guest: no more than the byte budget, and no standstill" {
	repeat keeps_budget
}

# Each 32 bytes of FILE are of KNOWN, in the same order, none twice.
taken_in_order() { # FILE KNOWN
	awk '
		NR == FNR { place[$0] = FNR; next }
		!($0 in place) || place[$0] <= last { exit wrong = 1 }
		{ last = place[$0]; count++ }
		END { print count " pieces in order"; exit wrong || !count }' \
		<(od -An -v -tx8 -w32 "$2") <(od -An -v -tx8 -w32 "$1")
}

waits_for_source() {
	local source=$BATS_TEST_TMPDIR/source runner
	head -c 1M /dev/urandom >"$source.known"
	: >"$source"
	serve --source "$source"
	rm -f "$log"
	boot steps=show,wait,save bytes=65536 &
	runner=$!
	await_guest "$runner" "$log" 'went and came back'
	cat "$source.known" >>"$source"
	wait "$runner"
	stop_backend
	[ "$(grep -c 'is at its end, requests wait' "$socket.log")" = 1 ]
	truncate -s 65536 "$saved"
	taken_in_order "$saved" "$source.known"
}

@test "guest: a source without bytes is waited for, through an unbound driver, and nothing is made up" {
	repeat waits_for_source
}
