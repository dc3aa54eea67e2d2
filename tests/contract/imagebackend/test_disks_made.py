# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Every backend makes the same disks from the same descriptions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy, ImageRefused, InvalidSpec, OperationFailed
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.disks import CreatableDisk, DiskFromFunc, DiskFromImage, blank, create_missing
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.records import DiskInfo, DiskRecord
from ansible_collections.poolwright.virt.tests.contract.imagebackend.staging import MIB, Site


def contents(path: str) -> None:
    with open(path, "r+b") as stream:
        stream.write(b"contents")


def test_an_image_becomes_a_disk_of_its_size(site: Site) -> None:
    planned = site.disk.plan_from_image(site.image, None)
    assert not site.disk.exists(site.soon)
    assert site.volumes() == []
    record = site.make()
    assert record == planned
    assert record.size == len(site.data)
    assert site.disk.exists(site.soon)
    assert site.holds(record, site.data)


def test_a_raw_image_becomes_the_same_disk(site: Site) -> None:
    record = site.disk.create_from_image(site.raw_image, None, site.soon)
    assert site.holds(record, site.data)


def test_a_larger_disk_ends_in_zeros(site: Site) -> None:
    record = site.make(10 * MIB + 1)
    assert record.size == 10 * MIB + 512
    assert site.holds(record, site.data)


def test_a_disk_smaller_than_its_image_is_refused(site: Site) -> None:
    for size in (1, len(site.data) - 512, 0, -1):
        for attempt in (site.disk.plan_from_image, lambda image, wanted: site.make(wanted)):
            with pytest.raises((ImageRefused, InvalidSpec), match=r"smaller than the image's|cannot have"):
                attempt(site.image, size)
    assert site.volumes() == []


def test_a_full_copy_stands_on_nothing(site: Site, tmp_path: Path) -> None:
    disk = site.lab.disk(full=True)
    own = tmp_path / "image"
    own.write_bytes(Path(site.image.path).read_bytes())
    record = disk.create_from_image(type(site.image)(**{**vars(site.image), "path": str(own)}), 9 * MIB, site.soon)
    own.unlink()
    disk.remove_base(site.image.digest, site.soon)
    assert record.backing is None
    assert site.holds(record, site.data, disk)


def test_contents_become_a_disk(site: Site) -> None:
    record = site.disk.create_from_func(contents, 3 * MIB + 1, site.soon, hint="text")
    assert record == site.disk.plan_from_func(3 * MIB + 1)
    assert record.size == 3 * MIB + 512
    assert site.holds(record, b"contents")


def test_contents_larger_than_the_disk_are_refused(site: Site) -> None:
    with pytest.raises(InvalidSpec, match="513 bytes, the disk 512"):
        site.disk.create_from_func(lambda path: contents_of(path, 513), 512, site.soon)
    assert site.volumes() == []


def contents_of(path: str, size: int) -> None:
    Path(path).write_bytes(b"x" * size)


def test_an_error_while_contents_are_written_leaves_nothing(site: Site) -> None:
    def fail(path: str) -> None:
        contents_of(path, 100)
        raise KeyError("made up")

    with pytest.raises(KeyError):
        site.disk.create_from_func(fail, MIB, site.soon)
    assert site.volumes() == []
    assert not site.disk.exists(site.soon)


def test_a_blank_disk_reads_as_zeros_whatever_was_there(site: Site) -> None:
    """Also where an earlier disk of somebody else had its data (CVE-2012-5625)."""
    site.write(site.disk, b"secret".ljust(512, b"!") * 8192)
    site.disk.remove(site.soon)
    record = site.disk.create_from_func(blank, 6 * MIB, site.soon)
    assert site.holds(record, b"")


def test_a_stream_becomes_a_disk_and_comes_back(site: Site) -> None:
    record = site.write(site.disk, site.data)
    assert record == site.disk.plan_from_func(len(site.data))
    assert site.holds(record, site.data)


