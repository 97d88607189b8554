#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# The command line: which applet, which options, and what is said about wrong ones.

setup() {
	# shellcheck source=tests/lib/lib.bash
	. "$BATS_TEST_DIRNAME/lib/lib.bash"
	set_up
}

teardown() { tear_down; }

# The command prints a line like this on standard output and succeeds.
prints() { # PATTERN COMMAND...
	local pattern=$1
	shift
	"$@" >"$folder/out" 2>"$folder/err" </dev/null
	[ ! -s "$folder/err" ]
	grep -qE -- "$pattern" "$folder/out"
}

@test "cli: alone it says what it is and names its applets" {
	prints '^Usage: vhost-multi ' "$bin"
	prints '^  blk +a disk' "$bin"
	prints '^  blk +a disk' "$bin" --help
	prints '^  blk +a disk' "$bin" -h
}

@test "cli: --list names the applets, one a line" {
	prints '^blk$' "$bin" --list
	[ "$("$bin" --list | wc -w)" = "$("$bin" --list | wc -l)" ]
}

@test "cli: --version, before and behind the applet" {
	prints '^vhost-multi [^ ]+$' "$bin" --version
	prints '^vhost-multi [^ ]+$' "$bin" -V
	prints '^vhost-multi [^ ]+$' "$bin" blk --version
}

@test "cli: an applet's help, however it is asked for" {
	"$bin" blk --help >"$folder/help"
	cmp "$folder/help" <("$bin" --help blk)
	cmp "$folder/help" <("$bin" -h blk)
	cmp "$folder/help" <("$bin" blk -h)
	cmp "$folder/help" <("$bin" vhost-blk --help)
	for option in path read-only direct cache discard lock engine block-size serial num-queues queue-size \
		socket fd connect socket-mode socket-user socket-group on-disconnect workers cpus sandbox user group netns sandbox-report \
		log-level print-capabilities; do
		grep -q -- " --$option" "$folder/help"
	done
}

@test "cli: a symlink's name chooses the applet" {
	ln -s "$bin" "$folder/vhost-blk"
	cmp <("$folder/vhost-blk" --help) <("$bin" blk --help)
	prints 'read-only' "$folder/vhost-blk" --print-capabilities
	(cd "$folder" && PATH=.:$PATH && prints '^Usage: vhost-multi blk' vhost-blk --help)
}

@test "cli: a symlink of another name is vhost-multi" {
	ln -s "$bin" "$folder/other"
	prints '^blk$' "$folder/other" --list
	prints '^Usage: vhost-multi blk' "$folder/other" blk --help
}

@test "cli: --install -s makes the symlinks, and not twice" {
	mkdir "$folder/links"
	"$bin" --install -s "$folder/links"
	[ "$(find "$folder/links" -type l | wc -l)" = "$("$bin" --list | wc -l)" ]
	prints '^Usage: vhost-multi blk' "$folder/links/vhost-blk" --help
	fails 1 'cannot make the symlink' "$bin" --install -s "$folder/links"
	fails 1 'cannot make the symlink' "$bin" --install -s "$folder/none"
	fails 2 'install' "$bin" --install
}

@test "cli: an unknown applet is 127" {
	fails 127 'nope: no such applet' "$bin" nope
	fails 127 'vhost-nope: no such applet' "$bin" vhost-nope --help
	fails 127 'nope: no such applet' "$bin" --log-level error nope
	fails 127 'no such applet' "$bin" ''
}

@test "cli: global options stand before the applet or behind it" {
	fails 2 '--read-only: no such option' "$bin" --read-only blk
	launch "$bin" --socket "$socket" --socket-mode 0640 blk --path "$image"
	until_true accepting
	[ "$(stat -c %a "$socket")" = 640 ]
	stop
}

