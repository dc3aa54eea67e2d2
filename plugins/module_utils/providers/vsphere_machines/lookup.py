# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Finding the machines of pools, and what was seen of them."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Callable

from ansible_collections.poolwright.virt.plugins.module_utils.errors import (
    AuthenticationFailed,
    ConnectionFailed,
    IncompleteAnswer,
    MissingDependency,
    NotFound,
    NotOurs,
    VirtError,
)
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import Mark
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import Machine, MachineSpec, Placement, PoolTemplate
from ansible_collections.poolwright.virt.plugins.module_utils.providers.vsphere_machines.observe import OWN_PATHS, Seen, as_seen, below, of_pool
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.binding import library, moid_of
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import ObjectGone
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.gathered import Gathered
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Entry, Inventory
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.properties import Found
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.vim import VIM


class Lookup:
    """The machines of one run's pools, in one datacenter. Safe to use from several threads.

    :param learn: is told of all machines where they were read anyway.
    """

    def __init__(self, vim: VIM, inventory: Inventory, warn: Callable[[str], None], learn: Callable[[list[Found]], None]) -> None:
        self._vim = vim
        self._inventory = inventory
        self._warn = warn
        self._learn = learn
        self._gathered = Gathered(vim)
        self._lock = threading.RLock()
        self._looked = False
        # By pool, then by name: as last seen. What it is used for tells when it is no longer so.
        self._seen: dict[str, dict[str, Seen]] = defaultdict(dict)

    # -- of whole pools

    def marked_pools(self) -> list[PoolTemplate]:
        """The contract's ``marked_pools``."""
        found: dict[str, list[Seen]] = defaultdict(list)
        for seen in self._everywhere():
            if seen.mark is not None:
                found[seen.mark.pool].append(seen)
        return [self._found_pool(pool, found[pool]) for pool in sorted(found)]

    def _found_pool(self, pool: str, machines: Sequence[Seen]) -> PoolTemplate:
        folders = Counter(seen.folder for seen in machines)
        (folder, _number), *others = folders.most_common()
        if others:
            places = ", ".join(self._place_of(seen) for seen in machines if seen.folder != folder)
            self._warn(f"pool {pool}: machines of it are in other folders too and are not looked at: {places}")
        prefix = ""
        for seen in machines:
            stem, _hyphen, slot = seen.name.rpartition("-")
            # A machine that somebody renamed does not tell how its pool's machines are named.
            if seen.mark is not None and (slot == str(seen.mark.slot) or not prefix):
                prefix = stem
        return PoolTemplate(name=pool, prefix=prefix, machine=MachineSpec(placement=Placement(folder=self._folder_path(folder))))

    def in_pool(self, template: PoolTemplate) -> list[Machine]:
        """The contract's ``vms_in_pool``."""
        try:
            listed = self._list(template)
        except ObjectGone:
            # Its folder was removed since the inventory was read.
            self._inventory.forget()
            listed = self._list(template)
        except (AuthenticationFailed, ConnectionFailed, MissingDependency, IncompleteAnswer, NotFound):
            raise
        except VirtError as exc:
            raise IncompleteAnswer(f"the pool's machines could not all be read: {exc}", obj=template.name, phase="observe") from exc
        with self._lock:
            self._seen[template.name] = {seen.name: seen for seen in listed}
        return [self.machine(seen) for seen in listed]

    def _list(self, template: PoolTemplate) -> list[Seen]:
        folder = self._folder(template)
        if folder is None:
            self._refuse_moved(template)
            return []
        return of_pool(template, folder.moid, below(self._vim, folder.obj))

    def _folder(self, template: PoolTemplate) -> Entry | None:
        """The pool's folder, None where it does not exist now."""
        path = template.machine.placement.folder
        with self._lock:
            looked, self._looked = self._looked, True
        folder = self._inventory.folder(path)
        if folder is None and looked:
            # Somebody may have made, renamed or removed it since.
            self._inventory.forget()
            folder = self._inventory.folder(path)
        return folder

    def _refuse_moved(self, template: PoolTemplate) -> None:
        """A pool without its folder is a new one, unless its machines are elsewhere."""
        path = template.machine.placement.folder
        places = [self._place_of(seen) for seen in self._everywhere() if seen.mark is not None and seen.mark.pool == template.name]
        if places:
            shown = ", ".join(places[:5]) + (f" and {len(places) - 5} more" if len(places) > 5 else "")
            raise NotFound(
                f"its folder {path!r} does not exist, and machines of it do: {shown}",
                obj=template.name,
                phase="observe",
                hint="give the folder that they are in, or rename that folder back",
            )

    def _everywhere(self) -> list[Seen]:
        found = below(self._vim, self._inventory.datacenter.obj)
        self._learn([Found(seen.obj, {"name": seen.name, "parent": library().vim.Folder(seen.folder)}) for seen in found if seen.folder])
        return found

    # -- of one machine

    def find(self, template: PoolTemplate, vm: str, phase: str) -> Seen | None:
        """A machine by its name in the pool's folder, as it is now."""
        folder = self._inventory.folder(template.machine.placement.folder)
        if folder is None:
            self._inventory.forget()
            folder = self._inventory.folder(template.machine.placement.folder)
        if folder is None:
            return None
        obj = self._vim.call(self._vim.content.searchIndex, "FindChild", entity=folder.obj, name=vm, about=vm, phase=phase)
        if obj is None or not isinstance(obj, library().vim.VirtualMachine):
            return None
        try:
            return self.look(template, vm, obj, phase)
        except ObjectGone:
            return None

    def must_find(self, template: PoolTemplate, vm: str, phase: str) -> Seen:
        """The same as ``find``. :raises NotFound: there is none of this name."""
        seen = self.find(template, vm, phase)
        if seen is None:
            raise _gone(vm, phase)
        return seen

    def look(self, template: PoolTemplate, vm: str, obj: Any, phase: str, reader: Gathered | None = None) -> Seen:
        """A machine as it is now. :raises ObjectGone: it is gone."""
        seen = as_seen(obj, (reader or self._gathered).read(obj, OWN_PATHS, about=vm, phase=phase))
        self.remember(template.name, vm, seen)
        return seen

    def current(self, template: PoolTemplate, vm: str, phase: str) -> Seen | None:
        """The same as ``find``, without looking for what was seen before and is still where it was."""
        with self._lock:
            known = self._seen[template.name].get(vm)
        if known is not None:
            with suppress(ObjectGone):
                seen = self.look(template, vm, known.obj, phase)
                if (seen.name, seen.folder) == (vm, known.folder):
                    return seen
        return self.find(template, vm, phase)

    def known(self, template: PoolTemplate, vm: str, phase: str) -> Seen:
        """The same as last seen. :raises NotFound: there is none of this name."""
        with self._lock:
            known = self._seen[template.name].get(vm)
        return known if known is not None and known.name == vm else self.must_find(template, vm, phase)

    def own(self, template: PoolTemplate, vm: str, phase: str) -> Seen:
        """A machine of the pool, as it is now. :raises NotFound: there is none.   :raises NotOurs: it carries no mark of this pool."""
        seen = self.current(template, vm, phase)
        if seen is None:
            raise _gone(vm, phase)
        mark_of(template, seen, vm, phase)
        return seen

    # -- what was seen

    def objects(self, pool: str, vms: Sequence[str]) -> dict[str, Any]:
        """The managed objects of those that were seen, by name."""
        with self._lock:
            return {vm: self._seen[pool][vm].obj for vm in vms if vm in self._seen[pool]}

    def remember(self, pool: str, vm: str, seen: Seen) -> None:
        with self._lock:
            self._seen[pool][vm] = seen

    def forget(self, pool: str, vm: str) -> None:
        with self._lock:
            self._seen[pool].pop(vm, None)

    def read(self, seen: Seen, paths: tuple[str, ...], phase: str) -> Mapping[str, Any]:
        """Properties of a machine, in one request with those that other threads ask for."""
        return self._gathered.read(seen.obj, paths, about=seen.name, phase=phase)

    # -- what things are called

    def machine(self, seen: Seen) -> Machine:
        return Machine(seen.name, seen.power, seen.mark, self.host_name(seen.host), seen.address)

    def host_name(self, host: Any) -> str:
        if host is None:
            return ""
        entry = self._inventory.entry_of(host)
        if entry is None:
            # It was added to vCenter after the inventory was read.
            self._inventory.forget()
            entry = self._inventory.entry_of(host)
        return moid_of(host) if entry is None else entry.name

    def _place_of(self, seen: Seen) -> str:
        return f"{self._folder_path(seen.folder)}/{seen.name}".lstrip("/")

    def _folder_path(self, folder: str) -> str:
        """A folder's path below the datacenter's own, by its id."""
        top = self._inventory.folder("")
        entry = self._inventory.entry_of(library().vim.Folder(folder))
        return "" if entry is None or top is None else entry.path[len(top.path) :].strip("/")


def mark_of(template: PoolTemplate, seen: Seen, vm: str, phase: str) -> Mark:
    """:raises NotOurs: it carries none of this pool."""
    if seen.mark is None or seen.mark.pool != template.name:
        hint = "remove it by hand if it is not needed" if phase == "destroy" else ""
        raise NotOurs("it carries no mark of this pool", obj=vm, phase=phase, hint=hint)
    return seen.mark


def _gone(vm: str, phase: str) -> NotFound:
    return NotFound("there is no machine of this name", obj=vm, phase=phase)
