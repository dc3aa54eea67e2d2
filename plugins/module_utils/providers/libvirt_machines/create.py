# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Making a machine: first planned as a whole, then defined with its mark, and only then given its files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.cloudinit import seed_files
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.base import Image
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.disks import DiskFromImage
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.records import DiskInfo
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.registry import disk_image
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import CachedImage
from ansible_collections.poolwright.virt.plugins.module_utils.images.iso import NOCLOUD_LABEL, write_iso
from ansible_collections.poolwright.virt.plugins.module_utils.images.scratch import make_directories
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.domain_xml import (
    DiskDevice,
    DomainConfig,
    NetworkCard,
    Platform,
    build_domain,
    in_namespace,
)
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.guest import Guest
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.layout import Layout, tail_of
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.leases import mac_address
from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt_machines.record import NAMESPACE, Card, MachineRecord, StoredDisk, to_element
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import Mark
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import DiskSpec, PoolTemplate

GIB = 1024**3
SEED_NAME = "seed.iso"
_ROOT = "root"
# How often a directory is made again that a removal in the same pool took away meanwhile.
_DIRECTORY_TRIES = 5


@dataclass(frozen=True)
class Site:
    """What the machines of one host have in common. ``image`` is the pool's, in the cache."""

    layout: Layout
    platform: Platform
    host_uuid: str
    image: CachedImage


@dataclass(frozen=True)
class MachinePlan:
    """A machine that can be made: ``domain`` holds ``record``. The seed's files may hold secrets."""

    record: MachineRecord
    domain: DomainConfig
    disk: DiskFromImage
    seed: Mapping[str, bytes] = field(default_factory=dict, repr=False)


def disk_bytes(disk: DiskSpec) -> int | None:
    return None if disk.size_gb is None else int(disk.size_gb * GIB)


def root_disk(disk: DiskSpec, directory: str, machine: str) -> Image:
    """The place of a machine's root disk: in its own directory, or under the machine's name in the location asked for."""
    return disk_image(disk.backend, disk.location, f"{machine}_{_ROOT}") if disk.location else disk_image(disk.backend, directory, _ROOT)


def plan_machine(template: PoolTemplate, vm: str, mark: Mark, site: Site, newest_lease: Callable[[str, str], int]) -> MachinePlan:
    """:param newest_lease: of a network and a MAC: when the newest lease that is there now ends."""
    spec, directory = template.machine, site.layout.machine_directory(template.name, vm, mark.id)
    place = root_disk(spec.disk, directory, f"{vm}.{tail_of(mark.id)}")
    disk = DiskFromImage(place, site.image, disk_bytes(spec.disk))
    cards = []
    for number, network in enumerate(spec.networks):
        mac = mac_address(site.host_uuid, template.name, str(mark.slot), str(number))
        cards.append(Card(mac, network.network, network.bridge, newest_lease(network.network, mac) if network.network else 0))
    seed = {}
    if spec.seed.wanted:
        wish = spec.seed
        seed = seed_files(vm, mark.id, user_data=wish.user_data, network_config=wish.network_config, ssh_keys=wish.ssh_keys, hostname=wish.hostname)
    record = MachineRecord(
        mark=mark,
        directory=directory,
        disks=(StoredDisk(place.location, place.name, disk.record()),),
        cards=tuple(cards),
        seed=os.path.join(directory, SEED_NAME) if seed else "",
    )
    return MachinePlan(record, _domain(template, vm, record, place.libvirt_info(), site.platform), disk, seed)


def _domain(template: PoolTemplate, vm: str, record: MachineRecord, root: DiskInfo, platform: Platform) -> DomainConfig:
    disks = [
        DiskDevice(
            root.type, root.format, root.source, "vda", serial=f"pw-{tail_of(record.mark.id)}-0", protocol=root.protocol, hosts=root.hosts, secret=root.secret
        )
    ]
    if record.seed:
        disks.append(DiskDevice("file", "raw", record.seed, f"vd{chr(ord('a') + len(disks))}", readonly=True))
    models = [network.model for network in template.machine.networks]
    return DomainConfig(
        name=vm,
        uuid=record.mark.id,
        platform=platform,
        memory_kib=template.machine.memory_mb * 1024,
        vcpus=template.machine.cpus,
        disks=tuple(disks),
        cards=tuple(NetworkCard(card.mac, card.network, card.bridge, model) for card, model in zip(record.cards, models)),
        metadata=(in_namespace(to_element(record), NAMESPACE),),
    )


def define(host: Host, plan: MachinePlan) -> Guest:
    """Make the machine known with its mark; nothing of it is on disk yet. :raises NameTaken, MaybeApplied: see ``Host.define``."""
    return host.define(build_domain(plan.domain))


def make_files(plan: MachinePlan, deadline: Deadline) -> None:
    """The disk and the seed of a machine that is defined."""
    vm = plan.domain.name
    _make_directory(plan.record.directory)
    deadline.check("the machine's disk", obj=vm, phase="disk")
    plan.disk.create(deadline)
    if plan.record.seed:
        write_iso(plan.record.seed, plan.seed, NOCLOUD_LABEL, deadline)
    deadline.check("the machine's start", obj=vm, phase="start")


def _make_directory(directory: str) -> None:
    for last in [False] * (_DIRECTORY_TRIES - 1) + [True]:
        try:
            return make_directories(directory)
        except FileNotFoundError:
            # The pool's directory was removed between, with the last machine that was in it.
            if last:
                raise
    return None
