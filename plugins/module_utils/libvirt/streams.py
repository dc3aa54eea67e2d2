# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Bytes of a host's files, as they come and go in libvirt's streams."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Protocol

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.binding import library
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.faults import Fault

CHUNK = 256 * 1024
_ZEROS = bytes(CHUNK)


class Readable(Protocol):
    """A stream of bytes, such as an open file."""

    def read(self, count: int, /) -> bytes:
        """Up to ``count`` bytes, none at the end."""


class Reader:
    """The bytes of a file on a host; holes come as zeros."""

    def __init__(self, stream: Any, deadline: Deadline, obj: str) -> None:
        self._stream = stream
        self._deadline = deadline
        self._obj = obj
        self._hole = 0
        self.ended = False

    def read(self, count: int, /) -> bytes:
        self._deadline.check("reading the disk", obj=self._obj, phase="read")
        if not self._hole and not self.ended:
            try:
                data = self._stream.recvFlags(min(count, CHUNK), library().VIR_STREAM_RECV_STOP_AT_HOLE)
                if data != -3:
                    self.ended = not data
                    return bytes(data)
                self._hole = int(self._stream.recvHole())
            except library().libvirtError as exc:
                raise Fault.of(exc).as_error(obj=self._obj, phase="read") from exc
        length = min(count, self._hole, CHUNK)
        self._hole -= length
        return _ZEROS[:length]


@contextlib.contextmanager
def stream_of(connection: Any) -> Iterator[Any]:
    stream = connection.newStream(0)
    try:
        yield stream
    except BaseException:  # whatever it is, goes on after the stream was given up
        with contextlib.suppress(library().libvirtError):
            stream.abort()
        raise
    stream.finish()


def send(stream: Any, data: bytes) -> None:
    if _ZEROS.startswith(data):
        stream.sendHole(len(data))
        return
    view = memoryview(data)
    while view:
        view = view[stream.send(bytes(view)) :]
