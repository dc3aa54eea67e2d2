# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Machines with disks beside the root disk: made with all of them, kept with all of them, and gone with all of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import DiskSpec, PoolTemplate
from ansible_collections.poolwright.virt.plugins.module_utils.storage.wish import Content
from ansible_collections.poolwright.virt.tests.contract.labs.base import Ability
from ansible_collections.poolwright.virt.tests.contract.staging import Stage, mark_of

MIB = 1 / 1024  # in GiB

pytestmark = pytest.mark.staged(Ability.FURTHER_DISKS)


def with_disks(stage: Stage) -> PoolTemplate:
    """The stage's pool, its machines with a disk of each kind and one on another backend."""
    disks = (
        DiskSpec(size_gb=2 * MIB),
        DiskSpec(size_gb=4 * MIB, content=Content("swap", label="swap")),
        DiskSpec(size_gb=32 * MIB, content=Content("ephemeral", "ext4", label="data")),
        DiskSpec("flat", size_gb=MIB),
    )
    template = replace(stage.template, machine=replace(stage.template.machine, disks=disks))
    stage.provider.serve([template])
    return template


def test_a_machine_has_all_its_disks_and_takes_them_along(stage: Stage) -> None:
    template = with_disks(stage)
    stage.provider.check("ci", 2, stage.deadline())
    made = stage.make(1, template)
    stage.make(2, template)
    assert stage.lab.disks("ci-1") == 5
    assert (stage.get("ci-1").broken, stage.listed()) == ("", ["ci-1", "ci-2"])
    stage.provider.destroy_vm("ci", "ci-1", mark_of(made))
    assert stage.lab.leftovers() == []
    assert stage.lab.disks("ci-2") == 5


@pytest.mark.staged(Ability.HALF_MADE)
def test_an_interrupted_creation_leaves_no_disk_without_an_owner(stage: Stage) -> None:
    with_disks(stage)
    stage.lab.half_make(stage.provider, "ci", "ci-1", stage.mark())
    assert stage.lab.leftovers() == []
    stage.provider.destroy_vm("ci", "ci-1", mark_of(stage.get("ci-1")))
    assert stage.lab.leftovers() == []


@pytest.mark.can("snapshots")
def test_all_disks_go_back_together(stage: Stage) -> None:
    template = with_disks(stage)
    stage.provider.prepare("ci", stage.deadline())
    stage.provider.create_vm("ci", template.vm_name(1), replace(stage.mark(), snapshot="clean"), stage.deadline())
    stage.provider.stop_vm("ci", "ci-1")
    stage.provider.revert_snapshot("ci", "ci-1", "clean")
    stage.start("ci-1")
    assert (stage.get("ci-1").broken, stage.lab.disks("ci-1")) == ("", 5)
    stage.provider.destroy_vm("ci", "ci-1", mark_of(stage.get("ci-1")))
    assert stage.lab.leftovers() == []


@pytest.mark.can("disks")
def test_an_added_disk_is_one_more(stage: Stage) -> None:
    template = with_disks(stage)
    made = stage.make(1, template)
    stage.provider.create_disk("ci", "ci-1", MIB)
    assert stage.lab.disks("ci-1") == 6
    stage.provider.destroy_vm("ci", "ci-1", mark_of(made))
    assert stage.lab.leftovers() == []
