#!/usr/bin/env bash
# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# debian-guest-image.sh OUT.qcow2: a Debian 12 guest out of Debian's own packages, with cloud-init (NoCloud, VMware, ConfigDrive),
# OpenSSH, Python and QEMU's guest agent. The default user is debian; logins are by the seed's keys only.
#
# An image that is newer than this script is left alone. Of several runs at once for one OUT, one builds and the others wait for it.
#
# The BIOS starts syslinux from a FAT partition, which loads kernel and initrd; the root file system is the second and last
# partition, so that cloud-init can grow it. Both file systems are written straight into the disk's file: no loop device, no mount.

# shellcheck source=tests/setup/common.sh
. "$(dirname "$0")/../setup/common.sh"

[ "$#" -eq 1 ] || die "usage: $0 OUT.qcow2"
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || die "a tree with Debian's owners and devices needs root, or sudo"
    exec sudo -- "$0" "$@"
fi
PATH="${PATH}:/usr/sbin:/sbin"

out="$1"
out_dir="$(dirname "${out}")"
mkdir -p "${out_dir}"
exec 9>"${out}.lock"
flock 9
[ ! -e "${out}" ] || [ "$0" -nt "${out}" ] || exit 0

release=bookworm
packages=(
    cloud-guest-utils cloud-init dbus iproute2 linux-image-cloud-amd64 netbase netplan.io
    openssh-server python3 qemu-guest-agent sudo systemd-sysv udev zstd
)
# In MiB, from the start of the disk.
boot=1 root=49 end=1024

"${SETUP}/packages.sh" @debian

# What a killed run left: while the lock is held, no other run has such a folder.
rm -rf --one-file-system "${out_dir}"/.debian.*
work="$(mktemp -d "${out_dir}/.debian.XXXXXX")"
trap 'rm -rf --one-file-system "${work}"' EXIT

# The mirror that this machine takes its own Debian packages from.
mirror="$(apt-get indextargets --format "\$(REPO_URI)" 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | sed -n 1p)"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

say "building the Debian guest's image"
# mmdebstrap mounts /proc and the like for the packages' scripts: in a namespace of its own, so that no mount outlives it.
unshare --mount --propagation private mmdebstrap --quiet --mode=root --variant=apt --format=directory \
    --include="$(IFS=,; printf '%s' "${packages[*]}")" \
    --dpkgopt=force-unsafe-io --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/info/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    "${release}" "${work}/root" "deb [signed-by=${keyring}] ${mirror:-http://deb.debian.org/debian} ${release} main"

tree="${work}/root"
printf 'LABEL=rootfs / ext4 defaults 0 1\n' >"${tree}/etc/fstab"
printf 'debian\n' >"${tree}/etc/hostname"
: >"${tree}/etc/machine-id"
rm -f "${tree}"/etc/resolv.conf "${tree}"/etc/ssh/ssh_host_*
# Each of these costs an emulated guest seconds: host keys of further kinds, the locale, and timers that fetch lists of packages.
cat >"${tree}/etc/cloud/cloud.cfg.d/90_lab.cfg" <<'CONFIG'
datasource_list: [NoCloud, VMware, ConfigDrive, None]
locale: C.UTF-8
ssh_genkeytypes: [ed25519]
CONFIG
for timer in apt-daily apt-daily-upgrade dpkg-db-backup e2scrub_all fstrim; do
    ln -sf /dev/null "${tree}/etc/systemd/system/${timer}.timer"
done

disk="${work}/disk"
truncate -s "${end}M" "${disk}"
sfdisk --quiet "${disk}" <<TABLE
label: dos
start=$((boot * 2048)), size=$(((root - boot) * 2048)), type=c, bootable
start=$((root * 2048)), size=$(((end - root) * 2048)), type=83
TABLE
dd if=/usr/lib/syslinux/mbr/mbr.bin of="${disk}" bs=440 count=1 conv=notrunc status=none

cat >"${work}/syslinux.cfg" <<'CONFIG'
DEFAULT debian
PROMPT 0
TIMEOUT 0
LABEL debian
KERNEL vmlinuz
INITRD initrd
APPEND root=LABEL=rootfs ro console=ttyS0 quiet mitigations=off tsc=reliable cryptomgr.notests
CONFIG
# Clusters of one sector: mkfs.vfat would choose their size by the whole disk, which leaves too few of them for FAT32.
mkfs.vfat -F 32 -s 1 --offset $((boot * 2048)) "${disk}" $(((root - boot) * 1024)) >"${work}/mkfs.log" 2>&1 || die "no boot partition: $(cat "${work}/mkfs.log")"
mcopy -i "${disk}@@${boot}M" "${tree}"/boot/vmlinuz-* ::vmlinuz
mcopy -i "${disk}@@${boot}M" "${tree}"/boot/initrd.img-* ::initrd
mcopy -i "${disk}@@${boot}M" "${work}/syslinux.cfg" ::
syslinux --install --offset $((boot * 1024 * 1024)) "${disk}"

mke2fs -q -F -t ext4 -L rootfs -d "${tree}" -E "offset=$((root * 1024 * 1024)),lazy_itable_init=0,lazy_journal_init=0" "${disk}" $((end - root))M

qemu-img convert -f raw -O qcow2 -c -o compression_type=zstd "${disk}" "${work}/image"
chmod 0644 "${work}/image"
mv "${work}/image" "${out}"
