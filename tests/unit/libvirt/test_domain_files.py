# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The disks of a host's domains, on libvirt's test driver, and what they keep in a cache of images."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libvirt
import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import InstantClock
from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy, ConnectionFailed, IncompleteAnswer, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.domain_files import disk_files
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.image_requests import keep_files, list_files
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats
from ansible_collections.poolwright.virt.tests.unit.images.run_keep import DEFAULTS

URI = "test:///default"
DOMAIN = """<domain type='test'><name>web-1</name><memory>1024</memory><os><type>hvm</type></os><devices>
<disk type='file'><source file='{disk}'/><backingStore type='file'><format type='qcow2'/><source file='{base}'/></backingStore><target dev='hda'/></disk>
<disk type='block'><source dev='/dev/of/one'/><target dev='hdb'/></disk>
<disk type='file' device='cdrom'><target dev='hdc'/></disk></devices></domain>"""


@pytest.fixture
def keeper() -> Iterator[Any]:
    """Holds the test driver's state, which would go with its last connection."""
    connection = libvirt.open(URI)
    yield connection
    for domain in connection.listAllDomains():
        if domain.name() == "web-1":
            domain.undefine()
    connection.close()


def test_files_and_devices_of_all_domains_are_named_with_their_chains(keeper: Any) -> None:
    keeper.defineXML(DOMAIN.format(disk="/disks/web-1", base="/images/base"))
    stats = Stats(InstantClock())
    found = disk_files(URI, InstantClock(), stats)
    assert [path for who, path in found if who == "domain web-1"] == ["/disks/web-1", "/images/base", "/dev/of/one"]
    assert ("domain test", "/guest/diskimage1") in found
    assert stats.as_dict()["logins"] == 1


def test_of_a_domain_that_runs_what_it_has_counts_and_what_it_will_have(keeper: Any) -> None:
    keeper.defineXML(DOMAIN.format(disk="/disks/now", base="/images/now"))
    domain = keeper.lookupByName("web-1")
    domain.create()
    try:
        keeper.defineXML(DOMAIN.format(disk="/disks/later", base="/images/later").replace("<name>", f"<uuid>{domain.UUIDString()}</uuid><name>"))
        found = disk_files(URI, InstantClock(), Stats(InstantClock()))
        assert {"/disks/now", "/images/now", "/disks/later", "/images/later"} <= {path for who, path in found if who == "domain web-1"}
        assert len(found) == len(set(found))
    finally:
        domain.destroy()


def test_a_volume_of_a_pool_is_its_file(keeper: Any) -> None:
    pool = keeper.storagePoolLookupByName("default-pool")
    volume = pool.createXML("<volume><name>root</name><capacity>1048576</capacity></volume>")
    disk = "<disk type='volume'><source pool='default-pool' volume='{name}'/><target dev='hdd'/></disk></devices>"
    for name in ("root", "gone"):
        keeper.defineXML(DOMAIN.format(disk="/disks/web-1", base="/images/base").replace("</devices>", disk.format(name=name)))
        found = disk_files(URI, InstantClock(), Stats(InstantClock()))
        assert (("domain web-1", volume.path()) in found) == (name == "root")
        keeper.lookupByName("web-1").undefine()
    keeper.defineXML(DOMAIN.format(disk="/disks/web-1", base="/images/base").replace("</devices>", disk.format(name="root")))
    pool.destroy()
    try:
        with pytest.raises(IncompleteAnswer, match=r"volume root of the pool default-pool, which is not active.*virsh pool-start"):
            disk_files(URI, InstantClock(), Stats(InstantClock()))
    finally:
        pool.create()


def test_an_image_under_a_domain_s_disk_stays_wherever_the_disk_is(keeper: Any, tmp_path: Path) -> None:
    raw = tmp_path / "source" / "disk.raw"
    raw.parent.mkdir()
    raw.write_bytes(b"x" * 1024 * 1024)
    params = {**DEFAULTS, "path": str(tmp_path / "pool" / "images"), "uri": URI}
    image = keep_files({**params, "source": str(raw)}, False, threading.Event())["path"]
    disk = tmp_path / "far" / "web-1.qcow2"
    disk.parent.mkdir()
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", image, "-F", "raw", str(disk)], check=True)
    keeper.defineXML(DOMAIN.format(disk=disk, base="/gone"))
    os.utime(f"{image}.json", (1, 1))
    for check in (True, False):
        assert keep_files({**params, "state": "aged"}, check, threading.Event())["kept"] == {image: "in use by domain web-1"}
        with pytest.raises(Busy, match="domain web-1"):
            keep_files({**params, "source": str(raw), "state": "absent"}, check, threading.Event())
    (listed,) = list_files({**params}, threading.Event())["images"]
    assert listed["used_by"] == ["domain web-1"]


def test_where_libvirt_does_not_answer_nothing_is_removed(tmp_path: Path) -> None:
    raw = tmp_path / "disk.raw"
    raw.write_bytes(b"x" * 1024 * 1024)
    params = {**DEFAULTS, "path": str(tmp_path / "images"), "uri": "qemu+unix:///system?socket=/nowhere"}
    image = keep_files({**params, "source": str(raw)}, False, threading.Event())["path"]
    os.utime(f"{image}.json", (1, 1))
    with pytest.raises(VirtError) as caught:
        keep_files({**params, "state": "aged"}, False, threading.Event())
    assert isinstance(caught.value, ConnectionFailed)
    assert os.path.exists(image)
