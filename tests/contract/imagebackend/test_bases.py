# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Every backend tells what it keeps of images, and gives up what no disk stands on; the others keep nothing and change nothing."""

from __future__ import annotations

import threading
from dataclasses import asdict
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock
from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy, InvalidSpec, NotFound
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.options import DEFAULT_OPTIONS
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.records import Base
from ansible_collections.poolwright.virt.plugins.module_utils.storage.pruning import pruned
from ansible_collections.poolwright.virt.plugins.module_utils.storage.request import module_options
from ansible_collections.poolwright.virt.tests.contract.imagebackend.staging import LONG, MIB, Site
from ansible_collections.poolwright.virt.tests.contract.imagebackend.test_disks_interrupted import through_steps
from ansible_collections.poolwright.virt.tests.unit.storage.filled import filled


def prune(site: Site, location: str = "", *, check: bool = False, **others: Any) -> dict[str, Any]:
    """A run of the module with this state."""
    options = {key: value for key, value in asdict(site.lab.options).items() if value != getattr(DEFAULT_OPTIONS, key)}
    place = {"backend": site.lab.backend, "location": location or site.lab.location, "state": "pruned", **options}
    return pruned(filled(module_options(), {**place, "timeout": LONG, **others}), check, threading.Event(), Clock())


def predicted(site: Site) -> dict[str, Any]:
    """A run that does what its prediction said, and leaves nothing to a second one."""
    there = site.volumes()
    check = prune(site, check=True)
    assert site.volumes() == there
    done = prune(site)
    assert check == done
    kept = [base for base in done["bases"] if not base["removed"]]
    again = prune(site)
    assert (again["changed"], again["actions"], again["bases"]) == (False, [], kept)
    assert again["diff"]["before"] == again["diff"]["after"] == done["diff"]["after"]
    return done


def keeps_none(site: Site) -> bool:
    """Whether the backend has no bases, as is seen where it has a disk; then there is nothing more to see."""
    if not site.lab.keeps_bases:
        site.make()
        there = site.volumes()
        done = prune(site)
        assert (done["changed"], done["bases"], site.disk.bases(site.soon), site.volumes()) == (False, [], [], there)
    return not site.lab.keeps_bases


def test_a_base_is_listed_with_what_stands_on_it(site: Site) -> None:
    assert site.disk.bases(site.soon) == []
    if keeps_none(site):
        return
    site.make()
    other = site.lab.disk("other")
    record = site.make(9 * MIB, other)
    other.snapshot_create(record, "clean", site.soon)
    site.make(disk=site.lab.disk("copied", full=True))
    # A clone that has snapshots is one clone to Ceph.
    users = ("other", "other@clean", "web-1_root") if site.lab.backend == "lvm" else ("other", "web-1_root")
    assert site.disk.bases(site.soon) == [Base(site.image.digest, users)]
    other.snapshot_revert(record, "clean", site.soon)
    assert site.disk.bases(site.soon) == [Base(site.image.digest, users)]
    assert prune(site)["changed"] is False
    other.flatten(record, site.soon)
    assert site.disk.bases(site.soon) == [Base(site.image.digest, ("web-1_root",))]
    site.disk.remove(site.soon)
    assert site.disk.bases(site.soon) == [Base(site.image.digest)]


def test_bases_that_nothing_stands_on_are_pruned(site: Site) -> None:
    if keeps_none(site):
        return
    record = site.make()
    other = site.lab.disk("other")
    other.create_from_image(site.raw_image, 9 * MIB, site.soon)
    other.remove(site.soon)
    used = {"digest": site.image.digest, "removed": False, "used_by": ["web-1_root"]}
    gone = {"digest": site.raw_image.digest, "removed": True, "used_by": []}
    done = predicted(site)
    assert done["bases"] == sorted([used, gone], key=lambda one: str(one["digest"]))
    assert (done["changed"], done["actions"]) == (True, [f"remove the base of {site.raw_image.digest}"])
    assert done["diff"]["before"] == {site.image.digest: "used by web-1_root", site.raw_image.digest: "used by nothing"}
    assert done["diff"]["after"] == {site.image.digest: "used by web-1_root"}
    with pytest.raises(Busy, match="web-1_root"):
        site.disk.remove_base(site.image.digest, site.soon)
    assert site.holds(record, site.data)
    assert site.disk.remove(site.soon)
    assert prune(site)["bases"] == [{"digest": site.image.digest, "removed": True, "used_by": []}]
    assert site.volumes() == []
    assert site.holds(site.make(), site.data)


def test_each_location_has_bases_of_its_own(site: Site) -> None:
    if keeps_none(site):
        return
    record = site.make()
    with site.lab.elsewhere() as location:
        other = site.lab.disk("other", location)
        made = site.make(disk=other)
        assert [base.users for base in other.bases(site.soon)] == [("other",)]
        assert [base.users for base in site.disk.bases(site.soon)] == [("web-1_root",)]
        assert site.holds(made, site.data, other)
        assert other.remove(site.soon)
        assert prune(site, location)["changed"]
        assert other.bases(site.soon) == []
    assert prune(site)["changed"] is False
    assert site.holds(record, site.data)


def test_killed_at_each_step_of_pruning(site: Site) -> None:
    def prepare() -> None:
        site.make(9 * MIB)
        assert site.disk.remove(site.soon)
        assert len(site.disk.bases(site.soon)) == 1

    def repair() -> None:
        prune(site)
        assert site.volumes() == []
        prepare()

    if keeps_none(site):
        return
    prepare()
    through_steps(site, lambda: prune(site), repair)
    assert prune(site)["changed"]
    assert site.volumes() == []


def test_disks_are_made_while_their_base_is_pruned(site: Site) -> None:
    """Whoever finds no base makes it anew, at whichever moment it went."""
    if keeps_none(site):
        return
    for _round in range(2):
        maker = site.begin(lambda: site.make(9 * MIB))
        pruners = [site.begin(lambda: prune(site)) for _time in range(2)]
        assert [pruner.end() for pruner in pruners] == ["", ""]
        assert maker.end() == ""
        record = site.disk.plan_from_image(site.image, 9 * MIB)
        assert site.holds(record, site.data)
        # On LVM one may have gone from beside its disk, which does not need it.
        assert len(site.disk.bases(site.soon)) == 1 or site.lab.backend == "lvm"
        assert site.disk.remove(site.soon)
    prune(site)
    assert site.volumes() == []


def test_what_is_no_base_of_ours_is_not_pruned(site: Site) -> None:
    name = f"poolwright-base-{'0' * 40}"
    site.lab.put_foreign(name)
    assert prune(site)["bases"] == []
    assert site.lab.foreign_is_whole(name)


def test_a_wrong_wish_to_prune_is_refused(site: Site) -> None:
    site.make()
    there = site.volumes()
    with pytest.raises(InvalidSpec) as caught:
        prune(site, name="web-1_root", size_gb=1, recreate=True, disks=[], timeout=0)
    assert [problem.partition(":")[0] for problem in caught.value.problems] == ["name", "size_gb", "recreate", "disks", "timeout"]
    for location in site.lab.bad_locations[1:]:
        with pytest.raises(InvalidSpec, match=r"location|directory"):
            prune(site, location)
    if site.lab.keeps_bases:
        with pytest.raises(NotFound):
            prune(site, site.lab.no_location)
    assert site.volumes() == there
