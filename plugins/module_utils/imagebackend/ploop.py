# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Ploop disks: a directory with the expandable delta ``root.hds`` and the ``DiskDescriptor.xml`` that names it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from typing import IO

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend import base, files, parallels
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.base import Image, disk_size, grown_size, whole_sectors
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.notes import FileNote, Note
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.records import DiskInfo, DiskRecord
from ansible_collections.poolwright.virt.plugins.module_utils.images import qemu_img, scratch
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import CachedImage
from ansible_collections.poolwright.virt.plugins.module_utils.images.sparse import naming_storage_errors

DELTA = "root.hds"
DESCRIPTOR = "DiskDescriptor.xml"
_CLUSTER = 1024 * 1024  # qemu-img's own
_BLOCK = 4096  # the least that a file system keeps data in
_FORMAT = "parallels"  # what qemu calls the format that libvirt calls ploop
_MODE = 0o711  # QEMU's user goes through; only the delta's owner reads it


class Ploop(Image):
    """``<directory>/<name>.ploop/``, snapshots in it. Always a full copy, so ``full`` changes nothing.

    The directory gets its name when all is in it, and loses it before anything is removed from it.
    """

    backend = "ploop"
    options_taken = frozenset({"cluster_size"})
    grows_in_use = False

    @classmethod
    def location_problems(cls, location: str) -> list[str]:
        return files.directory_problems(location)

    def plan_from_image(self, image: CachedImage, size: int | None) -> DiskRecord:
        return DiskRecord(self.backend, "ploop", self._path, disk_size(image, size, self._path), image=image.digest)

    def plan_from_func(self, size: int) -> DiskRecord:
        return DiskRecord(self.backend, "ploop", self._path, whole_sectors(size))

    def bytes_from_image(self, image: CachedImage, size: int | None) -> int:
        wanted = disk_size(image, size, self._path)
        # A cluster is there as a whole where a part of it has data, so scattered data takes more; never more than the disk.
        return self._table_bytes(wanted) + min(image.virtual_size, image.allocated // _BLOCK * self._cluster)

    def bytes_from_func(self, size: int) -> int:
        return 2 * whole_sectors(size) + self._table_bytes(size)

    def free_bytes(self, deadline: Deadline) -> int:
        return files.free_bytes(self.location)

    def create_from_image(self, image: CachedImage, size: int | None, deadline: Deadline) -> DiskRecord:
        record = self.plan_from_image(image, size)
        files.need_image(image if not os.path.lexists(self._directory) else None, self._directory)
        return self._create(record, lambda directory: (image.path, image.format), deadline)

    def create_from_func(self, func: Callable[[str], None], size: int, deadline: Deadline, *, hint: str = "") -> DiskRecord:
        record = self.plan_from_func(size)
        return self._create_from_raw(record, lambda path: files.write_contents(path, func, record.size), deadline)

    def create_from_stream(self, stream: IO[bytes], size: int, deadline: Deadline) -> DiskRecord:
        record = self.plan_from_func(size)
        return self._create_from_raw(record, lambda path: files.write_stream(path, stream, record.size, deadline), deadline)

    def exists(self, deadline: Deadline) -> bool:
        return not os.path.islink(self._directory) and files.is_disk(self._path) and files.is_disk(self._descriptor)

    def remove(self, deadline: Deadline) -> bool:
        scratch.sweep(self.location, os.path.basename(self._directory))
        if not os.path.lexists(self._directory):
            return False
        if not self.exists(deadline):
            raise base.foreign(self._directory)
        with naming_storage_errors(self._directory, "remove"):
            return scratch.discard(self._directory)

    def read_to(self, record: DiskRecord, stream: IO[bytes], deadline: Deadline) -> None:
        files.need_disk(self._path)
        with naming_storage_errors(self._path, "copy"), scratch.scratch_directory(self._directory, DELTA) as directory:
            contents = os.path.join(directory, "contents")
            with files.naming_final(self._path, contents):
                qemu_img.convert(self._path, _FORMAT, contents, "raw", deadline)
            files.read_file(contents, stream, record.size, deadline)

    def resize(self, record: DiskRecord, size: int, deadline: Deadline) -> DiskRecord:
        grown = replace(record, size=grown_size(record, size))
        files.need_disk(self._path)
        scratch.sweep(self._directory)
        if grown.size > record.size:
            # The lock that qemu holds on the delta of a running guest is looked for by qemu's own tool.
            qemu_img.info(self._path, _FORMAT, deadline)
            with naming_storage_errors(self._path, "resize"):
                has_room = parallels.grow(self._path, grown.size)
            if not has_room:
                with files.replacement(self._path) as path:
                    self._make_delta(path, grown.size, (self._path, _FORMAT), deadline)
            with files.replacement(self._descriptor) as path:
                self._write_descriptor(path, grown.size)
        return grown

    def flatten(self, record: DiskRecord, deadline: Deadline) -> DiskRecord:
        files.need_disk(self._path)
        return record

    def snapshot_create(self, record: DiskRecord, snapshot: str, deadline: Deadline) -> None:
        # A paused guest still has the delta open, which QEMU would take for one that was not closed in order.
        files.take_snapshot(self._path, snapshot, deadline, parallels.disown)

    def snapshot_list(self, deadline: Deadline) -> list[str]:
        return files.snapshots(self._path)

    def snapshot_delete(self, snapshot: str, deadline: Deadline) -> bool:
        return files.remove_snapshot(self._path, snapshot)

    def snapshot_revert(self, record: DiskRecord, snapshot: str, deadline: Deadline) -> None:
        with files.reverted(self._path, snapshot, deadline) as path:
            if not parallels.grow(path, record.size):
                os.unlink(path)
                self._make_delta(path, record.size, (files.snapshot_path(self._path, snapshot), _FORMAT), deadline)

    def libvirt_info(self) -> DiskInfo:
        return DiskInfo("file", "ploop", self._path)

    def used_bytes(self, deadline: Deadline) -> int:
        return files.used_bytes(self._path) + files.used_bytes(self._descriptor)

    def note(self) -> Note:
        return FileNote(self.location, self.name, self.backend)

    def _create_from_raw(self, record: DiskRecord, write: Callable[[str], None], deadline: Deadline) -> DiskRecord:
        def contents(directory: str) -> tuple[str, str]:
            path = os.path.join(directory, "contents")
            write(path)
            return path, "raw"

        return self._create(record, contents, deadline)

    def _create(self, record: DiskRecord, contents: Callable[[str], tuple[str, str]], deadline: Deadline) -> DiskRecord:
        """:param contents: makes what the disk is copied from, in a directory, and returns its path and format."""
        name = os.path.basename(self._directory)
        if os.path.lexists(self._directory):
            raise base.taken(self._directory)
        with naming_storage_errors(self._directory, "disk"):
            scratch.sweep(self.location, name)
            scratch.make_directories(self.location)
            with scratch.scratch_directory(self.location, name) as beside:
                unfinished = os.path.join(beside, name)
                with files.naming_final(self._directory, unfinished):
                    os.mkdir(unfinished)
                    self._make_delta(os.path.join(unfinished, DELTA), record.size, contents(beside), deadline)
                    self._write_descriptor(os.path.join(unfinished, DESCRIPTOR), record.size)
                    os.chmod(unfinished, _MODE)
                    scratch.sync_directory(unfinished)
                    self._publish(unfinished)
        return record

    def _publish(self, unfinished: str) -> None:
        if os.path.lexists(self._directory):
            raise base.taken(self._directory)
        try:
            # Onto a directory that came meanwhile this fails, except onto an empty one, which is nobody's disk.
            os.rename(unfinished, self._directory)
        except OSError as exc:
            if exc.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise base.taken(self._directory) from exc
            raise
        scratch.sync_directory(self.location)

    def _make_delta(self, path: str, size: int, contents: tuple[str, str], deadline: Deadline) -> None:
        parallels.create(path, size, self._cluster)
        source, source_format = contents
        # Left alone, the driver reserves 128 MiB ahead, and fails where the file system has not so much left.
        qemu_img.fill(source, source_format, path, _FORMAT, deadline, opened={"prealloc-mode": "truncate"})
        os.chmod(path, files.MODE)
        files.sync_file(path)

    def _write_descriptor(self, path: str, size: int) -> None:
        with open(path, "wb") as stream:
            stream.write(parallels.describe(self.name, size, self._cluster // parallels.SECTOR, DELTA))
        os.chmod(path, files.MODE)
        files.sync_file(path)

    def _table_bytes(self, size: int) -> int:
        entries = -(-size // self._cluster)
        return 2 * self._cluster + 4 * entries

    @property
    def _cluster(self) -> int:
        return self.options.cluster_size or _CLUSTER

    @property
    def _directory(self) -> str:
        return os.path.join(self.location, f"{self.name}.ploop")

    @property
    def _path(self) -> str:
        return os.path.join(self._directory, DELTA)

    @property
    def _descriptor(self) -> str:
        return os.path.join(self._directory, DESCRIPTOR)
