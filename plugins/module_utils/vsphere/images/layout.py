# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What lies where in a datastore's image cache, and what the names there mean. Nothing here asks the server.

::

    [ds] poolwright-cache/
        images/<key>/                   an image, complete from the moment it is there; <key> is of its bytes and what they are
            <stem>.vmdk | <stem>.iso    the disk; <stem> begins the key's digits
            <stem>.<gb>.vmdk            the same disk, larger: a base for child disks of that size
            facts.json                  what is known of it, never asked again
            used-<time>/                empty: when it was last used
            ts-<time>/                  empty: since when nobody was seen to use it
            pinned/                     empty: it is never aged
        sources/<key>.json              which digest a source without a checksum had
        claims/<key>/<maker>/           somebody is bringing this image; with <number>/ inside that grows while he lives
        tmp/<maker>/                    what is being made
    [ds] poolwright-tmp-<digits>/       a machine that is being imported, of this name; the digits are of its maker

A <maker> is one piece of work of one process; the name says since when, and which process on which machine.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timezone

from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.files import FileInfo

FOLDER = "poolwright-cache"
MACHINE_PREFIX = "poolwright-tmp-"
FACTS, PINNED = "facts.json", "pinned"
_TIME = "%Y-%m-%d-%H-%M-%S"
_MAKER = re.compile(r"^(\d{4}(?:-\d\d){5})\.([0-9a-f]+)\.(\d+)\.(\d+)\.(\d+)\.[0-9a-f]+$")
_SIZED = re.compile(r"^[0-9a-f]+\.([0-9.]+)\.vmdk$")
# Names on VMFS have 127 characters at most, and a SHA-512 has more.
_DIGITS, _STEM = 40, 12


def stamp(seconds: float) -> str:
    """A time as it stands in names, in UTC and whole seconds."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime(_TIME)


def seconds_of(text: str) -> float | None:
    """The time of a stamp; None where it is none."""
    try:
        return datetime.strptime(text, _TIME).replace(tzinfo=timezone.utc).timestamp()
    except ValueError:
        return None


def entry_key(digest: str, variant: str) -> str:
    """An image's name in the cache. :param digest: ``<algorithm>:<hex>``."""
    algorithm, _colon, digits = digest.partition(":")
    return f"{algorithm}-{digits[:_DIGITS]}-{variant}"


def stem_of(key: str) -> str:
    return key.split("-")[1][:_STEM]


def sized_name(key: str, size_gb: float) -> str:
    return f"{stem_of(key)}.{size_gb:.10g}.vmdk"


@dataclass(frozen=True)
class Entry:
    """An image in the cache, as far as its folder tells; times in seconds since the epoch, 0 for never."""

    key: str
    path: DatastorePath
    names: frozenset[str] = frozenset()
    folders: frozenset[str] = frozenset()
    size: int = 0

    @property
    def pinned(self) -> bool:
        return PINNED in self.folders

    @property
    def used(self) -> tuple[float, ...]:
        return self._times("used-")

    @property
    def last_used(self) -> float:
        return max(self.used, default=0.0)

    @property
    def unused(self) -> tuple[float, ...]:
        return self._times("ts-")

    @property
    def sizes(self) -> tuple[float, ...]:
        """The sizes in GiB of the larger bases, ascending."""
        found = (_SIZED.match(name) for name in self.names)
        return tuple(sorted(float(match.group(1)) for match in found if match is not None))

    @property
    def is_whole(self) -> bool:
        """Whether it can be used; published as a whole, it can be otherwise only where somebody took files out of it."""
        return FACTS in self.names and any(f"{stem_of(self.key)}.{suffix}" in self.names for suffix in ("vmdk", "iso"))

    def _times(self, prefix: str) -> tuple[float, ...]:
        found = (seconds_of(name[len(prefix) :]) for name in self.folders if name.startswith(prefix))
        return tuple(sorted(time for time in found if time is not None))


@dataclass(frozen=True)
class Snapshot:
    """A cache as one listing shows it.

    ``claims`` have the maker and his beats by the key, ``temporary`` what is directly in each maker's folder.
    """

    root: DatastorePath
    entries: dict[str, Entry] = field(default_factory=dict)
    sources: frozenset[str] = frozenset()
    claims: dict[str, tuple[str, frozenset[str]]] = field(default_factory=dict)
    temporary: dict[str, frozenset[str]] = field(default_factory=dict)


def read(root: DatastorePath, files: Iterable[FileInfo]) -> Snapshot:
    """From everything that is below the cache's folder."""
    names: dict[str, set[str]] = {}
    folders: dict[str, set[str]] = {}
    sizes: dict[str, int] = {}
    sources: set[str] = set()
    temporary: dict[str, set[str]] = {}
    claims: dict[str, tuple[str, set[str]]] = {}
    for file in files:
        parts = file.path.parts[len(root.parts) :]
        if parts[0] == "images" and len(parts) > 1:
            there = folders.setdefault(parts[1], set())
            names.setdefault(parts[1], set())
            if len(parts) == 3:
                (there if file.is_folder else names[parts[1]]).add(parts[2])
                sizes[parts[1]] = sizes.get(parts[1], 0) + (0 if file.is_folder else file.size)
        elif parts[0] == "sources" and len(parts) == 2:
            sources.add(parts[1])
        elif parts[0] == "tmp" and len(parts) > 1:
            temporary.setdefault(parts[1], set()).update(parts[2:3])
        elif parts[0] == "claims" and len(parts) > 1:
            _maker, beats = claims.setdefault(parts[1], ("", set()))
            if len(parts) > 2:
                beats.update(parts[3:4])
                claims[parts[1]] = (parts[2], beats)
    entries = {
        key: Entry(key, root.join("images", key), frozenset(names[key]), frozenset(folders[key]), sizes.get(key, 0)) for key in names if key.count("-") >= 2
    }
    held = {key: (maker, frozenset(beats)) for key, (maker, beats) in claims.items()}
    return Snapshot(root, entries, frozenset(sources), held, {maker: frozenset(there) for maker, there in temporary.items()})


def new_maker(now: float) -> str:
    """A name for a piece of work of this process that no other has."""
    boot, space = _machine()
    return f"{stamp(now)}.{boot}.{space}.{os.getpid()}.{_started(os.getpid()) or 0}.{secrets.token_hex(4)}"


def machine_name(maker: str) -> str:
    """What a machine that a maker imports is called: names of machines have 80 characters at most."""
    return MACHINE_PREFIX + hashlib.sha256(maker.encode()).hexdigest()[:24]


def made_since(maker: str) -> float | None:
    """When the work began; None where the name is none of ours."""
    match = _MAKER.match(maker)
    return None if match is None else seconds_of(match.group(1))


def is_dead(maker: str) -> bool:
    """Whether the process is known to have ended: only of one that ran where this one does."""
    match = _MAKER.match(maker)
    if match is None or (match.group(2), match.group(3)) != _machine():
        return False
    return _started(int(match.group(4))) != int(match.group(5))


def _machine() -> tuple[str, str]:
    """This boot of this machine, and the space that its process ids are of: containers have their own."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
            boot = stream.read().strip().replace("-", "")[:12]
        return boot, str(os.stat("/proc/self/ns/pid").st_ino)
    except OSError:
        return secrets.token_hex(6), "0"


def _started(pid: int) -> int | None:
    """When a process began, in the kernel's ticks; None where there is none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stream:
            return int(stream.read().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None
