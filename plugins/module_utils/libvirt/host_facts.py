# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What a choice between hosts goes by, asked of libvirt: the host, the guests on it, and what it thinks of CPUs of others."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET  # what is parsed comes from libvirtd, which runs as root
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock
from ansible_collections.poolwright.virt.plugins.module_utils.errors import NotFound
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt import disk_room
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.faults import DefinitionRefused, Unsupported
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.guest import DomainState
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.guest_facts import Kept, guest_facts
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host, SeenStatistics
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.session import remote_name
from ansible_collections.poolwright.virt.plugins.module_utils.placement.facts import (
    CpuNeed,
    GuestFacts,
    HostFacts,
    Resident,
    Verdict,
    as_dict,
    guest_from,
)
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats

_NET_CLASS = "/sys/class/net"
_KIB = 1024
Result = dict[str, Any]


def read_host(params: Mapping[str, Any]) -> Result:
    """For ``libvirt_host_info``."""
    clock = Clock()
    stats = Stats(clock)
    candidates = [guest_from(one, f"candidates[{number}]") for number, one in enumerate(params.get("candidates") or ())]
    host = Host(str(params["uri"]), clock, stats)
    try:
        seen = host.statistics()
        judged = judge(host, candidates)
        room = disk_room.room(disk_room.all_mounts(verdict.needs for _guest, verdict in judged))
        return {
            "changed": False,
            "host": as_dict(replace(host_facts(host, seen), room=room)),
            "guests": [as_dict(guest) for guest in guests_on(host, seen)] if params.get("guests") else [],
            "verdicts": {guest.uuid: as_dict(verdict) for guest, verdict in judged},
            "stats": stats.as_dict(),
        }
    finally:
        host.close()


def host_facts(host: Host, seen: Iterable[SeenStatistics]) -> HostFacts:
    """A handful of calls, whatever the number of guests.

    :param seen: ``Host.statistics``, which has all of them.
    """
    versions, told, memory = host.versions(), host.capabilities(), host.memory()
    return HostFacts(
        hostname=host.hostname(),
        uuid=told.uuid,
        arch=told.arch,
        libvirt=versions.libvirt,
        hypervisor=versions.hypervisor,
        cpus=host.cpus(),
        memory_mb=memory.total // _KIB,
        available_mb=memory.available // _KIB,
        cpu=told.cpu,
        cpu_model=told.cpu_model,
        machines=told.machines,
        networks=tuple(sorted(name for name, network in host.networks.all().items() if network.active)),
        devices=_devices(host),
        residents=tuple(sorted((_resident(one) for one in seen), key=lambda one: one.name)),
    )


def _devices(host: Host) -> tuple[str, ...] | None:
    """Bridges and cards: from libvirt, or where it does not know of them from this machine's kernel."""
    try:
        found = host.networks.interfaces()
        if not found and not remote_name(host.uri):
            found = frozenset(os.listdir(_NET_CLASS))
    except (Unsupported, OSError):
        return None
    return tuple(sorted(found)) or None


def _resident(one: SeenStatistics) -> Resident:
    return Resident(one.guest.name, one.guest.uuid, one.state is not DomainState.SHUTOFF, -(-_memory_kib(one) // _KIB), _cpus(one))


def _memory_kib(one: SeenStatistics) -> int:
    return int(one.stats.get("balloon.maximum", 0))


def _cpus(one: SeenStatistics) -> int:
    return int(one.stats.get("vcpu.current", 0)) or 1


def guests_on(host: Host, seen: Iterable[SeenStatistics]) -> list[GuestFacts]:
    """All guests with what they need, by name; four calls at most for each."""
    persistent, own_cpu = host.persistent_uuids(), host.capabilities().cpu
    found = []
    for one in sorted(seen, key=lambda entry: entry.guest.name):
        state = one.state.word
        try:
            lasts = one.guest.uuid in persistent
            current = one.guest.xml()
            definition = one.guest.definition() if lasts and state != "shutoff" else current
            kept = _kept(one)
        except NotFound:
            # It went while it was looked at.
            continue
        facts = guest_facts(current, definition, state, persistent=lasts, memory_kib=_memory_kib(one), cpus=_cpus(one), host_cpu=own_cpu, kept=kept)
        # Files of another host are not to be seen from here.
        files = {} if remote_name(host.uri) else disk_room.disk_files(ET.fromstring(current))  # noqa: S314 (libvirt wrote it)
        found.append(replace(facts, disk_files=files))
    return found


def _kept(one: SeenStatistics) -> Kept:
    """Snapshots, and the memory of one that is off; drivers that know of neither have none."""
    try:
        return Kept(one.guest.snapshots(), one.state is DomainState.SHUTOFF and one.guest.is_saved())
    except Unsupported:
        return Kept()


def judge(host: Host, guests: Iterable[GuestFacts]) -> list[tuple[GuestFacts, Verdict]]:
    """Whether this host can show each guest the CPU it needs, and what room its disks need.

    It is asked once for each kind of CPU, however many guests have it. What needs room is not seen of another host than this machine.
    """
    known: dict[tuple[object, ...], str] = {}

    def said(guest: GuestFacts, need: CpuNeed, *, live: bool) -> str:
        key = (need, guest.arch, guest.virt_type, guest.machine, live)
        if key not in known:
            known[key] = _verdict(host, guest, need, live=live)
        return known[key]

    def verdict(guest: GuestFacts) -> Verdict:
        live = said(guest, guest.live_cpu, live=True) if guest.active else ""
        return Verdict(live, said(guest, guest.cold_cpu, live=False), {} if remote_name(host.uri) else disk_room.needs(guest))

    return [(guest, verdict(guest)) for guest in guests]


def _verdict(host: Host, guest: GuestFacts, need: CpuNeed, *, live: bool) -> str:
    """Why not, in words; "" where it can."""
    if not need.mode:
        return ""
    if not live and need.mode != "custom":
        return _offered(host, guest, need.mode)
    if guest.virt_type != "kvm":
        # What an emulated CPU can do depends on QEMU alone.
        return ""
    if not need.xml:
        return f"cannot be compared with the host that it runs on, whose CPU a guest with {need.mode} has"
    try:
        if need.mode == "custom":
            match = host.match_cpu(need.xml, guest.virt_type, guest.machine, arch=guest.arch)
            return "" if match.fits else f"does not have its CPU: {match.why}"
        if host.match_cpu(need.xml).same:
            return ""
        return f"has another CPU than the host that it runs on, and a guest with {need.mode} moves live between equal ones only"
    except Unsupported as exc:
        return f"cannot compare CPUs: {exc.message}"
    except DefinitionRefused as exc:
        # A model or a feature that this host's libvirt has never heard of.
        return f"does not know its CPU: {exc.message}"


def _offered(host: Host, guest: GuestFacts, mode: str) -> str:
    found = host.domain_capabilities(guest.virt_type, guest.machine, guest.arch)
    return "" if found is None or mode in found.cpu_modes else f"does not offer the CPU mode {mode}"
