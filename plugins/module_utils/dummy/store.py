# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The machines of the dummy hypervisor, their disks and snapshots.

The store does not know what they are for: a mark is a text to it, and the rules about marks come in as functions that
run inside the transaction. The name is the key, so the hypervisor itself refuses a second machine of a name.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass, fields, replace
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.dummy.database import Database
from ansible_collections.poolwright.virt.plugins.module_utils.errors import NameTaken

ROOT_DISK = "root"


@dataclass(frozen=True)
class Row:
    """One machine. ``pool`` and ``mark`` are "" for one that nobody marked; ``memory_mb`` is in MiB; times are in seconds
    since the epoch: when it was powered on, when its guest is up, when it switches itself off, when its guest takes
    another name. None: not so.
    """

    name: str
    pool: str = ""
    mark: str = ""
    power: str = "off"
    host: str = ""
    ip: str = ""
    memory_mb: int = 0
    booted_at: float | None = None
    up_at: float | None = None
    off_at: float | None = None
    renamed_at: float | None = None


@dataclass(frozen=True)
class Seen:
    """A machine and whether its root disk is there."""

    row: Row
    has_root: bool


@dataclass(frozen=True)
class Usage:
    """Machines by host, and the MiB of memory of all of them."""

    machines: dict[str, int]
    memory_mb: int


_COLUMNS = [column.name for column in fields(Row)]
# The columns are named by the class above, never by anybody else: nothing can be slipped into the statements.
_SELECT = f"SELECT {', '.join(_COLUMNS)}, EXISTS (SELECT 1 FROM disks WHERE machine = machines.name AND disks.name = '{ROOT_DISK}') FROM machines"  # noqa: S608 (names of columns)
_USAGE = "SELECT host, count(*), sum(memory_mb) FROM machines GROUP BY host"
_INSERT = f"INSERT INTO machines ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608 (names of columns)
_UPDATE = f"UPDATE machines SET {', '.join(f'{name} = ?' for name in _COLUMNS)} WHERE name = ?"  # noqa: S608 (names of columns)


