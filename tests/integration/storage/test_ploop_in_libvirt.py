# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A ploop disk is one for others too: for libvirt's storage driver, which knows it by its files, and for QEMU's ``parallels`` driver."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import libvirt
import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.registry import disk_image
from ansible_collections.poolwright.virt.tests.contract.imagebackend.staging import MIB, Supplies
from ansible_collections.poolwright.virt.tests.integration.storage.conftest import tool


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that libvirt's daemon may read."""
    path = Path(mkdtemp(prefix="poolwright-ploop-", dir="/var/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def test_libvirt_knows_it_by_its_files(place: Path, supplies: Supplies, soon: Deadline, connection: libvirt.virConnect) -> None:
    """Their names and places: libvirt 9 looks into neither, and tells no size of a ploop volume."""
    disk_image("ploop", str(place), "web-1_root").create_from_image(supplies.image, 9 * MIB, soon)
    xml = f"<pool type='dir'><name>poolwright-ploop-{os.getpid()}</name><target><path>{place}</path></target></pool>"
    pool = connection.storagePoolCreateXML(xml, 0)
    try:
        volume = pool.storageVolLookupByName("web-1_root.ploop")
        described = ET.fromstring(volume.XMLDesc(0)).find("target/format")
        assert volume.info()[0] == libvirt.VIR_STORAGE_VOL_PLOOP
        assert described is not None
        assert described.get("type") == "ploop"
    finally:
        pool.destroy()


def test_what_a_guest_writes_through_qemus_driver_is_read_back(place: Path, supplies: Supplies, soon: Deadline) -> None:
    disk = disk_image("ploop", str(place), "web-1_root")
    record = disk.create_from_image(supplies.image, 9 * MIB, soon)
    node = {"driver": "parallels", "file": {"driver": "file", "filename": record.path}}
    wrote = ["-c", "write -q -P 0x5a 8M 64k", "-c", "flush"]
    tool("qemu-io", "--image-opts", "driver=parallels,file.driver=file,file.filename=" + record.path, *wrote)
    said = json.loads(tool("qemu-img", "info", "--output=json", "json:" + json.dumps(node)))
    assert (said["format"], said["virtual-size"]) == ("parallels", 9 * MIB)
    subprocess.run(["qemu-img", "check", "-q", "-f", "parallels", record.path], check=True)
    expected = supplies.data + b"\x5a" * 65536 + bytes(MIB - 65536)
    with open(place / "copy", "xb") as stream:
        disk.read_to(record, stream, soon)
    assert (place / "copy").read_bytes() == expected
