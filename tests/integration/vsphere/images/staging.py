# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real images in all their forms, and a datastore seen from below."""

from __future__ import annotations

import hashlib
import io
import random
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.cache import DatastoreImageCache
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.facts import CachedDisk
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.image import VMwareImage
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Entry
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.transfer import Transfer
from ansible_collections.poolwright.virt.tests.contract.labs.vcenter import VCenter

MIB = 1024 * 1024
DISK_BYTES = random.Random(3).randbytes(MIB) + bytes(2 * MIB) + random.Random(4).randbytes(MIB // 2) + bytes(MIB // 2)
DISK_SHA256 = hashlib.sha256(DISK_BYTES).hexdigest()

OVF = """<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
 xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData">
 <References><File ovf:id="file1" ovf:href="{href}" ovf:size="{size}"/></References>
 <DiskSection><Info>disks</Info><Disk ovf:diskId="vmdisk1" ovf:fileRef="file1" ovf:capacity="{capacity}" ovf:capacityAllocationUnits="byte"/></DiskSection>
 <VirtualSystem ovf:id="machine">
  <OperatingSystemSection ovf:id="96" ovf:osType="debian12_64Guest"><Info>system</Info></OperatingSystemSection>
  <VirtualHardwareSection>
   <Item><rasd:InstanceID>3</rasd:InstanceID><rasd:ResourceSubType>VirtualSCSI</rasd:ResourceSubType><rasd:ResourceType>6</rasd:ResourceType></Item>
   <Item><rasd:HostResource>ovf:/disk/vmdisk1</rasd:HostResource><rasd:InstanceID>4</rasd:InstanceID><rasd:Parent>3</rasd:Parent>
    <rasd:ResourceType>17</rasd:ResourceType></Item>
  </VirtualHardwareSection>
 </VirtualSystem>
</Envelope>
"""


def qemu_img(*arguments: object) -> None:
    subprocess.run(["qemu-img", *map(str, arguments)], check=True, capture_output=True)


def make_images(folder: Path) -> dict[str, Path]:
    """The same disk of 4 MiB in each form, and an ISO image, by what they are."""
    raw = folder / "disk.raw"
    raw.write_bytes(DISK_BYTES)
    made = {"raw": raw, "iso": folder / "tools.iso"}
    for name in ("monolithicSparse", "streamOptimized", "monolithicFlat"):
        made[name] = folder / f"{name}.vmdk"
        qemu_img("convert", "-O", "vmdk", "-o", f"subformat={name}", raw, made[name])
    made["flat"] = folder / "monolithicFlat-flat.vmdk"
    for name in ("qcow2", "vhdx"):
        made[name] = folder / f"disk.{name}"
        qemu_img("convert", "-O", name, raw, made[name])
    made["iso"].write_bytes(bytes(16 * 2048) + b"\x01CD001\x01\x00" + bytes(2040) + b"\xffCD001\x01" + bytes(64 * 1024))
    made["ovf"] = folder / "machine.ovf"
    made["ovf"].write_text(OVF.format(href="streamOptimized.vmdk", size=made["streamOptimized"].stat().st_size, capacity=len(DISK_BYTES)))
    made["ova"] = folder / "machine.ova"
    made["ova"].write_bytes(ova({"machine.ovf": made["ovf"].read_bytes(), "streamOptimized.vmdk": made["streamOptimized"].read_bytes()}))
    return made


def ova(members: dict[str, bytes], *, manifest: bool = True) -> bytes:
    """An OVA of these files in this order, with a manifest that fits."""
    if manifest:
        said = "".join(f"SHA256({name})= {hashlib.sha256(content).hexdigest()}\n" for name, content in members.items())
        first = next(iter(members))
        members = {**members, first[: -len(".ovf")] + ".mf": said.encode()}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


@dataclass
class Shelf:
    """A cache folder of one's own on a datastore, and what is in it."""

    vcenter: VCenter
    cache: DatastoreImageCache
    datastore: Entry
    transfer: Transfer
    clock: Clock

    def deadline(self, seconds: float = 60.0) -> Deadline:
        return Deadline.after(self.clock, seconds)

    def ensure(self, image: VMwareImage, size_gb: float | None = None) -> CachedDisk:
        return self.cache.ensure(image, self.datastore, self.deadline(), size_gb=size_gb)

    def content(self, disk: CachedDisk) -> str:
        """The SHA-256 of the bytes that a guest, or who reads the ISO image, would see."""
        path = disk.path if disk.kind == "iso" else disk.path.with_suffix("-flat.vmdk")
        return self.transfer.hash(path, self.deadline()).sha256

    def files(self) -> list[str]:
        """Everything in the cache's folder, paths below it; folders that are always there, empty or not, are left out."""
        root = self.cache.root(self.datastore)
        place = self.vcenter.datastore(root.datastore).joinpath(*root.parts)
        return sorted({str(path.relative_to(place)) for path in place.rglob("*")} - {"claims", "images", "sources", "tmp"})

    def leftovers(self) -> list[str]:
        """What a run must not leave: claims, temporary folders, imported machines and their folders."""
        inside = [name for name in self.files() if name.startswith(("claims/", "tmp/"))]
        machines = [name for name in self.vcenter.govc("find", "/", "-type", "m").splitlines() if "poolwright-tmp" in name]
        beside = [path.name for path in self.vcenter.datastore(self.datastore.name).glob("poolwright-tmp*")]
        return [*inside, *machines, *beside]
