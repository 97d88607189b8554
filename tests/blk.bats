#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# The disk: every option of blk as a front-end and the host see its effect.

setup() {
	# shellcheck source=tests/lib/lib.bash
	. "$BATS_TEST_DIRNAME/lib/lib.bash"
	set_up
	loop=''
}

teardown() {
	tear_down
	[ -z "$loop" ] || losetup -d "$loop"
}

# The device answers a client's command by this status, and lives.
answers() { # STATUS CLIENT-ARGUMENT...
	local wanted=$1
	shift
	not client "$@" 2>"$folder/err"
	grep -q "status $wanted$" "$folder/err"
	kill -0 "$pid"
}

ioerr=1 unsupp=2
# Bits of the features.
ro=5 mq=12 discard=13 write_zeroes=14

offers() { # BIT
	local features
	features=$(value offered_features features "$socket")
	(((features >> $1) & 1))
}

blocks() { stat -c %b "$image"; }

# Writes through the back-end, reads back through it, and finds the bytes on the host.
writes_image() {
	head -c 256K /dev/urandom >"$folder/data"
	client write "$socket" 64 <"$folder/data"
	client flush "$socket"
	cmp "$folder/data" <(client read "$socket" 64 512)
	cmp "$folder/data" <(dd if="$image" bs=512 skip=64 count=512 status=none)
}

@test "blk: --path, --blk-file, --file and -b are one" {
	for option in --path --blk-file --file -b; do
		launch "$bin" blk --socket "$socket" "$option" "$image"
		until_true accepting
		reads_image
		stop
	done
}

@test "blk: a disk in memory keeps what is written, a null disk does not" {
	serve_disk memory:4M
	[ "$(value capacity config "$socket")" = 8192 ]
	client write "$socket" 100 <"$image"
	cmp "$image" <(client read "$socket" 100 2048)
	stop
	serve_disk null:1G
	[ "$(value capacity config "$socket")" = 2097152 ]
	client write "$socket" 100 <"$image"
	[ "$(client read "$socket" 100 2048 | wc -c)" = 1048576 ]
	client discard "$socket" 0 8
	stop
}

@test "blk: a block device, with its own sizes" {
	[ "$(id -u)" = 0 ] || skip "only root can make a block device"
	for sector in 512 4096; do
		loop=$(losetup --find --show --sector-size "$sector" "$image")
		serve_disk "$loop"
		[ "$(value capacity config "$socket")" = 2048 ]
		[ "$(value blk_size config "$socket")" = "$sector" ]
		reads_image
		head -c 64K /dev/urandom | client write "$socket" 64
		client flush "$socket"
		client zeroes "$socket" 512 8
		client discard "$socket" 1024 8
		cmp <(client read "$socket" 0 2048) "$loop"
		stop
		losetup -d "$loop"
		loop=
	done
}

@test "blk: an empty image, one of half a sector, and one that is not whole blocks" {
	for size in 0 100 1000 1048676; do
		truncate -s "$size" "$image"
		serve
		[ "$(value capacity config "$socket")" = $((size / 512)) ]
		answers $ioerr read "$socket" $((size / 512)) 1
		stop
	done
}

@test "blk: --read-only" {
	serve --read-only
	offers $ro
	not offers $discard
	not offers $write_zeroes
	reads_image
	cp "$image" "$folder/copy"
	answers $ioerr write "$socket" 0 <"$folder/copy"
	answers $ioerr discard "$socket" 0 8
	answers $ioerr zeroes "$socket" 0 8
	client flush "$socket"
	stop
	cmp "$image" "$folder/copy"
	serve
	not offers $ro
	stop
}

@test "blk: an image that nobody may write needs --read-only" {
	chmod 400 "$image"
	if [ "$(id -u)" = 0 ]; then # who can write what nobody may
		own_mounts private
		"${in[@]}" mount --bind "$image" "$image"
		"${in[@]}" mount -o remount,ro,bind "$image"
	fi
	command=("${in[@]}" "$bin" blk --socket "$socket" --path "$image")
	fails 3 'cannot open .* for writing; --read-only may help' "${command[@]}"
	launch "${command[@]}" --read-only
	until_true accepting
	reads_image
	stop
}

