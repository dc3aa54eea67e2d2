# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Logical volumes on their way: made under a maker's name until they are whole, removed under another, and swept up after who died."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend import base, files, makers
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.volume_group import Volume, VolumeGroup
from ansible_collections.poolwright.virt.plugins.module_utils.images import qemu_img


class Making:
    """What happens to the volumes of one disk.

    :param disk: the disk's device, which errors name.
    :param clear: what is done to a volume's blocks before it is removed: ``none``, ``zero`` or ``discard``.
    """

    def __init__(self, group: VolumeGroup, disk: str, clear: str) -> None:
        self._group = group
        self._disk = disk
        self._clear = clear

    @contextlib.contextmanager
    def new(self, final: str, size: int, tags: Sequence[str], deadline: Deadline, kind: str = "disk") -> Iterator[str]:
        """A volume with no certain contents; it gets its name when the block ends without an error, else it is removed.

        :raises Busy: the name is taken.
        """
        with makers.maker(self._group.name, deadline.clock) as worker:
            volume = worker.new_name(kind)
            with self._unfinished(volume, deadline):
                self._group.create(volume, size, tags, deadline)
                yield volume
                self._become(volume, final, deadline)

    @contextlib.contextmanager
    def copy(self, source: Volume, tags: Sequence[str], worker: makers.Maker, deadline: Deadline, size: int = 0) -> Iterator[str]:
        """A volume with the same contents, at least ``size`` bytes large: shared blocks in a pool, else a copy. The block renames it."""
        size = max(size, source.size)
        volume = worker.new_name("copy")
        with self._unfinished(volume, deadline):
            if source.pool:
                self._group.snapshot(source.name, volume, tags, deadline)
                if size > source.size:
                    self._group.extend(volume, size, deadline)
            else:
                self._group.create(volume, size, tags, deadline)
                self.convert(self._group.device(source.name), "raw", volume, deadline)
                self.clear_rest(volume, source.size, deadline)
            yield volume

    def larger_copy(self, source: Volume, final: str, size: int, tags: Sequence[str], deadline: Deadline) -> None:
        """:raises Busy: the name is taken."""
        with makers.maker(self._group.name, deadline.clock) as worker, self.copy(source, tags, worker, deadline, size) as copy:
            self._become(copy, final, deadline)

    def convert(self, source: str, source_format: str, volume: str, deadline: Deadline) -> None:
        qemu_img.convert(source, source_format, self._group.device(volume), "raw", deadline, into_zeros=bool(self._group.pool))

    def clear_rest(self, volume: str, begin: int, deadline: Deadline) -> None:
        """Zeros up to the end of a thick volume, its last extent included."""
        if self._group.pool:
            return
        size = self.size(volume)
        if begin < size:
            self._group.wipe(volume, begin, size - begin, deadline)

    def size(self, volume: str) -> int:
        """Bytes, as its device has them."""
        with open(self._group.device(volume), "rb") as device:
            return device.seek(0, os.SEEK_END)

    def remove(self, volumes: Sequence[Volume], deadline: Deadline) -> None:
        """Remove volumes, in this order, and clear them before. :raises Busy: one is open."""
        if self._clear == "none":
            self._group.remove([volume.name for volume in volumes], deadline)
            return
        for volume in volumes:
            # Its name goes first: a volume that is half cleared is no disk. A dead run's is cleared and removed by the next.
            with makers.maker(self._group.name, deadline.clock) as worker:
                dying = self.dying_name(worker)
                self._group.rename(volume.name, dying, deadline)
                self.finish(dying, volume.size, deadline)

    def dying_name(self, worker: makers.Maker) -> str:
        return worker.dying_name(self._clear)

    def finish(self, volume: str, size: int, deadline: Deadline, how: str = "") -> None:
        """End the removal of a volume that has lost its name."""
        how = how or self._clear
        if how != "none":
            self._group.wipe(volume, 0, size, deadline, discard=how == "discard")
        self._group.remove([volume], deadline)

    def sweep(self, volumes: Sequence[Volume], deadline: Deadline) -> None:
        """Remove what dead makers left of any disk, in the way that they had begun."""
        for volume in volumes:
            left = makers.leftover(self._group.name, volume.name, deadline.clock) if volume.ours else None
            if left is not None:
                self.finish(volume.name, volume.size, deadline, left.how if left.dying else "none")
        makers.forget_dead(self._group.name)

    @contextlib.contextmanager
    def _unfinished(self, volume: str, deadline: Deadline) -> Iterator[None]:
        with files.naming_final(self._disk, self._group.device(volume)):
            try:
                yield
            except BaseException:  # whatever it is, goes on after half a volume is gone
                # With time of its own: it may be the deadline that passed. What cannot be removed now is by the next run.
                with contextlib.suppress(VirtError):
                    self._group.remove([volume], Deadline.after(deadline.clock, 30))
                raise

    def _become(self, volume: str, final: str, deadline: Deadline) -> None:
        try:
            self._group.rename(volume, final, deadline)
        except Busy as exc:
            raise base.taken(self._group.device(final)) from exc
