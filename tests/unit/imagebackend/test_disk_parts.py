# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The parts of the backends that can be told without their storage."""

from __future__ import annotations

import io
import os
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline, InstantClock
from ansible_collections.poolwright.virt.plugins.module_utils.errors import (
    AuthenticationFailed,
    Busy,
    ConnectionFailed,
    InsufficientResources,
    InvalidSpec,
    MissingDependency,
    NotFound,
    OperationFailed,
    ToolFailed,
    VirtError,
)
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend import ceph, ceph_client, makers, parallels, streams
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.options import DiskOptions
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.registry import disk_image
from ansible_collections.poolwright.virt.plugins.module_utils.images import qemu_img
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import CachedImage

MIB = 1024 * 1024


# --- Ceph's configuration


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("192.0.2.1", (("192.0.2.1", 6789),)),
        ("192.0.2.1:1234, mon-b , 192.0.2.3", (("192.0.2.1", 1234), ("mon-b", 6789), ("192.0.2.3", 6789))),
        ("a b;c", (("a", 6789), ("b", 6789), ("c", 6789))),
        ("[v2:192.0.2.1:3300/0,v1:192.0.2.1:6789/0] [v2:192.0.2.2:3300/0,v1:192.0.2.2:6790/0]", (("192.0.2.1", 6789), ("192.0.2.2", 6790))),
        ("[v2:192.0.2.1:3300],[v1:192.0.2.2:6789]", (("192.0.2.1", 3300), ("192.0.2.2", 6789))),
        ("v2:192.0.2.1", (("192.0.2.1", 3300),)),
        ("[2001:db8::1]:6789", (("2001:db8::1", 6789),)),
        ("[v2:[2001:db8::1]:3300/0,v1:[2001:db8::1]:6789/0]", (("2001:db8::1", 6789),)),
    ],
)
@pytest.mark.parametrize("key", ["mon host", "mon_host", "mon-host"])
def test_monitors_are_read_from_the_configuration(tmp_path: Path, said: str, expected: Any, key: str) -> None:
    conf = tmp_path / "ceph.conf"
    conf.write_text(f"# first\n[global]\n    fsid = x\n  {key} = {said}  ; why\n[client]\n    mon host = elsewhere\n")
    assert ceph.monitors(str(conf)) == expected


@pytest.mark.parametrize("text", [None, "", "[global]\nfsid = x\n", "mon host = a\n"])
def test_a_configuration_without_monitors_is_said(tmp_path: Path, text: str | None) -> None:
    conf = tmp_path / "ceph.conf"
    if text is not None:
        conf.write_text(text)
    with pytest.raises(InvalidSpec, match=str(conf)):
        disk_image("rbd", "rbd", "a", DiskOptions(conf=str(conf))).libvirt_info()


def test_a_network_disk_names_monitors_and_secret_but_no_key(tmp_path: Path) -> None:
    conf, uuid = tmp_path / "ceph.conf", "11111111-2222-3333-4444-555555555555"
    conf.write_text("[global]\nmon host = 192.0.2.1\n")
    info = disk_image("rbd", "rbd/ns", "a", DiskOptions(conf=str(conf), user="virt", keyring="/etc/ceph/k", secret=uuid)).libvirt_info()
    assert (info.type, info.protocol, info.source, info.hosts, info.secret) == ("network", "rbd", "rbd/ns/a", (("192.0.2.1", 6789),), ("virt", uuid))


def test_qemu_is_told_the_same_cluster() -> None:
    access = ceph.Access("/etc/ceph/a:b.conf", "virt", "/k")
    assert access.qemu_name("rbd/a") == "rbd:rbd/a:id=virt:conf=/etc/ceph/a\\:b.conf:keyring=/k"
    assert access.arguments == ["--conf", "/etc/ceph/a:b.conf", "--id", "virt", "--keyring", "/k"]


