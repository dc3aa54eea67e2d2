# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Looking at a guest and at both hosts, before anything is decided."""

from __future__ import annotations

import os
import secrets
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import NotFound, OperationFailed
from ansible_collections.poolwright.virt.plugins.module_utils.guests import tree
from ansible_collections.poolwright.virt.plugins.module_utils.guests.power import name_of
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.faults import Unsupported
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.guest import Guest
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.volumes import Directory, Volume
from ansible_collections.poolwright.virt.plugins.module_utils.migration.facts import Disk, GuestFacts, HostFacts, There, guest_facts, paths_of

_PROBE = ".poolwright-probe-"
_LONGEST_CHAIN = 50


def guest_seen(host: Host, guest: Guest, domain: ET.Element, state: str) -> GuestFacts:
    """:param domain: as it runs, or its definition.

    :raises NotFound: one of its disks is not there.
    """
    facts = guest_facts(domain, state)
    with _Files(host) as files:
        disks = tuple(_sized(disk, facts, guest, files) for disk in facts.disks)
        nvram = files.find(facts.nvram) if facts.nvram else None
    persistent = guest.is_persistent()
    return replace(
        facts,
        disks=disks,
        nvram="" if nvram is None else facts.nvram,
        nvram_size=0 if nvram is None else nvram.size,
        persistent=persistent,
        autostart=persistent and guest.autostarts(),
        snapshots=guest.snapshots(),
        saved=persistent and guest.is_saved(),
    )


class _Files:
    """Files of a host, each directory opened once."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._stack = ExitStack()
        self._open: dict[str, tuple[Directory | None, frozenset[str]]] = {}

    def __enter__(self) -> _Files:
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    def directory(self, path: str) -> tuple[Directory | None, frozenset[str]]:
        if path not in self._open:
            found = self._stack.enter_context(self._host.directory(path))
            self._open[path] = (found, frozenset() if found is None else found.names())
        return self._open[path]

    def find(self, path: str) -> Volume | None:
        found, names = self.directory(os.path.dirname(path))
        return found.find(os.path.basename(path)) if found is not None and os.path.basename(path) in names else None


def _sized(disk: Disk, facts: GuestFacts, guest: Guest, files: _Files) -> Disk:
    if not disk.path or disk.kind not in ("file", "block"):
        return disk
    size = guest.disk_size(disk.device) if facts.active or disk.kind == "block" else 0
    if disk.kind == "block":
        return replace(disk, size=size)
    volume = files.find(disk.path)
    if volume is None:
        hint = "bring it back, or take the disk off the guest"
        raise NotFound(f"its disk {disk.device} is not there: {disk.path}", obj=facts.name, phase="check", hint=hint)
    # A raw disk has what its guest wrote, and no header of ours.
    size = size or (volume.size if disk.format == "raw" else volume.capacity)
    chain = disk.chain
    if disk.format == "qcow2" and not chain:
        chain = _bases(volume, files, facts.name)
    return replace(disk, size=size, file_size=volume.size, chain=chain)


def _bases(volume: Volume, files: _Files, name: str) -> tuple[tuple[str, str], ...]:
    """What an overlay of a guest that is off stands on, as its headers say: they name formats, so none is guessed."""
    found: list[tuple[str, str]] = []
    backing = volume.backing
    while backing is not None:
        if not os.path.isabs(backing[0]) or not backing[1] or len(found) >= _LONGEST_CHAIN:
            hint = "write it in full with qemu-img rebase -u -b PATH -F FORMAT"
            raise OperationFailed(f"{volume.path} stands on {backing[0]}, and not by a full path and format", obj=name, phase="check", hint=hint)
        found.append(backing)
        below = files.find(backing[0]) if backing[1] == "qcow2" else None
        backing = None if below is None else below.backing
    return tuple(found)


# -- the two hosts


@dataclass
class Known:
    """What was read once in a run for several guests: SHA-256 of files that are on both hosts."""

    digests: dict[tuple[str, str], str] = field(default_factory=dict)


def source_seen(host: Host) -> HostFacts:
    capabilities = host.capabilities()
    return HostFacts(host.hostname(), capabilities.uuid, host.driver(), capabilities.arch, host.versions())


def target_seen(host: Host, source: Host, guest: GuestFacts, known: Known, extra: Iterable[str], deadline: Deadline) -> HostFacts:
    """:param extra: further paths that are to be looked for on the target."""
    capabilities = host.capabilities()
    able = host.domain_capabilities(guest.virt_type, guest.machine, guest.arch)
    same_name, same_uuid = host.guest(guest.name), host.guest_of(guest.uuid)
    there, directories = _paths(host, source, guest, tuple(extra), known, deadline)
    return HostFacts(
        name=host.hostname(),
        uuid=capabilities.uuid,
        driver=host.driver(),
        arch=capabilities.arch,
        versions=host.versions(),
        memory=host.memory().available,
        networks={name: network.active for name, network in host.networks.all().items()} if guest.networks else {},
        bridges=_bridges(host) if guest.bridges else None,
        cpu_fits=_cpu_fits(host, source, guest),
        max_cpus=0 if able is None else able.max_vcpus,
        name_taken="" if same_name is None else same_name.uuid,
        uuid_taken="" if same_uuid is None else same_uuid.name,
        there=there,
        directories=directories,
        secrets=host.secrets.all() if guest.secrets else frozenset(),
    )


def _cpu_fits(host: Host, source: Host, guest: GuestFacts) -> bool | None:
    if guest.virt_type != "kvm":
        # Emulated: every host emulates the same ones, and QEMU checks the version.
        return None
    if guest.cpu_mode == "host-passthrough":
        cpu = source.cpu()
        return host.compare_cpu(cpu) if cpu else None
    if guest.cpu_mode == "custom":
        return host.compare_cpu(guest.cpu, guest.virt_type, guest.machine)
    return None


def _bridges(host: Host) -> frozenset[str] | None:
    """Cards and bridges by their names in the kernel; None where the host does not tell."""
    try:
        return host.networks.interfaces() or None
    except (Unsupported, OperationFailed):
        return None


def _paths(target: Host, source: Host, guest: GuestFacts, extra: tuple[str, ...], known: Known, deadline: Deadline) -> tuple[dict[str, There], frozenset[str]]:
    """What the target has of the source's files. A directory that both have may be one, or two of one name."""
    paths = (*paths_of(guest), *extra)
    found: dict[str, There] = {}
    exist = set()
    with _Files(source) as here, _Files(target) as yonder:
        for directory in dict.fromkeys(os.path.dirname(path) for path in paths):
            mine, (theirs, names) = here.directory(directory)[0], yonder.directory(directory)
            if theirs is None:
                continue
            exist.add(directory)
            shared = mine is not None and _is_shared(mine, theirs, guest)
            for path in paths:
                name = os.path.basename(path)
                if os.path.dirname(path) != directory or name not in names:
                    continue
                found[path] = There.SHARED if shared else There.OTHER
                if not shared and _may_be_same(path, guest) and _same_bytes(mine, theirs, name, known, deadline):
                    found[path] = There.SAME
    return found, frozenset(exist)


