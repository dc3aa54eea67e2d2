# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The digest of a disk's bytes, whatever holds them: of its blocks that are not all zeros, so what nobody wrote costs nothing.

``blocks-sha256:<hex>``: SHA-256 over each block of 64 KiB that has another byte than zero, in order, the number of its first byte (64 bits, big
endian) before it. Zeros at the end make no difference, so a larger disk with the same contents has the same digest.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import struct

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline

_BLOCK = 64 * 1024
_CHUNK = 16 * _BLOCK
_ZEROS = bytes(_BLOCK)
_NAME = "blocks-sha256"


class DigestStream(io.RawIOBase):
    """Takes a disk's bytes from its beginning; ``digest`` is theirs."""

    def __init__(self) -> None:
        super().__init__()
        self._hash = hashlib.sha256()
        self._position = 0
        self._rest = b""

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        given = bytes(data)  # type: ignore[call-overload]
        whole = self._rest + given if self._rest else given
        end = len(whole) // _BLOCK * _BLOCK
        for begin in range(0, end, _BLOCK):
            self._block(whole[begin : begin + _BLOCK])
        self._rest = whole[end:]
        return len(given)

    def skip_to(self, position: int) -> None:
        """All up to here is zeros; a whole number of blocks, and nothing may be begun."""
        self._position = position

    @property
    def digest(self) -> str:
        last = self._hash.copy()
        if self._rest.strip(b"\0"):
            last.update(struct.pack(">Q", self._position) + self._rest.ljust(_BLOCK, b"\0"))
        return f"{_NAME}:{last.hexdigest()}"

    def _block(self, data: bytes) -> None:
        if data != _ZEROS:
            self._hash.update(struct.pack(">Q", self._position))
            self._hash.update(data)
        self._position += _BLOCK


def of_file(path: str, deadline: Deadline) -> str:
    """Of a raw file; its holes are not read."""
    found = DigestStream()
    with open(path, "rb", buffering=0) as stream:
        size, position = os.fstat(stream.fileno()).st_size, 0
        while position < size:
            deadline.check("the digest", obj=path, phase="digest")
            try:
                begin = os.lseek(stream.fileno(), position, os.SEEK_DATA) // _BLOCK * _BLOCK
            except OSError as exc:
                if exc.errno == errno.ENXIO:  # nothing but a hole up to the end
                    break
                raise
            position = max(position, begin)
            found.skip_to(position)
            stream.seek(position)
            data = stream.read(_CHUNK)
            # Whole blocks, so that what is left of one is only ever the end of the file.
            whole = data if position + len(data) >= size else data[: len(data) // _BLOCK * _BLOCK]
            if not whole:
                raise OSError(errno.EIO, "the file became shorter while it was read")
            found.write(whole)
            position += len(whole)
    return found.digest
