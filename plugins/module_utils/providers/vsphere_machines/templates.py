# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What machines are cloned from, and the snapshot that linked clones stand on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy, InvalidSpec, MaybeApplied, NotFound, OperationFailed
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import Clone, MachineSpec
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.binding import moid_of
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.devices import disks_of, size_of
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import InvalidState, Unsupported
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Entry, Inventory
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.properties import Found
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.vim import VIM

BASE_SNAPSHOT = "poolwright-base"
"""The snapshot of a template that linked clones stand on; it stays with the template."""

_DESCRIPTION = "Machines made by poolwright.virt stand on this snapshot; keep it while there are any."
_PATHS = (
    "config.hardware.device",
    "config.hardware.memoryMB",
    "config.hardware.numCPU",
    "config.template",
    "datastore",
    "runtime.host",
    "runtime.powerState",
    "snapshot",
    "summary.storage.committed",
)
_GIB = 1024**3


@dataclass(frozen=True)
class Snapshot:
    """One snapshot; ``order`` is smaller for older ones."""

    obj: Any
    name: str
    order: tuple[Any, int]

    @property
    def moid(self) -> str:
        return moid_of(self.obj)


@dataclass(frozen=True)
class Template:
    """A machine or template that others are made from. ``committed`` is what a copy of it takes on a datastore, in bytes."""

    entry: Entry
    devices: tuple[Any, ...]
    host: Any
    datastores: tuple[Any, ...]
    is_template: bool
    running: bool
    cpus: int
    memory_mb: int
    committed: int
    snapshots: tuple[Snapshot, ...]

    @property
    def base(self) -> Snapshot | None:
        return base_of(self.snapshots)


def snapshots_in(info: Any) -> list[Snapshot]:
    """All snapshots of a machine, by its property ``snapshot`` (None where it has none)."""

    def walk(trees: Sequence[Any]) -> Iterator[Snapshot]:
        for tree in trees or ():
            yield Snapshot(tree.snapshot, str(tree.name), (tree.createTime, int(tree.id or 0)))
            yield from walk(tree.childSnapshotList)

    return [] if info is None else list(walk(info.rootSnapshotList))


def base_of(snapshots: Sequence[Snapshot]) -> Snapshot | None:
    """The one that linked clones stand on: of several, which two that made it at once leave, the oldest."""
    return min((one for one in snapshots if one.name == BASE_SNAPSHOT), key=lambda one: one.order, default=None)


def find(vim: VIM, inventory: Inventory, name: str, among: Sequence[Found] | None = None) -> Template:
    """:param among: all machines there are, where they were read before.

    :raises NotFound, Ambiguous: no machine or template has the name or path, or several have."""
    return read(vim, inventory.machine(name, among=among))


def read(vim: VIM, entry: Entry) -> Template:
    """A machine or template as one that others are made from."""
    values = vim.get_properties(entry.obj, _PATHS, about=entry.path, phase="look up")
    if "config.hardware.device" not in values:
        raise NotFound("vCenter cannot read its configuration", obj=entry.path, phase="look up", hint="see whether its datastore and host are reachable")
    return Template(
        entry=entry,
        devices=tuple(values["config.hardware.device"]),
        host=values.get("runtime.host"),
        datastores=tuple(values.get("datastore") or ()),
        is_template=bool(values.get("config.template")),
        running=values.get("runtime.powerState") == "poweredOn",
        cpus=int(values.get("config.hardware.numCPU") or 0),
        memory_mb=int(values.get("config.hardware.memoryMB") or 0),
        committed=int(values.get("summary.storage.committed") or 0),
        snapshots=tuple(snapshots_in(values.get("snapshot"))),
    )


def problems(template: Template, spec: MachineSpec) -> list[str]:
    """Why machines of this description cannot be made from it."""
    found = []
    if spec.disk.size_gb is not None:
        disks = disks_of(template.devices)
        own = size_of(disks[0]) / _GIB if disks else 0.0
        if not disks:
            found.append(f"disk.size_gb: {template.entry.path} has no disk to enlarge")
        elif spec.disk.size_gb < own:
            found.append(f"disk.size_gb: {spec.disk.size_gb:g} GiB is less than the {own:g} GiB of {template.entry.path}; give at least that")
        elif spec.disk.size_gb > own and spec.clone is not Clone.FULL:
            found.append(
                f"disk.size_gb: a {spec.clone.value} clone has the {own:g} GiB of {template.entry.path}; say clone: full, or enlarge the template's disk"
            )
    if spec.clone is Clone.INSTANT:
        if not template.running:
            found.append(f"clone: {template.entry.path} does not run, and an instant clone is forked from a running machine; start it, or say clone: linked")
        if (template.cpus, template.memory_mb) != (spec.cpus, spec.memory_mb):
            found.append(
                f"clone: an instant clone has the {template.cpus} CPUs and {template.memory_mb} MiB of {template.entry.path}, "
                f"not {spec.cpus} and {spec.memory_mb}; give cpus and memory_mb as that has them"
            )
        if not spec.power_on:
            found.append("clone: an instant clone runs from the start; say power: on, or clone: linked")
    return found


def ensure_base(vim: VIM, template: Template, deadline: Deadline) -> Snapshot:
    """The snapshot that linked clones stand on, made if there is none. Two that make it at once end with the same one."""
    if len([one for one in template.snapshots if one.name == BASE_SNAPSHOT]) == 1 and template.base is not None:
        return template.base
    if template.base is None:
        _make_base(vim, template, deadline)
    info = vim.get_properties(template.entry.obj, ["snapshot"], about=template.entry.path, phase="prepare").get("snapshot")
    found = snapshots_in(info)
    base = base_of(found)
    if base is None:
        raise NotFound(f"its snapshot {BASE_SNAPSHOT} was removed while it was made", obj=template.entry.path, phase="prepare")
    for extra in found:
        # Nobody stands on it: everybody takes the oldest.
        if extra.name == BASE_SNAPSHOT and extra.moid != base.moid:
            # Another one may be removing it just now.
            with contextlib.suppress(NotFound, InvalidState, Busy):
                vim.run(extra.obj, "RemoveSnapshot_Task", removeChildren=False, consolidate=True, deadline=deadline, about=template.entry.path, phase="prepare")
    return base


def _make_base(vim: VIM, template: Template, deadline: Deadline) -> None:
    said: dict[str, Any] = {"name": BASE_SNAPSHOT, "description": _DESCRIPTION, "memory": False, "quiesce": False}
    try:
        vim.run(template.entry.obj, "CreateSnapshot_Task", deadline=deadline, about=template.entry.path, phase="prepare", **said)
    except MaybeApplied:
        # Made or not, it is looked for; what was made twice is removed there.
        return
    except (Unsupported, InvalidState) as exc:
        if not template.is_template:
            raise
        hint = f"take a snapshot named {BASE_SNAPSHOT} before it is made a template, or say clone: full"
        raise OperationFailed(f"vCenter takes no snapshot of it: {exc.message}", obj=template.entry.path, phase="prepare", hint=hint) from exc


def refuse(pool: str, found: Sequence[str]) -> None:
    """:raises InvalidSpec: there are problems."""
    if found:
        raise InvalidSpec([f"pool {pool!r}: {problem}" for problem in found])
