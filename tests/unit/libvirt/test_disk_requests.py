# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Disks of their own beside guests and images: guests are asked, on libvirt's test driver, and the cache of images is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libvirt
import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import InstantClock
from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy, ConnectionFailed
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.disk_requests import disks_with, holders
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.image_requests import keep_files
from ansible_collections.poolwright.virt.plugins.module_utils.storage.request import module_options
from ansible_collections.poolwright.virt.tests.unit.images.run_keep import DEFAULTS
from ansible_collections.poolwright.virt.tests.unit.storage.filled import filled

URI = "test:///default"
MIB_IN_GB = 1 / 1024
DOMAIN = """<domain type='test'><name>web-1</name><memory>1024</memory><os><type>hvm</type></os><devices>
<disk type='file'><source file='{disk}'/><target dev='hda'/></disk>
<disk type='network'><source protocol='rbd' name='rbd/web-1_data'><host name='a'/></source><target dev='hdb'/></disk>
</devices></domain>"""


@pytest.fixture
def keeper() -> Iterator[Any]:
    """Holds the test driver's state, which would go with its last connection."""
    connection = libvirt.open(URI)
    yield connection
    for domain in connection.listAllDomains():
        if domain.name() == "web-1":
            if domain.isActive():
                domain.destroy()
            domain.undefine()
    connection.close()


def run(folder: Path, *, check: bool = False, uri: str = URI, **options: Any) -> dict[str, Any]:
    place = {"backend": "flat", "location": str(folder / "disks"), "name": "web-1_root", "cache": str(folder / "pool" / "images"), "uri": uri}
    return disks_with(filled(module_options(), {**place, **options}), check, threading.Event())


def test_disks_of_guests_are_known_by_whatever_they_are(keeper: Any) -> None:
    keeper.defineXML(DOMAIN.format(disk="/disks/../disks/web-1")).create()
    found = holders(URI, InstantClock())
    for path in ("/disks/web-1", "rbd/web-1_data"):
        assert [(holder.name, holder.running) for holder in found.of(path)] == [("web-1", True)]
    assert found.of("/disks/web-2") == ()


def test_a_disk_of_a_guest_is_neither_removed_nor_grown_under_it(keeper: Any, tmp_path: Path) -> None:
    run(tmp_path, size_gb=MIB_IN_GB)
    domain = keeper.defineXML(DOMAIN.format(disk=str(tmp_path / "disks" / "web-1_root.raw")))
    domain.create()
    swap: dict[str, Any] = {"content": {"swap": True}, "size_gb": MIB_IN_GB, "recreate": True}
    wanted: list[tuple[dict[str, Any], str]] = [
        ({"state": "absent"}, "runs with it"),
        ({"state": "absent", "force": True}, "runs with it"),
        (swap, "shut the guest off"),
        ({"size_gb": 2 * MIB_IN_GB}, "libvirt_guest grows a disk"),
    ]
    for options, words in wanted:
        for check in (True, False):
            with pytest.raises(Busy, match=words):
                run(tmp_path, check=check, **options)
    assert run(tmp_path, size_gb=MIB_IN_GB)["changed"] is False
    domain.destroy()
    assert run(tmp_path, size_gb=2 * MIB_IN_GB)["changed"]
    with pytest.raises(Busy, match=r"the guest web-1 has it.*force: true"):
        run(tmp_path, state="absent")
    assert run(tmp_path, state="absent", force=True)["changed"]
    assert list((tmp_path / "disks").iterdir()) == []


def test_a_libvirt_that_does_not_answer_is_told_and_can_be_left_out(tmp_path: Path) -> None:
    nowhere = f"qemu:///system?socket={tmp_path}/none"
    # Nothing that a guest would mind.
    assert run(tmp_path, uri=nowhere, size_gb=MIB_IN_GB)["changed"]
    with pytest.raises(ConnectionFailed):
        run(tmp_path, uri=nowhere, state="absent")
    assert run(tmp_path, uri="", state="absent")["changed"]


def test_an_image_under_a_disk_of_its_own_stays_wherever_the_disk_is(tmp_path: Path) -> None:
    raw = tmp_path / "source" / "disk.raw"
    raw.parent.mkdir()
    raw.write_bytes(b"x" * 1024 * 1024)
    far: dict[str, Any] = {"backend": "qcow2", "location": str(tmp_path / "far" / "away")}
    backing = run(tmp_path, uri="", image={"source": str(raw), "format": "raw"}, **far)["backing"]["path"]
    params = {**DEFAULTS, "path": str(tmp_path / "pool" / "images"), "uri": "", "state": "aged", "max_unused": "0s"}
    aged = keep_files(params, False, threading.Event())
    assert (aged["changed"], list(aged["kept"])) == (False, [backing])
    run(tmp_path, uri="", state="absent", **far)
    assert keep_files(params, False, threading.Event())["removed"] == [backing]
