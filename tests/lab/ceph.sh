#!/usr/bin/env bash
# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# ceph.sh up|down|status DIR [cephx]: a Ceph cluster of one monitor, one manager and one OSD on loopback, its data in memory.
#
# DIR/ceph.conf leads to it: the pool "rbd", and the pool "tiny" with a quota of 2 MiB. It asks nobody for a key, but with
# "cephx" everybody; DIR/keyring is then the administrator's. It is up in about 7 s. It needs neither root nor systemd, and
# the kernel's rbd neither: what reads it is librbd.

# shellcheck source=tests/setup/common.sh
. "$(dirname "$0")/../setup/common.sh"

[ "$#" -eq 2 ] || [ "${3:-}" = cephx ] || die "usage: $0 up|down|status DIR [cephx]"
asks="${3:-none}"
mkdir -p "$2"
dir="$(cd "$2" && pwd)"
conf="${dir}/ceph.conf"
log="${dir}/up.log"

cluster() { # cluster TOOL ARGUMENT...: a tool of Ceph's on this cluster, that never waits for long
    timeout 300 "$1" --conf "${conf}" "${@:2}"
}
answers() { [ -e "${conf}" ] && timeout 120 rbd --conf "${conf}" ls >/dev/null 2>&1; }
daemons() { # the processes of this cluster, by their pid files and their command lines
    local file pid
    for file in "${dir}"/*.pid; do
        pid="$(cat "${file}" 2>/dev/null || true)"
        if [ -n "${pid}" ] && { tr '\0' ' ' <"/proc/${pid}/cmdline"; } 2>/dev/null | grep -Fq -- "${conf}"; then
            printf '%s\n' "${pid}"
        fi
    done
}

free_ports() { # two ports on loopback that nobody listens on, as yet
    python3 - <<'PYTHON'
import socket

with socket.socket() as one, socket.socket() as two:
    one.bind(("127.0.0.1", 0))
    two.bind(("127.0.0.1", 0))
    print(one.getsockname()[1], two.getsockname()[1])
PYTHON
}

write_conf() { # write_conf FSID PORT-OF-V2 PORT-OF-V1
    cat >"${conf}" <<CONF
[global]
    fsid = $1
    mon host = [v2:127.0.0.1:$2,v1:127.0.0.1:$3]
    mon initial members = lab
    public addr = 127.0.0.1
    cluster addr = 127.0.0.1
    auth cluster required = ${asks}
    auth service required = ${asks}
    auth client required = ${asks}
    auth allow insecure global id reclaim = false

    # One copy of everything is right for a cluster that is thrown away.
    osd pool default size = 1
    osd pool default min size = 1
    osd crush chooseleaf type = 0
    mon allow pool size one = true
    mon warn on pool no redundancy = false
    # With one monitor nothing is won by waiting for more to decide at once: snapshots and pools then take no second each.
    paxos propose interval = 0.05
    paxos min wait = 0.01
    # That a pool's quota is used up is noticed within 1 s in place of 5.
    mon tick interval = 1
    mgr stats period = 1
    mon data avail warn = 1
    mon data avail crit = 1

    osd objectstore = memstore
    memstore device bytes = 2147483648
    # A client that was killed is believed in for 30 s; the tests do not wait for so long.
    osd client watch timeout = 2

    osd class load list = *
    osd class default list = *

    run dir = ${dir}
    pid file = ${dir}/\$name.pid
    log file = ${dir}/\$name.log
    admin socket = ${dir}/\$name.asok
    mon data = ${dir}/data/mon
    osd data = ${dir}/data/osd
    mgr data = ${dir}/data/mgr

[mon]
    keyring = ${dir}/data/mon/keyring
[osd]
    keyring = ${dir}/data/osd/keyring
[mgr]
    keyring = ${dir}/data/mgr/keyring
[client.admin]
    keyring = ${dir}/keyring
CONF
}

start() {
    local fsid osd newer older addresses
    fsid="$(cat /proc/sys/kernel/random/uuid)"
    osd="$(cat /proc/sys/kernel/random/uuid)"
    read -r newer older < <(free_ports)
    addresses="[v2:127.0.0.1:${newer},v1:127.0.0.1:${older}]"
    rm -rf "${dir}/data"
    mkdir -p "${dir}"/data/{mon,osd,mgr}
    write_conf "${fsid}" "${newer}" "${older}"
    # Keys are made whether anybody asks for them or not.
    ceph-authtool --create-keyring "${dir}/data/first" --gen-key -n mon. --cap mon 'allow *'
    ceph-authtool --create-keyring "${dir}/keyring" --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *'
    ceph-authtool "${dir}/data/first" --import-keyring "${dir}/keyring"
    ceph-authtool --create-keyring "${dir}/data/osd/keyring" --gen-key -n osd.0
    monmaptool --create --clobber --fsid "${fsid}" --addv lab "${addresses}" "${dir}/monmap"
    ceph-mon --conf "${conf}" -i lab --mkfs --monmap "${dir}/monmap" --keyring "${dir}/data/first"
    ceph-mon --conf "${conf}" -i lab
    # An OSD boots only under the id and the UUID that the monitor has heard of.
    ceph-authtool --print-key -n osd.0 "${dir}/data/osd/keyring" | sed 's/.*/{"cephx_secret": "&"}/' | cluster ceph osd new "${osd}" -i -
    ceph-osd --conf "${conf}" -i 0 --mkfs --osd-uuid "${osd}"
    ceph-osd --conf "${conf}" -i 0
    cluster ceph auth get-or-create mgr.lab mon 'allow profile mgr' osd 'allow *' mds 'allow *' -o "${dir}/data/mgr/keyring"
    ceph-mgr --conf "${conf}" -i lab
    cluster ceph osd pool create rbd 8
    cluster rbd pool init rbd
    cluster ceph osd pool create tiny 1
    cluster rbd pool init tiny
    cluster ceph osd pool set-quota tiny max_bytes 2097152
    # Until the manager has counted for the first time, the pools seem to have no room.
    timeout 300 bash -c "until ceph --conf '${conf}' df --format json | grep -q '\"max_avail\":[1-9]'; do sleep 0.3; done"
}

