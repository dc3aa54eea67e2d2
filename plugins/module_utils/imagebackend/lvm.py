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
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import IO

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy, InvalidSpec, NotFound, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend import base, files, makers, streams
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.base import Image, disk_size, grown_size, whole_sectors
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.notes import GroupNote, Note
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.options import DEFAULT_OPTIONS, DiskOptions
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.records import DiskInfo, DiskRecord
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.volume_group import OWNER_TAG, Volume, VolumeGroup, tag
from ansible_collections.poolwright.virt.plugins.module_utils.images import qemu_img
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import CachedImage
from ansible_collections.poolwright.virt.plugins.module_utils.images.sparse import naming_storage_errors

_PLACE = r"[A-Za-z0-9_+.][A-Za-z0-9_+.-]{0,126}"
_LOCATION = re.compile(rf"({_PLACE})(?:/({_PLACE}))?")
_LONGEST = 100  # 127 with the group's name, hyphens doubled, is what device mapper takes
_INSIDE = "cdata|cmeta|corig|cpool|cvol|imeta|iorig|mimage|mlog|pmspare|rimage|rmeta|tdata|tmeta|vdata|vorigin|wcorig"
_LVMS_OWN = re.compile(rf"(snapshot|pvmove).*|.*_({_INSIDE}).*")
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
            self._fill_from_image(volume, image, record.size, deadline)
        return record

    def create_from_func(self, func: Callable[[str], None], size: int, deadline: Deadline, *, hint: str = "") -> DiskRecord:
        record = self.plan_from_func(size)
        self._need_free_name(deadline)
        with makers.maker(self._group.name, deadline.clock) as worker:
            contents = os.path.join(worker.directory, "contents")
            with naming_storage_errors(contents, "disk"):
                files.write_contents(contents, func, record.size)
            with self._new(record, deadline, needed=os.stat(contents).st_blocks * 512) as volume:
                # From the file to the volume, its holes as zeros.
                self._convert(contents, "raw", volume, deadline)
                self._clear_rest(volume, record.size, deadline)
        return record

    def create_from_stream(self, stream: IO[bytes], size: int, deadline: Deadline) -> DiskRecord:
        record = self.plan_from_func(size)
        with self._new(record, deadline, needed=record.size if self._group.pool else 0) as volume:
            self._clear_rest(volume, 0, deadline)
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
        self._sweep(volumes, deadline)
        found = _named(volumes, self.name)
        if found is not None and not found.ours:
            raise base.foreign(self._path)
        if found is not None and found.is_open:
            raise self._in_use()
        for volume in self._snapshots(volumes).values():
            self._discard(volume.name, deadline)
        if found is not None:
            self._discard(self.name, deadline)
        return found is not None

    def remove_base(self, digest: str, deadline: Deadline) -> bool:
        name = _base_name(digest)
        volumes = self._group.volumes(deadline)
        self._sweep(volumes, deadline)
        if _named(volumes, name) is None:
            return False
        self._group.remove(name, deadline)
        return True

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
                    self._finish_growing(self._need(deadline), deadline)
        if grown.size > record.size:
            self._group.change_tags(self.name, [tag("size", str(grown.size))], [tag("size", str(record.size))], deadline)
        return grown

    def flatten(self, record: DiskRecord, deadline: Deadline) -> DiskRecord:
        self._need(deadline)
        return record

    def snapshot_create(self, record: DiskRecord, snapshot: str, deadline: Deadline) -> None:
        volumes = self._group.volumes(deadline)
        self._sweep(volumes, deadline)
        name = self._snapshot_volume(snapshot)
        if snapshot in self._snapshots(volumes):
            raise Busy("there is a snapshot of that name", obj=f"{self._path}@{snapshot}", phase="snapshot", hint="delete it first, or choose another name")
        found = self._owned(volumes)
        tags = [OWNER_TAG, tag("disk", self.name), tag("snapshot", snapshot)]
        with makers.maker(self._group.name, deadline.clock) as worker, self._copy_of(found, tags, worker, deadline) as copy:
            self._group.rename(copy, name, deadline)

    def snapshot_list(self, deadline: Deadline) -> list[str]:
        return sorted(self._snapshots(self._group.volumes(deadline)))

    def snapshot_delete(self, snapshot: str, deadline: Deadline) -> bool:
        base.snapshot_name(snapshot)
        found = self._snapshots(self._group.volumes(deadline)).get(snapshot)
        if found is None:
            return False
        self._discard(found.name, deadline)
        return True

    def snapshot_revert(self, record: DiskRecord, snapshot: str, deadline: Deadline) -> None:
        base.snapshot_name(snapshot)
        volumes = self._group.volumes(deadline)
        self._sweep(volumes, deadline)
        snapshots = self._snapshots(volumes)
        if snapshot not in snapshots:
            names = ", ".join(sorted(snapshots)) or "none"
            raise NotFound("there is no such snapshot", obj=f"{self._path}@{snapshot}", phase="snapshot", hint=f"there are: {names}")
        disk = _named(volumes, self.name)
        if disk is not None and disk.is_open:
            raise self._in_use()
        with (
            makers.maker(self._group.name, deadline.clock) as worker,
            self._copy_of(snapshots[snapshot], self._tags(record), worker, deadline, record.size) as copy,
        ):
            # Killed between the two renames, the disk is made again by the next revert.
            dying = worker.dying_name(self.options.clear)
            if disk is not None:
                self._group.rename(self.name, dying, deadline)
            self._group.rename(copy, self.name, deadline)
            if disk is not None:
                self._wipe_and_remove(dying, disk.size, self.options.clear, deadline)

    def libvirt_info(self) -> DiskInfo:
        return DiskInfo("block", "raw", self._path)

    def used_bytes(self, deadline: Deadline) -> int:
        """Of a thin volume what is mapped, shared blocks too: the pool does not say whose they are."""
        return self._group.used_bytes(self.name, deadline)

    def note(self) -> Note:
        return self._note

    # -- making

    @contextlib.contextmanager
    def _new(self, record: DiskRecord, deadline: Deadline, image: CachedImage | None = None, needed: int = 0) -> Iterator[str]:
        """A volume with no certain contents; it becomes the disk when the block ends without an error, else it is removed."""
        self._need_free_name(deadline)
        files.need_image(image, self._path)
        if self._group.pool:
            # A full pool does not fail a write, it lets it wait.
            base.check_room(self, image.allocated if image is not None else needed, self._path, deadline)
        with contextlib.ExitStack() as stack:
            worker = stack.enter_context(makers.maker(self._group.name, deadline.clock))
            yield stack.enter_context(self._building(worker.new_name(), self.name, record.size, self._tags(record), deadline))

    @contextlib.contextmanager
    def _building(self, volume: str, final: str, size: int, tags: list[str], deadline: Deadline) -> Iterator[str]:
        with files.naming_final(self._path, self._group.device(volume)):
            self._group.create(volume, size, tags, deadline)
            try:
                yield volume
                self._become(volume, final, deadline)
            except BaseException:
                self._give_up(volume, deadline)
                raise

    def _create_from_base(self, record: DiskRecord, image: CachedImage, deadline: Deadline) -> None:
        if makers.somebody_died(self._group.name):
            self._sweep(self._group.volumes(deadline), deadline)
        name = _base_name(image.digest)
        try:
            self._snapshot_as_disk(name, record, image, deadline)
        except NotFound:
            self._need_free_name(deadline)
            files.need_image(image, self._path)
            self._make_base(name, image, deadline)
            self._snapshot_as_disk(name, record, image, deadline)

    def _snapshot_as_disk(self, origin: str, record: DiskRecord, image: CachedImage, deadline: Deadline) -> None:
        # Both are rounded up to extents, whose size is a power of two of at least a sector.
        if record.size <= whole_sectors(image.virtual_size):
            try:
                self._group.snapshot(origin, self.name, self._tags(record), deadline)
            except Busy as exc:
                raise base.taken(self._path) from exc
            return
        with makers.maker(self._group.name, deadline.clock) as worker:
            volume = worker.new_name()
            with files.naming_final(self._path, self._group.device(volume)):
                self._group.snapshot(origin, volume, self._tags(record), deadline)
                try:
                    self._group.extend(volume, record.size, deadline)
                    self._become(volume, self.name, deadline)
                except BaseException:
                    self._give_up(volume, deadline)
                    raise

    def _become(self, volume: str, final: str, deadline: Deadline) -> None:
        try:
            self._group.rename(volume, final, deadline)
        except Busy as exc:
            raise base.taken(self._group.device(final)) from exc

    def _make_base(self, name: str, image: CachedImage, deadline: Deadline) -> None:
        """Once per image, whoever else is making it: the first to rename wins, the others use that one."""
        base.check_room(self, image.allocated, self._path, deadline)
        size, tags = image.virtual_size, [OWNER_TAG, tag("image", image.digest.replace(":", "-"))]
        with (
            makers.maker(self._group.name, deadline.clock) as worker,
            contextlib.suppress(Busy),
            self._building(worker.new_name("base"), name, size, tags, deadline) as volume,
        ):
            self._convert(image.path, image.format, volume, deadline)

    def _fill_from_image(self, volume: str, image: CachedImage, size: int, deadline: Deadline) -> None:
        self._convert(image.path, image.format, volume, deadline)
        self._clear_rest(volume, image.virtual_size, deadline)

    def _convert(self, source: str, source_format: str, volume: str, deadline: Deadline) -> None:
        qemu_img.convert(source, source_format, self._group.device(volume), "raw", deadline, into_zeros=bool(self._group.pool))

    def _clear_rest(self, volume: str, begin: int, deadline: Deadline) -> None:
        """Zeros up to the end of a thick volume, its last extent included."""
        if self._group.pool:
            return
        with open(self._group.device(volume), "rb") as device:
            size = device.seek(0, os.SEEK_END)
        if begin < size:
            self._group.wipe(volume, begin, size - begin, deadline)

    @contextlib.contextmanager
    def _copy_of(self, source: Volume, tags: list[str], worker: makers.Maker, deadline: Deadline, size: int = 0) -> Iterator[str]:
        """A volume with the same contents, at least ``size`` bytes large: shared blocks in a pool, else a copy. The block renames it."""
        size = max(size, source.size)
        volume = worker.new_name("copy")
        with files.naming_final(self._path, self._group.device(volume)):
            if source.pool:
                self._group.snapshot(source.name, volume, tags, deadline)
            else:
                self._group.create(volume, size, tags, deadline)
            try:
                if source.pool:
                    self._group.extend(volume, size, deadline)
                else:
                    self._convert(self._group.device(source.name), "raw", volume, deadline)
                    self._clear_rest(volume, source.size, deadline)
                yield volume
            except BaseException:
                self._give_up(volume, deadline)
                raise

    # -- removing

    def _discard(self, volume: str, deadline: Deadline) -> None:
        """Take the name away first: a volume that is half wiped is no disk. A dead run's is wiped and removed by the next."""
        with makers.maker(self._group.name, deadline.clock) as worker:
            dying = worker.dying_name(self.options.clear)
            self._group.rename(volume, dying, deadline)
            size = next((one.size for one in self._group.volumes(deadline) if one.name == dying), 0) if self.options.clear != "none" else 0
            self._wipe_and_remove(dying, size, self.options.clear, deadline)

    def _wipe_and_remove(self, volume: str, size: int, how: str, deadline: Deadline) -> None:
        if how != "none":
            self._group.wipe(volume, 0, size, deadline, discard=how == "discard")
        self._group.remove(volume, deadline)

    def _give_up(self, volume: str, deadline: Deadline) -> None:
        # With time of its own: it may be the deadline that passed. What cannot be removed now is by the next run.
        with contextlib.suppress(VirtError):
            self._group.remove(volume, Deadline.after(deadline.clock, 30))

    def _sweep(self, volumes: list[Volume], deadline: Deadline) -> None:
        for volume in volumes:
            left = makers.leftover(self._group.name, volume.name, deadline.clock) if volume.ours else None
            if left is not None:
                self._wipe_and_remove(volume.name, volume.size, left.how if left.dying else "none", deadline)
        makers.forget_dead(self._group.name)

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

    def _need_free_name(self, deadline: Deadline) -> None:
        volumes = self._group.volumes(deadline)
        self._sweep(volumes, deadline)
        if _named(volumes, self.name) is not None:
            raise base.taken(self._path)
        for stale in self._snapshots(volumes).values():
            self._discard(stale.name, deadline)

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


def _base_name(digest: str) -> str:
    return f"{makers.RESERVED}base-{digest.rpartition(':')[2][:40]}"


def _whole_extents(size: int) -> int:
    return -(-size // _EXTENT) * _EXTENT