@test "blk: --direct bypasses the page cache and copes with any address" {
	for engine in sync uring; do
		! left_out "$engine" || continue
		serve --direct --engine $engine
		(($(sed -n 's/^flags:[[:space:]]*//p' "$(image_fdinfo)") & 040000))
		reads_image
		writes_image
		stop
	done
}

# The back-end's open image in /proc.
image_fdinfo() {
	local link
	link=$(find "/proc/$pid/fd" -lname "$image")
	echo "/proc/$pid/fdinfo/${link##*/}"
}

@test "blk: --block-size" {
	for size in 512 1K 4096 64K; do
		serve --block-size $size
		bytes=$(numfmt --from=iec $size)
		[ "$(value blk_size config "$socket")" = "$bytes" ]
		[ $(($(value discard_sector_alignment config "$socket") * 512)) -ge "$bytes" ]
		reads_image
		[ "$bytes" = 512 ] || answers $ioerr read "$socket" 1 1
		stop
	done
}

@test "blk: --serial of up to 20 bytes" {
	for serial in "" x "with space" 12345678901234567890; do
		serve --serial "$serial"
		[ "$(client id "$socket")" = "id=$serial" ]
		stop
	done
}

@test "blk: --num-queues, all of them used" {
	for queues in 1 2 64; do
		serve --num-queues $queues
		[ "$(value queue_num features "$socket")" = $queues ]
		[ "$(value num_queues config "$socket")" = $queues ]
		if [ $queues = 1 ]; then not offers $mq; else offers $mq; fi
		client --queues $queues profile "$socket"
		stop
	done
	serve
	[ "$(value queue_num features "$socket")" = 64 ] # whatever the host's processors
	stop
}

@test "blk: --queue-size" {
	for size in 4 256 32768; do
		serve --queue-size $size
		[ "$(value seg_max --queue-size $size config "$socket")" = $((size - 2 < 126 ? size - 2 : 126)) ]
		client --queue-size $size profile "$socket"
		[ $size = 32768 ] || not client --queue-size $((size * 2)) id "$socket"
		stop
	done
}

@test "blk: --cache says what the guest is told, and when writes are durable" {
	for cache in writeback writethrough; do
		for engine in sync uring; do
			! left_out "$engine" || continue
			launch strace -f -o "$folder/trace" -e trace=pwritev2,fdatasync,io_uring_enter \
				"$bin" blk --socket "$socket" --path "$image" --cache $cache --engine $engine
			tracer=$pid
			until_true listening "$socket"
			[ "$(value writeback config "$socket")" = "$([ $cache = writeback ] && echo 1 || echo 0)" ]
			head -c 4096 "$image" | client write "$socket" 0
			client flush "$socket"
			kill -TERM "$(pgrep -P "$tracer")"
			wait_end
			cat "$folder/trace"
			if [ $engine = sync ]; then
				grep -q 'pwritev2.*= 4096' "$folder/trace"
				grep -q 'fdatasync.*= 0' "$folder/trace"
				[ $cache = writethrough ] || not grep -q 'pwritev2.*RWF_DSYNC' "$folder/trace"
				[ $cache = writeback ] || grep -q 'pwritev2.*RWF_DSYNC' "$folder/trace"
			else
				# a durable write goes by the ring, a cached one does not need to
				[ $cache = writeback ] || not grep -q pwritev2 "$folder/trace"
				[ $cache = writethrough ] || grep -q 'pwritev2.*, 0) = 4096' "$folder/trace"
			fi
		done
	done
}

@test "blk: a driver without FLUSH gets durable writes whatever the cache" {
	launch strace -f -o "$folder/trace" -e trace=pwritev2 \
		"$bin" blk --socket "$socket" --path "$image" --engine sync
	tracer=$pid
	until_true listening "$socket"
	head -c 4096 "$image" | client --without 9 write "$socket" 0
	kill -TERM "$(pgrep -P "$tracer")"
	wait_end
	grep -q 'pwritev2.*RWF_DSYNC' "$folder/trace"
}

