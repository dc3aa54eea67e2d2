# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Logical volumes: thin ones are snapshots of a base volume made once per image, thick ones are copies.

A thick copy-on-write snapshot of a base is not offered: it cannot be larger than its base nor have snapshots, every
first write to it costs two, and it is lost when its store is full.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import replace
from typing import IO

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy, InvalidSpec, NotFound
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend import base, files, makers, streams
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.base import Image, disk_size, grown_size, whole_sectors
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.notes import GroupNote, Note
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.options import DEFAULT_OPTIONS, DiskOptions
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.records import Base, DiskInfo, DiskRecord
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.volume_bases import Bases
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.volume_group import OWNER_TAG, Volume, VolumeGroup, tag
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.volume_making import Making
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import CachedImage
from ansible_collections.poolwright.virt.plugins.module_utils.images.sparse import naming_storage_errors

_PLACE = r"[A-Za-z0-9_+.][A-Za-z0-9_+.-]{0,126}"
_LOCATION = re.compile(rf"({_PLACE})(?:/({_PLACE}))?")
_LONGEST = 100  # 127 with the group's name, hyphens doubled, is what device mapper takes
_INSIDE = "cdata|cmeta|corig|cpool|cvol|imeta|iorig|mimage|mlog|pmspare|rimage|rmeta|tdata|tmeta|vdata|vorigin|wcorig"
_LVMS_OWN = re.compile(rf"(snapshot|pvmove).*|.*_({_INSIDE}).*")
_ATTEMPTS = 4  # at a snapshot, each of which somebody else's pruning may leave without its base
_EXTENT = 4 * 1024 * 1024  # LVM's own default; only for what is said to be needed


