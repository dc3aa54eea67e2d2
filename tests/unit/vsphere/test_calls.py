# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Mistakes are found before anything is sent, and secrets do not show."""

from __future__ import annotations

import io
import pickle
import re
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import InstantClock
from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec, OperationFailed, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere import methods, properties, tasks
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.binding import library, managed_type, read_answer, reference, write_request
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.endpoint import Credentials, Endpoint, Secret
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import InvalidState
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.methods import READS, UnknownMethod, in_order, method_info
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.vim import VIM

MACHINE = reference("VirtualMachine", "vm-7")
PASSWORD = "correct horse"


def test_methods_go_by_the_names_of_vspheres_documents() -> None:
    info = method_info(MACHINE, "CloneVM_Task")
    assert in_order(info, {"name": "b", "folder": "a"}) == ["a", "b", None]


@pytest.mark.parametrize("method", ["CloneVm_Task", "Clone", "config", "__class__"])
def test_a_method_that_does_not_exist_is_an_error_at_once(method: str) -> None:
    with pytest.raises(UnknownMethod, match=method):
        method_info(MACHINE, method)


def test_the_nearest_method_is_offered() -> None:
    with pytest.raises(UnknownMethod, match="is it CloneVM_Task"):
        method_info(MACHINE, "CloneVM_task")


def test_so_is_an_argument_that_does_not_exist() -> None:
    with pytest.raises(UnknownMethod, match="takes no nane; it takes folder, name, spec"):
        in_order(method_info(MACHINE, "CloneVM_Task"), {"nane": "x"})


def test_every_method_that_counts_as_a_read_exists() -> None:
    kinds = ["VirtualMachine", "PropertyCollector", "ServiceInstance", "SearchIndex", "OvfManager", "HostDatastoreBrowser", "OptionManager"]
    kinds += ["VirtualDiskManager", "StorageResourceManager", "HttpNfcLease", "AuthorizationManager"]
    lib = library()
    found = {info.wsdlName for kind in kinds for info in lib.support.GetWsdlType("urn:vim25", kind)._GetMethodList()}
    checkers = (lib.vim.vm.check.CompatibilityChecker, lib.vim.vm.check.ProvisioningChecker)
    found |= {info.wsdlName for kind in checkers for info in kind._GetMethodList()}
    policies = (lib.pbm.ServiceInstance, lib.pbm.profile.ProfileManager, lib.pbm.placement.PlacementSolver)
    found |= {info.wsdlName for kind in policies for info in kind._GetMethodList()}
    assert found >= READS
    assert methods.READS is READS


def test_arguments_of_wrong_types_and_missing_ones_are_refused() -> None:
    info = method_info(MACHINE, "CloneVM_Task")
    for arguments in (["no folder", "b", None], [None, None, None]):
        with pytest.raises(TypeError):
            write_request(MACHINE, info, arguments, "op-1", Secret(), Secret())


def test_a_request_carries_its_operation_and_its_token() -> None:
    body = write_request(MACHINE, method_info(MACHINE, "PowerOnVM_Task"), [None], "op-1", Secret("<saml/>"), Secret()).decode()
    assert re.search("<operationID[^>]*>op-1</operationID>", body)
    assert "<saml/>" in body and ">vm-7</_this>" in body


def answer(body: str) -> io.BytesIO:
    envelope = '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>{}</soapenv:Body></soapenv:Envelope>'
    return io.BytesIO(envelope.format(body).encode())


def test_objects_in_an_answer_are_sealed() -> None:
    info = method_info(MACHINE, "PowerOnVM_Task")
    is_fault, task = read_answer(
        answer('<PowerOnVM_TaskResponse xmlns="urn:vim25"><returnval type="Task">task-1</returnval></PowerOnVM_TaskResponse>'), MACHINE, info
    )
    assert not is_fault and task == reference("Task", "task-1")
    with pytest.raises(RuntimeError, match="get_properties"):
        _info = task.info
    with pytest.raises(RuntimeError, match=r"VIM\.call"):
        task.Cancel()


def test_a_fault_in_an_answer_is_told_from_what_a_call_returns() -> None:
    fault = '<soapenv:Fault><faultstring>no</faultstring><detail><f:InvalidPowerStateFault xmlns:f="urn:vim25"/></detail></soapenv:Fault>'
    is_fault, value = read_answer(answer(fault), MACHINE, method_info(MACHINE, "PowerOnVM_Task"))
    assert is_fault and isinstance(value, library().vim.fault.InvalidPowerState)


