# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The disks that are made for a guest: which are missing, which are to grow, and what is recorded of each."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import (
    Busy,
    InsufficientResources,
    InvalidSpec,
    NotFound,
    telling_where,
)
from ansible_collections.poolwright.virt.plugins.module_utils.guests.wish import Disk
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.base import Image
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.disks import CreatableDisk, DiskFromImage
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.records import DiskInfo, DiskRecord
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import CachedImage, ImageCache
from ansible_collections.poolwright.virt.plugins.module_utils.images.sparse import naming_storage_errors
from ansible_collections.poolwright.virt.plugins.module_utils.storage.contents import Contents, creatable, origin_of
from ansible_collections.poolwright.virt.plugins.module_utils.storage.record import Origin, OwnDisk
from ansible_collections.poolwright.virt.plugins.module_utils.storage.sources import Sources, is_seen
from ansible_collections.poolwright.virt.plugins.module_utils.storage.wish import DiskWish, renewed


@dataclass(frozen=True)
class Growth:
    """A disk of the guest's own that is to have ``size`` bytes."""

    own: OwnDisk
    size: int


@dataclass(frozen=True)
class StoragePlan:
    """``missing`` are made once the domain names them in its record; ``own`` is that record, whole. ``notes`` are for the user."""

    own: tuple[OwnDisk, ...] = ()
    missing: tuple[CreatableDisk, ...] = ()
    growth: tuple[Growth, ...] = ()
    notes: tuple[str, ...] = ()


def info_of(disk: Disk) -> DiskInfo:
    """How libvirt reaches it; touches nothing."""
    if disk.on is None:
        return DiskInfo("block" if disk.path.startswith("/dev/") else "file", disk.format, disk.path)
    return disk.on.place().libvirt_info()


class Storage:
    """Looks at disks and makes them.

    :param fetch: whether images may be brought to the cache; else one that is not there is only judged.
    """

    def __init__(self, cache: ImageCache, deadline: Deadline, *, fetch: bool) -> None:
        self._sources = Sources(cache, deadline, fetch=fetch)
        self._deadline = deadline

    def plan(self, wanted: Sequence[Disk], own: Sequence[OwnDisk], guest: str) -> StoragePlan:
        """:raises VirtError: one cannot be as it is wanted; nothing was touched."""
        recorded = {disk.key: disk for disk in own}
        kept, missing, growth, notes = dict(recorded), [], [], []
        for number, disk in enumerate(wanted):
            with telling_where(f"disks[{number}]"):
                known = None if disk.on is None else recorded.get(disk.on.key)
                if disk.on is None or (known is None and not disk.on.is_made):
                    _must_be_there(disk, guest, self._deadline)
                    continue
                place = disk.on.place()
                if known is None:
                    _must_not_be_there(place, guest, self._deadline)
                elif place.exists(self._deadline):
                    growth += _growth(known, disk.on)
                    notes += _notes(f"disks[{number}]", known, disk.on)
                    kept[known.key] = replace(known, made=True, options=renewed(known.options, disk.on.options))
                    continue
                elif known.made:
                    hint = "bring it back, name a new disk otherwise, or remove the guest with state: absent"
                    raise NotFound(f"its disk {known.record.path} is gone", obj=guest, phase="check", hint=hint)
                source = self._source(disk.on, known)
                made = creatable(disk.on, source, self._deadline)
                missing.append(made)
                kept[disk.on.key] = OwnDisk(place.location, place.name, _record_of(made), options=place.options, origin=origin_of(disk.on, source))
        self._check_space(missing, guest)
        sizes = {one.own.key: one.size for one in growth}
        now = [replace(disk, record=replace(disk.record, size=sizes.get(key, disk.record.size))) for key, disk in kept.items()]
        return StoragePlan(tuple(now), tuple(missing), tuple(growth), tuple(notes))

    def _source(self, disk: DiskWish, known: OwnDisk | None) -> CachedImage | Contents:
        if not disk.is_made and known is None:
            raise InvalidSpec([f"{disk.name}: the disk is gone, and nothing says what it is to be made from; give image, or size_gb"])
        size = disk.size if disk.size is not None or known is None else known.record.size or None
        return self._sources.of(replace(disk, size=size))

    def _check_space(self, missing: Sequence[CreatableDisk], guest: str) -> None:
        """Room for what disks take at once where that can be told; what the guest writes later comes on top."""
        needed: dict[str, int] = {}
        for disk in missing:
            if os.path.isabs(disk.disk.location) and not disk.disk.location.startswith("/dev/"):
                directory = _existing(disk.disk.location)
                # A blank disk has holes where nothing was written.
                amount = disk.required_bytes() if isinstance(disk, DiskFromImage) else 0
                needed[directory] = needed.get(directory, 0) + amount
        for directory, amount in needed.items():
            free = shutil.disk_usage(directory).free
            if amount > free:
                hint = "free some space, or choose another location"
                raise InsufficientResources(f"its disks need {amount} bytes, {directory} has {free} free", obj=guest, phase="check", hint=hint)


def _record_of(made: CreatableDisk) -> DiskRecord:
    """As it will be made; of 0 bytes where that follows from an image that nobody has seen yet."""
    found = made.record()
    unseen = isinstance(made, DiskFromImage) and not is_seen(made.image)
    return replace(found, size=made.size or 0) if unseen else found


def _notes(where: str, known: OwnDisk, disk: DiskWish) -> list[str]:
    """What is on a disk is said once: when it is made."""
    asked, made = Origin.of(disk), known.origin
    if made == Origin() or (disk.image is None and disk.content is None):
        return []
    mirrored = "" != asked.checksum == made.checksum
    same = mirrored or (asked.source, asked.content) == (made.source, made.content)
    return [] if same else [f"{where}: {known.record.path} was made from {made}, and stays so; to have it from {asked}, name a new disk"]


def _growth(known: OwnDisk, disk: DiskWish) -> list[Growth]:
    if disk.size is None or disk.size == known.record.size:
        return []
    if disk.size < known.record.size:
        raise InvalidSpec([f"{known.record.path}: a disk of {known.record.size} bytes cannot shrink to {disk.size}; give its size, or a larger one"])
    return [Growth(known, disk.size)]


def _must_be_there(disk: Disk, guest: str, deadline: Deadline) -> None:
    there = os.path.exists(disk.path) if disk.on is None else disk.on.place().exists(deadline)
    if not there:
        hint = "correct its path" if disk.on is None else "say what it is to be made from: image, content, or size_gb for a blank one"
        raise NotFound(f"there is no disk {disk.label}", obj=guest, phase="check", hint=hint)


def _must_not_be_there(place: Image, guest: str, deadline: Deadline) -> None:
    if place.exists(deadline):
        raise Busy(
            f"there is a disk {place.name} already, and it was not made for this guest",
            obj=guest,
            phase="check",
            hint="leave out image, content and size_gb to use it as it is, name the guest's disk otherwise, or remove it",
        )


def _existing(path: str) -> str:
    while not os.path.lexists(path) and os.path.dirname(path) != path:
        path = os.path.dirname(path)
    return path


def remove_disks(own: Sequence[OwnDisk], deadline: Deadline) -> list[str]:
    """Remove what was made for a guest; the paths of those that were there."""
    removed = []
    for disk in own:
        with naming_storage_errors(disk.record.path, "remove"):
            if disk.place().remove(deadline):
                removed.append(disk.record.path)
    return removed
