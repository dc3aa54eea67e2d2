#!/usr/bin/env bash
# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# unit.sh oldest|newest [PYTEST ARGUMENT...]: the unit tests, on the oldest or on the newest Python of this machine.
#
# The oldest runs all of them: what the code uses and an old Python lacks fails there. What a new one takes away or does
# otherwise depends on the code that runs, not on the data: the newest runs every test too, with at most three of its cases.

# shellcheck source=tests/setup/common.sh
. "$(dirname "$0")/common.sh"

which="${1:-}"
case "${which}" in
    oldest) cases=() ;;
    newest) cases=(--most-cases 3) ;;
    *) die "usage: unit.sh oldest|newest [PYTEST ARGUMENT...]" ;;
esac
shift
"${SETUP}/packages.sh" @unit
"${SETUP}/collection.sh" link >/dev/null
cd "${ROOT}"
read -r version python <<<"$("${SETUP}/python.sh" "${which}")"
venv="$("${SETUP}/venv.sh" "unit-${version}" "${python}" unit)"
say "unit tests on Python ${version}"
# A cache of its own: both may run at once.
exec "${venv}/bin/python" -m pytest -o cache_dir=".work/cache/pytest-${version}" --numprocesses auto tests/unit "${cases[@]}" "$@" </dev/null
