# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""RBD on the Ceph cluster of the lab; ``POOLWRIGHT_CEPH_CONF`` names another one that has its two pools."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend import ceph_client
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.options import DiskOptions
from ansible_collections.poolwright.virt.tests.contract.imagebackend.labs.base import DiskLab, LabFailed, run

_ROOT = Path(__file__).resolve().parents[4]
_CONF = os.environ.get("POOLWRIGHT_CEPH_CONF") or str(_ROOT / ".work" / "lab" / "ceph" / "ceph.conf")
_NARROW = "narrow"


class RbdLab(DiskLab):
    """A namespace of the pool ``rbd`` for each case, and the pool ``tiny``, whose quota is 2 MiB."""

    name = backend = "rbd"
    keeps_bases = True
    bad_locations = ("", "/", "a/b/c", "../x", "pool@snap", "pool/", "-x")
    bad_names = ("poolwright-base-1",)
    package = "ceph-common"
    shortages: ClassVar[Mapping[str, Sequence[int]]] = {"MiB": (0, 1, 5, 64)}
    changing: ClassVar[Mapping[str, Sequence[int]]] = {"MiB": (0, 64)}
    takes_room: ClassVar[Mapping[str, frozenset[str]]] = {"MiB": frozenset({"flatten"})}
    options = DiskOptions(conf=_CONF)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._cases = itertools.count()

    def start(self) -> None:
        if not os.path.exists(_CONF):
            raise LabFailed(f"there is no {_CONF}: run make lab-up")
        self._rbd("ls")
        # A pool whose quota changes: that of "tiny" is what other cases count on, and the cluster counts late.
        if _NARROW not in self._ceph("osd", "pool", "ls").split():
            self._ceph("osd", "pool", "create", _NARROW, "1")
            self._rbd("pool", "init", _NARROW)

    def stop(self) -> None:
        pass

    def begin(self) -> None:
        self.location = f"rbd/case-{os.getpid()}-{next(self._cases)}"
        self.no_location = "nowhere"
        self.tiny_location = "tiny"
        self._rbd("namespace", "create", self.location)

    def end(self) -> None:
        for location in (self.location, self.tiny_location, _NARROW):
            self._empty(location)
        self._rbd("namespace", "remove", self.location)

    def volumes(self, location: str = "") -> list[str]:
        return sorted(json.loads(self._rbd("ls", location or self.location, "--format", "json")))

    @contextlib.contextmanager
    def room(self, kind: str, amount: int) -> Iterator[str]:
        # No quota at all is what 0 would mean.
        self._quota(amount * 1024 * 1024 or 1)
        try:
            yield _NARROW
        finally:
            self._quota(0)

    @contextlib.contextmanager
    def plenty(self) -> Iterator[str]:
        try:
            yield _NARROW
        finally:
            self._quota(0)

    def narrow(self, kind: str, amount: int) -> None:
        """And wait until the cluster has noticed that the pool is full, or is so no more."""
        self._quota(amount * 1024 * 1024 + self._stored() if amount else 1)
        while ("full_quota" in self._flags()) == bool(amount):
            time.sleep(0.2)

    def _quota(self, size: int) -> None:
        self._ceph("osd", "pool", "set-quota", _NARROW, "max_bytes", str(size))

    def _stored(self) -> int:
        pools = json.loads(self._ceph("df", "--format", "json"))["pools"]
        return int(next(pool["stats"]["stored"] for pool in pools if pool["name"] == _NARROW))

    def _flags(self) -> str:
        pools = json.loads(self._ceph("osd", "dump", "--format", "json"))["pools"]
        return str(next(pool["flags_names"] for pool in pools if pool["pool_name"] == _NARROW))

    @contextlib.contextmanager
    def elsewhere(self) -> Iterator[str]:
        here = self.location
        self.begin()
        other, self.location = self.location, here
        try:
            yield other
        finally:
            self._empty(other)
            self._rbd("namespace", "remove", other)

    def disconnect(self) -> None:
        ceph_client.stop_idle()

    def settle(self) -> None:
        while any(self._watched(f"{self.location}/{name}") for name in self.volumes()):
            time.sleep(0.3)

    def _watched(self, image: str) -> bool:
        # One that was half made cannot be looked at.
        with contextlib.suppress(LabFailed):
            return bool(json.loads(self._rbd("status", image, "--format", "json")).get("watchers"))
        return False

    def put_foreign(self, name: str) -> None:
        self._rbd("create", "--size", "3M", f"{self.location}/{name}")

    def foreign_is_whole(self, name: str) -> bool:
        said = json.loads(self._rbd("info", f"{self.location}/{name}", "--format", "json"))
        return bool(said["size"] == 3 * 1024 * 1024 and said["snapshot_count"] == 0)

    def _empty(self, location: str) -> None:
        # Clones before what they were cloned from.
        for _round in range(2):
            for name in self.volumes(location):
                with contextlib.suppress(LabFailed):
                    self._remove(f"{location}/{name}")

    def _remove(self, image: str) -> None:
        for row in json.loads(self._rbd("snap", "ls", image, "--format", "json")):
            with contextlib.suppress(LabFailed):
                self._rbd("snap", "unprotect", f"{image}@{row['name']}")
            self._rbd("snap", "rm", "--no-progress", f"{image}@{row['name']}")
        self._rbd("rm", "--no-progress", image)

    def _ceph(self, *arguments: str) -> str:
        return run("ceph", "--conf", _CONF, *arguments)

    def _rbd(self, *arguments: str) -> str:
        return run("rbd", "--conf", _CONF, *arguments)
