# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every backend makes the same disks, and refuses and leaves behind the same: nothing."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import (
    Busy,
    DeadlineExceeded,
    ImageRefused,
    InsufficientResources,
    InvalidSpec,
    OperationFailed,
)
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.base import Image
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.disks import CreatableDisk, DiskFromFunc, DiskFromImage, blank, create_missing
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.options import DiskOptions
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.records import Backing, DiskInfo, DiskRecord
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.registry import disk_image
from ansible_collections.poolwright.virt.plugins.module_utils.images import qemu_img
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import CachedImage, ImageCache
from ansible_collections.poolwright.virt.plugins.module_utils.images.source import ImageSource
from ansible_collections.poolwright.virt.tests.seeds import steps

MIB = 1024 * 1024
GIB = 1024 * MIB
CREATE = Path(__file__).with_name("run_create.py")
FILES = ("flat", "qcow2")
KINDS = [("flat", False), ("qcow2", False), ("qcow2", True)]


@pytest.fixture
def disks(tmp_path: Path) -> Path:
    return tmp_path / "disks"


@pytest.fixture(params=KINDS, ids=["flat", "qcow2", "qcow2 full"])
def kind(request: pytest.FixtureRequest) -> tuple[str, bool]:
    backend, full = request.param
    return str(backend), bool(full)


@pytest.fixture
def disk(kind: tuple[str, bool], disks: Path) -> Image:
    return disk_image(kind[0], str(disks), "web-1_root", DiskOptions(kind[1]))


@pytest.fixture
def read(tmp_path: Path, qemu: Callable[..., str]) -> Callable[[DiskRecord], bytes]:
    """What a guest would read from a disk."""

    def run(record: DiskRecord) -> bytes:
        out = tmp_path / "read"
        qemu("convert", "-f", record.format, "-O", "raw", record.path, out)
        return out.read_bytes()

    return run


def writing(data: bytes) -> Callable[[str], None]:
    def write(path: str) -> None:
        Path(path).write_bytes(data)

    return write


def no_more_than(disks: Path, *names: str) -> bool:
    return sorted(path.name for path in disks.rglob("*")) == sorted(names) if disks.exists() else not names


@pytest.mark.parametrize("size", [None, 8 * MIB, 9 * MIB, 20 * GIB])
def test_a_disk_has_the_images_bytes_and_the_size_asked_for(
    disk: Image, disks: Path, image: CachedImage, disk_bytes: bytes, soon: Deadline, read: Any, size: int | None
) -> None:
    planned = disk.plan_from_image(image, size)
    assert not disks.exists()
    assert not disk.exists(soon)
    record = disk.create_from_image(image, size, soon)
    assert record == planned
    assert record.size == (size or 8 * MIB)
    assert disk.exists(soon)
    if record.size < GIB:
        assert read(record) == disk_bytes + bytes(record.size - len(disk_bytes))
    assert qemu_img.info(record.path, record.format, soon).virtual_size == record.size
    assert no_more_than(disks, os.path.basename(record.path))
    assert stat.S_IMODE(os.stat(record.path).st_mode) == 0o600


def test_a_disk_takes_no_more_room_than_it_says(disk: Image, image: CachedImage, soon: Deadline) -> None:
    required = disk.bytes_from_image(image, 20 * GIB)
    record = disk.create_from_image(image, 20 * GIB, soon)
    assert os.stat(record.path).st_blocks * 512 <= required + 64 * 1024
    assert required < 4 * MIB


@pytest.mark.parametrize("size", [1, 8 * MIB - 512, 0, -1])
def test_a_disk_smaller_than_its_image_is_refused_before_anything_is_written(disk: Image, disks: Path, image: CachedImage, soon: Deadline, size: int) -> None:
    for attempt in (lambda: disk.plan_from_image(image, size), lambda: disk.create_from_image(image, size, soon)):
        with pytest.raises((ImageRefused, InvalidSpec), match=r"smaller than the image's|cannot have"):
            attempt()
    assert not disks.exists()


