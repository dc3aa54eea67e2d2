# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Changing a machine that is there, and removing it: one task each, looked up where the answer was lost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.errors import NotOurs, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere import devices
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.disks import delete_disk
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import FileMissing, InvalidState, ObjectGone
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.files import delete_file, listing, make_directory
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.hardware import config_spec
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.compare import Plan, removal
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.description import DiskWish
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.mark import SpawnMark
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.observe import Seen, read
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.work import Undo, Work


def new_disks(slots: devices.Slots, adapter: str, wishes: Iterable[DiskWish], paths: Sequence[str], profile_id: str = "") -> tuple[list[Any], list[str]]:
    """The changes that add blank disks, controllers first, and the disks' places.

    :param paths: of those that are not with the machine, "" for the others.
    """
    before = len(slots.changes)
    added = [
        devices.new_disk(slots, adapter, int(wish.size_gb * devices.GIB), path=path, thin=wish.thin, ephemeral=wish.ephemeral, profile_id=profile_id)
        for wish, path in zip(wishes, paths)
    ]
    return [*slots.changes[before:], *added], [slots.place_of(change) for change in added]


def disk_paths(work: Work, name: str, mark: SpawnMark, wishes: Iterable[DiskWish], home: str, first: int) -> list[str]:
    """Where new disks go: "" with the machine; on another datastore into a directory that is the machine's by its name, made here.

    :param home: the name of the machine's own datastore.   :param first: the number of the first disk.
    """
    paths = []
    for number, wish in enumerate(wishes, first):
        if wish.datastore in ("", home):
            paths.append("")
            continue
        directory = DatastorePath.of(work.inventory.datastore(wish.datastore).name, f"{name}{mark.directory_end}")
        make_directory(work.site, directory, work.deadline)
        work.undo.append(Undo(f"deleted {directory}", partial(_delete_empty, directory=directory)))
        paths.append(str(directory.join(f"disk-{number}.vmdk")))
    return paths


def reconfigure(work: Work, seen: Seen, mark: SpawnMark, config: Mapping[str, Any], changes: Sequence[Any], phase: str = "reconfigure") -> SpawnMark:
    """Change a machine and its mark in one task; returns the mark it has then."""
    marked = replace(mark, revision=mark.revision + 1)
    said = dict(config)
    said["extra_config"] = {**said.get("extra_config", {}), **marked.entry}

    def done() -> Any:
        now = read(work.vim, seen.obj, seen.name)
        return True if now is not None and now.mark is not None and now.mark.revision >= marked.revision else None

    spec = config_spec(device_changes=changes, **said)
    work.surely(seen.obj, "ReconfigVM_Task", done, involved=[seen.obj], about=seen.name, phase=phase, spec=spec)
    return marked


def apply(work: Work, seen: Seen, mark: SpawnMark, plan: Plan) -> SpawnMark:
    """Carry out a plan's reconfiguration."""
    slots = devices.Slots(seen.devices)
    root = next(iter(devices.disks_of(seen.devices)), None)
    adapter = (devices.adapter_of(seen.devices, root) if root is not None else "") or "paravirtual"
    paths = disk_paths(work, seen.name, mark, plan.new_disks, DatastorePath.parse(seen.home).datastore, len(mark.disks))
    policy = plan.policy
    added, places = new_disks(slots, adapter, plan.new_disks, paths, "" if policy is None else policy.id)
    marked = mark if policy is None else replace(mark, policy=policy.id, policy_name=policy.name)
    return reconfigure(work, seen, replace(marked, disks=(*mark.disks, *places)), plan.config, [*plan.device_changes, *added])


def power_on(work: Work, seen: Seen) -> None:
    _power(work, seen, "PowerOnVM_Task", "poweredOn", "power on")


def power_off(work: Work, seen: Seen) -> None:
    _power(work, seen, "PowerOffVM_Task", "poweredOff", "power off")


def _power(work: Work, seen: Seen, method: str, wanted: str, phase: str) -> None:
    def done() -> Any:
        state = work.vim.get_properties(seen.obj, ["runtime.powerState"], about=seen.name, phase=phase).get("runtime.powerState")
        return True if state == wanted else None

    try:
        work.surely(seen.obj, method, done, involved=[seen.obj], about=seen.name, phase=phase)
    except InvalidState:
        if done() is None:
            raise


def remove(work: Work, seen: Seen) -> list[str]:
    """Remove a machine of ours with all that is its own; the machine with its mark goes last. Returns the disks that were taken off and survive.

    :raises NotOurs: it carries no mark.
    """
    mark = seen.mark
    if mark is None:
        raise NotOurs("it carries no mark of vm_spawn", obj=seen.name, phase="remove", hint="remove it by hand if it is not needed")
    if seen.is_on:
        power_off(work, seen)
    doomed, changes, kept = removal(seen, mark)
    if changes or doomed.doomed != mark.doomed:
        doomed = reconfigure(work, seen, doomed, {}, changes, "remove")
    for path in map(DatastorePath.parse, doomed.doomed):
        (delete_disk if path.suffix.lower() == ".vmdk" else delete_file)(work.site, path, work.deadline)
        if mark.id and not path.parent.is_root and path.parent.basename.endswith(mark.directory_end):
            _delete_empty(work, path.parent)
    _destroy(work, seen)
    return kept


def remove_made(work: Work, machine: Any, name: str) -> bool:
    """Remove what this run has made; False where it is gone."""
    seen = None if machine is None else read(work.vim, machine, name)
    if seen is None:
        return False
    remove(work, seen)
    return True


def _destroy(work: Work, seen: Seen) -> None:
    def gone() -> Any:
        return True if read(work.vim, seen.obj, seen.name) is None else None

    def destroy() -> None:
        work.surely(seen.obj, "Destroy_Task", gone, involved=[seen.obj], about=seen.name, phase="remove")

    try:
        try:
            destroy()
        except InvalidState:
            # What a run asked for before it was killed may come after all: that it be switched on.
            power_off(work, seen)
            destroy()
    except ObjectGone:
        return
    except VirtError:
        if gone() is None:
            raise


def _delete_empty(work: Work, directory: DatastorePath) -> bool:
    """Delete a directory of the machine's own, unless somebody has put something else in it."""
    try:
        return not listing(work.site, directory, work.deadline, details=False) and delete_file(work.site, directory, work.deadline)
    except FileMissing:
        return False
