# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Making a machine: a clone of a template, or a new one with a disk of an image. It carries its mark from the call that makes it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere import devices, hardware
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.binding import library
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.disks import copy_disk, delete_disk, extend_disk
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import FileExists, ObjectGone
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Entry
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.policies import Policy
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn import change, seed
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.customize import customization_spec
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.description import FULL, INSTANT, LINKED, Description, State
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.mark import CREATING, ISO_NAME, READY, ROOT_NAME, SpawnMark
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.observe import Seen, find, read
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.origin import Origin, ensure_snapshot
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.place import Place
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.work import Undo, Work

DEFAULT_ADAPTER = "paravirtual"


@dataclass(frozen=True)
class Base:
    """The disk of an image as a machine uses it: the file, its size in bytes, the kind of controller; ``iso`` is an installation medium instead."""

    path: str
    size: int
    adapter: str = DEFAULT_ADAPTER
    iso: bool = False


def needs_second_step(wanted: Description) -> bool:
    """Whether the machine has to be there before all of it can be made."""
    full_copy = wanted.image is not None and not wanted.image.is_iso and wanted.clone == FULL
    return full_copy or wanted.clone == INSTANT or (wanted.seed is not None and wanted.seed.kind == seed.ISO)


def clone(work: Work, wanted: Description, mark: SpawnMark, place: Place, folder: Entry, origin: Origin, cards: list[hardware.Card] | None) -> Seen:
    """Clone a machine or template in one call; what needs the machine's own directory follows in a second."""
    if wanted.clone == INSTANT:
        return _fork(work, wanted, mark, place, folder, origin)
    kinds = library().vim.vm
    slots = devices.Slots(origin.devices)
    disks = devices.disks_of(origin.devices)
    adapter = (devices.adapter_of(origin.devices, disks[0]) if disks else "") or DEFAULT_ADAPTER
    changes = hardware.replace_cards(origin.devices, cards, cloning=True) if cards is not None else hardware.fresh_addresses(origin.devices)
    # A drive with another machine's seed in it, which goes when that machine goes.
    changes += [hardware.device_change("remove", drive) for drive in devices.cdroms_of(origin.devices) if devices.path_of(drive).endswith(f"/{ISO_NAME}")]
    if wanted.root_gb is not None and int(wanted.root_gb * devices.GIB) != devices.size_of(disks[0]):
        changes.append(devices.grown_disk(disks[0], int(wanted.root_gb * devices.GIB)))
    paths = change.disk_paths(work, wanted.name, mark, wanted.disks, place.datastore.name, 0)
    added, places = change.new_disks(slots, adapter, wanted.disks, paths, wanted.storage_policy)
    mark = replace(mark, disks=tuple(places))
    location = kinds.RelocateSpec(pool=place.pool.obj, datastore=place.datastore.obj)
    if place.host is not None:
        location.host = place.host.obj
    if wanted.storage_policy:
        location.profile = [hardware.profile(wanted.storage_policy)]
    spec = kinds.CloneSpec(location=location, template=False, powerOn=wanted.state is State.ON and not needs_second_step(wanted))
    if wanted.clone == LINKED:
        location.diskMoveType = "createNewChildDiskBacking"
        spec.snapshot = ensure_snapshot(work, origin, wanted)
    if wanted.customization is not None:
        spec.customization = customization_spec(wanted.customization)
    inherited = dict.fromkeys(origin.marks, "")
    spec.config = hardware.config_spec(**_config(wanted, mark, inherited), instance_uuid=mark.id, device_changes=[*changes, *added])
    work.go_on(wanted.name, "clone")
    machine = _made(
        work, wanted, mark, origin.entry.obj, "CloneVM_Task", [origin.entry.obj, folder.obj], folder=folder.obj, name=encoded(wanted.name), spec=spec
    )
    return _finished(work, wanted, mark, machine)


