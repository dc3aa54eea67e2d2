# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What a machine is made from when it is no image: a template or another machine, read in one call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec, NotFound, OperationFailed
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere import devices
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import InvalidState, Unsupported
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Entry, Inventory
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.description import FULL, INSTANT, LINKED, Description
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.mark import extra_config_of
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.work import Work

BASE_SNAPSHOT = "poolwright-base"
"""The snapshot that linked clones stand on where none is named; it stays with what was cloned, and pools use the same."""

_TOLD = "Machines made by poolwright.virt stand on this snapshot; keep it while there are any."
_OWN = "poolwright."
_PATHS = (
    "config.extraConfig",
    "config.files.vmPathName",
    "config.hardware.device",
    "config.template",
    "datastore",
    "runtime.host",
    "runtime.powerState",
    "snapshot",
    "summary.storage.committed",
)


@dataclass(frozen=True)
class Origin:
    """``committed`` is what a full copy of it takes, in bytes."""

    entry: Entry

    @property
    def devices(self) -> list[Any]:
        return list(self.entry.properties.get("config.hardware.device") or ())

    @property
    def committed(self) -> int:
        return int(self.entry.properties.get("summary.storage.committed") or 0)

    @property
    def host(self) -> Any:
        return self.entry.properties.get("runtime.host")

    @property
    def marks(self) -> list[str]:
        """The keys of ``extraConfig`` that say whose it is; they are not handed down to a clone."""
        return [key for key in extra_config_of(self.entry.properties.get("config.extraConfig")) if key.startswith(_OWN)]

    def snapshots(self, name: str) -> list[Any]:
        """Those of the name, oldest first."""
        info = self.entry.properties.get("snapshot")
        found = [] if info is None else [one for one in _walk(info.rootSnapshotList) if one.name == name]
        return [one.snapshot for one in sorted(found, key=lambda one: (one.createTime, one.id))]


def find_origin(inventory: Inventory, wanted: Description) -> Origin:
    """:raises NotFound, Ambiguous: the name is nobody's, or several machines'.   :raises InvalidSpec: such a machine cannot come from it."""
    origin = Origin(inventory.machine(wanted.template, _PATHS))
    if "config.hardware.device" not in origin.entry.properties:
        raise NotFound("vCenter cannot read its configuration", obj=origin.entry.path, phase="look up", hint="see whether its datastore and host are reachable")
    problems = _problems(origin, wanted)
    if problems:
        raise InvalidSpec(problems)
    return origin


def _problems(origin: Origin, wanted: Description) -> list[str]:
    found, path = [], origin.entry.path
    disks = devices.disks_of(origin.devices)
    if wanted.root_gb is not None:
        own = devices.size_of(disks[0]) if disks else 0
        if not disks:
            found.append(f"disk.size_gb: {path} has no disk to enlarge")
        elif wanted.root_gb * devices.GIB < own:
            found.append(f"disk.size_gb: {wanted.root_gb:g} GiB is less than the {own / devices.GIB:g} GiB of {path}; disks are never shrunk")
        elif wanted.root_gb * devices.GIB > own and wanted.clone != FULL:
            found.append(f"disk.size_gb: a {wanted.clone} clone has the {own / devices.GIB:g} GiB of {path}; say clone: full, or enlarge that disk")
    if wanted.clone == INSTANT and origin.entry.properties.get("runtime.powerState") != "poweredOn":
        found.append(f"clone: {path} does not run, and an instant clone is forked from a running machine; start it, or say clone: linked")
    if wanted.clone == LINKED and wanted.snapshot and not origin.snapshots(wanted.snapshot):
        found.append(f"snapshot: {path} has none named {wanted.snapshot!r}")
    return found


def home_of(inventory: Inventory, origin: Origin) -> Entry | None:
    """The datastore that it is on, the first of several; None where it is not in the datacenter."""
    there = origin.entry.properties.get("datastore") or ()
    return inventory.entry_of(there[0]) if there else None


def ensure_snapshot(work: Work, origin: Origin, wanted: Description) -> Any:
    """The snapshot that a linked clone stands on, made where none is named and none is there yet."""
    name = wanted.snapshot or BASE_SNAPSHOT
    there = origin.snapshots(name)
    if there:
        return there[0]
    path = origin.entry.path

    def made() -> Any:
        info = work.vim.get_properties(origin.entry.obj, ["snapshot"], about=path, phase="snapshot").get("snapshot")
        found = [] if info is None else [one.snapshot for one in _walk(info.rootSnapshotList) if one.name == name]
        return found[0] if found else None

    try:
        work.surely(
            origin.entry.obj,
            "CreateSnapshot_Task",
            made,
            involved=[origin.entry.obj],
            about=path,
            phase="snapshot",
            name=name,
            description=_TOLD,
            memory=False,
            quiesce=False,
        )
    except (Unsupported, InvalidState) as exc:
        hint = f"take a snapshot named {name} before it is made a template, or say clone: full"
        raise OperationFailed(f"vCenter takes no snapshot of it: {exc.message}", obj=path, phase="snapshot", hint=hint) from exc
    snapshot = made()
    if snapshot is None:
        raise NotFound(f"its snapshot {name} was removed while it was made", obj=path, phase="snapshot")
    return snapshot


def _walk(trees: Sequence[Any]) -> Iterator[Any]:
    for tree in trees or ():
        yield tree
        yield from _walk(tree.childSnapshotList)
