#!/usr/bin/env bash
# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# tools.sh: fetches uv, which makes every other environment. Without root it changes nothing outside .work/.

# shellcheck source=tests/setup/common.sh
. "$(dirname "$0")/common.sh"

tools="${WORK}/venv/tools"
requirement="$(grep '^uv[<>=]' "${UV_CONSTRAINT}")"
# Stages that run beside each other want it at once.
mkdir -p "${WORK}/venv"
exec {lock}>"${WORK}/venv/tools.lock"
flock "${lock}"
[ -x "${tools}/bin/uv" ] && [ "$(cat "${tools}/.made" 2>/dev/null)" = "${requirement}" ] && exit 0

command -v python3 >/dev/null || [ "$(id -u)" -ne 0 ] || "${SETUP}/packages.sh" python3 python3-venv
read -r _ python <<<"$("${SETUP}/python.sh" controller)" || true
[ -n "${python:-}" ] || die "no Python from 3.11 to 3.14 found, which ansible-core needs; on Debian 12, install the packages python3 and python3-venv, then run again"

with_venv() {
    rm -rf "${tools}"
    "${python}" -m venv "${tools}" >/dev/null 2>&1 && "${tools}/bin/pip" install --quiet --disable-pip-version-check "${requirement}"
}

say "making the environment of the tools"
if with_venv; then
    :
elif uv="$(command -v uv)"; then
    rm -rf "${tools}"
    mkdir -p "${tools}/bin"
    ln -s "${uv}" "${tools}/bin/uv"
elif "${python}" -m pip --version >/dev/null 2>&1; then
    rm -rf "${tools}"
    "${python}" -m pip install --quiet --disable-pip-version-check --target "${tools}" "${requirement}"
else
    rm -rf "${tools}"
    [ "$(id -u)" -eq 0 ] || die "${python} has neither venv nor pip, and there is no uv: install the package python3-venv, or uv, then run again"
    "${SETUP}/packages.sh" python3-venv
    with_venv || die "${python} cannot make environments"
fi
printf '%s\n' "${requirement}" >"${tools}/.made"
