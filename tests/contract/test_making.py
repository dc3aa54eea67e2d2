# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Making machines."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InsufficientResources, NameTaken, NotFound
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import MarkState
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import Power
from ansible_collections.poolwright.virt.tests.contract.child import CROWD
from ansible_collections.poolwright.virt.tests.contract.labs.base import Ability
from ansible_collections.poolwright.virt.tests.contract.staging import LONG, Stage, mark_of


def test_a_new_machine_runs_and_is_marked_as_being_made(stage: Stage) -> None:
    mark = stage.mark(1)
    stage.provider.prepare("ci", stage.deadline())
    made = stage.provider.create_vm("ci", "ci-1", mark, stage.deadline())
    assert (made.name, made.power, made.mark) == ("ci-1", Power.RUNNING, mark)
    assert stage.lab.machines() == {"ci-1"}


def test_machines_that_are_kept_off_are_made_but_not_started(stage: Stage) -> None:
    template = stage.lab.template("cold", machine=replace(stage.lab.machine(), power_on=False))
    stage.provider.serve([template])
    made = stage.make(1, template=template)
    assert made.power is Power.OFF
    assert stage.get("cold-1", "cold").broken == ""


def test_a_name_that_the_pool_holds_is_refused_and_nothing_changes(stage: Stage) -> None:
    stage.make(1)
    before = stage.lab.fingerprint("ci-1")
    with pytest.raises(NameTaken) as caught:
        stage.make(1)
    assert caught.value.obj == "ci-1"
    assert stage.lab.fingerprint("ci-1") == before
    assert stage.lab.leftovers() == []


def test_a_name_that_a_foreign_machine_holds_is_refused_and_nothing_changes(stage: Stage) -> None:
    stage.lab.put_foreign("ci-1")
    before = stage.lab.fingerprint("ci-1")
    with pytest.raises(NameTaken):
        stage.make(1)
    assert stage.lab.fingerprint("ci-1") == before
    assert stage.lab.leftovers() == []


def test_of_two_that_make_one_machine_at_once_one_does(stage: Stage) -> None:
    providers = [stage.lab.provider([stage.template]) for _time in range(2)]

    def attempt(number: int) -> str:
        try:
            return mark_of(stage.make(1, provider=providers[number])).id
        except NameTaken:
            return ""

    with ThreadPoolExecutor(2) as pool:
        ids = list(pool.map(attempt, range(2)))
    assert sum(bool(won) for won in ids) == 1
    assert mark_of(stage.get("ci-1")).id in ids
    assert stage.get("ci-1").broken == ""
    assert stage.lab.leftovers() == []


def test_one_provider_makes_several_machines_at_once(stage: Stage) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(stage.make, range(1, 5)))
    assert stage.listed() == ["ci-1", "ci-2", "ci-3", "ci-4"]
    assert stage.provider.stats.as_dict()["logins"] <= 1


@pytest.mark.staged(Ability.SHARED)
def test_two_processes_that_fill_the_same_slots_make_each_machine_once(stage: Stage) -> None:
    child = stage.child("crowd")
    for slot in range(CROWD, 0, -1):
        try:
            stage.make(slot)
        except NameTaken:
            continue
    assert child.wait(timeout=LONG) == 0
    assert stage.listed() == [f"ci-{slot}" for slot in range(1, CROWD + 1)]
    assert [machine.broken for machine in stage.provider.vms_in_pool("ci")] == [""] * CROWD
    assert stage.lab.leftovers() == []


@pytest.mark.staged(Ability.HALF_MADE)
def test_an_interrupted_creation_is_seen_and_can_be_removed_without_a_trace(stage: Stage) -> None:
    stage.lab.half_make(stage.provider, "ci", "ci-1", stage.mark(1))
    (seen,) = stage.provider.vms_in_pool("ci")
    assert mark_of(seen).state is MarkState.CREATING
    assert seen.power is not Power.RUNNING
    assert stage.provider.destroy_vm("ci", "ci-1", mark_of(seen)) is True
    assert stage.lab.machines() == set()
    assert stage.lab.leftovers() == []
    assert stage.make(1).power is Power.RUNNING


@pytest.mark.staged(Ability.HALF_MADE)
def test_nothing_on_the_hypervisor_is_without_an_owner_after_an_interrupted_creation(stage: Stage) -> None:
    stage.make(1)
    stage.lab.half_make(stage.provider, "ci", "ci-2", stage.mark(2))
    assert stage.lab.leftovers() == []


def test_a_check_finds_nothing_wrong_with_a_pool_that_can_be_made(stage: Stage) -> None:
    stage.provider.check("ci", 2, stage.deadline())
    assert stage.mutations() == 0
    assert stage.lab.machines() == set()
    assert stage.lab.leftovers() == []


def test_an_unknown_network_is_refused_and_the_known_ones_are_named(stage: Stage) -> None:
    stage.provider.serve([stage.lab.template("lost", machine=stage.lab.on_network("no-such-network"))])
    with pytest.raises(NotFound) as caught:
        stage.provider.check("lost", 1, stage.deadline())
    assert "no-such-network" in str(caught.value)
    assert stage.lab.network in str(caught.value)
    assert stage.mutations() == 0


def test_memory_that_the_host_does_not_have_is_refused(stage: Stage) -> None:
    stage.provider.serve([stage.lab.template("big", machine=replace(stage.lab.machine(), memory_mb=16 * 1024**2))])
    with pytest.raises(InsufficientResources):
        stage.provider.check("big", 1, stage.deadline())
    assert stage.mutations() == 0


def test_preparing_a_second_time_changes_nothing(stage: Stage) -> None:
    stage.provider.prepare("ci", stage.deadline())
    changes = stage.mutations()
    stage.provider.prepare("ci", stage.deadline())
    assert stage.mutations() == changes
    assert stage.lab.machines() == set()
