# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Rule 8: waiting is one request for all that is waited for, with a deadline that cancels; none of it is polling."""

from __future__ import annotations

import time

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils import errors
from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere import faults
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.binding import library
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.updates import PAUSE_SECONDS
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.vim import VIM
from ansible_collections.poolwright.virt.tests.contract.labs.vcenter import VCenter
from ansible_collections.poolwright.virt.tests.integration.vsphere.staging import TASK_SECONDS, ActingStats, Inventory, together

# In the session's own collector: nobody else waits on that.
BEGINNING = {"CreateListView": 1, "CreateFilter": 1}


def test_rule_08_one_task_is_waited_for_without_polling(vcenter: VCenter, vim: VIM, inventory: Inventory) -> None:
    name = inventory.new_name()
    made = vim.wait_for_task(inventory.clone(name), inventory.deadline())
    calls = vcenter.calls()
    assert vim.get_properties(made, ["name"]) == {"name": name}
    assert calls.methods == {**BEGINNING, "CloneVM_Task": 1, "WaitForUpdatesEx": calls["WaitForUpdatesEx"]}
    assert calls["WaitForUpdatesEx"] <= 3, "one to begin with, one for each change of the task's state"
    assert vcenter.govc("find", "/DC0/vm", "-name", name).count(name) == 1


def test_rule_08_twenty_threads_share_one_wait(vcenter: VCenter, vim: VIM, inventory: Inventory) -> None:
    begun = time.monotonic()
    made = together(20, lambda _index: vim.wait_for_task(inventory.clone(inventory.new_name()), inventory.deadline()))
    spent = time.monotonic() - begun
    calls = vcenter.calls()
    assert len({machine._GetMoId() for machine in made}) == calls["CloneVM_Task"] == 20
    assert {method: calls[method] for method in BEGINNING} == BEGINNING
    assert calls["ModifyListView"] <= 10
    assert calls["WaitForUpdatesEx"] <= spent / PAUSE_SECONDS
    # One after the other they would take 20 times as long.
    assert spent < 10 * TASK_SECONDS


def test_rule_08_a_hundred_tasks_cost_no_more_waiting_than_twenty(vcenter: VCenter, vim: VIM, inventory: Inventory) -> None:
    for count in (20, 100):
        folders = [vim.call(inventory.folder, "CreateFolder", name=inventory.new_name()) for _time in range(count)]
        vcenter.forget_calls()
        tasks = [vim.call(folder, "Rename_Task", newName=inventory.new_name()) for folder in folders]
        begun = time.monotonic()
        outcomes = vim.wait_for_tasks(tasks, inventory.deadline())
        updates = (time.monotonic() - begun) / PAUSE_SECONDS
        assert all(outcome.error is None for outcome in outcomes)
        assert [outcome.task for outcome in outcomes] == tasks
        # At most an answer for each tenth of a second in which tasks end, however many end in it; and 100 do not end in one.
        assert vcenter.calls().total - count <= 5 + updates


def test_rule_08_at_the_deadline_the_task_is_cancelled(vcenter: VCenter, vim: VIM, inventory: Inventory) -> None:
    name = inventory.new_name()
    with pytest.raises(errors.DeadlineExceeded, match="cancelled") as caught:
        vim.wait_for_task(inventory.clone(name), inventory.deadline(0.3), about=name, phase="clone")
    assert (caught.value.obj, caught.value.phase) == (name, "clone")
    assert vcenter.calls()["CancelTask"] == 1


def test_rule_08_a_cancelling_that_lost_its_answer_is_repeated(vcenter: VCenter, vim: VIM, inventory: Inventory) -> None:
    vcenter.chaos("CancelTask", "drop-after", times=1)
    with pytest.raises(errors.DeadlineExceeded, match="cancelled"):
        vim.wait_for_task(inventory.clone(inventory.new_name()), inventory.deadline(0.3))
    assert vcenter.calls()["CancelTask"] == 2


def test_rule_08_a_task_that_cannot_be_cancelled_and_ends_well_has_ended_well(vcenter: VCenter, vim: VIM, inventory: Inventory) -> None:
    vcenter.fault("CancelTask", "NotSupported")
    name = inventory.new_name()
    made = vim.wait_for_task(inventory.clone(name), inventory.deadline(0.3))
    assert vim.get_properties(made, ["name"]) == {"name": name}


def test_rule_08_a_failed_task_does_not_hide_the_others(vim: VIM, inventory: Inventory) -> None:
    name = inventory.new_name()
    outcomes = vim.wait_for_tasks([inventory.clone(name), inventory.clone(name)], inventory.deadline())
    assert [type(outcome.error) for outcome in outcomes if outcome.error] == [errors.NameTaken]
    assert sum(outcome.error is None for outcome in outcomes) == 1


def test_rule_08_a_task_that_vcenter_forgot_may_have_been_done(vim: VIM, inventory: Inventory) -> None:
    task = library().vim.Task("task-99999")
    with pytest.raises(errors.MaybeApplied, match="task-99999"):
        vim.wait_for_task(task, inventory.deadline(5))


def test_rule_08_a_session_that_ends_meanwhile_is_opened_again_and_nothing_is_missed(vcenter: VCenter, inventory: Inventory) -> None:
    clock = Clock()
    stats = ActingStats(clock, "WaitForUpdatesEx", vcenter.expire_sessions)
    with vcenter.vim(clock=clock, stats=stats) as vim:
        inventory.vim = vim
        made = together(5, lambda _index: vim.wait_for_task(inventory.clone(inventory.new_name()), inventory.deadline()))
        assert len(vim.get_many(made, ["name"])) == 5
    assert vcenter.calls()["Login"] == 2
    assert vcenter.calls()["CloneVM_Task"] == 5


