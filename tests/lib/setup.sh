# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2154 # $top, $work, $log, $jobs, say and die are the caller's
# What ./check and ./try share: packages, builds, the guests' image. Sourced, not run.
# The caller has set top (this tree), work (top/build), log (where logs go), jobs (how many make runs) and defined
# say MESSAGE and die MESSAGE (which ends it).

# Whatever ran before us: no questions, no foreign language in messages that are looked at, and a tree
# that belongs to another user (a CI's checkout) is still ours to read.
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0=$top
unset CDPATH MAKEFLAGS MAKELEVEL DESTDIR
PATH=$PATH:/usr/sbin:/sbin

# missing_packages [run]: what of deps.list is not installed; with "run" only what the product and a try
# of it need, which is the list's first part.
missing_packages() {
	local p
	while read -r p; do
		case $p in
		'# checks') [ "${1:-}" != run ] || return 0 ;;
		'' | '#'*) ;;
		*) dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || echo "$p" ;;
		esac
	done <"$top/tests/lib/deps.list"
}

# deps [run]: install what is missing.
deps() {
	local missing
	command -v dpkg-query >/dev/null ||
		die "this installs Debian packages, and here is no dpkg; tests/lib/deps.list names what is needed"
	mapfile -t missing < <(missing_packages "$@")
	[ ${#missing[@]} -gt 0 ] || return 0
	say "installing ${#missing[@]} packages: ${missing[*]}"
	[ "$(id -u)" = 0 ] || die "not root: run 'apt-get install --no-install-recommends ${missing[*]}' first"
	# A package's services must not start on the machine of somebody who only tries or tests.
	local policy=/usr/sbin/policy-rc.d made=0 rc
	if ! [ -e $policy ]; then
		printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy && made=1
		trap 'rm -f /usr/sbin/policy-rc.d' EXIT
	fi
	apt_update && apt-get -o DPkg::Lock::Timeout=300 -o APT::Sandbox::User=root install -y -q \
		--no-install-recommends "${missing[@]}" >"$log/deps.log" 2>&1 </dev/null
	rc=$?
	[ $made = 0 ] || { rm -f $policy && trap - EXIT; }
	[ $rc = 0 ] || {
		grep -E '^(E|W):' "$log/deps.log" | tail -5 >&2
		die "installing packages failed; see ${log#"$top"/}/deps.log"
	}
}

apt_update() {
	apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 update -q >"$log/deps.log" 2>&1 </dev/null
}

# build NAME TARGETS CONFIGURE-OPTIONS…: builds in build/NAME.
build() {
	local dir=$work/$1 targets=$2
	shift 2
	[ -x "$top/configure" ] && [ -e "$top/Makefile.in" ] && [ "$top/configure" -nt "$top/configure.ac" ] ||
		(cd "$top" && autoreconf -fi) >"$log/autoreconf.log" 2>&1 </dev/null ||
		{ tail "$log/autoreconf.log" >&2; die "autoreconf failed; see ${log#"$top"/}/autoreconf.log"; }
	mkdir -p "$dir"
	# shellcheck disable=SC2086 # words are meant
	(
		# Two of us at once, by hand and in a lane, would step on each other's files.
		flock 8
		cd "$dir" || exit 1
		[ -e Makefile ] && [ Makefile -nt "$top/configure" ] ||
			"$top/configure" -q --prefix=/usr --sysconfdir=/etc --localstatedir=/var "$@" || exit 1
		for t in $targets; do
			case $t in
			check) make -j"$jobs" check TESTS= || exit 1 ;;
			*) make -j"$jobs" "$t" || exit 1 ;;
			esac
		done
	) 8>"$dir.lock" >"$dir.log" 2>&1 </dev/null || {
		grep -E -A3 'error:|Error|No package' "$dir.log" | head -30 >&2
		die "the build failed; see build/${dir##*/}.log"
	}
}

# stage NAME: build/stage as `make install` makes it, for tests/lib/sandbox --stage.
stage() {
	rm -rf "$work/stage" && mkdir -p "$work/stage"
	make -C "$work/$1" install DESTDIR="$work/stage" >"$log/stage.log" 2>&1 </dev/null ||
		{ tail -5 "$log/stage.log" >&2; die "make install failed; see ${log#"$top"/}/stage.log"; }
}

# What test guests boot; from Debian's packages, so it is made outside of the sandbox, which has no network.
guest_image() {
	"$top/tests/lib/guest-image" >"$log/guest-image.log" 2>&1 </dev/null || {
		tail -5 "$log/guest-image.log" >&2
		die "making the guests' image failed; see ${log#"$top"/}/guest-image.log"
	}
}
