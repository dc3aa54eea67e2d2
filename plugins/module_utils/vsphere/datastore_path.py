# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Paths on datastores, written ``[datastore] folder/file``."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlencode


@dataclass(frozen=True, order=True)
class DatastorePath:
    """A datastore and the names that lead down from its root: no names for the root itself.

    ``str`` and ``parse`` are each other's inverse. A path cannot leave its datastore: there are no ``..`` and no absolute parts. Paths
    sort by datastore, then name by name, so that what is in a folder follows it. What cannot be a path raises ``ValueError``.
    """

    datastore: str
    parts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.datastore, str) or not self.datastore:
            raise ValueError("a datastore path needs the name of a datastore")
        # With a bracket in it, where the name ends could not be told from the written path.
        if _has_control(self.datastore) or any(mark in self.datastore for mark in "[]/\\") or self.datastore != self.datastore.strip():
            raise ValueError(f"{self.datastore!r} cannot be the name of a datastore")
        for part in self.parts:
            _check(part)

    @classmethod
    def of(cls, datastore: str, *paths: str) -> DatastorePath:
        """From a datastore's name and what lies below each other in it; each may be several names joined by slashes."""
        return cls(datastore).join(*paths)

    @classmethod
    def parse(cls, text: str | DatastorePath) -> DatastorePath:
        """From the way vSphere writes it, such as ``[ssd-1] ci/ci-1.vmdk``; one slash at the end is overlooked."""
        if isinstance(text, DatastorePath):
            return text
        if not isinstance(text, str) or not text.startswith("["):
            raise ValueError(f"{text!r} is no datastore path: it is written as [datastore] folder/file")
        name, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(" ")):
            raise ValueError(f"{text!r} is no datastore path: it is written as [datastore] folder/file")
        return cls(name).join(rest[1:])

    def __str__(self) -> str:
        return f"[{self.datastore}] {self.relative}" if self.parts else f"[{self.datastore}]"

    @property
    def relative(self) -> str:
        """The path below the datastore's root; "" for the root."""
        return "/".join(self.parts)

    @property
    def is_root(self) -> bool:
        return not self.parts

    @property
    def parent(self) -> DatastorePath:
        """The folder it is in. The root is in none: ``ValueError``, so that going up ends."""
        if self.is_root:
            raise ValueError(f"{self} is the root of its datastore")
        return DatastorePath(self.datastore, self.parts[:-1])

    @property
    def basename(self) -> str:
        """The last name; "" for the root."""
        return self.parts[-1] if self.parts else ""

    @property
    def stem(self) -> str:
        """The last name without its suffix."""
        return self.basename[: len(self.basename) - len(self.suffix)]

    @property
    def suffix(self) -> str:
        """The last dot of the last name and what follows, such as ``.vmdk``; "" where there is none, or nothing stands on one side of it."""
        before, dot, after = self.basename.rpartition(".")
        return dot + after if before.strip(".") and after else ""

    def join(self, *paths: str) -> DatastorePath:
        """What lies below this path. An empty part adds nothing; one slash at the end of a part is overlooked."""
        added: list[str] = []
        for path in paths:
            if not isinstance(path, str):
                raise ValueError(f"{path!r} is no part of a datastore path")
            if path.startswith("/"):
                raise ValueError(f"{path!r} is absolute; parts of a datastore path are relative")
            if path:
                added += (path[:-1] if path.endswith("/") else path).split("/")
        return DatastorePath(self.datastore, (*self.parts, *added))

    def with_suffix(self, suffix: str) -> DatastorePath:
        """The same with another end, as a disk's descriptor and extent have: ``x.vmdk`` and ``-flat.vmdk`` give ``x-flat.vmdk``."""
        if self.is_root:
            raise ValueError(f"{self} is the root of its datastore")
        return DatastorePath(self.datastore, (*self.parts[:-1], self.stem + suffix))

    def is_within(self, other: DatastorePath) -> bool:
        """Whether it is ``other`` or lies below it."""
        return self.datastore == other.datastore and self.parts[: len(other.parts)] == other.parts

    def relative_to(self, other: DatastorePath) -> str:
        """The way from ``other`` down to it, for ``other.join``; "" where they are the same. ``ValueError`` where it is not within."""
        if not self.is_within(other):
            raise ValueError(f"{self} is not within {other}")
        return "/".join(self.parts[len(other.parts) :])

    def url_path(self, datacenter: str) -> str:
        """Path and query of the URL at which vCenter gives and takes the file, every name quoted.

        :param datacenter: the inventory path of the datastore's datacenter, such as ``DC0`` or ``folder/DC0``.
        """
        query = urlencode({"dcPath": datacenter, "dsName": self.datastore}, quote_via=quote, safe="")
        return f"/folder/{'/'.join(quote(part, safe='') for part in self.parts)}?{query}"


def _check(part: str) -> None:
    if not isinstance(part, str) or part in ("", ".", "..") or _has_control(part) or "/" in part or "\\" in part:
        raise ValueError(f"{part!r} cannot be a name in a datastore path")
    # They are lost where vSphere writes the path: "[ds] a" and "[ds]  a" are one.
    if part != part.strip():
        raise ValueError(f"{part!r} cannot be a name in a datastore path: it begins or ends with a space")


def _has_control(text: str) -> bool:
    return any(ord(letter) < 32 or 127 <= ord(letter) < 160 or 0xD800 <= ord(letter) < 0xE000 for letter in text)
