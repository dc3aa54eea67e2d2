# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""RBD images on their way: made under a maker's name until they are whole, removed under another, and swept up after who died."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy, InsufficientResources, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend import files, makers
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.ceph import Access
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.ceph_client import Rados
from ansible_collections.poolwright.virt.plugins.module_utils.images import qemu_img

# Deep flatten: a disk that was made independent of its base is so with all its snapshots.
FEATURES = ("layering", "exclusive-lock", "object-map", "fast-diff", "deep-flatten")
DYING = "poolwright-dying"  # likewise, of a disk that could not lose its name before it is removed
MARK = "poolwright"  # in the image's metadata, which a clone takes over from its base


class Making:
    """What happens to the images of one place.

    :param location: ``pool`` or ``pool/namespace``.
    :param disk: the image or the place that errors name.
    """

    def __init__(self, rados: Rados, access: Access, location: str, disk: str) -> None:
        self._rados = rados
        self._access = access
        self.location = location
        self.disk = disk

    def ask(self, what: str, deadline: Deadline, phase: str = "disk", **arguments: Any) -> Any:
        return self._rados.ask(what, self.disk, deadline, phase, place=self.location, **arguments)

    def spec(self, name: str) -> str:
        return f"{self.location}/{name}"

    # -- making

    @contextlib.contextmanager
    def unfinished(self, name: str, deadline: Deadline) -> Iterator[str]:
        """An image that the block makes under this name; where the block ends with an error, it goes."""
        with files.naming_final(self.disk, self.spec(name)):
            try:
                yield name
            except BaseException:  # whatever it is, goes on after half an image is gone
                # With time of its own: it may be the deadline that passed. What cannot be removed now is by the next run.
                with contextlib.suppress(VirtError):
                    self.ask("remove", Deadline.after(deadline.clock, 30), name=name)
                raise

    def create(self, name: str, size: int, deadline: Deadline) -> None:
        self.ask("create", deadline, name=name, size=size, features=FEATURES, mark=MARK)

    def convert(self, source: str, source_format: str, name: str, deadline: Deadline) -> None:
        qemu_img.convert(source, source_format, self._access.qemu_name(self.spec(name)), "raw", deadline, into_zeros=True)

    def take_name(self, name: str, new: str, deadline: Deadline) -> None:
        """:raises Busy: the new name is taken."""
        try:
            self.rename(name, new, deadline)
        except Busy:
            if not self.mend_name(new, deadline):
                raise
            self.rename(name, new, deadline)

    def rename(self, name: str, new: str, deadline: Deadline) -> None:
        """:raises Busy: the new name is taken."""
        self.ask("rename", deadline, name=name, new=new)

    # -- removing

    def remove(self, name: str, deadline: Deadline) -> None:
        """A disk's name goes first: one that is half removed is no disk. :raises Busy: it is in use, and stays what it was."""
        with makers.maker(self.location, deadline.clock) as worker:
            dying = worker.dying_name("image")
            try:
                self.rename(name, dying, deadline)
            except InsufficientResources:
                self._remove_in_place(name, deadline)
                return
            try:
                self.ask("remove", deadline, name=dying)
            except Busy:
                # Opened meanwhile, or cloned by somebody.
                self.rename(dying, name, deadline)
                raise

    def _remove_in_place(self, name: str, deadline: Deadline) -> None:
        """In a full pool, which takes no new name."""
        self.ask("mark", deadline, name=name, mark=DYING)
        try:
            self.ask("remove", deadline, name=name)
        except Busy:
            self.ask("unmark", deadline, name=name, mark=DYING)
            raise

    # -- after who died

    def sweep(self, deadline: Deadline) -> None:
        """Remove what dead makers left of any image of the place."""
        busy = False
        for name in self.ask("names", deadline, "check"):
            if makers.leftover(self.location, name, deadline.clock) is not None:
                try:
                    self.ask("remove", deadline, name=name)
                except Busy:
                    # The cluster takes a killed client for one that is still there, for half a minute.
                    busy = True
        if not busy:
            makers.forget_dead(self.location)

    def mend_name(self, name: str, deadline: Deadline) -> bool:
        """Free a name that a dead maker's rename has taken, and has not listed the image under, or whose image it had half removed; whether it was so."""
        found = self.ask("look", deadline, name=name)
        if found is not None and found["name"] == name and DYING in found["keys"]:
            self.ask("remove", deadline, name=name)
            return True
        holder = self.ask("holder", deadline, name=name)
        if holder is None or holder == name:
            return False
        if holder:
            if makers.leftover(self.location, holder, deadline.clock) is None:
                return False
            self.ask("remove", deadline, name=holder)
        self.ask("free_name", deadline, name=name)
        return True