class Lvm(Image):
    """``/dev/<group>/<name>``: thin where the location names a pool, thick where not.

    The tag ``poolwright`` says that a volume is ours. A volume has its name from the one command that finishes it:
    until then it is called after its maker. Its tag ``size`` is what was asked for, the volume itself whole extents.
    """

    backend = "lvm"
    options_taken = frozenset({"clear"})

    def __init__(self, location: str, name: str, options: DiskOptions = DEFAULT_OPTIONS) -> None:
        super().__init__(location, name, options)
        group, _slash, pool = location.partition("/")
        self._group = VolumeGroup(group, pool)
        self._note = GroupNote(self._group, name)
        self._making = Making(self._group, self._path, options.clear)
        self._bases = Bases(self._group, self._making)
        if pool and options.clear == "zero":
            raise InvalidSpec(["clear: zeros would fill a thin pool; use discard: the pool itself zeroes a block before somebody else gets it"])

    @classmethod
    def location_problems(cls, location: str) -> list[str]:
        found = _LOCATION.fullmatch(location)
        if found is None or any(part in (".", "..") for part in location.split("/")):
            return [f"the location {location!r} is neither a volume group nor group/thin-pool"]
        return []

    @classmethod
    def own_name_problems(cls, name: str) -> list[str]:
        if len(name) > _LONGEST:
            return [f"the disk name {name!r} has more than the {_LONGEST} characters that LVM takes"]
        if name.startswith(makers.RESERVED) or _LVMS_OWN.fullmatch(name):
            return [f"the disk name {name!r} is one that LVM or this collection keeps for itself"]
        return []

    def plan_from_image(self, image: CachedImage, size: int | None) -> DiskRecord:
        # Blocks that thin volumes share are counted by the pool: nothing depends on the base volume.
        return DiskRecord(self.backend, "raw", self._path, disk_size(image, size, self._path), image=image.digest)

    def plan_from_func(self, size: int) -> DiskRecord:
        return DiskRecord(self.backend, "raw", self._path, whole_sectors(size))

    def bytes_from_image(self, image: CachedImage, size: int | None) -> int:
        return image.allocated if self._group.pool else _whole_extents(disk_size(image, size, self._path))

    def bytes_of_several(self, image: CachedImage, size: int | None, count: int) -> int:
        shared = self._group.pool and not self.options.full
        return self.bytes_from_image(image, size) * (min(count, 1) if shared else count)

    def bytes_from_func(self, size: int) -> int:
        return _whole_extents(size)

    def free_bytes(self, deadline: Deadline) -> int:
        return self._group.free_bytes(deadline)

    def create_from_image(self, image: CachedImage, size: int | None, deadline: Deadline) -> DiskRecord:
        record = self.plan_from_image(image, size)
        if self._group.pool and not self.options.full:
            self._create_from_base(record, image, deadline)
            return record
        with self._new(record, deadline, image) as volume:
            self._making.convert(image.path, image.format, volume, deadline)
            self._making.clear_rest(volume, image.virtual_size, deadline)
        return record

    def create_from_func(self, func: Callable[[str], None], size: int, deadline: Deadline, *, hint: str = "") -> DiskRecord:
        record = self.plan_from_func(size)
        volumes = self._need_free_name(deadline)
        with makers.maker(self._group.name, deadline.clock) as worker:
            contents = os.path.join(worker.directory, "contents")
            with naming_storage_errors(contents, "disk"):
                files.write_contents(contents, func, record.size)
            with self._new(record, deadline, needed=os.stat(contents).st_blocks * 512, volumes=volumes) as volume:
                # From the file to the volume, its holes as zeros.
                self._making.convert(contents, "raw", volume, deadline)
                self._making.clear_rest(volume, record.size, deadline)
        return record

    def create_from_stream(self, stream: IO[bytes], size: int, deadline: Deadline) -> DiskRecord:
        record = self.plan_from_func(size)
        with self._new(record, deadline, needed=record.size if self._group.pool else 0) as volume:
            self._making.clear_rest(volume, 0, deadline)
            with naming_storage_errors(self._path, "disk"):
                fd = os.open(self._group.device(volume), os.O_WRONLY | os.O_CLOEXEC)
                try:
                    streams.copy_in(stream, fd, record.size, deadline, self.name, skip_zeros=True)
                    os.fdatasync(fd)
                finally:
                    os.close(fd)
        return record

    def exists(self, deadline: Deadline) -> bool:
        found = self._find(self.name, deadline)
        return found is not None and found.ours

    def remove(self, deadline: Deadline) -> bool:
        volumes = self._group.volumes(deadline)
        self._making.sweep(volumes, deadline)
        found = _named(volumes, self.name)
        if found is not None and not found.ours:
            raise base.foreign(self._path)
        if found is not None and found.is_open:
            raise self._in_use()
        # The disk last: as long as something is left of it, it is there to be removed.
        self._making.remove([*self._snapshots(volumes).values(), *([found] if found is not None else [])], deadline)
        return found is not None

    def bases(self, deadline: Deadline) -> list[Base]:
        volumes = self._group.volumes(deadline)
        if self._group.pool:
            self._group.pool_free(volumes)
        return self._bases.found(volumes, deadline.clock)

    def remove_base(self, digest: str, deadline: Deadline) -> bool:
        volumes = self._group.volumes(deadline)
        self._making.sweep(volumes, deadline)
        return self._bases.remove(digest, volumes, deadline)

    def sweep(self, deadline: Deadline) -> None:
        self._making.sweep(self._group.volumes(deadline), deadline)

    def read_to(self, record: DiskRecord, stream: IO[bytes], deadline: Deadline) -> None:
        self._need(deadline)
        with naming_storage_errors(self._path, "copy"):
            files.read_file(self._path, stream, record.size, deadline)

    def resize(self, record: DiskRecord, size: int, deadline: Deadline) -> DiskRecord:
        grown = replace(record, size=grown_size(record, size))
        found = self._need(deadline)
        self._finish_growing(found, deadline)
        if grown.size > found.size:
            if self._group.pool:
                self._group.extend(self.name, grown.size, deadline)
            else:
                # New extents hold what somebody else left there. The tag has the next call for this disk clear them if we are killed.
                growing = tag("growing", str(found.size))
                self._group.change_tags(self.name, [growing], [], deadline)
                try:
                    self._group.extend(self.name, grown.size, deadline)
                finally:
                    self._finish_growing(replace(found, size=self._making.size(self.name), tags=found.tags | {growing}), deadline)
        if grown.size > record.size:
            self._group.change_tags(self.name, [tag("size", str(grown.size))], [tag("size", str(record.size))], deadline)
        return grown

    def flatten(self, record: DiskRecord, deadline: Deadline) -> DiskRecord:
        """It does not depend on its base: from now on it does not keep the base from being pruned either."""
        volumes = self._group.volumes(deadline)
        for one in [*self._snapshots(volumes).values(), self._owned(volumes)]:
            if one.tag("base"):
                self._group.change_tags(one.name, [], _same_base(one), deadline)
        return record

    def snapshot_create(self, record: DiskRecord, snapshot: str, deadline: Deadline) -> None:
        volumes = self._group.volumes(deadline)
        self._making.sweep(volumes, deadline)
        name = self._snapshot_volume(snapshot)
        if snapshot in self._snapshots(volumes):
            raise Busy("there is a snapshot of that name", obj=f"{self._path}@{snapshot}", phase="snapshot", hint="delete it first, or choose another name")
        found = self._owned(volumes)
        tags = [OWNER_TAG, tag("disk", self.name), tag("snapshot", snapshot), *_same_base(found)]
        if found.pool:
            self._group.snapshot(found.name, name, tags, deadline)
            return
        with makers.maker(self._group.name, deadline.clock) as worker, self._making.copy(found, tags, worker, deadline) as copy:
            self._group.rename(copy, name, deadline)

    def snapshot_list(self, deadline: Deadline) -> list[str]:
        return sorted(self._snapshots(self._group.volumes(deadline)))

    def snapshot_delete(self, snapshot: str, deadline: Deadline) -> bool:
        base.snapshot_name(snapshot)
        found = self._snapshots(self._group.volumes(deadline)).get(snapshot)
        if found is None:
            return False
        self._making.remove([found], deadline)
        return True

    def snapshot_revert(self, record: DiskRecord, snapshot: str, deadline: Deadline) -> None:
        base.snapshot_name(snapshot)
        volumes = self._group.volumes(deadline)
        self._making.sweep(volumes, deadline)
        snapshots = self._snapshots(volumes)
        if snapshot not in snapshots:
            names = ", ".join(sorted(snapshots)) or "none"
            raise NotFound("there is no such snapshot", obj=f"{self._path}@{snapshot}", phase="snapshot", hint=f"there are: {names}")
        disk = _named(volumes, self.name)
        if disk is not None and disk.is_open:
            raise self._in_use()
        with (
            makers.maker(self._group.name, deadline.clock) as worker,
            self._making.copy(snapshots[snapshot], [*self._tags(record), *_same_base(snapshots[snapshot])], worker, deadline, record.size) as copy,
        ):
            # Killed between the two renames, the disk is made again by the next revert.
            dying = self._making.dying_name(worker)
            if disk is not None:
                self._group.rename(self.name, dying, deadline)
            self._group.rename(copy, self.name, deadline)
            if disk is not None:
                self._making.finish(dying, disk.size, deadline)

    def libvirt_info(self) -> DiskInfo:
        return DiskInfo("block", "raw", self._path)

    def used_bytes(self, deadline: Deadline) -> int:
        """Of a thin volume what is mapped, shared blocks too: the pool does not say whose they are."""
        return self._group.used_bytes(self.name, deadline)

    def note(self) -> Note:
        return self._note

    # -- making

    def _new(
        self, record: DiskRecord, deadline: Deadline, image: CachedImage | None = None, needed: int = 0, volumes: list[Volume] | None = None
    ) -> contextlib.AbstractContextManager[str]:
        """A volume with no certain contents; it becomes the disk when the block ends without an error, else it is removed.

        :param volumes: all there are, where the name is known to be free.
        """
        volumes = self._need_free_name(deadline) if volumes is None else volumes
        files.need_image(image, self._path)
        if self._group.pool:
            # A full pool does not fail a write, it lets it wait.
            needed = image.allocated if image is not None else needed
            base.check_room(self, needed, self._path, deadline, self._group.pool_free(volumes))
        return self._making.new(self.name, record.size, self._tags(record), deadline)

    def _create_from_base(self, record: DiskRecord, image: CachedImage, deadline: Deadline) -> None:
        """One command where a disk of this image and size was made before: a thin snapshot has its origin's size."""
        if makers.somebody_died(self._group.name):
            self._making.sweep(self._group.volumes(deadline), deadline)
        for attempt in range(_ATTEMPTS):
            try:
                self._snapshot_as_disk(self._bases.name(image, record.size), record, deadline)
                return
            except NotFound:
                # There is none yet; or it was, and somebody pruned it in between.
                if attempt == _ATTEMPTS - 1:
                    raise
                volumes = self._need_free_name(deadline)
                files.need_image(image, self._path)
                if _named(volumes, self._bases.name(image)) is None:
                    base.check_room(self, image.allocated, self._path, deadline, self._group.pool_free(volumes))
                with contextlib.suppress(NotFound):
                    self._bases.make(image, record.size, volumes, deadline)

    def _snapshot_as_disk(self, origin: str, record: DiskRecord, deadline: Deadline) -> None:
        try:
            self._group.snapshot(origin, self.name, [*self._tags(record), tag("base", origin)], deadline)
        except Busy as exc:
            raise base.taken(self._path) from exc

    # -- looking

    def _find(self, name: str, deadline: Deadline) -> Volume | None:
        return _named(self._group.volumes(deadline), name)

    def _need(self, deadline: Deadline) -> Volume:
        return self._owned(self._group.volumes(deadline))

    def _owned(self, volumes: list[Volume]) -> Volume:
        found = _named(volumes, self.name)
        if found is None or not found.ours:
            raise files.no_disk(self._path)
        return found

    def _need_free_name(self, deadline: Deadline) -> list[Volume]:
        """All volumes; none of them is the disk's, or a snapshot of one that is gone."""
        volumes = self._group.volumes(deadline)
        self._making.sweep(volumes, deadline)
        if _named(volumes, self.name) is not None:
            raise base.taken(self._path)
        self._making.remove(list(self._snapshots(volumes).values()), deadline)
        return volumes

    def _finish_growing(self, found: Volume, deadline: Deadline) -> None:
        begun = found.tag("growing")
        if begun:
            if found.size > int(begun):
                self._group.wipe(found.name, int(begun), found.size - int(begun), deadline)
            self._group.change_tags(found.name, [], [tag("growing", begun)], deadline)

    def _snapshots(self, volumes: list[Volume]) -> dict[str, Volume]:
        return {one.tag("snapshot"): one for one in volumes if one.ours and one.tag("disk") == self.name and one.name.startswith(f"{makers.RESERVED}snap-")}

    def _snapshot_volume(self, snapshot: str) -> str:
        digest = hashlib.sha256(self.name.encode()).hexdigest()[:16]
        return f"{makers.RESERVED}snap-{digest}-{base.snapshot_name(snapshot)}"

    def _tags(self, record: DiskRecord) -> list[str]:
        image = [tag("image", record.image.replace(":", "-"))] if record.image else []
        return [OWNER_TAG, tag("size", str(record.size)), *image]

    def _in_use(self) -> Busy:
        return Busy("it is in use", obj=self._path, phase="disk", hint="shut the guest that uses it off")

    @property
    def _path(self) -> str:
        return self._group.device(self.name)


def _named(volumes: list[Volume], name: str) -> Volume | None:
    return next((one for one in volumes if one.name == name), None)


def _same_base(volume: Volume) -> list[str]:
    """The tag of a volume that shares this one's blocks."""
    return [tag("base", volume.tag("base"))] if volume.tag("base") else []


def _whole_extents(size: int) -> int:
    return -(-size // _EXTENT) * _EXTENT
