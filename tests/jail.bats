#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# The launcher: what a jail is made of, who can reach what is in it, and that nothing of it stays. Needs root.
# shellcheck disable=SC2030,SC2031 # each test is a process, and changes its own variables
# shellcheck disable=SC2016 # what sh -c is to expand

setup() {
	# shellcheck source=tests/lib/lib.bash
	. "$BATS_TEST_DIRNAME/lib/lib.bash"
	set_up
	holder='' base=''
	[ "$EUID" = 0 ] || skip "a jail is made by root"
	# what others than root are to reach; the folder of a test is root's alone
	base=$(mktemp -d /run/vm.XXXXXX)
	chmod 755 "$base"
	id=vm-$RANDOM-$RANDOM parent=vhost-multi-test-$RANDOM
	vm=$base/vhost-multi/$id
	socket=$vm/disk.sock
}

teardown() {
	local left
	[ -z "${id:-}" ] || for left in $(pgrep -f -- "jail --id $id"); do kill -KILL "$left" || true; done
	[ -z "${cgroups:-}" ] || until_true without_cgroups
	tear_down
	[ -z "$base" ] || { until_true removed; rmdir "$base"; }
	[ -z "$holder" ] || kill "$holder"
}

# Also what a test that failed has left.
without_cgroups() {
	[ ! -e "$cgroups/$parent" ] || find "$cgroups/$parent" -depth -type d -exec rmdir {} +
}

removed() { rm -rf "${base:?}"/*; }

# The options of a jail that serves the image.
jail() { # JAIL-OPTION... [-- BLK-OPTION...]
	local options=()
	: >"$log"
	while [ $# -gt 0 ] && [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	launch "${enter[@]}" "$bin" jail --id "$id" --chroot-base-dir "$base" "${options[@]}" -- \
		blk --socket disk.sock --path "$image" "${@:2}"
	until_true said_ready
}
enter=()

said_ready() {
	grep -q "$id is ready in $vm" "$log" || { exited "$pid" && return 0; }
}

# The applet's process; the launcher's is $pid.
applet() { pgrep -P "$pid"; }

status_line() { # KEY
	sed -n "s/^$1:[[:space:]]*//p" "/proc/$(applet)/status"
}

no_process() { ! pgrep -f -- "jail --id $id" >/dev/null; }

nothing_left() {
	[ ! -e "$vm" ] || { ls -la "$vm" "$base/vhost-multi"; return 1; }
	[ -z "${cgroups:-}" ] || [ ! -e "$cgroups/$parent/$id" ]
	no_process
}

refused() { # STATUS PATTERN JAIL-OPTION...
	local status=$1 pattern=$2
	shift 2
	fails "$status" "$pattern" "${enter[@]}" "$bin" jail --id "$id" --chroot-base-dir "$base" "$@" -- \
		blk --socket disk.sock --path "$image"
}

# Runs a client that others than root may run.
client_as() { # UID GID COMMAND...
	[ -e "$base/client" ] || install -m 755 "$root/build/tests/vu-client" "$base/client"
	setpriv --reuid "$1" --regid "$2" --clear-groups "$base/client" "${@:3}"
}

# ---- what is made, and for whom ----

@test "jail: the folder and its socket belong to the VM's user, and nothing above them does" {
	jail --uid 1234 --gid 2345
	[ "$(stat -c '%u:%g %a' "$vm")" = "1234:2345 750" ]
	[ "$(stat -c '%u:%g %a %F' "$socket")" = "1234:2345 600 socket" ]
	[ "$(stat -c '%u:%g %a' "$base/vhost-multi")" = "0:0 755" ]
	[ "$(status_line Uid)" = $'1234\t1234\t1234\t1234' ]
	[ "$(status_line Gid)" = $'2345\t2345\t2345\t2345' ]
	[ -z "$(status_line Groups)" ]
	stop
	nothing_left
}

@test "jail: --uid alone is the group too; without it both are nobody's" {
	jail --uid 1234
	[ "$(stat -c '%u:%g' "$vm" "$socket" | sort -u)" = 1234:1234 ]
	stop
	jail
	[ "$(stat -c '%u:%g' "$vm" "$socket" | sort -u)" = 65534:65534 ]
	stop
}

@test "jail: the VM's user reaches the socket, no other does" {
	jail --uid 1234 --gid 2345
	client_as 1234 9999 config "$socket"
	not client_as 1235 1234 config "$socket"
	not client_as 1235 2345 config "$socket"
	stop
}

