# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``docs/vsphere.md`` names every privilege that a call in the code needs, and none that vSphere does not have."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.binding import library
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.methods import READS

ROOT = Path(__file__).parents[3]
GUIDE = ROOT / "docs" / "vsphere.md"
# What a call needs where pyVmomi's description leaves it to the arguments, from vSphere's documents.
BY_ARGUMENTS = {
    "CancelTask": {"Global.CancelTask"},
    "CloneVM_Task": {"VirtualMachine.Provisioning.Clone", "VirtualMachine.Provisioning.DeployTemplate", "VirtualMachine.Inventory.CreateFromExisting"},
    "CopyDatastoreFile_Task": {"Datastore.FileManagement", "Datastore.Browse"},
    "CopyVirtualDisk_Task": {"Datastore.FileManagement"},
    "CreateVirtualDisk_Task": {"Datastore.FileManagement"},
    "DeleteDatastoreFile_Task": {"Datastore.FileManagement"},
    "DeleteVirtualDisk_Task": {"Datastore.FileManagement"},
    "Destroy_Task": {"VirtualMachine.Inventory.Delete"},
    "ExtendVirtualDisk_Task": {"Datastore.FileManagement"},
    "InstantClone_Task": {"VirtualMachine.Provisioning.Clone", "VirtualMachine.Inventory.CreateFromExisting"},
    "MakeDirectory": {"Datastore.FileManagement"},
    "MoveDatastoreFile_Task": {"Datastore.FileManagement"},
    "MoveVirtualDisk_Task": {"Datastore.FileManagement"},
    "ReconfigVM_Task": {"VirtualMachine.Config.AdvancedConfig"},
    "RelocateVM_Task": {"Resource.HotMigrate", "Resource.ColdMigrate"},
}
# Every account that sees an object has these; a session may do with what it made itself as it likes.
GRANTED = ("System.", "Sessions.")
OF_OUR_OWN = {"Login", "LoginByToken", "Logout", "ModifyListView"} | {f"HttpNfcLease{end}" for end in ("Abort", "Complete", "GetManifest", "Progress")}


def methods_called() -> set[str]:
    """Names of methods in the code: string constants that are given to a call, and are a method's name."""
    words = set()
    for folder in ("vsphere", "providers", "spawn"):
        for path in sorted((ROOT / "plugins" / "module_utils" / folder).rglob("*.py")):
            calls = (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call))
            words |= {arg.value for call in calls for arg in call.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)}
    return words & set(methods())


@functools.cache
def methods() -> dict[str, Any]:
    """pyVmomi's description of each method of the API, by its name in vSphere's documents."""
    support = library().support
    return {name: support.GetWsdlMethod(namespace, name) for namespace, name in support._wsdlMethodMap if namespace == "urn:vim25"}


@functools.cache
def documented() -> set[str]:
    return set(re.findall(r"`((?:[A-Z][A-Za-z]+\.)+[A-Z][A-Za-z]+)`", GUIDE.read_text(encoding="utf-8")))


def test_the_code_is_searched_for_calls() -> None:
    assert {"CreateFolder", "CreateVirtualDisk_Task", "RetrievePropertiesEx"} <= methods_called()


def test_the_guide_names_no_privilege_twice_or_in_vain() -> None:
    """Of those by arguments: what no call needs any more is no longer asked for."""
    assert set(BY_ARGUMENTS) <= methods_called(), "no longer called"


@pytest.mark.parametrize("method", sorted(methods_called()))
def test_the_guide_names_what_a_call_needs(method: str) -> None:
    told = methods()[method].info.privId
    assert told or method in BY_ARGUMENTS or method in OF_OUR_OWN or method in READS, f"say here what {method} needs"
    needed = BY_ARGUMENTS.get(method, {told or ""} - {""})
    missing = {privilege for privilege in needed if not privilege.startswith(GRANTED)} - documented()
    assert not missing, f"{method} needs them"
