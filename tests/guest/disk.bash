# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2119,SC2120 # a disk is read-only in one file alone
#
# What the bats files share in which a guest in QEMU uses a disk: setup and teardown, and a guest's whole work.

set_up_file() {
	# shellcheck source=tests/guest/lib.bash
	. "$BATS_TEST_DIRNAME/lib.bash"
	"$guest_tests/prepare" qemu > >(sed 's/^/# /' >&3)
	pattern made-by-the-host "$disk_mib" >"$BATS_FILE_TMPDIR/known"
}

setup_file() {
	set_up_file
}

setup() {
	# shellcheck source=tests/guest/lib.bash
	. "$BATS_TEST_DIRNAME/lib.bash"
	image=$BATS_TEST_TMPDIR/disk.img
	socket=$BATS_TEST_TMPDIR/socket
	log=$BATS_TEST_TMPDIR/guest.log
	pidfile=$BATS_TEST_TMPDIR/qemu.pid
	known=$BATS_FILE_TMPDIR/known
	known_md5=$(md5sum <"$known" | cut -d ' ' -f 1)
}

teardown() {
	[ ! -e "$pidfile" ] || kill -KILL "$(cat "$pidfile")" || true
	[ -z "$backend_pid" ] || stop_backend || true
	cat "$socket.log" || true
}

serve() { # [ro]
	cp "$known" "$image"
	start_backend "$socket" "$image" "$@"
}

boot() { # DEVICE-PROPERTIES RUN-QEMU-ARGUMENT...
	local properties=$1
	shift
	"$guest_tests/run-qemu" --disk "$socket$ring_properties$properties" --log "$log" run=blk known="$known_md5" rings="$rings" \
		sectors=$((disk_mib * 2048)) serial="$backend_serial" "$@" 3>&-
}

# A guest that puts a disk to every use.
boot_to_work() { # CPUS DEVICE-PROPERTIES RUN-QEMU-ARGUMENT...
	boot "$2" --smp "$1" text=qemu steps=show,known,fs,raw queues="$1" "${@:3}"
}

check_work() { # CPUS
	check_files "$image" "$log" qemu
	check_raw "$image" qemu "$1"
	check_untouched "$image" "$known"
}

# One guest's whole work with CPUS, then the host's checks.
work() { # CPUS DEVICE-PROPERTIES RUN-QEMU-ARGUMENT...
	serve
	boot_to_work "$@"
	stop_backend
	check_work "$1"
}

# The same, but in the midst of each part of the work the back-end is killed, and another one goes on.
work_through_kills() { # CPUS
	local cpus=$1 guest said
	backend_options+=(--log-level=debug)
	serve
	rm -f "$log"
	boot_to_work "$cpus" "" --reconnect &
	guest=$!
	for said in negotiated: 'content as' 'file system:'; do
		await_guest "$guest" "$log" "$said"
		kill -KILL "$backend_pid"
		wait "$backend_pid" || true
		check_tracking
		start_backend "$socket" "$image"
	done
	wait "$guest"
	stop_backend
	check_tracking
	check_work "$cpus"
}

# The back-end was given a region for what is in flight, and had nothing to complain of.
check_tracking() {
	grep -q 'debug: SET_INFLIGHT_FD: .*: 0$' "$socket.log" || wrong "no region for what is in flight" || return
	! grep -E 'error: |warning: ' "$socket.log" || wrong "the back-end complains"
}
