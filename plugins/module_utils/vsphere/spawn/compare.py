# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What a machine lacks to be as described. Pure: no call, no clock."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.vsphere import devices
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.hardware import (
    Allocation,
    Card,
    card_model,
    cards_of,
    device_change,
    profile,
    replace_cards,
)
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.policies import Fit, Policy
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.description import Description, DiskWish, State
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.mark import CREATING, DESTROYING, ISO_NAME, ROOT_NAME, SpawnMark
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.observe import Seen

GIB = devices.GIB


class Needs(enum.Enum):
    """What a change takes."""

    NOTHING = "nothing"
    OFF = "a restart"
    REBUILD = "a rebuild"


@dataclass(frozen=True)
class Change:
    """One difference, as a person reads it."""

    what: str
    before: str
    after: str
    needs: Needs = Needs.NOTHING

    def as_dict(self) -> dict[str, str]:
        return {"what": self.what, "before": self.before, "after": self.after, "needs": self.needs.value}

    def __str__(self) -> str:
        return f"{self.what} {self.before or 'none'} -> {self.after or 'none'}"


@dataclass(frozen=True)
class Plan:
    """All differences, and what to reconfigure the machine with: ``config`` are arguments of ``hardware.config_spec``.

    ``policy`` is the storage policy that it shall have, and disks that are added
    to it with it; None is none in particular. ``power`` is ``on`` or ``off`` where the machine's own is not the wanted one, else "".
    """

    changes: tuple[Change, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    device_changes: tuple[Any, ...] = ()
    new_disks: tuple[DiskWish, ...] = ()
    power: str = ""
    policy: Policy | None = None

    def needing(self, needs: Needs) -> list[Change]:
        return [change for change in self.changes if change.needs is needs]

    @property
    def reconfigures(self) -> bool:
        return bool(self.config or self.device_changes or self.new_disks)


def compare(wanted: Description, seen: Seen, mark: SpawnMark, cards: Sequence[Card] | None, fit: Fit | None = None) -> Plan:
    """:param cards: the wanted networks, looked up; None leaves the machine's as they are.
    :param fit: the wanted storage policy, looked up; None where none is wanted, or that which the mark has.
    """
    config: dict[str, Any] = {}
    changes = [*_origin(wanted, seen, mark), *_hardware(wanted, seen, config), *_texts(wanted, seen, config)]
    card_changes = [] if cards is None else replace_cards(seen.devices, cards)
    if card_changes:
        changes.append(Change("networks", _shown(seen), ", ".join(f"{card.network.entry.name} ({card.model})" for card in cards or ())))
    disk_changes, grown, added = _disks(wanted, seen, mark)
    power = _power(wanted, seen)
    if power:
        changes.append(Change("power", "on" if seen.is_on else "off", power))
    policy, policy_changes = _policy(wanted, seen, mark, fit)
    if policy is not None and policy_changes:
        config["profile_id"] = policy.id
        grown = [*grown, *_with_policy(seen, mark, grown, policy)]
    return Plan((*changes, *policy_changes, *disk_changes), config, (*card_changes, *grown), added, power, policy)


def _origin(wanted: Description, seen: Seen, mark: SpawnMark) -> list[Change]:
    """What only another machine can have."""
    changes = []
    if wanted.image is None and not wanted.template:
        return []
    if not mark.is_from(wanted):
        changes.append(Change("source", f"template {mark.template}" if mark.template else "another image", wanted.source, Needs.REBUILD))
    elif mark.clone != wanted.clone:
        changes.append(Change("clone", mark.clone, wanted.clone, Needs.REBUILD))
    if wanted.firmware and seen.properties.get("config.firmware") != wanted.firmware:
        changes.append(Change("firmware", str(seen.properties.get("config.firmware", "")), wanted.firmware, Needs.REBUILD))
    digest = "" if wanted.seed is None else wanted.seed.digest(mark.id or mark.name)
    if digest != mark.seed:
        changes.append(Change("cloud-init's data", "as it was made with" if mark.seed else "", "as described" if digest else "", Needs.REBUILD))
    return changes


def _hardware(wanted: Description, seen: Seen, config: dict[str, Any]) -> list[Change]:
    hardware, properties = seen.properties["config.hardware"], seen.properties
    changes = []
    for key, what, now, then, hot in (
        ("cpus", "cpus", int(hardware.numCPU), wanted.cpus, bool(properties.get("config.cpuHotAddEnabled"))),
        ("memory_mb", "memory_mb", int(hardware.memoryMB), wanted.memory_mb, bool(properties.get("config.memoryHotAddEnabled"))),
        ("cores_per_socket", "cores_per_socket", int(hardware.numCoresPerSocket or 1), wanted.cores_per_socket, False),
    ):
        if then is not None and then != now:
            config[key] = then
            needs = Needs.OFF if seen.is_on and not (hot and then > now) else Needs.NOTHING
            changes.append(Change(what, str(now), str(then), needs))
    for key, now_info, limits in (
        ("cpu_limits", properties.get("config.cpuAllocation"), wanted.cpu_limits),
        ("memory_limits", properties.get("config.memoryAllocation"), wanted.memory_limits),
    ):
        before, after = _allocations(now_info, limits)
        if before != after:
            config[key] = limits
            changes.append(Change(key, before, after))
    return changes


def _allocations(now: Any, wanted: Allocation) -> tuple[str, str]:
    """What of it is wanted, as it is and as it shall be."""
    before, after = [], []
    for name, value in (("limit", wanted.limit), ("reservation", wanted.reservation), ("shares", wanted.shares)):
        if value is None:
            continue
        found = getattr(now, name, None)
        if name == "shares" and found is not None:
            found = found.shares if isinstance(value, int) else found.level
        before.append(f"{name} {found}")
        after.append(f"{name} {value}")
    return ", ".join(before), ", ".join(after)


def _texts(wanted: Description, seen: Seen, config: dict[str, Any]) -> list[Change]:
    changes = []
    needs_off = Needs.OFF if seen.is_on else Needs.NOTHING
    if wanted.guest_id and seen.properties.get("config.guestId") != wanted.guest_id:
        config["guest_id"] = wanted.guest_id
        changes.append(Change("guest_id", str(seen.properties.get("config.guestId", "")), wanted.guest_id, needs_off))
    if wanted.annotation is not None and (seen.properties.get("config.annotation") or "") != wanted.annotation:
        config["annotation"] = wanted.annotation
        changes.append(Change("annotation", repr(seen.properties.get("config.annotation") or ""), repr(wanted.annotation)))
    boot = seen.properties.get("config.bootOptions")
    secure = bool(boot is not None and boot.efiSecureBootEnabled)
    if wanted.secure_boot is not None and secure != wanted.secure_boot:
        config["secure_boot"] = wanted.secure_boot
        changes.append(Change("secure_boot", str(secure).lower(), str(wanted.secure_boot).lower(), needs_off))
    there = seen.extra_config
    other = {key: value for key, value in wanted.extra_config.items() if there.get(key, "") != value}
    if other:
        config["extra_config"] = other
        # Their values may be secret.
        changes.append(Change("extra_config", "", ", ".join(sorted(other))))
    return changes


def _disks(wanted: Description, seen: Seen, mark: SpawnMark) -> tuple[list[Change], list[Any], tuple[DiskWish, ...]]:
    listed = seen.devices
    by_place = {devices.place_of(listed, disk): disk for disk in devices.disks_of(listed)}
    root = next((disk for disk in devices.disks_of(listed) if devices.place_of(listed, disk) not in mark.disks), None)
    pairs: list[tuple[str, Any, float | None]] = [("disk", root, wanted.root_gb)]
    pairs += [(f"disks[{number}]", by_place.get(place), wish.size_gb) for number, (place, wish) in enumerate(zip(mark.disks, wanted.disks))]
    changes: list[Change] = []
    grown: list[Any] = []
    for what, disk, size_gb in pairs:
        if size_gb is None:
            continue
        if disk is None:
            changes.append(Change(what, "it was removed", f"{size_gb:g} GiB", Needs.REBUILD))
            continue
        now, then = devices.size_of(disk), int(size_gb * GIB)
        if now == then:
            continue
        shrinks_or_child = then < now or getattr(disk.backing, "parent", None) is not None
        ide_runs = seen.is_on and devices.adapter_of(listed, disk) == "ide"
        needs = Needs.REBUILD if shrinks_or_child else Needs.OFF if ide_runs else Needs.NOTHING
        changes.append(Change(what, f"{now / GIB:g} GiB", f"{then / GIB:g} GiB", needs))
        grown += [] if needs is Needs.REBUILD else [devices.grown_disk(disk, then)]
    added = wanted.disks[len(mark.disks) :]
    for number, wish in enumerate(added, len(mark.disks)):
        needs = Needs.OFF if seen.is_on and root is not None and devices.adapter_of(listed, root) == "ide" else Needs.NOTHING
        changes.append(Change(f"disks[{number}]", "", f"{wish.size_gb:g} GiB", needs))
    for number in range(len(wanted.disks), len(mark.disks)):
        changes.append(Change(f"disks[{number}]", "there", "", Needs.REBUILD))
    return changes, grown, tuple(added)


def _policy(wanted: Description, seen: Seen, mark: SpawnMark, fit: Fit | None) -> tuple[Policy | None, list[Change]]:
    """The policy that the machine shall have, and what that changes."""
    if fit is None:
        return (Policy(mark.policy, mark.policy_name) if wanted.storage_policy and mark.policy else None), []
    if fit.policy.id == mark.policy:
        return fit.policy, []
    homes = {DatastorePath.parse(path).datastore for path in (seen.home, *(devices.path_of(disk) for disk in _own_disks(seen, mark)))}
    # What would have to move to another datastore is made anew there.
    needs = Needs.NOTHING if homes <= set(fit.names) else Needs.REBUILD
    return fit.policy, [Change("storage_policy", mark.policy_name or mark.policy, fit.policy.name, needs)]


def _own_disks(seen: Seen, mark: SpawnMark) -> list[Any]:
    return [disk for disk in devices.disks_of(seen.devices) if mark.owns(devices.path_of(disk), seen.home)]


def _with_policy(seen: Seen, mark: SpawnMark, grown: Sequence[Any], policy: Policy) -> list[Any]:
    """The changes that give the machine's own disks the policy; one that grows gets it in that change, for there may be one of each disk."""
    changed = {change.device.key: change for change in grown}
    further = []
    for disk in _own_disks(seen, mark):
        if disk.key in changed:
            changed[disk.key].profile = [profile(policy.id)]
        else:
            further.append(device_change("edit", disk, profile_id=policy.id))
    return further


def _power(wanted: Description, seen: Seen) -> str:
    if wanted.state is State.ON and not seen.runs:
        return "on"
    return "off" if wanted.state is State.OFF and seen.is_on else ""


def _shown(seen: Seen) -> str:
    return ", ".join(f"{card.macAddress or 'a card'} ({card_model(card)})" for card in cards_of(seen.devices))


def removal(seen: Seen, mark: SpawnMark) -> tuple[SpawnMark, list[Any], list[str]]:
    """What goes before the machine itself: its mark then, the changes that take its disks off it, and what survives.

    A disk from elsewhere is taken off and stays. So is a child of a cached image, whose base is no other machine's: what removes it then
    removes that disk alone. Disks in further directories of the machine's own go with them.
    """
    changes, doomed, kept = [], list(mark.doomed), []
    home = seen.home
    disks = devices.disks_of(seen.devices)
    for disk in disks:
        path = devices.path_of(disk)
        if not mark.owns(path, home):
            kept.append(path)
        elif (mark.child and getattr(disk.backing, "parent", None) is not None) or not SpawnMark("", "").owns(path, home):
            doomed.append(path)
        else:
            continue
        changes.append(device_change("remove", disk))
    if mark.iso:
        changes += [device_change("remove", drive) for drive in devices.cdroms_of(seen.devices) if devices.path_of(drive) == mark.iso]
    if mark.state == CREATING:
        # It may have been interrupted before these were attached.
        directory = DatastorePath.parse(home).parent
        doomed += [str(directory.join(name)) for name in (ROOT_NAME, ISO_NAME)]
    paths = tuple(dict.fromkeys([*doomed, *([mark.iso] if mark.iso else [])]))
    return replace(mark, state=DESTROYING, doomed=paths, revision=mark.revision + 1), changes, kept