def _is_shared(mine: Directory, theirs: Directory, guest: GuestFacts) -> bool:
    """A file that is made here is seen there at once, or these are two directories."""
    own = f"{_PROBE}{guest.uuid}-"
    for stale in [name for name in mine.names() if name.startswith(own)]:
        mine.delete(stale)
    name = f"{own}{secrets.token_hex(8)}"
    mine.create(name, "raw", 512)
    try:
        return name in theirs.names()
    finally:
        mine.delete(name)


def _may_be_same(path: str, guest: GuestFacts) -> bool:
    """Only what nobody writes can be had in two places."""
    return all(disk.path != path or not disk.written for disk in guest.disks) and path != guest.nvram


def _same_bytes(mine: Directory | None, theirs: Directory, name: str, known: Known, deadline: Deadline) -> bool:
    if mine is None:
        return False
    one, other = mine.find(name), theirs.find(name)
    if one is None or other is None or one.size != other.size:
        return False
    digests = []
    for side, directory in (("here", mine), ("there", theirs)):
        key = (side, os.path.join(directory.path, name))
        if key not in known.digests:
            known.digests[key] = directory.digest(name, deadline)[0]
        digests.append(known.digests[key])
    return digests[0] == digests[1]


# -- the guest itself


def state_of(guest: Guest | None) -> str:
    if guest is None:
        return "absent"
    try:
        return name_of(guest.state())
    except NotFound:
        return "absent"


def domain_of(guest: Guest) -> ET.Element:
    """As it runs, or its definition."""
    return tree.parse(guest.current())