class Store:
    """The machines in the file ``path``, which is made if missing; its directory must exist.

    :raises ConnectionFailed: the file cannot be opened or is something else.   :raises Busy: another process kept it locked.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._file = Database(path)

    def close(self) -> None:
        """May be called twice. Any call after it raises ``ConnectionFailed``."""
        self._file.close()

    # -- reading: one query each

    def machine(self, name: str) -> Seen | None:
        found = self._select(f"{_SELECT} WHERE name = ?", (name,))
        return found[0] if found else None

    def machines(self, pool: str, prefix: str) -> list[Seen]:
        """Those of a pool, and all whose names are ``prefix``, a hyphen and something that begins like a number."""
        # ":" is the character after "9".
        return self._select(f"{_SELECT} WHERE pool = ? OR (name >= ? AND name < ?) ORDER BY name", (pool, f"{prefix}-1", f"{prefix}-:"))

    def everything(self) -> list[Seen]:
        return self._select(f"{_SELECT} ORDER BY name")

    def marked(self) -> list[tuple[str, str]]:
        """The names and marks of all marked machines."""
        return [(str(name), str(mark)) for name, mark in self._file.rows("SELECT name, mark FROM machines WHERE pool != '' ORDER BY name")]

    def usage(self) -> Usage:
        return _usage(self._file.rows(_USAGE))

    def disks(self, name: str) -> dict[str, float]:
        """Sizes in GiB by name."""
        return {str(disk): float(size) for disk, size in self._file.rows("SELECT name, size_gb FROM disks WHERE machine = ?", (name,))}

    def snapshots(self, name: str) -> list[str]:
        return [str(row[0]) for row in self._file.rows("SELECT name FROM snapshots WHERE machine = ? ORDER BY name", (name,))]

    def leftovers(self) -> list[str]:
        """Disks and snapshots of machines that do not exist."""
        found = self._file.rows(
            "SELECT 'disk', machine, name FROM disks WHERE machine NOT IN (SELECT name FROM machines)"
            " UNION ALL SELECT 'snapshot', machine, name FROM snapshots WHERE machine NOT IN (SELECT name FROM machines)"
        )
        return [f"{kind} {name} of {machine}" for kind, machine, name in found]

    def latest_time(self) -> float:
        """The latest moment at which a machine was powered on or its guest came up, 0 if none did."""
        return float(self._file.rows("SELECT coalesce(max(max(coalesce(booted_at, 0), coalesce(up_at, 0))), 0) FROM machines")[0][0])

    # -- changing: one transaction each

    def insert(self, row: Row, place: Callable[[Usage], str] | None = None) -> Row:
        """Add a machine; ``place`` chooses its host by what is there, and raises if there is no room.

        :raises NameTaken: there is a machine of this name; nothing was changed.
        """
        with self._file.change() as db:
            if _one(db, row.name) is not None:
                raise NameTaken("the hypervisor has a machine of this name", obj=row.name, phase="create")
            if place is not None:
                row = replace(row, host=place(_usage(db.execute(_USAGE))))
            db.execute(_INSERT, astuple(row))
        return row

    def change(self, name: str, change: Callable[[Seen], Row]) -> Row | None:
        """Replace a machine by what ``change`` makes of it; an exception from it leaves all as it was. None: there is none."""
        with self._file.change() as db:
            seen = _one(db, name)
            if seen is None:
                return None
            row = change(seen)
            if row != seen.row:
                db.execute(_UPDATE, (*astuple(row), name))
            return row

    def move(self, name: str, place: Callable[[Seen, Usage], str]) -> Row | None:
        """Put a machine on the host that ``place`` answers. None: there is no such machine."""
        with self._file.change() as db:
            seen = _one(db, name)
            if seen is None:
                return None
            usage = _usage(db.execute(_USAGE))
            row = replace(seen.row, host=place(seen, usage))
            db.execute(_UPDATE, (*astuple(row), name))
            return row

    def delete(self, name: str, guard: Callable[[Row], object] | None = None) -> bool:
        """Remove a machine with its disks and snapshots unless ``guard`` raises. False: there is none."""
        with self._file.change() as db:
            seen = _one(db, name)
            if seen is None:
                return False
            if guard is not None:
                guard(seen.row)
            db.execute("DELETE FROM machines WHERE name = ?", (name,))
            db.execute("DELETE FROM disks WHERE machine = ?", (name,))
            db.execute("DELETE FROM snapshots WHERE machine = ?", (name,))
            return True

    def add_disk(self, name: str, size_gb: float, guard: Callable[[Row], object], disk: str = "") -> bool:
        """Give a machine a disk, by default called ``disk1``, ``disk2``... False: there is no such machine."""
        with self._file.change() as db:
            seen = _one(db, name)
            if seen is None:
                return False
            guard(seen.row)
            there = {row[0] for row in db.execute("SELECT name FROM disks WHERE machine = ?", (name,))}
            disk = disk or next(free for free in (f"disk{number}" for number in range(1, len(there) + 2)) if free not in there)
            db.execute("INSERT OR REPLACE INTO disks VALUES (?, ?, ?)", (name, disk, size_gb))
            return True

    def drop_disk(self, name: str, disk: str = ROOT_DISK) -> None:
        with self._file.change() as db:
            db.execute("DELETE FROM disks WHERE machine = ? AND name = ?", (name, disk))

    def add_snapshot(self, name: str, snapshot: str, guard: Callable[[Row], object]) -> bool:
        """Remember a machine's disks. False: there is no such machine. :raises NameTaken: it has a snapshot of this name."""
        with self._file.change() as db:
            seen = _one(db, name)
            if seen is None:
                return False
            guard(seen.row)
            disks = dict(db.execute("SELECT name, size_gb FROM disks WHERE machine = ?", (name,)).fetchall())
            try:
                db.execute("INSERT INTO snapshots VALUES (?, ?, ?)", (name, snapshot, json.dumps(disks, sort_keys=True)))
            except sqlite3.IntegrityError:
                raise NameTaken(f"the machine has a snapshot {snapshot}", obj=name, phase="snapshot") from None
            return True

    def revert(self, name: str, snapshot: str, guard: Callable[[Row], object]) -> bool:
        """Give a machine the disks back that it had. False: there is no such machine or snapshot."""
        with self._file.change() as db:
            seen = _one(db, name)
            kept = db.execute("SELECT disks FROM snapshots WHERE machine = ? AND name = ?", (name, snapshot)).fetchone()
            if seen is None:
                return False
            guard(seen.row)
            if kept is None:
                return False
            db.execute("DELETE FROM disks WHERE machine = ?", (name,))
            db.executemany("INSERT INTO disks VALUES (?, ?, ?)", [(name, disk, size) for disk, size in json.loads(kept[0]).items()])
            return True

    def count(self, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
        """Move these counts on by one, all together, and return them. No keys: nothing is written."""
        if not keys:
            return {}
        with self._file.change() as db:
            add = "INSERT INTO counts VALUES (?, ?, 1) ON CONFLICT (operation, machine) DO UPDATE SET n = n + 1"
            db.executemany(add, keys)
            ask = "SELECT n FROM counts WHERE operation = ? AND machine = ?"
            return {key: int(db.execute(ask, key).fetchone()[0]) for key in keys}

    def counted(self, key: tuple[str, str]) -> int:
        found = self._file.rows("SELECT n FROM counts WHERE operation = ? AND machine = ?", key)
        return int(found[0][0]) if found else 0

    def _select(self, query: str, values: Sequence[object] = ()) -> list[Seen]:
        return [_seen(found) for found in self._file.rows(query, values)]


def _one(db: sqlite3.Connection, name: str) -> Seen | None:
    found = db.execute(f"{_SELECT} WHERE name = ?", (name,)).fetchone()
    return None if found is None else _seen(found)


def _seen(found: Sequence[Any]) -> Seen:
    return Seen(Row(*found[:-1]), bool(found[-1]))


def _usage(found: Iterable[Sequence[Any]]) -> Usage:
    rows = list(found)
    return Usage({str(host): int(machines) for host, machines, _memory in rows}, sum(int(memory) for _host, _machines, memory in rows))
