# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Qcow2 files: an overlay on the cached image, made in the same time whatever the image's size; or a full copy."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend import files
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.base import Image, disk_size, grown_size, whole_sectors
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.records import Backing, DiskInfo, DiskRecord
from ansible_collections.poolwright.virt.plugins.module_utils.images import qemu_img
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import CachedImage

_EMPTY_BYTES = 256 * 1024  # header, refcounts and first tables; the L1 table of a large disk comes on top
_L1_COVERS = 512 * 1024**2  # bytes of disk behind each of its 8-byte entries, for 64 KiB clusters


class Qcow2(Image):
    """``<directory>/<name>.qcow2``."""

    backend = "qcow2"

    @classmethod
    def location_problems(cls, location: str) -> list[str]:
        return files.directory_problems(location)

    def plan_from_image(self, image: CachedImage, size: int | None) -> DiskRecord:
        backing = None if self.options.full else Backing(image.path, image.format, image.digest)
        return DiskRecord(self.backend, "qcow2", self._path, disk_size(image, size, self._path), image.digest, backing)

    def plan_from_func(self, size: int) -> DiskRecord:
        return DiskRecord(self.backend, "qcow2", self._path, whole_sectors(size))

    def bytes_from_image(self, image: CachedImage, size: int | None) -> int:
        tables = _table_bytes(disk_size(image, size, self._path))
        return tables + image.allocated if self.options.full else tables

    def bytes_from_func(self, size: int) -> int:
        # Contents exist twice for a moment: as they were written, and in the image.
        return 2 * whole_sectors(size) + _table_bytes(size)

    def create_from_image(self, image: CachedImage, size: int | None, deadline: Deadline) -> DiskRecord:
        record = self.plan_from_image(image, size)
        with files.new_file(self._path, image) as path:
            if record.backing is not None:
                # qemu-img itself flushes what it creates.
                qemu_img.create(path, "qcow2", record.size, deadline, backing=(record.backing.path, record.backing.format))
            else:
                qemu_img.convert(image.path, image.format, path, "qcow2", deadline)
                if record.size > image.virtual_size:
                    qemu_img.resize(path, "qcow2", record.size, deadline)
                files.sync_file(path)
        return record

    def create_from_func(self, func: Callable[[str], None], size: int, deadline: Deadline, *, hint: str = "") -> DiskRecord:
        record = self.plan_from_func(size)
        with files.new_file(self._path) as path:
            contents = f"{path}.contents"
            files.write_contents(contents, func, record.size)
            qemu_img.convert(contents, "raw", path, "qcow2", deadline)
            files.sync_file(path)
        return record

    def exists(self) -> bool:
        return os.path.isfile(self._path)

    def remove(self) -> bool:
        return files.remove_file(self._path)

    def resize(self, record: DiskRecord, size: int, deadline: Deadline) -> DiskRecord:
        grown = replace(record, size=grown_size(record, size))
        if grown.size > record.size:
            qemu_img.resize(self._path, "qcow2", grown.size, deadline)
        return grown

    def libvirt_info(self) -> DiskInfo:
        return DiskInfo("file", "qcow2", self._path)

    @property
    def _path(self) -> str:
        return os.path.join(self.location, f"{self.name}.qcow2")


def _table_bytes(size: int) -> int:
    return _EMPTY_BYTES + -(-size // _L1_COVERS) * 8
