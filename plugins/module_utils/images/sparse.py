# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Copying bytes so that holes stay holes and full disks are told apart from other failures."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from typing import Protocol

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import InsufficientResources, OperationFailed

CHUNK = 1024 * 1024
_HOLE = 64 * 1024
_ZEROS = bytes(_HOLE)
_FICLONE = 0x40049409  # linux/fs.h
_COPY_STEP = 64 * CHUNK
_ROOM = "free some space, or use another directory"
_HINTS = {
    errno.EROFS: "mount the file system writable, or use another directory",
    errno.EACCES: "run it as a user who may (become: true)",
    errno.EPERM: "run it as a user who may (become: true); a file may also be immutable (lsattr)",
    errno.EIO: "look at the storage below: dmesg, smartctl",
    errno.EFBIG: "the file system takes no file of this size: use another directory",
}
_NOT_IN_KERNEL = (errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM)


@contextlib.contextmanager
def naming_storage_errors(path: str, phase: str) -> Iterator[None]:
    """Turn "no space" and "over quota" inside the block into ``InsufficientResources``, other ``OSError`` into ``OperationFailed``."""
    try:
        yield
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InsufficientResources("no space left on the file system", obj=path, phase=phase, hint=_ROOM) from exc
        # Where the unfinished file would have been says nothing to anybody.
        at = f" ({exc.filename})" if exc.filename not in (None, path) and ".part" not in str(exc.filename) else ""
        raise OperationFailed(f"{exc.strerror or exc}{at}", obj=path, phase=phase, hint=_HINTS.get(exc.errno or 0, "")) from exc


def check_space(directory: str, needed: int, phase: str) -> None:
    """Raise ``InsufficientResources`` where ``directory``'s file system has fewer than ``needed`` bytes free."""
    stat = os.statvfs(directory)
    free = stat.f_bavail * stat.f_frsize
    if needed > free:
        raise InsufficientResources(f"{needed} bytes are needed and {free} are free", obj=directory, phase=phase, hint=_ROOM)


class Writer(Protocol):
    """Takes a stream chunk by chunk."""

    def write(self, buffer: bytearray, length: int) -> None:
        """Append ``buffer[:length]``."""

    def finish(self) -> int:
        """Bytes written in all."""


class NullWriter:
    """Keeps nothing but the count."""

    def __init__(self) -> None:
        self.position = 0

    def write(self, buffer: bytearray, length: int) -> None:
        self.position += length

    def finish(self) -> int:
        return self.position


class SparseWriter:
    """Writes a stream to an empty file at growing offsets and leaves out aligned 64 KiB blocks of zeros."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.position = 0

    def write(self, buffer: bytearray, length: int) -> None:
        """Append ``buffer[:length]``; all calls but the last need ``length`` to be a multiple of 64 KiB."""
        view = memoryview(buffer)
        start = -1
        for offset in range(0, length, _HOLE):
            hole = offset + _HOLE <= length and buffer.startswith(_ZEROS, offset)
            if not hole and start < 0:
                start = offset
            elif hole and start >= 0:
                self._put(view[start:offset], start)
                start = -1
        if start >= 0:
            self._put(view[start:length], start)
        self.position += length

    def finish(self) -> int:
        """Give the file its full length, and return it."""
        os.ftruncate(self._fd, self.position)
        return self.position

    def _put(self, data: memoryview, offset: int) -> None:
        done = 0
        while done < len(data):
            done += os.pwrite(self._fd, data[done:], self.position + offset + done)


def reflink(source: int, target: int) -> bool:
    """Let the whole of ``target`` share ``source``'s blocks (XFS, btrfs); False where the file system cannot."""
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


def copy_sparse(source: int, target: int, deadline: Deadline, what: str) -> None:
    """Copy a file into an empty one, data only; the kernel moves the bytes where it can.

    :raises DeadlineExceeded: looked at every 64 MiB.
    """
    size = os.fstat(source).st_size
    os.ftruncate(target, size)
    position = 0
    while position < size:
        try:
            begin = os.lseek(source, position, os.SEEK_DATA)
        except OSError as exc:
            if exc.errno == errno.ENXIO:  # nothing but a hole up to the end
                return
            raise
        end = os.lseek(source, begin, os.SEEK_HOLE)
        while begin < end:
            deadline.check("the copy", obj=what, phase="copy")
            begin += _copy_some(source, target, begin, min(_COPY_STEP, end - begin))
        position = end


def _copy_some(source: int, target: int, offset: int, length: int) -> int:
    """Copy up to ``length`` bytes, and return how many: at least 1."""
    try:
        done = os.copy_file_range(source, target, length, offset, offset)
        if done > 0:
            return done
    except OSError as exc:
        if exc.errno not in _NOT_IN_KERNEL:
            raise
    data = os.pread(source, min(length, CHUNK), offset)
    if not data:
        raise OSError(errno.EIO, "the file became shorter while it was copied")
    return os.pwrite(target, data, offset)