def test_sizes_are_whole_sectors(disk: Image, image: CachedImage) -> None:
    assert disk.plan_from_image(image, 8 * MIB + 1).size == 8 * MIB + 512
    assert disk.plan_from_func(1).size == 512


def test_a_disk_that_is_there_is_never_replaced(disk: Image, disks: Path, image: CachedImage, soon: Deadline) -> None:
    record = disk.create_from_image(image, None, soon)
    before = os.stat(record.path)
    for attempt in (lambda: disk.create_from_image(image, None, soon), lambda: disk.create_from_func(blank, MIB, soon)):
        with pytest.raises(Busy, match="there already"):
            attempt()
    assert os.stat(record.path).st_ino == before.st_ino
    assert no_more_than(disks, os.path.basename(record.path))


def test_not_even_one_that_came_meanwhile(disk: Image, disks: Path, soon: Deadline) -> None:
    record = disk.plan_from_func(MIB)

    def slow(path: str) -> None:
        Path(record.path).write_bytes(b"another run's")

    with pytest.raises(Busy):
        disk.create_from_func(slow, MIB, soon)
    assert Path(record.path).read_bytes() == b"another run's"
    assert no_more_than(disks, os.path.basename(record.path))


def test_contents_become_a_disk(disk: Image, disks: Path, soon: Deadline, read: Any) -> None:
    def write(path: str) -> None:
        with open(path, "r+b") as stream:
            stream.write(b"contents")

    record = disk.create_from_func(write, 3 * MIB, soon, hint="text")
    assert record == disk.plan_from_func(3 * MIB)
    assert read(record) == b"contents".ljust(3 * MIB, b"\0")
    assert no_more_than(disks, os.path.basename(record.path))


def test_a_blank_disk_reads_as_zeros_and_takes_no_room(disk: Image, soon: Deadline, read: Any) -> None:
    record = disk.create_from_func(blank, 64 * MIB, soon)
    assert os.stat(record.path).st_blocks * 512 < MIB
    assert read(record) == bytes(64 * MIB)


def test_contents_larger_than_the_disk_are_refused(disk: Image, disks: Path, soon: Deadline) -> None:
    with pytest.raises(InvalidSpec, match="513 bytes, the disk 512"):
        disk.create_from_func(writing(b"x" * 513), 512, soon)
    assert no_more_than(disks)


def test_an_error_while_contents_are_written_leaves_nothing(disk: Image, disks: Path, soon: Deadline) -> None:
    def fail(path: str) -> None:
        Path(path).write_bytes(b"half")
        raise KeyError("made up")

    with pytest.raises(KeyError):
        disk.create_from_func(fail, MIB, soon)
    assert no_more_than(disks)
    assert not disk.exists(soon)


def test_a_disk_grows_and_never_shrinks(disk: Image, image: CachedImage, disk_bytes: bytes, soon: Deadline, read: Any) -> None:
    record = disk.create_from_image(image, None, soon)
    grown = disk.resize(record, 10 * MIB, soon)
    assert grown == replace(record, size=10 * MIB)
    assert read(grown) == disk_bytes + bytes(2 * MIB)
    assert disk.resize(grown, 10 * MIB, soon) == grown
    with pytest.raises(InvalidSpec, match="cannot shrink"):
        disk.resize(grown, 9 * MIB, soon)
    assert len(read(grown)) == 10 * MIB


def test_removal_takes_the_disk_and_what_a_killed_run_left(disk: Image, disks: Path, image: CachedImage, soon: Deadline) -> None:
    record = disk.create_from_image(image, None, soon)
    (disks / f".{os.path.basename(record.path)}.1-0.part").mkdir()
    assert disk.remove(soon) is True
    assert disk.remove(soon) is False
    assert no_more_than(disks)
    assert os.path.exists(image.path)


def test_libvirt_is_told_format_and_place(disk: Image) -> None:
    record = disk.plan_from_func(MIB)
    assert disk.libvirt_info() == DiskInfo("file", record.format, record.path)