@test "jail: --socket-mode lets the group in" {
	jail --uid 1234 --gid 2345 -- --socket-mode 0660
	client_as 1235 2345 config "$socket"
	not client_as 1235 1234 config "$socket"
	stop
}

@test "jail: I/O as each front-end does it" {
	jail --uid 1234
	reads_image
	for profile in qemu cloud-hypervisor firecracker crosvm; do
		client --profile "$profile" profile "$socket"
	done
	stop
}

@test "jail: the whole lockdown is inside, and the launcher keeps no file of it" {
	jail --uid 1234 --new-pid-ns
	grep -q 'sandbox: strict' "$log"
	for set in CapInh CapPrm CapEff CapBnd CapAmb; do
		[ "$(status_line "$set")" = 0000000000000000 ]
	done
	[ "$(status_line NoNewPrivs)" = 1 ]
	[ "$(status_line Seccomp)" = 2 ]
	[ -z "$(find -H "/proc/$(applet)/root" -mindepth 1)" ]
	find "/proc/$(applet)/fd" -printf '%l\n' >"$folder/fds"
	not grep "^$base" "$folder/fds"
	find "/proc/$pid/fd" -printf '%l\n' >"$folder/fds"
	not grep "$image" "$folder/fds"
	stop
}

@test "jail: all kinds of applets" {
	launch "$bin" jail --id "$id" --chroot-base-dir "$base" --uid 1234 -- rng --socket rng.sock
	until_true said_ready
	[ "$(stat -c '%u %F' "$vm/rng.sock")" = "1234 socket" ]
	[ "$(client entropy "$vm/rng.sock" 4096 | wc -c)" = 4096 ]
	stop
	nothing_left
	: >"$log"
	launch "$bin" jail --id "$id" --chroot-base-dir "$base" --uid 1234 -- console --socket con.sock
	until_true said_ready
	[ "$(stat -c '%u %F' "$vm/con.sock" "$vm/con.sock.console" | sort -u)" = "1234 socket" ]
	stop
	nothing_left
}

@test "jail: relative paths of the applet are in the VM's folder" {
	cd "$(dirname "$image")"
	fails 3 "cannot open .*No such file.*relative paths begin in $vm\)" \
		"$bin" jail --id "$id" --chroot-base-dir "$base" -- blk --socket disk.sock --path "$(basename "$image")"
	nothing_left
}

@test "jail: a missing base folder is made, all of it root's" {
	launch "$bin" jail --id "$id" --chroot-base-dir "$base/a//b/" -- blk --socket disk.sock --path "$image"
	until_true grep -q 'is ready' "$log"
	[ "$(stat -c '%u %a' "$base/a" "$base/a/b" | sort -u)" = "0 755" ]
	[ -S "$base/a/b/vhost-multi/$id/disk.sock" ]
	stop
}

# ---- who may not be trusted ----

@test "jail: a symlink where the VM's folder belongs, or above it, is refused and not followed" {
	mkdir -m 755 "$base/target" "$base/vhost-multi" "$base/real"
	before=$(stat -c '%u:%g %a %Z' "$base/target")
	ln -s "$base/target" "$vm"
	refused 5 'symlink'
	rm "$vm"
	ln -s /nowhere "$vm"
	refused 5 'symlink'
	rm "$vm"
	rmdir "$base/vhost-multi"
	ln -s "$base/target" "$base/vhost-multi"
	refused 5 'vhost-multi is no folder, or a symlink'
	rm "$base/vhost-multi"
	ln -s "$base/target" "$base/link"
	for path in "$base/link" "$base/link/below"; do
		fails 5 "$base/link is no folder, or a symlink" "$bin" jail --id "$id" --chroot-base-dir "$path" -- \
			blk --socket disk.sock --path "$image"
	done
	[ -z "$(ls -A "$base/target")" ]
	[ "$(stat -c '%u:%g %a %Z' "$base/target")" = "$before" ]
}

@test "jail: a file where a folder belongs" {
	mkdir "$base/vhost-multi"
	echo precious >"$vm"
	refused 5 'symlink or file stands'
	[ "$(cat "$vm")" = precious ]
}

