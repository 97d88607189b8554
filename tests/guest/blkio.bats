#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# A front-end without a guest: libblkio, by way of qemu-img and qemu-io of other Debian releases, uses a disk that vhost-multi
# serves; the host checks the bytes. What it writes is on the disk, and what it reads is what the disk holds.
#
# BACKEND=qsd serves with qemu-storage-daemon instead.

setup_file() {
	# shellcheck source=tests/guest/lib.bash
	. "$BATS_TEST_DIRNAME/lib.bash"
	for release in trixie unstable; do
		"$guest_tests/fetch-qemu" "$release" > >(sed 's/^/# /' >&3)
	done
	pattern made-by-the-host 16 >"$BATS_FILE_TMPDIR/known"
}

setup() {
	# shellcheck source=tests/guest/lib.bash
	. "$BATS_TEST_DIRNAME/lib.bash"
	image=$BATS_TEST_TMPDIR/disk.img
	wanted=$BATS_TEST_TMPDIR/wanted
	socket=$BATS_TEST_TMPDIR/socket
	known=$BATS_FILE_TMPDIR/known
	disk=driver=virtio-blk-vhost-user,path=$socket,cache.direct=on
}

teardown() {
	[ -z "$backend_pid" ] || stop_backend || true
	cat "$socket.log" || true
}

# Runs COMMAND, whose clients are RELEASE's, for each release.
each_release() { # COMMAND...
	for release in trixie unstable; do
		echo "== $release"
		cp "$known" "$image"
		cp "$known" "$wanted"
		"$@"
	done
}

client() { # PROGRAM ARGUMENT...
	timeout 120 "$guest_build/qemu-$release/$1" "${@:2}" 3>&-
}

# The wanted bytes from OFFSET on are now LEN times this one.
want() { # BYTE-IN-OCTAL OFFSET LEN
	head -c "$3" /dev/zero | tr '\0' "\\$1" | dd of="$wanted" bs=512 seek=$(($2 / 512)) conv=notrunc status=none
}

holds_wanted() {
	stop_backend
	cmp "$image" "$wanted"
}

# The whole disk, read and then written.
copies() {
	start_backend "$socket" "$image"
	client qemu-img compare --image-opts "$disk" "driver=raw,file.filename=$known"
	pattern made-by-the-client 16 >"$wanted"
	client qemu-img convert -n --image-opts --target-image-opts "driver=raw,file.filename=$wanted" "$disk"
	holds_wanted
}

@test "libblkio: a whole disk is read and written" {
	each_release copies
}

writes_here_and_there() {
	start_backend "$socket" "$image"
	client qemu-io --image-opts "$disk" -c 'write -P 0xab 512 512' -c 'write -P 0x11 1M 3M' -c 'aio_write -P 0x22 4M 64k' \
		-c 'aio_write -P 0x33 4160k 8k' -c aio_flush -c 'read -P 0xab 512 512' -c 'read -P 0x11 1M 3M' \
		-c 'write -z 6M 96k' -c 'write -z -u 7M 1M' -c 'discard 8M 1M' -c flush -c 'read -P 0 6M 96k' -c 'read -P 0 7M 1M' |
		tee "$BATS_TEST_TMPDIR/said"
	not_said 'failed|error'
	want 253 512 512
	want 21 1048576 3145728
	want 42 4194304 65536
	want 63 4259840 8192
	want 0 6291456 98304
	want 0 7340032 2097152
	holds_wanted
}

not_said() { # PATTERN
	! grep -iE "$1" "$BATS_TEST_TMPDIR/said" || wrong "the client complains"
}

@test "libblkio: writes, write-zeroes and discards here and there" {
	each_release writes_here_and_there
}

# Many requests at once, flushes between them, on all of the disk but its last block, which not every release writes.
benches() {
	start_backend "$socket" "$image"
	client qemu-img bench --image-opts "$disk" -w --pattern=90 -c 4095 -d 64 -s 4096 --flush-interval=512
	client qemu-img bench --image-opts "$disk" -c 4096 -d 128 -s 8192
	want 132 0 $((4095 * 4096))
	holds_wanted
}

@test "libblkio: qemu-img bench with many requests at once" {
	each_release benches
}

refuses_to_write() {
	start_backend "$socket" "$image" ro
	client qemu-io -r --image-opts "$disk" -c 'read 0 16M'
	client qemu-io --image-opts "$disk" -c 'write 0 64k' >"$BATS_TEST_TMPDIR/said" 2>&1 || true
	cat "$BATS_TEST_TMPDIR/said"
	grep -iE 'read-only' "$BATS_TEST_TMPDIR/said"
	holds_wanted
}

@test "libblkio: a read-only disk" {
	each_release refuses_to_write
}
