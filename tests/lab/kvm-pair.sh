#!/usr/bin/env bash
# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# kvm-pair.sh up|down|status DIR: two KVM hosts on one machine, joined by a bridge, between which guests can migrate.
# kvm-pair.sh on 1|2|net DIR COMMAND...: run something on one of them, as it sees its files and its network, or beside them on their network.
# kvm-pair.sh cut|join|kill 1|2 DIR: take a host's cable out, or put it back; or kill its libvirtd, which `up` starts again.
#
# Each is a libvirtd of its own in network, UTS and mount namespaces of its own, and is reached at qemu+tcp://10.77.0.N/system from both and
# from their network, and at qemu:///system on it. Guests are on that network too, as libvirt's network `default` or the bridge `br0` of
# either host: they get their addresses there, 10.77.0.100 and up, and keep them when they move.
# DIR/shared is the same directory on both; DIR/local is each one's own. /var/lib/libvirt, /etc/libvirt, /run/libvirt and the logs are too.
# All names and addresses are inside the namespaces, whose own names follow from DIR: any number of pairs can be up at once.

# shellcheck source=tests/setup/common.sh
. "$(dirname "$0")/../setup/common.sh"

usage() { die "usage: $0 up|down|status DIR, or $0 on 1|2|net DIR COMMAND..., or $0 cut|join|kill 1|2 DIR"; }

address() { printf '10.77.0.%s' "$1"; }
space() { printf '%s-%s' "${pair}" "$1"; }
uri() { printf 'qemu+tcp://%s/system' "$(address "$1")"; }

daemon() { # daemon N: the number of its process, if that runs
    pgrep --exact --pidfile "${dir}/$1/libvirtd.pid" libvirtd 2>/dev/null
}

answers() { ip netns exec "$(space net)" virsh --quiet --connect "$(uri "$1")" uri >/dev/null 2>&1; }

network() { # the switch with a DHCP server, in a namespace of its own
    local net
    net="$(space net)"
    [ -e "/run/netns/${net}" ] || ip netns add "${net}"
    if ! ip -n "${net}" link show lan >/dev/null 2>&1; then
        ip -n "${net}" link set lo up
        ip -n "${net}" link add lan type bridge forward_delay 0
        ip -n "${net}" address add "$(address 254)/24" dev lan
        ip -n "${net}" link set lan up
    fi
    pgrep --pidfile "${dir}/dnsmasq.pid" dnsmasq >/dev/null 2>&1 || ip netns exec "${net}" dnsmasq --conf-file=/dev/null --port=0 --interface=lan \
        --bind-interfaces --dhcp-range=10.77.0.100,10.77.0.199,255.255.255.0,12h --dhcp-no-override --no-ping --user=root --pid-file="${dir}/dnsmasq.pid" \
        --dhcp-leasefile="${dir}/leases" --log-facility="${dir}/dnsmasq.log"
}

wire() { # wire N: a network namespace with a bridge that its one card is on
    local own net
    own="$(space "$1")" net="$(space net)"
    ip netns add "${own}"
    ip link add "kvm$1" netns "${net}" type veth peer name eth0 netns "${own}"
    ip -n "${net}" link set "kvm$1" master lan up
    ip -n "${own}" link add br0 type bridge forward_delay 0
    ip -n "${own}" link set eth0 master br0 up
    ip -n "${own}" address add "$(address "$1")/24" dev br0
    ip -n "${own}" link set br0 up
    ip -n "${own}" link set lo up
}

configure() { # configure N: the directories that lie over the system's on this host
    local own="${dir}/$1"
    mkdir -p "${own}"/{run,lib,etc/qemu/networks/autostart,log,cache,local} "${dir}/shared" "${dir}/local"
    # The same hosts have the same numbers in each run, and no two the same: libvirt refuses to migrate to itself.
    cat >"${own}/etc/libvirtd.conf" <<CONF
listen_tls = 0
listen_tcp = 1
auth_tcp = "none"
listen_addr = "$(address "$1")"
host_uuid = "7e1f0000-0000-4000-8000-00000000000$1"
CONF
    cat >"${own}/etc/qemu.conf" <<CONF
user = "root"
group = "root"
security_driver = "none"
namespaces = []
stdio_handler = "file"
migrate_tls_x509_cert_dir = "${dir}/tls"
CONF
    cat >"${own}/etc/qemu/networks/default.xml" <<'XML'
<network>
  <name>default</name>
  <uuid>7e1f0000-0000-4000-8000-0000000000de</uuid>
  <forward mode='bridge'/>
  <bridge name='br0'/>
</network>
XML
    ln -sf ../default.xml "${own}/etc/qemu/networks/autostart/default.xml"
    printf '127.0.0.1 localhost\n%s kvm1\n%s kvm2\n' "$(address 1)" "$(address 2)" >"${own}/hosts"
}

