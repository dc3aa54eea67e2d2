#!/usr/bin/env bash
# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# gate.sh [STAGE...]: gate.py on a Python of this machine, which is installed where there is none.

# shellcheck source=tests/setup/common.sh
. "$(dirname "$0")/common.sh"

"${SETUP}/tools.sh"
read -r _ python <<<"$("${SETUP}/python.sh" controller)"
"${SETUP}/collection.sh" link >/dev/null
cd "${ROOT}"
PYTHONPATH="${WORK}/collections" exec "${python}" -m ansible_collections.poolwright.virt.tests.setup.gate "$@"
