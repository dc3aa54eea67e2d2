# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Bringing an image's bytes here: one pass that reads, hashes and writes, in chunks of 1 MiB and flat memory."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import ImageRefused, NotFound, TransferFailed
from ansible_collections.poolwright.virt.plugins.module_utils.images.source import ImageSource
from ansible_collections.poolwright.virt.plugins.module_utils.images.sparse import CHUNK, SparseWriter, check_space, naming_storage_errors
from ansible_collections.poolwright.virt.plugins.module_utils.images.web import Answer, Validators, open_url

# A change within the tick of a file system's clock leaves the times as they were.
_TICK_SECONDS = 0.1


@dataclass(frozen=True)
class FileIdentity:
    """Changes whenever a local file's contents do: device, inode, size in bytes, and both change times in nanoseconds."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, found: os.stat_result) -> FileIdentity:
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


@dataclass(frozen=True)
class Received:
    """What arrived: ``digest`` is ``<algorithm>:<hex>`` of all of it, ``size`` its bytes."""

    digest: str
    size: int
    validators: Validators = Validators()
    identity: FileIdentity | None = None


def fetch(source: ImageSource, fd: int, directory: str, deadline: Deadline, *, known: Validators | None = None, validate_certs: bool = True) -> Received | None:
    """Write a source's bytes into the empty file ``fd``; None where the server says that the ``known`` version is current.

    The file is sparse where the image has zeros. Its contents are not to be trusted before digest and format are checked.

    :param directory: where that file is, for the free space.
    :raises NotFound, AuthenticationFailed, TransferFailed: the source cannot be read; ``transient`` says whether trying again may help.
    :raises InsufficientResources: the image does not fit, known beforehand where its size is.
    :raises DeadlineExceeded: looked at after every chunk.
    """
    if not source.is_remote:
        return _fetch_file(source, fd, directory, deadline)
    answer = open_url(source.source, deadline.remaining, known=known, validate_certs=validate_certs)
    if answer is None:
        return None
    with contextlib.closing(answer.stream):
        return _receive(source, answer, fd, directory, deadline)


def identity_of(source: ImageSource) -> FileIdentity | None:
    """A local source's identity as it is now; None where there is no such file."""
    try:
        return FileIdentity.of(os.stat(source.path))
    except OSError:
        return None


def _receive(source: ImageSource, answer: Answer, fd: int, directory: str, deadline: Deadline) -> Received:
    shown = str(source)
    if answer.size is not None:
        check_space(directory, answer.size, "fetch")

    def read_into(view: memoryview) -> int:
        try:
            return answer.stream.readinto(view)
        except (OSError, http.client.HTTPException) as exc:
            raise TransferFailed(f"the connection broke: {type(exc).__name__}", obj=shown, phase="fetch") from exc

    digest, size = _pump(read_into, fd, source.algorithm, deadline, shown)
    if answer.size is not None and size != answer.size:
        raise TransferFailed(f"the connection ended after {size} of {answer.size} bytes", obj=shown, phase="fetch")
    return Received(digest, size, answer.validators)


def _fetch_file(source: ImageSource, fd: int, directory: str, deadline: Deadline) -> Received:
    shown = str(source)
    try:
        # Not blocking: a FIFO would wait for its writer.
        origin = os.open(source.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise NotFound("there is no such file on the host that the disks are on", obj=shown, phase="fetch", hint="correct the image's source") from None
    except OSError as exc:
        error = TransferFailed(f"it cannot be read: {exc.strerror}", obj=shown, phase="fetch")
        error.transient = False
        raise error from exc
    try:
        before = os.fstat(origin)
        if not stat.S_ISREG(before.st_mode):
            raise ImageRefused("it is not a regular file", obj=shown, phase="fetch", hint="give a file that holds the image")
        check_space(directory, min(before.st_size, before.st_blocks * 512), "fetch")
        _let_settle(before, deadline.clock)

        def read_into(view: memoryview) -> int:
            try:
                return os.readv(origin, [view])
            except OSError as exc:
                raise TransferFailed(f"it cannot be read: {exc.strerror}", obj=shown, phase="fetch") from exc

        digest, size = _pump(read_into, fd, source.algorithm, deadline, shown)
        identity = FileIdentity.of(os.fstat(origin))
    finally:
        os.close(origin)
    if identity != FileIdentity.of(before):
        raise TransferFailed("the file changed while it was read", obj=shown, phase="fetch", hint="wait until whatever writes it is done")
    return Received(digest, size, identity=identity)


def _let_settle(found: os.stat_result, clock: Clock) -> None:
    if clock.now() - found.st_ctime < _TICK_SECONDS:
        clock.sleep(_TICK_SECONDS)


def _pump(read_into: Callable[[memoryview], int], fd: int, algorithm: str, deadline: Deadline, shown: str) -> tuple[str, int]:
    """Move everything, and return digest and size."""
    hasher = hashlib.new(algorithm)
    writer = SparseWriter(fd)
    buffer = bytearray(CHUNK)
    view = memoryview(buffer)
    with naming_storage_errors(shown, "fetch"):
        while True:
            filled = _fill(read_into, view)
            hasher.update(view[:filled])
            writer.write(buffer, filled)
            if filled < CHUNK:
                break
            deadline.check("the transfer", obj=shown, phase="fetch", hint="the image is large or the source slow: allow more time")
        return f"{algorithm}:{hasher.hexdigest()}", writer.finish()


def _fill(read_into: Callable[[memoryview], int], view: memoryview) -> int:
    """Read until the buffer is full or the source at its end; a socket gives less at a time."""
    filled = 0
    while filled < len(view):
        count = read_into(view[filled:])
        if not count:
            break
        filled += count
    return filled
