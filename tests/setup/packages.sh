#!/usr/bin/env bash
# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# packages.sh PACKAGE...: installs the Debian packages of the list that are missing. Needs root or sudo only then.

# shellcheck source=tests/setup/common.sh
. "$(dirname "$0")/common.sh"

missing=()
for package in "$@"; do
    dpkg-query -W -f='${Status}' "${package}" 2>/dev/null | grep -q '^install ok installed$' || missing+=("${package}")
done
[ "${#missing[@]}" -gt 0 ] || exit 0

command -v apt-get >/dev/null || die "this is not Debian or Ubuntu; install what these packages hold, then run again: ${missing[*]}"
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || die "not root and no sudo; have these packages installed, then run again: ${missing[*]}"
    as_root=(sudo)
fi
say "installing ${missing[*]}"
install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -y -q -o DPkg::Lock::Timeout=300)
log="$(mktemp)"
trap 'rm -f "${log}"' EXIT
"${install[@]}" install --no-install-recommends "${missing[@]}" >"${log}" 2>&1 || {
    # The usual reason is that the lists of packages are missing or old.
    "${install[@]}" update >>"${log}" 2>&1 && "${install[@]}" install --no-install-recommends "${missing[@]}" >>"${log}" 2>&1
} || {
    cat "${log}" >&2
    die "could not install ${missing[*]}"
}