certificates() { # one authority, and one certificate for both hosts and both directions
    local own="${dir}/tls"
    [ ! -e "${own}/client-key.pem" ] || return 0
    mkdir -p "${own}"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj "/CN=pair" -addext basicConstraints=critical,CA:TRUE \
        -addext keyUsage=critical,keyCertSign -keyout "${own}/ca-key.pem" -out "${own}/ca-cert.pem" 2>/dev/null
    printf 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=DNS:kvm1,DNS:kvm2,IP:%s,IP:%s\n' \
        "$(address 1)" "$(address 2)" >"${own}/extensions"
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=kvm" -keyout "${own}/server-key.pem" -out "${own}/request.pem" 2>/dev/null
    openssl x509 -req -in "${own}/request.pem" -CA "${own}/ca-cert.pem" -CAkey "${own}/ca-key.pem" -CAcreateserial -days 30 -extfile "${own}/extensions" \
        -out "${own}/server-cert.pem" 2>/dev/null
    cp "${own}/server-cert.pem" "${own}/client-cert.pem"
    cp "${own}/server-key.pem" "${own}/client-key.pem"
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
    ' - "${own}" "${dir}" "$1" </dev/null >>"${own}/libvirtd.out" 2>&1 &
}

up() {
    local number
    "${SETUP}/packages.sh" dnsmasq-base iproute2 openssl procps util-linux
    certificates
    network
    for number in 1 2; do
        if [ -z "$(daemon "${number}")" ]; then
            [ -e "/run/netns/$(space "${number}")" ] || wire "${number}"
            configure "${number}"
            start "${number}"
        fi
    done
    for number in 1 2; do
        for _time in {1..1500}; do
            answers "${number}" && break
            sleep 0.2
        done
    done
    status
}

down() {
    local number name pids
    for number in 1 2 net; do
        name="$(space "${number}")"
        [ -e "/run/netns/${name}" ] || continue
        # All that runs there is the lab's: libvirtd, guests that outlived theirs, dnsmasq.
        for _time in {1..600}; do
            pids="$(ip netns pids "${name}")"
            [ -n "${pids}" ] || break
            # shellcheck disable=SC2086
            kill -KILL ${pids} 2>/dev/null || true
            sleep 0.1
        done
        ip netns delete "${name}"
    done
    rm -rf "${dir}"
}

status() {
    if ! answers 1 || ! answers 2; then die "not both hosts answer; see ${dir}/1/libvirtd.out and ${dir}/2/libvirtd.out"; fi
    say "both hosts answer: $(uri 1) and $(uri 2)"
}

on() { # on N COMMAND...
    local number="$1" pid
    shift
    [ "${number}" != net ] || exec ip netns exec "$(space net)" "$@"
    pid="$(daemon "${number}")" || die "host ${number} does not run"
    exec nsenter --target "${pid}" --mount --uts --net -- "$@"
}

cut() { ip -n "$(space net)" link set "kvm$1" down; }
join() { ip -n "$(space net)" link set "kvm$1" up; }
killed() { kill -KILL "$(daemon "$1")"; }

place() { # place DIR: sets the directory, and the name that all namespaces begin with
    dir="$(realpath "$1")"
    pair="pw-$(printf '%s' "${dir}" | sha1sum | head -c 8)"
}

[ "$(id -u)" -eq 0 ] || die "the lab needs root"
case "${1:-}" in
    up | down | status)
        [ "$#" -eq 2 ] || usage
        mkdir -p "$2"
        place "$2"
        "$1"
        ;;
    on)
        [ "$#" -ge 4 ] || usage
        place "$3"
        on "$2" "${@:4}"
        ;;
    cut | join | kill)
        [ "$#" -eq 3 ] || usage
        place "$3"
        case "$1" in kill) killed "$2" ;; *) "$1" "$2" ;; esac
        ;;
    *) usage ;;
esac
