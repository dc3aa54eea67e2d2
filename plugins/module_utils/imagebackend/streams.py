# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Raw bytes between disks and streams, in chunks of 1 MiB."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from typing import IO

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec, OperationFailed
from ansible_collections.poolwright.virt.plugins.module_utils.images.sparse import CHUNK

_ZEROS = bytes(CHUNK)


def copy_out(source: IO[bytes], target: IO[bytes], size: int, deadline: Deadline, obj: str) -> None:
    """Copy exactly ``size`` bytes; what the source lacks of them is zeros. Zeros become holes in an empty regular file.

    :raises DeadlineExceeded: looked at for each chunk.
    """
    file = _empty_file(target)
    done = 0
    while done < size:
        deadline.check("the copy", obj=obj, phase="copy")
        wanted = min(CHUNK, size - done)
        data = source.read(wanted) or _ZEROS[:wanted]
        if file is not None and _ZEROS.startswith(data):
            target.seek(len(data), os.SEEK_CUR)
        else:
            write_all(target, data)
        done += len(data)
    target.flush()
    if file is not None:
        os.ftruncate(file, size)


def copy_in(stream: IO[bytes], fd: int, size: int, deadline: Deadline, obj: str, *, skip_zeros: bool) -> None:
    """Write a stream's bytes to an open file or device from its beginning.

    :param skip_zeros: the target reads as zeros already, so they are left out.
    :raises InvalidSpec: there are more than ``size``.
    """
    done = 0
    for data in chunks(stream, size, deadline, obj):
        if not (skip_zeros and _ZEROS.startswith(data)):
            view = memoryview(data)
            written = 0
            while written < len(view):
                written += os.pwrite(fd, view[written:], done + written)
        done += len(data)


def chunks(stream: IO[bytes], size: int, deadline: Deadline, obj: str) -> Iterator[bytes]:
    """The bytes of a stream in pieces of up to 1 MiB, up to its end. :raises InvalidSpec: there are more than ``size``."""
    left = size
    while True:
        deadline.check("the copy", obj=obj, phase="copy")
        data = stream.read(CHUNK)
        if not data:
            return
        left -= len(data)
        if left < 0:
            raise InvalidSpec([f"{obj}: its contents have more bytes than the disk's {size}"])
        yield data


def write_all(target: IO[bytes], data: bytes) -> None:
    """All of it, also to a raw stream, which may take a part at a time."""
    view = memoryview(data)
    while view:
        done = target.write(view)
        if not done:
            raise OperationFailed("the stream takes no more bytes", phase="copy")
        view = view[done:]


def _empty_file(target: IO[bytes]) -> int | None:
    """The descriptor of a regular file with nothing in it that the stream writes to from the start."""
    try:
        fd = target.fileno()
        found = os.fstat(fd)
        return fd if stat.S_ISREG(found.st_mode) and found.st_size == 0 and target.seekable() and target.tell() == 0 else None
    except (OSError, ValueError, io.UnsupportedOperation):
        return None
