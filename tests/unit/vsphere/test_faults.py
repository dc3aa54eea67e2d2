# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""vSphere's faults become typed errors, in one place; whatever vCenter said is in the text."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils import errors
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere import faults
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.binding import library, reference
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import Fault, fault_behind

FAULTS = library().vim.fault
RUNTIME = library().vmodl.fault
MESSAGE = library().vmodl.LocalizableMessage


def error_of(fault: Any) -> errors.VirtError:
    return Fault.of(fault).as_error(obj="ci-1", phase="create")


def test_every_name_in_the_tables_is_a_fault_of_vsphere() -> None:
    lib = library()
    named = {*faults._TYPES, *faults._HINTS, *faults._FIELDS}
    for name in named:
        kind = lib.support.GetWsdlType("urn:pbm" if name.startswith("Pbm") else "urn:vim25", name)
        assert issubclass(kind, lib.vmodl.MethodFault), name
        for field, _word in faults._FIELDS.get(name, ()):
            assert kind._GetPropertyInfo(field) is not None, (name, field)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (FAULTS.InvalidLogin(), errors.AuthenticationFailed),
        (FAULTS.PasswordExpired(), errors.AuthenticationFailed),
        (FAULTS.NotAuthenticated(), faults.NotAuthenticated),
        (RUNTIME.SecurityError(), faults.NotAuthenticated),
        (FAULTS.NoPermission(), faults.PermissionDenied),
        (FAULTS.DuplicateName(), errors.NameTaken),
        (FAULTS.AlreadyExists(), errors.NameTaken),
        (RUNTIME.ManagedObjectNotFound(), faults.ObjectGone),
        (FAULTS.NotFound(), errors.NotFound),
        (FAULTS.FileNotFound(), faults.FileMissing),
        (FAULTS.FileAlreadyExists(), faults.FileExists),
        (FAULTS.FileLocked(), errors.Busy),
        (FAULTS.CannotDeleteFile(), errors.OperationFailed),
        (FAULTS.NoDiskSpace(), errors.InsufficientResources),
        (FAULTS.InsufficientMemoryResourcesFault(), errors.InsufficientResources),
        (FAULTS.ResourceInUse(), errors.Busy),
        (FAULTS.TaskInProgress(), errors.Busy),
        (FAULTS.ConcurrentAccess(), faults.ConcurrentChange),
        (FAULTS.InvalidPowerState(), faults.InvalidState),
        (FAULTS.ToolsUnavailable(), faults.ToolsUnavailable),
        (RUNTIME.HostNotConnected(), faults.HostUnreachable),
        (FAULTS.RestrictedVersion(), faults.Unsupported),
        (RUNTIME.NotSupported(), faults.Unsupported),
        (RUNTIME.MethodNotFound(), faults.Unsupported),
        (RUNTIME.InvalidArgument(), faults.RequestRefused),
        (FAULTS.InvalidName(), faults.RequestRefused),
        (FAULTS.InvalidDeviceSpec(), faults.RequestRefused),
        (FAULTS.InvalidDatastore(), faults.RequestRefused),
        (FAULTS.Timedout(), errors.DeadlineExceeded),
        (RUNTIME.RequestCanceled(), errors.Cancelled),
        (FAULTS.GenericVmConfigFault(), errors.OperationFailed),
        (RUNTIME.SystemError(), errors.OperationFailed),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_a_fault_has_its_error(fault: Any, kind: type[errors.VirtError]) -> None:
    error = error_of(fault)
    assert error.__class__ is kind
    assert (error.obj, error.phase) == ("ci-1", "create")
    behind = fault_behind(error)
    assert behind is not None and behind.name == type(fault)._wsdlName
    assert behind.name in error.message, "a fault without a text is told by its type"


def test_the_text_has_the_message_the_chain_and_the_cause() -> None:
    cause = FAULTS.NoDiskSpace(msg="No space left", datastore="ssd-1", file="[ssd-1] a.vmdk")
    fault = FAULTS.GenericVmConfigFault(
        msg="Cannot make the machine", reason="x", faultCause=cause, faultMessage=[MESSAGE(key="a", message="Failed to extend disk"), MESSAGE(key="b")]
    )
    text = error_of(fault).message
    assert text.index("Cannot make the machine") < text.index("Failed to extend disk") < text.index("No space left")
    assert "ssd-1" in text and "[ssd-1] a.vmdk" in text
    assert [link.name for link in Fault.of(fault).chain()] == ["GenericVmConfigFault", "NoDiskSpace"]


def test_nothing_is_told_twice() -> None:
    fault = FAULTS.Timedout(msg="Too late", faultMessage=[MESSAGE(key="a", message="Too late")])
    assert error_of(fault).message.count("Too late") == 1


def test_a_fault_that_names_itself_as_its_cause_ends() -> None:
    fault = FAULTS.Timedout(msg="Too late")
    fault.faultCause = fault
    assert error_of(fault).message == "Too late (Timedout)"


def test_a_missing_privilege_is_named_with_its_object() -> None:
    error = error_of(FAULTS.NoPermission(msg="Denied", privilegeId="VirtualMachine.Inventory.Create", object=reference("Folder", "group-v3")))
    assert "privilege VirtualMachine.Inventory.Create" in error.message and "on Folder:group-v3" in error.message
    assert "granted" in error.hint
    assert error.config


def test_the_machine_that_has_the_name_is_at_hand() -> None:
    there = reference("VirtualMachine", "vm-7")
    behind = fault_behind(error_of(FAULTS.DuplicateName(name="ci-1", object=there)))
    assert behind is not None and behind.fields["object"] == there


def test_an_error_that_no_fault_became_has_none_behind_it() -> None:
    assert fault_behind(errors.Busy("x")) is None


def test_a_lost_answer_names_its_operation() -> None:
    error = faults.AnswerLost("gone", operation="poolwright-1", obj="ci-1")
    assert isinstance(error, errors.MaybeApplied)
    assert error.operation == "poolwright-1" and "poolwright-1" in str(error)
