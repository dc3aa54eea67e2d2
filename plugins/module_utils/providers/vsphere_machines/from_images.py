# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Pools of an image: what they are cloned from is foreseen before anything is changed, and then brought about."""

from __future__ import annotations

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import NotFound, telling_where
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import MachineSpec
from ansible_collections.poolwright.virt.plugins.module_utils.providers.vsphere_machines import templates
from ansible_collections.poolwright.virt.plugins.module_utils.providers.vsphere_machines.base_mark import FOLDER
from ansible_collections.poolwright.virt.plugins.module_utils.providers.vsphere_machines.bases import Base, Bases, Spot
from ansible_collections.poolwright.virt.plugins.module_utils.providers.vsphere_machines.image_check import Known, examine
from ansible_collections.poolwright.virt.plugins.module_utils.providers.vsphere_machines.placement import Site
from ansible_collections.poolwright.virt.plugins.module_utils.providers.vsphere_machines.stores import Stores
from ansible_collections.poolwright.virt.plugins.module_utils.providers.vsphere_machines.templates import Template
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere import files, hosts
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastores import allowed_datastore_types
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.cache import DatastoreImageCache
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.image import VMwareImage, bytes_of, check_fits
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Entry, Inventory
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.transfer import Transfer
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.vim import VIM


class FromImages:
    """The images of one run's pools."""

    def __init__(self, vim: VIM, inventory: Inventory, stores: Stores, stats: Stats) -> None:
        self._vim = vim
        self._inventory = inventory
        self._stores = stores
        self._site = files.Site(vim, inventory)
        self._transfer = Transfer(self._site, stats=stats)
        self._cache = DatastoreImageCache(vim, inventory, self._transfer, vim.clock, stats)
        self._bases = Bases(inventory, self._cache)

    def foresee(self, machine: MachineSpec, image: VMwareImage, site: Site, deadline: Deadline) -> Template:
        """What machines will be cloned from, as far as it is known; without ``entry.obj`` where it has to be made. Changes nothing.

        :raises NotFound, AuthenticationFailed, TransferFailed: the image cannot be read.   :raises ChecksumMismatch, ImageRefused: it cannot be used.
        :raises InsufficientResources: no datastore has room for it.
        """
        there = self._bases.there()
        near = frozenset(base.mark.datastore for base in there if _is_of(base, image))
        allowed = allowed_datastore_types(image.disk_type)
        datastore = self._stores.home(machine, site, 0, allowed, near)
        with telling_where("image"):
            base = self._bases.known(image, machine.disk.size_gb, datastore, there, deadline)
            if base is not None:
                return templates.read(self._vim, base.entry)
            known, brought = self._look(image, datastore, deadline)
            if known.virtual_size:
                check_fits(image, known.virtual_size, machine.disk.size_gb)
        datastore = self._stores.home(machine, site, known.allocated * (1 if brought else 2), allowed, near)
        return _foreseen(image, self._inventory, datastore, known, machine)

    def ensure(self, machine: MachineSpec, image: VMwareImage, foreseen: Template, site: Site, deadline: Deadline) -> Template:
        """What machines are cloned from, made if it is not there. :raises VirtError: see ``Bases.ensure``."""
        datastore = self._inventory.entry_of(foreseen.datastores[0])
        if datastore is None:
            raise NotFound("its datastore was removed meanwhile", obj=foreseen.entry.path, phase="prepare")
        host = None if site.host is None else site.host.obj
        if host is None and not site.balanced:
            fit = hosts.compatible(site.hosts, hosts.Needs(datastores=frozenset({datastore.moid})), foreseen.entry.name)
            host = hosts.least_used(fit, {}).entry.obj
        with telling_where("image"):
            entry = self._bases.ensure(image, machine.disk.size_gb, Spot(datastore, site.resource_pool.obj, host), deadline)
        return templates.read(self._vim, entry)

    def _look(self, image: VMwareImage, datastore: Entry, deadline: Deadline) -> tuple[Known, bool]:
        """What is known of an image, and whether it is in the cache."""
        if image.digest is not None or (image.on_datastore is None and image.fetched.is_remote):
            listed = self._cache.lookup(image, datastore, deadline, ask=False)
            if listed is not None:
                return Known(listed.facts.virtual_size, listed.facts.allocated), True
        return examine(image, self._site, self._transfer, deadline), False


def _is_of(base: Base, image: VMwareImage) -> bool:
    """Whether it may well be of this image: its datastore is the one to look at first."""
    return base.mark.complete and (base.mark.source == str(image) or (image.digest is not None and base.mark.digest == image.digest))


def _foreseen(image: VMwareImage, inventory: Inventory, datastore: Entry, known: Known, machine: MachineSpec) -> Template:
    path = f"{inventory.datacenter.path}/vm/{FOLDER}"
    return Template(
        entry=Entry(None, "VirtualMachine", str(image), f"{path} (of {image})", {}),
        devices=(),
        host=None,
        datastores=(datastore.obj,),
        is_template=False,
        running=False,
        cpus=machine.cpus,
        memory_mb=machine.memory_mb,
        committed=max(known.virtual_size, bytes_of(machine.disk.size_gb or 0.0)) if known.virtual_size else 0,
        snapshots=(),
    )
