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
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import Mark
from ansible_collections.poolwright.virt.plugins.module_utils.storage.record import OwnDisk

NAMESPACE = "https://poolwright.virt/xmlns/machine/1"
PREFIX = "poolwright"

_MARK_KEYS = ("pool", "slot", "id", "spec_hash", "image", "created_at", "state", "lease", "lease_until", "name", "maker", "snapshot")


@dataclass(frozen=True)
class Card:
    """A network card. ``seen`` is when the newest DHCP lease of its MAC ended before the machine was made or reset (epoch, 0 for none)."""

    mac: str
    network: str = ""
    bridge: str = ""
    seen: int = 0


@dataclass(frozen=True)
class MachineRecord:
    """A machine of ours. ``disks`` begins with the root disk, ``seed`` is the path of its NoCloud image, "" for none.

    ``directory`` is its own. ``made_with`` says how many of the disks it was made with, 0 for all: the others were added to it.
    ``adding`` names the disk that it is being given and does not have in its definition yet, "" for none.
    """

    mark: Mark
    directory: str
    disks: tuple[OwnDisk, ...] = ()
    cards: tuple[Card, ...] = ()
    seed: str = ""
    made_with: int = 0
    adding: str = ""

    @property
    def first_disks(self) -> tuple[OwnDisk, ...]:
        """Those it was made with."""
        return self.disks[: self.made_with] if self.made_with else self.disks

    @property
    def paths(self) -> tuple[str, ...]:
        """The files and devices the machine cannot start without, the images its disks stand on included."""
        records = [disk.record for disk in self.disks if disk.name != self.adding]
        backing = [record.backing.path for record in records if record.backing is not None]
        named = [*(record.path for record in records), *backing, self.seed]
        # A network disk's name is no path.
        return tuple(path for path in named if os.path.isabs(path))


def to_element(record: MachineRecord) -> ET.Element:
    """``<machine>`` without namespace."""
    machine = ET.Element("machine", _texts(record.mark.to_dict()))
    machine.set("directory", record.directory)
    if record.made_with:
        machine.set("made_with", str(record.made_with))
    if record.adding:
        machine.set("adding", record.adding)
    for disk in record.disks:
        _write(machine, "disk", disk.to_dict())
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
            disks=tuple(OwnDisk.from_dict(_values(element)) for element in machine.iterfind("disk")),
            cards=tuple(
                Card(element.attrib["mac"], element.get("network", ""), element.get("bridge", ""), int(element.get("seen", "0")))
                for element in machine.iterfind("card")
            ),
            seed="" if seed is None else seed.attrib["path"],
            made_with=int(machine.get("made_with", "0")),
            adding=machine.get("adding", ""),
        )
    except (KeyError, ValueError, InvalidSpec):
        return None


# -- changes, each of a copy; what a later version of this collection put there stays


def with_mark(machine: ET.Element, mark: Mark) -> ET.Element:
    changed = copy.deepcopy(machine)
    for key in _MARK_KEYS:
        changed.attrib.pop(key, None)
    changed.attrib.update(_texts(mark.to_dict()))
    return changed


def with_seen(machine: ET.Element, seen: Mapping[str, int]) -> ET.Element:
    """:param seen: by MAC: when the newest lease that there is now ends."""
    changed = copy.deepcopy(machine)
    for card in changed.iterfind("card"):
        if card.get("mac", "") in seen:
            card.set("seen", str(seen[card.get("mac", "")]))
    return changed


def with_disk(machine: ET.Element, disk: OwnDisk) -> ET.Element:
    """The machine is being given a disk."""
    changed = copy.deepcopy(machine)
    changed.attrib.setdefault("made_with", str(len(changed.findall("disk"))))
    _write(changed, "disk", disk.to_dict())
    changed.set("adding", disk.name)
    return changed


def with_disk_added(machine: ET.Element) -> ET.Element:
    """The disk that it was being given is in its definition."""
    changed = copy.deepcopy(machine)
    changed.attrib.pop("adding", None)
    return changed


def without_disks(machine: ET.Element, names: Collection[str]) -> ET.Element:
    changed = copy.deepcopy(machine)
    for element in [one for one in changed.iterfind("disk") if one.get("name") in names]:
        changed.remove(element)
    if changed.get("adding") in names:
        del changed.attrib["adding"]
    return changed


def _write(parent: ET.Element, tag: str, data: Mapping[str, Any]) -> None:
    """Plain values as an element: texts are attributes, mappings elements inside it."""
    element = ET.SubElement(parent, tag)
    for key, value in data.items():
        if isinstance(value, Mapping):
            _write(element, key, value)
        elif value is not None:
            element.set(key, str(value))


def _values(element: ET.Element) -> dict[str, Any]:
    return {**element.attrib, **{child.tag: _values(child) for child in element}}


def _texts(data: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in data.items() if value is not None}
