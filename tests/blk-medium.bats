#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# What a disk is made of: block devices and file systems with limits of their own, images that are no disks, fds that were
# handed over, and the other programs that have the image open.

setup() {
	# shellcheck source=tests/lib/lib.bash
	. "$BATS_TEST_DIRNAME/lib/lib.bash"
	set_up
	loop='' partition='' memory='' holder=''
}

teardown() {
	[ -z "$holder" ] || kill -KILL "$holder" || true
	tear_down
	[ -z "$partition" ] || until_true delpart "$loop" 1
	detach
	rm -f "$memory"
}

discard=13

offers() { # BIT
	local features
	features=$(value offered_features features "$socket")
	(((features >> $1) & 1))
}

# ---- how large the blocks are

# What is written is read back.
keeps() { # SECTOR SECTORS
	head -c $(($2 * 512)) /dev/urandom >"$folder/data"
	client write "$socket" "$1" <"$folder/data"
	cmp "$folder/data" <(client read "$socket" "$1" "$2")
}

# And it is in the file or device.
keeps_in() { # PATH SECTOR SECTORS
	keeps "$2" "$3"
	client flush "$socket"
	cmp "$folder/data" <(dd if="$1" bs=512 skip="$2" count="$3" status=none)
}

@test "blk: --direct on a device of any block size" {
	for size in 512 4096 8192 65536; do
		[ "$size" -gt 4096 ] || attach "$image" --sector-size "$size"
		# kernels before 6.15 have none that are larger
		[ "$size" -le 4096 ] || try_attach "$image" --sector-size "$size" || break
		serve_disk "$loop" --direct
		[ "$(value blk_size config "$socket")" = "$size" ]
		keeps_in "$loop" 128 128
		stop
		detach
	done
}

# A file in a file system on the loop device, mounted for this process alone.
serve_in_file_system() { # OPTION...
	launch unshare --mount bash -c "mount '$loop' '$folder/mount' && exec \"\$@\"" - \
		"$bin" blk --socket "$socket" --path "$folder/mount/disk" "$@"
	until_true accepting
}

@test "blk: --direct in a file system of 4096-byte sectors, whatever is in the file" {
	truncate -s 16M "$image"
	attach "$image" --sector-size 4096
	mkfs.ext4 -q -O ^has_journal "$loop"
	mkdir "$folder/mount"
	for content in hole preallocated data; do
		unshare --mount bash -ec "mount '$loop' '$folder/mount'; cd '$folder/mount'; rm -f disk
			case $content in
			hole) truncate -s 1M disk ;;
			preallocated) fallocate -l 1M disk ;;
			data) head -c 1M /dev/urandom >disk ;;
			esac"
		serve_in_file_system --direct
		[ "$(value blk_size config "$socket")" = 4096 ]
		keeps 8 16
		stop
	done
	serve_in_file_system --direct --block-size 512
	wait_end || [ $? = 3 ]
	grep -q -- '--block-size 512: with --direct this disk needs at least 4096' "$log"
	serve_in_file_system # by the page cache as small as ever
	[ "$(value blk_size config "$socket")" = 512 ]
	stop
}

@test "blk: ranges within a block of the device: zeroes are written, discards are of whole blocks" {
	attach "$image" --sector-size 4096
	for engine in sync uring; do
		head -c 1M /dev/urandom | tee "$folder/wanted" >"$loop"
		serve_disk "$loop" --block-size 512 --engine $engine
		while read -r command sector sectors first last; do
			client "$command" "$socket" "$sector" "$sectors"
			dd if=/dev/zero of="$folder/wanted" bs=512 seek="$first" count=$((last - first)) conv=notrunc status=none
		done <<-END
			zeroes 0 1 0 1
			zeroes 19 2 19 21
			zeroes 30 50 30 80
			zeroes 101 3 101 104
			zeroes 200 4 200 204
			zeroes 208 8 208 216
			discard 300 1 0 0
			discard 323 5 0 0
			discard 401 22 408 416
			discard 800 8 800 808
		END
		client flush "$socket"
		cmp "$folder/wanted" <(client read "$socket" 0 2048)
		stop
		cmp "$folder/wanted" "$loop"
	done
}

# ---- what a device can do

@test "blk: a device that can discard and nothing else discards" {
	attach_without_zeroes
	for engine in sync uring; do
		serve_disk "$loop" --engine $engine
		offers $discard
		before=$(stat -c %b "$memory")
		client discard "$socket" 256 512
		[ $((before - $(stat -c %b "$memory"))) = 512 ]
		cmp <(head -c 256K /dev/zero) <(client read "$socket" 256 512)
		client zeroes "$socket" 1024 512
		cmp <(head -c 256K /dev/zero) <(client read "$socket" 1024 512)
		head -c 1M /dev/urandom | client write "$socket" 0
		client flush "$socket"
		# no more at once than the worker should wait for
		[ "$(value max_discard_sectors config "$socket")" = 524288 ]
		stop
	done
	serve_disk "$loop" --read-only
	not offers $discard
	stop
}

@test "blk: a partition can do what its disk can" {
	truncate -s 8M "$image"
	attach "$image"
	addpart "$loop" 1 2048 2048
	partition=${loop}p1
	until_true [ -b "$partition" ]
	head -c 1M /dev/urandom >"$partition"
	sync "$partition"
	serve_disk "$partition"
	offers $discard
	[ "$(value max_write_zeroes_seg config "$socket")" = 64 ]
	before=$(stat -c %b "$image")
	client discard "$socket" 256 512
	[ $((before - $(stat -c %b "$image"))) = 512 ]
	stop
	until_true delpart "$loop" 1
	partition=
}

