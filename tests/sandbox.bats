#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# The lockdown, from outside: what a process has given up when it can be connected to, which system calls each of its
# threads can still make, and what happens on hosts that do not allow all of it. docs/security.md says why.
#
# The lists of calls are tests/sandbox/golden/MACHINE/*; UPDATE_GOLDEN=1 writes them anew, to be looked at and committed.
# FAULT_ROUNDS (100) is how often each kind of guest memory is taken away.

setup_file() {
	# shellcheck source=tests/lib/sandbox.bash
	. "$BATS_TEST_DIRNAME/lib/sandbox.bash"
	make_public
}

teardown_file() {
	rm -rf "$public"
}

setup() {
	[ -z "${VHOST_MULTI:-}" ] || skip "another build: a sanitizer makes calls of its own"
	# shellcheck source=tests/lib/lib.bash
	. "$BATS_TEST_DIRNAME/lib/lib.bash"
	# shellcheck source=tests/lib/sandbox.bash
	. "$BATS_TEST_DIRNAME/lib/sandbox.bash"
	golden=$root/tests/sandbox/golden/$(uname -m)
	set_up_users
	loop='' memory=''
}

teardown() {
	tear_down_users
	detach
	rm -f "${memory:-}"
}

# ---- the system calls

# The processes that there are lists of: the most calls that a thread may have, a name, a command line.
configurations() {
	cat <<-END
		14 blk-uring blk --path $image --engine uring
		13 blk-sync blk --path $image --engine sync
		14 blk-read-only blk --path $image --engine sync --read-only
		14 rng-kernel rng
		14 rng-file rng --source /dev/urandom
		14 console-unix console --port type=unix,path=$folder/console
		14 console-connect console --port type=unix,path=$folder/console,connect
		14 console-pty console --port type=pty
		14 console-terminal console --port type=stdio
		14 console-log console --port type=null,log=$folder/log.txt,log-max=1M
	END
}

# Has each thread of that process tried out; what comes of it goes to $folder/found.
try_out() { # MODE NAME COMMAND-LINE [WHERE]
	local command="$public/sandbox-probe $1 $3 ${4:---socket $socket} --workers 1 --log-level error"
	echo "== $2"
	if [[ $2 = *-terminal ]]; then
		script --quiet --return --command "$command >$folder/found" /dev/null </dev/null 3>&-
	else
		$command </dev/null >"$folder/found" 3>&-
	fi
}

expect_golden() { # FILE THREAD MOST
	sed -nE "s/^$2 //; T; s/ # .*//; p" "$folder/found" | LC_ALL=C sort >"$folder/list"
	[ -z "${UPDATE_GOLDEN:-}" ] || { mkdir -p "$golden" && cp "$folder/list" "$golden/$1"; }
	diff "$golden/$1" "$folder/list"
	[ "$(cut -d ' ' -f 1 "$golden/$1" | uniq | wc -l)" -le "$3" ]
}

@test "sandbox: each thread can make the calls of its list and no other, by any of 1024 numbers and 3 ways" {
	[ -d "$golden" ] || [ -n "${UPDATE_GOLDEN:-}" ] || skip "there are no lists for $(uname -m) yet"
	while read -r most name command; do
		! left_out "$command" || continue
		try_out calls "$name" "$command"
		expect_golden keeper-listening keeper 9
		expect_golden control control 16
		expect_golden "$name.worker" worker "$most"
		[[ ! $name =~ console-(unix|connect|terminal|log) ]] || expect_golden "$name.helper" helper 10
	done < <(configurations)
	try_out calls connect "blk --path $image --engine sync" "--connect $socket"
	expect_golden keeper-calling keeper 7
}

@test "sandbox: postcopy takes one more call, for its userfaultfd" {
	needs_root
	[ -d "$golden" ] || [ -n "${UPDATE_GOLDEN:-}" ] || skip "there are no lists for $(uname -m) yet"
	try_out calls postcopy "blk --path $image --engine sync --postcopy=on"
	expect_golden control-postcopy control 17
	diff <(LC_ALL=C comm -13 "$golden/control" "$golden/control-postcopy" | cut -d ' ' -f 1 | uniq) <(echo ioctl)
	try_out arguments postcopy "blk --path $image --engine sync --postcopy=on"
	not grep -v ' killed: ' "$folder/found"
}

