# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Disks that can be created: an iterator of them describes a machine's storage, and makes the same storage elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Union

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.base import Image
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.records import DiskRecord
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import CachedImage


@dataclass(frozen=True)
class DiskFromImage:
    """A disk with an image's contents; ``size`` in bytes, None for the image's own. Errors are those of ``Image``."""

    disk: Image
    image: CachedImage
    size: int | None = None

    def record(self) -> DiskRecord:
        """What ``create()`` will return; touches nothing."""
        return self.disk.plan_from_image(self.image, self.size)

    def required_bytes(self, count: int = 1) -> int:
        """Room that ``create()`` takes at once, at most; ``count`` such disks at one place."""
        return self.disk.bytes_of_several(self.image, self.size, count)

    def create(self, deadline: Deadline) -> DiskRecord:
        return self.disk.create_from_image(self.image, self.size, deadline)


@dataclass(frozen=True)
class DiskFromFunc:
    """A disk of ``size`` bytes with contents that ``func(path)`` writes; ``hint`` names the contents. Errors are those of ``Image``."""

    disk: Image
    func: Callable[[str], None]
    size: int
    hint: str = ""

    def record(self) -> DiskRecord:
        """What ``create()`` will return; touches nothing."""
        return self.disk.plan_from_func(self.size)

    def required_bytes(self, count: int = 1) -> int:
        """Room that ``create()`` takes at once, at most; ``count`` such disks at one place."""
        return count * self.disk.bytes_from_func(self.size)

    def create(self, deadline: Deadline) -> DiskRecord:
        return self.disk.create_from_func(self.func, self.size, deadline, hint=self.hint)


CreatableDisk = Union[DiskFromImage, DiskFromFunc]


def blank(path: str) -> None:
    """The ``func`` of an empty disk: what nobody writes reads as zeros."""


def create_missing(disks: Iterable[CreatableDisk], deadline: Deadline) -> list[DiskRecord]:
    """Create those disks of a machine that are not there, and return the records of all, in order."""
    return [disk.record() if disk.disk.exists(deadline) else disk.create(deadline) for disk in disks]