def create(work: Work, wanted: Description, mark: SpawnMark, place: Place, folder: Entry, base: Base, cards: list[hardware.Card] | None) -> Seen:
    """Make a machine for an image's disk: a child of it in the same call, a copy of it in the machine's directory after it."""
    slots = devices.Slots([])
    size = int(wanted.root_gb * devices.GIB) if wanted.root_gb is not None else base.size
    linked = not base.iso and wanted.clone == LINKED
    root: Any = None
    if base.iso:
        root = devices.new_disk(slots, base.adapter, size, profile_id=wanted.storage_policy)
    elif linked:
        root = devices.child_disk(slots, base.adapter, base.path, size, profile_id=wanted.storage_policy)
    else:
        # Its place is kept; the file is there only once the machine is.
        slots.take(base.adapter)
    drive = [devices.cdrom(slots, base.path)] if base.iso else []
    paths = change.disk_paths(work, wanted.name, mark, wanted.disks, place.datastore.name, 0)
    added, places = change.new_disks(slots, base.adapter, wanted.disks, paths, wanted.storage_policy)
    # The controllers are all in front: the root's among them.
    disks = [one for one in [*([root] if root is not None else []), *drive, *added] if one not in slots.changes]
    mark = replace(mark, disks=tuple(places), child=linked)
    said = _config(wanted, mark, {})
    said = {"cpus": 1, "memory_mb": 1024, **{key: value for key, value in said.items() if value is not None}}
    said["guest_id"] = wanted.guest_id or (wanted.image.os_type if wanted.image is not None else "") or "otherGuest64"
    new_cards = hardware.replace_cards([], cards or [])
    spec = hardware.config_spec(
        name=encoded(wanted.name), instance_uuid=mark.id, vm_path=f"[{place.datastore.name}]", device_changes=[*slots.changes, *disks, *new_cards], **said
    )
    work.go_on(wanted.name, "create")
    host = {"host": place.host.obj} if place.host is not None else {}
    machine = _made(work, wanted, mark, folder.obj, "CreateVM_Task", [folder.obj], config=spec, pool=place.pool.obj, **host)
    return _finished(work, wanted, mark, machine, base if not linked and not base.iso else None, size)


def _config(wanted: Description, mark: SpawnMark, inherited: dict[str, str]) -> dict[str, Any]:
    """What of a machine's configuration is said in the call that makes it."""
    extra = {**inherited, **wanted.extra_config}
    if wanted.seed is not None and wanted.seed.kind == seed.GUESTINFO:
        extra |= seed.guestinfo(wanted.seed, wanted.name, mark.id)
    return {
        "cpus": wanted.cpus,
        "cores_per_socket": wanted.cores_per_socket,
        "memory_mb": wanted.memory_mb,
        "cpu_limits": wanted.cpu_limits,
        "memory_limits": wanted.memory_limits,
        "firmware": wanted.firmware,
        "secure_boot": wanted.secure_boot,
        "guest_id": wanted.guest_id,
        "annotation": wanted.annotation,
        "profile_id": wanted.storage_policy,
        "extra_config": {**extra, **mark.entry},
    }


def _made(work: Work, wanted: Description, mark: SpawnMark, obj: Any, method: str, involved: list[Any], **arguments: Any) -> Any:
    """Run the call that makes the machine. What it may have made is undone with the rest, whatever the answer."""

    def there() -> Any:
        index = work.vim.content.searchIndex
        return work.vim.call(
            index, "FindByUuid", about=wanted.name, phase="look up", uuid=mark.id, vmSearch=True, instanceUuid=True, datacenter=work.inventory.datacenter.obj
        )

    work.undo.append(Undo(f"removed the machine {wanted.name}", lambda cleaning: change.remove_made(cleaning, there(), wanted.name)))
    return work.surely(obj, method, there, involved=involved, about=wanted.name, phase="create", **arguments)