@test "sandbox: a disk that can discard and nothing else takes one more call, for that" {
	needs_root
	[ -d "$golden" ] || [ -n "${UPDATE_GOLDEN:-}" ] || skip "there are no lists for $(uname -m) yet"
	attach_without_zeroes
	try_out calls discard "blk --path $loop --engine sync"
	expect_golden blk-discard.worker worker 14
	diff <(LC_ALL=C comm -13 "$golden/blk-sync.worker" "$golden/blk-discard.worker" | cut -d ' ' -f 1) <(echo ioctl)
	try_out arguments discard "blk --path $loop --engine sync"
	not grep -v ' killed: ' "$folder/found"
}

@test "sandbox: without a userfaultfd postcopy is refused, and the line says what to do" {
	needs_root
	run "${nobody[@]}" "$bin" blk --path "$image" --socket "$socket" --postcopy=on
	[ "$status" = 1 ]
	[[ $output = *"userfaultfd: start as root, give access to /dev/userfaultfd, or set vm.unprivileged_userfaultfd to 1: "* ]]
}

@test "sandbox: --sandbox-report tells the lists, with reasons" {
	[ -d "$golden" ] || skip "there are no lists for $(uname -m) yet"
	for applet in $(configurations | cut -d ' ' -f 3 | uniq); do
		"$bin" "$applet" --sandbox-report >"$folder/report"
		not grep -v ' # .' "$folder/report"
		for thread in control worker; do
			sed -n "s/^$thread \(.*\) # .*/\1/p" "$folder/report" | LC_ALL=C sort -u >"$folder/$thread"
		done
		diff "$golden/control" "$folder/control"
		diff <(LC_ALL=C sort -u "$golden/$applet"-*.worker) "$folder/worker"
	done
}

@test "sandbox: the filters of the program that ships are those" {
	needs_root
	[ "$(status_of self Seccomp)" = 0 ] || skip "the kernel shows filters to nobody who has one, as in most containers"
	[ -d "$golden" ] || skip "there are no lists for $(uname -m) yet"
	for engine in uring sync; do
		! left_out "$engine" || continue
		serve_by "$bin" blk --engine $engine --workers 2
		probe filters "$pid" >"$folder/filters"
		for file in control blk-$engine.worker; do
			# what depends on arguments does not show; each of the two workers shows the same
			diff <(grep -v arg "$golden/$file") \
				<(sed -n "s/^${file#blk-"$engine".} //p" "$folder/filters" | LC_ALL=C sort -u)
		done
		[ "$(grep -c '^worker write' "$folder/filters")" = 2 ]
		reads_image # it has not noticed
		stop
	done
}

@test "sandbox: a call with arguments that its rule does not name kills, as does all else that an intruder wants" {
	while read -r _ name command; do
		! left_out "$command" || continue
		try_out arguments "$name" "$command"
		not grep -v ' killed: ' "$folder/found"
		for thread in keeper control worker; do
			[ "$(grep -c "^$thread killed" "$folder/found")" -gt 50 ]
		done
	done < <(configurations)
}

@test "sandbox: were there no filter, the other walls would stand" {
	for user in "${users[@]}"; do
		become "$user"
		"${as[@]}" "$public/sandbox-probe" walls blk --path "$image" --socket "$socket" --log-level error \
			>"$folder/found" 3>&-
		cat "$folder/found"
		not grep ' CAN: ' "$folder/found"
		[ "$(grep -c ' cannot: ' "$folder/found")" -ge 11 ]
	done
}

