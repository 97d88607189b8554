# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034 # used by who sources this
#
# What the guest runners, the guest tests and the demo share: the back-end's life, which QEMU and which rings, a guest's
# verdict, and checks of what a guest wrote.
#
# BACKEND=qsd serves with qemu-storage-daemon instead, to tell whose fault a failure is;
# VHOST_MULTI=build/san/vhost-multi takes another build than build/vhost-multi.
# GUEST_QEMU=host, trixie or unstable: the host's QEMU or that of a Debian release (see fetch-qemu); or the path of one.
# GUEST_RINGS=packed: with packed rings, which are used only if back-end and QEMU are told to.

guest_tests=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
guest_root=$(cd "$guest_tests/../.." && pwd)
guest_build=$guest_root/build/guest
backend_pid=
# shellcheck source=tests/guest/in-guest/layout
. "$guest_tests/in-guest/layout"
# shellcheck source=tests/lib/wait.bash
. "$guest_root/tests/lib/wait.bash"

die() {
	echo "${0##*/}: $*" >&2
	exit 1
}

# The program that GUEST_QEMU names.
guest_qemu() {
	case ${GUEST_QEMU:-host} in
	*/*) echo "$GUEST_QEMU" ;;
	host) echo "qemu-system-$(uname -m)" ;;
	*) echo "$guest_build/qemu-$GUEST_QEMU/qemu" ;;
	esac
}

# Sets what back-end, QEMU and guest are told of their rings: backend_options, ring_properties, rings.
use_rings() { # split | packed
	rings=$1 ring_properties='' backend_options=()
	case $rings in
	split) ;;
	packed) ring_properties=,packed=on backend_options=(--packed=on) ;;
	*) die "GUEST_RINGS is split or packed, not $rings" ;;
	esac
}
use_rings "${GUEST_RINGS:-split}"

# Command line of the back-end serving IMAGE at SOCKET, as the array backend_command.
backend_command() { # SOCKET IMAGE [ro]
	local socket=$1 image=$2 mode=${3:-rw}
	if [ "${BACKEND:-}" = qsd ]; then
		local writable=on read_only=off
		[ "$mode" = rw ] || writable=off read_only=on
		backend_serial=vhost_user_blk
		backend_command=(qemu-storage-daemon
			--blockdev "driver=file,node-name=f,filename=$image,discard=unmap,read-only=$read_only"
			--export "type=vhost-user-blk,id=e,node-name=f,addr.type=unix,addr.path=$socket,writable=$writable,num-queues=4")
		return
	fi
	backend_serial=guest-test
	backend_command=("${VHOST_MULTI:-$guest_root/build/vhost-multi}" blk --socket "$socket" --path "$image"
		--serial "$backend_serial" --discard=unmap ${backend_options:+"${backend_options[@]}"})
	[ "$mode" = rw ] || backend_command+=(--read-only)
}

accepting() { # SOCKET
	exited "$backend_pid" && return
	if [ "${BACKEND:-}" = qsd ]; then
		listening "$1"
	else
		started "$backend_pid" "$1.log"
	fi
}

# Returns when the back-end's start is over; sets backend_pid. Its messages go to SOCKET.log.
start_backend() { # SOCKET IMAGE [ro]
	local socket=$1
	backend_command "$@"
	command -v "${backend_command[0]}" >/dev/null || wrong "no ${backend_command[0]}: build it first" || return
	"${backend_command[@]}" </dev/null >"$socket.log" 2>&1 3>&- &
	backend_pid=$!
	if ! until_true accepting "$socket" || exited "$backend_pid"; then
		sed 's/^/back-end: /' "$socket.log" >&2
		return 1
	fi
}

# Ends the back-end by SIGTERM (SIGKILL after half a minute) and returns its exit status.
stop_backend() {
	local pid=$backend_pid status=0
	backend_pid=
	kill -TERM "$pid" 2>/dev/null || true
	until_true exited "$pid" || kill -KILL "$pid" 2>/dev/null || true
	wait "$pid" || status=$?
	return "$status"
}

# Judges a guest by what it printed: 0 if it ended with "GUEST-RESULT: ok".
guest_verdict() { # LOG
	local verdict
	verdict=$(tr -d '\r' <"$1" | sed -n 's/.*GUEST-RESULT: //p' | tail -n 1)
	[ "$verdict" = ok ] && return
	echo "guest: ${verdict:-no result; the last lines it printed:}" >&2
	[ -n "$verdict" ] || tail -n 15 "$1" >&2
	return 1
}

# Waits until the guest, which PID runs and which prints to LOG, says TEXT.
await_guest() { # PID LOG TEXT
	patience=150 until_true said_or_ended "$@" && grep -aqs "$3" "$2"
}

said_or_ended() { # PID LOG TEXT
	grep -aqs "$3" "$2" || exited "$1"
}

# Words KEY=VALUE as kernel parameters for the guest's init.
guest_parameters() { # KEY=VALUE...
	printf ' guest.%s' "$@"
}

repeat() { # COMMAND...: GUEST_REPEAT times
	local round
	for ((round = 0; round < ${GUEST_REPEAT:-1}; round++)); do
		"$@"
	done
}

# The bytes of IMAGE from FIRST MiB on, COUNT of them.
image_mib() { # IMAGE FIRST COUNT
	dd if="$1" bs=1M skip="$2" count="$3" status=none
}

wrong() {
	echo "wrong: $*" >&2
	return 1
}

# The file system in IMAGE is whole and its files hold what the guest says it wrote (LOG, TEXT).
check_files() { # IMAGE LOG TEXT
	local said found
	e2fsck -fn "$1" >/dev/null 2>&1 || wrong "e2fsck finds errors in the guest's file system" || return
	found=$(debugfs -R 'cat /hello' "$1" 2>/dev/null)
	[ "$found" = "$3" ] || wrong "/hello holds '$found', the guest wrote '$3'" || return
	said=$(tr -d '\r' <"$2" | sed -n 's/.*file md5 //p' | tail -n 1)
	found=$(debugfs -R 'cat /random' "$1" 2>/dev/null | md5sum | cut -d ' ' -f 1)
	[ "$said" = "$found" ] || wrong "/random has md5 $found, the guest wrote $said"
}

# Each of the guest's WRITERS has left its pattern on the raw part of IMAGE.
check_raw() { # IMAGE TEXT WRITERS
	local writer
	for ((writer = 0; writer < $3; writer++)); do
		cmp <(pattern "$2-$writer" 1) <(image_mib "$1" $((raw_mib + writer)) 1) ||
			wrong "the raw pattern of writer $writer is not on the disk" || return
	done
}

# What no guest wrote is as in KNOWN_IMAGE.
check_untouched() { # IMAGE KNOWN_IMAGE
	local first=$untouched_mib count=$((disk_mib - untouched_mib))
	cmp <(image_mib "$2" "$first" "$count") <(image_mib "$1" "$first" "$count") ||
		wrong "bytes changed that no guest wrote"
}
