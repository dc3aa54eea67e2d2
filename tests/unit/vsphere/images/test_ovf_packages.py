# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""OVF descriptors, manifests and archives: what is read of them, and what they are refused for."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import ImageRefused
from ansible_collections.poolwright.virt.plugins.module_utils.images.window import open_window
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images import ovf

NAMESPACES = (
    'xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" '
    'xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"'
)


def envelope(
    files: str = '<File ovf:id="f" ovf:href="a.vmdk" ovf:size="10"/>',
    disks: str = '<Disk ovf:diskId="d" ovf:fileRef="f" ovf:capacity="8" ovf:capacityAllocationUnits="byte * 2^30"/>',
    hardware: str = "",
) -> bytes:
    return (
        f"<Envelope {NAMESPACES}><References>{files}</References><DiskSection>{disks}</DiskSection>"
        f'<VirtualSystem ovf:id="m"><OperatingSystemSection osType="rhel9_64Guest"/><VirtualHardwareSection>{hardware}</VirtualHardwareSection>'
        "</VirtualSystem></Envelope>"
    ).encode()


def controller(kind: str, subtype: str) -> str:
    items = f"<rasd:InstanceID>3</rasd:InstanceID><rasd:ResourceType>{kind}</rasd:ResourceType>"
    items += f"<rasd:ResourceSubType>{subtype}</rasd:ResourceSubType>" if subtype else ""
    disk = "<rasd:HostResource>/disk/d</rasd:HostResource><rasd:Parent>3</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType>"
    return f"<Item>{items}</Item><Item>{disk}</Item>"


def test_what_a_descriptor_says() -> None:
    found = ovf.parse(envelope(), "x")
    assert (found.href, found.file_size, found.capacity, found.os_type, found.files) == ("a.vmdk", 10, 8 * 1024**3, "rhel9_64Guest", ("a.vmdk",))


@pytest.mark.parametrize(
    ("kind", "subtype", "expected"),
    [
        ("6", "VirtualSCSI", "paraVirtual"),
        ("6", "lsilogicsas", "lsiLogicsas"),
        ("6", "BusLogic", "busLogic"),
        ("6", "", "lsiLogic"),
        ("5", "PIIX4", "ide"),
        ("20", "AHCI", ""),
    ],
)
def test_the_controller_of_the_disk(kind: str, subtype: str, expected: str) -> None:
    assert ovf.parse(envelope(hardware=controller(kind, subtype)), "x").adapter_type == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"no xml", "cannot be read"),
        (b"<a/>", "no Envelope"),
        (b"<!DOCTYPE a><Envelope/>", "document type"),
        (envelope(disks=""), "has 0 disks"),
        (envelope(disks='<Disk ovf:diskId="a" ovf:fileRef="f" ovf:capacity="1"/><Disk ovf:diskId="b" ovf:fileRef="f" ovf:capacity="1"/>'), "has 2 disks"),
        (envelope(files=""), "a file that it does not list"),
        (envelope(files='<File ovf:id="f" ovf:href="../a.vmdk"/>'), "no plain file"),
        (envelope(files='<File ovf:id="f" ovf:href="https://a/b"/>'), "no plain file"),
        (envelope(files='<File ovf:id="f" ovf:href="a.vmdk" ovf:compression="gzip"/>'), "compressed"),
        (envelope(files='<File ovf:id="f" ovf:href="a.vmdk" ovf:chunkSize="7"/>'), "chunks"),
        (envelope(disks='<Disk ovf:diskId="d" ovf:fileRef="f" ovf:capacity="${x}"/>'), "no size"),
        (envelope(disks='<Disk ovf:diskId="d" ovf:fileRef="f" ovf:capacity="1" ovf:capacityAllocationUnits="byte * 2^900"/>'), "no size"),
        (envelope(disks='<Disk ovf:diskId="d" ovf:fileRef="f" ovf:capacity="1" ovf:parentRef="e"/>'), "delta"),
    ],
)
def test_what_it_is_refused_for(text: bytes, why: str) -> None:
    with pytest.raises(ImageRefused, match=why):
        ovf.parse(text, "x")


@given(st.binary(max_size=200))
def test_no_bytes_lead_to_anything_but_a_refusal(text: bytes) -> None:
    with pytest.raises(ImageRefused):
        ovf.parse(text, "x")


def test_a_manifest() -> None:
    said = ovf.parse_manifest("SHA256(a.vmdk)= AB12\nSHA1 (b (1).iso) = cd34\nnonsense\n")
    assert said == {"a.vmdk": "sha256:ab12", "b (1).iso": "sha1:cd34"}


def archive(path: Path, *members: tuple[str, bytes, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content, kind in members:
            member = tarfile.TarInfo(name)
            member.size, member.type = len(content), kind
            tar.addfile(member, io.BytesIO(content))
    return path


def test_members_lie_where_they_are(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.ova", ("a.ovf", b"one", tarfile.REGTYPE), ("a.vmdk", b"second", tarfile.REGTYPE))
    with open_window(str(path)) as file:
        found = ovf.members(file, "x")
        assert {name: part.read_at(0, 100) for name, part in found.items()} == {"a.ovf": b"one", "a.vmdk": b"second"}


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ([("../a.ovf", b"", tarfile.REGTYPE)], "no plain file"),
        ([("/a.ovf", b"", tarfile.REGTYPE)], "no plain file"),
        ([("a.ovf", b"", tarfile.SYMTYPE)], "no plain file"),
        ([("a.ovf", b"", tarfile.DIRTYPE)], "no plain file"),
        ([("a.ovf", b"", tarfile.REGTYPE), ("a.ovf", b"", tarfile.REGTYPE)], "twice"),
    ],
)
def test_what_an_archive_is_refused_for(tmp_path: Path, members: list[tuple[str, bytes, bytes]], why: str) -> None:
    with open_window(str(archive(tmp_path / "a.ova", *members))) as file, pytest.raises(ImageRefused, match=why):
        ovf.members(file, "x")


def test_members_that_do_not_fit_their_descriptor(tmp_path: Path) -> None:
    clock = Clock()
    package = ovf.parse(envelope(), "x")
    path = archive(tmp_path / "a.ova", ("a.vmdk", b"0123456789", tarfile.REGTYPE))
    with open_window(str(path)) as file:
        there = ovf.members(file, "x")
        ovf.check_members(package, {}, there, "x", Deadline.after(clock, 5))
        with pytest.raises(ImageRefused, match=r"lacks a\.vmdk"):
            ovf.check_members(package, {}, {}, "x", Deadline.after(clock, 5))
        with pytest.raises(ImageRefused, match="manifest says"):
            ovf.check_members(package, {"a.vmdk": "sha256:00"}, there, "x", Deadline.after(clock, 5))
