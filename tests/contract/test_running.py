# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Running, and being ready."""

from __future__ import annotations

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.errors import MarkChanged, NotFound, NotOurs
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import MarkState
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import Check, Power
from ansible_collections.poolwright.virt.tests.contract.labs.base import Ability
from ansible_collections.poolwright.virt.tests.contract.staging import Stage, mark_of


def test_a_machine_that_was_switched_off_is_started(stage: Stage) -> None:
    stage.ready(1)
    stage.lab.power_off("ci-1")
    assert stage.get("ci-1").power is Power.OFF
    stage.start("ci-1")
    assert stage.get("ci-1").power is Power.RUNNING
    stage.until(lambda: stage.provider.vm_ready("ci", "ci-1"))


@pytest.mark.staged(Ability.PAUSE)
def test_a_machine_that_was_paused_runs_on(stage: Stage) -> None:
    stage.ready(1)
    stage.lab.pause("ci-1")
    assert stage.get("ci-1").power is Power.PAUSED
    assert not stage.provider.vm_ready("ci", "ci-1")
    stage.start("ci-1")
    assert stage.get("ci-1").power is Power.RUNNING
    stage.until(lambda: stage.provider.vm_ready("ci", "ci-1"))


def test_a_machine_that_runs_is_reset(stage: Stage) -> None:
    stage.ready(1)
    changes = stage.mutations()
    stage.start("ci-1")
    assert stage.mutations() > changes
    assert stage.get("ci-1").power is Power.RUNNING
    stage.until(lambda: stage.provider.vm_ready("ci", "ci-1"))


def test_a_machine_that_is_gone_cannot_be_started(stage: Stage) -> None:
    with pytest.raises(NotFound):
        stage.start("ci-1")


def test_a_foreign_machine_is_never_started(stage: Stage) -> None:
    stage.lab.put_foreign("ci-1")
    before = stage.lab.fingerprint("ci-1")
    with pytest.raises(NotOurs):
        stage.start("ci-1")
    assert stage.lab.fingerprint("ci-1") == before


@pytest.mark.parametrize("running", [True, False], ids=["running", "off"])
def test_a_machine_that_was_handed_out_meanwhile_is_not_started(stage: Stage, running: bool) -> None:
    """Started while it runs, it would be reset under its user."""
    made = stage.make(1)
    leased = stage.lease(made)
    if not running:
        stage.lab.power_off("ci-1")
    before, changes = stage.lab.fingerprint("ci-1"), stage.mutations()
    with pytest.raises(MarkChanged):
        stage.provider.start_vm("ci", "ci-1", mark_of(made))
    assert (stage.lab.fingerprint("ci-1"), stage.mutations()) == (before, changes)
    stage.provider.start_vm("ci", "ci-1", leased)
    assert stage.get("ci-1").power is Power.RUNNING


def test_a_machine_that_was_replaced_meanwhile_is_not_started(stage: Stage) -> None:
    stage.make(1)
    before, changes = stage.lab.fingerprint("ci-1"), stage.mutations()
    with pytest.raises(MarkChanged):
        stage.provider.start_vm("ci", "ci-1", stage.mark(1))
    assert (stage.lab.fingerprint("ci-1"), stage.mutations()) == (before, changes)


def test_a_machine_that_became_ready_meanwhile_is_started(stage: Stage) -> None:
    first = mark_of(stage.make(1))
    stage.provider.set_mark("ci", "ci-1", first.as_state(MarkState.READY), first)
    stage.provider.start_vm("ci", "ci-1", first)
    assert stage.get("ci-1").power is Power.RUNNING


def test_a_machine_is_switched_off_once(stage: Stage) -> None:
    stage.ready(1)
    assert stage.provider.stop_vm("ci", "ci-1") is True
    assert stage.get("ci-1").power is Power.OFF
    changes = stage.mutations()
    assert stage.provider.stop_vm("ci", "ci-1") is False
    assert stage.mutations() == changes


def test_a_machine_that_is_gone_or_foreign_is_never_switched_off(stage: Stage) -> None:
    with pytest.raises(NotFound):
        stage.provider.stop_vm("ci", "ci-1")
    stage.lab.put_foreign("ci-1")
    before = stage.lab.fingerprint("ci-1")
    with pytest.raises(NotOurs):
        stage.provider.stop_vm("ci", "ci-1")
    assert stage.lab.fingerprint("ci-1") == before


def test_each_machine_gets_its_own_answer(stage: Stage) -> None:
    stage.ready(1)
    stage.ready(2)
    stage.lab.power_off("ci-2")
    answers = stage.provider.readiness("ci", ["ci-1", "ci-2", "ci-3"])
    assert {name: answer.ready for name, answer in answers.items()} == {"ci-1": True, "ci-2": False, "ci-3": False}
    assert answers["ci-2"].reason
    assert answers["ci-3"].reason
    assert stage.provider.readiness("ci", []) == {}


def test_without_a_check_a_machine_is_ready_at_once(stage: Stage) -> None:
    template = stage.lab.template("any", check=Check.NONE)
    stage.provider.serve([template])
    stage.make(1, template=template)
    assert stage.provider.vm_ready("any", "any-1")


@pytest.mark.staged(Ability.BOOTS_SLOWLY)
def test_a_machine_gets_its_address_when_its_guest_is_up(stage: Stage) -> None:
    template = stage.lab.template("net", check=Check.IP)
    stage.provider.serve([template])
    with stage.lab.hold_addresses():
        stage.make(1, template=template)
        first = stage.provider.readiness("net", ["net-1"])["net-1"]
    assert not first.ready
    assert first.reason
    stage.until(lambda: stage.provider.vm_ready("net", "net-1"))
    assert stage.provider.readiness("net", ["net-1"])["net-1"].ip


def test_asking_for_readiness_takes_the_same_calls_for_many_machines(stage: Stage) -> None:
    stage.ready(1)
    one = stage.calls(lambda provider: provider.readiness("ci", ["ci-1"]))
    for slot in (2, 3, 4):
        stage.ready(slot)
    assert stage.calls(lambda provider: provider.readiness("ci", ["ci-1", "ci-2", "ci-3", "ci-4"])) <= one


@pytest.mark.staged(Ability.LOSE_DISK)
def test_a_machine_that_lost_its_disk_says_so(stage: Stage) -> None:
    stage.ready(1)
    stage.ready(2)
    stage.lab.lose_disk("ci-1")
    broken = {machine.name: machine.broken for machine in stage.provider.vms_in_pool("ci")}
    assert "disk" in broken["ci-1"]
    assert broken["ci-2"] == ""
    assert not stage.provider.vm_ready("ci", "ci-1")
