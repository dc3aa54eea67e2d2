# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What is in a cache directory: names, records, marks of use and pins. Decides nothing.

::

    <root>/sha256/<digest>.<variant>          an image, mode 0644: qemu reads it. Variants: qcow2, xz.raw, or with what it was converted to, vmdk.raw
    <root>/sha256/<digest>.<variant>.json     its ImageRecord; the file's mtime says when the image was last used
    <root>/sha256/<digest>.<variant>.pinned   empty: that image, and all that was converted from it, is never aged
    <root>/sources/<sha256 of source>.json    SourceRecord, only of sources without a checksum
    <root>/directories/<sha256 of path>       the path of a directory in which disks stand on images, as whoever made one told
    <root>/tmp/                               what is being made, and locks
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from ansible_collections.poolwright.virt.plugins.module_utils.images import inspect as inspection
from ansible_collections.poolwright.virt.plugins.module_utils.images import scratch
from ansible_collections.poolwright.virt.plugins.module_utils.images.records import ImageRecord, SourceRecord

_ALGORITHMS = {"sha256": 64, "sha512": 128}
_NAME = re.compile(r"([0-9a-f]+)\.((?:(?:gz|xz|zst)\.)?(?:qcow2|raw|vmdk|vhdx|vdi))(\.(?:qcow2|raw))?(\.json|\.pinned)?")


@dataclass(frozen=True)
class Entry:
    """A file of the cache: ``variant`` as it came, ``used_variant`` as it is; ``record`` None where a killed run left it without one.

    ``last_used`` is in seconds since the epoch.
    """

    path: str
    digest: str
    variant: str
    used_variant: str
    record: ImageRecord | None
    pinned: bool
    last_used: float


class Store:
    """The files below an absolute ``root``."""

    def __init__(self, root: str, max_virtual_size: int) -> None:
        self.root = root
        self.tmp = os.path.join(root, "tmp")
        self._max_virtual_size = max_virtual_size

    # -- names

    def image_path(self, digest: str, variant: str) -> str:
        algorithm, _colon, digits = digest.partition(":")
        return os.path.join(self.root, algorithm, f"{digits}.{variant}")

    def source_path(self, key: str) -> str:
        return os.path.join(self.root, "sources", f"{key}.json")

    def lock_path(self, name: str, variant: str) -> str:
        """The lock of an image by its digest, or of a source by its key."""
        return os.path.join(self.tmp, f".{name.replace(':', '-')}.{variant}.lock")

    # -- reading

    def load(self, digest: str, variant: str) -> ImageRecord | None:
        """The record of an image that is here and fit for use."""
        record = self.record(digest, variant)
        fit = record is not None and record.rules == inspection.RULES_VERSION and record.virtual_size <= self._max_virtual_size
        return record if fit and record is not None and size_of(self.image_path(digest, variant)) == record.size else None

    def record(self, digest: str, variant: str) -> ImageRecord | None:
        """The record alone, whatever it is worth; None where there is none, or a damaged one."""
        data = _read(self.image_path(digest, variant) + ".json")
        record = None if data is None else ImageRecord.load(data)
        return record if record is not None and (record.digest, record.format) == (digest, variant.rpartition(".")[2]) else None

    def source(self, key: str) -> SourceRecord | None:
        data = _read(self.source_path(key))
        return None if data is None else SourceRecord.load(data)

    def is_pinned(self, digest: str, variant: str) -> bool:
        return os.path.lexists(self.image_path(digest, variant) + ".pinned")

    def entries(self) -> list[Entry]:
        """Every image file, in the order of their names."""
        return sorted(self._entries(), key=lambda entry: entry.path)

    def _entries(self) -> Iterator[Entry]:
        for algorithm, length in _ALGORITHMS.items():
            for name in _names(os.path.join(self.root, algorithm)):
                match = _NAME.fullmatch(name)
                if match is None or match.group(4) or len(match.group(1)) != length:
                    continue
                digest, variant, used = f"{algorithm}:{match.group(1)}", match.group(2), match.group(2) + (match.group(3) or "")
                path = self.image_path(digest, used)
                with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                    record = self.record(digest, used)
                    last_used = os.stat(path if record is None else path + ".json").st_mtime
                    yield Entry(path, digest, variant, used, record, self.is_pinned(digest, variant), last_used)

    def orphans(self) -> list[str]:
        """Records and pins without any image that they are of."""
        found = []
        for algorithm in _ALGORITHMS:
            directory = os.path.join(self.root, algorithm)
            names = set(_names(directory))
            for name in sorted(names):
                match = _NAME.fullmatch(name)
                if match is None or not match.group(4):
                    continue
                stem = name[: -len(match.group(4))]
                of = {stem} if match.group(4) == ".json" else {stem, f"{stem}.raw", f"{stem}.qcow2"}
                if not of & names:
                    found.append(os.path.join(directory, name))
        return found

    # -- writing

    def mark_used(self, digest: str, variant: str, now: float) -> None:
        with contextlib.suppress(OSError):
            # A read-only or foreign record (an NFS cache) still serves.
            os.utime(self.image_path(digest, variant) + ".json", (now, now))

    def write(self, directory: str, final: str, data: bytes) -> None:
        """Replace a small file as a whole.

        :param directory: a scratch directory of the same file system.
        """
        unfinished = os.path.join(directory, "record")
        with open(unfinished, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        scratch.publish(unfinished, final, 0o644)

    def note_directory(self, path: str) -> None:
        """Have it known that disks in this directory stand on images of this cache."""
        parent = os.path.join(self.root, "directories")
        final = os.path.join(parent, hashlib.sha256(os.fsencode(path)).hexdigest())
        if os.path.lexists(final):
            return
        scratch.make_directories(self.tmp, 0o700)
        scratch.make_directories(parent)
        with scratch.scratch_directory(self.tmp, "directory") as directory:
            self.write(directory, final, os.fsencode(path))

    def noted_directories(self) -> list[str]:
        """In the order of their names."""
        parent = os.path.join(self.root, "directories")
        found = (_read(os.path.join(parent, name)) for name in _names(parent))
        return sorted(os.fsdecode(path) for path in found if path and path.startswith(b"/"))

    def forget_stale_sources(self) -> None:
        """Remove what is remembered of sources whose images are not here any more, in no form."""
        here = {entry.digest for entry in self._entries()}
        for name in _names(os.path.join(self.root, "sources")):
            path = os.path.join(self.root, "sources", name)
            data = _read(path)
            seen = None if data is None else SourceRecord.load(data)
            if name.endswith(".json") and (seen is None or seen.digest not in here):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)


def size_of(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:
        return None


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except OSError:
        return None
