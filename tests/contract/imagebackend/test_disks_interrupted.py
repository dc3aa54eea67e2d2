# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Every backend stands being killed at any step, and other processes that do the same at the same time."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.disks import blank
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.records import DiskRecord
from ansible_collections.poolwright.virt.tests.contract.imagebackend.killing import COUNTED, INSTANT, POINTS
from ansible_collections.poolwright.virt.tests.contract.imagebackend.sampling import some
from ansible_collections.poolwright.virt.tests.contract.imagebackend.staging import MIB, Site

CONTENTS = b"contents" * 64


def contents(path: str) -> None:
    with open(path, "r+b") as stream:
        stream.write(CONTENTS)


def through_steps(site: Site, task: Callable[[], object], repair: Callable[[], None], within: float = 0.0) -> int:
    """Kill the task at its steps, and see after each time that what follows is as if it had not been; once it is let come to its end.

    :param within: seconds into the step.
    :returns: how many steps it has.
    """

    def kill_at(step: int) -> int:
        """How many steps it came to; 0 where it was killed."""
        another = site.begin(task, step, within)
        said = another.end()
        if within and said == "Killed":
            site.lab.settle()
        repair()
        # Within a step it may be at its end already.
        assert said in ("Killed", "Late" if within else "Killed", ""), said
        return another.steps if said == "" else 0

    kill_at(1)
    # Now what is made once, and kept, is there.
    last = kill_at(COUNTED)
    assert last > 0, "there is nothing to be killed at"
    while last > 1 and (steps := kill_at(last)):
        last = steps
    for step in some(range(1, last + 1), POINTS, site.case)[1:-1]:
        kill_at(step)
    return last


def whole_or_not_there(site: Site, expected: bytes, size: int = 8 * MIB) -> Callable[[], None]:
    def check() -> None:
        record = site.disk.plan_from_func(size)
        if site.disk.exists(site.soon):
            assert site.holds(record, expected)
            assert site.disk.remove(site.soon)
        record = site.make()
        assert site.holds(record, site.data)
        assert [name for name in site.volumes() if "base" not in name] == only_the_disk(site)
        site.disk.remove(site.soon)
        site.disk.remove_base(site.image.digest, site.soon)
        assert site.volumes() == []

    return check


def only_the_disk(site: Site) -> list[str]:
    suffix = {"flat": ".raw", "qcow2": ".qcow2", "ploop": ".ploop"}.get(site.lab.backend, "")
    return [f"{site.disk.name}{suffix}"]


def test_killed_at_each_step_of_making_it_from_an_image(site: Site) -> None:
    through_steps(site, lambda: site.make(9 * MIB), whole_or_not_there(site, site.data, 9 * MIB))


def test_killed_within_each_tool_while_making_it_from_an_image(site: Site) -> None:
    through_steps(site, lambda: site.make(9 * MIB), whole_or_not_there(site, site.data, 9 * MIB), INSTANT)


def test_killed_at_each_step_of_making_it_from_contents(site: Site) -> None:
    through_steps(site, lambda: site.disk.create_from_func(contents, 8 * MIB, site.soon), whole_or_not_there(site, CONTENTS))


def test_killed_at_each_step_of_removing_it(site: Site) -> None:
    """And clearing it, where the storage can."""
    disk = site.lab.disk(clear=site.lab.clearings[-1])

    def remove() -> None:
        disk.remove(site.soon)

    def repair() -> None:
        disk.remove(site.soon)
        assert not disk.exists(site.soon)
        assert [name for name in site.volumes() if "base" not in name] == []
        prepare()

    def prepare() -> None:
        record = site.make(disk=disk)
        disk.snapshot_create(record, "clean", site.soon)

    prepare()
    through_steps(site, remove, repair)


