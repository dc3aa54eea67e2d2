#!/usr/bin/env bash
# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# python.sh list|oldest|newest|controller|floor|NAME: the Pythons of this machine that the project supports.
#
#   list        every one found, oldest first: version, path
#   oldest      the oldest, from 3.9 on: what a host with RHEL 9 has
#   newest      the newest
#   controller  the newest that a supported ansible-core runs on
#   floor       the oldest that the oldest supported ansible-core (2.18) runs on

# shellcheck source=tests/setup/common.sh
. "$(dirname "$0")/common.sh"

find_all() {
    local dir path version
    {
        tr ':' '\n' <<<"${PATH}"
        printf '%s\n' "${PYENV_ROOT:-${HOME}/.pyenv}"/versions/*/bin "${HOME}"/.local/share/uv/python/*/bin
    } | while read -r dir; do
        for path in "${dir}"/python3 "${dir}"/python3.[0-9] "${dir}"/python3.[0-9][0-9]; do
            [ -x "${path}" ] || continue
            # A virtual environment is somebody's, and a shim may stand for nothing: ask the interpreter itself.
            version="$("${path}" -c 'if True:
                import sys
                if sys.prefix == sys.base_prefix and sys.version_info >= (3, 9) and sys.version_info.releaselevel == "final":
                    print("%d.%d" % sys.version_info[:2], sys.executable)' 2>/dev/null)" || continue
            [ -n "${version}" ] && printf '%s\n' "${version}"
        done
    done | sort -t. -k2,2n -s | awk '!seen[$1]++'
}

between() { # between LOWEST HIGHEST: minor versions
    find_all | awk -v low="$1" -v high="$2" '{ split($1, v, "."); if (v[2] >= low && v[2] <= high) print }'
}

case "${1:-list}" in
    list) between 9 99 ;;
    oldest) between 9 99 | head -n 1 ;;
    newest) between 9 99 | tail -n 1 ;;
    controller) between 11 14 | tail -n 1 ;;
    floor) between 11 13 | head -n 1 ;;
    *) die "usage: python.sh list|oldest|newest|controller|floor" ;;
esac
