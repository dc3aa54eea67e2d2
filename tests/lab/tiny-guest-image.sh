#!/usr/bin/env bash
# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause
#
# Usage: tiny-guest-image.sh OUT.qcow2
#
# Makes a bootable qcow2 out of Debian's own packages: the cloud kernel and busybox, nothing else. The guest
#   * reads meta-data from a NoCloud seed (any block device labelled cidata) and takes local-hostname from it,
#   * asks for an address by DHCP on eth0 under that name,
#   * answers on TCP 22 with "SSH-2.0-tiny_<hostname>", and on TCP 23 with the kernel's boot id and its uptime in seconds,
#   * powers off when the ACPI power button is pressed.
# Nothing is mounted here, so no privilege is needed.
set -euo pipefail

[[ $# -eq 1 ]] || { echo "usage: $0 OUT.qcow2" >&2; exit 2; }
out=$1
out_dir=$(dirname "$out")
mkdir -p "$out_dir"
PATH=$PATH:/usr/sbin:/sbin

# The kernel's package need not be installed: its modules are found where it is unpacked.
base=$("$(dirname "$0")/cloud-kernel.sh")
kernel=$(printf '%s\n' "$base"/boot/vmlinuz-* | sort -V | tail -n 1)
release=${kernel##*/vmlinuz-}

work=$(mktemp -d)
unfinished=$(mktemp "$out_dir/.tiny.XXXXXX")
trap 'rm -rf "$work" "$unfinished"' EXIT

root=$work/root
mkdir -p "$root"/{bin,dev,etc,modules,proc,seed,sys}
cp "$(command -v busybox)" "$root/bin/busybox"

# Each module once, in the order modprobe would load them; nls and the like are built into this kernel.
number=10
while read -r file; do
  cp "$file" "$root/modules/$number-$(basename "$file")"
  number=$((number + 1))
done < <(for module in virtio_pci virtio_blk virtio_net isofs button evdev; do
  modprobe --dirname "$base" --set-version "$release" --show-depends "$module"
done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }')

cat > "$root/init" <<'GUEST'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
for module in /modules/*; do insmod "$module"; done

name=
for block in /sys/class/block/*; do
  device=/dev/${block##*/}
  # The volume identifier of ISO 9660: 32 bytes at 40 in sector 16. This busybox has no blkid.
  label=$(dd if="$device" bs=8 skip=4101 count=4 2>/dev/null | tr -d ' \0')
  [ "$label" = cidata ] || [ "$label" = CIDATA ] || continue
  mount -t iso9660 -o ro "$device" /seed || continue
  name=$(sed -n 's/^"\{0,1\}local-hostname"\{0,1\}: *//p' /seed/meta-data | tr -d "\"', \r" | head -n 1)
  umount /seed
done
name=${name:-localhost}
hostname "$name"

mkdir -p /etc/acpi/PWRF
printf '#!/bin/sh\npoweroff -f\n' > /etc/acpi/PWRF/00000080
chmod +x /etc/acpi/PWRF/00000080
acpid -d >/dev/null 2>&1 &

printf '#!/bin/sh\nprintf "SSH-2.0-tiny_%%s\\r\\n" "%s"\n' "$name" > /etc/banner
chmod +x /etc/banner
ip link set lo up
ip link set eth0 up
# Waiting before the address is there: a connection to a leased address is then never refused.
nc -ll -p 22 -e /etc/banner &

printf '#!/bin/sh\ncat /proc/sys/kernel/random/boot_id\ncut -d" " -f1 /proc/uptime\n' > /etc/alive
chmod +x /etc/alive
nc -ll -p 23 -e /etc/alive &

cat > /etc/dhcp <<'DHCP'
#!/bin/sh
case $1 in
bound | renew)
  ip addr flush dev eth0
  ip addr add "$ip/${mask:-24}" dev eth0
  [ -n "$router" ] && ip route add default via "${router%% *}"
  echo "tiny: $(hostname) has $ip after $(cut -d' ' -f1 /proc/uptime) s" > /dev/console
  ;;
esac
DHCP
chmod +x /etc/dhcp
exec udhcpc -f -i eth0 -s /etc/dhcp -t 10 -T 1 -A 1 -x "hostname:$name"
GUEST
chmod +x "$root/init"
(cd "$root" && find . | cpio --quiet -o -H newc | gzip -9) > "$work/initrd.gz"

cat > "$work/syslinux.cfg" <<CONFIG
DEFAULT tiny
PROMPT 0
TIMEOUT 0
LABEL tiny
KERNEL vmlinuz
INITRD initrd.gz
APPEND ${TINY_APPEND:-console=ttyS0 quiet panic=1 tsc=reliable cryptomgr.notests mitigations=off nokaslr no_timer_check}
CONFIG
truncate -s 48M "$work/disk"
mkfs.vfat -F 32 "$work/disk" > /dev/null
mcopy -i "$work/disk" "$kernel" ::vmlinuz
mcopy -i "$work/disk" "$work/initrd.gz" "$work/syslinux.cfg" ::
syslinux --install "$work/disk"
qemu-img convert -f raw -O qcow2 "$work/disk" "$unfinished"
chmod 0644 "$unfinished"
mv "$unfinished" "$out"
