# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Reading and hashing in a thread of its own, a few blocks ahead of whoever sends them."""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

_AHEAD = 4


class ReadAhead:
    """``size`` bytes of a stream, in blocks; ``sha256`` is of all that were read, and that of the whole once ``blocks`` has ended."""

    def __init__(self, stream: IO[bytes], size: int, block: int) -> None:
        self._stream = stream
        self._size = size
        self._digest = hashlib.sha256()
        self._free: queue.Queue[memoryview | None] = queue.Queue()
        self._full: queue.Queue[memoryview | OSError] = queue.Queue()
        for _number in range(min(_AHEAD, size // block + 1)):
            self._free.put(memoryview(bytearray(block)))

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    @contextmanager
    def blocks(self) -> Iterator[Iterator[memoryview]]:
        """The blocks, each good until the next one is asked for; fewer than ``size`` bytes where the stream ended before.

        :raises OSError: the stream cannot be read.
        """
        thread = threading.Thread(target=self._read, daemon=True)
        thread.start()
        try:
            yield self._blocks()
        finally:
            self._free.put(None)
            # A stream that gives nothing is waited for no longer than whoever sends would.
            thread.join(1.0)

    def _blocks(self) -> Iterator[memoryview]:
        left = self._size
        while left > 0:
            found = self._full.get()
            if isinstance(found, OSError):
                raise found
            if not found:
                return
            left -= len(found)
            yield found
            # The whole block, of which the last one was a part.
            self._free.put(memoryview(found.obj))

    def _read(self) -> None:
        left = self._size
        try:
            while left > 0:
                block = self._free.get()
                if block is None:
                    return
                count = fill(self._stream, block[: min(len(block), left)])
                self._digest.update(block[:count])
                left -= count
                self._full.put(block[:count])
                if not count:
                    return
        except OSError as exc:
            self._full.put(exc)
        except ValueError as exc:  # the stream was closed meanwhile
            self._full.put(OSError(str(exc)))


class InTurn:
    """The same of a stream whose hash is known: read by whoever sends, so that no other thread takes a part of the processor."""

    def __init__(self, stream: IO[bytes], size: int, block: int, sha256: str) -> None:
        self._stream = stream
        self._size = size
        self._block = memoryview(bytearray(block))
        self.sha256 = sha256

    @contextmanager
    def blocks(self) -> Iterator[Iterator[memoryview]]:
        yield self._blocks()

    def _blocks(self) -> Iterator[memoryview]:
        left = self._size
        while left > 0:
            count = fill(self._stream, self._block[: min(len(self._block), left)])
            if not count:
                return
            left -= count
            yield self._block[:count]


def fill(stream: Any, block: memoryview) -> int:
    """Read until the block is full or the stream ends; returns how many bytes."""
    have = 0
    while have < len(block):
        if hasattr(stream, "readinto"):
            count = stream.readinto(block[have:]) or 0
        else:
            data = stream.read(len(block) - have)
            count = len(data)
            block[have : have + count] = data
        if not count:
            break
        have += count
    return have
