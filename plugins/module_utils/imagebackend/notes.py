# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""A text that is kept where a disk is, under the disk's name, whether the disk is there or not.

So it is found by whoever reaches the disk, from whichever host, and moves with the directory, volume group or pool. It is replaced as a whole.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import zlib
from abc import ABC, abstractmethod

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import NotFound, OperationFailed
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.ceph_client import Rados
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.volume_group import VolumeGroup, tag
from ansible_collections.poolwright.virt.plugins.module_utils.images import scratch
from ansible_collections.poolwright.virt.plugins.module_utils.images.sparse import naming_storage_errors

_MODE = 0o600
_PHASE = "record"
_TAG_CHARACTERS = 800  # of the 1024 that LVM takes


class Note(ABC):
    """The note of one disk."""

    @abstractmethod
    def read(self, deadline: Deadline) -> str | None:
        """None where there is none, and where there is not even the place. :raises OperationFailed: it is damaged."""

    @abstractmethod
    def write(self, text: str, deadline: Deadline) -> None:
        """In place of what was there; on the storage once this returns."""

    @abstractmethod
    def remove(self, deadline: Deadline) -> None:
        """None there is no error."""


class FileNote(Note):
    """``<directory>/.<name>.<backend>.disk``, mode 0600."""

    def __init__(self, directory: str, name: str, backend: str) -> None:
        self._directory = directory
        self._stem = f"{name}.{backend}.disk"
        self._path = os.path.join(directory, f".{self._stem}")

    def read(self, deadline: Deadline) -> str | None:
        try:
            with naming_storage_errors(self._path, _PHASE):
                try:
                    with open(self._path, encoding="utf-8") as stream:
                        return stream.read()
                except (FileNotFoundError, NotADirectoryError):
                    return None
        except UnicodeDecodeError as exc:
            raise _damaged(self._path) from exc

    def write(self, text: str, deadline: Deadline) -> None:
        with naming_storage_errors(self._path, _PHASE):
            scratch.make_directories(self._directory)
            scratch.sweep(self._directory, self._stem)
            with scratch.scratch_directory(self._directory, self._stem) as directory:
                unfinished = os.path.join(directory, "note")
                with open(unfinished, "w", encoding="utf-8") as stream:
                    stream.write(text)
                    stream.flush()
                    os.fsync(stream.fileno())
                scratch.publish(unfinished, self._path, _MODE)
            scratch.sync_directory(self._directory)

    def remove(self, deadline: Deadline) -> None:
        scratch.sweep(self._directory, self._stem)
        with naming_storage_errors(self._path, _PHASE), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(self._path)


class GroupNote(Note):
    """Tags of the volume group, one commit of its metadata for each change: ``poolwright.disk.<name>.<part>=<packed text>``."""

    def __init__(self, group: VolumeGroup, name: str) -> None:
        self._group = group
        self._key = f"disk.{name}"
        self._there: frozenset[str] | None = None  # its tags, once they were read
        self._tag = re.compile(re.escape(tag(self._key, "")[:-1]) + r"\.(\d+)=(.*)")

    def read(self, deadline: Deadline) -> str | None:
        try:
            parts = self._parts(deadline)
        except NotFound:
            return None
        if not parts:
            return None
        try:
            return zlib.decompress(base64.b64decode("".join(parts[number] for number in range(len(parts))))).decode()
        except (KeyError, ValueError, zlib.error) as exc:
            raise _damaged(f"{self._group.name}: tags poolwright.{self._key}") from exc

    def write(self, text: str, deadline: Deadline) -> None:
        packed = base64.b64encode(zlib.compress(text.encode(), 9)).decode()
        parts = [packed[begin : begin + _TAG_CHARACTERS] for begin in range(0, len(packed), _TAG_CHARACTERS)]
        self._change([tag(f"{self._key}.{number}", part) for number, part in enumerate(parts)], deadline)

    def remove(self, deadline: Deadline) -> None:
        self._change([], deadline)

    def _change(self, wanted: list[str], deadline: Deadline) -> None:
        if self._there is None:
            self._parts(deadline)
        there = self._there or frozenset()
        if there != set(wanted):
            self._there = None
            self._group.change_own_tags([one for one in wanted if one not in there], sorted(there - set(wanted)), deadline)
            self._there = frozenset(wanted)

    def _parts(self, deadline: Deadline) -> dict[int, str]:
        found = {one: match for one in self._group.own_tags(deadline) if (match := self._tag.fullmatch(one))}
        self._there = frozenset(found)
        return {int(match.group(1)): match.group(2) for match in found.values()}


class ObjectNote(Note):
    """An object of the pool: ``poolwright.disk.<name>``."""

    def __init__(self, rados: Rados, location: str, name: str) -> None:
        self._rados = rados
        self._location = location
        self._name = f"poolwright.disk.{name}"

    def read(self, deadline: Deadline) -> str | None:
        try:
            found = self._rados.get(self._location, self._name, deadline)
            return None if found is None else found.decode()
        except NotFound:
            return None
        except UnicodeDecodeError as exc:
            raise _damaged(f"{self._location}: object {self._name}") from exc

    def write(self, text: str, deadline: Deadline) -> None:
        self._rados.put(self._location, self._name, text.encode(), deadline)

    def remove(self, deadline: Deadline) -> None:
        self._rados.delete(self._location, self._name, deadline)


def _damaged(where: str) -> OperationFailed:
    return OperationFailed(
        "what is recorded of the disk is damaged", obj=where, phase=_PHASE, hint="look what it says, and take it away if the disk is nobody's"
    )