@test "jail: a base folder that others may write to, or own, is refused" {
	for mode in 775 757 1777; do
		chmod "$mode" "$base"
		refused 5 "others than root may write to $base"
	done
	chmod 755 "$base"
	chown 1234 "$base"
	refused 5 "$base is user 1234's"
	chown 0 "$base"
	mkdir -m 777 "$base/vhost-multi"
	refused 5 'others than root may write to vhost-multi'
	chmod 755 "$base/vhost-multi"
	chown 1234 "$base/vhost-multi"
	refused 5 "vhost-multi is user 1234's"
	chown 0 "$base/vhost-multi"
	mkdir "$base/own"
	chown 1234 "$base/own"
	fails 5 "$base/own is user 1234's" "$bin" jail --id "$id" --chroot-base-dir "$base/own/base" -- \
		blk --socket disk.sock --path "$image"
	[ -z "$(find "$base/own" "$base/vhost-multi" -mindepth 1)" ]
}

@test "jail: a folder with what is neither a jail's nor root's is neither used nor emptied" {
	local kind
	mkdir -p "$vm"
	for kind in other writable folder twice; do
		echo precious >"$base/precious"
		case $kind in
		other) install -o 1234 "$base/precious" "$vm/thing" ;;
		writable) install -m 664 "$base/precious" "$vm/thing" ;;
		folder) mkdir "$vm/thing" ;;
		twice) ln "$base/precious" "$vm/thing" ;;
		esac
		refused 5 "$vm holds thing, which is neither a jail's nor root's"
		[ "$kind" = folder ] || [ "$(cat "$vm/thing")" = precious ]
		rm -r "$vm/thing"
	done
	jail --uid 1234
	echo kept | setpriv --reuid 1234 --regid 1234 --clear-groups tee "$vm/note"
	stop
	grep -q "$vm is left, since it holds note" "$log"
	[ "$(cat "$vm/note")" = kept ]
	[ ! -e "$socket" ]
}

@test "jail: what a console has written stays, and the id goes on with it" {
	for _ in 1 2; do
		: >"$log"
		launch "$bin" jail --id "$id" --chroot-base-dir "$base" --uid 1234 -- console --socket con.sock \
			--port type=file,path=out.log --port type=fifo,path=pipe,log=pipe.log
		until_true said_ready
		[ "$(stat -c '%u:%g %a %F' "$vm/pipe")" = "1234:1234 600 fifo" ]
		stop
		grep -q "$vm is left, with 2 files in it" "$log"
		[ "$(stat -c '%u %a %F' "$vm/out.log" "$vm/pipe.log" | sort -u)" = "0 600 regular empty file" ]
		[ ! -e "$vm/pipe" ]
	done
}

@test "jail: a VMM of another user by --socket-group, and by --socket-user" {
	jail --uid 1234 -- --socket-group 3456 --socket-mode 660
	[ "$(stat -c '%u:%g %a' "$vm")" = "1234:3456 750" ]
	[ "$(stat -c '%u:%g %a' "$socket")" = "1234:3456 660" ]
	client_as 7777 3456 config "$socket"
	not client_as 7777 7777 config "$socket"
	stop
	nothing_left
	jail --uid 1234 -- --socket-user 7777
	[ "$(status_line Uid)" = $'1234\t1234\t1234\t1234' ]
	client_as 7777 9999 config "$socket"
	stop
	nothing_left
}

@test "jail: only by root" {
	install -m 755 "$bin" "$base/vhost-multi-copy"
	fails 5 'a jail is made by root' setpriv --reuid 1234 --regid 1234 --clear-groups \
		"$base/vhost-multi-copy" jail --id "$id" --chroot-base-dir "$base" -- blk --socket disk.sock --path null:1M
}

# ---- the command line ----

@test "jail: ids" {
	for id in '' . .. ../x a/b a.b 'a b' a_b "$(printf '%065d' 0)" ä; do
		refused 2 'must be 1 to 64 of'
	done
	fails 2 'needs --id' "$bin" jail -- blk --socket disk.sock --path "$image"
	[ -z "$(ls -A "$base")" ]
	id=$(printf '%064d' 0) vm=$base/vhost-multi/$id socket=$vm/disk.sock
	jail
	reads_image
	stop
	nothing_left
}

