# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What a machine's domain says about it in its metadata: the mark, and all that belongs to the machine. Pure.

It is written by the call that defines the domain, before the first file exists, so whatever is on disk is named in it.
"""

from __future__ import annotations

import copy
import os
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.base import Image
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.records import DiskRecord
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.registry import disk_image
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import Mark

NAMESPACE = "https://poolwright.virt/xmlns/machine/1"
PREFIX = "poolwright"

_MARK_KEYS = ("pool", "slot", "id", "spec_hash", "image", "created_at", "state", "lease", "lease_until", "name", "maker", "snapshot")


@dataclass(frozen=True)
class StoredDisk:
    """A disk as planned: its place on its backend, and its record."""

    location: str
    name: str
    record: DiskRecord

    def place(self) -> Image:
        return disk_image(self.record.backend, self.location, self.name)


@dataclass(frozen=True)
class Card:
    """A network card. ``seen`` is when the newest DHCP lease of its MAC ended before the machine was made (epoch, 0 for none)."""

    mac: str
    network: str = ""
    bridge: str = ""
    seen: int = 0


@dataclass(frozen=True)
class MachineRecord:
    """A machine of ours. ``seed`` is the path of its NoCloud image, "" for none; ``directory`` holds all its files."""

    mark: Mark
    directory: str
    disks: tuple[StoredDisk, ...] = ()
    cards: tuple[Card, ...] = ()
    seed: str = ""

    @property
    def paths(self) -> tuple[str, ...]:
        """The files and devices the machine cannot start without, the images its disks stand on included."""
        records = [disk.record for disk in self.disks]
        backing = [record.backing.path for record in records if record.backing is not None]
        named = [*(record.path for record in records), *backing, self.seed]
        # A network disk's name is no path.
        return tuple(path for path in named if os.path.isabs(path))


def to_element(record: MachineRecord) -> ET.Element:
    """``<machine>`` without namespace."""
    machine = ET.Element("machine", _texts(record.mark.to_dict()))
    machine.set("directory", record.directory)
    for disk in record.disks:
        fields = disk.record.to_dict()
        backing = fields.pop("backing", None)
        element = ET.SubElement(machine, "disk", {"location": disk.location, "name": disk.name, **_texts(fields)})
        if backing is not None:
            ET.SubElement(element, "backing", _texts(backing))
    for card in record.cards:
        attributes = {"mac": card.mac, "network": card.network, "bridge": card.bridge, "seen": str(card.seen)}
        ET.SubElement(machine, "card", {key: value for key, value in attributes.items() if value})
    if record.seed:
        ET.SubElement(machine, "seed", path=record.seed)
    return machine


def from_element(machine: ET.Element) -> MachineRecord | None:
    """None for what is no record of ours: damaged by hand, or of a later version that we cannot read."""
    try:
        seed = machine.find("seed")
        return MachineRecord(
            mark=Mark.from_dict(dict(machine.attrib)),
            directory=machine.attrib["directory"],
            disks=tuple(_disk(element) for element in machine.iterfind("disk")),
            cards=tuple(
                Card(element.attrib["mac"], element.get("network", ""), element.get("bridge", ""), int(element.get("seen", "0")))
                for element in machine.iterfind("card")
            ),
            seed="" if seed is None else seed.attrib["path"],
        )
    except (KeyError, ValueError, InvalidSpec):
        return None


def with_mark(machine: ET.Element, mark: Mark) -> ET.Element:
    """A copy with another mark; everything else stays, also what a later version of this collection put there."""
    changed = copy.deepcopy(machine)
    for key in _MARK_KEYS:
        changed.attrib.pop(key, None)
    changed.attrib.update(_texts(mark.to_dict()))
    return changed


def _disk(element: ET.Element) -> StoredDisk:
    fields: dict[str, Any] = dict(element.attrib)
    location, name = fields.pop("location"), fields.pop("name")
    backing = element.find("backing")
    if backing is not None:
        fields["backing"] = dict(backing.attrib)
    return StoredDisk(location, name, DiskRecord.from_dict(fields))


def _texts(data: dict[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in data.items() if value is not None}