def test_killed_at_each_step_of_a_snapshot(site: Site) -> None:
    record = site.make()

    def keep() -> None:
        site.disk.snapshot_create(record, "clean", site.soon)

    def repair() -> None:
        if "clean" in site.disk.snapshot_list(site.soon):
            site.disk.snapshot_revert(record, "clean", site.soon)
            assert site.disk.snapshot_delete("clean", site.soon)
        keep()
        assert site.disk.snapshot_list(site.soon) == ["clean"]
        assert site.disk.snapshot_delete("clean", site.soon)
        assert site.holds(record, site.data)

    through_steps(site, keep, repair)
    assert [name for name in site.volumes() if "base" not in name] == only_the_disk(site)


def test_a_revert_that_was_killed_is_run_again(site: Site) -> None:
    record = site.make()
    site.disk.snapshot_create(record, "clean", site.soon)

    def revert() -> None:
        site.disk.snapshot_revert(record, "clean", site.soon)

    def repair() -> None:
        revert()
        assert site.holds(record, site.data)
        assert site.disk.snapshot_list(site.soon) == ["clean"]

    through_steps(site, revert, repair)
    site.disk.remove(site.soon)
    site.disk.remove_base(site.image.digest, site.soon)
    assert site.volumes() == []


def test_killed_at_each_step_of_growing(site: Site) -> None:
    record = site.make()
    size = record.size

    def grow() -> None:
        site.disk.resize(record, size + 4 * MIB, site.soon)

    def repair() -> None:
        grown = site.disk.resize(record, size + 4 * MIB, site.soon)
        assert site.holds(grown, site.data)
        site.disk.remove(site.soon)
        site.make()

    through_steps(site, grow, repair)


@pytest.mark.parametrize("within", [0.0, INSTANT], ids=["before it", "within it"])
def test_killed_at_each_step_of_flattening(site: Site, within: float) -> None:
    def prepare() -> DiskRecord:
        record = site.make(9 * MIB)
        site.disk.snapshot_create(record, "clean", site.soon)
        return record

    def flatten() -> None:
        site.disk.flatten(record, site.soon)

    def repair() -> None:
        flat = site.disk.flatten(record, site.soon)
        assert flat.backing is None
        assert site.holds(flat, site.data)
        site.disk.snapshot_revert(flat, "clean", site.soon)
        assert site.holds(flat, site.data)
        assert site.disk.remove(site.soon)
        prepare()

    if site.disk.plan_from_image(site.image, 9 * MIB).backing is None:
        # A copy from the beginning: nothing is done that could be cut off.
        record = site.make()
        assert site.disk.flatten(record, site.soon) == record
        return
    record = prepare()
    through_steps(site, flatten, repair, within)
    assert site.disk.remove(site.soon)
    site.disk.remove_base(site.image.digest, site.soon)
    assert site.volumes() == []


def test_processes_that_make_one_disk_at_once(site: Site) -> None:
    others = [site.begin(lambda: site.make(9 * MIB)) for _time in range(4)]
    assert sorted(other.end() for other in others) == ["", "Busy", "Busy", "Busy"]
    record = site.disk.plan_from_image(site.image, 9 * MIB)
    assert site.holds(record, site.data)
    assert [name for name in site.volumes() if "base" not in name] == only_the_disk(site)


def test_processes_that_make_disks_of_one_image_at_once(site: Site) -> None:
    disks = [site.lab.disk(f"web-{number}") for number in range(3)]
    others = [site.begin(functools.partial(site.make, disk=disk)) for disk in disks]
    assert [other.end() for other in others] == [""] * 3
    for disk in disks:
        assert site.holds(disk.plan_from_image(site.image, None), site.data, disk)
    assert len([name for name in site.volumes() if "base" in name]) <= 1
    for disk in disks:
        assert disk.remove(site.soon)
    site.disk.remove_base(site.image.digest, site.soon)
    assert site.volumes() == []


def test_a_living_makers_work_is_left_alone(site: Site) -> None:
    """One process is half-way through a disk while another makes and removes disks beside it."""
    other = site.lab.disk("other")

    def between(path: str) -> None:
        site.disk.create_from_func(blank, MIB, site.soon)
        assert site.disk.remove(site.soon)
        contents(path)

    record = other.create_from_func(between, 2 * MIB, site.soon)
    assert site.holds(record, CONTENTS, other)
