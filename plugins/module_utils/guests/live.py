# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What of a change a running domain can take at once, and what waits for its restart. Pure."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass, field

from ansible_collections.poolwright.virt.plugins.module_utils.guests import edit_cards, edit_devices, edit_disks, tree
from ansible_collections.poolwright.virt.plugins.module_utils.guests.options import Option

_PLUGGED_BUSES = ("virtio", "scsi", "usb")
# What of a card can change while it is in use.
_CARD_PARTS = ("link", "filterref", "source")
_TEXTS = ("title", "description")
_DEVICES = ("ballooning", "cdroms", "disks", "graphics", "hostdevs", "networks")


@dataclass(frozen=True)
class Device:
    """A device to plug, unplug or change; ``element`` may hold a password."""

    element: ET.Element = field(repr=False)
    what: str = ""


@dataclass(frozen=True)
class LivePlan:
    """``cpus`` and ``memory_kib`` None where they stay. ``pending``: option by option, what waits for a restart."""

    attach: tuple[Device, ...] = ()
    detach: tuple[Device, ...] = ()
    update: tuple[Device, ...] = ()
    cpus: int | None = None
    memory_kib: int | None = None
    stats_period: int | None = None
    title: str | None = None
    description: str | None = None
    metadata: bool = False
    pending: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """How many things are to be done."""
        values = (self.cpus, self.memory_kib, self.stats_period, self.title, self.description, self.metadata or None)
        return len(self.attach) + len(self.detach) + len(self.update) + sum(value is not None for value in values)

    @property
    def empty(self) -> bool:
        return self.size == 0


@dataclass
class _Draft:
    attach: list[Device] = field(default_factory=list)
    detach: list[Device] = field(default_factory=list)
    update: list[Device] = field(default_factory=list)
    pending: list[str] = field(default_factory=list)
    values: dict[str, object] = field(default_factory=dict)


def plan_live(domain: ET.Element, wanted: Sequence[Option]) -> LivePlan:
    """What brings a running domain to what is wanted.

    :param domain: the domain as it runs; it is not changed.
    :param wanted: options for a running domain.
    """
    now, draft = tree.copy_of(domain), _Draft()
    for option in wanted:
        _take(now, option, draft)
    values = draft.values
    return LivePlan(
        attach=tuple(draft.attach),
        detach=tuple(draft.detach),
        update=tuple(draft.update),
        cpus=_number(values.get("cpus")),
        memory_kib=_number(values.get("memory_kib")),
        stats_period=_number(values.get("stats_period")),
        title=None if values.get("title") is None else str(values["title"]),
        description=None if values.get("description") is None else str(values["description"]),
        metadata=bool(values.get("metadata")),
        pending=tuple(dict.fromkeys(draft.pending)),
    )


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _take(now: ET.Element, option: Option, draft: _Draft) -> None:
    before = tree.text_of(now)
    devices = [(element, tree.copy_of(element)) for element in tree.devices(now)]
    option.edit(now)
    if tree.text_of(now) == before:
        return
    if option.name in _TEXTS:
        draft.values[option.name] = now.findtext(option.name, "")
    elif option.name == "metadata":
        draft.values["metadata"] = True
    elif option.name == "cpus":
        _take_cpus(ET.fromstring(before), now, draft)  # noqa: S314 (written just above)
    elif option.name == "memory_mb":
        _take_memory(ET.fromstring(before), now, draft)  # noqa: S314 (written just above)
    elif option.name in _DEVICES:
        _take_devices(option.name, devices, now, draft)
    else:
        draft.pending.append(option.name)


def _take_cpus(before: ET.Element, after: ET.Element, draft: _Draft) -> None:
    limit, wanted_limit = (int((one.findtext("vcpu") or "1").strip()) for one in (before, after))
    vcpu = after.find("vcpu")
    wanted = int(vcpu.get("current", wanted_limit)) if vcpu is not None else wanted_limit
    if limit != wanted_limit:
        draft.pending.append("cpus")
    now = before.find("vcpu")
    if wanted <= limit and now is not None and int(now.get("current", limit)) != wanted:
        draft.values["cpus"] = wanted


