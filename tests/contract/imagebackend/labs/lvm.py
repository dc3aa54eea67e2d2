# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""LVM on loop devices, inside a guest: a volume group is never made on the machine itself."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import struct
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from ansible_collections.poolwright.virt.tests.contract.imagebackend.labs.base import DiskLab, LabFailed, run

_EXTENT_MIB = 1
_METADATA_AT = 4096  # where vgcreate begins
_TAGS = re.compile(r"^tags = \[(.*)\]", re.MULTILINE)
_VOLUME = re.compile(r"^(\S+) \{\nid = .*\nstatus = \[(.*)\]", re.MULTILINE)


class LvmLab(DiskLab):
    """Thick volumes in a group of 150 MiB, and a group with 6 MiB."""

    name = backend = "lvm"
    in_guest = True
    bad_locations = ("", "/dev/vg", "a/b/c", "vg/", "..", "-x", "vg name")
    bad_names = ("snapshot1", "a_tmeta", "poolwright-base-1", "x" * 101)
    package = "lvm2"
    group = location = "lab-thick"
    tiny = tiny_location = "lab-thick-tiny"
    no_location = "nowhere"
    shortages: ClassVar[Mapping[str, Sequence[int]]] = {"MiB": (0, 1, 7, 8, 12)}
    changing: ClassVar[Mapping[str, Sequence[int]]] = {"MiB": (0, 60)}
    takes_room: ClassVar[Mapping[str, frozenset[str]]] = {"MiB": frozenset({"resize", "snapshot", "revert"})}
    clearings: ClassVar[tuple[str, ...]] = ("none", "discard", "zero")
    _own: frozenset[str] = frozenset({"lab-filler"})

    def start(self) -> None:
        if os.environ.get("POOLWRIGHT_IN_GUEST") != "1":
            raise LabFailed("a volume group is only made inside the guest that tests/lab/in-guest.sh starts")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._loops = {name: self._group(name, mib) for name, mib in ((self.group, 150), (self.tiny, 6))}

    def stop(self) -> None:
        for name, loop in self._loops.items():
            with contextlib.suppress(LabFailed):
                run("vgremove", "--force", "--yes", name)
                run("losetup", "--detach", loop)

    def begin(self) -> None:
        pass

    def end(self) -> None:
        for group in (self.group, self.tiny):
            names = self.volumes(group)
            if names:
                run("lvremove", "--force", "--yes", *(f"{group}/{name}" for name in names))

    def volumes(self, location: str = "") -> list[str]:
        group = (location or self.location).partition("/")[0]
        return sorted(name for name in written_volumes(self.folder / group) if name not in self._own)

    @contextlib.contextmanager
    def room(self, kind: str, amount: int) -> Iterator[str]:
        self.narrow(kind, amount)
        with self._emptied():
            yield self.location

    @contextlib.contextmanager
    def plenty(self) -> Iterator[str]:
        with self._emptied():
            yield self.location

    def narrow(self, kind: str, amount: int) -> None:
        self._make_room()
        free = int(float(run("vgs", "--noheadings", "--units", "m", "--nosuffix", "-o", "vg_free", self.group)))
        run("lvcreate", "--yes", "--wipesignatures", "n", "--zero", "n", "--name", "lab-filler", "--size", f"{free - amount}m", self.group)

    def _make_room(self) -> None:
        with contextlib.suppress(LabFailed):
            run("lvremove", "--yes", f"{self.group}/lab-filler")

    @contextlib.contextmanager
    def _emptied(self) -> Iterator[None]:
        try:
            yield
        finally:
            self._make_room()

    def clear(self) -> bool:
        names = [f"{self.group}/{name}" for name in self.volumes() if not name.startswith("poolwright-base-")]
        tags = [f"--deltag {tag}" for tag in written_tags(self.folder / self.group)]
        words = [f"lvremove --force --yes {' '.join(names)}"] * bool(names) + [f"vgchange {' '.join(tags)} {self.group}"] * bool(tags)
        # One process for both: most of what a command of LVM's costs here is its start.
        subprocess.run(["lvm"], input="".join(f"{line}\n" for line in words), text=True, check=True, capture_output=True)
        return True

    def keeps(self, data: bytes) -> bool:
        os.sync()
        return data in (self.folder / self.group).read_bytes()

    def put_foreign(self, name: str) -> None:
        run("lvcreate", "--yes", "--name", name, "--size", "1m", self.group)
        Path(f"/dev/{self.group}/{name}").write_bytes(b"somebody's".ljust(1024 * 1024))

    def foreign_is_whole(self, name: str) -> bool:
        found = hashlib.sha256(Path(f"/dev/{self.group}/{name}").read_bytes()).digest()
        return found == hashlib.sha256(b"somebody's".ljust(1024 * 1024)).digest()

    def _group(self, name: str, mib: int) -> str:
        backing = self.folder / name
        with open(backing, "xb") as stream:
            # Extents start 1 MiB in.
            stream.truncate((mib + 1) * 1024 * 1024)
        loop = run("losetup", "--find", "--show", backing).strip()
        run("vgcreate", "--yes", "--physicalextentsize", f"{_EXTENT_MIB}m", name, loop)
        return loop


