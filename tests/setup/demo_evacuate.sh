#!/usr/bin/env bash
# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# demo_evacuate.sh: starts two KVM hosts on this machine, makes the guests of examples/evacuate/ on the first, empties it with
# playbooks/evacuate.yml, shows the report, and takes everything back but the packages that it installed.

# shellcheck source=tests/setup/common.sh
. "$(dirname "$0")/common.sh"

state="${WORK}/demo-evacuate"
pair="${ROOT}/tests/lab/kvm-pair.sh"

if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || die "the two hosts need root, or sudo"
    exec sudo -- "$0" "$@"
fi

clean_up() {
    "${pair}" down "${state}/pair" || true
    rm -rf "${state}"
}

play() { # play PLAYBOOK [ARGUMENT...]
    ANSIBLE_COLLECTIONS_PATH="${WORK}/collections" ANSIBLE_HOME="${state}/ansible" ANSIBLE_REMOTE_TMP="${state}/ansible/tmp" \
        "${venv}/bin/ansible-playbook" -i "${state}/inventory.yml" "$@" >"${state}/play.log" 2>&1 || {
        cat "${state}/play.log" >&2
        die "ansible-playbook $* failed"
    }
}

guests() { # guests N: those of a host, with the processes that run them
    "${pair}" on "$1" "${state}/pair" virsh --quiet list --all | sed "s/^/  kvm-$1 /"
}

report() { "${venv}/bin/python" -c 'import json, sys; print(*json.load(open(sys.argv[1]))["lines"], sep="\n")' "$1"; }

# One that was killed is taken away before.
[ ! -d "${state}" ] || clean_up
mkdir -p "${state}"
trap clean_up EXIT
# The hosts, and what the guests' image is made of and with.
"${SETUP}/packages.sh" @libvirt @image
"${ROOT}/tests/lab/tiny-guest-image.sh" "${state}/tiny.qcow2"
cp "${ROOT}"/examples/evacuate/*.yml "${state}/"
venv="$("${SETUP}/venv.sh" quickstart-libvirt controller)"
"${SETUP}/collection.sh" link >/dev/null

say "starting two KVM hosts"
"${pair}" up "${state}/pair"
for number in 1 2; do
    printf '#!/bin/sh\nexec %q on %s %q %q "$@"\n' "${pair}" "${number}" "${state}/pair" "${venv}/bin/python" >"${state}/python-on-kvm-${number}"
    chmod +x "${state}/python-on-kvm-${number}"
done

say "making three guests on kvm-1: a pool's machine, a guest whose disk only that host has, and one that is off"
play poolwright.virt.provision --limit kvm-1
play "${state}/guests.yml"
guests 1

say "emptying kvm-1: what would be done"
play poolwright.virt.evacuate -e evacuate_hosts=kvm-1 -e "host_evacuate_report=${state}/plan.json" --check
report "${state}/plan.json"

say "emptying kvm-1"
play poolwright.virt.evacuate -e evacuate_hosts=kvm-1 -e "host_evacuate_report=${state}/report.json"
printf '\n'
report "${state}/report.json"
printf '\n'
guests 1
guests 2

say "once more, which changes nothing"
play poolwright.virt.evacuate -e evacuate_hosts=kvm-1
grep -E '^kvm-[12] ' "${state}/play.log"
! grep -Eq 'changed=[1-9]' "${state}/play.log" || die "a second run changed something"
