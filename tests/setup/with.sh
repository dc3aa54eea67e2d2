#!/usr/bin/env bash
# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# with.sh newest|floor COMMAND...: runs a command from the checkout's root with this collection and its libraries at hand,
# under the newest or under the oldest supported ansible-core.

# shellcheck source=tests/setup/common.sh
. "$(dirname "$0")/common.sh"

core="${1:-}"
[ "$#" -lt 2 ] || shift
case "${core}" in
    newest) venv="$("${SETUP}/venv.sh" dev controller)" ;;
    floor) venv="$("${SETUP}/venv.sh" dev-floor floor dev 'ansible-core<2.19')" ;;
    *) die "usage: with.sh newest|floor COMMAND..." ;;
esac
"${SETUP}/collection.sh" link >/dev/null
cd "${ROOT}"
export PATH="${venv}/bin:${PATH}" ANSIBLE_COLLECTIONS_PATH="${WORK}/collections"
say "ansible-core $("${venv}/bin/python" -c 'import ansible.release; print(ansible.release.__version__)'): $*"
exec "$@"
