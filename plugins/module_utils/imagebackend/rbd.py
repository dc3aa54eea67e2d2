# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""RBD images: layered clones (clone v2) of a protected snapshot of a base image that is made once per cached image."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import IO, Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy, NotFound
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend import base, files, makers, streams
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.base import Image, disk_size, grown_size, whole_sectors
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.ceph import Access, monitors
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.ceph_client import Rados
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.notes import Note, ObjectNote
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.options import DEFAULT_OPTIONS, DiskOptions
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.rbd_bases import Bases
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.rbd_making import DYING, FEATURES, MARK, Making
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.records import Base, DiskInfo, DiskRecord
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import CachedImage
from ansible_collections.poolwright.virt.plugins.module_utils.images.sparse import CHUNK, naming_storage_errors

_LOCATION = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]{0,127}(/[A-Za-z0-9_.][A-Za-z0-9_.-]{0,127})?")

_ATTEMPTS = 4  # at a clone, each of which somebody else's pruning may leave without its base


class Rbd(Image):
    """``<pool>[/<namespace>]/<name>``. An image has its name from the one command that finishes it, and is marked before."""

    backend = "rbd"
    options_taken = frozenset({"conf", "user", "keyring", "secret"})

    def __init__(self, location: str, name: str, options: DiskOptions = DEFAULT_OPTIONS) -> None:
        super().__init__(location, name, options)
        self._access = Access(options.conf, options.user, options.keyring)
        self._rados = Rados(self._access)
        self._making = Making(self._rados, self._access, location, self._path)
        self._bases = Bases(self._making)

    @classmethod
    def location_problems(cls, location: str) -> list[str]:
        if _LOCATION.fullmatch(location) and ".." not in location:
            return []
        return [f"the location {location!r} is neither a pool nor pool/namespace"]

    @classmethod
    def own_name_problems(cls, name: str) -> list[str]:
        return [f"the disk name {name!r} is one that this collection keeps for itself"] if name.startswith(makers.RESERVED) else []

    @classmethod
    def option_problems(cls, options: DiskOptions) -> list[str]:
        found = super().option_problems(options)
        if options.secret and not options.user:
            found.append("secret: libvirt needs the user that it belongs to as well: set user")
        return found

    def plan_from_image(self, image: CachedImage, size: int | None) -> DiskRecord:
        backing = None if self.options.full else self._bases.backing(image)
        return DiskRecord(self.backend, "raw", self._path, disk_size(image, size, self._path), image.digest, backing)

    def plan_from_func(self, size: int) -> DiskRecord:
        return DiskRecord(self.backend, "raw", self._path, whole_sectors(size))

    def bytes_from_image(self, image: CachedImage, size: int | None) -> int:
        # Of several disks of one image only the first pays for the base; which one that is is not known beforehand.
        return image.allocated

    def bytes_of_several(self, image: CachedImage, size: int | None, count: int) -> int:
        return self.bytes_from_image(image, size) * (count if self.options.full else min(count, 1))

    def bytes_from_func(self, size: int) -> int:
        return whole_sectors(size)

    def free_bytes(self, deadline: Deadline) -> int:
        return self._rados.free_bytes(self.location.partition("/")[0], deadline)

    def create_from_image(self, image: CachedImage, size: int | None, deadline: Deadline) -> DiskRecord:
        record = self.plan_from_image(image, size)
        if record.backing is not None:
            self._clone(record, image, deadline)
            return record
        self._need_free_name(deadline)
        files.need_image(image, self._path)
        with self._building(record, image.allocated, deadline) as unfinished:
            self._making.create(unfinished, record.size, deadline)
            self._making.convert(image.path, image.format, unfinished, deadline)
        return record

    def create_from_func(self, func: Callable[[str], None], size: int, deadline: Deadline, *, hint: str = "") -> DiskRecord:
        record = self.plan_from_func(size)
        self._need_free_name(deadline)
        with makers.maker(self.location, deadline.clock) as worker:
            contents = os.path.join(worker.directory, "contents")
            with naming_storage_errors(contents, "disk"):
                files.write_contents(contents, func, record.size)
            with self._building(record, os.stat(contents).st_blocks * 512, deadline) as unfinished:
                self._making.create(unfinished, record.size, deadline)
                self._making.convert(contents, "raw", unfinished, deadline)
        return record

    def create_from_stream(self, stream: IO[bytes], size: int, deadline: Deadline) -> DiskRecord:
        record = self.plan_from_func(size)
        self._need_free_name(deadline)
        with self._building(record, record.size, deadline) as unfinished:
            with self._rados.writing(self._making.spec(unfinished), FEATURES, self._path, deadline) as target:
                for data in streams.chunks(stream, record.size, deadline, self.name):
                    streams.write_all(target, data)
            self._ask("grow", deadline, name=unfinished, size=record.size)
            self._ask("mark", deadline, name=unfinished, mark=MARK)
        return record

    def exists(self, deadline: Deadline) -> bool:
        return self._is_ours(deadline) is True

    def remove(self, deadline: Deadline) -> bool:
        self.sweep(deadline)
        ours = self._is_ours(deadline)
        if ours is None:
            self._making.mend_name(self.name, deadline)
            return False
        if not ours:
            raise base.foreign(self._path)
        self._refuse_watched(deadline)
        self._making.remove(self.name, deadline)
        return True

    def bases(self, deadline: Deadline) -> list[Base]:
        return self._place_alone().found(deadline)

    def remove_base(self, digest: str, deadline: Deadline) -> bool:
        self.sweep(deadline)
        return self._place_alone().remove(digest, deadline)

    def sweep(self, deadline: Deadline) -> None:
        self._making.sweep(deadline)

    def read_to(self, record: DiskRecord, stream: IO[bytes], deadline: Deadline) -> None:
        self._need(deadline)
        with self._rados.reading(self._path, deadline) as source:
            streams.copy_out(source, stream, record.size, deadline, self._path)
            while source.read(CHUNK):
                deadline.check("the copy", obj=self._path, phase="copy")

    def resize(self, record: DiskRecord, size: int, deadline: Deadline) -> DiskRecord:
        grown = replace(record, size=grown_size(record, size))
        self._need(deadline)
        if grown.size > record.size:
            self._ask("grow", deadline, "resize", name=self.name, size=grown.size)
        return grown

    def flatten(self, record: DiskRecord, deadline: Deadline) -> DiskRecord:
        self._need(deadline)
        if record.backing is not None:
            self._ask("flatten", deadline, "flatten", name=self.name)
        return replace(record, backing=None)

    def snapshot_create(self, record: DiskRecord, snapshot: str, deadline: Deadline) -> None:
        base.snapshot_name(snapshot)
        self._need(deadline)
        try:
            self._ask("snapshot", deadline, "snapshot", name=self.name, snapshot=snapshot)
        except Busy as exc:
            raise Busy(
                "there is a snapshot of that name", obj=f"{self._path}@{snapshot}", phase="snapshot", hint="delete it first, or choose another name"
            ) from exc

    def snapshot_list(self, deadline: Deadline) -> list[str]:
        return sorted(self._ask("snapshots", deadline, "snapshot", name=self.name) or [])

    def snapshot_delete(self, snapshot: str, deadline: Deadline) -> bool:
        base.snapshot_name(snapshot)
        try:
            self._ask("forget", deadline, "snapshot", name=self.name, snapshot=snapshot)
        except NotFound:
            return False
        return True

    def snapshot_revert(self, record: DiskRecord, snapshot: str, deadline: Deadline) -> None:
        base.snapshot_name(snapshot)
        self._need(deadline)
        there = self.snapshot_list(deadline)
        if snapshot not in there:
            names = ", ".join(there) or "none"
            raise NotFound("there is no such snapshot", obj=f"{self._path}@{snapshot}", phase="snapshot", hint=f"there are: {names}")
        self._refuse_watched(deadline)
        lacking = int(self._ask("discarded", deadline, "snapshot", name=self.name, snapshot=snapshot))
        if lacking:
            base.check_room(self, lacking, self._path, deadline)
        self._ask("revert", deadline, "snapshot", name=self.name, snapshot=snapshot)
        self._ask("grow", deadline, "snapshot", name=self.name, size=record.size)

    def libvirt_info(self) -> DiskInfo:
        secret = (self.options.user, self.options.secret) if self.options.secret else None
        return DiskInfo("network", "raw", self._path, "rbd", monitors(self.options.conf), secret)

    def used_bytes(self, deadline: Deadline) -> int:
        """As the object map has it."""
        return int(self._rados.ask("used", self._path, deadline, "check", place=self.location, name=self.name))

    def note(self) -> Note:
        return ObjectNote(self._rados, self.location, self.name)

    # -- making

    @contextlib.contextmanager
    def _building(self, record: DiskRecord, needed: int, deadline: Deadline) -> Iterator[str]:
        """The name of an image that the block makes; it becomes the disk when the block ends without an error, else it goes."""
        if needed:
            # A full pool does not fail a write, it lets it wait.
            base.check_room(self, needed, self._path, deadline)
        with makers.maker(self.location, deadline.clock) as worker, self._making.unfinished(worker.new_name(), deadline) as unfinished:
            yield unfinished
            self._become(unfinished, deadline)

    def _clone(self, record: DiskRecord, image: CachedImage, deadline: Deadline) -> None:
        if makers.somebody_died(self.location):
            self.sweep(deadline)
        # A full pool does not fail a write, it lets it wait; a clone writes little.
        base.check_room(self, 1, self._path, deadline)
        with makers.maker(self.location, deadline.clock) as worker, self._making.unfinished(worker.new_name(), deadline) as unfinished:
            for attempt in range(_ATTEMPTS):
                try:
                    self._bases.clone(image, unfinished, deadline)
                    break
                except NotFound:
                    # There is none yet; or it was, and somebody pruned it in between.
                    if attempt == _ATTEMPTS - 1:
                        raise
                    self._need_free_name(deadline)
                    files.need_image(image, self._path)
                    base.check_room(self, image.allocated, self._path, deadline)
                    self._bases.make(image, deadline)
            if record.size > image.virtual_size:
                self._ask("grow", deadline, name=unfinished, size=record.size)
            self._become(unfinished, deadline)

    def _become(self, unfinished: str, deadline: Deadline) -> None:
        try:
            self._making.take_name(unfinished, self.name, deadline)
        except Busy as exc:
            raise base.taken(self._path) from exc

    # -- looking

    def _is_ours(self, deadline: Deadline) -> bool | None:
        """None where there is no image of the name, or half of one."""
        found = self._ask("look", deadline, "check", name=self.name)
        if found is None or found["name"] != self.name or DYING in found["keys"]:
            return None
        return MARK in found["keys"]

    def _need(self, deadline: Deadline) -> None:
        if not self._is_ours(deadline):
            raise files.no_disk(self._path)

    def _need_free_name(self, deadline: Deadline) -> None:
        self.sweep(deadline)
        if self._is_ours(deadline) is not None:
            raise base.taken(self._path)

    def _refuse_watched(self, deadline: Deadline) -> None:
        watchers = self._ask("watchers", deadline, name=self.name)
        if watchers:
            clients = ", ".join(sorted(set(watchers)))
            raise Busy(f"it is in use by {clients}", obj=self._path, phase="disk", hint="shut the guest that uses it off")

    def _ask(self, what: str, deadline: Deadline, phase: str = "disk", **arguments: Any) -> Any:
        return self._making.ask(what, deadline, phase, **arguments)

    def _place_alone(self) -> Bases:
        """For what no disk is concerned with: errors name the place."""
        return Bases(Making(self._rados, self._access, self.location, self.location))

    @property
    def _path(self) -> str:
        return f"{self.location}/{self.name}"
