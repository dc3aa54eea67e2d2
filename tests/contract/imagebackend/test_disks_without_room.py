# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Storage that is full when a disk is to be changed: every backend says so, and nothing of the disk or its snapshots is lost."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InsufficientResources
from ansible_collections.poolwright.virt.tests.contract.imagebackend.sampling import some
from ansible_collections.poolwright.virt.tests.contract.imagebackend.staging import MIB, Site
from ansible_collections.poolwright.virt.tests.contract.imagebackend.test_disks_changed import overwrite

CHANGED = os.urandom(512)
AMOUNTS = 5  # of room that are tried, unless all are


class Case:
    """A disk that was changed since its snapshot ``clean`` was taken, and what is expected of it by now."""

    def __init__(self, site: Site, location: str) -> None:
        self.site = site
        self.location = location
        self.disk = site.lab.disk(location=location)
        self.record = site.make(9 * MIB, self.disk)
        self.disk.snapshot_create(self.record, "clean", site.soon)
        overwrite(site, CHANGED, self.disk)
        self.contents = CHANGED + site.data[len(CHANGED) :]
        self.snapshots = ["clean"]

    def snapshot(self) -> None:
        self.disk.snapshot_create(self.record, "later", self.site.soon)
        self.snapshots.append("later")

    def copy(self) -> None:
        with open(self.site.folder / "copy", "w+b") as stream:
            self.disk.read_to(self.record, stream, self.site.soon)
        assert Path(self.site.folder / "copy").read_bytes() == self.contents.ljust(self.record.size, b"\0")

    def resize(self) -> None:
        self.record = self.disk.resize(self.record, 20 * MIB, self.site.soon)
        assert self.record.size == 20 * MIB

    def flatten(self) -> None:
        self.record = self.disk.flatten(self.record, self.site.soon)
        assert self.record.backing is None

    def revert(self) -> None:
        self.disk.snapshot_revert(self.record, "clean", self.site.soon)
        self.contents = self.site.data

    def is_whole(self) -> bool:
        return self.disk.snapshot_list(self.site.soon) == self.snapshots and self.site.holds(self.record, self.contents, self.disk)


STEPS: dict[str, Callable[[Case], None]] = {one.__name__: one for one in (Case.snapshot, Case.copy, Case.resize, Case.flatten, Case.revert)}


def test_whatever_room_a_change_lacks_nothing_is_lost_and_more_room_is_enough(site: Site) -> None:
    """At each write in turn: the room ends ever later, until it is enough for all. Then there is none, and the disk goes all the same."""
    for kind, amounts in site.lab.changing.items():
        with site.lab.plenty() as location:
            case = Case(site, location)
            waiting, lacked = list(STEPS), set()
            for amount in some(amounts, AMOUNTS, f"{site.case} {kind}"):
                site.lab.narrow(kind, amount)
                for step in list(waiting):
                    if done_within(case, step):
                        waiting.remove(step)
                    else:
                        lacked.add(step)
                    if site.lab.kept_in_files:
                        site.lab.narrow(kind, amount)
                if not waiting:
                    break
            assert not waiting, f"{amounts[-1]} {kind} were not enough"
            assert lacked == site.lab.takes_room[kind], kind
            site.lab.widen()
            case.revert()
            assert case.is_whole()
            site.lab.narrow(kind, 0)
            assert case.disk.remove(site.soon)
            assert not case.disk.exists(site.soon)
            case.disk.remove_base(site.image.digest, site.soon)
            assert site.volumes(location) == []


def done_within(case: Case, step: str) -> bool:
    """Whether there was room for the step; if not, all is as before."""
    before, done = case.site.volumes(case.location), True
    try:
        STEPS[step](case)
    except InsufficientResources as exc:
        done = False
        assert exc.hint, exc
        assert case.disk.name in str(exc), exc
        assert ".part" not in str(exc), exc
        assert "poolwright-new" not in str(exc), exc
        assert case.site.volumes(case.location) == before
    case.site.lab.widen()
    assert case.is_whole(), step
    return done
