# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The contract of the image backends: the caller says what a disk is, the backend decides how it is made.

What each backend can do (share blocks, stand on a base, copy) shows in nothing here but speed and room.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import ImageRefused, InvalidSpec
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.records import DiskInfo, DiskRecord
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import CachedImage

SECTOR = 512
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}")


@dataclass(frozen=True)
class DiskOptions:
    """How a disk is to be made, where a backend has the choice: ``full`` copies the image in place of standing on it."""

    full: bool = False


DEFAULT_OPTIONS = DiskOptions()


class Image(ABC):
    """One disk's place on a backend, whether the disk is there or not.

    A disk appears under its name only when it is whole, and never in place of another one.

    :param location: the backend's own: a directory, a volume group, a pool.
    :param name: the disk's name there, such as ``web-1_root``.
    :raises InvalidSpec: location, name or options are not for this backend.
    """

    backend: ClassVar[str]

    def __init__(self, location: str, name: str, options: DiskOptions = DEFAULT_OPTIONS) -> None:
        problems = [*self.location_problems(location), *name_problems(name)]
        if problems:
            raise InvalidSpec(problems)
        self.location = location
        self.name = name
        self.options = options

    @classmethod
    @abstractmethod
    def location_problems(cls, location: str) -> list[str]:
        """What is wrong with a location, as text alone; touches nothing."""

    @abstractmethod
    def plan_from_image(self, image: CachedImage, size: int | None) -> DiskRecord:
        """The record of the disk that ``create_from_image`` would make; touches nothing.

        :param size: bytes; None for the image's own. Rounded up to whole sectors.
        :raises ImageRefused: smaller than the image's disk.
        """

    @abstractmethod
    def plan_from_func(self, size: int) -> DiskRecord:
        """The record of the disk that ``create_from_func`` would make; touches nothing."""

    @abstractmethod
    def bytes_from_image(self, image: CachedImage, size: int | None) -> int:
        """Room that ``create_from_image`` takes at once, in bytes, at most; the guest's writes come on top."""

    @abstractmethod
    def bytes_from_func(self, size: int) -> int:
        """Room that ``create_from_func`` takes at once, in bytes, at most."""

    @abstractmethod
    def create_from_image(self, image: CachedImage, size: int | None, deadline: Deadline) -> DiskRecord:
        """Make the disk with an image's contents, ``size`` bytes large, and return ``plan_from_image``'s record.

        :raises ImageRefused: smaller than the image's disk; nothing was written.
        :raises InsufficientResources: no room; nothing is left behind.
        :raises Busy: a disk of this name is there; it was not touched.
        """

    @abstractmethod
    def create_from_func(self, func: Callable[[str], None], size: int, deadline: Deadline, *, hint: str = "") -> DiskRecord:
        """Make the disk with contents that ``func(path)`` writes, raw, into the empty file or device ``path``.

        :param size: bytes the disk gets. ``func`` may write fewer, the rest reads as zeros.
        :param hint: names the contents (``swap_512M``): a backend may reuse what it made under the same hint and size.
        :raises InvalidSpec: ``func`` wrote more than ``size``; nothing is left behind.
        :raises Busy: a disk of this name is there; it was not touched.
        """

    @abstractmethod
    def exists(self) -> bool:
        """Whether the disk is there; one that is, is whole."""

    @abstractmethod
    def remove(self) -> bool:
        """Remove the disk and what killed runs left of it; False where there was no disk, which is no error."""

    @abstractmethod
    def resize(self, record: DiskRecord, size: int, deadline: Deadline) -> DiskRecord:
        """Grow the disk that ``record`` describes to ``size`` bytes and return its new record; the same size is no error.

        :raises InvalidSpec: smaller than it is: a disk never shrinks.
        """

    @abstractmethod
    def libvirt_info(self) -> DiskInfo:
        """How libvirt reaches the disk; touches nothing."""


def name_problems(name: str) -> list[str]:
    if _NAME.fullmatch(name) and ".." not in name:
        return []
    return [f"the disk name {name!r} is not 1 to 200 letters, digits, or any of _ . + - (not first, no ..)"]


def disk_size(image: CachedImage, size: int | None, obj: str) -> int:
    """A disk's size in bytes, whole sectors: the image's own for None, never less than that.

    qemu-img would make the smaller overlay without a word, and the guest would find its file system cut off.
    """
    wanted = whole_sectors(image.virtual_size if size is None else size)
    if wanted < image.virtual_size:
        raise ImageRefused(
            f"a disk of {wanted} bytes is smaller than the image's {image.virtual_size}",
            obj=obj,
            phase="disk",
            hint=f"make the disk at least {-(-image.virtual_size // 1024**3)} GiB large, or leave its size out",
        )
    return wanted


def grown_size(record: DiskRecord, size: int) -> int:
    """The size in bytes to grow a disk to."""
    wanted = whole_sectors(size)
    if wanted < record.size:
        raise InvalidSpec([f"{record.path}: a disk of {record.size} bytes cannot shrink to {wanted}"])
    return wanted


def whole_sectors(size: int) -> int:
    if size <= 0:
        raise InvalidSpec([f"a disk cannot have {size} bytes"])
    return -(-size // SECTOR) * SECTOR