@test "blk: --discard=unmap frees the host's space" {
	for engine in sync uring; do
		! left_out "$engine" || continue
		head -c 1M /dev/urandom >"$image"
		sync "$image"
		serve --engine $engine --discard unmap
		offers $discard
		before=$(blocks)
		client discard "$socket" 256 512
		[ $((before - $(blocks))) -ge 512 ]
		cmp <(head -c 256K /dev/zero) <(client read "$socket" 256 512)
		before=$(blocks)
		client zeroes "$socket" 1024 512 unmap
		[ $((before - $(blocks))) -ge 512 ]
		before=$(blocks)
		client zeroes "$socket" 1536 128
		[ "$(blocks)" -ge "$before" ]
		cmp <(head -c 64K /dev/zero) <(client read "$socket" 1536 128)
		stop
		cmp <(head -c 256K /dev/zero) <(dd if="$image" bs=512 skip=1024 count=512 status=none)
	done
}

@test "blk: --discard=ignore takes no space away" {
	serve --discard ignore
	not offers $discard
	sync "$image"
	before=$(blocks)
	answers $unsupp discard "$socket" 0 8
	client zeroes "$socket" 256 512 unmap
	[ "$(blocks)" = "$before" ]
	cmp <(head -c 256K /dev/zero) <(client read "$socket" 256 512)
	[ "$(value max_discard_sectors config "$socket")" = 0 ]
	[ "$(value write_zeroes_may_unmap config "$socket")" = 0 ]
	stop
}

# Both lock options on one image at once.
both() { # OPTIONS OPTIONS
	# shellcheck disable=SC2086 # words
	launch "$bin" blk --socket "$folder/first" --path "$image" $1
	first=$pid
	until_true accepting
	# shellcheck disable=SC2086 # words
	launch "$bin" blk --socket "$socket" --path "$image" $2
	until_true accepting
	status=0
	if listening "$socket"; then stop; else wait_end || status=$?; fi
	pid=$first
	stop
	[ "$status" = 0 ] || { [ "$status" = 3 ] && grep -q 'is in use by another process' "$log" && return 1; }
}

@test "blk: --lock: one writer or many readers" {
	both "--read-only" "--read-only"
	both "--lock off" ""
	both "" "--lock off"
	both "--lock shared" "--lock shared"
	both "--lock shared" "--read-only"
	not both "" ""
	not both "" "--read-only"
	not both "--read-only" ""
	not both "--lock exclusive" "--lock shared"
	not both "--lock shared" "--lock exclusive"
}

@test "blk: --lock sees what other virtual machine software holds" {
	"$python" -c 'import fcntl, struct, sys, time
f = open(sys.argv[1], "r+b")
fcntl.fcntl(f, 37, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 100, 1, 0))
print("locked", flush=True); time.sleep(30)' "$image" >"$folder/holder" 3>&- &
	holder=$!
	until_true grep -q locked "$folder/holder"
	fails 3 'in use by another process' "$bin" blk --socket "$socket" --path "$image"
	kill "$holder"
	wait "$holder" || true
	serve
	stop
}

@test "blk: --engine, and auto says which it took" {
	for engine in sync uring; do
		! left_out "$engine" || continue
		serve --engine $engine
		until_true grep -q "engine $engine\$" "$log"
		reads_image
		writes_image
		stop
	done
	: >"$log"
	serve_disk memory:1M
	until_true grep -q 'engine sync$' "$log"
	stop
	: >"$log"
	serve
	! left_out uring || return 0
	until_true grep -q 'engine uring$' "$log"
	stop
}

@test "blk: where io_uring is forbidden or unknown, auto does without and uring says so" {
	for error in EPERM ENOSYS; do
		without=("$root/build/tests/sandbox-without" "io_uring=$error" --)
		fails 1 '--engine uring: no io_uring can be made' "${without[@]}" "$bin" blk --socket "$socket" --path "$image" \
			--engine uring
		: >"$log"
		launch "${without[@]}" "$bin" blk --socket "$socket" --path "$image"
		until_true accepting
		until_true grep -q 'engine sync (no io_uring: .*)$' "$log"
		reads_image
		stop
	done
}

two_threads_on_cpu_0() {
	[ "$(grep -h Cpus_allowed_list "/proc/$pid/task/"*/status | grep -c '[[:space:]]0$')" -ge 2 ]
}

