# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Making a machine: first planned as a whole, then defined with its mark, and only then given its files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Union

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.cloudinit import seed_files
from ansible_collections.poolwright.virt.plugins.module_utils.errors import telling_where
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.disks import CreatableDisk
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
from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt_machines.leftover import write_record
from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt_machines.record import NAMESPACE, Card, MachineRecord, to_element
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import Mark
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import DiskSpec, MachineSpec, PoolTemplate
from ansible_collections.poolwright.virt.plugins.module_utils.storage.contents import Contents, creatable, origin_of
from ansible_collections.poolwright.virt.plugins.module_utils.storage.record import OwnDisk
from ansible_collections.poolwright.virt.plugins.module_utils.storage.snapshots import Snapshots
from ansible_collections.poolwright.virt.plugins.module_utils.storage.wish import DiskWish

Source = Union[CachedImage, Contents]
"""What a disk is made from."""

GIB = 1024**3
SEED_NAME = "seed.iso"
ROOT, FURTHER = "root", "disk"
# How often a directory is made again that a removal in the same pool took away meanwhile.
_DIRECTORY_TRIES = 5


@dataclass(frozen=True)
class Site:
    """What the machines of one host have in common. ``sources`` is what the pool's disks are made from, the root disk's first."""

    layout: Layout
    platform: Platform
    host_uuid: str
    sources: tuple[Source, ...]


@dataclass(frozen=True)
class MachinePlan:
    """A machine that can be made: ``domain`` holds ``record``, which names ``disks`` in their order. The seed's files may hold secrets."""

    record: MachineRecord
    domain: DomainConfig
    disks: tuple[CreatableDisk, ...]
    seed: Mapping[str, bytes] = field(default_factory=dict, repr=False)


def disk_bytes(disk: DiskSpec) -> int | None:
    return None if disk.size_gb is None else int(disk.size_gb * GIB)


def wishes(spec: MachineSpec, directory: str, machine: str) -> list[DiskWish]:
    """A machine's disks, the root disk first: in its own directory, or under the machine's name in the location asked for.

    :raises InvalidSpec: one of them cannot be there.
    """
    found = []
    for number, disk in enumerate((spec.disk, *spec.disks)):
        with where(number):
            name = f"{FURTHER}{number}" if number else ROOT
            place = (disk.location, f"{machine}_{name}") if disk.location else (directory, name)
            wish = DiskWish(disk.backend, *place, disk.image if number else spec.image, disk.content, disk_bytes(disk), disk.options)
            wish.place()
            found.append(wish)
    return found


def where(number: int) -> AbstractContextManager[None]:
    """Have errors say which disk of a machine they are about; 0 is the root disk, which needs no word."""
    return telling_where(f"disks[{number - 1}]") if number else nullcontext()


def plan_machine(template: PoolTemplate, vm: str, mark: Mark, site: Site, newest_lease: Callable[[str, str], int], deadline: Deadline) -> MachinePlan:
    """:param newest_lease: of a network and a MAC: when the newest lease that is there now ends."""
    spec, directory = template.machine, site.layout.machine_directory(template.name, vm, mark.id)
    machine = f"{vm}.{tail_of(mark.id)}"
    own, disks = [], []
    for wanted, source in zip(wishes(spec, directory, machine), site.sources):
        source = _seeded(source, f"{machine} {wanted.name}")
        disk = creatable(wanted, source, deadline)
        own.append(OwnDisk(wanted.location, wanted.name, disk.record(), options=wanted.options, origin=origin_of(wanted, source)))
        disks.append(disk)
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
        disks=tuple(own),
        cards=tuple(cards),
        seed=os.path.join(directory, SEED_NAME) if seed else "",
    )
    return MachinePlan(record, _domain(template, vm, record, site.platform), tuple(disks), seed)


def _seeded(source: Source, seed: str) -> Source:
    """Contents with ids of this machine's own."""
    return source if isinstance(source, CachedImage) else replace(source, seed=seed)


def disk_device(disk: OwnDisk, target: str, serial: str) -> DiskDevice:
    info, content = disk.place().libvirt_info(), disk.origin.content
    # What is read-only by its nature is given so: QEMU would not let others open it meanwhile.
    readonly = content is not None and content.file_system == "iso9660"
    return DiskDevice(info.type, info.format, info.source, target, readonly, serial, protocol=info.protocol, hosts=info.hosts, secret=info.secret)


def serial_of(mark: Mark, number: int) -> str:
    """What the guest sees as the serial number of the machine's disk; 20 characters are seen at most."""
    return f"pw-{tail_of(mark.id)}-{number}"


def target_of(number: int) -> str:
    return f"vd{chr(ord('a') + number)}"


def _domain(template: PoolTemplate, vm: str, record: MachineRecord, platform: Platform) -> DomainConfig:
    disks = [disk_device(disk, target_of(number), serial_of(record.mark, number)) for number, disk in enumerate(record.disks)]
    if record.seed:
        disks.append(DiskDevice("file", "raw", record.seed, target_of(len(disks)), readonly=True))
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
    """The disks and the seed of a machine that is defined, and its snapshot where its mark has one."""
    vm, record = plan.domain.name, plan.record
    _make_directory(record.directory)
    write_record(record)
    for number, disk in enumerate(plan.disks):
        deadline.check("the machine's disks", obj=vm, phase="disk")
        with where(number):
            disk.create(deadline)
    if record.seed:
        write_iso(record.seed, plan.seed, NOCLOUD_LABEL, deadline)
    if record.mark.snapshot:
        Snapshots(vm, record.disks).create(record.mark.snapshot, deadline)
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