@test "sandbox: the io_uring does four things to its one file, two if that is read-only, and can be given no other" {
	needs_io_uring
	ring=(probe ring blk --path "$image" --engine uring --socket "$socket" --workers 1 --log-level error)
	"${ring[@]}" --read-only >"$folder/found"
	# READV, FSYNC; IOSQE_FIXED_FILE
	diff "$folder/found" - <<-END
		ring opcode 1 passes
		ring opcode 3 passes
		ring flags 0x1 pass
	END
	"${ring[@]}" >"$folder/found"
	# and WRITEV, FALLOCATE
	diff "$folder/found" - <<-END
		ring opcode 1 passes
		ring opcode 2 passes
		ring opcode 3 passes
		ring opcode 17 passes
		ring flags 0x1 pass
	END
}

# ---- what the process is

@test "sandbox: no ids, groups, capabilities or new privileges, and a filter, in each thread" {
	for user in "${users[@]}"; do
		become "$user"
		serve_by "${as[@]}" "$bin" blk --workers 3
		[ "$(sandbox_line)" = "sandbox: strict" ]
		[ "$(find "/proc/$pid/task" -mindepth 1 -maxdepth 1 | wc -l)" = 4 ]
		for task in "/proc/$pid/task"/*; do
			thread=$pid/task/${task##*/}
			for set in CapInh CapPrm CapEff CapBnd CapAmb; do
				expect_status "$thread" $set 0000000000000000
			done
			expect_status "$thread" NoNewPrivs 1
			expect_status "$thread" Seccomp 2
			if [ "$(id -u)" = 0 ]; then
				expect_status "$thread" Uid 65534 65534 65534 65534
				expect_status "$thread" Gid 65534 65534 65534 65534
				expect_status "$thread" Groups
			fi
		done
		reads_image
		stop
	done
}

@test "sandbox: the keeper keeps nothing but the way to the socket file" {
	for user in "${users[@]}"; do
		become "$user"
		serve_by "${as[@]}" "$bin" blk
		[ -n "$keeper" ]
		expect_status "$keeper" NoNewPrivs 1
		expect_status "$keeper" Seccomp 2
		for set in CapInh CapAmb; do
			expect_status "$keeper" $set 0000000000000000
		done
		kept=0000000000000000
		[ "$user" != root ] || kept=0000000000000002 # CAP_DAC_OVERRIDE
		for set in CapPrm CapEff; do
			expect_status "$keeper" $set $kept
		done
		[ "$(id -u)" != 0 ] || [ "$(find "/proc/$keeper/fd" -mindepth 1 | wc -l)" = 5 ]
		stop
		[ ! -e "$socket" ]
	done
}

@test "sandbox: killed, its keeper removes the socket file and ends" {
	for user in "${users[@]}"; do
		become "$user"
		serve_by "${as[@]}" "$bin" blk
		stop KILL || true
		until_true exited "$keeper"
		[ ! -e "$socket" ]
	done
	# and without one the process serves on, and ends well
	serve_by "$bin" blk
	kill -KILL "$keeper"
	until_true exited "$keeper"
	reads_image
	stop
}

@test "sandbox: namespaces of its own" {
	needs_root # to look
	for user in "${users[@]}"; do
		become "$user"
		serve_by "${as[@]}" "$bin" blk
		for kind in mnt net ipc uts cgroup $([ "$user" = root ] || echo user); do
			[ "$(readlink "/proc/$pid/ns/$kind")" != "$(readlink "/proc/self/ns/$kind")" ]
		done
		stop
	done
}

@test "sandbox: its root is empty, and cannot be written to" {
	needs_root # to look
	for user in "${users[@]}"; do
		become "$user"
		serve_by "${as[@]}" "$bin" blk
		[ -z "$(ls -A "/proc/$pid/root/")" ]
		[ "$(readlink "/proc/$pid/cwd")" = / ]
		not mkdir "/proc/$pid/root/x" 2>"$folder/err"
		grep 'Read-only file system' "$folder/err"
		[ "$(wc -l <"/proc/$pid/mountinfo")" = 1 ]
		grep -E ' / / ro,nosuid,nodev,noexec.* - tmpfs ' "/proc/$pid/mountinfo"
		stop
	done
}

