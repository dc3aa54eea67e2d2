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
from typing import IO, ClassVar

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy, ImageRefused, InsufficientResources, InvalidSpec, NotOurs
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.notes import Note
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.options import DEFAULT_OPTIONS, DiskOptions
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.records import Base, DiskInfo, DiskRecord
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import CachedImage

SECTOR = 512
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}")
_SNAPSHOT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,39}")


class Image(ABC):
    """One disk's place on a backend, whether the disk is there or not.

    A disk appears under its name only when it is whole, and never in place of another one. A call that was killed is
    mended by the next call for the same place: what it left is removed, or what it began is ended. Something else that
    has the disk's name, and that this collection has not made, is never touched.

    Nothing here locks out a running guest. A disk that is in use is refused where the storage can tell (``Busy``).

    :param location: the backend's own: a directory, ``group`` or ``group/thin pool``, ``pool`` or ``pool/namespace``.
    :param name: the disk's name there, such as ``web-1_root``.
    :raises InvalidSpec: location, name or options are not for this backend.
    """

    backend: ClassVar[str]
    options_taken: ClassVar[frozenset[str]] = frozenset()
    grows_in_use: ClassVar[bool] = True
    """Whether QEMU makes the disk of a guest that runs larger."""

    def __init__(self, location: str, name: str, options: DiskOptions = DEFAULT_OPTIONS) -> None:
        problems = [*self.location_problems(location), *name_problems(name), *self.own_name_problems(name), *self.option_problems(options)]
        if problems:
            raise InvalidSpec(problems)
        self.location = location
        self.name = name
        self.options = options

    @classmethod
    @abstractmethod
    def location_problems(cls, location: str) -> list[str]:
        """What is wrong with a location, as text alone; touches nothing."""

    @classmethod
    def own_name_problems(cls, name: str) -> list[str]:
        """What this backend does not take as a name, besides what none takes."""
        return []

    @classmethod
    def option_problems(cls, options: DiskOptions) -> list[str]:
        """What is wrong with the options for this backend, as values alone."""
        return options.problems(cls.backend, cls.options_taken)

    # -- what would be made; none of these changes anything

    @abstractmethod
    def plan_from_image(self, image: CachedImage, size: int | None) -> DiskRecord:
        """The record of the disk that ``create_from_image`` would make.

        :param size: bytes; None for the image's own. Rounded up to whole sectors.
        :raises ImageRefused: smaller than the image's disk.
        """

    @abstractmethod
    def plan_from_func(self, size: int) -> DiskRecord:
        """The record of the disk that ``create_from_func`` and ``create_from_stream`` would make."""

    @abstractmethod
    def bytes_from_image(self, image: CachedImage, size: int | None) -> int:
        """Room that ``create_from_image`` takes at once, in bytes, at most; the guest's writes come on top."""

    def bytes_of_several(self, image: CachedImage, size: int | None, count: int) -> int:
        """The same for ``count`` disks of one image at this location; what they share is counted once."""
        return count * self.bytes_from_image(image, size)

    @abstractmethod
    def bytes_from_func(self, size: int) -> int:
        """Room that ``create_from_func`` and ``create_from_stream`` take at once, in bytes, at most."""

    @abstractmethod
    def free_bytes(self, deadline: Deadline) -> int:
        """Room that is left at the location. :raises NotFound: there is no such volume group or pool."""

    @abstractmethod
    def exists(self, deadline: Deadline) -> bool:
        """Whether the disk is there; one that is, is whole. Something of its name that is not ours is not the disk."""

    @abstractmethod
    def libvirt_info(self) -> DiskInfo:
        """How libvirt reaches the disk. :raises InvalidSpec: a configuration file that is needed for it is missing or damaged."""

    @abstractmethod
    def used_bytes(self, deadline: Deadline) -> int:
        """Room that the disk itself takes now, without its snapshots and what it shares with others. :raises NotFound: there is no such disk."""

    @abstractmethod
    def note(self) -> Note:
        """Where its owner may keep a text about the disk, before it is there and as long as he likes."""

    # -- making and removing

    @abstractmethod
    def create_from_image(self, image: CachedImage, size: int | None, deadline: Deadline) -> DiskRecord:
        """Make the disk with an image's contents, ``size`` bytes large, and return ``plan_from_image``'s record.

        :raises ImageRefused: smaller than the image's disk; nothing was written.
        :raises InsufficientResources: no room; nothing is left behind.
        :raises Busy: something of this name is there; it was not touched.
        """

    @abstractmethod
    def create_from_func(self, func: Callable[[str], None], size: int, deadline: Deadline, *, hint: str = "") -> DiskRecord:
        """Make the disk with contents that ``func(path)`` writes, raw, into the empty file ``path``.

        :param size: bytes the disk gets. ``func`` may write fewer, the rest reads as zeros.
        :param hint: names the contents (``swap_512M``), in errors too.
        :raises InvalidSpec: ``func`` wrote more than ``size``; nothing is left behind.
        :raises Busy, InsufficientResources: as ``create_from_image``.
        """

    @abstractmethod
    def create_from_stream(self, stream: IO[bytes], size: int, deadline: Deadline) -> DiskRecord:
        """Make the disk with the raw bytes that a stream has up to its end. Zeros take no room where the backend can leave them out.

        :raises InvalidSpec: the stream has more bytes than ``size``, or the disk would have none; nothing is left behind.
        :raises Busy, InsufficientResources: as ``create_from_image``.
        """

    @abstractmethod
    def remove(self, deadline: Deadline) -> bool:
        """Remove the disk with its snapshots, and what killed runs left of it; False where there was no disk, which is no error.

        :raises Busy: it is in use.
        :raises NotOurs: something of this name is there that this collection has not made.
        """

    # -- what disks are made from; the place's own, whatever the disk

    def bases(self, deadline: Deadline) -> list[Base]:
        """What the backend itself keeps of images at the location, sorted by digest. Cached files are not among it.

        What a killed run left is no user of a base: it goes with the next sweep.

        :raises NotFound: there is no such volume group or pool.
        """
        return []

    def remove_base(self, digest: str, deadline: Deadline) -> bool:
        """Remove what the backend itself keeps of an image; False where it keeps nothing. Whoever needs it meanwhile makes it anew.

        :raises Busy: it has users.
        """
        return False

    def sweep(self, deadline: Deadline) -> None:  # noqa: B027 (files are swept where they are made)
        """Remove what killed runs left of any volume at the location."""

    # -- changing what is there

    @abstractmethod
    def read_to(self, record: DiskRecord, stream: IO[bytes], deadline: Deadline) -> None:
        """Write the disk's ``record.size`` raw bytes to a stream; an empty regular file gets holes for zeros.

        :raises NotFound: there is no such disk.
        """

    @abstractmethod
    def resize(self, record: DiskRecord, size: int, deadline: Deadline) -> DiskRecord:
        """Grow the disk that ``record`` describes to ``size`` bytes and return its new record; the same size is no error.

        :raises InvalidSpec: smaller than it is: a disk never shrinks.
        """

    @abstractmethod
    def flatten(self, record: DiskRecord, deadline: Deadline) -> DiskRecord:
        """Make the disk and its snapshots independent of the base they stand on, and return its new record; again is no error."""

    @abstractmethod
    def snapshot_create(self, record: DiskRecord, snapshot: str, deadline: Deadline) -> None:
        """Keep the disk's contents as they are now under a name; the guest must be off, or its writes stopped.

        :raises Busy: there is a snapshot of that name.
        """

    @abstractmethod
    def snapshot_list(self, deadline: Deadline) -> list[str]:
        """The names of the disk's snapshots, sorted."""

    @abstractmethod
    def snapshot_delete(self, snapshot: str, deadline: Deadline) -> bool:
        """Forget a snapshot; False where there is none."""

    @abstractmethod
    def snapshot_revert(self, record: DiskRecord, snapshot: str, deadline: Deadline) -> None:
        """Give the disk the contents of a snapshot, which stays. The disk keeps ``record.size``; what a snapshot lacks of it reads as zeros.

        The guest must be off. A revert that was killed is to be run again before the disk is used.

        :raises NotFound: there is no such snapshot.
        """


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


def snapshot_name(name: str) -> str:
    """:raises InvalidSpec: it is no name for a snapshot."""
    if not _SNAPSHOT.fullmatch(name) or ".." in name:
        raise InvalidSpec([f"the snapshot name {name!r} is not 1 to 40 letters, digits, or any of _ . - (not first, no ..)"])
    return name


def check_room(disk: Image, needed: int, obj: str, deadline: Deadline, free: int | None = None) -> None:
    """For storage that a write waits on for ever once it is full.

    :param free: bytes, where it is known already.
    :raises InsufficientResources: fewer than ``needed`` bytes are free.
    """
    free = disk.free_bytes(deadline) if free is None else free
    if needed > free:
        raise InsufficientResources(
            f"{needed} bytes are needed and {free} are free in {disk.location}", obj=obj, phase="disk", hint="free some space, or use another location"
        )


def taken(obj: str) -> Busy:
    return Busy("the disk is there already", obj=obj, phase="disk", hint="an earlier run left it: remove it first")


def foreign(obj: str) -> NotOurs:
    return NotOurs("something of this name is there that was not made by this collection", obj=obj, phase="disk", hint="choose another name, or move it away")
