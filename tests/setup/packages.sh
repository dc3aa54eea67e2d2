#!/usr/bin/env bash
# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# packages.sh PACKAGE|@PURPOSE...: installs the Debian packages that are missing, in one go and without what they only recommend.
# @PURPOSE stands for those that tests/lab/packages.txt has for it.
# packages.sh --lists: fetches the lists of packages anew.
#
# Needs root or sudo only where there is something to do.

# shellcheck source=tests/setup/common.sh
. "$(dirname "$0")/common.sh"

list="${ROOT}/tests/lab/packages.txt"

of_purpose() { # of_purpose PURPOSE: its packages
    awk -v purpose="$1" '
        /^(#|$)/ { next }
        NF < 2 { print FILENAME ": " $1 " has no purpose" >"/dev/stderr"; unclear = 1 }
        { for (i = 2; i <= NF; i++) if ($i == purpose) { print $1; found = 1 } }
        END { exit unclear || !found }' "${list}" || die "${list} names no packages for the purpose $1"
}

apt() {
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || die "not root and no sudo; have this done, then run again: apt-get $*"
        as_root=(sudo)
    fi
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -y -q -o DPkg::Lock::Timeout=300 "$@"
}

hold() { # apt waits for another that installs, but not for one that fetches the lists
    mkdir -p "${WORK}"
    exec {lock}>"${WORK}/packages.lock"
    flock "${lock}"
}

wanted=()
if [ "${1:-}" = --lists ]; then
    hold
    apt update >&2
    exit
fi
for name in "$@"; do
    case "${name}" in
        @*)
            packages="$(of_purpose "${name#@}")"
            mapfile -t -O "${#wanted[@]}" wanted <<<"${packages}"
            ;;
        *) wanted+=("${name}") ;;
    esac
done
missing=()
for package in "${wanted[@]}"; do
    dpkg-query -W -f='${Status}' "${package}" 2>/dev/null | grep -q '^install ok installed$' || missing+=("${package}")
done
[ "${#missing[@]}" -gt 0 ] || exit 0
mapfile -t missing < <(printf '%s\n' "${missing[@]}" | LC_ALL=C sort -u)

command -v apt-get >/dev/null || die "this is not Debian or Ubuntu; install what these packages hold, then run again: ${missing[*]}"
hold
say "installing ${missing[*]}"
log="$(mktemp)"
trap 'rm -f "${log}"' EXIT
apt install --no-install-recommends "${missing[@]}" >"${log}" 2>&1 || {
    # The usual reason is that the lists of packages are missing or old.
    apt update >>"${log}" 2>&1 && apt install --no-install-recommends "${missing[@]}" >>"${log}" 2>&1
} || {
    cat "${log}" >&2
    die "could not install ${missing[*]}"
}
