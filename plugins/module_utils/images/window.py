# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""A part of an open file as a file of its own: a member of an archive is inspected and sent from where it lies."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from typing import IO, Any


class Window(io.RawIOBase):
    """``size`` bytes of the open file ``fd`` from ``offset`` on; closing it leaves the file open. Its position is its own."""

    def __init__(self, fd: int, offset: int, size: int) -> None:
        super().__init__()
        self.fd = fd
        self.offset = offset
        self.size = size
        self._at = 0

    def part(self, offset: int, size: int) -> Window:
        """A part of this part. ``ValueError`` where it is not within."""
        if offset < 0 or size < 0 or offset + size > self.size:
            raise ValueError(f"{size} bytes from {offset} on are not within {self.size}")
        return Window(self.fd, self.offset + offset, size)

    def stream(self) -> IO[bytes]:
        """It from its beginning, for what wants an ordinary file; closing that closes nothing else."""
        return io.BufferedReader(Window(self.fd, self.offset, self.size), 1024 * 1024)

    def read_at(self, offset: int, length: int) -> bytes:
        """What is there of so many bytes; fewer at the end, none beyond."""
        there = min(length, self.size - offset)
        # A place far beyond the end, as a damaged file names it, may not even be a number that the system takes.
        return os.pread(self.fd, there, self.offset + offset) if there > 0 else b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        data = self.read_at(self._at, len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


@contextlib.contextmanager
def open_window(path: str) -> Iterator[Window]:
    """The whole of a file."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield Window(fd, 0, os.fstat(fd).st_size)
    finally:
        os.close(fd)
