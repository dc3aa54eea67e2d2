# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""A disk as it is described: where it is to be, what is to be on it, and how it is to be made. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.base import Image
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.options import DEFAULT_OPTIONS, DiskOptions
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.registry import disk_image
from ansible_collections.poolwright.virt.plugins.module_utils.images.source import ImageSource

BLANK, EPHEMERAL, SWAP, DIRECTORY = "blank", "ephemeral", "swap", "directory"
FILE_SYSTEMS = ("ext2", "ext3", "ext4", "vfat", "xfs")
TREES = ("iso9660", "ext2", "ext3", "ext4")
ACCESS = ("clear", "conf", "user", "keyring", "secret")
"""The options that are no part of what was made, so a later run may name others."""


@dataclass(frozen=True)
class Content:
    """What is on a disk that is made without an image.

    :ivar kind: ``blank``, ``ephemeral``, ``swap`` or ``directory``.
    :ivar file_system: one of ``FILE_SYSTEMS``, of a directory one of ``TREES``; "" for the other kinds.
    :ivar directory: absolute path of the tree that is copied onto the disk.
    :ivar label: of the file system, the volume or the swap space; "" for none.
    """

    kind: str
    file_system: str = ""
    directory: str = ""
    label: str = ""

    def __str__(self) -> str:
        what = {EPHEMERAL: self.file_system, DIRECTORY: f"{self.directory} as {self.file_system}"}.get(self.kind, self.kind)
        return f"{what} labelled {self.label}" if self.label else what


NOTHING = Content(BLANK)


@dataclass(frozen=True)
class DiskWish:
    """A disk on a backend. ``image`` and ``content`` exclude each other; a ``size`` (bytes) alone is that of a blank disk.

    With none of the three it is a disk that has to be there.
    """

    backend: str
    location: str
    name: str
    image: ImageSource | None = None
    content: Content | None = None
    size: int | None = None
    options: DiskOptions = DEFAULT_OPTIONS

    @property
    def key(self) -> tuple[str, str, str]:
        """No two disks have the same."""
        return (self.backend, self.location, self.name)

    @property
    def is_made(self) -> bool:
        """Whether it says what is on it."""
        return self.image is not None or self.content is not None or self.size is not None

    def place(self) -> Image:
        """:raises InvalidSpec: there is no such backend, or place, name or options are not for it."""
        return disk_image(self.backend, self.location, self.name, self.options)


def renewed(made_with: DiskOptions, asked: DiskOptions) -> DiskOptions:
    """The options of a disk that is there: as it was made, and reached as it is asked for now; what is not asked for stays."""
    said = {name: getattr(asked, name) for name in ACCESS if getattr(asked, name) != getattr(DEFAULT_OPTIONS, name)}
    return replace(made_with, **said)
