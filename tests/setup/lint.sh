#!/usr/bin/env bash
# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# lint.sh [SESSION...]: the static checks of noxfile.py and antsibull-nox.toml; all of them, or those named.

# shellcheck source=tests/setup/common.sh
. "$(dirname "$0")/common.sh"

command -v git >/dev/null || "${SETUP}/packages.sh" git
venv="$("${SETUP}/venv.sh" nox controller)"
cd "${ROOT}"
export PATH="${venv}/bin:${PATH}"
options=()
# Where `make test` counts from.
[ -z "${RESULTS:-}" ] || options+=(--report "${RESULTS}/nox.json")
[ "$#" -eq 0 ] || options+=(--session "$@")
exec "${venv}/bin/nox" "${options[@]}"
