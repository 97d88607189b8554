#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# The empty root, whatever root the process is started in: a chroot, one whose mount pivot_root cannot leave; and what is
# said where the host allows no way to it. tests/guest/root.bats starts it in an initramfs.

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
	set_up_users
}

teardown() {
	tear_down_users
}

# A root with nothing but the program, the probe and the disk, and a socket of a name of its own.
make_chroot() {
	chroot=$folder/chroot
	mkdir -p "$chroot/tmp"
	ln "$public"/{vhost-multi,sandbox-probe} "$chroot"
	ln "$image" "$chroot/image"
	chown 65534:65534 "$chroot"
	inner=/${folder##*/}.socket
}

# Starts the applet in the chroot by COMMAND..., and is its client from outside: it is strict, and has an empty root.
serves_in_chroot() { # COMMAND...
	: >"$log"
	launch "$@" /vhost-multi blk --socket "$inner" --path /image
	until_true accepting
	is_locked_in
	socket=$chroot$inner
	reads_image
	stop
	[ ! -e "$socket" ] # its keeper is still where it was
	"$@" /sandbox-probe walls blk --path /image --socket "$inner" --log-level error >"$folder/found" 3>&-
	walls_stand
}

is_locked_in() {
	[ "$(sandbox_line)" = "sandbox: strict" ]
	[ "$(id -u)" = 0 ] || return 0
	grep -E ' / / ro,nosuid,nodev,noexec.* - tmpfs ' "/proc/$pid/mountinfo"
	[ "$(wc -l <"/proc/$pid/mountinfo")" = 1 ]
	[ -z "$(ls -A "/proc/$pid/root/")" ]
}

walls_stand() {
	cat "$folder/found"
	not grep ' CAN: ' "$folder/found"
	[ "$(grep -c ' cannot: empty root' "$folder/found")" -ge 10 ]
}

# What is mounted in the process's namespace, its cover taken away.
uncovered_mounts() {
	"$python" -c 'import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
proc = os.open("/proc", os.O_PATH)
namespace = os.open(f"/proc/{sys.argv[1]}/ns/mnt", os.O_RDONLY)
def must(result):
    assert result == 0, os.strerror(ctypes.get_errno())
must(libc.setns(namespace, 0))
must(libc.umount2(b"/", 2))
must(libc.setns(namespace, 0))
with open(os.open("self/mountinfo", os.O_RDONLY, dir_fd=proc)) as table:
    print(table.read(), end="")' "$1"
}

@test "sandbox: strict in a chroot that is no mount point, and others see no mount of it" {
	needs_root
	own_mounts shared
	make_chroot
	cat "/proc/$mounts/mountinfo" >"$folder/before"
	serves_in_chroot "${in[@]}" chroot "$chroot"
	diff "$folder/before" "/proc/$mounts/mountinfo"
	# without /proc and without a folder to mount upon
	[ -z "$(ls -A "$chroot/tmp")" ]
	rmdir "$chroot/tmp"
	serves_in_chroot "${in[@]}" chroot "$chroot"
}

@test "sandbox: strict in a chroot that is a mount point, and in one with mounts in it" {
	needs_root
	own_mounts shared
	make_chroot
	"${in[@]}" mount --bind "$chroot" "$chroot"
	cat "/proc/$mounts/mountinfo" >"$folder/before"
	serves_in_chroot "${in[@]}" chroot "$chroot"
	mkdir "$chroot"/{proc,dev}
	"${in[@]}" mount -t proc proc "$chroot/proc"
	"${in[@]}" mount --rbind /dev "$chroot/dev"
	cat "/proc/$mounts/mountinfo" >"$folder/before"
	serves_in_chroot "${in[@]}" chroot "$chroot"
	diff "$folder/before" "/proc/$mounts/mountinfo"
}

@test "sandbox: where pivot_root is refused the old root is covered, and what was mounted below it let go" {
	for user in "${users[@]}"; do
		for error in EINVAL EPERM; do
			become "$user"
			command=("${as[@]}" "$public/sandbox-without" "pivot_root=$error" --)
			serve_by "${command[@]}" "$bin" blk
			is_locked_in
			reads_image
			stop
			"${command[@]}" "$public/sandbox-probe" walls blk --path "$image" --socket "$socket" --log-level error \
				>"$folder/found" 3>&-
			walls_stand
		done
	done
	[ "$(id -u)" = 0 ] || return 0
	own_mounts shared
	mkdir "$folder/with blank"
	"${in[@]}" mount -t tmpfs none "$folder/with blank"
	serve_by "${in[@]}" "$public/sandbox-without" pivot_root -- "$bin" blk
	uncovered_mounts "$pid" >"$folder/mounts"
	cat "$folder/mounts"
	[ "$(wc -l <"$folder/mounts")" = 1 ]
	stop
}

# ---- a root that cannot be had: the line says why, and what helps

# What a host says of itself in /proc/sys/kernel. The rest is as it is.
pretend() { # SYSCTL VALUE
	own_mounts shared
	"${in[@]}" mount -t tmpfs none /proc/sys/kernel
	# shellcheck disable=SC2016 # for the inner shell
	"${in[@]}" sh -c 'echo "$2" >"/proc/sys/kernel/$1"' - "$1" "$2"
}

@test "sandbox: no user namespace: each reason has its line" {
	needs_user_namespaces
	command=("${nobody[@]}" "$public/sandbox-without" privileged_unshare)
	while read -r error advice reason; do
		refuses namespaces "${advice//_/ }" "${reason//_/ }" "${command[@]}" "user_namespace=$error" -- "$bin" blk
	done <<-END
		EPERM or_allow_unprivileged_user_namespaces,_which_a_seccomp_filter Operation_not_permitted
		EINVAL this_kernel_has_no_user_namespaces Invalid_argument
		ENOSPC user.max.user.namespaces No_space_left_on_device
	END
}

@test "sandbox: no user namespace by a sysctl of the distribution, or by AppArmor: the line names it" {
	needs_root # for a /proc/sys of its own
	needs_user_namespaces
	pretend unprivileged_userns_clone 0
	command=("${in[@]}" "${nobody[@]}" "$public/sandbox-without")
	refuses namespaces 'set the sysctl kernel.unprivileged_userns_clone to 1' 'Operation not permitted' \
		"${command[@]}" privileged_unshare user_namespace -- "$bin" blk
	kill -KILL "$mounts"
	pretend apparmor_restrict_unprivileged_userns 1
	command=("${in[@]}" "${nobody[@]}" "$public/sandbox-without")
	for refused in user_namespace=EACCES user_namespace=EPERM; do
		refuses namespaces 'kernel.apparmor_restrict_unprivileged_userns to 0' '' \
			"${command[@]}" privileged_unshare "$refused" -- "$bin" blk
	done
	refuses empty-root 'kernel.apparmor_restrict_unprivileged_userns to 0' 'Permission denied' \
		"${command[@]}" mount=EACCES -- "$bin" blk
}

@test "sandbox: a chroot without privileges, or that may not be left" {
	needs_root # to make one
	make_chroot
	mkdir "$chroot/own"
	chown 65534:65534 "$chroot/own"
	image=/image socket=/own/socket
	refuses namespaces 'in a chroot the kernel allows no user namespaces' 'Operation not permitted' \
		chroot --userspec=65534:65534 "$chroot" /vhost-multi blk
	refuses empty-root 'to leave a chroot takes CAP_SYS_CHROOT, setns and Linux 5.8' 'Invalid argument' \
		"$public/sandbox-without" setns -- chroot "$chroot" /vhost-multi blk
}

@test "sandbox: without privileges and without /proc" {
	needs_root # to take it away
	needs_user_namespaces
	own_mounts shared
	"${in[@]}" mount -t tmpfs none /proc
	refuses namespaces 'mount /proc, which an unprivileged start needs' 'No such file or directory' "${in[@]}" "${nobody[@]}" "$bin" blk
}

@test "sandbox: no mounts: each reason has its line" {
	needs_root
	while read -r refused advice reason; do
		# shellcheck disable=SC2086 # several words
		refuses empty-root "${advice//_/ }" "${reason//_/ }" \
			"$public/sandbox-without" ${refused//,/ } -- "$bin" blk
	done <<-END
		mount the_container_must_allow_mounts:_CAP.SYS.ADMIN Operation_not_permitted
		mount=EACCES the_container_must_allow_mounts:_its_AppArmor Permission_denied
		mount=ENODEV no_tmpfs No_such_device
		pivot_root,chroot must_allow_pivot.root,_or_chroot_with_CAP.SYS.CHROOT Operation_not_permitted
	END
}
