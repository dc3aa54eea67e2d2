#!/usr/bin/env bash
# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# libvirtd.sh up|down|status DIR: libvirt on this machine, with the network "default" active.
#
# A libvirt that works already is left as it is. DIR remembers what "up" changed, and "down" takes just that back.

# shellcheck source=tests/setup/common.sh
. "$(dirname "$0")/../setup/common.sh"

[ "$#" -eq 2 ] || die "usage: $0 up|down|status DIR"
here="${ROOT}/tests/lab"
mkdir -p "$2"
dir="$(cd "$2" && pwd)"
state="${dir}/libvirtd"
qemu_conf=/etc/libvirt/qemu.conf
pidfile=/run/libvirtd.pid

virsh() { LC_ALL=C.UTF-8 command virsh --quiet --connect qemu:///system "$@"; }
answers() { virsh uri >/dev/null 2>&1; }
network_is() { # network_is Active|Autostart
    # No pipe into "grep -q": that may end the writer by SIGPIPE, which pipefail then takes for "no".
    grep -Eq "^$1: +yes" <<<"$(virsh net-info default 2>/dev/null)"
}
daemon() { pgrep --exact --pidfile "${pidfile}" libvirtd 2>/dev/null; }

start_network() { # on the first 192.168.*.0/24 that this machine has no route to; what is free may be taken by now, so libvirt has the last word
    local third
    for third in {122..254}; do
        if grep -Fq "192.168.${third}." <<<"$(ip -4 route show)"; then continue; fi
        virsh net-define <(network_xml "${third}") >/dev/null
        if virsh net-start default >/dev/null 2>"${state}/network.err"; then return; fi
        virsh net-undefine default >/dev/null
        grep -Fq 'already in use' "${state}/network.err" || break
    done
    cat "${state}/network.err" >&2
    die "the network default cannot be started"
}

network_xml() { # network_xml THIRD
    # Of what libvirt ships, this leaves out the spanning tree, with which a guest's port is silent for its first 4 s,
    # and dnsmasq's ping of 3 s before each new address, one guest after the other.
    cat <<XML
<network xmlns:dnsmasq='http://libvirt.org/schemas/network/dnsmasq/1.0'>
  <name>default</name>
  <forward mode='nat'/>
  <bridge name='virbr0' stp='off' delay='0'/>
  <ip address='192.168.$1.1' netmask='255.255.255.0'>
    <dhcp><range start='192.168.$1.2' end='192.168.$1.254'/></dhcp>
  </ip>
  <dnsmasq:options><dnsmasq:option value='no-ping'/></dnsmasq:options>
</network>
XML
}

up() {
    if answers && network_is Active; then
        return
    fi
    mkdir -p "${state}"
    local playbook
    # A daemon that answers and has no domain is as its packages left it; one with domains keeps its settings.
    if ! answers || { [ -z "$(virsh list --all --name | xargs)" ] && ! grep -q 'poolwright.virt kvm_host' "${qemu_conf}"; }; then
        say "making this machine a KVM host"
        playbook="$("${SETUP}/venv.sh" quickstart-libvirt controller)/bin/ansible-playbook"
        daemon >"${state}/pid.before" || true
        "${SETUP}/collection.sh" link >/dev/null
        ANSIBLE_COLLECTIONS_PATH="${WORK}/collections" "${playbook}" -i localhost, -e "lab_directory=${dir}" "${here}/kvm-host.yml" \
            >"${dir}/kvm-host.log" 2>&1 || {
            cat "${dir}/kvm-host.log" >&2
            die "this machine could not be made a KVM host"
        }
        if [ ! -d /run/systemd/system ] && [ ! -s "${state}/pid.before" ]; then
            daemon >"${state}/pid"
        fi
    fi
    network_is Active && return
    if [ ! -e "${state}/network" ]; then
        virsh net-dumpxml --inactive default >"${state}/network.xml" 2>/dev/null || rm -f "${state}/network.xml"
        network_is Autostart && touch "${state}/autostart"
        touch "${state}/network"
    fi
    virsh net-undefine default >/dev/null 2>&1 || true
    start_network
    virsh net-autostart default >/dev/null
}

down() {
    if [ ! -d "${state}" ]; then
        say "nothing here was started by the lab"
        return
    fi
    if answers; then
        local running
        running="$(virsh list --name | xargs)"
        [ -z "${running}" ] || die "these domains still run, so libvirt stays up: ${running}"
        if [ -e "${state}/network" ]; then
            virsh net-destroy default >/dev/null 2>&1 || true
            virsh net-undefine default >/dev/null 2>&1 || true
            if [ -e "${state}/network.xml" ]; then
                virsh net-define "${state}/network.xml" >/dev/null
                if [ -e "${state}/autostart" ]; then virsh net-autostart default >/dev/null; fi
            fi
        fi
    fi
    local pid
    pid="$(cat "${state}/pid" 2>/dev/null || true)"
    if [ -n "${pid}" ] && [ "$(daemon || true)" = "${pid}" ]; then
        kill "${pid}"
        # Until its pid file is gone: the process itself stays in the table where nothing like init collects it.
        timeout 300 bash -c "while [ -e ${pidfile} ]; do sleep 0.1; done" || die "libvirtd (${pid}) does not end"
    fi
    if [ -e "${qemu_conf}" ]; then
        sed -i '/^# BEGIN poolwright.virt kvm_host$/,/^# END poolwright.virt kvm_host$/d' "${qemu_conf}"
        if [ -d /run/systemd/system ]; then systemctl try-restart libvirtd.service; fi
    fi
    rm -rf "${state}"
}

status() {
    answers || die "libvirt does not answer"
    network_is Active || die "libvirt answers, but its network default is not active"
    say "libvirt answers and its network default is active"
}

exec {lock}>"${dir}/libvirtd.lock"
case "$1" in
    up | down)
        flock --timeout 1800 "${lock}" || die "another run holds ${dir}/libvirtd.lock"
        # What is started here must not inherit the lock.
        "$1" {lock}>&-
        ;;
    status) status ;;
    *) die "usage: $0 up|down|status DIR" ;;
esac
