# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Which host takes a guest: the least used of those that can, and for each other one the reason. Pure."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ansible_collections.poolwright.virt.plugins.module_utils.placement.balance import MARGIN, Load, better, least_used
from ansible_collections.poolwright.virt.plugins.module_utils.placement.facts import GuestFacts, HostFacts, Verdict


class Mode(str, enum.Enum):
    """How a guest moves: as it runs, or off and started again."""

    LIVE = "live"
    COLD = "cold"


@dataclass(frozen=True)
class Rules:
    """What counts as full, and what as fuller.

    :ivar reserve_mb: MiB that are left free on each host.
    :ivar memory_overcommit: how often a host's memory may be promised to guests; what is in use now is never promised again.
    :ivar cpu_overcommit: how many virtual CPUs there may be for each of the host's.
    :ivar disk_reserve_mb: MiB that are left free on each file system that disks are copied to.
    :ivar margin: the share of a host by which loads must differ to count as different, see ``balance``.
    """

    reserve_mb: int = 1024
    memory_overcommit: float = 1.0
    cpu_overcommit: float = 16.0
    disk_reserve_mb: int = 1024
    margin: float = MARGIN


@dataclass(frozen=True)
class Candidate:
    """A host that may take guests, with what it was promised since its facts were read.

    :ivar name: in the inventory.   :ivar closed: why it takes none whatever they need, "" where it does.
    :ivar verdicts: on the CPUs of guests, by their UUIDs.
    """

    name: str
    facts: HostFacts
    closed: str = ""
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    promised_mb: int = 0
    promised_cpus: int = 0
    promised_names: frozenset[str] = frozenset()
    promised_room: Mapping[str, int] = field(default_factory=dict)

    def free_mb(self, rules: Rules) -> int:
        """MiB that further guests can have: of what is not in use, and of what is promised to nobody."""
        unpromised = int(self.facts.memory_mb * rules.memory_overcommit) - self.facts.committed_mb
        return min(self.facts.available_mb, unpromised) - self.promised_mb - rules.reserve_mb

    def free_cpus(self, rules: Rules) -> int:
        return int(self.facts.cpus * rules.cpu_overcommit) - self.facts.committed_cpus - self.promised_cpus

    def needs(self, guest: GuestFacts) -> Mapping[str, int]:
        """MiB by mount point that copying its disks takes."""
        verdict = self.verdicts.get(guest.uuid)
        return {} if verdict is None else verdict.needs

    def share_with(self, guest: GuestFacts, rules: Rules) -> float:
        """How full it is with the guest on it, from 0 to 1: by what there is less of."""
        memory, cpus = max(1, self.facts.memory_mb), max(1.0, self.facts.cpus * rules.cpu_overcommit)
        left_mb = self.free_mb(rules) + rules.reserve_mb - guest.memory_mb
        return max(1 - left_mb / memory, 1 - (self.free_cpus(rules) - guest.cpus) / cpus)

    def load_with(self, guest: GuestFacts, rules: Rules) -> Load:
        """The host as one that can take the guest."""
        memory, cpus = max(1, self.facts.memory_mb), max(1.0, self.facts.cpus * rules.cpu_overcommit)
        promised = max((self.promised_mb + guest.memory_mb) / memory, (self.promised_cpus + guest.cpus) / cpus)
        return Load(self.name, self.share_with(guest, rules), promised)

    def promising(self, guest: GuestFacts, mode: Mode) -> Candidate:
        """The host with the guest on its way to it."""
        takes = load_of(guest, mode)
        room = {**self.promised_room}
        for mount, mib in self.needs(guest).items():
            room[mount] = room.get(mount, 0) + mib
        return replace(
            self,
            promised_mb=self.promised_mb + takes[0],
            promised_cpus=self.promised_cpus + takes[1],
            promised_names=self.promised_names | {guest.name},
            promised_room=room,
        )


@dataclass(frozen=True)
class Choice:
    """``target`` is "" where no host can take the guest; ``rejected`` says of each host that cannot why, by its name.

    :ivar share: how full it is with the guest on it.   :ivar fitting: how many hosts can take the guest.
    :ivar least: whether none of them is less full with it.
    """

    target: str
    share: float = 0.0
    fitting: int = 0
    least: bool = True
    rejected: Mapping[str, str] = field(default_factory=dict)


def load_of(guest: GuestFacts, mode: Mode) -> tuple[int, int]:
    """MiB and CPUs that a guest takes once it is there: none while it is off."""
    return (0, 0) if mode is Mode.COLD and not guest.active else (guest.memory_mb, guest.cpus)


def choose(guest: GuestFacts, source: HostFacts, mode: Mode, hosts: Sequence[Candidate], rules: Rules) -> Choice:
    """The host for a guest that leaves its own: one that is least used with the guest on it. ``hosts`` are others than ``source``."""
    loads, rejected = _loads(guest, source, mode, hosts, rules)
    return _chosen(least_used(loads, rules.margin) if loads else None, loads, rejected)


def choose_better(guest: GuestFacts, source: HostFacts, mode: Mode, hosts: Sequence[Candidate], rules: Rules) -> Choice:
    """The host that a guest gains by moving to; ``target`` is "" where it is well placed. ``hosts`` are others than ``source``."""
    loads, rejected = _loads(guest, source, mode, hosts, rules)
    here = Candidate("", source).share_with(_NOTHING, rules)
    return _chosen(better(loads, here, rules.margin), loads, rejected)


