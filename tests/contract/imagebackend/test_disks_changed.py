# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Every backend changes its disks in the same way: larger, kept, brought back, made independent, removed."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy, InvalidSpec, NotFound
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.base import Image
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.disks import blank
from ansible_collections.poolwright.virt.tests.contract.imagebackend.labs.base import run
from ansible_collections.poolwright.virt.tests.contract.imagebackend.staging import MIB, Site


def test_a_disk_grows_and_never_shrinks(site: Site) -> None:
    record = site.make()
    grown = site.disk.resize(record, 12 * MIB, site.soon)
    assert grown == replace(record, size=12 * MIB)
    assert site.holds(grown, site.data)
    assert site.disk.resize(grown, 12 * MIB, site.soon) == grown
    with pytest.raises(InvalidSpec, match="cannot shrink"):
        site.disk.resize(grown, 9 * MIB, site.soon)
    assert site.holds(grown, site.data)


def test_what_a_disk_grows_by_reads_as_zeros_whatever_was_there(site: Site) -> None:
    other = site.lab.disk("other")
    record = site.disk.create_from_func(blank, 2 * MIB, site.soon)
    site.write(other, b"secret".ljust(512, b"!") * 8192)
    other.remove(site.soon)
    grown = site.disk.resize(record, 7 * MIB, site.soon)
    assert site.holds(grown, b"")


def test_a_disk_far_larger_than_its_image(site: Site) -> None:
    """Beyond what fits in the tables that the image was made with."""
    size = 60 * MIB
    grown = site.disk.resize(site.make(), size, site.soon)
    assert grown.size == size
    assert site.holds(grown, site.data)


def test_a_guests_bytes_are_never_taken_for_a_format(site: Site, tmp_path: Path) -> None:
    """A guest writes a header of another format, one that names a host file, to the start of its disk (CVE-2026-24708)."""
    (tmp_path / "host-file").write_bytes(b"s" * MIB)
    evil = tmp_path / "evil"
    run("qemu-img", "create", "-q", "-f", "qcow2", "-b", tmp_path / "host-file", "-F", "raw", evil, "8M")
    data = evil.read_bytes().ljust(MIB, b"\0")
    record = site.write(site.disk, data)
    site.disk.snapshot_create(record, "kept", site.soon)
    grown = site.disk.resize(record, 9 * MIB, site.soon)
    assert site.holds(grown, data)
    site.disk.snapshot_revert(grown, "kept", site.soon)
    assert site.holds(site.disk.flatten(grown, site.soon), data)
    assert (tmp_path / "host-file").read_bytes() == b"s" * MIB


def test_removing_twice_is_no_error(site: Site) -> None:
    assert site.disk.remove(site.soon) is False
    site.make()
    site.lab.disk("other").create_from_func(blank, MIB, site.soon)
    assert site.disk.remove(site.soon) is True
    assert site.disk.remove(site.soon) is False
    assert not site.disk.exists(site.soon)
    assert site.lab.disk("other").exists(site.soon)
    assert Path(site.image.path).exists()


def test_snapshots_are_kept_by_name(site: Site) -> None:
    record = site.make()
    assert site.disk.snapshot_list(site.soon) == []
    for name in ("clean", "after.1-b"):
        site.disk.snapshot_create(record, name, site.soon)
    assert site.disk.snapshot_list(site.soon) == ["after.1-b", "clean"]
    with pytest.raises(Busy, match="snapshot of that name"):
        site.disk.snapshot_create(record, "clean", site.soon)
    assert site.disk.snapshot_delete("clean", site.soon) is True
    assert site.disk.snapshot_delete("clean", site.soon) is False
    assert site.disk.snapshot_list(site.soon) == ["after.1-b"]
    assert site.lab.disk("web-1").snapshot_list(site.soon) == []
    assert site.holds(record, site.data)


def test_a_revert_brings_the_contents_back_and_keeps_the_size(site: Site) -> None:
    record = site.make()
    site.disk.snapshot_create(record, "clean", site.soon)
    grown = site.disk.resize(record, 10 * MIB, site.soon)
    for _time in range(2):
        overwrite(site, b"another system")
        assert not site.holds(grown, site.data)
        site.disk.snapshot_revert(grown, "clean", site.soon)
        assert site.holds(grown, site.data)
    assert site.disk.snapshot_list(site.soon) == ["clean"]
    assert site.disk.resize(grown, 11 * MIB, site.soon).size == 11 * MIB