@pytest.mark.parametrize(
    ("number", "at", "expected"),
    [
        (2, "image", NotFound),
        (2, "place", NotFound),
        (2, "cluster", ConnectionFailed),
        (1, "image", AuthenticationFailed),
        (13, "cluster", AuthenticationFailed),
        (17, "image", Busy),
        (16, "image", Busy),
        (39, "image", Busy),
        (28, "image", InsufficientResources),
        (122, "image", InsufficientResources),
        (110, "image", ConnectionFailed),
        (0, "library", MissingDependency),
        (5, "image", ToolFailed),
    ],
)
def test_what_ceph_says_becomes_an_error_of_its_kind(number: int, at: str, expected: type[VirtError]) -> None:
    found = ceph_client.by_kind("somehow", number, at, "rbd/a", "disk")
    assert found.__class__ is expected
    assert (found.obj, found.phase) == ("rbd/a", "disk")
    assert "somehow" in found.message
    assert found.hint or number in (2, 5)


# --- options


def test_options_that_contradict_each_other_are_refused() -> None:
    for backend, options in (
        ("flat", DiskOptions(preallocation="metadata")),
        ("qcow2", DiskOptions(preallocation="full")),
        ("qcow2", DiskOptions(compressed=True)),
        ("qcow2", DiskOptions(compressed=True, full=True, preallocation="full")),
        ("qcow2", DiskOptions(extended_l2=True, cluster_size=4096)),
        ("rbd", DiskOptions(secret="11111111-2222-3333-4444-555555555555")),
        ("lvm", DiskOptions(clear="zero")),
    ):
        with pytest.raises(InvalidSpec):
            disk_image(backend, {"rbd": "rbd", "lvm": "group/pool"}.get(backend, "/disks"), "a", options)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (DiskOptions(cluster_size=MIB), {"cluster-size": MIB}),
        (DiskOptions(extended_l2=True), {"extended-l2": True}),
        (DiskOptions(full=True, compressed=True), {}),
        (DiskOptions(extended_l2=True, preallocation="metadata", cluster_size=128 * 1024), {"extended-l2": True, "cluster-size": 128 * 1024}),
    ],
)
def test_qcow2_is_made_as_asked(
    tmp_path: Path, image: CachedImage, soon: Deadline, qemu: Callable[..., str], options: DiskOptions, expected: dict[str, Any]
) -> None:
    disk = disk_image("qcow2", str(tmp_path / "disks"), "a", options)
    needed = disk.bytes_from_image(image, 9 * MIB)
    record = disk.create_from_image(image, 9 * MIB, soon)
    qemu("compare", "-f", "qcow2", "-F", image.format, record.path, image.path)
    said = qemu("info", "--output=json", "-f", "qcow2", record.path)
    for key, value in expected.items():
        assert f'"{key}": {str(value).lower()}' in said
    assert os.stat(record.path).st_blocks * 512 <= needed + MIB


@pytest.mark.parametrize("how", ["falloc", "full"])
def test_preallocation_gives_a_raw_disk_all_its_blocks(tmp_path: Path, image: CachedImage, disk_bytes: bytes, soon: Deadline, how: str) -> None:
    disk = disk_image("flat", str(tmp_path / "disks"), "a", DiskOptions(preallocation=how))
    record = disk.create_from_image(image, 10 * MIB, soon)
    assert os.stat(record.path).st_blocks * 512 >= 10 * MIB
    assert Path(record.path).read_bytes() == disk_bytes.ljust(10 * MIB, b"\0")
    grown = disk.resize(record, 12 * MIB, soon)
    assert os.stat(grown.path).st_blocks * 512 >= 12 * MIB


# --- ploop


@pytest.mark.parametrize(("size", "cluster"), [(512, MIB), (10 * MIB + 512, 4096), (300 * 1024 * MIB, MIB), (8 * MIB, 65536)])
def test_an_empty_delta_is_the_one_that_qemu_img_makes(tmp_path: Path, soon: Deadline, size: int, cluster: int) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    parallels.create(str(ours), size, cluster)
    qemu_img.create(str(theirs), "parallels", size, soon, options={"cluster_size": str(cluster)})
    assert ours.read_bytes() == theirs.read_bytes()


