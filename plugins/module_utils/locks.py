# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Locks between processes, and between the threads of one, that leave nothing behind.

They only save work: nothing in the collection relies on one for correctness.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from datetime import datetime, timezone
from types import TracebackType

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy

POLL_SECONDS = 0.02
SUFFIX = ".lock"


def try_flock(fd: int) -> bool:
    """Take the exclusive lock of an open file or directory if nobody else holds it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def still_named(path: str, fd: int) -> bool:
    """Whether ``path`` still names the file that ``fd`` has open."""
    try:
        named = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    opened = os.fstat(fd)
    return (named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino)


def sweep_locks(directory: str) -> None:
    """Remove the lock files in a directory whose holders were killed. No such directory: nothing to do."""
    try:
        names = [name for name in os.listdir(directory) if name.endswith(SUFFIX)]
    except FileNotFoundError:
        return
    for name in names:
        path = os.path.join(directory, name)
        with contextlib.suppress(FileNotFoundError):
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                if try_flock(fd) and still_named(path, fd):
                    os.unlink(path)
            finally:
                os.close(fd)


class FileLock:
    """``with FileLock(path, clock, deadline): ...`` holds an exclusive ``flock`` on ``path``; the directory must exist.

    The holder unlinks the file before it lets go. A waiter may by then have the unlinked file open, so whoever gets the
    lock looks whether the path still names it, and starts over if not. After a SIGKILL the kernel drops the lock and
    the next holder removes the file.

    Without a deadline the lock is tried once. One object is for one holder: threads make one each.

    :raises Busy: another holder kept it until the deadline; the message has its pid and since when.
    """

    def __init__(self, path: str, clock: Clock, deadline: Deadline | None = None) -> None:
        self._path = path
        self._clock = clock
        self._deadline = deadline
        self._fd = -1

    def __enter__(self) -> FileLock:
        while not self._take():
            if self._deadline is None or self._deadline.passed:
                raise Busy(f"locked{_describe_holder(self._path)}", obj=self._path, phase="lock")
            self._clock.sleep(min(POLL_SECONDS, self._deadline.remaining))
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        fd, self._fd = self._fd, -1
        # Somebody may have removed our file by hand and another holder made a new one.
        if still_named(self._path, fd):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)
        os.close(fd)

    def _take(self) -> bool:
        while True:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            if not try_flock(fd):
                os.close(fd)
                return False
            if not still_named(self._path, fd):
                os.close(fd)
                continue
            with contextlib.suppress(OSError):  # only tells others who it is: on a full disk it is held all the same
                os.ftruncate(fd, 0)
                os.pwrite(fd, json.dumps({"pid": os.getpid(), "since": self._clock.now()}).encode(), 0)
            self._fd = fd
            return True


def _describe_holder(path: str) -> str:
    """`` by process 12 since 2026-01-31T12:00:00+00:00``, or nothing where the holder has not written it yet."""
    try:
        with open(path, "rb") as stream:
            said = json.loads(stream.read(1024))
        since = datetime.fromtimestamp(float(said["since"]), timezone.utc).isoformat(timespec="seconds")
        return f" by process {int(said['pid'])} since {since}"
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return ""
