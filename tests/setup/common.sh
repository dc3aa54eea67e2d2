# shellcheck shell=bash
# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Sourced by the scripts beside it: where things are, and how to say so.

set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
WORK="${ROOT}/.work"
SETUP="${ROOT}/tests/setup"
REQUIREMENTS="${ROOT}/tests/requirements"
export ROOT WORK SETUP REQUIREMENTS

# uv resolves every environment under these ranges, and never fetches a Python of its own.
export UV_CONSTRAINT="${REQUIREMENTS}/constraints.txt"
export UV_PYTHON_DOWNLOADS=never
export UV_NO_PROGRESS=1
# What pip is told about this site holds for uv.
[ ! -e /etc/ssl/certs ] || export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-true}"
[ -z "${PIP_INDEX_URL:-}" ] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-${PIP_INDEX_URL}}"
export PATH="${WORK}/venv/tools/bin:${PATH}"

# Every Python keeps what it compiled, whatever this shell says of it, and not between the sources.
unset PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX="${WORK}/cache/bytecode"

say() { printf '== %s\n' "$*" >&2; }

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}
