#!/usr/bin/env bash
# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# unit.sh oldest|newest [PYTEST ARGUMENT...]: the unit tests, on the oldest or on the newest Python of this machine.

# shellcheck source=tests/setup/common.sh
. "$(dirname "$0")/common.sh"

case "${1:-}" in
    oldest | newest) which="$1" ;;
    *) die "usage: unit.sh oldest|newest [PYTEST ARGUMENT...]" ;;
esac
shift
"${SETUP}/packages.sh" @unit
"${SETUP}/collection.sh" link >/dev/null
cd "${ROOT}"
read -r version python <<<"$("${SETUP}/python.sh" "${which}")"
venv="$("${SETUP}/venv.sh" "unit-${version}" "${python}" unit)"
say "unit tests on Python ${version}"
exec "${venv}/bin/python" -m pytest --numprocesses auto tests/unit "$@" </dev/null