_NOTHING = GuestFacts("", "", "shutoff", memory_mb=0, cpus=0)


def _loads(guest: GuestFacts, source: HostFacts, mode: Mode, hosts: Sequence[Candidate], rules: Rules) -> tuple[list[Load], dict[str, str]]:
    """The hosts that can take a guest, and why the others cannot."""
    reasons = {host.name: rejection(host, guest, source, mode, rules) for host in hosts}
    loads = [host.load_with(guest, rules) for host in hosts if not reasons[host.name]]
    return loads, {name: reason for name, reason in reasons.items() if reason}


def _chosen(load: Load | None, loads: Sequence[Load], rejected: Mapping[str, str]) -> Choice:
    if load is None:
        return Choice("", fitting=len(loads), rejected=rejected)
    return Choice(load.name, load.share, len(loads), load.share <= min(one.share for one in loads), rejected)


def rejection(host: Candidate, guest: GuestFacts, source: HostFacts, mode: Mode, rules: Rules) -> str:
    """Why a host cannot take a guest, "" if it can. What no free space would mend comes first."""
    checks = (_itself, _names, _kind, _versions, _cpu, _networks, _room, _disk_room)
    for check in checks:
        reason = check(host, guest, source, mode, rules)
        if reason:
            return reason
    return ""


def _itself(host: Candidate, _guest: GuestFacts, source: HostFacts, _mode: Mode, _rules: Rules) -> str:
    if host.closed:
        return host.closed
    return "is the host that the guest is on" if host.facts.uuid and host.facts.uuid == source.uuid else ""


def _names(host: Candidate, guest: GuestFacts, _source: HostFacts, _mode: Mode, _rules: Rules) -> str:
    for other in host.facts.residents:
        if other.name == guest.name:
            return "has another guest of its name"
    return "is to take another guest of its name" if guest.name in host.promised_names else ""


def _kind(host: Candidate, guest: GuestFacts, _source: HostFacts, _mode: Mode, _rules: Rules) -> str:
    offered = host.facts.machines
    if not any(kind.partition("/")[0] == guest.arch for kind in offered):
        return f"runs no guests of architecture {guest.arch}"
    machines = offered.get(f"{guest.arch}/{guest.virt_type}")
    if machines is None:
        return f"runs no {guest.virt_type} guests"
    return f"does not have the machine type {guest.machine}" if guest.machine and guest.machine not in machines else ""


def _versions(host: Candidate, guest: GuestFacts, source: HostFacts, mode: Mode, _rules: Rules) -> str:
    if mode is Mode.COLD:
        return ""
    # A running guest takes its devices' state along, which an older QEMU cannot read.
    if host.facts.hypervisor < source.hypervisor:
        return f"has QEMU {version(host.facts.hypervisor)}, which is older than the {version(source.hypervisor)} that it runs in"
    # What "maximum" stands for is each QEMU's own.
    if guest.live_cpu.mode == "maximum" and host.facts.hypervisor != source.hypervisor:
        return f"has QEMU {version(host.facts.hypervisor)}, and a guest with CPU mode maximum moves between equal ones only ({version(source.hypervisor)})"
    return ""


def _cpu(host: Candidate, guest: GuestFacts, _source: HostFacts, mode: Mode, _rules: Rules) -> str:
    if not (guest.live_cpu if mode is Mode.LIVE else guest.cold_cpu).mode:
        return ""
    verdict = host.verdicts.get(guest.uuid)
    if verdict is None:
        return "was not asked about its CPU"
    return verdict.live if mode is Mode.LIVE else verdict.cold


def _networks(host: Candidate, guest: GuestFacts, _source: HostFacts, _mode: Mode, _rules: Rules) -> str:
    for name in guest.networks:
        if name not in host.facts.networks:
            return f"does not have the network {name}, or it is not active"
    for name in guest.devices if host.facts.devices is not None else ():
        if name not in (host.facts.devices or ()):
            return f"does not have the bridge or card {name}"
    return ""


def _room(host: Candidate, guest: GuestFacts, _source: HostFacts, mode: Mode, rules: Rules) -> str:
    memory_mb, cpus = load_of(guest, mode)
    if guest.memory_mb > host.facts.memory_mb - rules.reserve_mb:
        return f"has {host.facts.memory_mb} MiB of memory in all, {rules.reserve_mb} of them kept free, and it takes {guest.memory_mb}"
    free_mb = host.free_mb(rules)
    if memory_mb > free_mb:
        return f"has {max(0, free_mb)} MiB of memory left for guests, and it takes {memory_mb}"
    free_cpus = host.free_cpus(rules)
    if cpus > free_cpus:
        return f"has {max(0, free_cpus)} virtual CPUs left, and it takes {cpus}"
    return ""


def _disk_room(host: Candidate, guest: GuestFacts, _source: HostFacts, _mode: Mode, rules: Rules) -> str:
    for mount, mib in host.needs(guest).items():
        if mount in host.facts.room:
            left = host.facts.room[mount] - host.promised_room.get(mount, 0) - rules.disk_reserve_mb
            if mib > left:
                return f"has {max(0, left)} MiB left on {mount} for disks that are copied, and those of this guest take {mib}"
    return ""


def version(number: int) -> str:
    """As people write it: 7002022 is 7.2.22."""
    return f"{number // 1000000}.{number // 1000 % 1000}.{number % 1000}"
