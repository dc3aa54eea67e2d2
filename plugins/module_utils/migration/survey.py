# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Looking at a guest and at both hosts, before anything is decided."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from secrets import token_hex

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import NotFound, OperationFailed
from ansible_collections.poolwright.virt.plugins.module_utils.guests import tree
from ansible_collections.poolwright.virt.plugins.module_utils.guests.power import name_of
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.files import SNAPSHOT_MARK
from ansible_collections.poolwright.virt.plugins.module_utils.images import qcow2_header
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.faults import Unsupported
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.guest import Guest
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.volumes import Directory, Volume
from ansible_collections.poolwright.virt.plugins.module_utils.migration.facts import Disk, GuestFacts, HostFacts, Kept, Room, There, guest_facts, paths_of
from ansible_collections.poolwright.virt.plugins.module_utils.migration.keys import secrets_wanting

_PROBE = ".poolwright-probe-"
_LONGEST_CHAIN = 50


def guest_seen(host: Host, guest: Guest, domain: ET.Element, state: str, deadline: Deadline) -> GuestFacts:
    """:param domain: as it runs, or its definition.

    :raises NotFound: one of its disks is not there.
    """
    facts = guest_facts(domain, state)
    with _Files(host) as files:
        disks = tuple(_sized(disk, facts, guest, files, deadline) for disk in facts.disks)
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


def _sized(disk: Disk, facts: GuestFacts, guest: Guest, files: _Files, deadline: Deadline) -> Disk:
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
    below = sum(base.allocated for base in (files.find(path) for path, _format in chain) if base is not None)
    kept = _kept(disk, files) if disk.own else ()
    inside = _inside(disk, files, deadline) if disk.format == "qcow2" else 0
    return replace(disk, size=size, file_size=volume.size, chain=chain, allocated=volume.allocated, below=below, kept=kept, inside=inside)


def _kept(disk: Disk, files: _Files) -> tuple[Kept, ...]:
    folder, name = os.path.split(disk.path)
    names = sorted(one for one in files.directory(folder)[1] if one.startswith(f"{name}{SNAPSHOT_MARK}"))
    found = {os.path.join(folder, one): files.find(os.path.join(folder, one)) for one in names}
    return tuple(Kept(path, volume.size, volume.allocated) for path, volume in found.items() if volume is not None)


def _inside(disk: Disk, files: _Files, deadline: Deadline) -> int:
    folder, name = os.path.split(disk.path)
    directory = files.directory(folder)[0]
    header = None if directory is None else qcow2_header.parse(directory.head(name, qcow2_header.HEADER_BYTES, deadline))
    return 0 if header is None else header.snapshots


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


def target_seen(host: Host, source: Host, domain: ET.Element, guest: GuestFacts, known: Known, extra: Iterable[str], deadline: Deadline) -> HostFacts:
    """:param extra: further paths that are to be looked for on the target."""
    capabilities = host.capabilities()
    able = host.domain_capabilities(guest.virt_type, guest.machine, guest.arch)
    same_name, same_uuid = host.guest(guest.name), host.guest_of(guest.uuid)
    looked_for = (*paths_of(guest), *extra)
    there, directories = _paths(host, source, guest, looked_for, known, deadline)
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
        secrets=secrets_wanting(host, source, domain, guest.secrets) if guest.secrets else (),
        room=_rooms(host, {os.path.dirname(path) for path in looked_for if there.get(path) not in (There.SHARED, There.SAME)}),
    )


def _rooms(host: Host, folders: Iterable[str]) -> dict[str, Room]:
    """A directory that is not there gets the room of the one that it would be made in."""
    found: dict[str, Room] = {}
    for folder in folders:
        above = folder
        while folder not in found:
            with host.directory(above) as directory:
                if directory is not None:
                    found[folder] = Room(*directory.room())
            if above == os.path.dirname(above):
                break
            above = os.path.dirname(above)
    return found


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


def _paths(target: Host, source: Host, guest: GuestFacts, paths: tuple[str, ...], known: Known, deadline: Deadline) -> tuple[dict[str, There], frozenset[str]]:
    """What the target has of the source's files. A directory that both have may be one, or two of one name."""
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
    name = f"{own}{token_hex(8)}"
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