def test_a_guests_bytes_are_never_taken_for_a_format(disks: Path, image: CachedImage, soon: Deadline, tmp_path: Path, qemu: Any) -> None:
    """A guest writes a qcow2 header that names a host file into its raw disk."""
    disk = disk_image("flat", str(disks), "web-1_root")
    record = disk.create_from_image(image, None, soon)
    (tmp_path / "host-file").write_bytes(b"s" * MIB)
    evil = tmp_path / "evil"
    qemu("create", "-f", "qcow2", "-b", tmp_path / "host-file", "-F", "raw", evil, "8M")
    with open(record.path, "r+b") as stream:
        stream.write(evil.read_bytes())
    disk.resize(record, 16 * MIB, soon)
    data = Path(record.path).read_bytes()
    assert data.startswith(evil.read_bytes())
    assert len(data) == 16 * MIB
    assert (tmp_path / "host-file").read_bytes() == b"s" * MIB


# --- what overlays stand on


def test_an_overlay_names_its_base_and_the_bases_format(disks: Path, image: CachedImage, soon: Deadline, qemu: Any, disk_bytes: bytes) -> None:
    record = disk_image("qcow2", str(disks), "a").create_from_image(image, 20 * MIB, soon)
    assert record.backing == Backing(image.path, image.format, image.digest)
    said = json.loads(qemu("info", "--output=json", "-f", "qcow2", record.path))
    assert (said["backing-filename"], said["backing-filename-format"]) == (image.path, image.format)
    qemu("compare", "-f", "qcow2", "-F", image.format, record.path, image.path)


def test_a_full_copy_stands_alone(disks: Path, image: CachedImage, soon: Deadline, disk_bytes: bytes, read: Any) -> None:
    records = [disk_image(backend, str(disks), "a", DiskOptions(full=True)).create_from_image(image, None, soon) for backend in FILES]
    os.unlink(image.path)
    assert [(record.backing, read(record) == disk_bytes) for record in records] == [(None, True)] * len(FILES)


def test_without_its_base_no_disk_is_made(disk: Image, disks: Path, image: CachedImage, soon: Deadline) -> None:
    os.unlink(image.path)
    with pytest.raises(OperationFailed, match="gone from the cache"):
        disk.create_from_image(image, None, soon)
    assert no_more_than(disks)


# --- killed, crowded, full


@pytest.mark.parametrize("from_image", [True, False])
def test_killed_at_any_step_the_disk_is_whole_or_not_there(
    kind: tuple[str, bool], tmp_path: Path, image: CachedImage, disk_bytes: bytes, soon: Deadline, read: Any, run_killed_at: Any, from_image: bool
) -> None:
    expected = disk_bytes if from_image else b"contents".ljust(8 * MIB, b"\0")
    for step in steps(100, gate=6, soak=2):
        location = tmp_path / f"disks{step}"
        request = {"backend": kind[0], "location": str(location), "full": kind[1], "size": 8 * MIB, "contents": "contents"}
        finished = run_killed_at(CREATE, step, image=asdict(image) if from_image else None, **request)
        disk = disk_image(kind[0], str(location), "web-1_root", DiskOptions(kind[1]))
        if disk.exists(soon):
            assert read(disk.plan_from_func(8 * MIB)) == expected
            disk.remove(soon)
            assert no_more_than(location)
        record = disk.create_from_image(image, None, soon)
        assert no_more_than(location, os.path.basename(record.path))
        if finished:
            break
    assert step > 5


def test_two_processes_make_one_disk(kind: tuple[str, bool], disks: Path, image: CachedImage, disk_bytes: bytes, read: Any, start_python: Any) -> None:
    request = {"backend": kind[0], "location": str(disks), "full": kind[1], "size": 8 * MIB, "contents": "", "image": asdict(image)}
    running = [start_python(CREATE, **request) for _time in range(4)]
    complaints = [process.communicate(timeout=600)[1] for process in running]
    assert sorted(process.returncode for process in running) == [0, 1, 1, 1]
    assert all("Busy" in text for text in complaints if text)
    record = disk_image(kind[0], str(disks), "web-1_root", DiskOptions(kind[1])).plan_from_image(image, None)
    assert read(record) == disk_bytes
    assert no_more_than(disks, os.path.basename(record.path))


