# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Looking at a pool."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import NotFound
from ansible_collections.poolwright.virt.plugins.module_utils.providers.base import Provider
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import Mark, MarkState
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import Power
from ansible_collections.poolwright.virt.tests.contract.staging import Stage, mark_of

_MARK = Mark(pool="nobody", slot=1, id="1", spec_hash="", image="", created_at=0.0)


def test_an_empty_pool_is_an_empty_list(stage: Stage) -> None:
    assert stage.provider.vms_in_pool("ci") == []
    assert stage.provider.marked_pools() == []
    assert stage.mutations() == 0


def test_a_created_machine_is_listed_once_with_its_mark(stage: Stage) -> None:
    made = stage.make(1)
    listed = stage.provider.vms_in_pool("ci")
    assert [(machine.name, machine.mark, machine.power, machine.broken) for machine in listed] == [("ci-1", made.mark, Power.RUNNING, "")]
    assert mark_of(made).state is MarkState.CREATING
    assert listed[0] == stage.get("ci-1")


def test_machines_are_listed_by_slot(stage: Stage) -> None:
    for slot in (10, 2, 1):
        stage.make(slot)
    assert stage.listed() == ["ci-1", "ci-2", "ci-10"]


def test_a_machine_that_nobody_marked_holds_its_slot_without_a_mark(stage: Stage) -> None:
    stage.make(1)
    stage.lab.put_foreign("ci-2")
    assert [(machine.name, machine.mark is None) for machine in stage.provider.vms_in_pool("ci")] == [("ci-1", False), ("ci-2", True)]
    assert stage.get("ci-2").mark is None


def test_names_that_are_no_slots_are_not_listed(stage: Stage) -> None:
    for name in ("ci", "ci-0", "ci-01", "ci-1x", "ci-1-old", "xci-1", "cis-1", "other"):
        stage.lab.put_foreign(name)
    assert stage.listed() == []


def test_pools_do_not_see_each_other(stage: Stage) -> None:
    other = stage.lab.template("web")
    stage.provider.serve([other])
    stage.make(1)
    stage.make(1, template=other)
    stage.make(2, template=other)
    assert stage.listed("ci") == ["ci-1"]
    assert stage.listed("web") == ["web-1", "web-2"]
    assert set(stage.provider.provided_pools) == {"ci", "web"}


def test_a_pool_may_give_its_machines_another_prefix(stage: Stage) -> None:
    template = stage.lab.template("web", prefix="front")
    stage.provider.serve([template])
    stage.make(3, template=template)
    stage.lab.put_foreign("web-1")
    assert stage.listed("web") == ["front-3"]
    assert [(pool.name, pool.prefix) for pool in stage.provider.marked_pools()] == [("web", "front")]


def test_a_machine_of_another_pool_in_a_slot_is_not_taken_for_the_pools_own(stage: Stage) -> None:
    usurper = stage.lab.template("web", prefix="ci")
    stage.provider.serve([usurper])
    stage.make(1, template=usurper)
    (seen,) = stage.provider.vms_in_pool("ci")
    assert seen.name == "ci-1"
    assert seen.mark is None or seen.mark.pool == "web"


def test_pools_that_were_not_given_are_found_by_their_machines(stage: Stage) -> None:
    stage.make(2)
    stage.lab.put_foreign("web-1")
    newcomer = stage.lab.provider([])
    assert [(pool.name, pool.prefix) for pool in newcomer.marked_pools()] == [("ci", "ci")]
    newcomer.serve(newcomer.marked_pools())
    assert [machine.name for machine in newcomer.vms_in_pool("ci")] == ["ci-2"]


def test_a_machine_that_was_undefined_is_gone(stage: Stage) -> None:
    stage.make(1)
    stage.make(2)
    stage.lab.undefine("ci-1")
    assert stage.listed() == ["ci-2"]
    assert stage.provider.get_vm("ci", "ci-1") is None
    assert not stage.provider.vm_exists("ci", "ci-1")
    assert stage.provider.vm_exists("ci", "ci-2")
    with pytest.raises(NotFound):
        stage.provider.get_vm_host("ci", "ci-1")


def test_a_machine_says_on_which_host_it_is(stage: Stage) -> None:
    made = stage.make(1)
    assert stage.provider.get_vm_host("ci", "ci-1") == made.host != ""


def test_foreign_machines_cost_a_listing_no_calls(stage: Stage) -> None:
    stage.make(1)
    few = stage.calls(lambda provider: provider.vms_in_pool("ci"))
    for number in range(5):
        stage.lab.put_foreign(f"other-{number}")
    assert stage.calls(lambda provider: provider.vms_in_pool("ci")) == few


def test_a_listing_takes_two_calls_for_a_machine_at_most(stage: Stage) -> None:
    stage.make(1)
    one = stage.calls(lambda provider: provider.vms_in_pool("ci"))
    for slot in (2, 3, 4):
        stage.make(slot)
    assert stage.calls(lambda provider: provider.vms_in_pool("ci")) <= one + 2 * 3


def test_looking_changes_nothing(stage: Stage) -> None:
    stage.make(1)
    stage.lab.put_foreign("ci-2")
    before = [stage.lab.fingerprint(name) for name in ("ci-1", "ci-2")]
    onlooker = stage.lab.provider([stage.template])
    onlooker.marked_pools()
    onlooker.vms_in_pool("ci")
    onlooker.get_vm("ci", "ci-1")
    onlooker.get_vm_host("ci", "ci-1")
    onlooker.readiness("ci", ["ci-1", "ci-2", "ci-3"])
    onlooker.check("ci", 1, stage.deadline())
    assert stage.mutations(onlooker) == 0
    assert [stage.lab.fingerprint(name) for name in ("ci-1", "ci-2")] == before


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(lambda provider: provider.vms_in_pool("nobody"), id="vms_in_pool"),
        pytest.param(lambda provider: provider.get_vm("nobody", "ci-1"), id="get_vm"),
        pytest.param(lambda provider: provider.get_vm_host("nobody", "ci-1"), id="get_vm_host"),
        pytest.param(lambda provider: provider.readiness("nobody", ["ci-1"]), id="readiness"),
        pytest.param(lambda provider: provider.check("nobody", 1, Deadline.after(Clock(), 9)), id="check"),
        pytest.param(lambda provider: provider.prepare("nobody", Deadline.after(Clock(), 9)), id="prepare"),
        pytest.param(lambda provider: provider.create_vm("nobody", "nobody-1", _MARK, Deadline.after(Clock(), 9)), id="create_vm"),
        pytest.param(lambda provider: provider.destroy_vm("nobody", "ci-1", _MARK), id="destroy_vm"),
        pytest.param(lambda provider: provider.start_vm("nobody", "ci-1", _MARK), id="start_vm"),
        pytest.param(lambda provider: provider.set_mark("nobody", "ci-1", _MARK, _MARK), id="set_mark"),
        pytest.param(lambda provider: provider.exclusive(["nobody"], Deadline.after(Clock(), 9)).__enter__(), id="exclusive"),
    ],
)
def test_an_unknown_pool_is_not_found(stage: Stage, method: Callable[[Provider], object]) -> None:
    with pytest.raises(NotFound) as caught:
        method(stage.provider)
    assert caught.value.obj == "nobody"
    assert stage.mutations() == 0