def overwrite(site: Site, data: bytes, disk: Image | None = None) -> None:
    """Write to the start of the disk, as its guest would."""
    info = (disk or site.disk).libvirt_info()
    format = {"ploop": "parallels"}.get(info.format, info.format)
    place = info.source
    if info.type == "network":
        place = f"rbd:{info.source}:conf={site.lab.options.conf}"
    source = site.folder / "guest-data"
    source.write_bytes(data.ljust(512, b"\0"))
    run("qemu-io", "-f", format, "-c", f"write -q -s {source} 0 512", "-c", "flush", place)


def test_a_snapshot_that_is_not_there_is_said(site: Site) -> None:
    record = site.make()
    site.disk.snapshot_create(record, "clean", site.soon)
    with pytest.raises(NotFound, match="no such snapshot"):
        site.disk.snapshot_revert(record, "other", site.soon)
    for name in ("", "../x", "a/b", "-x", "a@b", "a b", "x" * 41):
        with pytest.raises(InvalidSpec, match="snapshot name"):
            site.disk.snapshot_create(record, name, site.soon)
    assert site.disk.snapshot_list(site.soon) == ["clean"]


def test_a_disk_goes_with_its_snapshots(site: Site) -> None:
    record = site.make()
    site.disk.snapshot_create(record, "clean", site.soon)
    site.disk.snapshot_create(record, "later", site.soon)
    assert site.disk.remove(site.soon)
    site.disk.remove_base(site.image.digest, site.soon)
    assert site.volumes() == []
    site.make()
    assert site.disk.snapshot_list(site.soon) == []


def test_a_disk_that_goes_is_cleared_as_asked(site: Site) -> None:
    for number, how in enumerate(site.lab.clearings):
        disk = site.lab.disk(clear=how)
        secret = f"secret {number} ".encode() * 512
        record = site.write(disk, secret * 256)
        disk.snapshot_create(record, "clean", site.soon)
        if how != "none":
            assert site.lab.keeps(secret)
        assert disk.remove(site.soon)
        assert site.volumes() == []
        if how != "none":
            assert not site.lab.keeps(secret), how


def test_a_flattened_disk_needs_no_base(site: Site, tmp_path: Path) -> None:
    own = tmp_path / "image"
    own.write_bytes(Path(site.image.path).read_bytes())
    record = site.disk.create_from_image(replace(site.image, path=str(own)), 9 * MIB, site.soon)
    site.disk.snapshot_create(record, "clean", site.soon)
    overwrite(site, b"changed")
    flat = site.disk.flatten(record, site.soon)
    assert flat == replace(record, backing=None)
    assert site.disk.flatten(flat, site.soon) == flat
    own.unlink()
    site.disk.remove_base(site.image.digest, site.soon)
    assert site.holds(flat, b"changed".ljust(512, b"\0") + site.data[512:])
    site.disk.snapshot_revert(flat, "clean", site.soon)
    assert site.holds(flat, site.data)
    assert site.disk.resize(flat, 10 * MIB, site.soon).size == 10 * MIB


def test_a_base_is_not_taken_from_under_a_disk(site: Site) -> None:
    record = site.make()
    with contextlib.suppress(Busy):
        site.disk.remove_base(site.image.digest, site.soon)
    assert site.holds(record, site.data)
    site.disk.remove(site.soon)
    site.disk.remove_base(site.image.digest, site.soon)
    assert site.disk.remove_base(site.image.digest, site.soon) is False
    assert site.volumes() == []
    assert site.holds(site.make(), site.data)


def test_a_disk_that_is_not_there_is_said(site: Site, tmp_path: Path) -> None:
    record = site.disk.plan_from_func(MIB)
    with open(tmp_path / "copy", "xb") as stream:
        for attempt in (
            lambda: site.disk.read_to(record, stream, site.soon),
            lambda: site.disk.resize(record, 2 * MIB, site.soon),
            lambda: site.disk.flatten(record, site.soon),
            lambda: site.disk.snapshot_create(record, "clean", site.soon),
            lambda: site.disk.snapshot_revert(record, "clean", site.soon),
        ):
            with pytest.raises(NotFound):
                attempt()
    assert site.disk.snapshot_list(site.soon) == []
    assert site.disk.snapshot_delete("clean", site.soon) is False
    assert site.volumes() == []
