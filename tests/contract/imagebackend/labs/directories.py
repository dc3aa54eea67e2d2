# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The backends whose locations are directories."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from pathlib import Path

from ansible_collections.poolwright.virt.tests.contract.imagebackend.labs.base import DiskLab, LabFailed, run


class DirectoryLab(DiskLab):
    """A directory of its own for each case, and a file system of 4 MiB."""

    kept_in_files = True
    bad_locations = ("", "disks", "/var/../etc", "json:{}")
    suffix: str

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._cases = itertools.count()
        self._tiny = folder / "tiny"

    def start(self) -> None:
        if os.geteuid() != 0:
            raise LabFailed("mounting a small file system needs root")
        self._tiny.mkdir(parents=True)
        run("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", self._tiny)

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


class Qcow2Lab(DirectoryLab):
    name = backend = "qcow2"
    suffix = "qcow2"


class PloopLab(DirectoryLab):
    name = backend = "ploop"
    suffix = "ploop"