def test_a_short_stream_ends_in_zeros_and_a_long_one_is_refused(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "stream"
    path.write_bytes(b"y" * 1000)
    with open(path, "rb") as stream:
        record = site.disk.create_from_stream(stream, 3 * MIB, site.soon)
    assert site.holds(record, b"y" * 1000)
    site.disk.remove(site.soon)
    path.write_bytes(b"y" * 4 * MIB)
    with open(path, "rb") as stream, pytest.raises(InvalidSpec, match="more bytes than the disk's"):
        site.disk.create_from_stream(stream, 3 * MIB, site.soon)
    assert site.volumes() == []


def test_zeros_that_are_read_become_holes(site: Site, tmp_path: Path) -> None:
    record = site.make(64 * MIB)
    with open(tmp_path / "copy", "xb") as stream:
        site.disk.read_to(record, stream, site.soon)
    found = (tmp_path / "copy").stat()
    assert found.st_size == 64 * MIB
    assert found.st_blocks * 512 < 10 * MIB


def test_a_disk_that_is_there_is_never_replaced(site: Site, tmp_path: Path) -> None:
    record = site.make()
    (tmp_path / "stream").write_bytes(b"z" * 512)
    before = site.volumes()
    with open(tmp_path / "stream", "rb") as stream:
        for attempt in (
            site.make,
            lambda: site.make(9 * MIB),
            lambda: site.lab.disk(full=True).create_from_image(site.image, None, site.soon),
            lambda: site.disk.create_from_func(blank, MIB, site.soon),
            lambda: site.disk.create_from_stream(stream, MIB, site.soon),
        ):
            with pytest.raises(Busy, match="there already"):
                attempt()
    assert site.holds(record, site.data)
    assert site.volumes() == before


def test_without_its_image_no_disk_is_made(site: Site) -> None:
    gone = type(site.image)(**{**vars(site.image), "path": f"{site.image.path}.gone"})
    with pytest.raises(OperationFailed, match="gone from the cache"):
        site.disk.create_from_image(gone, None, site.soon)
    assert site.volumes() == []


def test_one_description_makes_the_same_storage_again(site: Site) -> None:
    root, data = site.lab.disk("web-1_root"), site.lab.disk("web-1_data")
    storage: list[CreatableDisk] = [DiskFromImage(root, site.image, 9 * MIB), DiskFromFunc(data, contents, MIB, "text")]
    assert sum(item.required_bytes() for item in storage) > 0
    planned = [item.record() for item in storage]
    first = create_missing(storage, site.soon)
    assert first == planned == create_missing(storage, site.soon)
    read = [site.read(record, disk) for record, disk in zip(first, (root, data))]
    root.remove(site.soon)
    assert create_missing(storage, site.soon) == first
    assert [site.read(record, disk) for record, disk in zip(first, (root, data))] == read


def test_a_record_survives_json_and_leads_to_the_disk(site: Site) -> None:
    made = site.make()
    record = DiskRecord.from_dict(json.loads(json.dumps(made.to_dict())))
    assert record == made
    again = site.lab.disk()
    assert again.exists(site.soon)
    assert site.holds(record, site.data, again)


def test_libvirt_is_told_format_and_place(site: Site) -> None:
    record = site.disk.plan_from_func(MIB)
    info = site.disk.libvirt_info()
    assert isinstance(info, DiskInfo)
    assert (info.source, info.format) == (record.path, record.format)
    assert info.type in ("file", "block", "network")
    assert (info.type == "network") == bool(info.protocol and info.hosts)


def test_room_that_is_needed_and_free_is_told(site: Site) -> None:
    assert 0 < site.disk.bytes_from_image(site.image, None) + MIB < site.disk.free_bytes(site.soon)
    assert site.disk.bytes_from_func(6 * MIB) >= 6 * MIB
    assert site.lab.disk(location=site.lab.tiny_location).free_bytes(site.soon) < 8 * MIB