@test "jail: wrong options" {
	fails 2 'what is to run' "$bin" jail --id "$id"
	fails 2 'what is to run' "$bin" jail --id "$id" --
	fails 127 'nope: no such applet' "$bin" jail --id "$id" -- nope
	fails 2 '--nope: no such option' "$bin" jail --nope
	refused 2 '--uid 0: must be 1 to' --uid 0
	refused 2 '--gid 4294967295: must be 1 to' --gid 4294967295
	refused 2 '--uid root: not a number' --uid root
	for value in memory.max =1 memory.max= max=1 ../memory.max=1 a/b.c=1 .x=1; do
		refused 2 '--cgroup .*: must be FILE=VALUE' --cgroup "$value"
	done
	refused 2 '--parent-cgroup /x: must be below' --parent-cgroup /x
	for value in no-file no-file= no-file=x nofile=5 fsize=-1 core=0; do
		refused 2 '--resource-limit .*: must be no-file=N or fsize=N' --resource-limit "$value"
	done
	refused 2 '--resource-limit no-file=31: must be 32' --resource-limit no-file=31
	for value in srv "$base/../x" /..; do
		fails 2 'must be an absolute path without ..' "$bin" jail --id "$id" --chroot-base-dir "$value" -- \
			blk --path "$image"
	done
	# these would move, freeze or kill processes, those of the host too: "1" is the host's first
	for value in procs threads kill type subtree_control freeze bogus max.depth.x; do
		refused 2 "cgroup.$value is no limit" --cgroup "cgroup.$value=1"
	done
	for value in tasks release_agent notify_on_release ../cgroup.procs a/cgroup.procs /cgroup.procs ./memory.max; do
		refused 2 '--cgroup .*: must be FILE=VALUE' --cgroup "$value=1"
	done
	for value in .. a/.. ../a a//../b; do
		refused 2 '--parent-cgroup .*: must be below' --parent-cgroup "$value"
	done
	[ -z "$(ls -A "$base")" ]
}

@test "jail: what the applet must leave to the jail" {
	for option in --user=1 --group=1 --netns=/x --sandbox=none --socket=/tmp/x --socket=a/b; do
		fails 2 "${option%%=*}" "$bin" jail --id "$id" --chroot-base-dir "$base" -- \
			blk --path "$image" "$option"
	done
	[ -z "$(ls -A "$base")" ]
}

@test "jail: --help" {
	"$bin" jail --help >"$folder/out"
	for option in id uid gid chroot-base-dir netns cgroup parent-cgroup resource-limit new-pid-ns daemonize; do
		grep -q -- "--$option" "$folder/out"
	done
}

@test "jail: what Firecracker's jailer puts in front of the applet is ignored" {
	for form in "--id vm1 --start-time-us 123 --start-time-cpu-us 45 --parent-cpu-time-us 6" \
		"--id=vm1 --start-time-us=123 --start-time-cpu-us=45 --parent-cpu-time-us=6"; do
		# shellcheck disable=SC2086 # words
		launch "$bin" $form blk --socket "$folder/plain" --path "$image"
		until_true accepting
		client config "$folder/plain"
		stop
	done
	fails 2 '--start-time-us: no such option' "$bin" blk --start-time-us 1
}

# ---- cgroup, limits, namespaces ----

# Where cgroup v2 is: a mount of the host, or one that only this test sees. $cgroups is a path to it, $enter leads into it.
cgroup_v2() {
	cgroups=$(awk '/ - cgroup2 / { print $5; exit }' /proc/self/mountinfo)
	if [ -n "${PRIVATE_CGROUPS:-}" ] || [ -z "$cgroups" ]; then
		own_mounts private
		"${in[@]}" mount -t cgroup2 none /mnt 2>"$folder/err" || skip "cgroup v2 cannot be mounted: $(cat "$folder/err")"
		cgroups=$there/mnt
		enter=("${in[@]}")
	fi
	[ -w "$cgroups/cgroup.procs" ] || skip "$cgroups is read-only"
}

@test "jail: an own cgroup below --parent-cgroup, with its values" {
	cgroup_v2
	jail --parent-cgroup "$parent" --cgroup cgroup.max.depth=3 --cgroup cgroup.max.descendants=0
	[ "$(cat "$cgroups/$parent/$id/cgroup.max.depth")" = 3 ]
	[ "$(cat "$cgroups/$parent/$id/cgroup.max.descendants")" = 0 ]
	grep -qx "$(applet)" "$cgroups/$parent/$id/cgroup.procs"
	not grep -qx "$pid" "$cgroups/$parent/$id/cgroup.procs"
	reads_image
	stop
	nothing_left
}

