# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What is kept of images in a Ceph pool to clone disks from: one image each, with a protected snapshot."""

from __future__ import annotations

import contextlib
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy, InsufficientResources, NotFound, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend import makers
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.base import whole_sectors
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.rbd_making import FEATURES, MARK, Making
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.records import Backing, Base
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import CachedImage

SNAPSHOT = "base"
_PREFIX = f"{makers.RESERVED}base-"
_DIGEST = f"{MARK}.image"  # in a base's metadata


class Bases:
    """Those of one place."""

    def __init__(self, making: Making) -> None:
        self._making = making

    def backing(self, image: CachedImage) -> Backing:
        return Backing(self._spec(base_name(image.digest)), "raw", image.digest)

    def make(self, image: CachedImage, deadline: Deadline) -> None:
        """Once per image, whoever else is making it: the first to rename wins, the others use that one."""
        making = self._making
        with (
            contextlib.suppress(Busy),
            makers.maker(making.location, deadline.clock) as worker,
            making.unfinished(worker.new_name("base"), deadline) as unfinished,
        ):
            making.create(unfinished, whole_sectors(image.virtual_size), deadline)
            making.ask("mark", deadline, name=unfinished, mark=_DIGEST, value=image.digest)
            making.convert(image.path, image.format, unfinished, deadline)
            self._keep(unfinished, deadline)
            self._remove_half(base_name(image.digest), deadline)
            making.take_name(unfinished, base_name(image.digest), deadline)

    def clone(self, image: CachedImage, name: str, deadline: Deadline) -> None:
        """:raises NotFound: there is no base of this image."""
        self._making.ask("clone", deadline, base=base_name(image.digest), snapshot=SNAPSHOT, name=name, features=FEATURES)

    def found(self, deadline: Deadline) -> list[Base]:
        names = [name for name in self._making.ask("names", deadline, "check") if name.startswith(_PREFIX)]
        looks = {name: self._look(name, deadline) for name in names}
        found = [Base(self._digest(name, look), self._users(look, deadline)) for name, look in looks.items() if look is not None]
        return sorted(found, key=lambda base: base.digest)

    def remove(self, digest: str, deadline: Deadline) -> bool:
        """:raises Busy: something stands on it, or somebody has opened it."""
        name = base_name(digest)
        look = self._look(name, deadline)
        if look is None:
            return False
        self._refuse_used(name, look, deadline)
        with makers.maker(self._making.location, deadline.clock) as worker:
            dying = worker.dying_name("image")
            try:
                # From here on nobody else finds it, but a clone that was begun before may still come.
                self._making.rename(name, dying, deadline)
            except NotFound:
                return False
            except InsufficientResources:
                # In a full pool, which takes no new name: without its snapshot it is no base any more.
                self._making.ask("remove", deadline, name=name)
                return True
            try:
                self._refuse_used(name, self._look(dying, deadline), deadline)
                self._making.ask("remove", deadline, name=dying)
            except Busy:
                self._bring_back(dying, name, deadline)
                raise
        return True

    def _remove_half(self, name: str, deadline: Deadline) -> None:
        """End the removal of one that had lost its snapshot, and not its name."""
        snapshots = self._making.ask("snapshots", deadline, name=name)
        if snapshots is not None and SNAPSHOT not in snapshots and self._look(name, deadline) is not None:
            self._making.ask("remove", deadline, name=name)

    def _bring_back(self, dying: str, name: str, deadline: Deadline) -> None:
        """Whole, under its name; where somebody has made it anew meanwhile, it stays a leftover for as long as there is a clone."""
        with contextlib.suppress(VirtError):
            if SNAPSHOT not in (self._making.ask("snapshots", deadline, name=dying) or []):
                self._keep(dying, deadline)
            self._making.rename(dying, name, deadline)

    def _keep(self, name: str, deadline: Deadline) -> None:
        self._making.ask("snapshot", deadline, name=name, snapshot=SNAPSHOT)
        self._making.ask("protect", deadline, name=name, snapshot=SNAPSHOT)

    def _look(self, name: str, deadline: Deadline) -> dict[str, Any] | None:
        """None where there is none of ours."""
        found: dict[str, Any] | None = self._making.ask("standing", deadline, "check", name=name)
        return found if found is not None and MARK in found["about"] else None

    def _digest(self, name: str, look: dict[str, Any]) -> str:
        return str(look["about"].get(_DIGEST) or name[len(_PREFIX) :])

    def _refuse_used(self, name: str, look: dict[str, Any] | None, deadline: Deadline) -> None:
        users = () if look is None else self._users(look, deadline)
        if users:
            said = ", ".join(users[:5])
            raise Busy(f"it is still used by {said}", obj=self._spec(name), phase="remove", hint="flatten or remove what stands on it first")

    def _users(self, look: dict[str, Any], deadline: Deadline) -> tuple[str, ...]:
        clones = [self._called(clone) for clone in look["clones"] if not self._is_left(clone, deadline)]
        return tuple(sorted({*clones, *(f"client {address}" for address in look["watchers"])}))

    def _is_left(self, clone: dict[str, Any], deadline: Deadline) -> bool:
        """Whether a dead maker left it, so that the next sweep takes it away; one that the cluster still takes for open, it does not."""
        name = str(clone["name"])
        if clone["place"] != self._making.location or makers.leftover(self._making.location, name, deadline.clock) is None:
            return False
        try:
            return not self._making.ask("watchers", deadline, "check", name=name)
        except NotFound:
            return True

    def _called(self, clone: dict[str, Any]) -> str:
        name = str(clone["name"]) if clone["place"] == self._making.location else f"{clone['place']}/{clone['name']}"
        return f"{name} (in the trash)" if clone["trash"] else name

    def _spec(self, name: str) -> str:
        return f"{self._making.spec(name)}@{SNAPSHOT}"


def base_name(digest: str) -> str:
    return f"{_PREFIX}{digest.rpartition(':')[2][:40]}"
