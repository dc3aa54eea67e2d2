# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""RBD on the Ceph cluster of the lab; ``POOLWRIGHT_CEPH_CONF`` names another one."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend import ceph_client
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.options import DiskOptions
from ansible_collections.poolwright.virt.tests.contract.imagebackend.labs.base import DiskLab, LabFailed

_ROOT = Path(__file__).resolve().parents[4]
_CONF = os.environ.get("POOLWRIGHT_CEPH_CONF") or str(_ROOT / ".work" / "lab" / "ceph" / "ceph.conf")
_PYTHON = "/usr/bin/python3"  # of Debian, as Ceph's libraries are
# Processes of one run have pools of their own: what one does to a quota is not for another.
_OWN = os.environ.get("PYTEST_XDIST_WORKER", "")
_NARROW, _TINY = (f"{name}-{_OWN}" if _OWN else name for name in ("narrow", "tiny"))
_TINY_QUOTA = 2 * 1024 * 1024


class RbdLab(DiskLab):
    """A namespace of the pool ``rbd`` for each case, and two pools: one whose quota is 2 MiB, and one whose quota changes."""

    name = backend = "rbd"
    keeps_bases = True
    bad_locations = ("", "/", "a/b/c", "../x", "pool@snap", "pool/", "-x")
    bad_names = ("poolwright-base-1",)
    package = "ceph-common"
    shortages: ClassVar[Mapping[str, Sequence[int]]] = {"MiB": (0, 1, 5, 64)}
    changing: ClassVar[Mapping[str, Sequence[int]]] = {"MiB": (0, 64)}
    takes_room: ClassVar[Mapping[str, frozenset[str]]] = {"MiB": frozenset({"flatten"})}
    options = DiskOptions(conf=_CONF)
    no_location = "nowhere"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._cases = itertools.count()
        self._pools: set[str] = set()

    def start(self) -> None:
        if not os.path.exists(_CONF):
            raise LabFailed(f"there is no {_CONF}: run make lab-up")
        # Without the program's folder in its path: there this file would be taken for Ceph's library.
        command = [_PYTHON, "-I", str(Path(__file__).with_name("ceph_hands.py")), _CONF]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            self._ask("names", "rbd")
        except LabFailed:
            self.stop()
            raise

    def stop(self) -> None:
        with self._process:
            pass

    def begin(self) -> None:
        self.location = f"rbd/case-{os.getpid()}-{next(self._cases)}"
        self._ask("make_namespace", self.location)

    def end(self) -> None:
        for location in (self.location, *self._pools):
            self._ask("empty", location)
        self._ask("remove_namespace", self.location)

    @property
    def tiny_location(self) -> str:  # type: ignore[override]
        return self._pool(_TINY, _TINY_QUOTA)

    def volumes(self, location: str = "") -> list[str]:
        return list(self._ask("names", location or self.location))

    @contextlib.contextmanager
    def room(self, kind: str, amount: int) -> Iterator[str]:
        with self.plenty() as location:
            # No quota at all is what 0 would mean.
            self._ask("set_quota", location, amount * 1024 * 1024 or 1)
            if amount:
                # Full by what was there before, it is empty now.
                self._await_full(False)
            yield location

    @contextlib.contextmanager
    def plenty(self) -> Iterator[str]:
        location = self._pool(_NARROW, 0)
        try:
            yield location
        finally:
            self._ask("set_quota", location, 0)

    def narrow(self, kind: str, amount: int) -> None:
        """And wait until the cluster has noticed that the pool is full, or is so no more."""
        self._ask("set_quota", _NARROW, amount * 1024 * 1024 + int(self._ask("stats", _NARROW)["stored"]) if amount else 1)
        self._await_full(not amount)

    def _await_full(self, wanted: bool) -> None:
        """Until the cluster has noticed that the narrow pool's quota is used up, or is so no more."""
        while ("full_quota" in self._ask("flags", _NARROW)) != wanted:
            time.sleep(0.1)

    def _pool(self, name: str, quota: int) -> str:
        """A pool that is made when it is first asked for, and then kept."""
        if name not in self._pools:
            if name not in self._ask("pools"):
                self._ask("make_pool", name)
            self._ask("set_quota", name, quota)
            # Until the cluster has counted for the first time, it seems to have no room.
            while not self._ask("stats", name).get("max_avail"):
                time.sleep(0.1)
            self._pools.add(name)
        return name

    @contextlib.contextmanager
    def elsewhere(self) -> Iterator[str]:
        here = self.location
        self.begin()
        other, self.location = self.location, here
        try:
            yield other
        finally:
            self._ask("empty", other)
            self._ask("remove_namespace", other)

    def disconnect(self) -> None:
        ceph_client.stop_idle()

    def settle(self) -> None:
        """Not by waiting: a killed client's address is put on the cluster's blocklist, as whoever breaks its locks does."""
        while self._ask("forget_clients", self.location):
            time.sleep(0.05)

    def put_foreign(self, name: str) -> None:
        self._ask("create", self.location, name, 3 * 1024 * 1024)

    def foreign_is_whole(self, name: str) -> bool:
        return list(self._ask("shape", self.location, name)) == [3 * 1024 * 1024, 0]

    def _ask(self, what: str, *arguments: Any) -> Any:
        """:raises LabFailed: with what Ceph said."""
        given, taken = self._process.stdin, self._process.stdout
        assert given is not None and taken is not None
        with contextlib.suppress(BrokenPipeError):
            given.write(f"{json.dumps([what, *arguments])}\n")
            given.flush()
        line = taken.readline()
        if not line:
            raise LabFailed(f"the lab's program for Ceph has ended, with the status {self._process.wait()}")
        answer = json.loads(line)
        if "failed" in answer:
            raise LabFailed(answer["failed"])
        return answer["is"]