def _finished(work: Work, wanted: Description, mark: SpawnMark, machine: Any, copied: Base | None = None, size: int = 0) -> Seen:
    """The second step, and the machine as it is then."""
    seen = _read(work, machine, wanted.name)
    if mark.state == READY:
        return seen
    slots = devices.Slots(seen.devices)
    changes: list[Any] = []
    if copied is not None:
        work.go_on(wanted.name, "copy disk")
        changes.append(_copied_root(work, wanted, seen, slots, copied, size))
    if wanted.seed is not None and wanted.seed.kind == seed.ISO:
        work.go_on(wanted.name, "seed")
        target = seed.iso_path(seen.home)
        seed.upload(work, wanted.seed, wanted.name, mark.id, target)
        changes.append(devices.cdrom(slots, str(target)))
        mark = replace(mark, iso=str(target))
    work.go_on(wanted.name, "attach")
    change.reconfigure(work, seen, replace(mark, state=READY, maker="", until=0.0), {}, [*slots.changes, *changes], "attach")
    return _read(work, machine, wanted.name)


def _copied_root(work: Work, wanted: Description, seen: Seen, slots: devices.Slots, base: Base, size: int) -> Any:
    source, target = DatastorePath.parse(base.path), DatastorePath.parse(seen.home).parent.join(ROOT_NAME)
    try:
        copy_disk(work.site, source, target, work.deadline)
    except FileExists:
        # The directory is this new machine's alone: a killed run's last call, for the machine that was removed before, arrived just now.
        delete_disk(work.site, target, work.deadline)
        copy_disk(work.site, source, target, work.deadline)
    if size > base.size:
        extend_disk(work.site, target, size // 1024, work.deadline)
    return devices.existing_disk(slots, base.adapter, str(target), size_bytes=size, profile_id=wanted.storage_policy)


def _fork(work: Work, wanted: Description, mark: SpawnMark, place: Place, folder: Entry, origin: Origin) -> Seen:
    """An instant clone: its mark goes with it, its UUID is vCenter's choice."""
    vim = library().vim
    mark = replace(mark, id="", state=READY, maker="", until=0.0)
    extra = {**dict.fromkeys(origin.marks, ""), **wanted.extra_config}
    if wanted.seed is not None:
        if wanted.seed.kind == seed.ISO:
            raise InvalidSpec(["config_drive: an instant clone has the drives of what it is forked from; use cloud_init"])
        extra |= seed.guestinfo(wanted.seed, wanted.name, wanted.name)
    location = vim.vm.RelocateSpec(pool=place.pool.obj, folder=folder.obj)
    spec = vim.vm.InstantCloneSpec(name=encoded(wanted.name), location=location, config=hardware.option_values({**extra, **mark.entry}))

    def there() -> Any:
        found = find(work.inventory, folder, encoded(wanted.name))
        return found.obj if found is not None and found.mark is not None else None

    work.go_on(wanted.name, "clone")
    work.undo.append(Undo(f"removed the machine {wanted.name}", lambda cleaning: change.remove_made(cleaning, there(), wanted.name)))
    source = origin.entry.obj
    machine = work.surely(source, "InstantClone_Task", there, involved=[source, folder.obj], about=wanted.name, phase="create", spec=spec)
    return _read(work, machine, wanted.name)


def _read(work: Work, machine: Any, name: str) -> Seen:
    seen = read(work.vim, machine, name)
    if seen is None or seen.mark is None:
        raise ObjectGone("it was removed or changed while it was being made", obj=name, phase="create")
    return seen


def new_mark(wanted: Description, machine_id: str, template: str, maker: str, until: float, policy: Policy | None = None) -> SpawnMark:
    """The mark of a machine that is about to be made."""
    second = needs_second_step(wanted)
    return SpawnMark(
        id=machine_id,
        name=wanted.name,
        origin=wanted.origin,
        template=template,
        clone=wanted.clone,
        seed="" if wanted.seed is None else wanted.seed.digest(machine_id if wanted.clone != INSTANT else wanted.name),
        state=CREATING if second else READY,
        maker=maker if second else "",
        until=until if second else 0.0,
        policy="" if policy is None else policy.id,
        policy_name="" if policy is None else policy.name,
    )


def _datastore(place: Place) -> str:
    return place.datastore.name if place.datastore is not None else ""


def encoded(name: str) -> str:
    """As vSphere wants the three characters that part its paths."""
    return name.replace("%", "%25").replace("/", "%2f").replace("\\", "%5c")
