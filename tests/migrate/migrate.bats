#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# A guest that reads and writes all the time moves from one QEMU to another, each with a back-end of its own on the same
# image. What the guest has in its page cache was written there by the back-end: only the dirty log brings it over.
#
# MIGRATIONS=20 moves it that often. Not a part of `make check`: without KVM a guest does not always survive that QEMU moves it,
# with whatever disk; GUEST_QEMU=PATH takes another QEMU.

setup_file() {
	# shellcheck source=tests/guest/lib.bash
	. "$BATS_TEST_DIRNAME/../guest/lib.bash"
	"$guest_tests/prepare" qemu > >(sed 's/^/# /' >&3)
	pattern made-by-the-host "$disk_mib" >"$BATS_FILE_TMPDIR/known"
}

setup() {
	# shellcheck source=tests/guest/lib.bash
	. "$BATS_TEST_DIRNAME/../guest/lib.bash"
	folder=$BATS_TEST_TMPDIR
	image=$folder/disk.img
	cp "$BATS_FILE_TMPDIR/known" "$image"
	qemus=() backends=()
	postcopy=''
	patience=300
}

teardown() {
	if [ ${#qemus[@]} -gt 0 ]; then # each ends its QEMU
		kill "${qemus[@]}" || true
		wait "${qemus[@]}" || true
	fi
	[ ${#backends[@]} = 0 ] || kill -KILL "${backends[@]}" || true
	tail -n 3 "$folder"/*.log || true
}

# The Nth place: a back-end, and a QEMU that is booted or, if N > 0, waits for the guest.
open_place() { # N DEVICE-PROPERTIES
	local at=$folder/$1 incoming=()
	start_backend "$at" "$image"
	backends[$1]=$backend_pid
	[ "$1" = 0 ] || incoming=(-incoming "unix:$at.migration")
	"$guest_tests/run-qemu" --disk "$at$2" --log "$at.guest.log" --pidfile "$at.pid" --timeout 900 run=blk \
		steps=show,move text=moving -- -qmp "unix:$at.monitor,server=on,wait=off" "${incoming[@]}" \
		>"$at.qemu.log" 2>&1 3>&- &
	qemus[$1]=$!
	until_true listening "$at.monitor"
	[ "$1" = 0 ] || until_true listening "$at.migration"
}

close_place() { # N
	tell "$1" quit || true
	wait "${qemus[$1]}" || true
	unset "qemus[$1]"
	backend_pid=${backends[$1]}
	unset "backends[$1]"
	stop_backend
}

# What the guest has said since it came here.
said() { # N TEXT
	grep -q ": $2" "$folder/$1.guest.log"
}

migration() { # N WORDS: is it one of these?
	tell "$1" 'info migrate' | grep -qiE "status:.*($2)"
}

tell() { # N COMMAND...
	"$BATS_TEST_DIRNAME/monitor" "$folder/$1.monitor" "${@:2}"
}

# From the place N to the next one, slowly enough for the guest to do much meanwhile; what it writes between two looks at it must
# get across while it stands still, also on a busy host.
move() { # N DEVICE-PROPERTIES
	local to=$(($1 + 1)) settings=('migrate_set_parameter max-bandwidth 100M' 'migrate_set_parameter downtime-limit 1000')
	local orders=("migrate -d unix:$folder/$to.migration")
	open_place "$to" "$2"
	if [ -n "$postcopy" ]; then # at once, so that most of its memory comes while it runs there
		tell "$to" 'migrate_set_capability postcopy-ram on'
		settings+=('migrate_set_capability postcopy-ram on' 'migrate_set_parameter max-postcopy-bandwidth 50M')
		orders+=(migrate_start_postcopy)
	fi
	tell "$1" "${settings[@]}" "${orders[@]}"
	until_true migration "$1" 'completed|failed|cancelled' || true
	migration "$1" completed || { tell "$1" 'info migrate' && return 1; }
	until_true said "$to" 'round'
	[ -z "$postcopy" ] || until_true grep 'POSTCOPY_END: .*: 0$' "$folder/$to.log"
	close_place "$1"
}

travel() { # DEVICE-PROPERTIES BACKEND-OPTION...
	local last=${MIGRATIONS:-3}
	backend_options=(--lock-handover "${@:2}")
	open_place 0 "$1"
	until_true said 0 'round 2'
	for ((n = 0; n < last; n++)); do
		move "$n" "$1"
		echo "moved $((n + 1)) times"
	done
	said "$last" 'round' # and it goes on
	echo stop | dd of="$image" bs=1M seek=$((disk_mib - 1)) conv=notrunc status=none
	wait "${qemus[$last]}"
	unset "qemus[$last]"
	guest_verdict "$folder/$last.guest.log"
	close_backend "$last"
}

close_backend() { # N
	backend_pid=${backends[$1]}
	unset "backends[$1]"
	stop_backend
}

@test "migrate: a guest that reads and writes, split rings" {
	travel ,packed=off
}

@test "migrate: a guest that reads and writes, packed rings" {
	travel ,packed=on --packed=on
}

@test "migrate: a guest whose memory comes after it" {
	postcopy=yes
	travel ,packed=off --postcopy=on --log-level=debug
}