def test_a_delta_grows_in_place_for_as_long_as_its_table_has_room(tmp_path: Path, soon: Deadline) -> None:
    path = str(tmp_path / "root.hds")
    qemu_img.create(path, "parallels", 10 * MIB, soon, options={"cluster_size": "4096"})
    assert parallels.grow(path, 9 * MIB)
    assert qemu_img.info(path, "parallels", soon).virtual_size == 10 * MIB
    room = (os.stat(path).st_size // 4096) * 4096 // 4 * 4096
    assert parallels.grow(path, 10 * MIB + 512)
    assert qemu_img.info(path, "parallels", soon).virtual_size == 10 * MIB + 512
    assert not parallels.grow(path, 2 * room)
    qemu_img.check(path, "parallels", soon)


def test_a_copy_of_a_delta_that_was_open_can_be_opened(tmp_path: Path, soon: Deadline) -> None:
    path = str(tmp_path / "root.hds")
    qemu_img.create(path, "parallels", MIB, soon, options={"cluster_size": "4096"})
    write = ["qemu-io", "-f", "parallels", "-c", "write 0 4096", path]
    with open(path, "r+b") as stream:
        os.pwrite(stream.fileno(), (0x746F6E59).to_bytes(4, "little"), 44)
    assert b"not closed correctly" in subprocess.run(write, check=False, capture_output=True).stderr
    parallels.disown(path)
    subprocess.run(write, check=True, capture_output=True)


def test_a_delta_whose_table_is_full_is_copied(tmp_path: Path, image: CachedImage, disk_bytes: bytes, soon: Deadline) -> None:
    disk = disk_image("ploop", str(tmp_path), "a", DiskOptions(cluster_size=4096))
    record = disk.create_from_image(image, None, soon)
    disk.snapshot_create(record, "clean", soon)
    grown = disk.resize(record, 64 * MIB, soon)
    disk.snapshot_revert(grown, "clean", soon)
    target = io.BytesIO()
    disk.read_to(grown, target, soon)
    assert target.getvalue() == disk_bytes.ljust(64 * MIB, b"\0")
    described = ET.parse(tmp_path / "a.ploop" / "DiskDescriptor.xml").getroot()
    assert described.findtext("Disk_Parameters/Disk_size") == described.findtext("StorageData/Storage/End") == str(64 * MIB // 512)
    assert described.findtext("StorageData/Storage/Image/File") == "root.hds"


def test_a_damaged_delta_is_said(tmp_path: Path) -> None:
    (tmp_path / "root.hds").write_bytes(bytes(4096))
    with pytest.raises(OperationFailed, match="damaged"):
        parallels.grow(str(tmp_path / "root.hds"), MIB)


# --- makers, streams


def test_a_volume_of_a_living_maker_or_of_another_host_is_left_alone() -> None:
    clock = InstantClock()
    makers.forget_dead("group")
    with makers.maker("group", clock) as worker:
        name = worker.new_name()
        assert makers.leftover("group", name, clock) is None
        assert makers.leftover("group", "poolwright-base-abc", clock) is None
        assert not makers.somebody_died("group")
    left = makers.leftover("group", name, clock)
    assert left is not None
    assert (left.dying, left.how) == (False, "disk")
    elsewhere = f"poolwright-del-zero-00000000-{int(clock.now())}-1-0"
    assert makers.leftover("group", elsewhere, clock) is None
    clock.sleep(25 * 3600)
    late = makers.leftover("group", elsewhere, clock)
    assert late is not None
    assert (late.dying, late.how) == (True, "zero")


def test_a_stream_that_takes_parts_gets_all(soon: Deadline) -> None:
    class Slow(io.BytesIO):
        def write(self, data: Any, /) -> int:
            return super().write(bytes(data)[:1000])

    target = Slow()
    streams.copy_out(io.BytesIO(b"x" * 5000), target, 6000, soon, "disk")
    assert target.getvalue() == b"x" * 5000 + bytes(1000)
    with pytest.raises(OperationFailed):
        streams.write_all(Full(), b"x")


class Full(io.BytesIO):
    def write(self, data: Any, /) -> int:
        return 0


def test_names_that_lvm_keeps_are_refused() -> None:
    for name in ("a_tdata", "a_rimage_0", "pvmove0", "snapshot", "poolwright-x"):
        with pytest.raises(InvalidSpec):
            disk_image("lvm", "group", name)
    assert disk_image("lvm", "group/pool", "web-1_root").plan_from_func(MIB).path == "/dev/group/web-1_root"


def test_a_copy_ends_at_its_deadline() -> None:
    with pytest.raises(Exception, match="in time"):
        streams.copy_out(io.BytesIO(b"x"), io.BytesIO(), 1, Deadline.after(Clock(), 0), "disk")