down() {
    local pids
    mapfile -t pids < <(daemons)
    if [ "${#pids[@]}" -gt 0 ]; then
        kill "${pids[@]}" 2>/dev/null || true
        local tries
        for ((tries = 0; tries < 100; tries++)); do
            [ -n "$(daemons)" ] || break
            sleep 0.2
        done
        kill -KILL "${pids[@]}" 2>/dev/null || true
    fi
    rm -rf "${dir:?}"
}

case "$1" in
    up)
        # Who comes second finds it up. What is started must not inherit the lock.
        exec {lock}>"${dir}.lock"
        flock "${lock}"
        "$0" up-held "${dir}" "${@:3}" {lock}>&-
        ;;
    up-held)
        answers && exit 0
        # A port that was free can be somebody's before the monitor listens on it; then others are tried.
        for attempt in 1 2 3 4 5; do
            down
            mkdir -p "${dir}"
            # In a process of its own: as a condition, a function goes on after what fails in it.
            if "$0" start "${dir}" "${@:3}" >"${log}" 2>&1; then exit 0; fi
            grep -Fqi 'address already in use' "${log}" "${dir}"/*.log || break
            say "a port of Ceph's was taken meanwhile (attempt ${attempt})"
        done
        tail -n 20 "${log}" >&2
        die "Ceph could not be started; see ${log}"
        ;;
    start) start ;;
    down) down ;;
    status)
        answers || die "Ceph does not answer"
        say "Ceph answers"
        ;;
    *) die "usage: $0 up|down|status DIR [cephx]" ;;
esac
