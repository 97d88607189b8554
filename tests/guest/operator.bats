#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# A real front-end as an operator starts it: by another user than the back-end's, and with memory that is not shared. The guest is a
# boot sector that the firmware reads from our disk, and that says K.

setup() {
	BATS_TEST_DIRNAME=${BATS_TEST_DIRNAME%/guest} # as if beside the tests without a guest
	# shellcheck source=tests/lib/lib.bash
	. "$BATS_TEST_DIRNAME/lib/lib.bash"
	set_up
	qemu='' public=''
	[ "$(uname -m)" = x86_64 ] || skip "the boot sector is for a PC"
	[ "$EUID" = 0 ] || skip "only root can be another user"
	public=$(mktemp -d /run/vm.XXXXXX)
	chmod 755 "$public"
	install -d -o 1234 "$public/own"
	socket=$public/socket
	# mov dx, 3f8; mov al, 'K'; out dx, al; hlt; and on
	{ printf '\xba\xf8\x03\xb0\x4b\xee\xf4\xeb\xfd'; head -c 501 /dev/zero; printf '\x55\xaa'; } |
		dd of="$image" conv=notrunc status=none
}

teardown() {
	[ -z "$qemu" ] || kill -KILL "$qemu" || true
	tear_down
	[ -z "$public" ] || rm -rf "$public"
}

# Boots as user 1234 of this group.
boot() { # GROUP MEMORY
	setpriv --reuid 1234 --regid "$1" --clear-groups qemu-system-x86_64 -accel tcg -m 64M \
		-machine pc,memory-backend=mem -object "$2,id=mem,size=64M" -display none -monitor none \
		-chardev "socket,id=disk,path=$socket" -device vhost-user-blk-pci,chardev=disk,bootindex=0 \
		-serial "file:$public/own/serial" >"$public/qemu" 2>&1 3>&- &
	qemu=$!
}

# The front-end has gone, and the back-end has said so.
end_qemu() {
	kill "$qemu"
	wait "$qemu" || true
	qemu=
	until_true all_gone
}

says_k() {
	grep -q K "$public/own/serial" 2>/dev/null || { exited "$qemu" && cat "$public/qemu" && return 1; }
}

@test "operator: a QEMU of another user boots from our disk, let in by --socket-group" {
	serve --socket-group 2345 --socket-mode 660
	boot 2345 memory-backend-memfd,share=on
	until_true says_k
	end_qemu
	not grep -E 'warning|error' "$log"
	boot 1234 memory-backend-memfd,share=on
	until_true exited "$qemu"
	grep -q 'Permission denied' "$public/qemu"
	qemu=
	stop
}

@test "operator: memory that the front-end has not shared is told, with the remedy" {
	serve --socket-group 2345 --socket-mode 660 --log-level debug
	boot 2345 memory-backend-ram
	until_true grep -q ' SET_FEATURES' "$log" # which says nothing itself
	end_qemu
	grep -q 'warning: .*has shared no memory.*memory-backend-memfd,share=on.*--memory shared=on' "$log"
	[ "$(grep -c warning "$log")" = 1 ]
	install -o 1234 /dev/null "$public/own/memory"
	boot 2345 "memory-backend-file,mem-path=$public/own/memory,share=off"
	until_true grep -q "warning: all of the guest's memory was empty.*memory-backend-memfd,share=on" "$log"
	end_qemu
	[ "$(grep -c warning "$log")" = 2 ]
	stop
}
