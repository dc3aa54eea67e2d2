# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The backends whose locations are directories."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from ansible_collections.poolwright.virt.tests.contract.imagebackend.labs.base import DiskLab, LabFailed, run

_TINY = "size=4m,nr_inodes=1000"


class DirectoryLab(DiskLab):
    """A directory of its own for each case, and a file system of 4 MiB."""

    kept_in_files = True
    bad_locations = ("", "disks", "/var/../etc", "json:{}")
    shortages: ClassVar[Mapping[str, Sequence[int]]] = {"KiB": (*range(0, 256, 32), *range(256, 24 * 1024, 512)), "files": range(16)}
    changing: ClassVar[Mapping[str, Sequence[int]]] = {"KiB": (0, 32, 128, 512, *range(1024, 20 * 1024, 2048)), "files": range(8)}
    suffix: str

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._cases = itertools.count()
        self._tiny = folder / "tiny"

    def start(self) -> None:
        if os.geteuid() != 0:
            raise LabFailed("mounting a small file system needs root")
        self._tiny.mkdir(parents=True)
        run("mount", "-t", "tmpfs", "-o", _TINY, "tmpfs", self._tiny)

    def stop(self) -> None:
        with contextlib.suppress(LabFailed):
            run("umount", self._tiny)

    def begin(self) -> None:
        case = self.folder / f"case{next(self._cases)}"
        case.mkdir()
        (case / "a file").write_bytes(b"")
        self.location = str(case / "disks")
        self.no_location = str(case / "a file" / "disks")
        self.tiny_location = str(self._tiny / "disks")

    def end(self) -> None:
        for place in (self.location, self.tiny_location):
            shutil.rmtree(place, ignore_errors=True)

    def volumes(self, location: str = "") -> list[str]:
        place = location or self.location
        return sorted(os.listdir(place)) if os.path.isdir(place) else []

    @contextlib.contextmanager
    def room(self, kind: str, amount: int) -> Iterator[str]:
        self.narrow(kind, amount)
        with self._emptied():
            yield self.tiny_location

    @contextlib.contextmanager
    def plenty(self) -> Iterator[str]:
        self.widen()
        with self._emptied():
            yield self.tiny_location

    def narrow(self, kind: str, amount: int) -> None:
        found = os.statvfs(self._tiny)
        # No limit at all is what a size of 0 would mean.
        size = max((found.f_blocks - found.f_bfree) * found.f_frsize + amount * 1024, 4096)
        limits = f"size={size},nr_inodes=1000" if kind == "KiB" else f"size=128m,nr_inodes={found.f_files - found.f_ffree + amount}"
        run("mount", "-o", f"remount,{limits}", self._tiny)

    def widen(self) -> None:
        run("mount", "-o", "remount,size=128m,nr_inodes=1000", self._tiny)

    @contextlib.contextmanager
    def _emptied(self) -> Iterator[None]:
        try:
            yield
        finally:
            shutil.rmtree(self.tiny_location, ignore_errors=True)
            run("mount", "-o", f"remount,{_TINY}", self._tiny)

    def put_foreign(self, name: str) -> None:
        place = Path(self.location, f"{name}.{self.suffix}")
        place.mkdir(parents=True)
        (place / "letter").write_text("somebody's")

    def foreign_is_whole(self, name: str) -> bool:
        place = Path(self.location, f"{name}.{self.suffix}")
        return [path.name for path in place.iterdir()] == ["letter"] and (place / "letter").read_text() == "somebody's"


class FlatLab(DirectoryLab):
    name = backend = "flat"
    suffix = "raw"
    takes_room: ClassVar[Mapping[str, frozenset[str]]] = {
        "KiB": frozenset({"snapshot", "revert"}),
        "files": frozenset({"snapshot", "revert"}),
    }


class Qcow2Lab(DirectoryLab):
    name = backend = "qcow2"
    suffix = "qcow2"
    takes_room: ClassVar[Mapping[str, frozenset[str]]] = {
        "KiB": frozenset({"snapshot", "revert", "flatten", "copy"}),
        "files": frozenset({"snapshot", "revert", "flatten", "copy"}),
    }


class PloopLab(DirectoryLab):
    name = backend = "ploop"
    suffix = "ploop"
    takes_room: ClassVar[Mapping[str, frozenset[str]]] = dict.fromkeys(("KiB", "files"), frozenset({"resize", "snapshot", "revert", "copy"}))
