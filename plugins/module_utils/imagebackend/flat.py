# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Raw files: a copy of the image that shares its blocks where the file system can, and keeps its holes where not."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend import files
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.base import Image, disk_size, grown_size, whole_sectors
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.records import DiskInfo, DiskRecord
from ansible_collections.poolwright.virt.plugins.module_utils.images import qemu_img
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import CachedImage
from ansible_collections.poolwright.virt.plugins.module_utils.images.sparse import copy_sparse, reflink


class Flat(Image):
    """``<directory>/<name>.raw``. Always a full copy, so ``full`` changes nothing."""

    backend = "flat"

    @classmethod
    def location_problems(cls, location: str) -> list[str]:
        return files.directory_problems(location)

    def plan_from_image(self, image: CachedImage, size: int | None) -> DiskRecord:
        return DiskRecord(self.backend, "raw", self._path, disk_size(image, size, self._path), image=image.digest)

    def plan_from_func(self, size: int) -> DiskRecord:
        return DiskRecord(self.backend, "raw", self._path, whole_sectors(size))

    def bytes_from_image(self, image: CachedImage, size: int | None) -> int:
        return image.allocated

    def bytes_from_func(self, size: int) -> int:
        return whole_sectors(size)

    def create_from_image(self, image: CachedImage, size: int | None, deadline: Deadline) -> DiskRecord:
        record = self.plan_from_image(image, size)
        with files.new_file(self._path, image) as path:
            if image.format == "raw":
                _copy(image.path, path, deadline)
            else:
                qemu_img.convert(image.path, image.format, path, "raw", deadline)
            os.truncate(path, record.size)
            files.sync_file(path)
        return record

    def create_from_func(self, func: Callable[[str], None], size: int, deadline: Deadline, *, hint: str = "") -> DiskRecord:
        record = self.plan_from_func(size)
        with files.new_file(self._path) as path:
            files.write_contents(path, func, record.size)
            files.sync_file(path)
        return record

    def exists(self) -> bool:
        return os.path.isfile(self._path)

    def remove(self) -> bool:
        return files.remove_file(self._path)

    def resize(self, record: DiskRecord, size: int, deadline: Deadline) -> DiskRecord:
        grown = replace(record, size=grown_size(record, size))
        # A raw file's length is its size: no tool that might take the guest's first bytes for a header.
        if os.stat(self._path).st_size < grown.size:
            os.truncate(self._path, grown.size)
        return grown

    def libvirt_info(self) -> DiskInfo:
        return DiskInfo("file", "raw", self._path)

    @property
    def _path(self) -> str:
        return os.path.join(self.location, f"{self.name}.raw")


def _copy(source: str, target: str, deadline: Deadline) -> None:
    with open(source, "rb", buffering=0) as origin, open(target, "xb", buffering=0) as copy:
        if not reflink(origin.fileno(), copy.fileno()):
            copy_sparse(origin.fileno(), copy.fileno(), deadline, target)
