# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The eleven rules that the one door to vCenter keeps, each held by what the server counted."""

from __future__ import annotations

import traceback
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils import errors
from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere import faults
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.methods import UnknownMethod
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.session import LOGIN_PAUSES, PAUSES
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.vim import VIM
from ansible_collections.poolwright.virt.tests.contract.labs.vcenter import VCenter
from ansible_collections.poolwright.virt.tests.integration.vsphere.staging import ActingClock, ActingStats, Inventory, Way, together
from ansible_collections.poolwright.virt.tests.seeds import seeds


def find(vim: VIM) -> Any:
    return vim.call(vim.content.searchIndex, "FindByInventoryPath", inventoryPath="/DC0/vm")


# 1. Exactly one server call inside a retry


def test_rule_01_only_the_lost_call_is_repeated(vcenter: VCenter, vim: VIM, inventory: Inventory) -> None:
    vim.clock = ActingClock()
    name = inventory.new_name()
    vcenter.chaos("FindByInventoryPath", "drop-after", times=2, skip=1)

    def helper() -> Any:
        vim.call(find(vim), "CreateFolder", name=name)
        return find(vim)

    assert helper() == inventory.folder
    assert vcenter.calls().methods == {"FindByInventoryPath": 4, "CreateFolder": 1}


# 2. Faults become errors in one place


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("DuplicateName", errors.NameTaken),
        ("ResourceInUse", errors.Busy),
        ("TaskInProgress", errors.Busy),
        ("InsufficientResourcesFault", errors.InsufficientResources),
        ("FileLocked", errors.Busy),
        ("NoDiskSpace", errors.InsufficientResources),
        ("NoPermission", faults.PermissionDenied),
        ("InvalidName", faults.RequestRefused),
        ("NotSupported", faults.Unsupported),
    ],
)
def test_rule_02_a_fault_is_a_typed_error_and_is_not_repeated(
    vcenter: VCenter, vim: VIM, inventory: Inventory, fault: str, kind: type[errors.VirtError]
) -> None:
    vcenter.fault("CreateFolder", fault)
    with pytest.raises(kind, match=f"injected {fault}") as caught:
        vim.call(inventory.folder, "CreateFolder", name=inventory.new_name(), about="ci-1", phase="folder")
    assert (caught.value.obj, caught.value.phase) == ("ci-1", "folder")
    assert vcenter.calls().methods == {"CreateFolder": 1}


def test_rule_02_a_tasks_fault_is_the_same_error(vim: VIM, inventory: Inventory) -> None:
    with pytest.raises(faults.InvalidState) as caught:
        vim.run(inventory.machine, "PowerOnVM_Task", deadline=inventory.deadline(), about="ci-1", phase="start")
    behind = faults.fault_behind(caught.value)
    assert behind is not None and behind.name == "InvalidPowerState"
    assert (caught.value.obj, caught.value.phase) == ("ci-1", "start")


# 3. NotAuthenticated: one new login, then the same call


def test_rule_03_an_ended_session_is_renewed_and_the_same_call_repeated(vcenter: VCenter, vim: VIM, inventory: Inventory) -> None:
    vcenter.expire_sessions()
    name = inventory.new_name()
    vim.call(inventory.folder, "CreateFolder", name=name)
    assert vcenter.calls().methods == {"CreateFolder": 2, "Login": 1}
    assert inventory.names().count(name) == 1


def test_rule_03_not_authenticated_after_a_fresh_login_is_an_error(vcenter: VCenter, vim: VIM, inventory: Inventory) -> None:
    vcenter.fault("CreateFolder", "NotAuthenticated", times=0)
    with pytest.raises(faults.NotAuthenticated):
        vim.call(inventory.folder, "CreateFolder", name=inventory.new_name())
    assert vcenter.calls().methods == {"CreateFolder": 2, "Login": 1}


# 4. A broken connection: only what may be done twice is sent twice


@pytest.mark.parametrize("how", ["drop-before", "drop-after", "truncated", "unavailable"])
def test_rule_04_a_change_whose_answer_was_lost_is_never_sent_again(vcenter: VCenter, vim: VIM, inventory: Inventory, how: str) -> None:
    name = inventory.new_name()
    vcenter.chaos("CreateFolder", how)
    with pytest.raises(errors.MaybeApplied) as caught:
        vim.call(inventory.folder, "CreateFolder", name=name, about="ci-1", phase="folder")
    assert isinstance(caught.value, faults.AnswerLost)
    assert caught.value.operation.startswith("test-") and caught.value.operation in str(caught.value)
    assert vcenter.calls().methods == {"CreateFolder": 1}
    vcenter.calm()
    assert inventory.names().count(name) == (1 if how in ("drop-after", "truncated") else 0)


