# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""VMDKs that are a descriptor and files beside it."""

from __future__ import annotations

import gzip
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import ChecksumMismatch, ImageRefused, InsufficientResources, NotFound, TransferFailed
from ansible_collections.poolwright.virt.plugins.module_utils.images import vmdk
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import ImageCache
from ansible_collections.poolwright.virt.plugins.module_utils.images.source import ImageSource
from ansible_collections.poolwright.virt.tests.seeds import steps

MIB = 1024 * 1024
GIB = 1024 * MIB
ENSURE = Path(__file__).with_name("run_ensure.py")


@pytest.fixture
def root(cache: ImageCache) -> Path:
    return Path(cache.root)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "offered"
    found.mkdir()
    return found


@pytest.fixture
def flat(folder: Path, raw_image: Path, qemu: Any) -> Path:
    """A descriptor ``disk.vmdk`` with ``disk-flat.vmdk`` beside it."""
    path = folder / "disk.vmdk"
    qemu("convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=monolithicFlat", raw_image, path)
    return path


def joined(*paths: Path) -> str:
    return "sha256:" + hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def test_a_disk_beside_its_descriptor_becomes_one_file(cache: ImageCache, flat: Path, raw_image: Path, qemu: Any, soon: Deadline, files_below: Any) -> None:
    image = cache.ensure(ImageSource(str(flat), None, "vmdk"), soon)
    assert image.digest == joined(flat, flat.with_name("disk-flat.vmdk"))
    assert (image.format, image.virtual_size, image.size) == ("vmdk", raw_image.stat().st_size, os.stat(image.path).st_size)
    qemu("compare", "-f", "vmdk", "-F", "raw", image.path, raw_image)
    assert files_below(Path(cache.store.tmp)) == []


def test_a_disk_in_several_parts_keeps_their_order(cache: ImageCache, folder: Path, tmp_path: Path, qemu: Any, soon: Deadline) -> None:
    raw = tmp_path / "raw"
    with open(raw, "wb") as stream:
        for place in (0, 2 * GIB - MIB, 2 * GIB, 5 * GIB - MIB):
            stream.seek(place)
            stream.write(os.urandom(MIB))
    qemu("convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=twoGbMaxExtentSparse", raw, folder / "disk.vmdk")
    assert len(list(folder.iterdir())) == 4
    image = cache.ensure(ImageSource(str(folder / "disk.vmdk"), None, "vmdk", "", "raw"), soon)
    assert image.virtual_size == 5 * GIB
    qemu("compare", "-f", "raw", "-F", "raw", image.path, raw)


def test_over_the_web_all_of_it_is_what_the_checksum_is_of(web: Any, cache: ImageCache, root: Path, clock: Clock, flat: Path, soon: Deadline) -> None:
    beside = flat.with_name("disk-flat.vmdk")
    url = web.add("/images/disk.vmdk", flat.read_bytes())
    web.add("/images/disk-flat.vmdk", beside.read_bytes())
    whole = ImageSource(url, joined(flat, beside), "vmdk")
    image = cache.ensure(whole, soon)
    assert cache.ensure(whole, soon) == image
    assert [web.downloads(f"/images/{path.name}") for path in (flat, beside)] == [1, 1]
    with pytest.raises(ChecksumMismatch):
        cache.ensure(ImageSource(url, joined(flat), "vmdk"), soon)
    # Without a checksum nothing but reading it all tells whether it has changed.
    bare = ImageSource(url, None, "vmdk")
    assert cache.ensure(bare, soon).digest == image.digest
    later = ImageCache(str(root), clock)
    assert later.foresee(bare, soon) == image
    web.add("/images/disk-flat.vmdk", beside.read_bytes()[::-1])
    assert later.foresee(bare, soon) is None
    assert later.ensure(bare, soon).digest != image.digest


