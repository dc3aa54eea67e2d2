#!/usr/bin/env bash
# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# kvm-pair.sh up|down|status DIR: two KVM hosts on one machine, joined by a bridge, between which guests can migrate.
# kvm-pair.sh on 1|2 DIR COMMAND...: run something on one of them, as it sees its files and its network.
#
# Each is a libvirtd of its own in network, UTS and mount namespaces of its own, and is reached at qemu+tcp://10.77.0.N/system from both.
# DIR/shared is the same directory on both; DIR/local is each one's own. /var/lib/libvirt, /etc/libvirt, /run/libvirt and the logs are too.

# shellcheck source=tests/setup/common.sh
. "$(dirname "$0")/../setup/common.sh"

usage() { die "usage: $0 up|down|status DIR, or $0 on 1|2 DIR COMMAND..."; }

bridge=pw-pair
address() { printf '10.77.0.%s' "$1"; }
space() { printf 'pw-kvm%s' "$1"; }
uri() { printf 'qemu+tcp://%s/system' "$(address "$1")"; }

daemon() { # daemon N: the number of its process, if that runs
    pgrep --exact --pidfile "${dir}/$1/libvirtd.pid" libvirtd 2>/dev/null
}

answers() { ip netns exec "$(space "$1")" virsh --quiet --connect "$(uri "$1")" uri >/dev/null 2>&1; }

wire() { # wire N: a network namespace with one card on the bridge
    ip netns add "$(space "$1")"
    ip link add "${bridge}-$1" type veth peer name eth0 netns "$(space "$1")"
    ip link set "${bridge}-$1" master "${bridge}" up
    ip -n "$(space "$1")" address add "$(address "$1")/24" dev eth0
    ip -n "$(space "$1")" link set eth0 up
    ip -n "$(space "$1")" link set lo up
}

configure() { # configure N: the directories that lie over the system's on this host
    local own="${dir}/$1"
    mkdir -p "${own}"/{run,lib,etc/qemu,log,cache,local} "${dir}/shared" "${dir}/local"
    # The same hosts have the same numbers in each run, and no two the same: libvirt refuses to migrate to itself.
    cat >"${own}/etc/libvirtd.conf" <<CONF
listen_tls = 0
listen_tcp = 1
auth_tcp = "none"
listen_addr = "$(address "$1")"
host_uuid = "7e1f0000-0000-4000-8000-00000000000$1"
CONF
    cat >"${own}/etc/qemu.conf" <<'CONF'
user = "root"
group = "root"
security_driver = "none"
namespaces = []
stdio_handler = "file"
CONF
    printf '127.0.0.1 localhost\n%s kvm1\n%s kvm2\n' "$(address 1)" "$(address 2)" >"${own}/hosts"
}

start() { # start N
    local own="${dir}/$1"
    rm -f "${own}/libvirtd.pid"
    mkdir -p /run/libvirt
    # shellcheck disable=SC2016
    ip netns exec "$(space "$1")" unshare --uts --mount --propagation private setsid bash -c '
        set -e
        own=$1 dir=$2 number=$3
        hostname "kvm${number}"
        for pair in run:/run/libvirt lib:/var/lib/libvirt etc:/etc/libvirt log:/var/log/libvirt cache:/var/cache/libvirt; do
            mount --bind "${own}/${pair%%:*}" "${pair#*:}"
        done
        mount --bind "${own}/local" "${dir}/local"
        mount --bind "${own}/hosts" /etc/hosts
        exec libvirtd --listen --pid-file "${own}/libvirtd.pid"
    ' - "${own}" "${dir}" "$1" </dev/null >"${own}/libvirtd.out" 2>&1 &
}

up() {
    local number
    "${SETUP}/packages.sh" iproute2 procps util-linux
    for number in 1 2; do
        if [ -z "$(daemon "${number}")" ]; then
            ip link show "${bridge}" >/dev/null 2>&1 || ip link add "${bridge}" type bridge
            ip link set "${bridge}" up
            [ -e "/run/netns/$(space "${number}")" ] || wire "${number}"
            configure "${number}"
            start "${number}"
        fi
    done
    for number in 1 2; do
        for _time in {1..150}; do
            answers "${number}" && break
            sleep 0.2
        done
    done
    status
}

down() {
    local number pid
    for number in 1 2; do
        pid="$(daemon "${number}" || true)"
        if [ -n "${pid}" ]; then
            # Guests outlive their libvirtd; these are the lab's.
            for domain in $(ip netns exec "$(space "${number}")" virsh --connect "$(uri "${number}")" list --name); do
                ip netns exec "$(space "${number}")" virsh --quiet --connect "$(uri "${number}")" destroy "${domain}" >/dev/null || true
            done
            kill "${pid}" 2>/dev/null || true
            timeout 30 bash -c "while [ -e '${dir}/${number}/libvirtd.pid' ]; do sleep 0.1; done" || kill -KILL "${pid}" 2>/dev/null || true
        fi
        ip netns delete "$(space "${number}")" 2>/dev/null || true
    done
    ip link delete "${bridge}" 2>/dev/null || true
    rm -rf "${dir}"
}

status() {
    if ! answers 1 || ! answers 2; then die "not both hosts answer; see ${dir}/1/libvirtd.out and ${dir}/2/libvirtd.out"; fi
    say "both hosts answer: $(uri 1) and $(uri 2)"
}

on() { # on N COMMAND...
    local number="$1" pid
    shift
    pid="$(daemon "${number}")" || die "host ${number} does not run"
    exec nsenter --target "${pid}" --mount --uts --net -- "$@"
}

[ "$(id -u)" -eq 0 ] || die "the lab needs root"
case "${1:-}" in
    up | down | status)
        [ "$#" -eq 2 ] || usage
        mkdir -p "$2"
        dir="$(realpath "$2")"
        "$1"
        ;;
    on)
        [ "$#" -ge 4 ] || usage
        dir="$(realpath "$3")"
        on "$2" "${@:4}"
        ;;
    *) usage ;;
esac