@test "cli: --print-capabilities is JSON and ignores all else" {
	for options in "" "--path nowhere" "--socket $folder/none/x --fd 3" "--bogus" "stray words" "--num-queues 0"; do
		# shellcheck disable=SC2086 # words
		"$bin" blk --print-capabilities $options >"$folder/caps"
		# shellcheck disable=SC2086 # words
		cmp "$folder/caps" <("$bin" blk $options --print-capabilities)
		"$python" -m json.tool "$folder/caps" >/dev/null
	done
	cmp "$folder/caps" <("$bin" --print-capabilities blk)
	"$python" - "$folder/caps" <<-'END'
		import json, sys
		caps = json.load(open(sys.argv[1]))
		assert caps == {"type": "block", "features": ["read-only", "blk-file"]}, caps
	END
}

@test "cli: wrong options" {
	fails 2 '--bogus: no such option' "$bin" --bogus
	fails 2 '--bogus: no such option' "$bin" blk --bogus
	fails 2 '-x: no such option' "$bin" blk -x
	fails 2 'stray: options only' "$bin" blk --path "$image" stray
	fails 2 '--read-only takes no argument' "$bin" blk --read-only=yes
	fails 2 'no such option' "$bin" blk --=
	for option in path cache discard lock engine block-size serial num-queues queue-size \
		socket fd connect socket-mode socket-user socket-group on-disconnect workers cpus sandbox user group netns \
		log-level; do
		fails 2 "--$option needs an argument" "$bin" blk "--$option"
	done
	fails 2 '--socket needs an argument' "$bin" blk -s
}

@test "cli: choices that are none of those offered" {
	for option in cache discard lock engine on-disconnect sandbox log-level; do
		for value in bogus '' 'listen|exit' 0; do
			fails 2 "--$option .*: must be one of" "$bin" blk "--$option=$value"
		done
	done
}

@test "cli: numbers out of range, or none" {
	for option in num-queues=0 num-queues=65 queue-size=3 queue-size=65536 block-size=256 block-size=128K \
		workers=0 workers=65 socket-mode=01000 fd=2147483648; do
		fails 2 "--${option%=*} ${option#*=}: must be" "$bin" blk "--$option"
	done
	for option in num-queues queue-size block-size workers socket-mode fd; do
		for value in '' x -1 1x 0x 18446744073709551616 '1 2' +1; do
			fails 2 "--$option .*: not a" "$bin" blk "--$option=$value"
		done
	done
	fails 2 '--num-queues 1K: not a' "$bin" blk --num-queues=1K
	fails 2 '--block-size 99999999999999T: not a' "$bin" blk --block-size=99999999999999T
	for list in ",," -1 3-1 1-x 4096 x; do
		fails 2 "--cpus $list: not a list" "$bin" blk "--cpus=$list"
	done
}

@test "cli: a disk that cannot be had is 3" {
	fails 3 'cannot open .*No such file' "$bin" blk --socket "$socket" --path "$folder/none"
	fails 3 'neither a regular file' "$bin" blk --socket "$socket" --path /dev/null
	fails 3 'cannot open' "$bin" blk --socket "$socket" --path "$folder"
	fails 3 'neither a regular file' "$bin" blk --socket "$socket" --path "$folder" --read-only
	[ ! -e "$socket" ]
}

@test "cli: what is wrong with a disk's options is usage" {
	fails 2 'needs a disk' "$bin" blk --socket "$socket"
	for size in '' x 1Q -1 18446744073709551615 9223372036854775808; do
		fails 2 'needs a size' "$bin" blk --socket "$socket" --path "null:$size"
		fails 2 'needs a size' "$bin" blk --socket "$socket" --path "memory:$size"
	done
	fails 2 '--queue-size 100 is not a power of two' "$bin" blk --socket "$socket" --path null:1M --queue-size 100
	fails 2 '--block-size 1000 is not a power of two' "$bin" blk --socket "$socket" --path null:1M --block-size 1000
	fails 2 'longer than 20 bytes' "$bin" blk --socket "$socket" --path null:1M --serial 123456789012345678901
	fails 2 'lock exclusive needs a disk that can be written' \
		"$bin" blk --socket "$socket" --path "$image" --read-only --lock exclusive
	[ ! -e "$socket" ]
}