def test_a_part_that_changed_is_another_image(cache: ImageCache, root: Path, clock: Clock, flat: Path, soon: Deadline) -> None:
    source = ImageSource(str(flat), None, "vmdk")
    first = cache.ensure(source, soon)
    assert ImageCache(str(root), clock).lookup(source) == first
    beside = flat.with_name("disk-flat.vmdk")
    beside.write_bytes(beside.read_bytes()[::-1])
    later = ImageCache(str(root), clock)
    assert later.lookup(source) is None
    assert later.ensure(source, soon).digest != first.digest
    beside.unlink()
    assert ImageCache(str(root), clock).lookup(source) is None


def test_a_part_that_is_a_link_leads_nowhere(cache: ImageCache, flat: Path, tmp_path: Path, soon: Deadline) -> None:
    beside = flat.with_name("disk-flat.vmdk")
    beside.rename(tmp_path / "elsewhere")
    beside.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TransferFailed, match=r"disk-flat\.vmdk"):
        cache.ensure(ImageSource(str(flat), None, "vmdk"), soon)
    assert cache.store.entries() == []


def test_a_part_that_is_missing_is_named(cache: ImageCache, flat: Path, soon: Deadline, files_below: Any) -> None:
    flat.with_name("disk-flat.vmdk").unlink()
    with pytest.raises(NotFound, match=r"disk-flat\.vmdk"):
        cache.ensure(ImageSource(str(flat), None, "vmdk"), soon)
    assert files_below(Path(cache.root)) == []


def test_compressed_it_is_refused(cache: ImageCache, flat: Path, folder: Path, soon: Deadline) -> None:
    packed = folder / "disk.vmdk.gz"
    packed.write_bytes(gzip.compress(flat.read_bytes()))
    with pytest.raises(ImageRefused, match="its disk is in other files"):
        cache.ensure(ImageSource(str(packed), None, "vmdk", "gzip"), soon)


@given(st.text(), st.lists(st.text('RWFLATSPE 0129"/.-_\\x\t'), max_size=6))
def test_any_descriptor_is_judged_and_names_files_beside_it_only(start: str, lines: list[str]) -> None:
    good = 'RW 8 FLAT "a-flat.vmdk" 0'
    text = "\n".join(['# Disk DescriptorFile\ncreateType="monolithicFlat"', start, good, *lines])
    extents, problems = vmdk.read_parts(text.encode("utf-8", "replace"))
    for extent in () if problems else extents:
        assert os.path.basename(extent.name) == extent.name
        assert extent.name not in ("", ".", "..")
        assert extent.sectors > 0


def test_killed_at_any_step_the_next_run_is_right(
    tmp_path: Path, clock: Clock, run_killed_at: Any, flat: Path, raw_image: Path, qemu: Any, soon: Deadline, files_below: Any
) -> None:
    digest = joined(flat, flat.with_name("disk-flat.vmdk"))
    name = f"sha256/{digest[7:]}.vmdk"
    for step in steps(300, gate=16, soak=4):
        root = tmp_path / f"cache{step}"
        finished = run_killed_at(ENSURE, step, root=str(root), source=str(flat), checksum=digest, format="vmdk")
        if (root / name).exists():
            qemu("compare", "-f", "vmdk", "-F", "raw", root / name, raw_image)
        image = ImageCache(str(root), clock).ensure(ImageSource(str(flat), digest, "vmdk"), soon)
        qemu("compare", "-f", "vmdk", "-F", "raw", image.path, raw_image)
        assert files_below(root) == [name, f"{name}.json"]
        if finished:
            break
    assert step > 20


def test_a_full_disk_is_said_and_leaves_nothing(clock: Clock, flat: Path, soon: Deadline, small_disk: Path, files_below: Any) -> None:
    cache = ImageCache(str(small_disk / "cache"), clock)
    with pytest.raises(InsufficientResources):
        cache.ensure(ImageSource(str(flat), None, "vmdk"), soon)
    assert files_below(small_disk) == []
