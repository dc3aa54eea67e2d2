# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Base machines: each has a copy of one image as its disk, stays off, and is what pools of that image are cloned from.

The disk is a copy of its own, so removing a machine can never take along what others stand on. A base machine is made under a temporary
name; one task gives it its disk, its name and the mark that it is whole.
"""

from __future__ import annotations

import contextlib
import secrets
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy, NameTaken, NotFound, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.providers.vsphere_machines.base_mark import FOLDER, BaseMark, read_base_mark
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere import files
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.binding import moid_of
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.devices import Slots, existing_disk
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.disks import delete_disk
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import ObjectGone
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.hardware import config_spec
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images import claim, layout, upkeep
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.cache import DatastoreImageCache
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.image import VMwareImage, bytes_of, check_fits
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.listed import Listed
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.settings import POLL_SECONDS
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.use import full_copy
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Entry, Inventory
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.mark import ROOT_NAME
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.work import Work

GUEST_ID = "otherGuest64"
_MEMORY_MB = 512
_TIDY_SECONDS = 120.0
_PHASE = "prepare"


@dataclass(frozen=True)
class Base:
    """A machine in the folder of base machines, whole or not."""

    entry: Entry
    mark: BaseMark


@dataclass(frozen=True)
class Spot:
    """Where a base machine is made; ``host`` None leaves that to vCenter."""

    datastore: Entry
    resource_pool: Any
    host: Any = None


class Bases:
    """The base machines of one datacenter."""

    def __init__(self, inventory: Inventory, cache: DatastoreImageCache) -> None:
        self._inventory = inventory
        self._vim = inventory.vim
        self._cache = cache

    def there(self) -> list[Base]:
        """All of them, oldest first, in one read; none where their folder is not there."""
        folder = self._inventory.folder(FOLDER)
        if folder is None:
            return []
        try:
            found = self._vim.get_objects("VirtualMachine", ["name", "parent", "config.extraConfig"], root=folder.obj, phase=_PHASE)
        except ObjectGone:
            # Somebody removed the folder since the inventory was read.
            self._inventory.forget()
            return []
        marked = []
        for one in found:
            mark = read_base_mark(one.properties.get("config.extraConfig"))
            if mark is not None and moid_of(one.properties["parent"]) == folder.moid:
                name = str(one.properties["name"])
                marked.append(Base(Entry(one.obj, "VirtualMachine", name, f"{folder.path}/{name}", one.properties), mark))
        return sorted(marked, key=lambda base: (base.mark.maker, base.entry.moid))

    def ensure(self, image: VMwareImage, size_gb: float | None, spot: Spot, deadline: Deadline) -> Entry:
        """The base machine of this image whose disk has the size, on this datastore. One read where it is there.

        :raises ImageRefused: the image is larger.   :raises VirtError: as of ``DatastoreImageCache.ensure``.
        """
        there = self.there()
        self._sweep(there, deadline)
        known = self.known(image, size_gb, spot.datastore, there, deadline)
        if known is not None:
            # What a run left that was killed when all was done.
            self._cache.sweep(spot.datastore, deadline)
            return known.entry
        listed = self._cache.ensure_listed(image, spot.datastore, deadline)
        check_fits(image, listed.facts.virtual_size, size_gb)
        wanted = _mark_of(listed, image, size_gb, spot.datastore)
        name = wanted.name_on(spot.datastore.name)
        with self._claimed(spot.datastore, f"base-{name}", deadline) as maker:
            found = _of(wanted, self.there())
            return found.entry if found is not None else self._make(listed, replace(wanted, maker=maker), name, spot, deadline)

    def known(self, image: VMwareImage, size_gb: float | None, datastore: Entry, there: list[Base], deadline: Deadline) -> Base | None:
        """The base machine that there is, found without changing anything."""
        whole = [base for base in there if base.mark.complete and base.mark.datastore == datastore.moid]
        if not whole:
            return None
        if image.digest is not None:
            key = layout.entry_key(image.digest, image.variant())
        else:
            listed = self._cache.lookup(image, datastore, deadline)
            key = "" if listed is None else listed.entry.key
        for base in whole:
            mark = base.mark
            adapter = image.adapter_type.lower() or mark.adapter
            if (mark.key, mark.adapter, mark.size) == (key, adapter, max(mark.virtual_size, bytes_of(size_gb or 0.0))):
                check_fits(image, mark.virtual_size, size_gb)
                return base
        return None

    # -- making

    def _make(self, listed: Listed, mark: BaseMark, name: str, spot: Spot, deadline: Deadline) -> Entry:
        folder = self._inventory.ensure_folder(FOLDER)
        work = Work(self._inventory, deadline)
        temporary, machine_id = f"{name}.{secrets.token_hex(4)}", str(uuid.uuid4())

        def there() -> Any:
            index, within = self._vim.content.searchIndex, self._inventory.datacenter.obj
            return self._vim.call(index, "FindByUuid", about=name, phase=_PHASE, uuid=machine_id, vmSearch=True, instanceUuid=True, datacenter=within)

        slots = Slots([])
        slots.take(mark.adapter)
        spec = config_spec(
            name=temporary,
            instance_uuid=machine_id,
            cpus=1,
            memory_mb=_MEMORY_MB,
            guest_id=GUEST_ID,
            vm_path=f"[{spot.datastore.name}]",
            device_changes=slots.changes,
            extra_config=mark.options,
        )
        host = {} if spot.host is None else {"host": spot.host}
        try:
            said = {"config": spec, "pool": spot.resource_pool, **host}
            machine = work.surely(folder.obj, "CreateVM_Task", there, involved=[folder.obj], about=temporary, phase=_PHASE, **said)
            self._complete(work, machine, listed, mark, name)
        except BaseException as exc:
            with contextlib.suppress(VirtError):
                self._remove(there(), temporary, Deadline.after(self._vim.clock, _TIDY_SECONDS))
            theirs = _of(mark, self.there()) if isinstance(exc, NameTaken) else None
            if theirs is None:
                raise
            return theirs.entry
        return Entry(machine, "VirtualMachine", name, f"{folder.path}/{name}", {"name": name, "parent": folder.obj})

    def _complete(self, work: Work, machine: Any, listed: Listed, mark: BaseMark, name: str) -> None:
        values = self._vim.get_properties(machine, ["config.files.vmPathName", "config.hardware.device"], about=name, phase=_PHASE)
        home = DatastorePath.parse(str(values["config.files.vmPathName"])).parent
        disk = full_copy(self._cache.site, listed.disk(), home.join(ROOT_NAME), work.deadline, capacity_bytes=mark.size)
        slots = Slots(values["config.hardware.device"])
        attached = existing_disk(slots, mark.adapter, str(disk.path), size_bytes=mark.size)
        spec = config_spec(name=name, device_changes=[*slots.changes, attached], extra_config=mark.completed().options)

        def done() -> Any:
            now = self._vim.get_properties(machine, ["config.extraConfig"], about=name, phase=_PHASE).get("config.extraConfig")
            there = read_base_mark(now)
            return True if there is not None and there.complete else None

        work.surely(machine, "ReconfigVM_Task", done, involved=[machine], about=name, phase=_PHASE, spec=spec)

    @contextlib.contextmanager
    def _claimed(self, datastore: Entry, key: str, deadline: Deadline) -> Iterator[str]:
        """Keep other controllers from making the same, by a claim in the cache of the datastore; yields its maker.

        :raises Busy: another had it until the deadline.
        """
        site, root = self._cache.site, self._cache.root(datastore)
        maker = layout.new_maker(self._vim.clock.now())
        watch = claim.Watch(site)
        try:
            while not claim.take(site, root, key, maker, deadline):
                if deadline.passed:
                    raise Busy("another run is still making the machine of the image", obj=key, phase=_PHASE, hint="allow more time, or look for that run")
                holder = upkeep.look(site, root, deadline).claims.get(key)
                if holder is not None and watch.is_dead(holder):
                    files.delete_file(site, root.join("claims", key), deadline)
                elif holder is not None:
                    self._vim.clock.sleep(min(POLL_SECONDS, deadline.remaining))
            with claim.held(site, root, key, maker):
                yield maker
        finally:
            with contextlib.suppress(VirtError):
                upkeep.remove_maker(site, root, maker, Deadline.after(self._vim.clock, _TIDY_SECONDS), imported=False)

    # -- removing

    def _sweep(self, there: list[Base], deadline: Deadline) -> None:
        """Remove what killed runs left; what resists is left for a further run."""
        now = self._vim.clock.now()
        for base in there:
            if base.mark.is_abandoned(now):
                with contextlib.suppress(VirtError):
                    self._remove(base.entry.obj, base.entry.name, deadline)

    def _remove(self, machine: Any, name: str, deadline: Deadline) -> None:
        """Remove a machine that is not whole, with the disk that it may not have been given yet."""
        if machine is None:
            return
        site = self._cache.site
        values = self._vim.get_properties(machine, ["config.files.vmPathName", "config.hardware.device"], about=name, phase="remove")
        home = DatastorePath.parse(str(values["config.files.vmPathName"])).parent
        if not home.is_root:
            delete_disk(site, home.join(ROOT_NAME), deadline)
        with contextlib.suppress(ObjectGone, NotFound):
            self._vim.run(machine, "Destroy_Task", deadline=deadline, about=name, phase="remove")
        if home.basename == name:
            files.delete_file(site, home, deadline)


def _mark_of(listed: Listed, image: VMwareImage, size_gb: float | None, datastore: Entry) -> BaseMark:
    facts = listed.facts
    return BaseMark(
        key=listed.entry.key,
        adapter=(image.adapter_type or facts.adapter_type).lower(),
        datastore=datastore.moid,
        size=max(facts.virtual_size, bytes_of(size_gb or 0.0)),
        digest=facts.digest,
        source=str(image),
        virtual_size=facts.virtual_size,
    )


def _of(wanted: BaseMark, there: list[Base]) -> Base | None:
    return next((base for base in there if base.mark.complete and base.mark.identity == wanted.identity), None)
