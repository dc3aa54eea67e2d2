#!/usr/bin/env bash
# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# quickstart.sh up libvirt|dummy: makes the pool that examples/quickstart/ describes and shows it.
# quickstart.sh down [libvirt|dummy]: removes all that "up" made; without a name, for both.

# shellcheck source=tests/setup/common.sh
. "$(dirname "$0")/common.sh"

state="${WORK}/quickstart"
lab="${ROOT}/tests/lab/lab"
disks=/var/lib/poolwright-quickstart

play() { # play PROVIDER PLAYBOOK [ARGUMENT...]
    local provider="$1" playbook="$2" requirements=quickstart venv
    shift 2
    [ "${provider}" = dummy ] || requirements=quickstart-libvirt
    venv="$("${SETUP}/venv.sh" "${requirements}" controller)"
    "${SETUP}/collection.sh" link >/dev/null
    cd "${ROOT}"
    ANSIBLE_COLLECTIONS_PATH="${WORK}/collections" ANSIBLE_HOME="${state}/${provider}/ansible" ANSIBLE_REMOTE_TMP="${state}/${provider}/ansible/tmp" \
        "${venv}/bin/ansible-playbook" \
        -i "${state}/${provider}/inventory.yml" "poolwright.virt.${playbook}" "$@"
}

up() {
    local dir="${state}/$1" image
    mkdir -p "${dir}"
    if [ "$1" = libvirt ]; then
        # Before the lab is started: a lab that somebody else has up stays up in the end.
        [ -e "${dir}/inventory.yml" ] || "${lab}" status >/dev/null 2>&1 || touch "${dir}/lab"
        image="$("${lab}" up)"
        cmp --silent "${image}" "${dir}/tiny.qcow2" || cp "${image}" "${dir}/tiny.qcow2"
    fi
    cp "${ROOT}/examples/quickstart/$1.yml" "${dir}/inventory.yml"

    say "bringing the pool to its size"
    play "$1" provision | tee "${dir}/provision.log"
    play "$1" report -e "report_path=${dir}/report.html" -e "pool_report_table=${dir}/report.txt" >"${dir}/report.log" || {
        cat "${dir}/report.log" >&2
        die "no report"
    }
    printf '\n'
    cat "${dir}/report.txt"
    printf '\n'
    if grep -Eq '^localhost .* changed=0 ' "${dir}/provision.log"; then
        printf 'All was as it should be, nothing was changed.\n'
    fi
    printf 'report     %s\n' "${dir}/report.html"
    printf 'inventory  %s\n' "${ROOT}/examples/quickstart/$1.yml"
    printf 'remove it  make quickstart-clean\n'
}

down() {
    local dir="${state}/$1"
    if [ ! -d "${dir}" ] && { [ "$1" = dummy ] || [ ! -d "${disks}" ]; }; then
        say "quickstart with $1: nothing is there"
        return
    fi
    # Without libvirt there are no machines; what is left of them on disk goes below.
    if [ "$1" = libvirt ] && "${lab}" status >/dev/null 2>&1; then
        mkdir -p "${dir}"
        cp "${ROOT}/examples/quickstart/$1.yml" "${dir}/inventory.yml"
        play "$1" teardown -e teardown_pools=demo
    fi
    [ "$1" != libvirt ] || rm -rf "${disks}"
    [ ! -e "${dir}/lab" ] || "${lab}" down
    rm -rf "${dir}"
    rmdir --ignore-fail-on-non-empty "${state}"
    say "quickstart with $1: all removed"
}

usage() { die "usage: $0 up libvirt|dummy, or $0 down [libvirt|dummy]"; }

case "${2:-both}" in
    libvirt)
        # One exception: who is not root has nothing to remove, and needs no password to be told so.
        if [ "$(id -u)" -ne 0 ] && { [ "${1:-}" != down ] || [ -d "${state}/libvirt" ] || [ -d "${disks}" ]; }; then
            command -v sudo >/dev/null || die "real machines need root, or sudo; PROVIDER=dummy needs neither"
            exec sudo -- "$0" "$@"
        fi
        ;;
    dummy | both) ;;
    *) usage ;;
esac
case "${1:-}" in
    up)
        [ "${2:-both}" != both ] || usage
        up "$2"
        ;;
    down)
        if [ "${2:-both}" = both ]; then
            "$0" down dummy
            exec "$0" down libvirt
        fi
        down "$2"
        ;;
    *) usage ;;
esac
