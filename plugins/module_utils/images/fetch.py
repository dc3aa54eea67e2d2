# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Bringing an image's bytes here: one pass that reads, hashes and writes, in chunks of 1 MiB and flat memory."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import ImageRefused, NotFound, TransferFailed
from ansible_collections.poolwright.virt.plugins.module_utils.images.download import ChangedMeanwhile, Download
from ansible_collections.poolwright.virt.plugins.module_utils.images.sizes import MAX_UNPACKED_SIZE
from ansible_collections.poolwright.virt.plugins.module_utils.images.source import ImageSource
from ansible_collections.poolwright.virt.plugins.module_utils.images.sparse import CHUNK, NullWriter, SparseWriter, Writer, check_space, naming_storage_errors
from ansible_collections.poolwright.virt.plugins.module_utils.images.unpack import Unpacker
from ansible_collections.poolwright.virt.plugins.module_utils.images.web import Answer, Validators, open_url

# A change within the tick of a file system's clock leaves the times as they were.
_TICK_SECONDS = 0.1
_ROUNDS = 3


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
    """What arrived: ``digest`` is ``<algorithm>:<hex>`` of all of it, ``size`` its bytes, ``stored`` those of what was kept of it, unpacked.

    ``hasher`` has the digest, for whoever goes on with what follows; ``head`` is the begin of what arrived where it was asked for.
    """

    digest: str
    size: int
    validators: Validators = Validators()
    identity: FileIdentity | None = None
    stored: int = -1
    hasher: Any = field(default=None, repr=False, compare=False)
    head: bytes = field(default=b"", repr=False, compare=False)


@dataclass(frozen=True)
class _Sink:
    """Where the bytes go: the file, below 0 for nowhere, the directory it is in, and how many it may get when they are unpacked.

    ``after`` has hashed what comes before them, and so many of the first are told. A local file may be behind a link only with ``links``.
    """

    fd: int
    directory: str
    most: int
    after: Any = None
    head: int = 0
    links: bool = True


def fetch(
    source: ImageSource,
    fd: int,
    directory: str,
    deadline: Deadline,
    *,
    known: Validators | None = None,
    validate_certs: bool = True,
    max_unpacked_size: int = MAX_UNPACKED_SIZE,
    after: Any = None,
    links: bool = True,
) -> Received | None:
    """Write a source's bytes, unpacked, into the empty file ``fd``; None where the server says that the ``known`` version is current.

    The file is sparse where the image has zeros. Its contents are not to be trusted before digest and format are checked.

    :param directory: where that file is, for the free space.
    :raises NotFound, AuthenticationFailed, TransferFailed: the source cannot be read; ``transient`` says whether trying again may help.
    :param max_unpacked_size: bytes that a compressed file may become.
    :param after: a ``Received.hasher``: the digest is of what that has hashed, and of this after it.
    :param links: whether a local file may be a symbolic link.
    :raises ImageRefused: a compressed file is not what it was said to be, damaged, or becomes too large.
    :raises InsufficientResources: the image does not fit, known beforehand where its size is.
    :raises DeadlineExceeded: looked at after every chunk.
    """
    sink = _Sink(fd, directory, max_unpacked_size, after, 0, links)
    if not source.is_remote:
        return _fetch_file(source, sink, deadline)
    answer = open_url(source.source, deadline.remaining, known=known, validate_certs=validate_certs)
    return None if answer is None else _receive(source, answer, sink, deadline, validate_certs)


def measure(
    source: ImageSource,
    deadline: Deadline,
    *,
    validate_certs: bool = True,
    max_unpacked_size: int = MAX_UNPACKED_SIZE,
    after: Any = None,
    links: bool = True,
    head: int = 0,
) -> Received:
    """What ``fetch`` would tell, keeping nothing but the first ``head`` bytes; raises the same."""
    sink = _Sink(-1, "", max_unpacked_size, after, head, links)
    if not source.is_remote:
        return _fetch_file(source, sink, deadline)
    answer = open_url(source.source, deadline.remaining, validate_certs=validate_certs)
    if answer is None:
        raise TransferFailed("the server says that the image has not changed, though nothing was asked about that", obj=str(source), phase="fetch")
    return _receive(source, answer, sink, deadline, validate_certs)


