# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""A lab: storage of one kind, and the hands that go behind a backend's back."""

from __future__ import annotations

import contextlib
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.base import Image
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.options import DiskOptions
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.registry import disk_image


class LabFailed(RuntimeError):
    """The lab cannot be started on this machine; the message says why and what is missing. Never a skip."""


class DiskLab(ABC):
    """Storage of one kind, started once; each case has its own ``location``, which is empty when it begins.

    :cvar name: on the command line and in the table.
    :cvar in_guest: it needs a kernel that this machine may not run: its cases run in a guest.
    :cvar kept_in_files: its disks are files of this machine.
    :cvar keeps_bases: the backend keeps volumes there that disks are made from.
    :cvar bad_locations: texts that are no location for the backend.
    :cvar shortages: kinds of room, and rising amounts of it, from nothing to more than enough for a disk of 8 MiB.
    :cvar changing: the same for what is done to a disk that is there.
    :cvar takes_room: what of that cannot be done without any of such room: names of steps in ``test_disks_without_room``.
    :cvar clearings: values of the option ``clear`` for such storage.
    """

    name: ClassVar[str]
    backend: ClassVar[str]
    in_guest: ClassVar[bool] = False
    kept_in_files: ClassVar[bool] = False
    keeps_bases: ClassVar[bool] = False
    bad_locations: ClassVar[tuple[str, ...]]
    bad_names: ClassVar[tuple[str, ...]] = ()
    package: ClassVar[str] = "qemu-utils"
    shortages: ClassVar[Mapping[str, Sequence[int]]]
    changing: ClassVar[Mapping[str, Sequence[int]]]
    takes_room: ClassVar[Mapping[str, frozenset[str]]]
    clearings: ClassVar[tuple[str, ...]] = ("none",)
    options: DiskOptions = DiskOptions()
    location: str
    no_location: str
    tiny_location: str

    def __init__(self, folder: Path) -> None:
        """:param folder: the lab's own."""
        self.folder = folder

    @abstractmethod
    def start(self) -> None:
        """Make the storage usable. :raises LabFailed: it cannot be."""

    @abstractmethod
    def stop(self) -> None:
        """Take back what ``start`` made."""

    @abstractmethod
    def begin(self) -> None:
        """Give the next case an empty ``location``; ``no_location`` is one that is not there, ``tiny_location`` has 2 to 4 MiB."""

    @abstractmethod
    def end(self) -> None:
        """Remove what the case left."""

    @abstractmethod
    def volumes(self, location: str = "") -> list[str]:
        """Whatever is there, hidden and unfinished things included; by default in ``location``."""

    @abstractmethod
    def room(self, kind: str, amount: int) -> AbstractContextManager[str]:
        """An empty location with so much room of one of the kinds in ``shortages``, for as long as the block lasts."""

    @abstractmethod
    def plenty(self) -> AbstractContextManager[str]:
        """An empty location with all the room that a case needs, for as long as the block lasts, or until ``narrow`` is called."""

    @abstractmethod
    def narrow(self, kind: str, amount: int) -> None:
        """Leave so much room, besides what is there, in the block of ``room`` or ``plenty``."""

    def elsewhere(self) -> AbstractContextManager[str]:
        """Another location of this kind beside the case's own, with room for a disk of 8 MiB and its base."""
        kind, amounts = next(iter(self.shortages.items()))
        return self.room(kind, amounts[-1])

    def clear(self) -> bool:
        """Take away what a case has but its bases, by hand; False where the backend itself is as fast."""
        return False

    def widen(self) -> None:  # noqa: B027 (elsewhere, reading takes no room)
        """Have room to read a disk by, in such a block."""

    def disconnect(self) -> None:  # noqa: B027 (most storage is not connected to)
        """Give up what the backend has opened for earlier cases."""

    def settle(self) -> None:  # noqa: B027 (most storage notices at once)
        """Wait until the storage has noticed that a client was killed, where it takes a while."""

    def keeps(self, data: bytes) -> bool:
        """Whether the bytes are anywhere on the storage, in a volume or not. Of a lab that can clear what it removes."""
        raise NotImplementedError

    @abstractmethod
    def put_foreign(self, name: str) -> None:
        """Have something that is not ours be where the disk of this name would be."""

    @abstractmethod
    def foreign_is_whole(self, name: str) -> bool:
        """Whether that is as it was put."""

    def disk(self, name: str = "web-1_root", location: str = "", **options: Any) -> Image:
        return disk_image(self.backend, location or self.location, name, replace(self.options, **options))


def run(*argv: object) -> str:
    """A tool of the lab's. :raises LabFailed: with what it said."""
    done = subprocess.run([str(part) for part in argv], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabFailed(f"{argv[0]} ended with status {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


Lab = TypeVar("Lab", bound=DiskLab)


@contextlib.contextmanager
def for_one_case(lab: Lab) -> Iterator[Lab]:
    """A lab whose storage others started, with an empty location."""
    lab.start()
    try:
        lab.begin()
        try:
            yield lab
        finally:
            lab.end()
    finally:
        lab.stop()