@test "sandbox: its network has no interface that is up" {
	needs_root # to look
	for user in "${users[@]}"; do
		become "$user"
		serve_by "${as[@]}" "$bin" blk
		nsenter -t "$pid" -n "$python" -c 'import fcntl, socket, struct
names = [name for _, name in socket.if_nameindex()]
probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
up = [n for n in names if struct.unpack("16xh14x", fcntl.ioctl(probe, 0x8913, struct.pack("16s16x", n.encode())))[0] & 1]
print("interfaces:", names, "up:", up)
assert not up'
		stop
	done
}

@test "sandbox: limits" {
	for engine in sync uring; do
		! left_out "$engine" || continue
		for user in "${users[@]}"; do
			become "$user"
			serve_by "${as[@]}" "$bin" blk --engine $engine --num-queues 4
			cat "/proc/$pid/limits"
			for limit in 'data size' 'core file size' 'locked memory' $([ $engine = uring ] || echo processes); do
				grep -E "^Max $limit +0 +0 " "/proc/$pid/limits"
			done
			# 7 at the start, 7 to serve, 4 of a worker and 2 of its io_uring, 5 of a front-end, 3 of each ring, 32 of a message
			fds=$((7 + 7 + 4 + $([ $engine = uring ] && echo 2 || echo 0) + 5 + 3 * 4 + 32))
			grep -E "^Max open files +$fds +$fds " "/proc/$pid/limits"
			stop
		done
	done
}

@test "sandbox: only what it needs is open, whatever it was started with" {
	needs_root # to look
	for user in "${users[@]}"; do
		for engine in sync uring; do
			! left_out "$engine" || continue
			become "$user"
			echo secret >"$folder/secret"
			serve_by "${as[@]}" "$bin" blk --engine $engine --workers 1 8<"$folder/secret" 200<"$folder"
			find "/proc/$pid/fd" -mindepth 1 -printf '%l\n' | sed -E 's/:\[[0-9]+\]$//; s/ \(deleted\)//' |
				LC_ALL=C sort | uniq -c | sed -E 's/^ +//' | LC_ALL=C sort -k 2 >"$folder/fds"
			LC_ALL=C sort -k 2 <<-END | diff "$folder/fds" -
				1 /dev/null
				1 $image
				2 $log
				1 /memfd:vhost-multi-gone
				1 /memfd:vhost-multi-inflight
				$([ $engine = uring ] && echo 7 || echo 6) anon_inode:[eventfd]
				3 anon_inode:[eventpoll]$([ $engine = sync ] || printf '\n1 anon_inode:[io_uring]')
				2 socket
			END
			stop
		done
	done
}

@test "sandbox: the environment is gone" {
	needs_root # to look
	serve_by env SECRET=hunter2 "$bin" blk
	for process in "$pid" "$keeper"; do
		[ "$(tr -d '\0' <"/proc/$process/environ" | wc -c)" = 0 ]
	done
	stop
}

@test "sandbox: nothing that a front-end sends is read before the last filter is loaded" {
	needs_root # strace follows a program that changes its user
	launch strace -f -o "$folder/trace" -e trace=prctl,recvmsg,recvfrom,read,accept4 \
		"$bin" blk --socket "$socket" --path "$image" --engine sync --workers 2
	# a front-end that speaks as soon as it can
	client id "$socket"
	program=$(pgrep -P "$pid")
	threads=$(ls "/proc/$program/task")
	kill "$program" # strace passes no signal on
	wait_end
	grep -E "^(${threads//$'\n'/|}) " "$folder/trace" >"$folder/own"
	grep -E 'PR_SET_SECCOMP|recvmsg|recvfrom|accept4' "$folder/own" | head -n 10
	# two workers and the control thread, which alone reads
	[ "$(grep -c PR_SET_SECCOMP "$folder/own")" = 3 ]
	last=$(grep -n PR_SET_SECCOMP "$folder/own" | tail -n 1 | cut -d : -f 1)
	first=$(grep -nE '(recvmsg|recvfrom|accept4)\(' "$folder/own" | head -n 1 | cut -d : -f 1)
	[ "$last" -lt "$first" ]
	# the keeper, which reads commands of ours
	grep -vE "^(${threads//$'\n'/|}) " "$folder/trace" | grep -oE 'PR_SET_SECCOMP|recv[a-z]+\(' | head -n 2 |
		diff - <(printf 'PR_SET_SECCOMP\nrecvfrom(\n')
}

