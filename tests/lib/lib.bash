# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034 # used by who sources this
#
# What the bats files share: a back-end's life and its clients.
#
# VHOST_MULTI=build/san/vhost-multi tests another build than build/vhost-multi.

root=$(cd "$BATS_TEST_DIRNAME/.." && pwd)
bin=${VHOST_MULTI:-$root/build/vhost-multi}
lib=$root/tests/lib
# The temporary folder may be of a file system without O_DIRECT; the build folder is a usual disk.
disks=$root/build/tests/images
python=${PYTHON:-/usr/bin/python3}
# shellcheck source=tests/lib/wait.bash
. "$lib/wait.bash"

# For setup: a folder of the test's own, an image of 1 MiB of random bytes in it.
set_up() {
	folder=$BATS_TEST_TMPDIR
	socket=$folder/socket
	log=$folder/log
	pid='' mounts='' in=()
	mkdir -p "$disks"
	image=$(mktemp "$disks/XXXXXX.img")
	head -c 1M /dev/urandom >"$image"
}

# For teardown: ends what still runs, shows what it said.
tear_down() {
	[ -z "${pid:-}" ] || kill -KILL "$pid" || true
	[ -z "${mounts:-}" ] || kill -KILL "$mounts" || true
	rm -f "$image"
	[ ! -e "$log" ] || cat "$log"
}

# Fails if the command does not; "!" alone would not fail a test.
not() { # COMMAND...
	! "$@"
}

client() { "$root/build/tests/vu-client" "$@"; }

# Runs a command in the background; its messages go to $log.
launch() { # COMMAND...
	"$@" </dev/null >>"$log" 2>&1 3>&- &
	pid=$!
}

# A mount namespace that may be spoilt: `in` leads a command into it, as $there its files can be had from outside.
own_mounts() { # private|shared, see tests/lib/own-mounts
	# shellcheck disable=SC2016 # for the inner shell
	"$lib/own-mounts" "$1" sh -c ': >"$1" && exec sleep 600' - "$folder/mounts" 3>&- &
	mounts=$!
	until_true test -e "$folder/mounts"
	rm "$folder/mounts"
	in=(nsenter --target "$mounts" --mount --root --wd --)
	there=/proc/$mounts/root
}

# False if the host refuses io_uring, as a container or an administrator may. $refusal is its error then.
has_io_uring() {
	local cache=$BATS_RUN_TMPDIR/io_uring
	[ -e "$cache" ] || "$python" >"$cache" -c 'import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall(425, 1, None) # io_uring_setup, which looks at its arguments last
print(errno.errorcode[ctypes.get_errno()])'
	refusal=$(<"$cache")
	[ "$refusal" = EFAULT ]
}

needs_io_uring() {
	has_io_uring || skip "this host allows no io_uring: $refusal"
}

# True, and said, if these options name an engine that the host does not allow.
left_out() { # OPTION...
	[[ $* = *uring* ]] && ! has_io_uring || return
	echo "# ${BATS_TEST_DESCRIPTION%%:*}: $* is left out, this host allows no io_uring: $refusal" >&3
}

# Serves the image on the socket, and waits until the start is over.
serve() { # OPTION...
	serve_disk "$image" "$@"
}

serve_disk() { # PATH OPTION...
	launch "$bin" blk --socket "$socket" --path "$@"
	until_true accepting
}

# The start is over, well or not.
accepting() {
	started "$pid" "$log" || exited "$pid"
}

stop() {
	stop_by TERM
}

# Ends the back-end by a signal; its exit status. $ending_ms: how long that took.
stop_by() { # SIGNAL
	local ending=$pid began status=0
	began=$(date +%s%N)
	kill -s "$1" "$ending"
	until_true exited "$ending"
	pid=
	wait "$ending" || status=$?
	ending_ms=$((($(date +%s%N) - began) / 1000000))
	echo "ended in $ending_ms ms"
	return "$status"
}

# Waits until the back-end ends by itself; its exit status.
wait_end() {
	local ending=$pid status=0
	until_true exited "$ending"
	pid=
	wait "$ending" || status=$?
	return "$status"
}

# The command fails with this status and one line on standard error that matches the pattern.
fails() { # STATUS PATTERN COMMAND...
	local wanted=$1 pattern=$2 status=0
	shift 2
	timeout 30 "$@" >"$folder/out" 2>"$folder/err" </dev/null 3>&- || status=$?
	cat "$folder/err"
	[ "$status" = "$wanted" ] || { echo "status $status, not $wanted: $*"; return 1; }
	[ ! -s "$folder/out" ] || { echo "standard output: $(cat "$folder/out")"; return 1; }
	[ "$(grep -c 'error: ' "$folder/err")" = 1 ] || { echo "not one error line: $*"; return 1; }
	tail -n 1 "$folder/err" | grep -qE -- "error: .*$pattern" || { echo "no '$pattern': $*"; return 1; }
}

# Bytes of the image through the back-end are those in the file.
reads_image() {
	cmp <(client read "$socket" 0 $(($(stat -c %s "$image") / 512))) "$image"
}

# No front-end is connected, and what the last one had is given back.
all_gone() {
	[ "$(grep -c 'front-end connected$' "$log")" = "$(grep -c 'front-end has gone$' "$log")" ]
}

# A front-end is connected.
visited() {
	not all_gone
}

fd_count() {
	find "/proc/$pid/fd" -mindepth 1 | wc -l
}

fds_are() { # COUNT
	[ "$(fd_count)" = "$1" ]
}

map_count() {
	wc -l <"/proc/$pid/maps"
}

same_resources() { # FDS MAPS
	[ "$(fd_count)" = "$1" ] && [ "$(map_count)" = "$2" ]
}

has_threads() { # COUNT
	[ "$(find "/proc/$pid/task" -mindepth 1 -maxdepth 1 | wc -l)" = "$1" ]
}

# A key's value in what `client config` and `client features` print.
value() { # KEY CLIENT-ARGUMENT...
	local key=$1
	shift
	client "$@" | sed -n "s/^$key=//p"
}

# Sets `loop` to a device of FILE, or `refusal`.
try_attach() { # FILE LOSETUP-OPTION...
	refusal=$(losetup --find --show "${@:2}" "$1" 2>&1) || return
	loop=$refusal
}

attach() { # FILE LOSETUP-OPTION...
	[ "$(id -u)" = 0 ] || skip "only root can make a block device"
	try_attach "$@" || skip "no loop device: $refusal"
}

# An io_uring may hold the device for a moment after its process has ended.
detach() {
	[ -z "${loop:-}" ] || until_true losetup -d "$loop"
	loop=
}

# A loop device of an image in memory, which loses the command to write zeroes as soon as that is tried: all that it then has is
# to discard, as dm-thin's devices and many virtual ones.
attach_without_zeroes() {
	[ "$(stat -f -c %T /dev/shm)" = tmpfs ] || skip "/dev/shm is not in memory"
	memory=$(mktemp -p /dev/shm)
	head -c 1M /dev/urandom >"$memory"
	attach "$memory"
	fallocate -z -l 4096 "$loop" 2>"$folder/err" || true
	[ "$(cat "/sys/block/${loop#/dev/}/queue/write_zeroes_max_bytes")" = 0 ] || skip "this kernel's loop devices keep their zeroes"
	head -c 1M /dev/urandom >"$loop"
	sync "$loop"
}
