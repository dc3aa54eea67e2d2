#!/usr/bin/env bash
# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# sanity.sh [CORE...]: ansible-test sanity, whole on the newest ansible-core that this machine's Pythons run, and on the oldest
# what differs by its version.

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

run() { # run VENV PYTHON ARGUMENT...: in a copy of the collection
    local venv="$1" python="$2" log="${PWD}/tests/output/sanity.log" status=0 report
    shift 2
    mkdir -p "$(dirname "${log}")"
    "${venv}/bin/ansible-test" sanity --venv --color no --junit --python "${python}" "$@" 2>&1 | tee "${log}" || status=$?
    # Where `make test` counts from.
    [ -z "${RESULTS:-}" ] || for report in tests/output/junit/*.xml; do
        [ ! -e "${report}" ] || mv "${report}" "${RESULTS}/${python}-${report##*/}"
    done
    [ "${status}" -eq 0 ] || die "ansible-test has found faults"
    ! grep -Eq 'All targets skipped|Required program .* not found' "${log}" || die "ansible-test has left something out"
}

"${SETUP}/packages.sh" git shellcheck

# Modules run on the oldest Python too. ansible-test looks for it by its name.
read -r oldest python <<<"$("${SETUP}/python.sh" oldest)"
mkdir -p "${WORK}/build/bin"
ln -sf "${python}" "${WORK}/build/bin/python${oldest}"

for core in "$@"; do
    case "${core}" in
        floor)
            venv="$("${SETUP}/venv.sh" core-floor floor sanity 'ansible-core<2.19')"
            # What it makes of the collection itself. Style and the like are judged once, by the newest, and so is what the oldest
            # Python makes of the modules.
            tests=(--test action-plugin-docs --test ansible-doc --test compile --test import --test runtime-metadata --test validate-modules)
            ;;
        newest)
            venv="$("${SETUP}/venv.sh" core-newest controller sanity)"
            tests=()
            ;;
        *) die "usage: sanity.sh [floor] [newest]" ;;
    esac
    bootstrap "${venv}"
    version="$("${venv}/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
    say "sanity: $("${venv}/bin/ansible-test" --version) on Python ${version}"
    cd "$("${SETUP}/collection.sh" copy "sanity-${core}")"
    run "${venv}" "${version}" "${tests[@]}"
    if [ "${core}" = newest ] && [ "${oldest}" != "${version}" ]; then
        say "sanity: what Python ${oldest} makes of it"
        PATH="${WORK}/build/bin:${PATH}" run "${venv}" "${oldest}" --test compile --test import
    fi
done
say "sanity: passed"
