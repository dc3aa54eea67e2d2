# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Which edits an option stands for, in the order in which they are made. Pure."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from ansible_collections.poolwright.virt.plugins.module_utils.guests import edit_cards, edit_devices, edit_disks, edit_system, record, tree
from ansible_collections.poolwright.virt.plugins.module_utils.guests.wish import Wish
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.records import DiskInfo

Edit = Callable[[ET.Element], None]


@dataclass(frozen=True)
class Scene:
    """What edits have to know besides the wish.

    :ivar uuid: the guest's.
    :ivar canonical_machine: what libvirt calls the machine type that is asked for, "" where it does not say.
    :ivar disks: how libvirt reaches each disk, by its label.
    """

    uuid: str
    canonical_machine: str = ""
    disks: Mapping[str, DiskInfo] = field(default_factory=dict)


@dataclass(frozen=True)
class Option:
    name: str
    edit: Edit


def options(wish: Wish, scene: Scene, *, live: bool = False) -> list[Option]:
    """Those that were given.

    :param live: for the domain as it runs, where some things are spelled otherwise than in its definition.
    """
    made = [
        _given("title", wish.title, edit_system.title),
        _given("description", wish.description, edit_system.description),
        _given("metadata", wish.metadata, record.edit_values),
        _given("machine", wish.machine, partial(edit_system.machine, canonical=scene.canonical_machine)),
        Option("cpus", partial(edit_system.cpus, count=wish.cpus, most=wish.max_cpus)) if (wish.cpus, wish.max_cpus) != (None, None) else None,
        _given("cpu", wish.cpu, partial(edit_system.cpu, live=live)),
        _memory(wish),
        _given("ballooning", wish.ballooning, edit_system.ballooning),
        _given("numa", wish.numa, edit_system.numa),
        _given("firmware", wish.firmware, edit_system.firmware),
        _given("secure_boot", wish.secure_boot, edit_system.secure_boot),
        _given("tpm", wish.tpm, edit_devices.tpm),
        _given("features", wish.features, edit_system.features),
        _given("clock", wish.clock, edit_system.clock),
        *(_given(tag, getattr(wish, tag), partial(_on_event, tag=tag)) for tag in ("on_poweroff", "on_reboot", "on_crash")),
        _given("disks", wish.disks, partial(edit_disks.disks, infos=scene.disks)),
        _given("cdroms", wish.cdroms, edit_disks.cdroms),
        _given("networks", wish.networks, partial(edit_cards.cards, uuid=scene.uuid)),
        _given("agent", wish.agent, edit_devices.agent),
        _given("channels", wish.channels, edit_devices.channels),
        _given("serial", wish.serial, edit_devices.serial),
        _given("graphics", wish.graphics, edit_devices.graphics),
        _given("video", wish.video, edit_devices.video),
        _given("vsock", wish.vsock, edit_devices.vsock),
        _given("rng", wish.rng, edit_devices.rng),
        _given("watchdog", wish.watchdog, edit_devices.watchdog),
        _given("hostdevs", wish.hostdevs, edit_devices.hostdevs),
        _given("boot_order", wish.boot_order, edit_system.boot_order),
        Option("boot_order", edit_system.no_boot_order) if wish.orders_devices else None,
    ]
    return [option for option in made if option is not None]


def _given(name: str, value: object, edit: Callable[..., None]) -> Option | None:
    return None if value is None else Option(name, partial(_apply, edit=edit, value=value))


def _apply(domain: ET.Element, edit: Callable[..., None], value: object) -> None:
    edit(domain, value)


def _on_event(domain: ET.Element, action: str, tag: str) -> None:
    edit_system.on_event(domain, tag, action)


def _memory(wish: Wish) -> Option | None:
    if wish.memory_mb is None and wish.max_memory_mb is None:
        return None
    return Option("memory_mb", partial(edit_system.memory, amount_mb=wish.memory_mb, most_mb=wish.max_memory_mb))


def edited(domain: ET.Element, wish: Wish, scene: Scene) -> tuple[ET.Element, list[str]]:
    """A copy as it is wanted, and the names of the options that made a difference."""
    after, names = tree.copy_of(domain), []
    before = tree.text_of(after)
    for option in options(wish, scene):
        option.edit(after)
        text = tree.text_of(after)
        if text != before:
            names.append(option.name)
        before = text
    return after, names


def settled(wish: Wish, definition: ET.Element, scene: Scene) -> Wish:
    """The wish with what the definition has settled: targets of disks, addresses of cards. So the running domain gets the same."""
    disks, networks = wish.disks, wish.networks
    if disks is not None:
        targets = {edit_disks.source_of(element): edit_disks.target_of(element) for element in edit_disks.disk_elements(definition, "disk", "lun")}
        places = [scene.disks[disk.label] for disk in disks]
        disks = tuple(replace(disk, target=targets.get((info.type, info.source), disk.target)) for disk, info in zip(disks, places))
    if networks is not None:
        networks = tuple(replace(card, mac=mac) for card, mac in zip(networks, edit_cards.addresses(definition, networks)))
    return replace(wish, disks=disks, networks=networks)