def _take_memory(before: ET.Element, after: ET.Element, draft: _Draft) -> None:
    limit, wanted_limit = tree.kib_of(before.find("memory")) or 0, tree.kib_of(after.find("memory")) or 0
    now = tree.kib_of(before.find("currentMemory")) or limit
    wanted = tree.kib_of(after.find("currentMemory")) or wanted_limit
    balloon = before.find("devices/memballoon")
    can = balloon is not None and balloon.get("model") != "none" and wanted <= limit
    if limit != wanted_limit or (now != wanted and not can):
        draft.pending.append("memory_mb")
    if now != wanted and can:
        draft.values["memory_kib"] = wanted


def _take_devices(name: str, devices: Sequence[tuple[ET.Element, ET.Element]], after: ET.Element, draft: _Draft) -> None:
    left = tree.devices(after)
    stats = _take_stats(name, devices, after, draft)
    for element, was in devices:
        if not any(element is one for one in left):
            _take_removed(name, was, draft)
        elif tree.text_of(element) != tree.text_of(was) and not stats:
            _take_changed(name, element, was, draft)
    for element in left:
        if not any(element is one for one, _was in devices):
            _take_added(name, element, draft)


def _take_stats(name: str, devices: Sequence[tuple[ET.Element, ET.Element]], after: ET.Element, draft: _Draft) -> bool:
    """Whether only the balloon's period of statistics changed."""
    if name != "ballooning":
        return False
    was = next((copied for _element, copied in devices if copied.tag == "memballoon"), None)
    now = after.find("devices/memballoon")
    if was is None or now is None:
        return False
    old, new = (tree.copy_of(one) for one in (was, now))
    tree.drop(old, "stats")
    tree.drop(new, "stats")
    if old.attrib != new.attrib or now.get("model") == "none":
        return False
    stats = now.find("stats")
    draft.values["stats_period"] = 0 if stats is None else int(stats.get("period", "0"))
    return True


def _label(name: str, element: ET.Element) -> str:
    if element.tag == "disk":
        return f"{name}[{edit_disks.target_of(element)}]"
    return f"{name}[{edit_cards.mac_of(element)}]" if element.tag == "interface" else name


def _can_be_plugged(element: ET.Element) -> bool:
    if element.tag == "disk":
        return element.get("device", "disk") in ("disk", "lun") and edit_disks.bus_of(element) in _PLUGGED_BUSES
    return element.tag == "interface" or (element.tag == "hostdev" and edit_devices.host_device(element) is not None)


def _take_removed(name: str, was: ET.Element, draft: _Draft) -> None:
    if _can_be_plugged(was):
        draft.detach.append(Device(was, _label(name, was)))
    else:
        draft.pending.append(_label(name, was))


def _take_added(name: str, element: ET.Element, draft: _Draft) -> None:
    if _can_be_plugged(element):
        draft.attach.append(Device(tree.copy_of(element), _label(name, element)))
    else:
        draft.pending.append(_label(name, element))


def _take_changed(name: str, element: ET.Element, was: ET.Element, draft: _Draft) -> None:
    if _changes_in_use(element, was):
        draft.update.append(Device(tree.copy_of(element), _label(name, was)))
    else:
        draft.pending.append(_label(name, was))


def _changes_in_use(element: ET.Element, was: ET.Element) -> bool:
    parts: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    if element.tag == "interface":
        if element.get("type") == "direct" or was.get("type") == "direct":
            return False
        parts, keys = _CARD_PARTS, ("type",)
    elif element.tag == "disk" and element.get("device") == "cdrom":
        parts, keys = ("source", "backingStore", "driver"), ("type",)
    elif element.tag == "graphics":
        keys = ("passwd", "passwdValidTo")
    else:
        return False
    return _without(element, parts, keys) == _without(was, parts, keys)


def _without(element: ET.Element, parts: Sequence[str], keys: Sequence[str]) -> str:
    copied = tree.copy_of(element)
    tree.drop(copied, *parts)
    tree.set_attributes(copied, **dict.fromkeys(keys))
    for one in copied.iter():
        one.tail = None
        one.text = (one.text or "").strip() or None
    return tree.text_of(copied)
