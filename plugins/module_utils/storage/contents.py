# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What goes onto disks that are made without an image: how large it is, what it is called, and who writes it.

``described`` looks at a wish once, before anything is touched; what it returns makes the disk, here and now or on another host later.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import ImageRefused, InvalidSpec
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.base import whole_sectors
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.disks import CreatableDisk, DiskFromFunc, DiskFromImage, blank
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import CachedImage
from ansible_collections.poolwright.virt.plugins.module_utils.storage import digests, file_systems, trees
from ansible_collections.poolwright.virt.plugins.module_utils.storage.record import Origin
from ansible_collections.poolwright.virt.plugins.module_utils.storage.trees import Tree
from ansible_collections.poolwright.virt.plugins.module_utils.storage.wish import BLANK, DIRECTORY, NOTHING, SWAP, Content, DiskWish

_MIB = 1024 * 1024
_LEAST = {"ext2": 2 * _MIB, "ext3": 16 * _MIB, "ext4": 16 * _MIB, "xfs": 300 * _MIB, "vfat": _MIB, "": 0}
_LEAST_SWAP = 64 * 1024

Told = Callable[[str], None]


@dataclass(frozen=True)
class Contents:
    """Contents that can be written.

    :ivar size: bytes of the disk that they go onto.
    :ivar seed: what their ids are derived from.
    :ivar hint: names them.
    """

    content: Content
    size: int
    seed: str
    tree: Tree | None = None
    tree_digest: str = ""

    @property
    def hint(self) -> str:
        return f"{self.content.kind}_{self.content.file_system or self.size}"

    def writer(self, deadline: Deadline, told: Told | None = None) -> Callable[[str], None]:
        """The ``func`` of ``Image.create_from_func``.

        :param told: gets the digest of what was written, before the disk is made of it.
        """
        if self.content.kind == BLANK and told is None:
            return blank

        def write(path: str) -> None:
            self._write(path, deadline)
            if told is not None:
                told(digests.of_file(path, deadline))

        return write

    def _write(self, path: str, deadline: Deadline) -> None:
        content, tree = self.content, self.tree
        if content.kind == BLANK:
            return
        if content.file_system == "iso9660" and tree is not None:
            file_systems.make_iso(path, tree, content.label, deadline)
            return
        os.truncate(path, self.size)
        if content.kind == SWAP:
            file_systems.make_swap(path, self.seed, content.label, deadline)
        elif content.file_system == "xfs":
            file_systems.make_xfs(path, self.seed, content.label, deadline)
        elif content.file_system == "vfat":
            file_systems.make_vfat(path, self.seed, content.label, deadline)
        else:
            file_systems.make_ext(path, content.file_system, self.size, self.seed, content.label, deadline, tree)


def described(wish: DiskWish, deadline: Deadline, *, seed: str = "") -> Contents:
    """The contents of a wish without an image; a directory is read.

    :param seed: of a disk that is to be like another, that one's.
    :raises InvalidSpec: too small, or something that cannot be copied.   :raises NotFound: there is no such directory.
    """
    content, seed = wish.content or NOTHING, seed or wish.name
    tree = trees.look(content.directory, deadline) if content.kind == DIRECTORY else None
    size = whole_sectors(_size(wish, content, tree, deadline))
    found = "" if tree is None else trees.digest(tree, owners=content.file_system != "iso9660", deadline=deadline)
    return Contents(content, size, seed, tree, found)


def _size(wish: DiskWish, content: Content, tree: Tree | None, deadline: Deadline) -> int:
    iso = content.file_system == "iso9660"
    least = _LEAST_SWAP if content.kind == SWAP else _LEAST.get(content.file_system, 0)
    if tree is not None:
        least = file_systems.iso_size(tree, content.label, deadline) if iso else max(least, tree.blocks * 4096)
    if wish.size is None:
        if tree is None:
            raise InvalidSpec([f"{wish.name}: nothing says how large the disk is; give size_gb"])
        return least if iso else _roomy(tree)
    if wish.size < least:
        enough = f"give {-(-least // _MIB) / 1024:g} or more"
        raise InvalidSpec([f"{wish.name}: size_gb: {wish.size} bytes are too few for {content}, which needs {least}; {enough}"])
    return wish.size


def _roomy(tree: Tree) -> int:
    """Room for the tree, its tables and its journal, in whole MiB."""
    needed = 16 * _MIB + tree.blocks * 4096 * 11 // 10 + len(tree.entries) * 512
    return -(-needed // _MIB) * _MIB


def creatable(wish: DiskWish, source: CachedImage | Contents, deadline: Deadline, told: Told | None = None) -> CreatableDisk:
    """The disk that can be made from what a wish was found to stand for.

    :param told: see ``Contents.writer``.
    """
    if isinstance(source, CachedImage):
        return DiskFromImage(wish.place(), source, wish.size)
    return DiskFromFunc(wish.place(), source.writer(deadline, told), source.size, source.hint)


def origin_of(wish: DiskWish, source: CachedImage | Contents) -> Origin:
    """What is recorded of it."""
    if isinstance(source, CachedImage):
        if wish.image is None:
            raise ImageRefused("a disk that is described without an image is not made from one", obj=wish.name, phase="disk")
        found = Origin.of(wish)
        return Origin(found.source, source.digest, found.format, found.compression, found.convert_to)
    return Origin(content=source.content, seed=source.seed, tree=source.tree_digest)
