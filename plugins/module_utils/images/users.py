# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Who stands on the images of a cache: disks by the names in their own headers, processes and loop devices by what they have open.

Files are told apart by device and inode, so neither a link nor another mount of the cache hides a user.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ansible_collections.poolwright.virt.plugins.module_utils.errors import IncompleteAnswer

_MAGIC = b"QFI\xfb"
_HEAD = 64 * 1024
_MOST_NAME = 1023  # bytes, in qemu too

Key = tuple[int, int]


@dataclass(frozen=True)
class Users:
    """For each image, by device and inode, those who stand on it, in words."""

    by_file: dict[Key, tuple[str, ...]]

    def of(self, path: str) -> tuple[str, ...]:
        key = _key(path)
        return () if key is None else self.by_file.get(key, ())


def find_users(images: Iterable[str], directories: Iterable[str], disks: Iterable[tuple[str, str]], *, skip: str = "") -> Users:
    """Look who uses any of ``images``.

    :param directories: where qcow2 files may stand on them, with all below; ``skip`` is left out.
    :param disks: paths of disks with who has them, in words; what they stand on counts too, wherever it is.
    :raises IncompleteAnswer: a directory or a disk in it cannot be read, so nothing can be said.
    """
    wanted = {key for key in map(_key, images) if key is not None}
    found: dict[Key, set[str]] = defaultdict(set)
    if not wanted:
        return Users({})
    for who, path in disks:
        _follow(path, who, wanted, found, set())
    for directory in directories:
        for path in _files(directory, skip):
            _follow(path, f"disk {path}", wanted, found, set(), own=False)
    for who, key in (*_opened(), *_looped()):
        if key in wanted:
            found[key].add(who)
    return Users({key: tuple(sorted(who)) for key, who in found.items()})


def backing_name(path: str) -> str:
    """What a qcow2 file's header says that it stands on, "" for nothing and for any other file.

    :raises OSError: it cannot be read.
    """
    # Not blocking: a FIFO would wait for its writer.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode) and not stat.S_ISBLK(os.fstat(fd).st_mode):
            return ""
        head = os.pread(fd, 20, 0)
        if len(head) < 20 or not head.startswith(_MAGIC):
            return ""
        offset, length = struct.unpack_from(">QI", head, 8)
        if not offset or not 0 < length <= _MOST_NAME or offset > _HEAD**2:
            return ""
        return os.fsdecode(os.pread(fd, length, offset))
    finally:
        os.close(fd)


def named_paths(name: str, beside: str) -> list[str]:
    """The files that a backing name leads to: ``json:`` may hold several; a relative one is meant from the directory ``beside``."""
    if name.startswith("json:"):
        try:
            found = list(_filenames(json.loads(name[len("json:") :])))
        except (ValueError, RecursionError):
            return []
    else:
        found = [name[len("file:") :] if name.startswith("file:") else name]
    return [os.path.join(beside, one) for one in found]


def _filenames(said: object) -> Iterator[str]:
    """The values of ``filename``, at any depth and in either spelling (``file.filename``)."""
    if isinstance(said, dict):
        for key, value in said.items():
            if isinstance(value, str) and str(key).rpartition(".")[2] == "filename":
                yield value
            else:
                yield from _filenames(value)
    elif isinstance(said, list):
        for value in said:
            yield from _filenames(value)


def _follow(path: str, who: str, wanted: set[Key], found: dict[Key, set[str]], seen: set[Key], *, own: bool = True) -> None:
    """Note ``who`` at each wanted image from ``path`` on down its chain; ``own``: at ``path`` itself too."""
    key = _key(path)
    if key is None or key in seen:
        return
    seen.add(key)
    if own and key in wanted:
        found[key].add(who)
    try:
        name = backing_name(path)
    except FileNotFoundError:  # removed meanwhile
        return
    except OSError as exc:
        raise _incomplete(path, exc) from exc
    for one in named_paths(name, os.path.dirname(os.path.realpath(path))) if name else ():
        _follow(one, who, wanted, found, seen)


def _files(directory: str, skip: str) -> Iterator[str]:
    """All ordinary files below a directory; links are not followed, since what they lead to has a place of its own."""
    try:
        with os.scandir(directory) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except FileNotFoundError as exc:
        if os.path.lexists(os.path.dirname(directory.rstrip("/"))):
            return  # removed meanwhile, or nothing was ever made there
        raise _incomplete(directory, exc) from exc
    except OSError as exc:
        raise _incomplete(directory, exc) from exc
    for entry in entries:
        if entry.path == skip:
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path, skip)
        elif entry.is_file(follow_symlinks=False):
            yield entry.path


def _opened() -> Iterator[tuple[str, Key]]:
    """What processes have open; of those that this user may not look into, nothing is known."""
    own = str(os.getpid())
    for number in os.listdir("/proc"):
        if not number.isdigit() or number == own:
            continue
        with contextlib.suppress(OSError):
            for name in os.listdir(f"/proc/{number}/fd"):
                with contextlib.suppress(OSError):
                    key = _key_of(os.stat(f"/proc/{number}/fd/{name}"))
                    yield f"process {number}", key


def _looped() -> Iterator[tuple[str, Key]]:
    with contextlib.suppress(OSError):
        for name in os.listdir("/sys/block"):
            with contextlib.suppress(OSError):
                with open(f"/sys/block/{name}/loop/backing_file", encoding="utf-8", errors="surrogateescape") as stream:
                    key = _key(stream.read().rstrip("\n"))
                if key is not None:
                    yield f"loop device {name}", key


def _key(path: str) -> Key | None:
    try:
        return _key_of(os.stat(path))
    except (OSError, ValueError):
        return None


def _key_of(found: os.stat_result) -> Key:
    return found.st_dev, found.st_ino


def _incomplete(path: str, exc: OSError) -> IncompleteAnswer:
    said = f"it cannot be read, so nobody can say which images are in use: {exc.strerror}"
    return IncompleteAnswer(said, obj=path, phase="look up", hint="run as a user that may read the machines' disks, or name their directories")
