# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""A directory whose tree goes onto a disk: what is in it, in an order of its own, and a digest of all that matters."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec, NotFound
from ansible_collections.poolwright.virt.plugins.module_utils.images.sparse import naming_storage_errors

_CHUNK = 1024 * 1024
_BLOCK = 4096


@dataclass(frozen=True)
class Entry:
    """``path`` is relative to the tree, ``mode`` with the kind of file, ``target`` a link's own text."""

    path: str
    mode: int
    uid: int
    gid: int
    size: int
    target: str = ""

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.mode)


@dataclass(frozen=True)
class Tree:
    """``entries`` in the order of their names, each directory before what is in it; ``root`` is the directory itself."""

    directory: str
    root: Entry
    entries: tuple[Entry, ...]

    @property
    def blocks(self) -> int:
        """What the files and directories take in blocks of 4 KiB, at least one each."""
        return sum(max(1, -(-entry.size // _BLOCK)) for entry in self.entries)


def look(directory: str, deadline: Deadline) -> Tree:
    """:raises NotFound: it is not there.   :raises InvalidSpec: something in it cannot be copied."""
    with naming_storage_errors(directory, "check"):
        try:
            found = os.stat(directory)
        except FileNotFoundError:
            raise NotFound("there is no such directory", obj=directory, phase="check", hint="correct content.directory, or make it") from None
        if not stat.S_ISDIR(found.st_mode):
            raise InvalidSpec([f"content.directory: {directory} is no directory"])
        real = os.path.realpath(directory)
        tree = Tree(real, Entry("", found.st_mode, found.st_uid, found.st_gid, 0), tuple(_walk(real, "", deadline)))
    problems = [problem for entry in tree.entries for problem in _problems(directory, entry)]
    if problems:
        raise InvalidSpec(problems)
    return tree


def _walk(top: str, relative: str, deadline: Deadline) -> Iterator[Entry]:
    deadline.check("the look at the tree", obj=top, phase="check")
    with os.scandir(os.path.join(top, relative)) as entries:
        names = sorted(entry.name for entry in entries)
    for name in names:
        path = os.path.join(relative, name)
        full = os.path.join(top, path)
        found = os.lstat(full)
        linked = stat.S_ISLNK(found.st_mode)
        yield Entry(path, found.st_mode, found.st_uid, found.st_gid, found.st_size if stat.S_ISREG(found.st_mode) else 0, os.readlink(full) if linked else "")
        if stat.S_ISDIR(found.st_mode):
            yield from _walk(top, path, deadline)


def _problems(directory: str, entry: Entry) -> list[str]:
    where = f"content.directory: {directory}: {entry.path!r}"
    if not all(text.isprintable() for text in (entry.path, entry.target)):
        return [f"{where} has characters in its name that are not copied; rename it"]
    if not (entry.is_directory or entry.is_link or stat.S_ISREG(entry.mode)):
        return [f"{where} is neither a file, a directory nor a link; take it away"]
    return []


def digest(tree: Tree, *, owners: bool, deadline: Deadline) -> str:
    """Of names, kinds, links and contents; with ``owners`` also of owners and permissions, else of whether a file can be executed."""
    found = hashlib.sha256()
    for entry in (tree.root, *tree.entries):
        said = f"{stat.S_IMODE(entry.mode):o} {entry.uid} {entry.gid}" if owners else str(bool(entry.mode & 0o111))
        for text in (entry.path, f"{stat.S_IFMT(entry.mode):o}", said, str(entry.size), entry.target):
            found.update(os.fsencode(text) + b"\0")
        if stat.S_ISREG(entry.mode):
            full = os.path.join(tree.directory, entry.path)
            with naming_storage_errors(full, "check"), open(full, "rb") as stream:
                for chunk in iter(lambda: stream.read(_CHUNK), b""):
                    found.update(chunk)
                    deadline.check("reading the tree", obj=full, phase="check")
    return f"sha256:{found.hexdigest()}"
