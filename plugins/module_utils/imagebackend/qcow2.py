# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Qcow2 files: an overlay on the cached image, made in the same time whatever the image's size; or a full copy."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import IO

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend import files
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.base import Image, disk_size, grown_size, whole_sectors
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.notes import FileNote, Note
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.options import DiskOptions
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.records import Backing, DiskInfo, DiskRecord
from ansible_collections.poolwright.virt.plugins.module_utils.images import qemu_img
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import CachedImage
from ansible_collections.poolwright.virt.plugins.module_utils.images.scratch import scratch_directory
from ansible_collections.poolwright.virt.plugins.module_utils.images.sparse import naming_storage_errors

_CLUSTER = 64 * 1024  # of a qcow2 for which no other was asked
_SUBCLUSTERS_FROM = 16 * 1024


class Qcow2(Image):
    """``<directory>/<name>.qcow2``, snapshots beside it: copies of the overlay, which stand on the same base."""

    backend = "qcow2"
    options_taken = frozenset({"preallocation", "cluster_size", "extended_l2", "compressed"})

    @classmethod
    def location_problems(cls, location: str) -> list[str]:
        return files.directory_problems(location)

    @classmethod
    def option_problems(cls, options: DiskOptions) -> list[str]:
        found = super().option_problems(options)
        if options.preallocation != "off" and not (options.full or options.extended_l2):
            found.append("preallocation: an overlay has it with extended_l2 only; set extended_l2, or full")
        if options.extended_l2 and options.cluster_size and options.cluster_size < _SUBCLUSTERS_FROM:
            found.append(f"cluster_size: extended_l2 needs {_SUBCLUSTERS_FROM} or more")
        if options.compressed and (not options.full or options.preallocation != "off"):
            found.append("compressed: it is for full copies without preallocation")
        return found

    def plan_from_image(self, image: CachedImage, size: int | None) -> DiskRecord:
        backing = None if self.options.full else Backing(image.path, image.format, image.digest)
        return DiskRecord(self.backend, "qcow2", self._path, disk_size(image, size, self._path), image.digest, backing)

    def plan_from_func(self, size: int) -> DiskRecord:
        return DiskRecord(self.backend, "qcow2", self._path, whole_sectors(size))

    def bytes_from_image(self, image: CachedImage, size: int | None) -> int:
        wanted = disk_size(image, size, self._path)
        if self.options.preallocation in ("falloc", "full"):
            return self._table_bytes(wanted) + wanted
        return self._table_bytes(wanted) + (image.allocated if self.options.full else 0)

    def bytes_from_func(self, size: int) -> int:
        # Contents exist twice for a moment: as they were written, and in the image.
        return 2 * whole_sectors(size) + self._table_bytes(size)

    def free_bytes(self, deadline: Deadline) -> int:
        return files.free_bytes(self.location)

    def create_from_image(self, image: CachedImage, size: int | None, deadline: Deadline) -> DiskRecord:
        record = self.plan_from_image(image, size)
        with files.new_file(self._path, image) as path:
            if record.backing is not None:
                # qemu-img itself flushes what it creates.
                backing = (record.backing.path, record.backing.format)
                qemu_img.create(path, "qcow2", record.size, deadline, backing=backing, options=self._format_options)
            else:
                self._convert(image.path, image.format, path, deadline)
                if record.size > image.virtual_size:
                    qemu_img.resize(path, "qcow2", record.size, deadline, preallocation=self.options.preallocation)
                files.sync_file(path)
        return record

    def create_from_func(self, func: Callable[[str], None], size: int, deadline: Deadline, *, hint: str = "") -> DiskRecord:
        return self._create_from_raw(lambda path, size: files.write_contents(path, func, size), size, deadline)

    def create_from_stream(self, stream: IO[bytes], size: int, deadline: Deadline) -> DiskRecord:
        return self._create_from_raw(lambda path, size: files.write_stream(path, stream, size, deadline), size, deadline)

    def exists(self, deadline: Deadline) -> bool:
        return files.is_disk(self._path)

    def remove(self, deadline: Deadline) -> bool:
        return files.remove_file(self._path)

    def read_to(self, record: DiskRecord, stream: IO[bytes], deadline: Deadline) -> None:
        files.need_disk(self._path)
        parent, name = os.path.split(self._path)
        with naming_storage_errors(self._path, "copy"), scratch_directory(parent, name) as directory:
            contents = os.path.join(directory, "contents")
            with files.naming_final(self._path, contents):
                qemu_img.convert(self._path, "qcow2", contents, "raw", deadline)
            files.read_file(contents, stream, record.size, deadline)

    def resize(self, record: DiskRecord, size: int, deadline: Deadline) -> DiskRecord:
        grown = replace(record, size=grown_size(record, size))
        files.need_disk(self._path)
        if grown.size > record.size:
            qemu_img.resize(self._path, "qcow2", grown.size, deadline, preallocation=self.options.preallocation)
        return grown

    def flatten(self, record: DiskRecord, deadline: Deadline) -> DiskRecord:
        files.need_disk(self._path)
        if record.backing is not None:
            # The disk last: as long as its record names a base, this is done again.
            for path in [*(files.snapshot_path(self._path, name) for name in files.snapshots(self._path)), self._path]:
                with files.replacement(path) as unfinished:
                    self._convert(path, "qcow2", unfinished, deadline)
        return replace(record, backing=None)

    def snapshot_create(self, record: DiskRecord, snapshot: str, deadline: Deadline) -> None:
        files.take_snapshot(self._path, snapshot, deadline)

    def snapshot_list(self, deadline: Deadline) -> list[str]:
        return files.snapshots(self._path)

    def snapshot_delete(self, snapshot: str, deadline: Deadline) -> bool:
        return files.remove_snapshot(self._path, snapshot)

    def snapshot_revert(self, record: DiskRecord, snapshot: str, deadline: Deadline) -> None:
        with files.reverted(self._path, snapshot, deadline) as path:
            qemu_img.resize(path, "qcow2", record.size, deadline)

    def libvirt_info(self) -> DiskInfo:
        return DiskInfo("file", "qcow2", self._path)

    def used_bytes(self, deadline: Deadline) -> int:
        return files.used_bytes(self._path)

    def note(self) -> Note:
        return FileNote(self.location, self.name, self.backend)

    def _create_from_raw(self, write: Callable[[str, int], None], size: int, deadline: Deadline) -> DiskRecord:
        record = self.plan_from_func(size)
        with files.new_file(self._path) as path:
            contents = f"{path}.contents"
            write(contents, record.size)
            self._convert(contents, "raw", path, deadline)
            files.sync_file(path)
        return record

    def _convert(self, source: str, source_format: str, target: str, deadline: Deadline) -> None:
        qemu_img.convert(source, source_format, target, "qcow2", deadline, options=self._format_options, compressed=self.options.compressed)

    @property
    def _format_options(self) -> dict[str, str]:
        wish, found = self.options, {}
        if wish.cluster_size:
            found["cluster_size"] = str(wish.cluster_size)
        if wish.extended_l2:
            found["extended_l2"] = "on"
        if wish.preallocation != "off":
            found["preallocation"] = wish.preallocation
        return found

    @property
    def _path(self) -> str:
        return os.path.join(self.location, f"{self.name}.qcow2")

    def _table_bytes(self, size: int) -> int:
        cluster = self.options.cluster_size or _CLUSTER
        # Header, the two tables of references and the first table of clusters have a cluster each at least; a table of
        # clusters has 8 bytes for each (16 with subclusters), and so has the table of such tables.
        tables = 4 * cluster + -(-size // (cluster * cluster // 8)) * 8
        # Preallocated, each cluster has its entry, and its count.
        return tables if self.options.preallocation == "off" else tables + -(-size // cluster) * 32 + 2 * cluster
