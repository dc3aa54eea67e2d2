# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What the cases share: known images, and short words for their steps."""

from __future__ import annotations

import hashlib
import io
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.base import Image
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.records import DiskRecord
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import CachedImage
from ansible_collections.poolwright.virt.tests.contract.imagebackend.killing import NEVER, Another
from ansible_collections.poolwright.virt.tests.contract.imagebackend.labs.base import DiskLab, run

MIB = 1024 * 1024
LONG = 300.0  # seconds: more than anything takes here, in the guest too


@dataclass(frozen=True)
class Supplies:
    """A disk of 8 MiB with 5 MiB of data: its bytes, and the images that hold it."""

    data: bytes
    image: CachedImage
    raw: CachedImage


def make_supplies(folder: Path) -> Supplies:
    chance = random.Random(11)
    data = chance.randbytes(3 * MIB) + bytes(2 * MIB) + chance.randbytes(2 * MIB) + bytes(MIB)
    raw, qcow2 = folder / "disk.raw", folder / "disk.qcow2"
    raw.write_bytes(data)
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, qcow2)
    return Supplies(data, cached(qcow2, "qcow2"), cached(raw, "raw"))


def cached(path: Path, format: str) -> CachedImage:
    """An image as the cache would hand it out."""
    digest = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    return CachedImage(str(path), digest, format, 8 * MIB, path.stat().st_size, 6 * MIB)


class Site:
    """A lab with an empty location, for one case."""

    def __init__(self, case: str, lab: DiskLab, supplies: Supplies, folder: Path) -> None:
        """:param case: its name."""
        self.case = case
        self.lab = lab
        self.data = supplies.data
        self.image = supplies.image
        self.raw_image = supplies.raw
        self.folder = folder
        self.disk = lab.disk()

    @property
    def soon(self) -> Deadline:
        return Deadline.after(Clock(), LONG)

    def make(self, size: int | None = None, disk: Image | None = None) -> DiskRecord:
        """The disk, from the known image."""
        return (disk or self.disk).create_from_image(self.image, size, self.soon)

    def read(self, record: DiskRecord, disk: Image | None = None) -> bytes:
        """What a guest would find on the disk."""
        found = io.BytesIO()
        (disk or self.disk).read_to(record, found, self.soon)
        return found.getvalue()

    def holds(self, record: DiskRecord, expected: bytes, disk: Image | None = None) -> bool:
        """Whether the disk has these bytes, and zeros after them; compared by their hashes."""
        whole = expected.ljust(record.size, b"\0")
        return hashlib.sha256(self.read(record, disk)).digest() == hashlib.sha256(whole).digest()

    def write(self, disk: Image, data: bytes) -> DiskRecord:
        """A new disk with these bytes."""
        path = self.folder / "written"
        path.write_bytes(data)
        with open(path, "rb") as stream:
            return disk.create_from_stream(stream, len(data), self.soon)

    def volumes(self, location: str = "") -> list[str]:
        return self.lab.volumes(location)

    # -- other processes

    def begin(self, task: Callable[[], Any], step: int = NEVER, within: float = 0.0) -> Another:
        return Another(task, step, within, self.lab.kept_in_files and not within)
