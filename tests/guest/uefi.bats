#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# UEFI firmware boots a guest from a disk that vhost-multi serves: a GPT, an EFI system partition and on it a kernel.
# The firmware drives a transitional device as a legacy one (no VIRTIO_F_VERSION_1), and one that is modern only as that.
#
# GUEST_REPEAT=N runs each test's guest N times.

setup_file() {
	[ "$(uname -m)" = x86_64 ] || return 0
	# shellcheck source=tests/guest/lib.bash
	. "$BATS_TEST_DIRNAME/lib.bash"
	"$guest_tests/prepare" qemu > >(sed 's/^/# /' >&3)
	make_disk "$BATS_FILE_TMPDIR"
}

setup() {
	[ "$(uname -m)" = x86_64 ] || skip "this test's firmware is for x86_64 only"
	# shellcheck source=tests/guest/lib.bash
	. "$BATS_TEST_DIRNAME/lib.bash"
	socket=$BATS_TEST_TMPDIR/socket
	log=$BATS_TEST_TMPDIR/guest.log
	image=$BATS_FILE_TMPDIR/disk
	backend_options+=(--log-level=trace)
}

teardown() {
	[ -z "${backend_pid:-}" ] || stop_backend || true
	[ -z "${socket:-}" ] || grep -vE '(debug|trace): ' "$socket.log" || true
}

# Kernel, initramfs and command line as one EFI application, in the place where firmware looks for one.
make_disk() { # FOLDER
	local folder=$1
	printf %s "$(kernel_parameters)" >"$folder/parameters"
	echo ID=guest >"$folder/release"
	objcopy --add-section ".osrel=$folder/release" --change-section-vma .osrel=0x20000 \
		--add-section ".cmdline=$folder/parameters" --change-section-vma .cmdline=0x30000 \
		--add-section ".linux=$guest_build/vmlinuz" --change-section-vma .linux=0x2000000 \
		--add-section ".initrd=$guest_build/initramfs-qemu.cpio.gz" --change-section-vma .initrd=0x3000000 \
		/usr/lib/systemd/boot/efi/linuxx64.efi.stub "$folder/guest.efi"
	truncate -s "${disk_mib}M" "$folder/disk"
	echo 'start=2048, type=uefi' | sfdisk --quiet --label gpt "$folder/disk"
	mformat -i "$folder/disk@@1M" -T $(((disk_mib - 2) * 2048)) ::
	mmd -i "$folder/disk@@1M" ::/EFI ::/EFI/BOOT
	mcopy -i "$folder/disk@@1M" "$folder/guest.efi" ::/EFI/BOOT/BOOTX64.EFI
}

kernel_parameters() {
	echo "console=ttyS0 no_timer_check panic=-1 quiet mitigations=off cryptomgr.notests$(guest_parameters run=blk steps=show readonly=1 has=9,32)"
}

# The firmware's variables are the test's own, so that no boot order is left of another one.
boot() { # DEVICE-PROPERTIES
	local firmware=/usr/share/OVMF/OVMF
	cp "${firmware}_VARS_4M.fd" "$BATS_TEST_TMPDIR/variables"
	start_backend "$socket" "$image" ro
	timeout --kill-after=2 180 "$(guest_qemu)" -machine q35,memory-backend=mem,smm=off -accel tcg \
		-m 256 -object memory-backend-memfd,id=mem,size=256M,share=on -nodefaults -no-user-config -display none \
		-drive "if=pflash,format=raw,unit=0,readonly=on,file=${firmware}_CODE_4M.fd" \
		-drive "if=pflash,format=raw,unit=1,file=$BATS_TEST_TMPDIR/variables" -no-reboot \
		-chardev "socket,id=disk,path=$socket" -device "vhost-user-blk-pci,chardev=disk,bootindex=1$1" \
		-chardev "stdio,id=console,signal=off,logfile=$log" -serial chardev:console </dev/null >/dev/null 3>&-
	guest_verdict "$log"
	stop_backend
}

legacy_features() {
	grep 'trace: <- SET_FEATURES ' "$socket.log" | grep -qv VERSION_1
}

transitional() {
	boot ,disable-legacy=off,disable-modern=off
	legacy_features
}

modern() {
	boot ,disable-legacy=on
	! legacy_features
}

@test "guest: UEFI firmware boots from a transitional disk, which it drives as a legacy one" {
	repeat transitional
}

@test "guest: UEFI firmware boots from a modern disk" {
	repeat modern
}
