# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Removing machines."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.errors import MarkChanged, NotOurs, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import MarkState
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import Power
from ansible_collections.poolwright.virt.tests.contract.labs.base import Ability
from ansible_collections.poolwright.virt.tests.contract.staging import Stage, mark_of


def test_removing_a_machine_leaves_nothing_of_it(stage: Stage) -> None:
    made = stage.make(1)
    assert stage.provider.destroy_vm("ci", "ci-1", mark_of(made)) is True
    assert stage.lab.machines() == set()
    assert stage.lab.leftovers() == []
    assert stage.listed() == []


def test_removing_a_machine_leaves_its_neighbours_alone(stage: Stage) -> None:
    made = stage.make(1)
    stage.make(2)
    stage.lab.put_foreign("ci-3")
    before = [stage.lab.fingerprint(name) for name in ("ci-2", "ci-3")]
    stage.provider.destroy_vm("ci", "ci-1", mark_of(made))
    assert [stage.lab.fingerprint(name) for name in ("ci-2", "ci-3")] == before
    assert stage.get("ci-2").power is Power.RUNNING


def test_removing_a_machine_that_is_gone_is_no_error(stage: Stage) -> None:
    mark = mark_of(stage.make(1))
    assert stage.provider.destroy_vm("ci", "ci-1", mark) is True
    assert stage.provider.destroy_vm("ci", "ci-1", mark) is False
    assert stage.provider.destroy_vm("ci", "ci-7", stage.mark(7)) is False


def test_a_foreign_machine_is_never_removed(stage: Stage) -> None:
    stage.lab.put_foreign("ci-1")
    before = stage.lab.fingerprint("ci-1")
    with pytest.raises(NotOurs):
        stage.provider.destroy_vm("ci", "ci-1", stage.mark(1))
    assert stage.lab.fingerprint("ci-1") == before


def test_a_machine_of_another_pool_is_never_removed(stage: Stage) -> None:
    other = stage.lab.template("web", prefix="ci")
    stage.provider.serve([other])
    mark = mark_of(stage.make(1, template=other))
    before = stage.lab.fingerprint("ci-1")
    with pytest.raises(NotOurs):
        stage.provider.destroy_vm("ci", "ci-1", mark)
    assert stage.lab.fingerprint("ci-1") == before


def test_a_machine_that_was_replaced_meanwhile_is_not_removed(stage: Stage) -> None:
    stage.make(1)
    before = stage.lab.fingerprint("ci-1")
    with pytest.raises(MarkChanged):
        stage.provider.destroy_vm("ci", "ci-1", stage.mark(1))
    assert stage.lab.fingerprint("ci-1") == before


def test_a_machine_that_was_handed_out_meanwhile_is_not_removed(stage: Stage) -> None:
    made = stage.make(1)
    leased = stage.lease(made)
    before = stage.lab.fingerprint("ci-1")
    with pytest.raises(MarkChanged):
        stage.provider.destroy_vm("ci", "ci-1", mark_of(made))
    assert stage.lab.fingerprint("ci-1") == before
    assert stage.provider.destroy_vm("ci", "ci-1", leased) is True


def test_a_machine_that_became_ready_meanwhile_is_removed(stage: Stage) -> None:
    first = mark_of(stage.make(1))
    stage.provider.set_mark("ci", "ci-1", first.as_state(MarkState.READY), first)
    assert stage.provider.destroy_vm("ci", "ci-1", first) is True


def test_a_machine_that_is_off_is_removed(stage: Stage) -> None:
    made = stage.make(1)
    stage.lab.power_off("ci-1")
    assert stage.provider.destroy_vm("ci", "ci-1", mark_of(made)) is True
    assert stage.lab.leftovers() == []


@pytest.mark.staged(Ability.PAUSE)
def test_a_machine_that_is_paused_is_removed(stage: Stage) -> None:
    made = stage.make(1)
    stage.lab.pause("ci-1")
    assert stage.provider.destroy_vm("ci", "ci-1", mark_of(made)) is True
    assert stage.lab.leftovers() == []


@pytest.mark.staged(Ability.LOSE_DISK)
def test_a_machine_that_lost_its_disk_is_removed(stage: Stage) -> None:
    made = stage.make(1)
    stage.lab.lose_disk("ci-1")
    assert stage.provider.destroy_vm("ci", "ci-1", mark_of(made)) is True
    assert stage.lab.leftovers() == []


@pytest.mark.staged(Ability.HALF_GONE)
def test_an_interrupted_removal_is_seen_and_finished_by_another_call(stage: Stage) -> None:
    stage.make(1)
    stage.lab.half_destroy(stage.provider, "ci", "ci-1")
    (seen,) = stage.provider.vms_in_pool("ci")
    assert mark_of(seen).state is MarkState.DESTROYING
    assert stage.provider.destroy_vm("ci", "ci-1", mark_of(seen)) is True
    assert stage.lab.machines() == set()
    assert stage.lab.leftovers() == []


def test_two_that_remove_one_machine_at_once_leave_nothing(stage: Stage) -> None:
    mark = mark_of(stage.make(1))
    providers = [stage.lab.provider([stage.template]) for _time in range(2)]
    with ThreadPoolExecutor(2) as pool:
        removed = list(pool.map(lambda provider: provider.destroy_vm("ci", "ci-1", mark), providers))
    assert any(removed)
    assert stage.lab.machines() == set()
    assert stage.lab.leftovers() == []


def test_a_refusal_says_what_was_being_done_to_which_machine(stage: Stage) -> None:
    stage.make(1)
    with pytest.raises(VirtError) as caught:
        stage.provider.destroy_vm("ci", "ci-1", replace(stage.mark(1), id="another"))
    said = caught.value.as_dict()
    assert (said["name"], said["code"]) == ("ci-1", "mark_changed")
    assert said["phase"] and said["message"]