@test "sandbox: stopped, continued and traced, it goes on" {
	serve_by "$bin" blk
	kill -STOP "$pid"
	sleep 0.1
	kill -CONT "$pid"
	reads_image
	if [ "$(id -u)" = 0 ]; then
		timeout 0.3 strace -f -p "$pid" -o "$folder/trace" || true
		reads_image
	fi
	stop
}

@test "sandbox: another user cannot connect" {
	needs_root
	needs_user_namespaces
	serve_by "${nobody[@]}" "$bin" blk
	not setpriv --reuid 65533 --regid 65533 --clear-groups "$public/vu-client" --timeout 500 id "$socket" 2>"$folder/err"
	grep 'Permission denied' "$folder/err"
	"${nobody[@]}" "$public/vu-client" id "$socket"
	stop
}

@test "sandbox: the same user cannot look into it" {
	needs_user_namespaces
	serve_by "${nobody[@]}" "$bin" blk
	for process in "$pid" "$keeper"; do
		for secret in mem environ fd root; do
			not "${nobody[@]}" cat "/proc/$process/$secret" 2>"$folder/err"
			grep 'Permission denied' "$folder/err"
		done
	done
	stop
}

# ---- hosts that do not allow all of it

# The command, told to do what it can, says that it lacks this and serves.
lacks() { # STEPS COMMAND...
	local steps=$1
	shift
	serve_by "$@" --sandbox best-effort
	sandbox_line
	[ "$(sandbox_line)" = "sandbox: partial, missing $steps" ]
	reads_image
	stop
}

@test "sandbox: a step that the host refuses: strict does not start, best-effort says what is missing" {
	while read -r user call steps advice; do
		# root is who is asked about it, and is not here
		[[ ${users[*]} =~ $user ]] || continue
		become "$user"
		command=("${as[@]}" "$public/sandbox-without" "$call" -- "$bin" blk)
		echo "without $call"
		refuses "${steps%%,*}" "$advice" '' "${command[@]}"
		[ ! -e "$socket" ]
		lacks "$steps" "${command[@]}"
	done <<-END
		root unshare namespaces,empty-root start as root with CAP_SYS_ADMIN
		nobody unshare namespaces,empty-root,bounding start as root with CAP_SYS_ADMIN
		root mount empty-root must allow mounts
		nobody mount empty-root must allow mounts
		root setgroups groups setgroups must be allowed
		root setresuid ids must exist in our user namespace
		nobody bounding bounding SETPCAP
		nobody no_new_privs privileges prctl
		root landlock landlock Linux 5.13
		nobody landlock landlock Linux 5.13
		root setrlimit limits setrlimit
		root seccomp seccomp CONFIG_SECCOMP_FILTER
		nobody seccomp seccomp CONFIG_SECCOMP_FILTER
	END
}

@test "sandbox: in a container that allows neither namespaces nor mounts" {
	needs_root
	capabilities=+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,+net_bind_service,+mknod
	container=(setpriv --bounding-set="-all,$capabilities" "$public/sandbox-without" unshare setns mount pivot_root
		io_uring --)
	refuses namespaces 'start as root with CAP_SYS_ADMIN' 'Operation not permitted' "${container[@]}" "$bin" blk
	serve_by "${container[@]}" "$bin" blk --sandbox best-effort
	[ "$(sandbox_line)" = "sandbox: partial, missing namespaces,empty-root" ]
	for set in CapInh CapPrm CapEff CapBnd CapAmb; do
		expect_status "$pid" $set 0000000000000000
	done
	expect_status "$pid" Uid 65534 65534 65534 65534
	expect_status "$pid" Seccomp 2
	reads_image
	stop
}

