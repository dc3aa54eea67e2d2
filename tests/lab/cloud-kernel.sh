#!/usr/bin/env bash
# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# cloud-kernel.sh: prints the directory that has Debian's cloud kernel in boot/ and its modules in lib/modules/.
#
# The package is unpacked in .work/, not installed: installed, it would make an initramfs, and be what this machine boots next.

# shellcheck source=tests/setup/common.sh
. "$(dirname "$0")/../setup/common.sh"

package=linux-image-cloud-amd64
cache="${WORK}/lab"
kernel="${cache}/kernel"

download() { # the package that the name without a version depends on
    local named
    named="$(apt-cache depends "${package}" | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p')"
    [ -n "${named}" ] && apt-get -q download "${named}"
}

mkdir -p "${cache}"
exec {lock}>"${cache}/kernel.lock"
flock "${lock}"
if [ ! -d "${kernel}" ]; then
    command -v apt-get >/dev/null || die "${package} comes from Debian, and this is neither Debian nor Ubuntu"
    say "fetching Debian's cloud kernel"
    temporary="$(mktemp -d "${cache}/kernel.XXXXXX")"
    trap 'rm -rf "${temporary}"' EXIT
    cd "${temporary}"
    download >log 2>&1 || { "${SETUP}/packages.sh" --lists && download; } >>log 2>&1 || {
        cat log >&2
        die "${package} cannot be fetched"
    }
    dpkg-deb --extract linux-image-*.deb root
    chmod 0755 root
    PATH="${PATH}:/usr/sbin:/sbin" depmod --basedir root "$(basename root/lib/modules/*)"
    mv root "${kernel}"
fi
printf '%s\n' "${kernel}"
