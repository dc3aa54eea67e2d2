# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""On which datastore a machine goes, with what this run is about to place counted."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InsufficientResources, InvalidSpec, NotFound
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import Clone, MachineSpec
from ansible_collections.poolwright.virt.plugins.module_utils.providers.vsphere_machines.placement import Site
from ansible_collections.poolwright.virt.plugins.module_utils.providers.vsphere_machines.templates import Template
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.binding import moid_of
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastores import Datastore, NoDatastore, Reservations, Wanted, choose, read
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Entry, Inventory

_MIB = 1024**2


def size_of(template: Template, machine: MachineSpec) -> int:
    """What a new machine takes on its datastore at first, in bytes: its swap file, and the copy that a full clone is."""
    return machine.memory_mb * _MIB + (template.committed if machine.clone is Clone.FULL else 0)


class Stores:
    """The datastores of one datacenter, for one run."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._reserved = Reservations()

    def check(self, template: Template, machine: MachineSpec, site: Site, making: int) -> None:
        """:raises InsufficientResources: there is too little room for so many.   :raises NotFound, Ambiguous, InvalidSpec: the name is wrong."""
        candidates, wanted = self._candidates(template, machine, site)
        size = size_of(template, machine)
        choose(candidates, wanted, size)
        room = sum(max(0, one.free) for one in candidates if not wanted.why_not(one) and one.accessible)
        if making * size > room:
            raise InsufficientResources(
                f"{making} machines take {making * size // _MIB} MiB at first, and {room // _MIB} MiB are free",
                obj=str(wanted) if machine.placement.datastore else template.entry.path,
                phase="place",
                hint="free space on the datastore, name another one, or say clone: linked",
            )

    def pick(self, template: Template, machine: MachineSpec, site: Site) -> Any:
        """The datastore for one machine, its space reserved; None is where its template is."""
        candidates, wanted = self._candidates(template, machine, site)
        chosen = self._reserved.choose(candidates, wanted, size_of(template, machine)).datastore
        own = {moid_of(one) for one in template.datastores}
        return None if not machine.placement.datastore and chosen.moid in own else chosen.entry.obj

    def home(self, machine: MachineSpec, site: Site, size: int, allowed: frozenset[str], preferred: frozenset[str]) -> Entry:
        """The datastore for an image of so many bytes that machines will be cloned from: a preferred one (by id), or that with most free space."""
        near, there = self._near(site)
        wanted = self._named(machine.placement.datastore, near, site) if machine.placement.datastore else Wanted()
        with contextlib.suppress(NoDatastore, NotFound):
            # Where it is already, it takes nothing.
            return choose([one for one in there if one.moid in preferred], wanted, 0, allowed=allowed).datastore.entry
        return choose(there, wanted, size, allowed=allowed).datastore.entry

    def ids(self, template: Template, machine: MachineSpec, site: Site) -> frozenset[str]:
        """Those of which a host must have one."""
        candidates, wanted = self._candidates(template, machine, site)
        return frozenset(one.moid for one in candidates if not wanted.why_not(one))

    def _candidates(self, template: Template, machine: MachineSpec, site: Site) -> tuple[Sequence[Datastore], Wanted]:
        near, there = self._near(site)
        name = machine.placement.datastore
        if name:
            return there, self._named(name, near, site)
        own = {moid_of(one) for one in template.datastores}
        at_home = [one for one in there if one.moid in own]
        if machine.clone is not Clone.FULL:
            if not at_home:
                said = f"no host of {site.cluster.path} has the datastore of {template.entry.path}, which a {machine.clone.value} clone stands on"
                raise InvalidSpec([f"cluster: {said}; say clone: full and name a datastore, or give another cluster"])
            return at_home, Wanted()
        try:
            choose(at_home, Wanted(), size_of(template, machine), reserved=self._reserved.as_mapping())
        except (NoDatastore, NotFound):
            return there, Wanted()
        return at_home, Wanted()

    def _near(self, site: Site) -> tuple[frozenset[str], list[Datastore]]:
        """What some host of the site has."""
        near = frozenset[str]().union(*(load.datastores for load in site.hosts))
        return near, [one for one in read(self._inventory) if one.moid in near]

    def _named(self, name: str, near: frozenset[str], site: Site) -> Wanted:
        pods = [pod for pod in self._inventory.datastore_clusters() if name in (pod.name, pod.path)]
        if pods:
            return Wanted(cluster=pods[0].name)
        entry = self._inventory.datastore(name)
        if entry.moid not in near:
            raise InvalidSpec([f"datastore: no host of {site.cluster.path} has {entry.path}; name one that they have, or another cluster"])
        return Wanted(name=entry.path)