@test "sandbox: user namespaces forbidden by a sysctl" {
	needs_user_namespaces
	# the limit is of the user namespace that it is written in, so that the host keeps its own
	# shellcheck disable=SC2016 # for the inner shell
	forbidden=(unshare --user --map-root-user sh -c
		'echo 0 >/proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all "$@"' -)
	refuses namespaces 'raise the sysctl user.max_user_namespaces' 'No space left on device' \
		"${nobody[@]}" "${forbidden[@]}" "$bin" blk
}

@test "sandbox: best effort leaves the mounts of others alone" {
	needs_root
	# in a namespace that may be spoilt, where making another fails but mounts do not
	own_mounts private
	cat "/proc/$mounts/mountinfo" >"$folder/before"
	serve_by "${in[@]}" "$public/sandbox-without" unshare -- "$bin" blk --sandbox best-effort
	diff "$folder/before" "/proc/$mounts/mountinfo"
	[ -e "$there/bin" ]
	stop
}

@test "sandbox: without io_uring auto takes the other engine" {
	for user in "${users[@]}"; do
		become "$user"
		serve_by "${as[@]}" "$public/sandbox-without" io_uring -- "$bin" blk
		grep 'engine sync' "$log"
		[ "$(sandbox_line)" = "sandbox: strict" ]
		reads_image
		stop
		fails 1 '--engine uring: no io_uring can be made; --engine auto does without: Function not implemented' \
			"${as[@]}" "$public/sandbox-without" io_uring -- "$bin" blk --path "$image" --engine uring --socket "$socket"
	done
}

@test "sandbox: nothing is accepted before the keeper is locked in; if it is not, strict does not start" {
	needs_root # strace follows a program that changes its user
	# the keeper alone closes fds twice: it is ended at that, or late
	spoil() { # WHAT OPTION...
		launch strace -f -o "$folder/trace" -e trace=close_range,prctl,accept4 -e "inject=close_range:$1:when=2" \
			"$bin" blk --socket "$socket" --path "$image" "${@:2}"
	}
	spoil signal=KILL
	wait_end && status=0 || status=$?
	[ "$status" = 5 ]
	grep 'error: sandbox: keeper failed (it has ended before it was locked in), and --sandbox is strict' "$log"
	not grep -e accept4 -e 'listening on' "$folder/trace" "$log"
	rm "$socket" "$log" # its keeper was killed

	spoil signal=KILL --sandbox best-effort
	until_true grep -q 'listening on' "$log"
	[ "$(sandbox_line)" = "sandbox: partial, missing keeper" ]
	kill "$(pgrep -P "$pid")"
	wait_end
	rm "$socket" "$log"

	spoil delay_enter=300000
	client id "$socket"
	kill "$(pgrep -P "$pid")"
	wait_end
	last=$(grep -n PR_SET_SECCOMP "$folder/trace" | tail -n 1 | cut -d : -f 1)
	first=$(grep -n 'accept4(' "$folder/trace" | head -n 1 | cut -d : -f 1)
	[ "$last" -lt "$first" ]
}

# ---- options

@test "sandbox: --user and --group" {
	needs_root
	while read -r options; do
		# shellcheck disable=SC2086 # several words
		serve_by "$bin" blk $options
		expect_status "$pid" Uid 12 12 12 12
		[[ $options =~ group ]] && group=34 || group=12
		expect_status "$pid" Gid "$group" "$group" "$group" "$group"
		expect_status "$pid" Groups
		stop
	done <<-END
		--user 12
		--user 12 --group 34
	END
	serve_by "$bin" blk --user daemon --group nogroup
	daemon=$(id -u daemon)
	expect_status "$pid" Uid "$daemon" "$daemon" "$daemon" "$daemon"
	expect_status "$pid" Gid 65534 65534 65534 65534
	stop
	fails 5 '--user nosuchuser: no such user' "$bin" blk --path "$image" --socket "$socket" --user nosuchuser
	fails 5 '--group nosuchgroup: no such group' "$bin" blk --path "$image" --socket "$socket" --group nosuchgroup
}