@pytest.mark.parametrize("how", ["drop-before", "drop-after", "truncated", "unavailable"])
def test_rule_04_a_read_is_sent_again(vcenter: VCenter, vim: VIM, inventory: Inventory, how: str) -> None:
    vcenter.chaos("FindByInventoryPath", how, times=2)
    assert find(vim) == inventory.folder
    assert vcenter.calls().methods == {"FindByInventoryPath": 3}


def test_rule_04_so_is_what_the_caller_says_may_be_done_twice(vcenter: VCenter, vim: VIM, inventory: Inventory) -> None:
    vcenter.chaos("CreateFolder", "drop-after", times=1)
    with pytest.raises(errors.NameTaken):
        vim.call(inventory.folder, "CreateFolder", name=inventory.new_name(), idempotent=True)
    assert vcenter.calls().methods == {"CreateFolder": 2}


def test_rule_04_reads_are_given_up_after_a_few_attempts(vcenter: VCenter, inventory: Inventory) -> None:
    vcenter.chaos("FindByInventoryPath", "drop-before")
    clock = ActingClock()
    with vcenter.vim(clock=clock) as vim, pytest.raises(errors.ConnectionFailed, match="given up after 5 attempts"):
        find(vim)
    assert vcenter.calls()["FindByInventoryPath"] == 1 + len(PAUSES)
    assert clock.slept == pytest.approx(sum(PAUSES))


def test_rule_04_what_was_provably_not_sent_is_sent_again(vcenter: VCenter, inventory: Inventory) -> None:
    way = Way((vcenter.host, vcenter.port))
    way.open()
    clock = ActingClock()
    with vcenter.vim(clock=clock, port=way.port) as vim:
        find(vim)
        vcenter.forget_calls()
        name = inventory.new_name()
        # The connection that was kept is cut, and the first attempt at a new one finds nobody.
        way.close()
        clock.act = way.open
        vim.call(inventory.folder, "CreateFolder", name=name)
        assert clock.slept == PAUSES[0]
        assert vcenter.calls().methods == {"CreateFolder": 1}
        assert inventory.names().count(name) == 1
    way.close()


# 5. Logins are bounded, and a refused password is never sent again


def test_rule_05_a_wrong_password_is_sent_once_whoever_asks(vcenter: VCenter) -> None:
    with vcenter.vim(password="wrong") as vim:
        outcomes = together(8, lambda _index: find(vim)) + together(1, lambda _index: vim.get_objects("VirtualMachine", ["name"]))
    assert {type(outcome) for outcome in outcomes} == {errors.AuthenticationFailed}
    assert "not locked" in outcomes[0].hint and "user at 127.0.0.1" in outcomes[0].obj
    assert vcenter.calls().methods == {"RetrieveServiceContent": 1, "Login": 1}


@pytest.mark.parametrize("how", ["drop-before", "drop-after"])
def test_rule_05_a_login_that_gets_no_answer_is_tried_a_few_times(vcenter: VCenter, how: str) -> None:
    vcenter.chaos("Login", how)
    clock = ActingClock()
    with vcenter.vim(clock=clock) as vim, pytest.raises(errors.ConnectionFailed):
        find(vim)
    assert vcenter.calls()["Login"] == 1 + len(LOGIN_PAUSES)
    assert clock.slept == pytest.approx(sum(LOGIN_PAUSES))


# 6. One login, however many threads


def test_rule_06_threads_share_one_login(vcenter: VCenter, inventory: Inventory) -> None:
    stats = Stats(Clock())
    with vcenter.vim(stats=stats) as vim:
        assert together(16, lambda _index: find(vim)) == [inventory.folder] * 16
        assert vcenter.calls()["Login"] == 1
        vcenter.expire_sessions()
        assert together(16, lambda _index: find(vim)) == [inventory.folder] * 16
    calls = vcenter.calls()
    assert (calls["Login"], calls["Logout"], calls["RetrieveServiceContent"]) == (2, 1, 1)
    assert stats.as_dict()["logins"] == 2
    assert stats.as_dict()["calls"] == calls.methods, "both sides count the same"


