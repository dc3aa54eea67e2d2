# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""How a guest moves, or why it cannot. Pure: nothing is touched before this has decided."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec
from ansible_collections.poolwright.virt.plugins.module_utils.migration.checks import misfits
from ansible_collections.poolwright.virt.plugins.module_utils.migration.facts import Disk, GuestFacts, HostFacts, Kept, SecretCopy, There
from ansible_collections.poolwright.virt.plugins.module_utils.migration.moves import CONVERTED, COPIED, SENT, SHARED, THERE, DiskMove
from ansible_collections.poolwright.virt.plugins.module_utils.migration.room import room_problems
from ansible_collections.poolwright.virt.plugins.module_utils.migration.wish import Mode, NewPlace, Storage, Wish

# QEMU gives back what it has cached of a disk as the guest leaves, since this version.
_DROPS_CACHE = 4_000_000


@dataclass(frozen=True)
class Plan:
    """How a guest moves.

    :ivar nvram: its firmware's variables are a file that the target has not got; QEMU itself takes it along as the guest runs.
    :ivar whole: disks are copied with all that they stand on.
    :ivar secrets: that are defined on the target before.
    :ivar proved: disks were seen to be the same on both hosts, whatever libvirt thinks of their storage.
    """

    live: bool
    moves: tuple[DiskMove, ...] = ()
    nvram: bool = False
    whole: bool = False
    proved: bool = False
    warnings: tuple[str, ...] = ()
    secrets: tuple[SecretCopy, ...] = ()

    @property
    def kept(self) -> tuple[Kept, ...]:
        """The snapshots that go with the disks."""
        return tuple(kept for move in self.of(COPIED, SENT) for kept in move.disk.kept)

    def of(self, *hows: str) -> tuple[DiskMove, ...]:
        return tuple(move for move in self.moves if move.how in hows)


def plan(guest: GuestFacts, source: HostFacts, target: HostFacts, wish: Wish) -> Plan:
    """:raises InvalidSpec: it cannot be moved like that; all faults are told."""
    live = guest.active and wish.mode is not Mode.COLD
    problems = misfits(guest, source, target, live=live)
    if wish.mode is Mode.LIVE and not guest.active:
        problems.append("mode: the guest is switched off; start it, or set mode: auto or cold")
    if wish.disks and guest.directory:
        problems.append("disks: it is a machine of a pool, whose description says where its disks are; change that")
    unknown = [one for one in (*(wish.copy_disks or ()), *(place.device for place in wish.disks)) if one not in {disk.device for disk in guest.disks}]
    problems += [f"it has no disk {one}; its disks are {', '.join(disk.device for disk in guest.disks) or 'none'}" for one in unknown]
    places = {place.device: place for place in wish.disks}
    moves = tuple(_move(disk, guest, target, wish, places.get(disk.device), live) for disk in guest.disks if disk.path)
    problems += [problem for move in moves for problem in _problems(move, target, source, wish, live)]
    whole = any(move.flat for move in moves)
    if whole and live:
        # QEMU copies either all disks with what they stand on, or none.
        moves = tuple(_flattened(move) for move in moves)
    problems += [problem for move in moves for problem in _snapshot_problems(move, target)]
    copying = [move for move in moves if move.how in (COPIED, SENT, CONVERTED) and move.disk.written]
    if wish.storage is Storage.COPY and not copying:
        problems.append("storage: copy was asked for, and there is no disk to copy: all are shared; use storage: auto or shared")
    if copying and live and wish.tuning.transport == "ssh":
        problems.append("transport: disks cannot be copied through libvirt's own connection while the guest runs; use tls, or mode: cold")
    nvram = bool(guest.nvram) and target.there.get(guest.nvram) is not There.SHARED
    if nvram and target.there.get(guest.nvram) is There.OTHER:
        problems.append(f"the target has another file {guest.nvram} already; remove it there")
    problems += room_problems(moves, guest, target, nvram=nvram)
    if problems:
        raise InvalidSpec([f"{guest.name}: {problem}" for problem in problems])
    proved = any(move.how == SHARED and move.disk.kind == "file" and move.disk.written for move in moves)
    return Plan(live, moves, nvram, whole, proved, tuple(_warnings(guest, source, target, moves, live)), target.secrets)


def _flattened(move: DiskMove) -> DiskMove:
    return DiskMove(move.disk, move.how, move.path, move.format, bool(move.disk.chain), move.place) if move.how == COPIED else move


def _move(disk: Disk, guest: GuestFacts, target: HostFacts, wish: Wish, place: NewPlace | None, live: bool) -> DiskMove:
    if place is not None:
        return DiskMove(disk, CONVERTED, _new_path(place, disk, guest), {"qcow2": "qcow2"}.get(place.backend, "raw"), True, place)
    if disk.kind != "file":
        return DiskMove(disk, SHARED, disk.path, disk.format)
    found = target.there.get(disk.path, There.ABSENT)
    if found is There.SHARED:
        return DiskMove(disk, SHARED, disk.path, disk.format)
    if found is There.SAME and disk.readonly:
        return DiskMove(disk, THERE, disk.path, disk.format)
    flat = any(target.there.get(base, There.ABSENT) not in (There.SHARED, There.SAME) for base, _format in disk.chain)
    return DiskMove(disk, COPIED if live and disk.written else SENT, disk.path, disk.format, flat)


def _new_path(place: NewPlace, disk: Disk, guest: GuestFacts) -> str:
    name = place.name or f"{guest.name}-{disk.device}"
    return {
        "flat": os.path.join(place.location, f"{name}.raw"),
        "qcow2": os.path.join(place.location, f"{name}.qcow2"),
    }.get(place.backend, f"{place.location}/{name}")


