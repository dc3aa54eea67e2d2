# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Bulk reads: what to ask the property collector for, and what its pages say. No call is made here.

One request reads any number of objects; the collector hands out the rest in pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.errors import IncompleteAnswer, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.binding import kind_of, library, managed_type
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import Fault

PAGE_SIZE = 1000
"""Objects in one answer at most; vCenter itself may send fewer."""


@dataclass(frozen=True)
class Found:
    """An object with those of the properties asked for that are set."""

    obj: Any
    properties: Mapping[str, Any]


# How one gets from a container to what is in it: (name of the step, type it starts from, property, the steps that follow).
_DOWN = ("folder", "datacenter-vm", "datacenter-host", "datacenter-datastore", "datacenter-network", "compute-host", "compute-pool", "pool-pool", "vapp-vm")
_STEPS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "folder": ("Folder", "childEntity", _DOWN),
    "datacenter-vm": ("Datacenter", "vmFolder", ("folder",)),
    "datacenter-host": ("Datacenter", "hostFolder", ("folder",)),
    "datacenter-datastore": ("Datacenter", "datastoreFolder", ("folder",)),
    "datacenter-network": ("Datacenter", "networkFolder", ("folder",)),
    "compute-host": ("ComputeResource", "host", ()),
    "compute-pool": ("ComputeResource", "resourcePool", ("pool-pool",)),
    "pool-pool": ("ResourcePool", "resourcePool", ("pool-pool",)),
    "vapp-vm": ("VirtualApp", "vm", ()),
}
# A machine has two ways up, by folders and by pools; where only machines are wanted the second is left out.
_WAYS: dict[str, tuple[str, ...]] = {
    "VirtualMachine": ("folder", "datacenter-vm", "vapp-vm"),
    "Datastore": ("folder", "datacenter-datastore"),
    "Network": ("folder", "datacenter-network"),
    "HostSystem": ("folder", "datacenter-host", "compute-host"),
    "ComputeResource": ("folder", "datacenter-host"),
    "ResourcePool": ("folder", "datacenter-host", "compute-pool", "pool-pool"),
}


def below(root: Any, wanted: Mapping[str, Sequence[str]]) -> Any:
    """The specification that reads properties of all objects at any depth below ``root``.

    :param wanted: the properties by type; a type stands for those derived from it too.
    """
    collector = library().vmodl.query.PropertyCollector
    ways = [next((_WAYS[name] for name in _lineage(kind) if name in _WAYS), tuple(_STEPS)) for kind in wanted]
    steps = [step for step in _STEPS if any(step in way for way in ways)]
    select = [
        collector.TraversalSpec(
            name=name,
            type=managed_type(_STEPS[name][0]),
            path=_STEPS[name][1],
            skip=False,
            selectSet=[collector.SelectionSpec(name=following) for following in _STEPS[name][2] if following in steps],
        )
        for name in steps
    ]
    target = collector.ObjectSpec(obj=root, skip=len(wanted) == 1, selectSet=select)
    return collector.FilterSpec(objectSet=[target], propSet=[_wanted(managed_type(kind), paths) for kind, paths in wanted.items()])


def of_objects(objects: Iterable[Any], paths: Sequence[str]) -> Any:
    """The specification that reads these properties of these objects, and passes over those that are gone."""
    collector = library().vmodl.query.PropertyCollector
    listed = list(objects)
    kinds = {type(obj) for obj in listed}
    return collector.FilterSpec(
        objectSet=[collector.ObjectSpec(obj=obj, skip=False) for obj in listed],
        propSet=[_wanted(kind, paths) for kind in sorted(kinds, key=str)],
        reportMissingObjectsInResults=True,
    )


def of_view(view: Any, kind: str, paths: Sequence[str]) -> Any:
    """The specification that reads these properties of the objects that a view lists."""
    collector = library().vmodl.query.PropertyCollector
    listed = collector.TraversalSpec(name="view", type=type(view), path="view", skip=False)
    return collector.FilterSpec(objectSet=[collector.ObjectSpec(obj=view, skip=True, selectSet=[listed])], propSet=[_wanted(managed_type(kind), paths)])


def paged(size: int) -> Any:
    return library().vmodl.query.PropertyCollector.RetrieveOptions(maxObjects=size)


def read_page(page: Any, *, phase: str = "") -> list[Found]:
    """The objects of one answer. One that was removed while the answer was made is left out.

    :raises NotAuthenticated: the session is gone; vCenter says so of each property instead of failing the call.
    :raises IncompleteAnswer: a property could not be read, for lack of a privilege or otherwise; the cause is in the message.
    """
    found = []
    for content in page.objects if page is not None else ():
        faults = [Fault.of(missing.fault) for missing in content.missingSet or ()]
        if any("ManagedObjectNotFound" in fault.lineage for fault in faults):
            continue
        if faults:
            raise unreadable(faults[0], content.missingSet[0].path, content.obj, phase)
        found.append(Found(content.obj, {entry.name: entry.val for entry in content.propSet or ()}))
    return found


def unreadable(fault: Fault, path: str, obj: Any, phase: str) -> VirtError:
    """The error for a property that an answer should hold and does not."""
    if {"NotAuthenticated", "InvalidProperty"} & set(fault.lineage):
        return fault.as_error(obj=f"{kind_of(obj)}:{obj._GetMoId()}", phase=phase)
    error = fault.as_error(obj=f"{kind_of(obj)}:{obj._GetMoId()}", phase=phase)
    incomplete = IncompleteAnswer(f"its property {path} cannot be read: {error.message}", obj=error.obj, phase=phase, hint=error.hint)
    incomplete.__cause__ = error.__cause__
    return incomplete


def _wanted(kind: Any, paths: Sequence[str]) -> Any:
    return library().vmodl.query.PropertyCollector.PropertySpec(type=kind, pathSet=list(paths), all=False)


def _lineage(kind: str) -> list[str]:
    """A type's name and those it is derived from, as vSphere's documents have them."""
    return [str(parent._wsdlName) for parent in managed_type(kind).__mro__ if hasattr(parent, "_wsdlName")]