@pytest.mark.parametrize("ending", [KeyboardInterrupt, ValueError, SystemExit])
def test_rule_06_and_one_logout_whatever_happens(vcenter: VCenter, inventory: Inventory, ending: type[BaseException]) -> None:
    open_before = vcenter.calls().sessions

    def interrupted() -> None:
        with vcenter.vim() as vim:
            find(vim)
            assert vcenter.calls().sessions == open_before + 1
            raise ending

    with pytest.raises(ending):
        interrupted()
    calls = vcenter.calls()
    assert (calls["Login"], calls["Logout"], calls.sessions) == (1, 1, open_before)


def test_rule_06_a_closed_session_is_not_opened_again(vcenter: VCenter) -> None:
    vim = vcenter.vim()
    find(vim)
    vim.close()
    vim.close()
    with pytest.raises(errors.OperationFailed, match="closed"):
        find(vim)
    assert (vcenter.calls()["Login"], vcenter.calls()["Logout"]) == (1, 1)


def test_rule_06_without_a_login_there_is_no_logout(vcenter: VCenter) -> None:
    with vcenter.vim() as vim:
        assert vim.content.about.apiType == "VirtualCenter"
    assert vcenter.calls().methods == {"RetrieveServiceContent": 1}


# 7. An empty answer is an answer; whether the session lives is asked, not guessed


def test_rule_07_an_empty_folder_is_empty(vcenter: VCenter, vim: VIM, inventory: Inventory) -> None:
    empty = vim.call(inventory.folder, "CreateFolder", name=inventory.new_name())
    vcenter.forget_calls()
    assert vim.get_objects("VirtualMachine", ["name"], root=empty) == []
    assert vcenter.calls().methods == {"RetrievePropertiesEx": 2}


def test_rule_07_an_empty_answer_of_an_ended_session_is_none(vcenter: VCenter, vim: VIM, inventory: Inventory) -> None:
    empty = vim.call(inventory.folder, "CreateFolder", name=inventory.new_name())
    vcenter.expire_sessions()
    vcenter.forget_calls()
    assert vim.get_objects("VirtualMachine", ["name"], root=empty) == []
    assert vcenter.calls().methods == {"RetrievePropertiesEx": 4, "Login": 1}


def test_rule_07_properties_that_an_ended_session_may_not_see_are_not_taken_for_unset(vcenter: VCenter, vim: VIM, inventory: Inventory) -> None:
    vcenter.expire_sessions()
    assert len(vim.get_objects("VirtualMachine", ["name"])) == 3
    assert vcenter.calls().methods == {"RetrievePropertiesEx": 2, "Login": 1}


def test_rule_07_a_missing_root_is_an_error_and_never_an_empty_list(vim: VIM, inventory: Inventory) -> None:
    gone = vim.call(inventory.folder, "CreateFolder", name=inventory.new_name())
    vim.run(gone, "Destroy_Task", deadline=inventory.deadline())
    with pytest.raises(faults.ObjectGone):
        vim.get_objects("VirtualMachine", ["name"], root=gone)
    with pytest.raises(faults.ObjectGone):
        vim.get_properties(gone, ["name"])
    assert [found.obj for found in vim.get_many([gone, inventory.folder], ["name"])] == [inventory.folder]


# 9. The text


def test_rule_09_the_text_has_what_vcenter_said_its_data_and_its_type(vim: VIM, inventory: Inventory) -> None:
    name = inventory.new_name()
    there = vim.call(inventory.folder, "CreateFolder", name=name)
    with pytest.raises(errors.NameTaken) as caught:
        vim.call(inventory.folder, "CreateFolder", name=name, about=name, phase="folder")
    text = str(caught.value)
    assert name in text and "DuplicateName" in text and f"Folder:{there._GetMoId()}" in text
    assert isinstance(caught.value.__cause__, faults.VimFault)
    assert caught.value.as_dict()["phase"] == "folder"


# 10. Secrets


def with_locals(error: BaseException) -> str:
    """The traceback with the local variables of every frame but the test's own."""
    assert error.__traceback__ is not None
    return "".join(traceback.TracebackException(type(error), error, error.__traceback__.tb_next, capture_locals=True).format())


@pytest.mark.parametrize("how", ["refused", "drop-before", "truncated", "unavailable", "unreachable"])
def test_rule_10_no_secret_in_what_is_raised_even_with_local_variables(vcenter: VCenter, how: str) -> None:
    password = "Tr0ub4dor&3"
    if how in ("drop-before", "truncated", "unavailable"):
        vcenter.chaos("Login", how)
    vim = vcenter.vim(password=password, clock=ActingClock(), port=1 if how == "unreachable" else vcenter.port)
    with vim, pytest.raises(errors.VirtError) as caught:
        find(vim)
    shown = with_locals(caught.value)
    assert "inventoryPath" in shown
    assert password not in shown
    assert password not in repr(vars(vim)) + str(caught.value) + repr(caught.value)


