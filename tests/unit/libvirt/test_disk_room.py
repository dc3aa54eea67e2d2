# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a guest's disks take, and what of it is not on another host."""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.disk_room import disk_files, needs, room
from ansible_collections.poolwright.virt.plugins.module_utils.placement.facts import GuestFacts, as_dict, guest_from

MIB = 1024 * 1024


def qcow2(path: Path, *base: str) -> str:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *base, str(path), "64M"], check=True)
    return str(path)


def domain(*disks: tuple[str, str], made: str = "") -> ET.Element:
    found = "".join(f"<disk type='file'><driver type='{format}'/><source file='{path}'/></disk>" for path, format in disks)
    others = "<disk type='network'><source name='rbd/x'/></disk><disk type='file' device='cdrom'/><disk type='block'><source dev='/dev/sda'/></disk>"
    return ET.fromstring(f"<domain><metadata><a><disk path='{made}'/></a></metadata><devices>{found}{others}</devices></domain>")


def test_a_disk_is_itself_its_bases_and_its_snapshots(tmp_path: Path) -> None:
    base, folder = tmp_path / "base.raw", tmp_path / "disks"
    folder.mkdir()
    base.write_bytes(b"x" * 2 * MIB)
    middle = qcow2(folder / "middle.qcow2", "-b", str(base), "-F", "raw")
    top = qcow2(folder / "top.qcow2", "-b", "middle.qcow2", "-F", "qcow2")
    kept = folder / "top.qcow2@clean"
    kept.write_bytes(b"y" * MIB)
    data = tmp_path / "data.raw"
    data.write_bytes(b"QFI\xfb" + b"z" * MIB)

    found = disk_files(domain((top, "qcow2"), (str(data), "raw"), (str(tmp_path / "gone"), "raw"), made=top))
    assert {path: sorted(files) for path, files in found.items()} == {
        top: sorted([top, middle, str(base), str(kept)]),
        str(data): [str(data)],
        str(tmp_path / "gone"): [],
    }
    assert found[top][str(base)] == 2 * MIB and found[top][str(kept)] == MIB
    # What nobody says was made for it has no snapshots of ours.
    assert str(kept) not in disk_files(domain((top, "qcow2")))[top]

    guest = GuestFacts("web", "u-1", "running", disk_files=found)
    assert guest_from(as_dict(guest), "guest") == guest
    assert needs(guest) == {}
    there = {str(base): str(base)}
    elsewhere = {f"{folder}/else{path}": {there.get(one, f"{folder}/else{one}"): size for one, size in files.items()} for path, files in found.items()}
    (mount,) = wanted = needs(GuestFacts("web", "u-1", "running", disk_files=elsewhere))
    # The base is there already, and the rest of it is not: neither the directories.
    assert 2 <= wanted[mount] <= 4
    assert Path(mount).is_mount() and room(wanted)[mount] > 0
