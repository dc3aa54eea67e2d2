# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Where a host keeps what belongs to its pools' machines. Names only; nothing is touched.

::

    <location>/images/                       the image cache
    <location>/machines/<pool>/<vm>.<tail>/  one machine's disk and seed; <tail> is the end of the machine's id
    <location>/locks/                        locks while they are held

Two machines that held one slot one after the other have different directories. So a new machine's disk can never take
the place of one that a domain renamed behind our back still has open.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec

SYSTEM_LOCATION = "/var/lib/poolwright"
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,127}")
_TAIL = 12


def default_location(uri: str, environment: Mapping[str, str], home: str) -> str:
    """The system's directory for a system daemon, the user's own for any other."""
    if urlsplit(uri).path.rstrip("/") == "/system":
        return SYSTEM_LOCATION
    data = environment.get("XDG_DATA_HOME", "")
    return os.path.join(data if data.startswith("/") else os.path.join(home, ".local", "share"), "poolwright")


def tail_of(machine_id: str) -> str:
    return machine_id[-_TAIL:]


def is_machine_directory(name: str) -> bool:
    """Whether a directory of this name in a pool's is a machine's, rather than somebody else's."""
    stem, _dot, tail = name.rpartition(".")
    return bool(stem) and re.fullmatch("[0-9a-f]+", tail) is not None and len(tail) == _TAIL


@dataclass(frozen=True)
class Layout:
    """The paths below one ``location`` (absolute)."""

    location: str

    @property
    def images(self) -> str:
        return os.path.join(self.location, "images")

    @property
    def locks(self) -> str:
        return os.path.join(self.location, "locks")

    def pool_directory(self, pool: str) -> str:
        return os.path.join(self.location, "machines", _file_name(pool))

    def machine_directory(self, pool: str, vm: str, machine_id: str) -> str:
        return os.path.join(self.pool_directory(pool), f"{_file_name(vm)}.{tail_of(machine_id)}")

    def pool_lock(self, pool: str) -> str:
        return os.path.join(self.locks, f"pool-{_file_name(pool)}.lock")

    def machine_lock(self, vm: str) -> str:
        """Not by pool: a host's machine names are unique."""
        return os.path.join(self.locks, f"machine-{_file_name(vm)}.lock")

    def guest_lock(self, name: str) -> str:
        """Of a guest that may have any name: it may hold what a file's should not, and none becomes another's."""
        safe = "".join(letter if letter.isalnum() or letter in "-_" else f"%{ord(letter):x}" for letter in name)
        return os.path.join(self.locks, f"guest-{safe}.lock")


def _file_name(name: str) -> str:
    if not _FILE_NAME.fullmatch(name):
        raise InvalidSpec([f"{name!r} cannot name a directory: use letters, digits and _ . + -, a letter or digit first"])
    return name
