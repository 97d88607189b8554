# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154 # set and used by who sources this
#
# What the tests of the lockdown share, beside lib.bash.

# For setup_file: $public, which teardown_file removes: a place that any user can reach, and what they run in it.
make_public() {
	public=$(mktemp -d /tmp/sandbox.XXXXXX)
	export public
	chmod 711 "$public"
	cp "$BATS_TEST_DIRNAME"/../build/{vhost-multi,tests/{sandbox-probe,sandbox-without,start-time,vu-client}} "$public"
	# without root nothing can be strict where there are none, as in a chroot
	[ "$(id -u)" != 0 ] || setpriv --reuid 65534 --regid 65534 --clear-groups unshare --user true 2>"$public/refusal" ||
		{ sed 's/^/# only root is tried, as there are no user namespaces here: /' "$public/refusal" >&3; return 0; }
	rm "$public/refusal"
}

# For setup: a folder and an image that nobody may use, and who there is to run as.
set_up_users() {
	bin=$public/vhost-multi
	folder=$(mktemp -d "$public/XXXXXX")
	socket=$folder/socket log=$folder/log image=$folder/image
	pid='' helper='' mounts='' in=()
	head -c 1M /dev/urandom >"$image"
	: >"$log"
	nobody=() users=(nobody) # without privileges we are who we are
	if [ "$(id -u)" = 0 ]; then
		nobody=(setpriv --reuid 65534 --regid 65534 --clear-groups --)
		users=(root nobody)
		[ ! -e "$public/refusal" ] || users=(root)
		chown 65534:65534 "$folder" "$image" "$log"
	fi
}

tear_down_users() {
	[ -n "${folder:-}" ] || return 0
	[ -z "$helper" ] || kill -KILL "$helper" || true
	tear_down
	rm -rf "$folder"
}

needs_root() {
	[ "$(id -u)" = 0 ] || skip "needs root"
}

needs_user_namespaces() {
	[ ! -e "$public/refusal" ] || skip "nobody has user namespaces here: $(cat "$public/refusal")"
}

# Sets `as` to what goes in front of a command of this user.
become() { # USER
	as=("${nobody[@]}")
	[ "$1" = nobody ] || as=(setpriv --groups 4 --)
	echo "== $1"
}

# Serves the image by the command, which ends in the program and its applet; options may follow.
serve_by() { # COMMAND...
	: >"$log"
	launch "$@" --socket "$socket" --path "$image"
	until_true accepting
	not exited "$pid"
	keeper=$(pgrep -P "$pid") || true
}

probe() { "$public/sandbox-probe" "$@" 3>&-; }

# Runs a command beside the back-end.
beside() { # COMMAND...
	"$@" </dev/null >>"$log" 2>&1 3>&- &
	helper=$!
}

has_own() { # NAMESPACE
	[ "$(readlink "/proc/$helper/ns/$1")" != "$(readlink "/proc/self/ns/$1")" ]
}

status_of() { # PID KEY
	sed -n "s/^$2:[[:space:]]*//p" "/proc/$1/status"
}

expect_status() { # PID KEY VALUE...
	local is
	is=$(status_of "$1" "$2" | xargs)
	[ "$is" = "${*:3}" ] || { echo "$2 of $1 is '$is', not '${*:3}'"; return 1; }
}

sandbox_line() { sed -n 's/.*: \(sandbox: .*\)/\1/p' "$log"; }

# The command fails with status 5 and says which step, why, and what to do.
refuses() { # STEP ADVICE REASON COMMAND...
	local status=0 step=$1 advice=$2 reason=$3
	shift 3
	timeout 5 "$@" --socket "$socket" --path "$image" >"$folder/err" 2>&1 </dev/null 3>&- || status=$?
	cat "$folder/err"
	[ "$status" = 5 ]
	grep -E "error: sandbox: $step failed \(.*$advice.*\), and --sandbox is strict.*$reason" "$folder/err"
	not grep 'listening on' "$folder/err"
}
