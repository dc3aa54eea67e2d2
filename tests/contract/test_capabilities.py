# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Capabilities: what is declared works, what is not is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.errors import NameTaken, NotFound, NotOurs
from ansible_collections.poolwright.virt.plugins.module_utils.providers.base import NotSupported
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import MarkState
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import Check, Power
from ansible_collections.poolwright.virt.tests.contract.staging import Stage, mark_of


def test_a_provider_can_do_what_it_was_said_to(stage: Stage) -> None:
    assert stage.provider.capabilities() == stage.lab.declared
    assert stage.provider.name
    assert stage.provider.capabilities().checks >= {Check.NONE, Check.RUNNING}
    assert stage.provider.stats.as_dict()["calls"] == {}


@pytest.mark.can("disks")
def test_an_added_disk_goes_with_its_machine(stage: Stage) -> None:
    made = stage.make(1)
    before = stage.lab.fingerprint("ci-1")
    stage.provider.create_disk("ci", "ci-1", 0.01)
    stage.provider.create_disk("ci", "ci-1", 0.01)
    assert stage.lab.fingerprint("ci-1") != before
    stage.provider.destroy_vm("ci", "ci-1", mark_of(made))
    assert stage.lab.leftovers() == []


@pytest.mark.can("disks")
def test_a_disk_is_added_to_machines_of_the_pool_only(stage: Stage) -> None:
    stage.lab.put_foreign("ci-1")
    before = stage.lab.fingerprint("ci-1")
    with pytest.raises(NotOurs):
        stage.provider.create_disk("ci", "ci-1", 0.01)
    with pytest.raises(NotFound):
        stage.provider.create_disk("ci", "ci-2", 0.01)
    assert stage.lab.fingerprint("ci-1") == before


@pytest.mark.cannot("disks")
def test_disks_are_refused_where_they_are_not_supported(stage: Stage) -> None:
    with pytest.raises(NotSupported):
        stage.provider.create_disk("ci", "ci-1", 0.01)


@pytest.mark.can("snapshots")
def test_a_machine_goes_back_to_its_snapshot_and_takes_it_along(stage: Stage) -> None:
    made = stage.make(1)
    stage.provider.create_snapshot("ci", "ci-1", "clean")
    stage.provider.revert_snapshot("ci", "ci-1", "clean")
    assert mark_of(stage.get("ci-1")).id == mark_of(made).id
    assert stage.get("ci-1").broken == ""
    stage.provider.destroy_vm("ci", "ci-1", mark_of(stage.get("ci-1")))
    assert stage.lab.leftovers() == []


@pytest.mark.can("snapshots")
def test_a_machine_has_one_snapshot_of_a_name(stage: Stage) -> None:
    stage.make(1)
    stage.provider.create_snapshot("ci", "ci-1", "clean")
    with pytest.raises(NameTaken):
        stage.provider.create_snapshot("ci", "ci-1", "clean")
    with pytest.raises(NotFound):
        stage.provider.revert_snapshot("ci", "ci-1", "dirty")
    with pytest.raises(NotFound):
        stage.provider.create_snapshot("ci", "ci-2", "clean")


@pytest.mark.can("snapshots")
def test_a_machine_runs_after_a_snapshot_and_after_a_return_if_it_ran_before(stage: Stage) -> None:
    stage.make(1)
    stage.provider.create_snapshot("ci", "ci-1", "clean")
    assert stage.get("ci-1").power is Power.RUNNING
    stage.provider.revert_snapshot("ci", "ci-1", "clean")
    assert stage.get("ci-1").power is Power.RUNNING
    stage.until(lambda: stage.provider.vm_ready("ci", "ci-1"))
    stage.provider.stop_vm("ci", "ci-1")
    stage.provider.revert_snapshot("ci", "ci-1", "clean")
    assert stage.get("ci-1").power is Power.OFF


@pytest.mark.can("snapshots")
def test_a_machines_mark_does_not_go_back_with_it(stage: Stage) -> None:
    made = stage.make(1)
    stage.provider.create_snapshot("ci", "ci-1", "clean")
    later = replace(mark_of(made), state=MarkState.RESETTING, created_at=mark_of(made).created_at + 60)
    stage.provider.set_mark("ci", "ci-1", later, mark_of(made))
    stage.provider.revert_snapshot("ci", "ci-1", "clean")
    assert mark_of(stage.get("ci-1")) == later


