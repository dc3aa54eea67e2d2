#!/usr/bin/env bash
# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# in-guest.sh [-w DIR] [-r DIR]... COMMAND: runs a shell command as root under a kernel of its own, in user mode.
#
# For what the running kernel lacks, such as device mapper. The guest's root is this machine's, read-only; /tmp, /run and
# /var/tmp are fresh and empty, /etc/lvm is a copy. -w: a directory that the command may write to, at the same path. -r: a
# directory below one of the fresh ones that is to be seen all the same. It needs no virtualisation, and is up in a second;
# the exit status is the command's.

# shellcheck source=tests/setup/common.sh
. "$(dirname "$0")/../setup/common.sh"

usage="usage: $0 [-w DIR] [-r DIR]... COMMAND"
shared=
visible=()
while getopts w:r: option; do
    case "${option}" in
        w) shared="$(realpath "${OPTARG}")" ;;
        r) visible+=("$(realpath "${OPTARG}")") ;;
        *) die "${usage}" ;;
    esac
done
shift $((OPTIND - 1))
[ "$#" -eq 1 ] || die "${usage}"
command -v linux.uml >/dev/null || die "linux.uml is not installed; install user-mode-linux"

work="$(mktemp -d)"
trap 'rm -rf "${work}"' EXIT
printf '%s\n' "$1" >"${work}/command"
{
    for directory in ${visible[@]+"${visible[@]}"}; do printf 'show ro %q\n' "${directory}"; done
    [ -z "${shared}" ] || printf 'show rw %q\n' "${shared}"
} >"${work}/places"
cat >"${work}/init" <<'INIT'
#!/bin/bash
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/run
here="$(dirname "$0")"
show() { # show ro|rw DIRECTORY: this directory of the machine's, over whatever is fresh there
    mkdir -p "$2"
    mount -t hostfs -o "$2,$1" shown "$2"
}
mount -t proc proc /proc
mount -t sysfs sys /sys
mountpoint -q /dev || mount -t devtmpfs dev /dev
cp -a "$here" /dev/work
cp -a /etc/lvm /dev/lvm
for fresh in /tmp /run /var/tmp /etc/lvm; do mount -t tmpfs -o mode=1777 fresh "$fresh"; done
cp -a /dev/lvm/. /etc/lvm/
mkdir -p /dev/shm /run/lvm /run/lock/lvm /run/modules/lib/modules
mount -t tmpfs shm /dev/shm
ln -s "/usr/lib/uml/modules/$(uname -r)" /run/modules/lib/modules/
for module in dm-mod dm-thin-pool dm-snapshot; do modprobe -d /run/modules "$module"; done
modprobe -d /run/modules loop max_loop=4
# Each command of LVM's looks at all that is in /dev: by itself that is 600 terminals.
mv /dev/work /run/work
rm -rf /dev/lvm /dev/tty?* /dev/pty*
# Nothing like udev runs here, so LVM makes its device nodes itself; nor does its monitor, and nobody needs its backups. The
# memory that LVM lays by and locks, should it have to suspend what it swaps to, is half of what a command costs here.
cat >/etc/lvm/lvmlocal.conf <<'CONF'
activation {
    udev_sync = 0
    udev_rules = 0
    monitoring = 0
    reserved_memory = 0
    reserved_stack = 0
}
backup {
    backup = 0
    archive = 0
}
global {
    use_aio = 0
}
devices {
    hints = "none"
    obtain_device_list_from_udev = 0
    external_device_info_source = "none"
    md_component_detection = 0
    multipath_component_detection = 0
}
CONF
: >/etc/lvm/lvm.conf
. /run/work/places
cd /
bash /run/work/command </dev/null
echo "the command ended with status $?."
echo o >/proc/sysrq-trigger
sleep 60
INIT
chmod +x "${work}/init"

timeout --foreground "${IN_GUEST_TIMEOUT:-4500}" linux.uml "mem=${IN_GUEST_MEMORY:-1024}M" root=none rootfstype=hostfs rootflags=/ ro "init=${work}/init" \
    con=null con0=fd:0,fd:1 quiet loglevel=3 </dev/null 2>"${work}/errors" |
    sed -u 's/\r$//' | tee "${work}/output" | grep --line-buffered -av '^the command ended with status' || true
status="$(sed -n 's/^the command ended with status \([0-9]*\)\.$/\1/p' "${work}/output" | tail -n 1)"
[ -n "${status}" ] || {
    cat "${work}/errors" >&2
    die "the guest ended before its command did"
}
exit "${status}"
