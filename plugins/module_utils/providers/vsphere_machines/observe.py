# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Reading machines: which virtual machines are a pool's, in calls that do not grow with their number but for paging."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import Mark, is_machine_id
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import PoolTemplate, Power
from ansible_collections.poolwright.virt.plugins.module_utils.providers.vsphere_machines.addresses import routable
from ansible_collections.poolwright.virt.plugins.module_utils.providers.vsphere_machines.record import EXTRA_CONFIG, MARK_PATH, read_mark
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.binding import moid_of
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import RequestRefused
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.vim import VIM

PATHS = (
    "name",
    "parent",
    "config.instanceUuid",
    "config.uuid",
    "config.template",
    "config.changeVersion",
    "runtime.powerState",
    "runtime.connectionState",
    "runtime.host",
    "guest.ipAddress",
)
OWN_PATHS = (*PATHS, MARK_PATH)

_POWER = {"poweredOn": Power.RUNNING, "poweredOff": Power.OFF, "suspended": Power.PAUSED}
# vCenter shows the last that it knew of a machine that it has lost.
_REACHED = "connected"


@dataclass(frozen=True)
class Seen:
    """A machine as vCenter showed it. ``mark`` None: it is not ours. ``version`` changes with its configuration."""

    obj: Any
    name: str
    folder: str
    power: Power
    host: Any = None
    mark: Mark | None = None
    version: str = ""
    address: str = ""
    candidate: bool = False  # its ids say that it may be ours

    @property
    def moid(self) -> str:
        return moid_of(self.obj)


def as_seen(obj: Any, values: Mapping[str, Any]) -> Seen:
    """From ``PATHS``, or from ``OWN_PATHS`` with its mark."""
    ids = {str(values.get(path, "")).lower() for path in ("config.instanceUuid", "config.uuid")}
    parent, power = values.get("parent"), _POWER.get(values.get("runtime.powerState", ""), Power.UNKNOWN)
    if values.get("runtime.connectionState", _REACHED) != _REACHED:
        power = Power.UNKNOWN
    # A template runs nowhere and is kept by whoever made it one.
    candidate = not values.get("config.template", False) and any(is_machine_id(one) for one in ids if one)
    mark = read_mark(values.get(MARK_PATH) or values.get(EXTRA_CONFIG)) if candidate else None
    address = str(values.get("guest.ipAddress") or "")
    return Seen(
        obj=obj,
        name=str(values["name"]),
        folder="" if parent is None else moid_of(parent),
        power=power,
        host=values.get("runtime.host"),
        # A copy that somebody made of one of our machines has our mark and ids of its own.
        mark=mark if mark is not None and mark.id.lower() in ids else None,
        version=str(values.get("config.changeVersion") or ""),
        address=address if power is Power.RUNNING and routable(address) else "",
        candidate=candidate,
    )


def below(vim: VIM, root: Any) -> list[Seen]:
    """All machines at any depth below a folder or datacenter, ours with their marks; one call a thousand.

    :raises IncompleteAnswer: something of some machine could not be read.   :raises ObjectGone: there is no such folder.
    """
    try:
        return [as_seen(found.obj, found.properties) for found in vim.get_objects("VirtualMachine", OWN_PATHS, root=root, phase="observe")]
    except RequestRefused:
        # A vCenter that does not read single values of a list reads the list; only of those that may be ours, since it is long.
        listed = [as_seen(found.obj, found.properties) for found in vim.get_objects("VirtualMachine", PATHS, root=root, phase="observe")]
        candidates = [seen.obj for seen in listed if seen.candidate]
        whole = {moid_of(one.obj): as_seen(one.obj, one.properties) for one in vim.get_many(candidates, [*PATHS, EXTRA_CONFIG], phase="observe")}
        return [whole.get(seen.moid, seen) for seen in listed if not seen.candidate or seen.moid in whole]


def of_pool(template: PoolTemplate, folder: str, listed: Iterable[Seen]) -> list[Seen]:
    """The pool's machines in its folder, whatever their names, and what else holds a name of its slots there, by slot."""
    found = []
    for seen in listed:
        own = seen.mark is not None and seen.mark.pool == template.name
        slot = seen.mark.slot if own and seen.mark is not None else template.slot_of(seen.name)
        if slot is not None and seen.folder == folder:
            found.append((slot, seen))
    return [seen for _slot, seen in sorted(found, key=lambda entry: (entry[0], entry[1].name))]