@pytest.mark.can("snapshots")
def test_a_machine_may_be_kept_as_it_was_before_its_first_start(stage: Stage) -> None:
    stage.provider.prepare("ci", stage.deadline())
    made = stage.provider.create_vm("ci", "ci-1", replace(stage.mark(), snapshot="clean"), stage.deadline())
    assert made.power is Power.RUNNING
    assert mark_of(stage.get("ci-1")).snapshot == "clean"
    with pytest.raises(NameTaken):
        stage.provider.create_snapshot("ci", "ci-1", "clean")
    stage.provider.stop_vm("ci", "ci-1")
    stage.provider.revert_snapshot("ci", "ci-1", "clean")
    stage.start("ci-1")
    stage.until(lambda: stage.provider.vm_ready("ci", "ci-1"))
    stage.provider.destroy_vm("ci", "ci-1", mark_of(stage.get("ci-1")))
    assert stage.lab.leftovers() == []


@pytest.mark.can("snapshots")
def test_snapshots_are_of_the_pools_own_machines_only(stage: Stage) -> None:
    stage.lab.put_foreign("ci-1")
    before = stage.lab.fingerprint("ci-1")
    with pytest.raises(NotOurs):
        stage.provider.create_snapshot("ci", "ci-1", "clean")
    with pytest.raises(NotOurs):
        stage.provider.revert_snapshot("ci", "ci-1", "clean")
    assert stage.lab.fingerprint("ci-1") == before


@pytest.mark.can("snapshots")
@pytest.mark.can("disks")
def test_a_disk_that_came_after_the_snapshot_goes_on_the_way_back(stage: Stage) -> None:
    made = stage.make(1)
    stage.provider.create_snapshot("ci", "ci-1", "clean")
    stage.provider.create_disk("ci", "ci-1", 0.01)
    stage.provider.revert_snapshot("ci", "ci-1", "clean")
    assert stage.get("ci-1").broken == ""
    assert stage.lab.leftovers() == []
    stage.provider.destroy_vm("ci", "ci-1", mark_of(made))
    assert stage.lab.leftovers() == []


@pytest.mark.cannot("snapshots")
def test_snapshots_are_refused_where_they_are_not_supported(stage: Stage) -> None:
    with pytest.raises(NotSupported):
        stage.provider.create_snapshot("ci", "ci-1", "clean")
    with pytest.raises(NotSupported):
        stage.provider.revert_snapshot("ci", "ci-1", "clean")


@pytest.mark.can("migration")
def test_a_machine_moves_with_its_mark(stage: Stage) -> None:
    made = stage.make(1)
    for slot in (2, 3, 4):
        stage.make(slot)
    crowded = stage.get("ci-4")
    target = stage.provider.find_least_used_compatible_host("ci", "ci-2") if made.host == crowded.host else crowded.host
    timings = stage.provider.migrate_vm_to_host("ci", "ci-2", target)
    assert timings.target == target == stage.provider.get_vm_host("ci", "ci-2")
    assert timings.seconds >= 0
    assert mark_of(stage.get("ci-2")).slot == 2


@pytest.mark.can("migration")
def test_a_machine_moves_where_it_is_told_to_and_is_found_there(stage: Stage) -> None:
    made = stage.make(1)
    target = stage.lab.other_host(made.host)
    timings = stage.provider.migrate_vm_to_host("ci", "ci-1", target)
    assert (timings.source, timings.target) == (made.host, target)
    moved = stage.get("ci-1")
    assert (moved.host, moved.power, mark_of(moved)) == (target, made.power, mark_of(made))
    assert stage.provider.get_vm_host("ci", "ci-1") == target


@pytest.mark.can("migration")
def test_a_machine_that_is_not_the_pools_does_not_move(stage: Stage) -> None:
    stage.lab.put_foreign("ci-1")
    before, target = stage.lab.fingerprint("ci-1"), stage.lab.other_host(stage.provider.get_vm_host("ci", "ci-1"))
    with pytest.raises(NotOurs):
        stage.provider.migrate_vm_to_host("ci", "ci-1", target)
    assert stage.lab.fingerprint("ci-1") == before


@pytest.mark.can("migration")
def test_a_machine_that_is_well_placed_stays(stage: Stage) -> None:
    made = stage.make(1)
    assert stage.provider.find_least_used_compatible_host("ci", "ci-1") == made.host
    assert stage.provider.migrate_vm_to_host("ci", "ci-1", made.host).source == made.host


@pytest.mark.can("migration")
def test_a_machine_moves_to_known_hosts_only(stage: Stage) -> None:
    made = stage.make(1)
    with pytest.raises(NotFound):
        stage.provider.migrate_vm_to_host("ci", "ci-1", "no-such-host")
    with pytest.raises(NotFound):
        stage.provider.find_least_used_compatible_host("ci", "ci-9")
    assert stage.provider.get_vm_host("ci", "ci-1") == made.host


@pytest.mark.cannot("migration")
def test_migration_is_refused_where_it_is_not_supported(stage: Stage) -> None:
    with pytest.raises(NotSupported):
        stage.provider.find_least_used_compatible_host("ci", "ci-1")
    with pytest.raises(NotSupported):
        stage.provider.migrate_vm_to_host("ci", "ci-1", "elsewhere")
