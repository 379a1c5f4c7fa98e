# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# What the recipes beside this file share. Sourced. A recipe is called with one argument that says which
# variant, and leaves its result in $out; it runs with $work (its own, removed after it), $apt (see apt_setup).
set -eu
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
PATH=$PATH:/usr/sbin:/sbin
: "${apt:?}" "${work:?}" "${out:?}"

die() {
	echo "${0##*/}: $*" >&2
	exit 1
}

# unavailable TEXT: not our fault, and not this machine's: what we need cannot be had here and now.
unavailable() {
	echo "${0##*/}: $*" >&2
	exit 69
}

# mirror CODENAME: where this machine itself gets that suite from, or nothing.
mirror() {
	apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Codename: $1" | head -1
}

# The sources that all is built from. Backports lie beside the suite, on the same mirror.
sources() {
	local main security
	main=$(mirror bookworm) security=$(mirror bookworm-security)
	[ -n "$main" ] || unavailable "this machine's apt has no Debian 12 (bookworm) source to take packages from; add one"
	[ -z "$security" ] || echo "deb $security bookworm-security main"
	printf 'deb %s bookworm main\ndeb %s bookworm-backports main\n' "$main" "$main"
}

# An apt of our own, with its own lists and an empty system: to download with, so that the machine's stays as it is.
apt_setup() {
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
	: >"$apt/status"
	sources >"$apt/sources.list" || exit 69
	cat >"$apt/apt.conf" <<X
Dir::State::Lists "$apt/lists";
Dir::State::status "$apt/status";
Dir::Cache "$apt/cache";
Dir::Etc::SourceList "$apt/sources.list";
Dir::Etc::SourceParts "-";
APT::Sandbox::User "root";
APT::Install-Recommends "false";
Acquire::Retries "3";
Acquire::Languages "none";
X
	export APT_CONFIG=$apt/apt.conf
	if [ -z "$(find "$apt/stamp" -mmin -360 2>/dev/null)" ]; then
		apt-get update -q || unavailable "the package lists cannot be downloaded"
		touch "$apt/stamp"
	fi
}

# unpack DIRECTORY PACKAGE…: download packages and unpack them there.
unpack() {
	local to=$1
	shift
	mkdir -p "$to" "$work/debs"
	(cd "$work/debs" && apt-get download -q "$@") || unavailable "packages cannot be downloaded: $*"
	for deb in "$work"/debs/*.deb; do
		dpkg-deb -x "$deb" "$to"
		rm "$deb"
	done
}
