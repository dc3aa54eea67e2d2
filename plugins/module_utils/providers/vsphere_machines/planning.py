# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What is found out before a pool's machines are made, and what they share is brought about: the pool's blueprint."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Callable

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec, NotFound
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import Clone, MachineSpec, PoolTemplate
from ansible_collections.poolwright.virt.plugins.module_utils.providers.vsphere_machines import placement, templates
from ansible_collections.poolwright.virt.plugins.module_utils.providers.vsphere_machines.create import Blueprint, Spot
from ansible_collections.poolwright.virt.plugins.module_utils.providers.vsphere_machines.stores import Stores
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere import hosts
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.hardware import Card, network_facts
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Entry, Inventory
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.properties import Found
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.vim import VIM

if TYPE_CHECKING:
    from ansible_collections.poolwright.virt.plugins.module_utils.providers.vsphere_machines.from_images import FromImages


@dataclass(frozen=True)
class Prepared:
    """A pool of which machines can be made: its folder is there, and the snapshot that linked clones stand on (None for others)."""

    blueprint: Blueprint
    folder: Entry
    snapshot: Any = None


class Planner:
    """The pools of one run. Safe to use from several threads."""

    def __init__(self, vim: VIM, inventory: Inventory, warn: Callable[[str], None], stats: Stats) -> None:
        self._vim = vim
        self._inventory = inventory
        self._warn = warn
        self._stores = Stores(inventory)
        self._stats = stats
        self._images: FromImages | None = None
        self._lock = threading.RLock()
        self._blueprints: dict[str, Blueprint] = {}
        self._prepared: dict[str, Prepared] = {}
        self._promised_mb: Counter[str] = Counter()
        self._machines: list[Found] | None = None

    def learn(self, machines: list[Found]) -> None:
        """All machines of the datacenter with ``name`` and ``parent``, which need not be read again to find templates."""
        with self._lock:
            self._machines = machines

    def check(self, pool: PoolTemplate, making: int, deadline: Deadline) -> None:
        """Without changing anything; the contract's ``check``."""
        machine = pool.machine
        blueprint = self._blueprint(pool, deadline)
        needs = self._needs(blueprint, machine)
        fit = hosts.compatible(blueprint.site.hosts, needs, pool.name)
        self._stores.check(blueprint.template, machine, blueprint.site, making)
        total = sum(load.memory_mb for load in fit)
        if making * machine.memory_mb > total:
            self._warn(
                f"pool {pool.name}: {making} machines of {machine.memory_mb} MiB are more than "
                f"the {total} MiB that the hosts of {blueprint.site.cluster.path} have"
            )

    def prepare(self, pool: PoolTemplate, deadline: Deadline) -> None:
        """The contract's ``prepare``."""
        with self._lock:
            if pool.name in self._prepared:
                return
            blueprint = self._blueprint(pool, deadline)
            image = pool.machine.vmware_image
            if image is not None:
                template = self._from_images().ensure(pool.machine, image, blueprint.template, blueprint.site, deadline)
                blueprint = self._blueprints[pool.name] = replace(blueprint, template=template)
            folder = self._inventory.ensure_folder(pool.machine.placement.folder)
            snapshot = templates.ensure_base(self._vim, blueprint.template, deadline).obj if pool.machine.clone is Clone.LINKED else None
            self._prepared[pool.name] = Prepared(blueprint, folder, snapshot)

    def prepared(self, pool: PoolTemplate) -> Prepared:
        with self._lock:
            if pool.name not in self._prepared:
                raise NotFound("the pool's template was not prepared", obj=pool.name, phase="create", hint="call prepare first")
            return self._prepared[pool.name]

    def spot(self, pool: PoolTemplate) -> Spot:
        """Where the next machine goes; what it will take there is counted for those after it."""
        prepared = self.prepared(pool)
        blueprint, machine = prepared.blueprint, pool.machine
        with self._lock:
            datastore = self._stores.pick(blueprint.template, machine, blueprint.site)
            host = None
            if blueprint.site.host is not None:
                host = blueprint.site.host.obj
            elif not blueprint.site.balanced:
                fit = hosts.compatible(blueprint.site.hosts, self._needs(blueprint, machine), pool.name)
                chosen = hosts.least_used(fit, self._promised_mb).entry
                self._promised_mb[chosen.moid] += machine.memory_mb
                host = chosen.obj
        return Spot(prepared.folder.obj, host, datastore)

    def _needs(self, blueprint: Blueprint, machine: MachineSpec) -> hosts.Needs:
        networks = {card.network.entry.moid: card.network.entry.name for card in blueprint.cards}
        return hosts.Needs(machine.memory_mb, self._stores.ids(blueprint.template, machine, blueprint.site), networks)

    def _from_images(self) -> FromImages:
        # Loaded where it is needed: most pools have a template.
        from ansible_collections.poolwright.virt.plugins.module_utils.providers.vsphere_machines.from_images import FromImages

        if self._images is None:
            self._images = FromImages(self._vim, self._inventory, self._stores, self._stats)
        return self._images

    def _blueprint(self, pool: PoolTemplate, deadline: Deadline) -> Blueprint:
        with self._lock:
            if pool.name not in self._blueprints:
                self._blueprints[pool.name] = self._draw(pool, deadline)
            return self._blueprints[pool.name]

    def _draw(self, pool: PoolTemplate, deadline: Deadline) -> Blueprint:
        machine = pool.machine
        if not machine.template and machine.vmware_image is None:
            raise InvalidSpec([f"pool {pool.name!r}: template: machines are to be made, so it or an image is needed"])
        networks = [(self._inventory.network(card.network), card.model) for card in machine.networks]
        if machine.vmware_image is not None:
            site = placement.resolve(self._vim, self._inventory, machine.placement, None)
            template = self._from_images().foresee(machine, machine.vmware_image, site, deadline)
        else:
            template = templates.find(self._vim, self._inventory, machine.template, self._machines)
            templates.refuse(pool.name, templates.problems(template, machine))
            site = placement.resolve(self._vim, self._inventory, machine.placement, template.host)
        facts = network_facts(self._vim, [entry for entry, _model in networks])
        return Blueprint(template, site, tuple(Card(facts[entry.moid], model) for entry, model in networks))