@test "jail: a controller is turned on for the cgroup" {
	cgroup_v2
	local controllers value want=''
	read -r controllers <"$cgroups/cgroup.controllers" || true
	for value in memory.max=67108864 pids.max=64 hugetlb.2MB.max=0 cpu.weight=50; do
		[[ " $controllers " == *" ${value%%.*} "* ]] && want+=" $value"
	done
	[ -n "$want" ] || skip "no controller is in the cgroup v2 hierarchy"
	# shellcheck disable=SC2046,SC2086 # words
	jail --parent-cgroup "$parent/below" $(printf -- '--cgroup %s ' $want)
	for value in $want; do
		[ "$(cat "$cgroups/$parent/below/$id/${value%%=*}")" = "${value#*=}" ]
	done
	reads_image
	stop
	[ ! -e "$cgroups/$parent/below/$id" ]
	rmdir "$cgroups/$parent/below"
}

@test "jail: a cgroup that cannot be had, and nothing stays" {
	cgroup_v2
	[ ${#enter[@]} = 0 ] || skip "the host has no cgroup v2 mount"
	refused 5 'no controller bogus, only:' --parent-cgroup "$parent" --cgroup bogus.max=1
	refused 5 'the kernel does not take it' --parent-cgroup "$parent" --cgroup cgroup.max.depth=x
	nothing_left
	mkdir -p "$cgroups/$parent/$id/child"
	refused 5 'is in use' --parent-cgroup "$parent"
	rmdir "$cgroups/$parent/$id/child"
	jail --parent-cgroup "$parent" # one that was left behind is replaced
	stop
	nothing_left
}

@test "jail: without any cgroup v2 it is said so" {
	fails 5 'no cgroup v2 is mounted' "$lib/own-mounts" private sh -c \
		'umount -l $(awk "/ - cgroup2 / { print \$5 }" /proc/self/mountinfo) 2>/dev/null; exec "$@"' sh \
		"$bin" jail --id "$id" --chroot-base-dir "$base" --cgroup pids.max=5 -- blk --socket disk.sock --path "$image"
	nothing_left
}

@test "jail: --resource-limit" {
	refused 5 '--resource-limit no-file=64: the applet needs [0-9]+; use fewer queues' --resource-limit no-file=64
	jail --resource-limit no-file=64 --resource-limit fsize=512K -- --num-queues 1 --engine sync
	[ "$(awk '/^Max open files/ { print $5 }' "/proc/$(applet)/limits")" -le 64 ]
	grep -qE '^Max file size +524288 +524288 ' "/proc/$(applet)/limits"
	head -c 4096 /dev/urandom >"$folder/data"
	client write "$socket" 0 <"$folder/data"
	not client write "$socket" 1024 <"$folder/data" # beyond fsize: the request fails, and only that
	reads_image
	stop
}

@test "jail: --new-pid-ns makes the applet process 1" {
	jail --new-pid-ns
	[ "$(status_line NSpid)" = "$(applet)"$'\t1' ]
	[ "$(readlink "/proc/$(applet)/ns/pid")" != "$(readlink /proc/self/ns/pid)" ]
	reads_image
	stop
	nothing_left
}

@test "jail: --netns joins a namespace, by a path without symlinks" {
	unshare --net sleep 60 3>&- &
	holder=$!
	until_true test "$(readlink /proc/self/ns/net)" != "$(readlink "/proc/$holder/ns/net")"
	touch "$base/net"
	own_mounts private
	enter=("${in[@]}")
	"${in[@]}" mount --bind "/proc/$holder/ns/net" "$base/net"
	ln -s net "$base/link"
	local wanted
	wanted=$(readlink "/proc/$holder/ns/net")
	refused 5 '--netns: cannot open' --netns "$base/link"
	refused 5 '--netns: cannot open' --netns "/proc/$holder/ns/net"
	refused 5 'is no network namespace' --netns "$image"
	jail --netns "$base/net"
	[ "$(readlink "/proc/$(applet)/ns/net")" = "$wanted" ]
	stop
	"${in[@]}" umount "$base/net"
	nothing_left
	jail
	[ "$(readlink "/proc/$(applet)/ns/net")" != "$(readlink /proc/self/ns/net)" ]
	stop
}

# ---- life and end ----

# Starts in the background as a user would: $pid is the launcher's afterwards.
daemonize() { # JAIL-OPTION...
	# the pipe ends when nobody has it open any more
	timeout 5 bash -o pipefail -c '"$@" 2>&1 | cat' bash \
		"$bin" jail --id "$id" --chroot-base-dir "$base" --daemonize "$@" -- \
		blk --socket disk.sock --path "$image" 3>&-
	pid=$(pgrep -o -f -- "jail --id $id")
}

stop_daemon() { # SIGNAL PID
	kill -s "$1" "$2"
	until_true exited "$pid"
	pid=
	nothing_left
}

@test "jail: --daemonize returns when the socket accepts" {
	for option in --uid=1234 --new-pid-ns; do
		daemonize "$option"
		client config "$socket"
		reads_image
		[ "$(ps -o ppid= -p "$pid" | tr -d ' ')" != $$ ]
		for process in "$pid" "$(applet)"; do
			[ "$(readlink /proc/"$process"/fd/{0,1,2} | sort -u)" = /dev/null ]
		done
		stop_daemon TERM "$pid"
	done
}

@test "jail: --daemonize says what failed, with its status" {
	fails 3 'cannot open' "$bin" jail --id "$id" --chroot-base-dir "$base" --daemonize -- \
		blk --socket disk.sock --path /nowhere
	fails 5 'others than root' "$bin" jail --id "$id" --chroot-base-dir /tmp --daemonize -- \
		blk --socket disk.sock --path "$image"
	nothing_left
}

@test "jail: who waits for --daemonize may be killed" {
	mkfifo "$folder/fifo"
	# the applet waits until somebody opens the other end of its terminal's stand-in
	"$bin" jail --id "$id" --chroot-base-dir "$base" --daemonize -- blk --socket disk.sock --path "$folder/fifo" \
		2>"$log" 3>&- &
	kill -KILL $!
	until_true nothing_left
}

@test "jail: SIGHUP to the launcher is the applet's, which goes on" {
	for option in --uid=1234 --new-pid-ns; do
		jail "$option"
		truncate -s 2M "$image"
		kill -HUP "$pid"
		until_true grep -q 'disk is now 2097152 bytes' "$log"
		reads_image
		stop
		truncate -s 1M "$image"
	done
}

@test "jail: SIGTERM, SIGINT and SIGQUIT to the launcher end the applet with status 0" {
	for signal in TERM INT QUIT; do
		for option in --uid=1234 --new-pid-ns; do
			jail "$option"
			stop "$signal"
			nothing_left
		done
	done
}

@test "jail: SIGTERM at any moment of the start leaves nothing" {
	for option in --uid=1234 --new-pid-ns; do
		for wait in 0 .001 .002 .003 .004 .005 .006 .008 .01 .015 .02; do
			launch "$bin" jail --id "$id" --chroot-base-dir "$base" "$option" -- \
				blk --socket disk.sock --path "$image"
			sleep "$wait"
			status=0
			stop || status=$?
			[ "$status" = 0 ] || [ "$status" = 143 ] # 143: before it has held signals back
			nothing_left
		done
	done
}

@test "jail: a killed applet is cleaned up after" {
	for option in --uid=1234 --new-pid-ns; do
		jail "$option"
		kill -KILL "$(applet)"
		status=0
		wait_end || status=$?
		[ "$status" = 137 ]
		grep -q 'the applet was killed by signal 9' "$log"
		nothing_left
	done
}

@test "jail: the applet's own end is the launcher's" {
	jail -- --on-disconnect exit
	client config "$socket"
	wait_end
	nothing_left
	fails 3 'cannot open' "$bin" jail --id "$id" --chroot-base-dir "$base" -- blk --socket disk.sock --path /nowhere
	fails 2 'exactly one of' "$bin" jail --id "$id" --chroot-base-dir "$base" -- blk --path "$image"
	nothing_left
}

@test "jail: a killed launcher takes the applet with it, and the id can be used again" {
	cgroup_v2
	for option in --uid=1234 --new-pid-ns; do
		jail "$option" --parent-cgroup "$parent"
		local inside
		inside=$(applet)
		kill -KILL "$pid"
		until_true exited "$inside"
		wait_end || true
		until_true no_process
		jail "$option" --parent-cgroup "$parent"
		reads_image
		stop
		nothing_left
	done
}

@test "jail: two of one id are refused, two ids live side by side" {
	jail
	refused 5 "a jail of this id runs"
	reads_image
	local first=$pid other=$id-b
	launch "$bin" jail --id "$other" --chroot-base-dir "$base" -- blk --socket disk.sock --path "$image" --read-only \
		--lock off
	until_true grep -q "$other is ready" "$log"
	stop
	[ ! -e "$base/vhost-multi/$other" ]
	pid=$first
	reads_image
	stop
	nothing_left
}