@test "sandbox: --user and --group are refused to who cannot change ids" {
	for option in --user --group; do
		fails 5 'only root can change them' "${nobody[@]}" "$bin" blk --path "$image" --socket "$socket" $option 12
	done
}

@test "sandbox: --netns joins a network namespace, or fails" {
	needs_root
	beside unshare --net sleep 60
	until_true has_own net
	serve_by "$bin" blk --netns "/proc/$helper/ns/net"
	[ "$(readlink "/proc/$pid/ns/net")" = "$(readlink "/proc/$helper/ns/net")" ]
	[ "$(sandbox_line)" = "sandbox: strict" ]
	stop
	fails 5 '--netns: cannot open /nowhere' "$bin" blk --path "$image" --socket "$socket" --netns /nowhere
	# never in the namespace of the host because it may not leave it
	refuses namespaces root 'Operation not permitted' "${nobody[@]}" "$bin" blk --netns /proc/self/ns/net
}

@test "sandbox: --sandbox none says so" {
	serve_by "$bin" blk --sandbox none
	[ "$(sandbox_line)" = "sandbox: none" ]
	expect_status "$pid" Seccomp "$(status_of self Seccomp)"
	[ -z "$keeper" ]
	reads_image
	stop
	[ ! -e "$socket" ]
}

# ---- guest memory that goes away (M7, M8; huge pages: tests/guest/root.bats, as making them changes a host)

# The front-end writes no zeroes, so a sector of them is from memory that took the place of its own.
has_zeroes() { # FILE
	"$python" -c 'import sys
data = open(sys.argv[1], "rb").read()
sys.exit(all(any(data[i:i + 512]) for i in range(0, len(data), 512)))' "$1"
}

take_memory_away() { # KIND
	for options in '--engine sync' '--engine uring' '--engine sync --direct' '--engine uring --direct'; do
		! left_out "$options" || continue
		echo "== $options"
		# shellcheck disable=SC2086 # several words
		serve_by "$bin" blk $options --workers 2
		reads_image
		until_true all_gone
		[ "$(id -u)" != 0 ] || fds=$(fd_count) maps=$(map_count)
		"$root/build/tests/sandbox-fault" "$socket" "$1" "${FAULT_ROUNDS:-100}"
		grep -q 'guest memory has gone' "$log"
		not grep -E 'ring . (broken|cannot)|refused' "$log" # one reason, told once
		reads_image
		[ "$(id -u)" != 0 ] || until_true same_resources "$fds" "$maps"
		stop
		not has_zeroes "$image"
	done
}

@test "M7: a memfd truncated at a random moment under load" {
	take_memory_away memfd
}

@test "M7: a file in /dev/shm truncated at a random moment under load" {
	take_memory_away shm
}

# ---- what it costs

@test "sandbox: as root and without privileges it accepts, and locked in it answers, within 5 ms from its start" {
	for user in "${users[@]}"; do
		become "$user"
		"${as[@]}" "$public/start-time" 50 "$socket" "$bin" blk --socket "$socket" --path "$image" --lock=off \
			--log-level=error | tr ' ' '\n' >"$folder/times"
		cat "$folder/times"
		# the median; of the answers, which take many steps, the fastest if the host has something else to do as well
		answer=replying_ms
		[ "$(cut -d . -f 1 /proc/loadavg)" = 0 ] || answer=replying_min_ms
		for what in accepting_ms $answer; do
			grep -E "^$what=[0-4]\." "$folder/times"
		done
	done
}

@test "sandbox: idle without privileges it holds less than 500 KiB" {
	needs_root # to look
	needs_user_namespaces
	serve_by "${nobody[@]}" "$bin" blk
	pss=$(awk '/^Pss:/ { print $2 }' "/proc/$pid/smaps_rollup")
	echo "Pss $pss KiB"
	[ "$pss" -lt 500 ]
	stop
}