@test "blk: --workers and --cpus" {
	for workers in 1 2 4; do
		serve --num-queues 4 --workers $workers
		until_true has_threads $((workers + 1))
		client --queues 4 profile "$socket"
		stop
	done
	serve --num-queues 1 --workers 8
	until_true has_threads 2
	stop
	serve --workers 2 --cpus 0
	until_true two_threads_on_cpu_0
	stop
	fails 2 'processor 120 is not there, or not ours to use' "$bin" blk --socket "$socket" --path "$image" --cpus 120
}

@test "blk: as the front-ends of QEMU, Cloud Hypervisor, Firecracker, crosvm and libblkio do it" {
	for engine in sync uring; do
		! left_out "$engine" || continue
		serve --engine $engine
		for profile in qemu cloud-hypervisor firecracker crosvm libblkio; do
			for queues in 1 4; do
				client --profile $profile --queues $queues --regions 2 profile "$socket"
			done
		done
		stop
	done
}

@test "blk: an image that is truncated under us" {
	for engine in sync uring; do
		! left_out "$engine" || continue
		truncate -s 1M "$image"
		serve --engine $engine
		truncate -s 512K "$image"
		answers $ioerr read "$socket" 1024 8
		client read "$socket" 0 8 >/dev/null
		truncate -s 1M "$image"
		client read "$socket" 1024 8 >/dev/null
		stop
	done
}

@test "blk: no space left on the host's disk" {
	[ "$(id -u)" = 0 ] || skip "only root can mount"
	mkdir "$folder/small"
	own_mounts private
	"${in[@]}" mount -t tmpfs -o size=256K none "$folder/small"
	for engine in sync uring; do
		! left_out "$engine" || continue
		truncate -s 0 "$there$folder/small/disk"
		truncate -s 4M "$there$folder/small/disk"
		launch "${in[@]}" "$bin" blk --socket "$socket" --path "$folder/small/disk" --engine $engine
		until_true accepting
		answers $ioerr write "$socket" 0 <"$image"
		client read "$socket" 0 64 >/dev/null
		client discard "$socket" 0 8192
		head -c 64K "$image" | client write "$socket" 0
		client flush "$socket"
		stop
	done
}

@test "blk: the binary is static, position independent, and small" {
	[ -z "${VHOST_MULTI:-}" ] || skip "another build"
	file "$bin" | grep -q 'static-pie linked, .*stripped'
	ldd "$bin" 2>&1 | grep -qE "statically linked|not a dynamic executable"
	[ "$(stat -c %s "$bin")" -lt $((600 * 1024)) ]
}

@test "blk: idle it holds less than 500 KiB" {
	[ -z "${VHOST_MULTI:-}" ] || skip "another build"
	serve
	for visitors in none one; do
		[ $visitors = none ] || client id "$socket"
		pss=$(awk '/^Pss:/ { print $2 }' "/proc/$pid/smaps_rollup")
		echo "after $visitors: $pss KiB"
		[ "$pss" -lt 500 ]
	done
	stop
}

@test "blk: it accepts within 5 ms from its start" {
	[ -z "${VHOST_MULTI:-}" ] || skip "another build"
	# a predecessor's io_uring may hold its lock of the disk for a moment, which is not what is measured
	"$root/build/tests/start-time" 50 "$socket" "$bin" blk --socket "$socket" --path "$image" --lock=off \
		--log-level=error | tee "$folder/times"
	[ "$(sed -E 's/.*accepting_ms=([0-9]+).*/\1/' "$folder/times")" -lt 5 ]
}

@test "blk: front-ends killed during I/O leave nothing behind" {
	for engine in sync uring; do
		! left_out "$engine" || continue
		serve --engine $engine --direct --num-queues 4 --workers 2
		reads_image
		until_true all_gone
		fds=$(fd_count) maps=$(map_count)
		for ((i = 0; i < 20; i++)); do
			"$root/build/tests/vhost-blk-load" --socket "$socket" --rw mix --bs 16384 --depth 32 \
				--queues 4 --seconds 30 >/dev/null 2>&1 3>&- &
			load=$!
			sleep "0.0$((i % 9 + 1))"
			kill -KILL $load
			wait $load || true
		done
		until_true same_resources "$fds" "$maps"
		reads_image
		until_true same_resources "$fds" "$maps"
		stop
	done
}