class LvmThinLab(LvmLab):
    """Thin volumes: a pool of 100 MiB, and one of 2."""

    name = "lvm_thin"
    keeps_bases = True
    group, location = "lab-thin", "lab-thin/lab-pool"
    tiny, tiny_location = "lab-thin-tiny", "lab-thin-tiny/lab-pool"
    no_location = "lab-thin/nowhere"
    shortages: ClassVar[Mapping[str, Sequence[int]]] = {"MiB": (1, 5, 12, 24)}
    changing: ClassVar[Mapping[str, Sequence[int]]] = {"MiB": (0,)}
    takes_room: ClassVar[Mapping[str, frozenset[str]]] = {"MiB": frozenset()}  # all share their blocks
    clearings = ("none", "discard")
    _own = frozenset({"lab-pool", "lab-narrow", "lab-filler"})

    def start(self) -> None:
        super().start()
        for group, mib in ((self.group, 100), (self.tiny, 2)):
            self._pool(group, "lab-pool", mib)

    @contextlib.contextmanager
    def room(self, kind: str, amount: int) -> Iterator[str]:
        self._pool(self.group, "lab-narrow", amount)
        try:
            yield f"{self.group}/lab-narrow"
        finally:
            run("lvremove", "--yes", f"{self.group}/lab-narrow")

    @contextlib.contextmanager
    def plenty(self) -> Iterator[str]:
        with self.room("MiB", 30) as location:
            yield location

    def narrow(self, kind: str, amount: int) -> None:
        """By a volume in the pool with data in it."""
        self._make_room()
        pool = f"{self.group}/lab-narrow"
        columns = "lv_size,data_percent,chunk_size"
        said = run("lvs", "--noheadings", "--units", "k", "--nosuffix", "-o", columns, pool).split()
        size, used, chunk = float(said[0]), float(said[1]), int(float(said[2]))
        chunks = round(size * (1 - used / 100) / chunk) - amount * 1024 // chunk
        run("lvcreate", "--yes", "--name", "lab-filler", "--virtualsize", "30m", "--thinpool", pool)
        with open(f"/dev/{self.group}/lab-filler", "r+b", buffering=0) as device:
            device.write(b"x" * chunk * 1024 * chunks)
            os.fsync(device.fileno())

    def _pool(self, group: str, name: str, mib: int) -> None:
        run("lvcreate", "--yes", "--type", "thin-pool", "--size", f"{mib}m", "--poolmetadatasize", "2m", "--name", name, group)


def written_volumes(device: Path) -> list[str]:
    """The names of the volumes that the metadata on a group's only device describe: no tool's word for it, and no time for one.

    Parts of others are left out.
    """
    return [name for name, status in _VOLUME.findall(_written(device).partition("logical_volumes {")[2]) if "VISIBLE" in status]


def written_tags(device: Path) -> list[str]:
    """The tags of the group itself."""
    found = _TAGS.search(_written(device).partition("physical_volumes {")[0])
    return re.findall(r'"([^"]*)"', found.group(1)) if found else []


def _written(device: Path) -> str:
    """The area's header says where in the ring after it the latest text is."""
    with open(device, "rb") as stream:
        stream.seek(_METADATA_AT)
        area = stream.read(1024 * 1024 - _METADATA_AT)
    _checksum, _magic, _version, _start, size, offset, length = struct.unpack_from("<I16sIQQQQ", area)
    return (area[offset:size] + area[512:offset])[:length].decode()