def _problems(move: DiskMove, target: HostFacts, source: HostFacts, wish: Wish, live: bool) -> Iterator[str]:
    disk = move.disk
    where = f"{disk.device} ({disk.path})"
    if move.how == CONVERTED:
        if disk.kind not in ("file", "block") or not disk.written:
            yield f"{where}: only a disk that is a file or a device, and is written, can be put elsewhere"
        elif disk.kind == "block" and disk.format != "raw":
            yield f"{where}: a device that holds the format {disk.format} cannot be put elsewhere; only raw ones can"
        if target.there.get(move.path, There.ABSENT) is not There.ABSENT:
            yield f"{where}: the target has a file {move.path} already; choose another name, or remove it there"
        return
    if disk.kind == "network" and disk.protocol == "rbd":
        return
    if disk.kind != "file":
        way = f"with mode: cold and disks: [{{target: {disk.device}, backend: qcow2, location: DIRECTORY}}]" if disk.kind == "block" else "first"
        yield f"{where}: whether a disk of the type {disk.kind} is the same on both hosts cannot be seen; move it to a file or to rbd {way}"
        return
    if move.how == SHARED:
        yield from _shared_problems(move, source, target, wish, where, live)
    elif move.how in (COPIED, SENT):
        yield from _copy_problems(move, target, wish, where)


def _shared_problems(move: DiskMove, source: HostFacts, target: HostFacts, wish: Wish, where: str, live: bool) -> Iterator[str]:
    disk = move.disk
    if wish.copy_disks and disk.device in wish.copy_disks:
        yield f"copy_disks: {where} is the same file on both hosts, and a copy would overwrite it; leave it out"
    for base, _format in disk.chain:
        if target.there.get(base, There.ABSENT) not in (There.SHARED, There.SAME):
            yield f"{where}: it stands on {base}, which the target {'has another of' if base in target.there else 'has not got'}; bring the same file there"
    if live and disk.written and disk.cache == "unsafe":
        yield f"{where}: with cache: unsafe its last writes may be in this host's memory only; set another cache mode, or use mode: cold"
    old = min(source.versions.hypervisor, target.versions.hypervisor) < _DROPS_CACHE
    if live and disk.written and old and disk.cache not in ("none", "directsync"):
        yield f"{where}: this QEMU keeps what it cached of a shared disk; set cache: none, or use mode: cold"


def _copy_problems(move: DiskMove, target: HostFacts, wish: Wish, where: str) -> Iterator[str]:
    disk = move.disk
    if wish.storage is Storage.SHARED:
        hint = f"use storage: auto, or share {os.path.dirname(disk.path)}"
        yield f"{where} is not the same file on both hosts, and storage: shared lets nothing be copied; {hint}"
    elif disk.written and wish.copy_disks is not None and disk.device not in wish.copy_disks:
        yield f"{where} is not the same file on both hosts, and copy_disks does not name it; add {disk.device}"
    if target.there.get(disk.path, There.ABSENT) is not There.ABSENT:
        yield f"{where}: the target has another file of this name already; remove it there, or rename this one"
    if disk.written and disk.format not in ("raw", "qcow2"):
        yield f"{where}: disks of the format {disk.format or 'that is not given'} cannot be made on another host; convert it to raw or qcow2"


def _snapshot_problems(move: DiskMove, target: HostFacts) -> Iterator[str]:
    """A snapshot travels with its disk, or the disk does not: whoever moves a guest does not mean to lose what it could go back to."""
    disk = move.disk
    if move.how not in (COPIED, SENT, CONVERTED):
        return
    where = f"{disk.device} ({disk.path})"
    names = ", ".join(kept.path[len(disk.path) + 1 :] for kept in disk.kept)
    if disk.inside and (move.how == COPIED or move.flat):
        moved = "is copied from what the guest sees, which" if move.how == COPIED else "is made anew, which"
        way = "; mode: cold sends the file as it is" if move.how == COPIED and not move.flat else ""
        yield f"{where} has {disk.inside} snapshots inside its file, and it {moved} has none of them; delete them (qemu-img snapshot -d){way}"
    if disk.kept and move.how == CONVERTED:
        yield f"{where} has the snapshots {names}, which do not go to another place; delete them (libvirt_guest with snapshot), or leave it out of disks"
    elif disk.kept and move.flat:
        base = next((path for path, _format in disk.chain if target.there.get(path, There.ABSENT) not in (There.SHARED, There.SAME)), disk.chain[0][0])
        lacking = base not in target.there or target.there[base] is There.OTHER
        remedy = f"bring that image there with image_cache, or delete them (libvirt_guest with snapshot){'' if lacking else ', or use mode: cold'}"
        why = "which the target has not got" if lacking else "which this disk is copied with, since another one's base is not on the target"
        yield f"{where} has the snapshots {names}, which stand on {base}, {why}; {remedy}"
    for kept in disk.kept:
        if kept.path in target.there:
            yield f"{where}: the target has another file {kept.path} already; remove it there"


def _warnings(guest: GuestFacts, source: HostFacts, target: HostFacts, moves: Iterable[DiskMove], live: bool) -> Iterator[str]:
    for move in moves:
        if move.how == CONVERTED and move.disk.kind == "block":
            yield f"{guest.name}: {move.disk.path} stays on {source.name}; remove it there when nobody needs it any more"
    if live and target.versions.hypervisor < source.versions.hypervisor:
        yield f"{guest.name}: the target's QEMU is older; a guest may go to a newer one only without risk"
