# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Whether a guest could be as it is wanted: what can be found out without changing anything."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec, NotFound, NotOurs, telling_where
from ansible_collections.poolwright.virt.plugins.module_utils.guests import edit_disks, record
from ansible_collections.poolwright.virt.plugins.module_utils.guests.look import Seen
from ansible_collections.poolwright.virt.plugins.module_utils.guests.options import Scene
from ansible_collections.poolwright.virt.plugins.module_utils.guests.storage import StoragePlan
from ansible_collections.poolwright.virt.plugins.module_utils.guests.wish import Wish
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host

_NET_CLASS = "/sys/class/net"


def check_devices(host: Host, wish: Wish, domain: ET.Element) -> None:
    """Networks and bridges are there, media and logs have a place, processors fit their topology.

    :param domain: the guest as it is, or a new one before it is edited.
    """
    problems = [*_topology(wish, domain), *_firmware(wish, domain)]
    if problems:
        raise InvalidSpec(problems)
    _check_networks(host, wish)
    for number, drive in enumerate(wish.cdroms or ()):
        if drive.path and not os.path.exists(drive.path):
            with telling_where(f"cdroms[{number}]"):
                raise NotFound(f"there is no file {drive.path}", obj=wish.name, phase="check", hint="correct the path, or leave it out for an empty drive")
    log = "" if wish.serial is None else wish.serial.log_file or ""
    if log and not os.path.isdir(os.path.dirname(log)):
        with telling_where("serial.log_file"):
            raise NotFound(f"there is no directory {os.path.dirname(log)}", obj=wish.name, phase="check", hint="make it, or log elsewhere")


def _topology(wish: Wish, domain: ET.Element) -> list[str]:
    """A number of CPUs that the topology has no room for, where only one of both is asked for."""
    if wish.cpu is not None and wish.cpu.topology is not None:
        return []
    found = domain.find("cpu/topology")
    most = wish.max_cpus if wish.max_cpus is not None else wish.cpus
    if found is None or most is None:
        return []
    room = 1
    for key in ("sockets", "dies", "clusters", "cores", "threads"):
        room *= int(found.get(key, "1"))
    vcpu = domain.find("vcpu")
    fits = wish.max_cpus is None and vcpu is not None and "current" in vcpu.attrib and most <= int((vcpu.text or "1").strip())
    return [] if most == room or fits else [f"cpus: the guest's topology has room for {room}, not {most}; give cpu.sockets, cpu.cores and cpu.threads too"]


def _firmware(wish: Wish, domain: ET.Element) -> list[str]:
    kind = domain.find("os/type")
    machine = wish.machine or ("" if kind is None else kind.get("machine", ""))
    if wish.secure_boot and machine and "q35" not in machine:
        return [f"secure_boot: a machine of the type {machine} has none; give machine: q35 as well"]
    return []


def _check_networks(host: Host, wish: Wish) -> None:
    for number, card in enumerate(wish.networks or ()):
        with telling_where(f"networks[{number}]"):
            if card.network and not host.networks.has(card.network):
                there = ", ".join(sorted(host.networks.all())) or "none"
                raise NotFound(f"the host has no network {card.network!r}", obj=wish.name, phase="check", hint=f"its networks are: {there}")
            device = card.bridge or card.direct
            if device and not os.path.exists(os.path.join(_NET_CLASS, device)):
                there = ", ".join(sorted(os.listdir(_NET_CLASS)))
                raise NotFound(f"the host has no {'bridge' if card.bridge else 'device'} {device!r}", obj=wish.name, phase="check", hint=f"it has: {there}")


def refuse_pools(seen: Seen, name: str) -> None:
    pool = "" if seen.definition is None else record.pool_of(seen.definition)
    if pool:
        raise NotOurs(
            f"it is a machine of the pool {pool}", obj=name, phase="check", hint="pools look after their machines themselves: use vm_pool or vm_spawn"
        )


def refuse_growth(storage: StoragePlan, scene: Scene, seen: Seen) -> None:
    """Of disks that cannot grow as the guest is now."""
    used = set() if seen.current is None else {edit_disks.source_of(one) for one in edit_disks.disk_elements(seen.current, "disk", "lun")}
    for growth in storage.growth:
        place = growth.own.place()
        info = place.libvirt_info()
        if (info.type, info.source) in used and not place.grows_in_use:
            raise InvalidSpec([f"{growth.own.record.path}: a disk on {place.backend} grows only while the guest is off; shut it off first, or leave its size"])
        # An overlay has a size of its own, and what it stands on must not change.
        overlay = next((one.source for label, one in scene.disks.items() if label == growth.own.name and one.source != info.source), "")
        if overlay:
            raise InvalidSpec([f"{growth.own.record.path}: the disk cannot grow below its snapshot {overlay}; commit or remove that first"])