def test_rule_10_nor_is_the_sessions_cookie(vcenter: VCenter, vim: VIM, inventory: Inventory) -> None:
    cookie = vim.transport.cookie_header()["Cookie"].partition("=")[2]
    vcenter.chaos("CreateFolder", "drop-after")
    with pytest.raises(errors.MaybeApplied) as caught:
        vim.call(inventory.folder, "CreateFolder", name=inventory.new_name())
    shown = with_locals(caught.value)
    assert cookie and cookie not in shown + repr(vars(vim)) + repr(vars(vim.transport))


# 11. Names of methods


def test_rule_11_an_unknown_method_or_argument_is_an_error_before_anything_is_sent(vcenter: VCenter, inventory: Inventory) -> None:
    vcenter.forget_calls()
    with vcenter.vim() as vim:
        with pytest.raises(UnknownMethod, match="PowerOnVM_Task"):
            vim.call(inventory.machine, "PowerOnVm_Task")
        with pytest.raises(UnknownMethod, match="takes host"):
            vim.call(inventory.machine, "PowerOnVM_Task", hots=None)
    assert vcenter.calls().total == 0


def test_rule_11_nor_is_there_another_way_in(vcenter: VCenter, vim: VIM, inventory: Inventory) -> None:
    with pytest.raises(RuntimeError, match="get_properties"):
        _name = inventory.machine.name
    with pytest.raises(RuntimeError, match=r"VIM\.call"):
        inventory.machine.PowerOn()
    assert not hasattr(VIM, "__getattr__")
    assert vcenter.calls().total == 0


# Reads in pages


def test_a_read_costs_one_call_for_each_page(vcenter: VCenter, vim: VIM, inventory: Inventory) -> None:
    assert len(vim.get_objects("VirtualMachine", ["name"])) == 3
    assert vcenter.calls().methods == {"RetrievePropertiesEx": 1}
    assert len(vim.get_objects("VirtualMachine", ["name"], page_size=1)) == 3
    assert vcenter.calls().methods == {"RetrievePropertiesEx": 2, "ContinueRetrievePropertiesEx": 2}


def test_a_read_whose_session_ends_between_pages_is_begun_anew(vcenter: VCenter, inventory: Inventory) -> None:
    stats = ActingStats(Clock(), "ContinueRetrievePropertiesEx", vcenter.expire_sessions)
    with vcenter.vim(stats=stats) as vim:
        found = vim.get_objects("VirtualMachine", ["name"], page_size=1)
    assert len({each.properties["name"] for each in found}) == len(found) == 3
    calls = vcenter.calls()
    assert (calls["RetrievePropertiesEx"], calls["ContinueRetrievePropertiesEx"], calls["Login"]) == (2, 3, 2)


@pytest.mark.parametrize("how", ["drop-before", "drop-after", "unavailable"])
def test_a_read_that_loses_a_page_is_begun_anew(vcenter: VCenter, vim: VIM, inventory: Inventory, how: str) -> None:
    vcenter.chaos("ContinueRetrievePropertiesEx", how, times=1, skip=1)
    found = vim.get_objects("VirtualMachine", ["name"], page_size=1)
    assert len({each.properties["name"] for each in found}) == len(found) == 3
    assert vcenter.calls().methods == {"RetrievePropertiesEx": 2, "ContinueRetrievePropertiesEx": 4}


def test_under_any_chaos_a_read_is_whole_or_an_error(vcenter: VCenter, inventory: Inventory) -> None:
    for seed in seeds(gate=3, soak=10):
        vcenter.calm()
        vcenter.chaos("*", "drop-after", rate=0.2, seed=seed)
        clock = ActingClock()
        with vcenter.vim(clock=clock) as vim:
            try:
                assert len(vim.get_objects("VirtualMachine", ["name"], page_size=1)) == 3
            except errors.ConnectionFailed:
                assert clock.slept >= sum(LOGIN_PAUSES)


def test_a_deadline_ends_the_attempts(vcenter: VCenter, inventory: Inventory) -> None:
    vcenter.chaos("FindByInventoryPath", "drop-before")
    clock = Clock()
    with vcenter.vim(clock=clock) as vim, pytest.raises(errors.ConnectionFailed, match="given up after"):
        vim.call(vim.content.searchIndex, "FindByInventoryPath", inventoryPath="/DC0/vm", deadline=Deadline.after(clock, 0.1))
    assert vcenter.calls()["FindByInventoryPath"] == 2
