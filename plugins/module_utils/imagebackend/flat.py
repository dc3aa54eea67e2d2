# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Raw files: a copy of the image that shares its blocks where the file system can, and keeps its holes where not."""

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
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.records import DiskInfo, DiskRecord
from ansible_collections.poolwright.virt.plugins.module_utils.images import qemu_img
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import CachedImage
from ansible_collections.poolwright.virt.plugins.module_utils.images.sparse import naming_storage_errors


class Flat(Image):
    """``<directory>/<name>.raw``, snapshots beside it. Always a full copy, so ``full`` changes nothing."""

    backend = "flat"
    options_taken = frozenset({"preallocation"})

    @classmethod
    def location_problems(cls, location: str) -> list[str]:
        return files.directory_problems(location)

    @classmethod
    def option_problems(cls, options: DiskOptions) -> list[str]:
        found = super().option_problems(options)
        if options.preallocation == "metadata":
            found.append("preallocation: a flat disk has no metadata; it is off, falloc or full")
        return found

    def plan_from_image(self, image: CachedImage, size: int | None) -> DiskRecord:
        return DiskRecord(self.backend, "raw", self._path, disk_size(image, size, self._path), image=image.digest)

    def plan_from_func(self, size: int) -> DiskRecord:
        return DiskRecord(self.backend, "raw", self._path, whole_sectors(size))

    def bytes_from_image(self, image: CachedImage, size: int | None) -> int:
        return image.allocated if self.options.preallocation == "off" else disk_size(image, size, self._path)

    def bytes_from_func(self, size: int) -> int:
        return whole_sectors(size)

    def free_bytes(self, deadline: Deadline) -> int:
        return files.free_bytes(self.location)

    def create_from_image(self, image: CachedImage, size: int | None, deadline: Deadline) -> DiskRecord:
        record = self.plan_from_image(image, size)
        with files.new_file(self._path, image) as path:
            if image.format == "raw":
                files.copy_file(image.path, path, deadline)
            else:
                qemu_img.convert(image.path, image.format, path, "raw", deadline)
            self._finish(path, record.size)
        return record

    def create_from_func(self, func: Callable[[str], None], size: int, deadline: Deadline, *, hint: str = "") -> DiskRecord:
        record = self.plan_from_func(size)
        with files.new_file(self._path) as path:
            files.write_contents(path, func, record.size)
            self._finish(path, record.size)
        return record

    def create_from_stream(self, stream: IO[bytes], size: int, deadline: Deadline) -> DiskRecord:
        record = self.plan_from_func(size)
        with files.new_file(self._path) as path:
            files.write_stream(path, stream, record.size, deadline)
            self._finish(path, record.size)
        return record

    def exists(self, deadline: Deadline) -> bool:
        return files.is_disk(self._path)

    def remove(self, deadline: Deadline) -> bool:
        return files.remove_file(self._path)

    def read_to(self, record: DiskRecord, stream: IO[bytes], deadline: Deadline) -> None:
        files.need_disk(self._path)
        files.read_file(self._path, stream, record.size, deadline)

    def resize(self, record: DiskRecord, size: int, deadline: Deadline) -> DiskRecord:
        grown = replace(record, size=grown_size(record, size))
        files.need_disk(self._path)
        # A raw file's length is its size: no tool that might take the guest's first bytes for a header.
        if os.stat(self._path).st_size < grown.size:
            with naming_storage_errors(self._path, "resize"):
                files.lengthen(self._path, grown.size, self.options.preallocation)
        return grown

    def flatten(self, record: DiskRecord, deadline: Deadline) -> DiskRecord:
        files.need_disk(self._path)
        return record

    def snapshot_create(self, record: DiskRecord, snapshot: str, deadline: Deadline) -> None:
        files.take_snapshot(self._path, snapshot, deadline)

    def snapshot_list(self, deadline: Deadline) -> list[str]:
        return files.snapshots(self._path)

    def snapshot_delete(self, snapshot: str, deadline: Deadline) -> bool:
        return files.remove_snapshot(self._path, snapshot)

    def snapshot_revert(self, record: DiskRecord, snapshot: str, deadline: Deadline) -> None:
        with files.reverted(self._path, snapshot, deadline) as path:
            files.lengthen(path, record.size, self.options.preallocation)

    def libvirt_info(self) -> DiskInfo:
        return DiskInfo("file", "raw", self._path)

    def used_bytes(self, deadline: Deadline) -> int:
        return files.used_bytes(self._path)

    def note(self) -> Note:
        return FileNote(self.location, self.name, self.backend)

    def _finish(self, path: str, size: int) -> None:
        files.lengthen(path, size, self.options.preallocation)
        files.sync_file(path)

    @property
    def _path(self) -> str:
        return os.path.join(self.location, f"{self.name}.raw")