@pytest.mark.parametrize("backend", ["flat", "qcow2"])
def test_a_full_disk_is_said_and_leaves_nothing(backend: str, small_disk: Path, image: CachedImage, soon: Deadline) -> None:
    location = small_disk / "disks"
    disk = disk_image(backend, str(location), "a", DiskOptions(full=True))
    with pytest.raises(InsufficientResources, match="free some space") as caught:
        disk.create_from_image(image, None, soon)
    assert caught.value.obj == disk.plan_from_func(1).path
    assert ".part" not in str(caught.value)
    assert no_more_than(location)
    with pytest.raises(InsufficientResources):
        disk.create_from_func(writing(b"x" * 4 * MIB), 4 * MIB, soon)
    assert no_more_than(location)
    assert disk.create_from_func(blank, MIB, soon).size == MIB


# --- names, places, records, descriptions


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", ".hidden", "-x", "a..b", "a b", "a\n", "a,b", "ä", "x" * 201])
def test_a_name_that_could_lead_elsewhere_is_refused(name: str, disks: Path) -> None:
    for backend in FILES:
        with pytest.raises(InvalidSpec, match="disk name"):
            disk_image(backend, str(disks), name)


@pytest.mark.parametrize("location", ["", "disks", "/var/../etc", "json:{}"])
def test_a_place_that_could_lead_elsewhere_is_refused(location: str) -> None:
    for backend in FILES:
        with pytest.raises(InvalidSpec, match="absolute path"):
            disk_image(backend, location, "a")


def test_an_unknown_backend_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(InvalidSpec, match="flat, lvm, ploop, qcow2, rbd"):
        disk_image("zfs", "/disks", "a")


def test_a_record_survives_json(disk: Image, image: CachedImage) -> None:
    for record in (disk.plan_from_image(image, None), disk.plan_from_func(MIB)):
        assert DiskRecord.from_dict(json.loads(json.dumps(record.to_dict()))) == record


@pytest.mark.parametrize("damage", [{"size": None}, {"size": "x"}, {"path": 3}, {"backing": "x"}, {"backing": {}}])
def test_a_damaged_record_is_said(damage: dict[str, object]) -> None:
    whole = DiskRecord("flat", "raw", "/disks/a.raw", MIB).to_dict()
    with pytest.raises(InvalidSpec, match="damaged"):
        DiskRecord.from_dict({**whole, **damage})
    with pytest.raises(InvalidSpec, match="damaged"):
        DiskRecord.from_dict({})


def test_one_description_makes_the_same_storage_twice(tmp_path: Path, cache: ImageCache, raw_image: Path, soon: Deadline, read: Any) -> None:
    image = cache.ensure(ImageSource(str(raw_image), None, "raw"), soon)

    def storage(place: Path) -> list[CreatableDisk]:
        root = disk_image("qcow2", str(place), "web-1_root")
        data = disk_image("flat", str(place), "web-1_data")
        return [DiskFromImage(root, image, 9 * MIB), DiskFromFunc(data, writing(b"data"), MIB, "data")]

    here, there = storage(tmp_path / "here"), storage(tmp_path / "there")
    assert sum(item.required_bytes() for item in here) < 4 * MIB
    made = [create_missing(disks, soon) for disks in (here, there)]
    assert made[0] == [item.record() for item in here] == create_missing(here, soon)
    assert [read(record) for record in made[0]] == [read(record) for record in made[1]]


def test_no_time_left_is_said_before_the_tool_runs(disks: Path, image: CachedImage, clock: Clock) -> None:
    for backend in FILES:
        with pytest.raises(DeadlineExceeded):
            disk_image(backend, str(disks), "a").create_from_image(image, None, Deadline.after(clock, 0))
    assert no_more_than(disks)