@test "blk: a write-protected device is not offered for writing" {
	attach "$image" --read-only
	fails 3 '--read-only' "$bin" blk --socket "$socket" --path "$loop"
	serve_disk "$loop" --read-only
	reads_image
	stop
}

@test "blk: what is no whole block at the end is not served, and that is said" {
	truncate -s 1049000 "$image"
	serve
	grep -q 'the last 424 of the disk.s 1049000 bytes are not served: they are no whole block of 512$' "$log"
	truncate -s 1050000 "$image"
	kill -HUP "$pid"
	until_true grep -q 'disk is now 1049600 bytes' "$log"
	grep -q 'the last 400 of the disk.s 1050000 bytes are not served' "$log"
	stop
	truncate -s 1M "$image"
	: >"$log"
	serve
	stop
	not grep -q 'not served' "$log"
}

# ---- what is no disk

@test "blk: an image of another format is served only with --raw" {
	for format in qcow vmdk vdi vhdx vpc qed parallels qcow2; do
		qemu-img create -q -f $format "$folder/$format" 1M
		fails 3 'begins as a .* image does, .*qemu-img convert -O raw.*--raw' \
			"$bin" blk --socket "$socket" --path "$folder/$format"
	done
	serve_disk "$folder/qcow2" --raw
	cmp <(head -c 4096 "$folder/qcow2") <(client read "$socket" 0 8)
	stop
	serve
	# a guest may write so into its own disk
	{ printf 'QFI\xfb'; head -c 508 /dev/zero; } | client write "$socket" 0
	stop
	fails 3 'whose guest has written that, use --raw' "$bin" blk --socket "$socket" --path "$image"
}

# ---- fds

@test "blk: --path fd:N takes what the process was started with" {
	for path in fd:7 /dev/fd/7 /proc/self/fd/7; do
		serve_disk "$path" 7<>"$image"
		keeps_in "$image" 64 8
		stop
	done
	serve_disk fd:7 --direct 7<>"$image"
	keeps_in "$image" 64 8
	stop
	: >"$log"
	serve_disk fd:7 7<"$image"
	grep -q ', read-only, engine' "$log"
	reads_image
	stop
	launch bash -c "exec \"\$@\" <>'$image'" - "$bin" blk --socket "$socket" --path /dev/stdin
	until_true accepting
	keeps_in "$image" 64 8
	[ "$(readlink "/proc/$pid/fd/0")" != "$image" ]
	stop
	fails 3 'fd:9: no such file was handed to the process' "$bin" blk --socket "$socket" --path fd:9
	fails 3 'fd:2: is for messages' "$bin" blk --socket "$socket" --path fd:2
	fails 3 'fd:7: was not opened for reading' "$bin" blk --socket "$socket" --path fd:7 7>>"$image"
}

# ---- who else has it

reads_by_qemu() { qemu-io -f raw -r -c 'read 0 512' "$image"; }
copies_by_qemu() { qemu-img convert -f raw -O raw "$image" "$folder/copy"; }
writes_by_qemu() { qemu-io -f raw -c 'write 0 512' "$image"; }

@test "blk: --lock is respected by QEMU's tools" {
	serve
	for tool in reads_by_qemu copies_by_qemu writes_by_qemu; do
		not $tool 2>"$folder/err"
		grep -qi lock "$folder/err"
	done
	stop
	serve --read-only
	reads_by_qemu
	copies_by_qemu
	cmp "$folder/copy" "$image"
	not writes_by_qemu
	stop
	serve --lock shared
	until_true writes_by_qemu # the last one may hold its lock for a moment
	reads_by_qemu
	not copies_by_qemu
	stop
	serve --lock off
	until_true writes_by_qemu
	stop
}

# QEMU's tool has the image open until `release`.
hold() { # QEMU-IO-OPTION...
	mkfifo "$folder/commands"
	qemu-io -f raw "$@" "$image" <"$folder/commands" >"$folder/held" 2>&1 3>&- &
	holder=$!
	exec {commands}>"$folder/commands"
	echo 'read 0 512' >&"$commands"
	until_true grep -q 'read 512/512' "$folder/held"
}

release() {
	echo quit >&"$commands" # who was launched meanwhile has the pipe as well
	exec {commands}>&-
	wait "$holder"
	holder=
	rm "$folder/commands"
}

@test "blk: --lock respects QEMU's tools" {
	in_use='in use by another process'
	hold
	fails 3 "$in_use" "$bin" blk --socket "$socket" --path "$image"
	fails 3 "$in_use" "$bin" blk --socket "$socket" --path "$image" --read-only
	serve --lock shared
	stop
	release
	hold -r
	fails 3 "$in_use" "$bin" blk --socket "$socket" --path "$image"
	serve --read-only
	reads_image
	stop
	# also when the lock is taken late
	: >"$log"
	serve --lock-handover
	client id "$socket" 2>"$folder/err" 3>&- &
	visitor=$!
	until_true grep -q 'waits for the lock of the disk: another process has it' "$log"
	release
	wait $visitor
	stop
}