@pytest.mark.parametrize("kind", ["VirtualMachin", "fault", "TaskInfo"])
def test_only_managed_types_are_managed_types(kind: str) -> None:
    with pytest.raises(TypeError, match=kind):
        managed_type(kind)


def test_secrets_show_nowhere() -> None:
    credentials = Credentials("user", Secret(PASSWORD))
    clock = InstantClock()
    vim = VIM(Endpoint("vc"), credentials, clock, Stats(clock))
    seen = [repr(credentials), str(credentials), repr(credentials.password), f"{credentials.password}", repr(vim), repr(vars(vim)), repr(vars(vim.transport))]
    assert not [text for text in seen if PASSWORD in text]
    with pytest.raises((TypeError, AttributeError)):
        pickle.dumps(vim)


@pytest.mark.parametrize("credentials", [{}, {"user": "u", "token": Secret("t")}])
def test_one_way_to_log_in_is_wanted(credentials: Any) -> None:
    with pytest.raises(InvalidSpec, match="token"):
        Credentials(**credentials)


@pytest.mark.parametrize("wrong", [{"host": ""}, {"port": 0}, {"proxy_port": 65536}, {"thumbprint": "zz"}, {"thumbprint": "ab" * 19}])
def test_an_endpoint_is_checked(wrong: Any) -> None:
    with pytest.raises(InvalidSpec):
        Endpoint(**{"host": "vc", **wrong})


def test_a_thumbprint_may_have_colons() -> None:
    assert Endpoint("vc", thumbprint=":".join(["AB"] * 32)).pin == ("sha256", "ab" * 32)
    assert Endpoint("vc", thumbprint="ab" * 20).pin[0] == "sha1"


@pytest.mark.parametrize(
    ("values", "is_done"),
    [
        ({}, False),
        ({"info.state": "queued"}, False),
        ({"info.state": "running", "info.error": library().vim.fault.Timedout()}, False),
        ({"info.state": "success"}, True),
        ({"info.state": "error"}, True),
    ],
)
def test_a_tasks_state_alone_says_that_it_has_ended(values: Any, is_done: bool) -> None:
    assert tasks.ended(values) is is_done


def test_a_task_that_failed_is_an_error_even_without_a_reason() -> None:
    task = reference("Task", "task-1")
    assert tasks.outcome(task, {"info.state": "success", "info.result": 7}).value() == 7
    failed = tasks.outcome(task, {"info.state": "error", "info.error": library().vim.fault.InvalidState(msg="no")}, about="ci-1")
    with pytest.raises(InvalidState, match="no"):
        failed.value()
    with pytest.raises(OperationFailed):
        tasks.outcome(task, {"info.state": "error"}).value()


def test_a_bulk_read_is_one_specification_whatever_the_number() -> None:
    root = reference("Folder", "group-d1")
    spec = properties.below(root, {"VirtualMachine": ["name"]})
    assert [step.path for step in spec.objectSet[0].selectSet] == ["childEntity", "vmFolder", "vm"]
    many = properties.of_objects([reference("VirtualMachine", f"vm-{n}") for n in range(3)] + [root], ["name"])
    assert (len(many.objectSet), len(many.propSet)) == (4, 2)
    # What is derived from a type is found the way that type is.
    assert len(properties.below(root, {"ClusterComputeResource": ["name"]}).objectSet[0].selectSet) == 2


def test_a_property_that_cannot_be_read_is_not_left_out() -> None:
    collector = library().vmodl.query.PropertyCollector
    fault = library().vim.fault.NoPermission(msg="no", privilegeId="System.Read")
    content = collector.ObjectContent(obj=MACHINE, missingSet=[collector.MissingProperty(path="config", fault=fault)])
    with pytest.raises(VirtError, match=r"config cannot be read: no.*System\.Read") as caught:
        properties.read_page(collector.RetrieveResult(objects=[content]))
    assert caught.value.code == "incomplete_answer"
    gone = library().vmodl.fault.ManagedObjectNotFound(obj=MACHINE)
    content = collector.ObjectContent(obj=MACHINE, missingSet=[collector.MissingProperty(path="config", fault=gone)])
    assert properties.read_page(collector.RetrieveResult(objects=[content])) == []
