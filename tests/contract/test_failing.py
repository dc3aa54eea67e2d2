# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What a provider does when the way to its hypervisor fails."""

from __future__ import annotations

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.errors import ConnectionFailed, IncompleteAnswer, MaybeApplied, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import MarkState
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import Power
from ansible_collections.poolwright.virt.tests.contract.labs.base import Ability
from ansible_collections.poolwright.virt.tests.contract.staging import Stage, mark_of


@pytest.mark.staged(Ability.LOSE_ANSWER)
def test_a_machine_whose_creation_was_not_answered_is_found_by_its_mark(stage: Stage) -> None:
    stage.provider.prepare("ci", stage.deadline())
    stage.lab.lose_answer(stage.provider, "create_vm")
    mark = stage.mark(1)
    with pytest.raises(MaybeApplied) as caught:
        stage.provider.create_vm("ci", "ci-1", mark, stage.deadline())
    assert caught.value.transient
    assert mark_of(stage.get("ci-1")).id == mark.id
    assert stage.listed() == ["ci-1"]


@pytest.mark.staged(Ability.LOSE_ANSWER)
def test_a_removal_that_was_not_answered_is_not_sent_again(stage: Stage) -> None:
    mark = mark_of(stage.make(1))
    stage.lab.lose_answer(stage.provider, "destroy_vm")
    with pytest.raises(MaybeApplied):
        stage.provider.destroy_vm("ci", "ci-1", mark)
    left = stage.provider.get_vm("ci", "ci-1")
    if left is not None:
        stage.provider.destroy_vm("ci", "ci-1", mark)
    assert stage.lab.machines() == set()
    assert stage.lab.leftovers() == []


@pytest.mark.staged(Ability.LOSE_ANSWER)
def test_a_mark_whose_setting_was_not_answered_is_the_old_or_the_new_one(stage: Stage) -> None:
    mark = mark_of(stage.make(1))
    ready = mark.as_state(MarkState.READY)
    stage.lab.lose_answer(stage.provider, "set_mark")
    with pytest.raises(MaybeApplied):
        stage.provider.set_mark("ci", "ci-1", ready, mark)
    assert mark_of(stage.get("ci-1")) in (mark, ready)


@pytest.mark.staged(Ability.LOSE_ANSWER)
def test_a_start_that_was_not_answered_is_not_sent_again(stage: Stage) -> None:
    stage.make(1)
    stage.lab.power_off("ci-1")
    before = stage.mutations()
    stage.lab.lose_answer(stage.provider, "start_vm")
    with pytest.raises(MaybeApplied):
        stage.start("ci-1")
    assert stage.mutations() <= before + 1
    assert stage.get("ci-1").power is Power.RUNNING


@pytest.mark.staged(Ability.LOSE_ANSWER)
def test_a_listing_that_was_not_answered_is_asked_for_again(stage: Stage) -> None:
    stage.make(1)
    stage.lab.lose_answer(stage.provider, "vms_in_pool")
    assert stage.listed() == ["ci-1"]


@pytest.mark.staged(Ability.EXPIRE_SESSION)
def test_a_session_that_ended_is_opened_again(stage: Stage) -> None:
    stage.make(1)
    assert stage.provider.stats.as_dict()["logins"] == 1
    stage.lab.expire_session(stage.provider)
    assert stage.listed() == ["ci-1"]
    assert stage.provider.stats.as_dict()["logins"] == 2


@pytest.mark.staged(Ability.EXPIRE_SESSION)
def test_a_session_that_ended_before_a_change_does_not_stop_it(stage: Stage) -> None:
    stage.make(1)
    stage.lab.expire_session(stage.provider)
    stage.make(2)
    assert stage.listed() == ["ci-1", "ci-2"]


@pytest.mark.staged(Ability.OUTAGE)
def test_a_hypervisor_that_cannot_be_reached_is_no_empty_pool(stage: Stage) -> None:
    stage.make(1)
    stage.lab.cut_off(stage.provider)
    for ask in (
        lambda: stage.provider.vms_in_pool("ci"),
        lambda: stage.provider.get_vm("ci", "ci-1"),
        lambda: stage.provider.readiness("ci", ["ci-1"]),
        stage.provider.marked_pools,
    ):
        with pytest.raises(ConnectionFailed) as caught:
            ask()
        assert caught.value.transient
    stage.lab.reconnect(stage.provider)
    assert stage.listed() == ["ci-1"]


@pytest.mark.staged(Ability.OUTAGE)
def test_a_hypervisor_that_cannot_be_reached_is_not_changed(stage: Stage) -> None:
    mark = mark_of(stage.make(1))
    stage.lab.cut_off(stage.provider)
    for change in (
        lambda: stage.make(2),
        lambda: stage.provider.destroy_vm("ci", "ci-1", mark),
        lambda: stage.provider.set_mark("ci", "ci-1", mark.as_state(MarkState.READY), mark),
        lambda: stage.start("ci-1"),
    ):
        with pytest.raises(VirtError) as caught:
            change()
        assert isinstance(caught.value, (ConnectionFailed, MaybeApplied))
    stage.lab.reconnect(stage.provider)
    assert [machine.mark for machine in stage.provider.vms_in_pool("ci")] == [mark]


@pytest.mark.staged(Ability.PARTIAL_LISTING)
def test_a_listing_that_may_lack_machines_is_an_error(stage: Stage) -> None:
    stage.make(1)
    stage.lab.truncate_listing(stage.provider)
    with pytest.raises(IncompleteAnswer):
        stage.provider.vms_in_pool("ci")
    assert stage.listed() == ["ci-1"]


def test_a_provider_may_be_closed_twice(stage: Stage) -> None:
    stage.make(1)
    stage.provider.close()
    stage.provider.close()
    assert stage.lab.provider([stage.template]).vms_in_pool("ci")[0].name == "ci-1"
