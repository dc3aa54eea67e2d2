# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Every backend refuses the same, says why, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import (
    Busy,
    DeadlineExceeded,
    InsufficientResources,
    InvalidSpec,
    MissingDependency,
    NotOurs,
    VirtError,
)
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.base import Image
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.disks import blank
from ansible_collections.poolwright.virt.tests.contract.imagebackend.sampling import boundary
from ansible_collections.poolwright.virt.tests.contract.imagebackend.staging import MIB, Site


def test_names_that_could_lead_elsewhere_are_refused(site: Site) -> None:
    odd = ("", ".", "..", "../x", "a/b", ".hidden", "-x", "a..b", "a b", "a\n", "a,b", "a@b", "a:b", "ä", "x" * 201)
    for name in (*odd, *site.lab.bad_names):
        with pytest.raises(InvalidSpec, match="disk name"):
            site.lab.disk(name)


def test_odd_names_that_are_allowed_are_kept_apart(site: Site) -> None:
    names = ("web-1_root", "web--1_root", "web-1-root", "9", "_a.b+c-d")
    records = {}
    for number, name in enumerate(names):
        disk = site.lab.disk(name)
        records[name] = site.write(disk, bytes([number + 1]) * MIB)
    for number, name in enumerate(names):
        assert site.holds(records[name], bytes([number + 1]) * MIB, site.lab.disk(name))


def test_locations_of_another_kind_are_refused(site: Site) -> None:
    for location in site.lab.bad_locations:
        with pytest.raises(InvalidSpec, match=r"location|directory"):
            type(site.disk)(location, "a")


def test_a_location_that_is_not_there_is_said(site: Site) -> None:
    disk = site.lab.disk(location=site.lab.no_location)
    for attempt in (lambda: site.make(disk=disk), lambda: disk.create_from_func(blank, MIB, site.soon)):
        with pytest.raises(VirtError) as caught:
            attempt()
        assert caught.value.code in ("not_found", "operation_failed")
        assert site.lab.no_location in str(caught.value)


def test_options_of_another_backend_are_refused_by_name(site: Site) -> None:
    values: dict[str, Any] = {
        "preallocation": "falloc",
        "cluster_size": 65536,
        "extended_l2": True,
        "compressed": True,
        "clear": "discard",
        "conf": "/x",
        "user": "x",
        "keyring": "/x",
    }
    for name, value in values.items():
        if name not in site.disk.options_taken:
            with pytest.raises(InvalidSpec, match=f"the disk backend {site.lab.backend} has no option {name}"):
                site.lab.disk(**{name: value})
    wrong: dict[str, Any] = {"preallocation": "some", "clear": "some", "cluster_size": 1000, "conf": "relative", "secret": "key"}
    for name, value in wrong.items():
        with pytest.raises(InvalidSpec, match=name):
            site.lab.disk(**{name: value})


def test_what_is_not_ours_is_never_touched(site: Site) -> None:
    site.lab.put_foreign("web-1_root")
    before = site.volumes()
    assert not site.disk.exists(site.soon)
    for attempt in (site.make, lambda: site.make(9 * MIB), lambda: site.disk.create_from_func(blank, MIB, site.soon)):
        with pytest.raises(Busy):
            attempt()
    with pytest.raises(NotOurs):
        site.disk.remove(site.soon)
    for change in (
        lambda: site.disk.resize(site.disk.plan_from_func(MIB), 8 * MIB, site.soon),
        lambda: site.disk.snapshot_create(site.disk.plan_from_func(MIB), "clean", site.soon),
    ):
        with pytest.raises(VirtError):
            change()
    assert site.lab.foreign_is_whole("web-1_root")
    site.disk.remove_base(site.image.digest, site.soon)
    assert site.volumes() == [name for name in before if "base" not in name]


def test_no_room_is_said_and_leaves_nothing(site: Site) -> None:
    disk = site.lab.disk(location=site.lab.tiny_location, full=True)
    data = site.data[: 3 * MIB] * 3
    for attempt in (
        lambda: disk.create_from_image(site.image, None, site.soon),
        lambda: disk.create_from_func(lambda path: fill(path, data), 9 * MIB, site.soon),
        lambda: site.write(disk, data),
        lambda: site.make(disk=site.lab.disk("standing", location=site.lab.tiny_location)) and disk.create_from_image(site.image, None, site.soon),
    ):
        with pytest.raises(InsufficientResources, match=r"free|extend|quota") as caught:
            attempt()
        assert "poolwright-new" not in str(caught.value)
        assert ".part" not in str(caught.value)
    site.lab.disk("standing", location=site.lab.tiny_location).remove(site.soon)
    assert site.volumes(site.lab.tiny_location) == []
    small = site.lab.disk(location=site.lab.tiny_location)
    record = small.create_from_func(lambda path: fill(path, b"fits"), MIB, site.soon)
    assert site.holds(record, b"fits", small)


@pytest.mark.parametrize("way", ["an image", "a copy of an image", "contents", "a stream"])
def test_whatever_room_is_lacking_nothing_is_left_and_more_room_is_enough(site: Site, way: str) -> None:
    """At each write in turn: the room ends ever later, until it is enough."""
    for kind, amounts in site.lab.shortages.items():

        def enough(amount: int, kind: str = kind) -> bool:
            with site.lab.room(kind, amount) as location:
                done = make_within(site, site.lab.disk(location=location, full=way == "a copy of an image"), way)
                assert site.volumes(location) == []
            return done

        boundary(amounts, enough, f"{site.case} {kind}")


def make_within(site: Site, disk: Image, way: str) -> bool:
    """Make a disk and remove it with all that belongs to it; False where there was no room."""
    try:
        if way == "contents":
            record = disk.create_from_func(lambda path: fill(path, site.data), 8 * MIB, site.soon)
        else:
            record = site.write(disk, site.data) if way == "a stream" else site.make(disk=disk)
    except InsufficientResources as exc:
        assert exc.hint, exc
        assert ".part" not in str(exc)
        assert "poolwright-new" not in str(exc)
        assert not disk.exists(site.soon)
        return False
    site.lab.widen()
    assert site.holds(record, site.data, disk)
    disk.remove(site.soon)
    disk.remove_base(site.image.digest, site.soon)
    return True


def fill(path: str, data: bytes) -> None:
    Path(path).write_bytes(data)


def test_a_missing_tool_is_named_with_its_package(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.lab.disconnect()
    monkeypatch.setenv("PATH", str(site.folder))
    with pytest.raises(MissingDependency) as caught:
        site.make()
    monkeypatch.undo()
    assert site.lab.package in str(caught.value)
    assert "install" in str(caught.value)
    assert site.volumes() == []


def test_no_time_left_is_said_before_a_tool_runs(site: Site) -> None:
    with pytest.raises(DeadlineExceeded):
        site.disk.create_from_image(site.image, None, Deadline.after(Clock(), 0))
    assert site.volumes() == []
