#!/usr/bin/env bash
# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# molecule.sh [ARGUMENT...]: the roles' scenarios in extensions/molecule; by default all of them.

# shellcheck source=tests/setup/common.sh
. "$(dirname "$0")/common.sh"

[ "$#" -gt 0 ] || set -- test --all
# The hosts of the scenario host_evacuate.
"${SETUP}/packages.sh" @libvirt
venv="$("${SETUP}/venv.sh" molecule controller)"
"${SETUP}/collection.sh" link >/dev/null
export PATH="${venv}/bin:${PATH}" ANSIBLE_COLLECTIONS_PATH="${WORK}/collections"
# It works only where galaxy.yml is.
cd "${ROOT}"
# Where `make test` counts from.
if [ -n "${RESULTS:-}" ]; then
    molecule "$@" 2>&1 | tee "${RESULTS}/molecule.txt"
else
    exec molecule "$@"
fi
