#!/usr/bin/env bash
# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# sanity.sh [CORE...]: ansible-test sanity, on the oldest and on the newest ansible-core that this machine's Pythons run.

# shellcheck source=tests/setup/common.sh
. "$(dirname "$0")/common.sh"

[ "$#" -gt 0 ] || set -- floor newest

# ansible-test wants to download get-pip.py for its own environments; Python's own bootstrap does the same work.
bootstrap() { # bootstrap VENV
    local cache="${HOME}/.ansible/test/cache" name
    mkdir -p "${cache}"
    "$1/bin/python" - <<'PYTHON' | while read -r name; do
import pathlib, re
import ansible_test._internal.python_requirements as requirements
for version in sorted(set(re.findall(r"""\bpip=['"]([0-9.]+)""", pathlib.Path(requirements.__file__).read_text()))):
    print("get_pip_%s.py" % version.replace(".", "_"))
PYTHON
        [ -e "${cache}/${name}" ] || printf 'import ensurepip\nensurepip.bootstrap(upgrade=True)\n' >"${cache}/${name}"
    done
}

run() { # run VENV ARGUMENT...
    local venv="$1"
    shift
    "${venv}/bin/ansible-test" sanity --venv --color no "$@" 2>&1 | tee "${WORK}/sanity.log"
    ! grep -Eq 'All targets skipped|Required program .* not found' "${WORK}/sanity.log" || die "ansible-test has left something out"
}

"${SETUP}/packages.sh" git shellcheck

# Modules run on the oldest Python too. ansible-test looks for it by its name.
read -r oldest python <<<"$("${SETUP}/python.sh" oldest)"
mkdir -p "${WORK}/build/bin"
ln -sf "${python}" "${WORK}/build/bin/python${oldest}"

for core in "$@"; do
    case "${core}" in
        floor) venv="$("${SETUP}/venv.sh" core-floor floor sanity 'ansible-core<2.19')" ;;
        newest) venv="$("${SETUP}/venv.sh" core-newest controller sanity)" ;;
        *) die "usage: sanity.sh [floor] [newest]" ;;
    esac
    bootstrap "${venv}"
    version="$("${venv}/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
    say "sanity: $("${venv}/bin/ansible-test" --version) on Python ${version}"
    cd "$("${SETUP}/collection.sh" copy)"
    run "${venv}" --python "${version}"
    if [ "${oldest}" != "${version}" ]; then
        say "sanity: what Python ${oldest} makes of it"
        PATH="${WORK}/build/bin:${PATH}" run "${venv}" --python "${oldest}" --test compile --test import
    fi
done
say "sanity: passed"