def identity_of(source: ImageSource) -> FileIdentity | None:
    """A local source's identity as it is now; None where there is no such file."""
    try:
        return FileIdentity.of(os.stat(source.path))
    except OSError:
        return None


def _receive(source: ImageSource, answer: Answer, sink: _Sink, deadline: Deadline, validate_certs: bool) -> Received:
    """All of a file on the web. Where it changes half-way it is begun anew, ``_ROUNDS`` times."""
    download = Download(source, answer, deadline, validate_certs=validate_certs)
    try:
        for remaining in reversed(range(_ROUNDS)):
            if download.size is not None and sink.fd >= 0:
                check_space(sink.directory, download.size, "fetch")
            try:
                return replace(_pump(download.read_into, sink, source, deadline), validators=download.validators)
            except ChangedMeanwhile as exc:
                if not remaining:
                    raise TransferFailed(str(exc), obj=str(source), phase="fetch", hint="try again later") from exc
                if sink.fd >= 0:
                    os.ftruncate(sink.fd, 0)
        raise AssertionError("the last round returns or raises")
    finally:
        download.close()


def _fetch_file(source: ImageSource, sink: _Sink, deadline: Deadline) -> Received:
    shown = str(source)
    try:
        # Not blocking: a FIFO would wait for its writer.
        origin = os.open(source.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if sink.links else os.O_NOFOLLOW))
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
        if sink.fd >= 0:
            check_space(sink.directory, min(before.st_size, before.st_blocks * 512), "fetch")
        _let_settle(before, deadline.clock)

        def read_into(view: memoryview) -> int:
            try:
                return os.readv(origin, [view])
            except OSError as exc:
                raise TransferFailed(f"it cannot be read: {exc.strerror}", obj=shown, phase="fetch") from exc

        received = _pump(read_into, sink, source, deadline)
        identity = FileIdentity.of(os.fstat(origin))
    finally:
        os.close(origin)
    if identity != FileIdentity.of(before):
        raise TransferFailed("the file changed while it was read", obj=shown, phase="fetch", hint="wait until whatever writes it is done")
    return replace(received, identity=identity)


def _let_settle(found: os.stat_result, clock: Clock) -> None:
    if clock.now() - found.st_ctime < _TICK_SECONDS:
        clock.sleep(_TICK_SECONDS)


def _pump(read_into: Callable[[memoryview], int], sink: _Sink, source: ImageSource, deadline: Deadline) -> Received:
    """Move everything."""
    shown = str(source)
    hasher = hashlib.new(source.algorithm) if sink.after is None else sink.after.copy()
    head = b""
    writer: Writer = SparseWriter(sink.fd) if sink.fd >= 0 else NullWriter()
    buffer = bytearray(CHUNK)
    view = memoryview(buffer)
    size = 0
    with naming_storage_errors(shown, "fetch"), contextlib.ExitStack() as stack:
        unpacker = stack.enter_context(Unpacker(writer, source.compression, sink.most, shown)) if source.compression else None
        while True:
            filled = _fill(read_into, view)
            hasher.update(view[:filled])
            size += filled
            head += view[: max(0, min(filled, sink.head - len(head)))]
            if unpacker is not None:
                unpacker.write(view[:filled])
            else:
                writer.write(buffer, filled)
            if filled < CHUNK:
                break
            deadline.check("the transfer", obj=shown, phase="fetch", hint="the image is large or the source slow: allow more time")
        if unpacker is not None:
            unpacker.finish()
        return Received(f"{source.algorithm}:{hasher.hexdigest()}", size, stored=writer.finish(), hasher=hasher, head=head)


def _fill(read_into: Callable[[memoryview], int], view: memoryview) -> int:
    """Read until the buffer is full or the source at its end; a socket gives less at a time."""
    filled = 0
    while filled < len(view):
        count = read_into(view[filled:])
        if not count:
            break
        filled += count
    return filled
