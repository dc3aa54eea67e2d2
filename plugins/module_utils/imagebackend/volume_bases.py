# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What is kept of images in a thin pool to make disks from: a volume for each image, and one for each other size that was asked for.

A disk is a thin snapshot of its base and does not depend on it. Its tag ``base`` says that they share blocks: as long as one does, the base
takes little room, and what would be made without it could share nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy, NotFound
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend import makers
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.base import whole_sectors
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.records import Base
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.volume_group import OWNER_TAG, Volume, VolumeGroup, tag
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.volume_making import Making
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import CachedImage

_PREFIX = f"{makers.RESERVED}base-"


class Bases:
    """Those of one thin pool; a group without a pool has none."""

    def __init__(self, group: VolumeGroup, making: Making) -> None:
        self._group = group
        self._making = making

    def name(self, image: CachedImage, size: int = 0) -> str:
        """:param size: bytes of the disk; 0 for the image's own."""
        return base_name(self._group.pool, image, size)

    def make(self, image: CachedImage, size: int, volumes: Sequence[Volume], deadline: Deadline) -> None:
        """What a disk of this size is a snapshot of. Once, whoever else is making it: the first to rename wins, the others use that one.

        :param volumes: all there are.
        :raises NotFound: somebody removed the smaller one meanwhile.
        """
        plain, wanted = self.name(image), self.name(image, size)
        found = next((one for one in volumes if one.name == plain), None)
        tags = [OWNER_TAG, tag("image", image.digest.replace(":", "-"))]
        if found is None:
            with contextlib.suppress(Busy), self._making.new(plain, image.virtual_size, tags, deadline, "base") as volume:
                self._making.convert(image.path, image.format, volume, deadline)
            found = next((one for one in self._group.volumes(deadline) if one.name == plain), None) if wanted != plain else None
        if wanted == plain:
            return
        if found is None:
            raise NotFound("its base volume is gone", obj=self._group.device(plain), phase="disk", hint="somebody removed it meanwhile: run again")
        with contextlib.suppress(Busy):
            # It shares the blocks of the plain one, so it takes no room.
            self._making.larger_copy(found, wanted, size, tags, deadline)

    def found(self, volumes: Sequence[Volume], clock: Clock) -> list[Base]:
        """:param volumes: all there are."""
        own = [one for one in volumes if self._is_base(one)]
        return sorted((_base(digest, own, volumes, self._group.name, clock) for digest in {_digest(one) for one in own}), key=lambda base: base.digest)

    def remove(self, digest: str, volumes: Sequence[Volume], deadline: Deadline) -> bool:
        """Those of all sizes.

        :param volumes: all there are.
        :raises Busy: disks share blocks with one, or one is open.
        """
        own = [one for one in volumes if self._is_base(one) and _short(_digest(one)) == _short(digest)]
        if not own:
            return False
        users = _base(digest, own, volumes, self._group.name, deadline.clock).users
        if users:
            said = ", ".join(users[:5])
            hint = "remove what stands on it first"
            raise Busy(f"it is still used by {said}", obj=self._group.device(own[0].name), phase="remove", hint=hint)
        # The plain one last: as long as something is left of them, it is there to be removed.
        with contextlib.suppress(NotFound):  # somebody else was faster
            self._group.remove(sorted((one.name for one in own), key=len, reverse=True), deadline)
        return True

    def _is_base(self, volume: Volume) -> bool:
        return bool(self._group.pool) and volume.ours and volume.pool == self._group.pool and volume.name.startswith(_PREFIX)


def base_name(pool: str, image: CachedImage, size: int = 0) -> str:
    # Both are rounded up to extents, whose size is a power of two of at least a sector.
    larger = size > whole_sectors(image.virtual_size)
    # Names are the group's: each of its pools has bases of its own.
    plain = f"{_PREFIX}{_short(image.digest)}-{hashlib.sha256(pool.encode()).hexdigest()[:8]}"
    return f"{plain}-{size}" if larger else plain


def _base(digest: str, own: Sequence[Volume], volumes: Sequence[Volume], group: str, clock: Clock) -> Base:
    names = {one.name for one in own if _short(_digest(one)) == _short(digest)}
    standing = {_called(one) for one in volumes if one.ours and one.tag("base") in names and makers.leftover(group, one.name, clock) is None}
    opened = {f"whoever has {one.name} open" for one in own if one.name in names and one.is_open}
    return Base(digest, tuple(sorted(standing | opened)))


def _called(volume: Volume) -> str:
    snapshot = volume.tag("snapshot")
    return f"{volume.tag('disk')}@{snapshot}" if snapshot else volume.name


def _digest(volume: Volume) -> str:
    return volume.tag("image").replace("-", ":", 1)


def _short(digest: str) -> str:
    return digest.rpartition(":")[2][:40]
