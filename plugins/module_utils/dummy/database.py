# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""An SQLite file that threads and processes share and that survives SIGKILL.

Every change is one short transaction that takes the write lock first, so that what it read still holds when it writes.
The write-ahead log with ``synchronous = NORMAL`` keeps whatever was committed when a process is killed, without waiting
for the disk; a power cut may cost the last changes but not the file.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy, ConnectionFailed

BUSY_SECONDS = 30.0

_SCHEMA_VERSION = 1
_SCHEMA = (
    "CREATE TABLE machines (name TEXT PRIMARY KEY, pool TEXT NOT NULL, mark TEXT NOT NULL, power TEXT NOT NULL, host TEXT NOT NULL,"
    " ip TEXT NOT NULL, memory_mb INTEGER NOT NULL, booted_at REAL, up_at REAL, off_at REAL, renamed_at REAL) WITHOUT ROWID",
    "CREATE INDEX machines_pool ON machines (pool)",
    "CREATE TABLE disks (machine TEXT, name TEXT, size_gb REAL, PRIMARY KEY (machine, name)) WITHOUT ROWID",
    "CREATE TABLE snapshots (machine TEXT, name TEXT, disks TEXT, PRIMARY KEY (machine, name)) WITHOUT ROWID",
    "CREATE TABLE counts (operation TEXT, machine TEXT, n INTEGER, PRIMARY KEY (operation, machine)) WITHOUT ROWID",
    f"PRAGMA user_version = {_SCHEMA_VERSION}",
)


class Database:
    """The file ``path``, made if missing; its directory must exist.

    :raises ConnectionFailed: the file cannot be used or is something else.   :raises Busy: others kept it locked.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        # One connection with a guard rather than one for each thread: a transaction takes microseconds, and SQLite
        # lets only one of them write anyhow.
        self._guard = threading.Lock()
        self._db: sqlite3.Connection | None = None
        with self._errors():
            db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            try:
                _prepare(db)
            except BaseException:  # whatever it is, goes on after the file is closed
                db.close()
                raise
            self._db = db

    def close(self) -> None:
        """May be called twice; everything else raises ``ConnectionFailed`` afterwards."""
        with self._guard:
            db, self._db = self._db, None
            if db is not None:
                db.close()

    def rows(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """What one query answers."""
        with self._errors(), self._guard:
            return self._open().execute(query, values).fetchall()

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """A transaction: committed at the end, undone by an exception."""
        with self._errors(), self._guard:
            db = self._open()
            with _transaction(db):
                yield db

    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            raise ConnectionFailed("the connection to the dummy hypervisor was closed", obj=self._path)
        return self._db

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as exc:
            if _is_locked(exc):
                raise Busy(f"others kept the database locked for {BUSY_SECONDS:.0f} s", obj=self._path) from exc
            hint = "give the path of a dummy database, or of a new file in an existing, writable directory"
            raise ConnectionFailed(f"the dummy database cannot be used: {exc}", obj=self._path, hint=hint) from exc


def _prepare(db: sqlite3.Connection) -> None:
    """Bring a new file into shape. Several processes may try at the same time."""
    # In this order: tables and version are committed together, so tables without a version are not ours.
    tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if tables and _version(db) != _SCHEMA_VERSION:
        raise sqlite3.DatabaseError("it belongs to something else, or to another version of this collection")
    db.execute("PRAGMA synchronous = NORMAL")
    give_up = time.monotonic() + BUSY_SECONDS
    while db.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as exc:
            # The one place where SQLite does not wait for others. They are real, whatever clock the run has.
            if not _is_locked(exc) or time.monotonic() > give_up:
                raise
            time.sleep(0.005)
    if _version(db) != _SCHEMA_VERSION:
        with _transaction(db):
            if _version(db) != _SCHEMA_VERSION:
                for statement in _SCHEMA:
                    db.execute(statement)


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _is_locked(exc: sqlite3.Error) -> bool:
    # Python before 3.11 gives no error codes.
    return isinstance(exc, sqlite3.OperationalError) and "locked" in str(exc)


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:  # whatever it is, goes on after the change is undone
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
