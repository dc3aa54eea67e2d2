# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""libvirt's errors become typed ones, in one place."""

from __future__ import annotations

import errno

import libvirt
import pytest

from ansible_collections.poolwright.virt.plugins.module_utils import errors
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.faults import (
    Code,
    DefinitionRefused,
    Fault,
    InvalidState,
    NoMetadata,
    Source,
    Unsupported,
)


def test_the_numbers_are_libvirts_own() -> None:
    assert {code.name: int(code) for code in Code} == {code.name: getattr(libvirt, f"VIR_ERR_{code.name}") for code in Code}
    assert {source.name: int(source) for source in Source} == {source.name: getattr(libvirt, f"VIR_FROM_{source.name}") for source in Source}


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (Code.NO_DOMAIN, errors.NotFound),
        (Code.NO_NETWORK, errors.NotFound),
        (Code.NO_DOMAIN_METADATA, NoMetadata),
        (Code.DOM_EXIST, errors.NameTaken),
        (Code.OPERATION_INVALID, InvalidState),
        (Code.AUTH_FAILED, errors.AuthenticationFailed),
        (Code.AUTH_CANCELLED, errors.AuthenticationFailed),
        (Code.AUTH_UNAVAILABLE, errors.AuthenticationFailed),
        (Code.ACCESS_DENIED, errors.AuthenticationFailed),
        (Code.NO_SUPPORT, Unsupported),
        (Code.CONFIG_UNSUPPORTED, Unsupported),
        (Code.RESOURCE_BUSY, errors.Busy),
        (Code.OPERATION_TIMEOUT, errors.Busy),
        (Code.NO_MEMORY, errors.InsufficientResources),
        (Code.XML_ERROR, DefinitionRefused),
        (Code.NO_CONNECT, errors.ConnectionFailed),
        (Code.OPERATION_FAILED, errors.OperationFailed),
        (9999, errors.OperationFailed),
    ],
)
def test_a_code_has_its_error(code: int, kind: type[errors.VirtError]) -> None:
    error = Fault(code, 10, "said so").as_error(obj="ci-1", phase="start")
    assert error.__class__ is kind
    assert (error.obj, error.phase, error.message) == ("ci-1", "start", "said so")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.ENOMEM])
def test_a_full_host_is_told_by_errno(number: int) -> None:
    assert isinstance(Fault(Code.SYSTEM_ERROR, 10, "x", number).as_error(), errors.InsufficientResources)


def test_memory_that_qemu_could_not_get_is_told_by_its_words() -> None:
    said = "internal error: qemu unexpectedly closed the monitor: cannot set up guest memory 'pc.ram': Cannot allocate memory"
    assert isinstance(Fault(Code.INTERNAL_ERROR, 10, said).as_error(), errors.InsufficientResources)


@pytest.mark.parametrize("code", [Code.SYSTEM_ERROR, Code.INTERNAL_ERROR, Code.RPC])
def test_only_errors_of_the_wire_mean_a_broken_connection(code: Code) -> None:
    assert Fault(code, Source.RPC, "").broken
    assert Fault(code, Source.REMOTE, "").broken
    assert not Fault(code, 10, "").broken
    assert not Fault(Code.NO_DOMAIN, Source.REMOTE, "").broken


@pytest.mark.parametrize(
    ("number", "remedy"), [(errno.ENOENT, "start libvirtd"), (errno.ECONNREFUSED, "start libvirtd"), (errno.EACCES, "group libvirt"), (-1, "uri")]
)
def test_an_unreachable_uri_comes_with_a_remedy(number: int, remedy: str) -> None:
    error = Fault(Code.SYSTEM_ERROR, Source.RPC, "no", number).as_open_error("qemu:///system")
    assert isinstance(error, errors.ConnectionFailed)
    assert error.obj == "qemu:///system"
    assert remedy in error.hint


def test_an_error_without_details_is_still_one() -> None:
    assert Fault.of(libvirt.libvirtError("odd")).code == Code.INTERNAL_ERROR


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ('qemu unexpectedly closed the monitor: Failed to get "write" lock\nIs another process using the image [/d/a.qcow2]?', "shut the guest"),
        ("internal error: process exited while connecting to monitor: error connecting: Operation not permitted", "keyring"),
        ("Cannot access storage file '/d/a.raw': Permission denied", "QEMU's user"),
        ("Cannot access backing file '/images/b' of storage file '/d/a.qcow2': No such file or directory", "bring it back"),
        ("network 'lab' is not active", "virsh net-start"),
        ("Emulator '/usr/bin/qemu-system-x86_64' does not support virt type 'kvm'", "virt_type: qemu"),
        ("qcow2: Image is corrupt; cannot be opened read/write", "qemu-img check -r all"),
        ("cannot set up guest memory 'pc.ram': Cannot allocate memory", "less memory"),
    ],
)
def test_what_libvirt_and_qemu_say_comes_with_its_remedy(said: str, remedy: str) -> None:
    error = Fault(Code.INTERNAL_ERROR, 10, said).as_error(obj="ci-1", phase="start")
    assert remedy in error.hint
    assert said in str(error)


@pytest.mark.parametrize("said", ["at <graphics passwd='geheim-1' port='1'/>", 'at <graphics type="vnc" passwd = "geheim-1"/>', "passwd='geheim-1' is odd"])
def test_a_password_that_libvirt_quotes_is_not_passed_on(said: str) -> None:
    quoted = libvirt.libvirtError("x")
    quoted.err = (27, 10, said, 0, "", None, None, -1, -1)
    assert "geheim-1" not in str(Fault.of(quoted).as_error())
    assert "passwd" in Fault.of(quoted).message