@pytest.mark.parametrize("how", ["drop-before", "drop-after", "truncated", "unavailable"])
@pytest.mark.parametrize("method", ["CreatePropertyCollector", "CreateListView", "CreateFilter", "ModifyListView", "WaitForUpdatesEx"])
def test_rule_08_whatever_is_lost_of_the_waiting_is_begun_anew(vcenter: VCenter, vim: VIM, inventory: Inventory, method: str, how: str) -> None:
    if method == "CreatePropertyCollector":
        vcenter.chaos("CreateFilter", "drop-after", times=1)  # the session's own may have that filter now, so another is made
    if method == "ModifyListView":
        vim.wait_for_task(inventory.clone(inventory.new_name()), inventory.deadline())
        vcenter.forget_calls()
    vcenter.chaos(method, how, times=1, skip=1 if method == "WaitForUpdatesEx" else 0)
    made = vim.wait_for_task(inventory.clone(inventory.new_name()), inventory.deadline())
    assert vim.get_properties(made, ["name"])
    assert vcenter.calls()["CloneVM_Task"] == 1
    # What was added to a view that is lost is in the next one from its making.
    assert vcenter.calls()[method] >= (1 if method == "ModifyListView" else 2)
    assert method != "ModifyListView" or vcenter.calls()["CreateListView"] == 1


def test_rule_08_a_vcenter_that_never_answers_ends_the_wait(vcenter: VCenter, vim: VIM, inventory: Inventory) -> None:
    task = inventory.clone(inventory.new_name())
    vcenter.chaos("WaitForUpdatesEx", "drop-before")
    with pytest.raises(errors.ConnectionFailed, match="given up after"):
        vim.wait_for_task(task, inventory.deadline())


def test_rule_08_machines_and_tasks_are_waited_for_together(vcenter: VCenter, vim: VIM, inventory: Inventory) -> None:
    made = vim.wait_for_task(inventory.clone(inventory.new_name()), inventory.deadline())
    vcenter.forget_calls()

    def work(index: int) -> object:
        if index:
            return vim.run(made, "PowerOnVM_Task", deadline=inventory.deadline())
        values = vim.wait_for_properties(made, ["runtime.powerState"], lambda seen: seen.get("runtime.powerState") == "poweredOn", inventory.deadline())
        return values["runtime.powerState"]

    assert together(2, work) == ["poweredOn", None]
    calls = vcenter.calls()
    assert calls["CreatePropertyCollector"] == 0 and calls["CreateFilter"] == 1, "machines are listed in a view beside the tasks'"


def test_rule_08_what_holds_already_is_not_waited_for(vcenter: VCenter, vim: VIM, inventory: Inventory) -> None:
    for _time in range(2):
        assert vim.wait_for_properties(inventory.machine, ["name"], bool, inventory.deadline())
    assert vcenter.calls()["WaitForUpdatesEx"] == 1


def test_rule_08_a_condition_that_does_not_come_is_a_deadline_exceeded(vim: VIM, inventory: Inventory) -> None:
    begun = time.monotonic()
    with pytest.raises(errors.DeadlineExceeded) as caught:
        vim.wait_for_properties(inventory.machine, ["name"], lambda _seen: False, inventory.deadline(0.5), about="ci-1", phase="ready")
    assert (caught.value.obj, caught.value.phase) == ("ci-1", "ready")
    assert time.monotonic() - begun < 300


def test_rule_08_a_machine_that_is_removed_meanwhile_is_told(vcenter: VCenter, vim: VIM, inventory: Inventory) -> None:
    made = vim.wait_for_task(inventory.clone(inventory.new_name()), inventory.deadline())
    vcenter.forget_calls()

    def work(index: int) -> object:
        if index:
            while vcenter.calls()["WaitForUpdatesEx"] < 2:  # until the other one has seen the machine, and waits
                time.sleep(0.02)
            return vim.run(made, "Destroy_Task", deadline=inventory.deadline())
        return vim.wait_for_properties(made, ["name"], lambda _seen: False, inventory.deadline())

    gone, _rest = together(2, work)
    assert isinstance(gone, faults.ObjectGone)


def test_rule_08_threads_with_short_deadlines_do_not_end_the_others_wait(vim: VIM, inventory: Inventory) -> None:
    def work(index: int) -> object:
        if index % 2:
            return vim.wait_for_properties(inventory.machine, ["name"], lambda _seen: False, inventory.deadline(0.1 * index))
        return vim.wait_for_task(inventory.clone(inventory.new_name()), inventory.deadline())

    outcomes = together(8, work)
    assert [isinstance(outcome, errors.DeadlineExceeded) for outcome in outcomes] == [False, True] * 4


def test_rule_08_under_chaos_every_task_that_was_begun_is_seen_to_its_end(vcenter: VCenter, inventory: Inventory) -> None:
    clock = Clock()
    with vcenter.vim(clock=clock, stats=Stats(clock)) as vim:
        inventory.vim = vim
        tasks = [inventory.clone(inventory.new_name()) for _time in range(5)]
        for method in ("WaitForUpdatesEx", "ModifyListView", "CreateListView", "CreateFilter", "CreatePropertyCollector"):
            vcenter.chaos(method, "drop-after", rate=0.2, seed=7)
        outcomes = together(5, lambda index: vim.wait_for_task(tasks[index], inventory.deadline()))
        assert not [outcome for outcome in outcomes if isinstance(outcome, errors.VirtError)]
