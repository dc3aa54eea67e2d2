#!/usr/bin/env bash
# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# quickstart.sh up libvirt|dummy|vsphere: makes the pool that examples/quickstart/ describes and shows it.
# quickstart.sh down [libvirt|dummy|vsphere]: removes all that "up" made; without a name, for all of them.

# shellcheck source=tests/setup/common.sh
. "$(dirname "$0")/common.sh"

state="${WORK}/quickstart"
lab="${ROOT}/tests/lab/lab"
vcenter="${ROOT}/tests/lab/vcenter.sh"
disks=/var/lib/poolwright-quickstart

play() { # play PROVIDER PLAYBOOK [ARGUMENT...]
    local provider="$1" playbook="$2" requirements=quickstart venv
    shift 2
    [ "${provider}" = dummy ] || requirements="quickstart-${provider}"
    venv="$("${SETUP}/venv.sh" "${requirements}" controller)"
    "${SETUP}/collection.sh" link >/dev/null
    cd "${ROOT}"
    ANSIBLE_COLLECTIONS_PATH="${WORK}/collections" ANSIBLE_HOME="${state}/${provider}/ansible" ANSIBLE_REMOTE_TMP="${state}/${provider}/ansible/tmp" \
        "${venv}/bin/ansible-playbook" \
        -i "${state}/${provider}/inventory.yml" "poolwright.virt.${playbook}" "$@"
}

start_vcenter() { # start_vcenter DIR: one that simulates its hosts, with a template
    ! "${vcenter}" status "$1" >/dev/null 2>&1 || return 0
    "${vcenter}" up "$1" -vm 1
    # shellcheck source=/dev/null
    (
        . "$1/govc.env"
        govc="$(sed -n 's/^ *"govc": "\(.*\)",$/\1/p' "$1/vcenter.json")"
        "${govc}" vm.clone -vm DC0_C0_RP0_VM0 -on=false debian-13
        "${govc}" vm.markastemplate debian-13
    ) >"$1/template.log" || die "no template: $(cat "$1/template.log")"
}

up() {
    local dir="${state}/$1" image
    mkdir -p "${dir}"
    if [ "$1" = libvirt ]; then
        # Before libvirt is started: one that somebody else has up stays up in the end.
        [ -e "${dir}/inventory.yml" ] || "${lab}" status libvirt >/dev/null 2>&1 || touch "${dir}/lab"
        image="$("${lab}" up libvirt image)"
        cmp --silent "${image}" "${dir}/tiny.qcow2" || cp "${image}" "${dir}/tiny.qcow2"
    fi
    [ "$1" != vsphere ] || start_vcenter "${dir}/vcenter"
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
    if grep -Eq '^(localhost|lab) .* changed=0 ' "${dir}/provision.log"; then
        printf 'All was as it should be, nothing was changed.\n'
    fi
    printf 'report     %s\n' "${dir}/report.html"
    printf 'inventory  %s\n' "${ROOT}/examples/quickstart/$1.yml"
    printf 'remove it  make quickstart-clean\n'
}

down() {
    local dir="${state}/$1"
    if [ ! -d "${dir}" ] && { [ "$1" != libvirt ] || [ ! -d "${disks}" ]; }; then
        say "quickstart with $1: nothing is there"
        return
    fi
    # Without libvirt there are no machines; what is left of them on disk goes below.
    if [ "$1" = libvirt ] && "${lab}" status libvirt >/dev/null 2>&1; then
        mkdir -p "${dir}"
        cp "${ROOT}/examples/quickstart/$1.yml" "${dir}/inventory.yml"
        play "$1" teardown -e teardown_pools=demo
    fi
    if [ "$1" = vsphere ] && "${vcenter}" status "${dir}/vcenter" >/dev/null 2>&1; then
        play "$1" teardown -e teardown_pools=demo
        "${vcenter}" down "${dir}/vcenter"
    fi
    [ "$1" != libvirt ] || rm -rf "${disks}"
    [ ! -e "${dir}/lab" ] || "${lab}" down libvirt
    rm -rf "${dir}"
    rmdir --ignore-fail-on-non-empty "${state}"
    say "quickstart with $1: all removed"
}

usage() { die "usage: $0 up libvirt|dummy|vsphere, or $0 down [libvirt|dummy|vsphere]"; }

case "${2:-all}" in
    libvirt)
        # One exception: who is not root has nothing to remove, and needs no password to be told so.
        if [ "$(id -u)" -ne 0 ] && { [ "${1:-}" != down ] || [ -d "${state}/libvirt" ] || [ -d "${disks}" ]; }; then
            command -v sudo >/dev/null || die "real machines need root, or sudo; PROVIDER=dummy and PROVIDER=vsphere need neither"
            exec sudo -- "$0" "$@"
        fi
        ;;
    dummy | vsphere | all) ;;
    *) usage ;;
esac
case "${1:-}" in
    up)
        [ "${2:-all}" != all ] || usage
        up "$2"
        ;;
    down)
        if [ "${2:-all}" = all ]; then
            "$0" down dummy
            "$0" down vsphere
            exec "$0" down libvirt
        fi
        down "$2"
        ;;
    *) usage ;;
esac
