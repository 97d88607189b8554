#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# The back-end inside a Debian guest in QEMU whose root is its initramfs, which pivot_root cannot leave, with its client
# beside it. No device of this host's is involved.
#
# FAULT_ROUNDS (20) is how often huge pages are taken away.

setup_file() {
	# shellcheck source=tests/guest/lib.bash
	. "$BATS_TEST_DIRNAME/lib.bash"
	"$guest_tests/prepare" qemu > >(sed 's/^/# /' >&3)
}

setup() {
	[ -z "${VHOST_MULTI:-}" ] || skip "another build: a sanitizer makes calls of its own"
	# shellcheck source=tests/guest/lib.bash
	. "$BATS_TEST_DIRNAME/lib.bash"
}

# The guest's initramfs, and the programs with what they need put upon it.
pack() { # IMAGE PROGRAM...
	local image=$1 programs=$BATS_TEST_TMPDIR/root
	shift
	mkdir -p "$programs/bin"
	cp "$@" "$programs/bin"
	{ ldd "$@" 2>/dev/null || true; } | grep -o '/[^ :]*' | grep -v "^$guest_root" | sort -u |
		xargs cp --parents -L -t "$programs"
	(cd "$programs" && find . | "$guest_build/busybox" cpio -o -H newc -R 0:0 2>/dev/null | gzip -1) |
		cat "$guest_build/initramfs-qemu.cpio.gz" - >"$image"
}

@test "guest: strict in an initramfs, nothing of which can be reached; and huge pages that go away (M7)" {
	build=$guest_root/build
	pack "$BATS_TEST_TMPDIR/initramfs" "$build"/{vhost-multi,tests/{sandbox-probe,sandbox-fault,vu-client}}
	"$guest_tests/run-qemu" run=root rounds="${FAULT_ROUNDS:-20}" -- -initrd "$BATS_TEST_TMPDIR/initramfs" 3>&-
}
