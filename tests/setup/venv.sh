#!/usr/bin/env bash
# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# venv.sh NAME PYTHON [REQUIREMENT...]: makes .work/venv/NAME and prints its path.
#
# PYTHON is a path or a word that python.sh knows. A REQUIREMENT is a name from tests/requirements/ or a specifier;
# without one, NAME.txt. An environment whose Python and requirements are unchanged is left alone.

# shellcheck source=tests/setup/common.sh
. "$(dirname "$0")/common.sh"

name="$1" python="$2"
shift 2
[ "$#" -gt 0 ] || set -- "${name}"
# First: as root it installs a Python where there is none.
"${SETUP}/tools.sh"
case "${python}" in
    /*) ;;
    *) read -r _ python <<<"$("${SETUP}/python.sh" "${python}")" ;;
esac
[ -n "${python}" ] || die "no suitable Python found for the environment ${name}"

wanted=()
files=("${UV_CONSTRAINT}")
for requirement in "$@"; do
    if [ -f "${REQUIREMENTS}/${requirement}.txt" ]; then
        wanted+=(-r "${REQUIREMENTS}/${requirement}.txt")
        files+=("${REQUIREMENTS}/${requirement}.txt")
    else
        wanted+=("${requirement}")
    fi
done

venv="${WORK}/venv/${name}"
# Stages that run beside each other may want the same environment.
exec {lock}>"${WORK}/venv/${name}.lock"
flock "${lock}"
made="$(printf '%s\n' "$("${python}" -VV)" "${python}" "${wanted[@]}" "$(cat "${files[@]}")" | sha256sum)"
if [ "$(cat "${venv}/.made" 2>/dev/null)" != "${made}" ]; then
    say "making the environment ${name} with ${python}"
    rm -rf "${venv}"
    uv venv --quiet --no-project --python "${python}" "${venv}"
    if grep -q '^libvirt-python' "${files[@]:1}" /dev/null; then
        if [ "$(realpath "${python}")" = "$(realpath /usr/bin/python3)" ]; then
            # Debian has it for its own Python: so no compiler is needed, and none of its other packages comes into the environment.
            "${SETUP}/packages.sh" python3-libvirt
            site="$("${venv}/bin/python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')"
            cp -r /usr/lib/python3/dist-packages/libvirt* "${site}/"
        else
            # It is built here, against the libvirt of this machine.
            "${SETUP}/packages.sh" gcc libvirt-dev pkg-config
        fi
    fi
    uv pip install --quiet --python "${venv}/bin/python" "${wanted[@]}"
    printf '%s\n' "${made}" >"${venv}/.made"
fi
printf '%s\n' "${venv}"
