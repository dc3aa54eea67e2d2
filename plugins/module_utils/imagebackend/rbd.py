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
from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy, InsufficientResources, NotFound, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend import base, files, makers, streams
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.base import Image, disk_size, grown_size, whole_sectors
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.ceph import Access, monitors
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.ceph_client import Rados
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.notes import Note, ObjectNote
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.options import DEFAULT_OPTIONS, DiskOptions
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.records import Backing, DiskInfo, DiskRecord
from ansible_collections.poolwright.virt.plugins.module_utils.images import qemu_img
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import CachedImage
from ansible_collections.poolwright.virt.plugins.module_utils.images.sparse import CHUNK, naming_storage_errors

_LOCATION = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]{0,127}(/[A-Za-z0-9_.][A-Za-z0-9_.-]{0,127})?")
# Deep flatten: a disk that was made independent of its base is so with all its snapshots.
_FEATURES = ("layering", "exclusive-lock", "object-map", "fast-diff", "deep-flatten")
_BASE_SNAPSHOT = "base"
_DYING = "poolwright-dying"  # likewise, of a disk that could not lose its name before it is removed
_MARK = "poolwright"  # in the image's metadata, which a clone takes over from its base


class Rbd(Image):
    """``<pool>[/<namespace>]/<name>``. An image has its name from the one command that finishes it, and is marked before."""

    backend = "rbd"
    options_taken = frozenset({"conf", "user", "keyring", "secret"})

    def __init__(self, location: str, name: str, options: DiskOptions = DEFAULT_OPTIONS) -> None:
        super().__init__(location, name, options)
        self._access = Access(options.conf, options.user, options.keyring)
        self._rados = Rados(self._access)

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
        backing = None if self.options.full else Backing(f"{self._spec(_base_name(image.digest))}@{_BASE_SNAPSHOT}", "raw", image.digest)
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
            self._create(unfinished, record.size, deadline)
            self._convert(image.path, image.format, unfinished, deadline)
        return record

    def create_from_func(self, func: Callable[[str], None], size: int, deadline: Deadline, *, hint: str = "") -> DiskRecord:
        record = self.plan_from_func(size)
        self._need_free_name(deadline)
        with makers.maker(self.location, deadline.clock) as worker:
            contents = os.path.join(worker.directory, "contents")
            with naming_storage_errors(contents, "disk"):
                files.write_contents(contents, func, record.size)
            with self._building(record, os.stat(contents).st_blocks * 512, deadline) as unfinished:
                self._create(unfinished, record.size, deadline)
                self._convert(contents, "raw", unfinished, deadline)
        return record

    def create_from_stream(self, stream: IO[bytes], size: int, deadline: Deadline) -> DiskRecord:
        record = self.plan_from_func(size)
        self._need_free_name(deadline)
        with self._building(record, record.size, deadline) as unfinished:
            with self._rados.writing(self._spec(unfinished), _FEATURES, self._path, deadline) as target:
                for data in streams.chunks(stream, record.size, deadline, self.name):
                    streams.write_all(target, data)
            self._ask("grow", deadline, name=unfinished, size=record.size)
            self._ask("mark", deadline, name=unfinished, mark=_MARK)
        return record

    def exists(self, deadline: Deadline) -> bool:
        return self._is_ours(deadline) is True

    def remove(self, deadline: Deadline) -> bool:
        self._sweep(deadline)
        ours = self._is_ours(deadline)
        if ours is None:
            self._mend_name(self.name, deadline)
            return False
        if not ours:
            raise base.foreign(self._path)
        self._refuse_watched(deadline)
        self._remove_image(self.name, deadline)
        return True

    def remove_base(self, digest: str, deadline: Deadline) -> bool:
        name = _base_name(digest)
        self._sweep(deadline)
        children = self._ask("children", deadline, "remove", name=name, snapshot=_BASE_SNAPSHOT)
        if children is None:
            return False
        if children:
            names = ", ".join(children[:5])
            raise Busy(f"disks still stand on it: {names}", obj=f"{self._spec(name)}@{_BASE_SNAPSHOT}", phase="remove", hint="flatten or remove them first")
        self._remove_image(name, deadline)
        return True

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
        with makers.maker(self.location, deadline.clock) as worker, self._unfinished(worker.new_name(), deadline) as unfinished:
            yield unfinished
            self._become(unfinished, deadline)

    @contextlib.contextmanager
    def _unfinished(self, name: str, deadline: Deadline) -> Iterator[str]:
        with files.naming_final(self._path, self._spec(name)):
            try:
                yield name
            except BaseException:
                # With time of its own: it may be the deadline that passed. What cannot be removed now is by the next run.
                with contextlib.suppress(VirtError):
                    self._ask("remove", Deadline.after(deadline.clock, 30), name=name)
                raise

    def _clone(self, record: DiskRecord, image: CachedImage, deadline: Deadline) -> None:
        if makers.somebody_died(self.location):
            self._sweep(deadline)
        # A full pool does not fail a write, it lets it wait; a clone writes little.
        base.check_room(self, 1, self._path, deadline)
        with makers.maker(self.location, deadline.clock) as worker, self._unfinished(worker.new_name(), deadline) as unfinished:
            wanted: dict[str, Any] = {"base": _base_name(image.digest), "snapshot": _BASE_SNAPSHOT, "name": unfinished, "features": _FEATURES}
            try:
                self._ask("clone", deadline, **wanted)
            except NotFound:
                self._need_free_name(deadline)
                files.need_image(image, self._path)
                self._make_base(image, deadline)
                self._ask("clone", deadline, **wanted)
            if record.size > image.virtual_size:
                self._ask("grow", deadline, name=unfinished, size=record.size)
            self._become(unfinished, deadline)

    def _make_base(self, image: CachedImage, deadline: Deadline) -> None:
        """Once per image, whoever else is making it: the first to rename wins, the others use that one."""
        base.check_room(self, image.allocated, self._path, deadline)
        with (
            contextlib.suppress(Busy),
            makers.maker(self.location, deadline.clock) as worker,
            self._unfinished(worker.new_name("base"), deadline) as unfinished,
        ):
            self._create(unfinished, whole_sectors(image.virtual_size), deadline)
            self._convert(image.path, image.format, unfinished, deadline)
            self._ask("snapshot", deadline, name=unfinished, snapshot=_BASE_SNAPSHOT)
            self._ask("protect", deadline, name=unfinished, snapshot=_BASE_SNAPSHOT)
            self._take_name(unfinished, _base_name(image.digest), deadline)

    def _create(self, name: str, size: int, deadline: Deadline) -> None:
        self._ask("create", deadline, name=name, size=size, features=_FEATURES, mark=_MARK)

    def _convert(self, source: str, source_format: str, name: str, deadline: Deadline) -> None:
        qemu_img.convert(source, source_format, self._access.qemu_name(self._spec(name)), "raw", deadline, into_zeros=True)

    def _become(self, unfinished: str, deadline: Deadline) -> None:
        try:
            self._take_name(unfinished, self.name, deadline)
        except Busy as exc:
            raise base.taken(self._path) from exc

    def _take_name(self, name: str, new: str, deadline: Deadline) -> None:
        """:raises Busy: the new name is taken."""
        try:
            self._rename(name, new, deadline)
        except Busy:
            if not self._mend_name(new, deadline):
                raise
            self._rename(name, new, deadline)

    def _rename(self, name: str, new: str, deadline: Deadline) -> None:
        """:raises Busy: the new name is taken."""
        self._ask("rename", deadline, name=name, new=new)

    # -- removing

    def _remove_image(self, name: str, deadline: Deadline) -> None:
        """Its name goes first: an image that is half removed is neither a disk nor a base. :raises Busy: it is in use, and stays what it was."""
        with makers.maker(self.location, deadline.clock) as worker:
            dying = worker.dying_name("image")
            try:
                self._rename(name, dying, deadline)
            except InsufficientResources:
                self._remove_in_place(name, deadline)
                return
            try:
                self._ask("remove", deadline, name=dying)
            except Busy:
                # Opened meanwhile, or cloned by somebody.
                self._rename(dying, name, deadline)
                raise

    def _remove_in_place(self, name: str, deadline: Deadline) -> None:
        """In a full pool, which takes no new name. A base first loses the snapshot that makes it one; a disk is marked."""
        marked = name == self.name
        if marked:
            self._ask("mark", deadline, name=name, mark=_DYING)
        try:
            self._ask("remove", deadline, name=name)
        except Busy:
            if marked:
                self._ask("unmark", deadline, name=name, mark=_DYING)
            raise

    def _is_half_removed(self, name: str, deadline: Deadline) -> bool:
        found = self._ask("look", deadline, name=name)
        if found is None or found["name"] != name:
            return False
        if name == self.name:
            return _DYING in found["keys"]
        return self._ask("children", deadline, name=name, snapshot=_BASE_SNAPSHOT) is None

    def _sweep(self, deadline: Deadline) -> None:
        busy = False
        for name in self._ask("names", deadline, "check"):
            if makers.leftover(self.location, name, deadline.clock) is not None:
                try:
                    self._ask("remove", deadline, name=name)
                except Busy:
                    # The cluster takes a killed client for one that is still there, for half a minute.
                    busy = True
        if not busy:
            makers.forget_dead(self.location)

    def _mend_name(self, name: str, deadline: Deadline) -> bool:
        """Free a name that a dead maker's rename has taken, and has not listed the image under, or whose image it had half removed; whether it was so."""
        if self._is_half_removed(name, deadline):
            self._ask("remove", deadline, name=name)
            return True
        holder = self._ask("holder", deadline, name=name)
        if holder is None or holder == name:
            return False
        if holder:
            if makers.leftover(self.location, holder, deadline.clock) is None:
                return False
            self._ask("remove", deadline, name=holder)
        self._ask("free_name", deadline, name=name)
        return True

    # -- looking

    def _is_ours(self, deadline: Deadline) -> bool | None:
        """None where there is no image of the name, or half of one."""
        found = self._ask("look", deadline, "check", name=self.name)
        if found is None or found["name"] != self.name or _DYING in found["keys"]:
            return None
        return _MARK in found["keys"]

    def _need(self, deadline: Deadline) -> None:
        if not self._is_ours(deadline):
            raise files.no_disk(self._path)

    def _need_free_name(self, deadline: Deadline) -> None:
        self._sweep(deadline)
        if self._is_ours(deadline) is not None:
            raise base.taken(self._path)

    def _refuse_watched(self, deadline: Deadline) -> None:
        watchers = self._ask("watchers", deadline, name=self.name)
        if watchers:
            clients = ", ".join(sorted(set(watchers)))
            raise Busy(f"it is in use by {clients}", obj=self._path, phase="disk", hint="shut the guest that uses it off")

    def _ask(self, what: str, deadline: Deadline, phase: str = "disk", **arguments: Any) -> Any:
        return self._rados.ask(what, self._path, deadline, phase, place=self.location, **arguments)

    def _spec(self, name: str) -> str:
        return f"{self.location}/{name}"

    @property
    def _path(self) -> str:
        return self._spec(self.name)


def _base_name(digest: str) -> str:
    return f"{makers.RESERVED}base-{digest.rpartition(':')[2][:40]}"
