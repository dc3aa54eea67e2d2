# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Bytes to and from datastores, through vCenter's ``/folder``: streamed, hashed on the way, and checked at the end.

Memory does not grow with the file. An upload that broke is started over, since nothing says how much of it arrived; a download goes on
where it broke off.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Callable, TypeVar

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import (
    Cancelled,
    ChecksumMismatch,
    ConnectionFailed,
    InsufficientResources,
    TransferFailed,
    VirtError,
)
from ansible_collections.poolwright.virt.plugins.module_utils.images.scratch import publish, sweep
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import FileMissing, NotAuthenticated, PermissionDenied
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.files import Site, delete_file, stat
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.local_side import (
    BLOCK,
    PHASE,
    LocalFailure,
    Source,
    at_home,
    hash_of,
    not_at_home,
    opened,
    part_file,
)
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.readahead import InTurn, ReadAhead

T = TypeVar("T")

Progress = Callable[[int, int], None]
"""Gets the bytes done and those there are in all."""

PAUSES = (1.0, 3.0)
"""Seconds before each further attempt at a transfer that broke."""

_EARLY_SECONDS = 5.0
_TIDY_SECONDS = 30.0


@dataclass(frozen=True)
class Transferred:
    """``size`` in bytes, ``sha256`` in hexadecimal digits; ``resumed`` is how many of the bytes an earlier attempt had fetched."""

    size: int
    sha256: str
    resumed: int = 0


class _Broken(Exception):
    """An attempt that a further one may make good."""


class _SessionEnded(Exception):
    """vCenter does not take the cookie; ``status`` is what it said."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status


class Transfer:
    """Transfers to and from the datastores of one site, with its session. One connection each; safe to use from several threads."""

    def __init__(self, site: Site, *, stats: Stats | None = None, cancel: threading.Event | None = None) -> None:
        """:param cancel: once it is set, transfers end with ``Cancelled``, and partial uploads are removed."""
        self._site = site
        self._vim = site.vim
        self._stats = stats
        self._cancel = cancel or threading.Event()

    def at(self, site: Site) -> Transfer:
        """The same for another site of the same vCenter."""
        return Transfer(site, stats=self._stats, cancel=self._cancel)

    def upload(
        self,
        path: DatastorePath,
        source: Source,
        deadline: Deadline,
        *,
        size: int | None = None,
        sha256: str = "",
        on_progress: Progress | None = None,
        read_back: bool = False,
    ) -> Transferred:
        """Send a file, or what a stream still has, to ``path``, whose folder has to be there. What is there is overwritten.

        :param source: a local path, or a stream; one that cannot seek is sent once and not again.
        :param size: how many bytes; needed for a stream that cannot seek.
        :param sha256: its hash, where that is known: then it is not made on the way, which takes a third of the time where the connection is
            faster than the processor. Whoever gives it sees to it that the source has not changed.
        :param read_back: fetch it all again and compare the hashes; otherwise the sizes are compared.
        :raises TransferFailed: it did not arrive whole; the part that did was removed.   :raises InsufficientResources: no space there.
        :raises FileMissing, PermissionDenied, NotAuthenticated: vCenter's answer.
        """
        with opened(source) as stream:
            seekable = stream.seekable()
            start = stream.tell() if seekable else 0
            if size is None:
                if not seekable:
                    raise ValueError("size: needed for a stream that cannot seek")
                size = stream.seek(0, os.SEEK_END) - start
                stream.seek(start)
            total, begun = size, threading.Event()

            def attempt() -> Transferred:
                if seekable:
                    stream.seek(start)
                sent = self._put(path, stream, total, deadline, on_progress, begun, sha256)
                self._check(path, sent, deadline, read_back)
                return sent

            try:
                return self._patiently(attempt, path, deadline, again=seekable)
            except BaseException:  # whatever it is, goes on after half a file is gone
                # The error that led here says more than one from tidying up. What was turned down unread has left all as it was.
                if begun.is_set():
                    with contextlib.suppress(VirtError):
                        delete_file(self._site, path, Deadline.after(self._site.clock, _TIDY_SECONDS))
                raise

    def download(
        self,
        path: DatastorePath,
        local: str | os.PathLike[str],
        deadline: Deadline,
        *,
        sha256: str = "",
        mode: int = 0o644,
        on_progress: Progress | None = None,
    ) -> Transferred:
        """Fetch a file to ``local``, which appears at once and whole. One that broke off, in this run or an earlier one, is gone on with.

        :param sha256: what its hash has to be, in hexadecimal digits.   :param mode: of the local file.
        :raises FileMissing: there is no such file.   :raises ChecksumMismatch: it is not the expected one; nothing was put in place.
        :raises Busy: another process fetches it to the same place.   :raises TransferFailed: it did not come through.
        """
        found = stat(self._site, path, deadline)
        if found is None or found.is_folder:
            raise FileMissing("there is no such file" if found is None else "this is a folder", obj=str(path), phase=PHASE)
        version = hashlib.sha256(f"{path}\n{found.size}\n{found.modified}".encode()).hexdigest()[:12]
        target = os.fspath(local)
        parent, name = os.path.split(target)
        part = os.path.join(parent, f".{name}.{version}.part")
        with part_file(part, target) as stream:
            sweep(parent or ".", name)
            resumed = stream.seek(0, os.SEEK_END)
            got = self._patiently(lambda: self._fetch(path, stream, found.size, deadline, on_progress), path, deadline)
            if sha256 and got.sha256 != sha256.lower():
                stream.truncate(0)
                os.unlink(part)
                raise ChecksumMismatch(f"its SHA-256 is {got.sha256}, not {sha256.lower()}", obj=str(path), phase=PHASE)
            os.fsync(stream.fileno())
            publish(part, target, mode)
        return Transferred(got.size, got.sha256, resumed)

    def read(self, path: DatastorePath, deadline: Deadline, *, limit: int = 16 * BLOCK) -> bytes:
        """A small file. :raises FileMissing: there is none.   :raises TransferFailed: it is larger than ``limit`` bytes, or did not come."""

        def attempt() -> bytes:
            with self._get(path, deadline, 0) as response:
                content = _read(response, limit + 1)
                if len(content) > limit:
                    raise TransferFailed(f"it is larger than {limit} bytes", obj=str(path), phase=PHASE)
                return content

        return self._patiently(attempt, path, deadline)

    def beginning(self, path: DatastorePath, deadline: Deadline, count: int = 512) -> bytes:
        """The first bytes of a file that is not empty, fewer where it is shorter. :raises FileMissing, TransferFailed: see ``read``."""

        def attempt() -> bytes:
            with self._get(path, deadline, 0, count) as response:
                return _read(response, count)

        return self._patiently(attempt, path, deadline)

    def hash(self, path: DatastorePath, deadline: Deadline, *, on_progress: Progress | None = None) -> Transferred:
        """The hash of a file, which takes fetching it. :raises FileMissing, TransferFailed: see ``read``."""

        def attempt() -> Transferred:
            digest, size = hashlib.sha256(), 0
            with self._get(path, deadline, 0) as response:
                length = _length_of(response) or 0
                while block := self._block(response, deadline, path):
                    digest.update(block)
                    size += len(block)
                    if on_progress is not None:
                        on_progress(size, length)
                _check_length(response, size)
            return Transferred(size, digest.hexdigest())

        return self._patiently(attempt, path, deadline)

    # -- one attempt

    def _put(
        self, path: DatastorePath, stream: IO[bytes], size: int, deadline: Deadline, on_progress: Progress | None, begun: threading.Event, sha256: str
    ) -> Transferred:
        """:param begun: set once some of the file may be there; cleared where vCenter did not take it."""
        ahead: InTurn | ReadAhead = InTurn(stream, size, BLOCK, sha256.lower()) if sha256 else ReadAhead(stream, size, BLOCK)
        sent = 0
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        with self._request("PUT", path, deadline, headers) as connection, ahead.blocks() as blocks:
            begun.set()
            try:
                while sent < size:
                    self._go_on(deadline, path)
                    with at_home():
                        block = next(blocks, None)
                    if block is None:
                        raise TransferFailed(f"the source ended after {sent} of {size} bytes", obj=str(path), phase=PHASE, hint="it changed meanwhile")
                    connection.send(block)
                    sent += len(block)
                    if on_progress is not None:
                        on_progress(sent, size)
            except OSError:
                # Whoever turns a request down need not read it to its end; the reason may be here already.
                connection.sock.settimeout(_EARLY_SECONDS)
                self._accept(connection.getresponse(), path, (200, 201, 204), begun)
                raise
            with self._accept(connection.getresponse(), path, (200, 201, 204), begun) as response:
                response.read()
        return Transferred(sent, ahead.sha256)

    def _check(self, path: DatastorePath, sent: Transferred, deadline: Deadline, read_back: bool) -> None:
        found = stat(self._site, path, deadline)
        if found is None or found.size != sent.size:
            there = "nothing" if found is None else f"{found.size} bytes"
            raise _Broken(f"{sent.size} bytes were sent, and {there} arrived")
        if read_back:
            arrived = self.hash(path, deadline)
            if arrived != sent:
                raise _Broken(f"what arrived has the SHA-256 {arrived.sha256}, not {sent.sha256}")

    def _fetch(self, path: DatastorePath, stream: IO[bytes], size: int, deadline: Deadline, on_progress: Progress | None) -> Transferred:
        """Bring ``stream``, the beginning of the file or empty, to the whole of it."""
        have = stream.seek(0, os.SEEK_END)
        if have > size:
            have = stream.truncate(0)
        digest = hash_of(stream, have)
        if have < size or size == 0:
            with self._get(path, deadline, have) as response:
                if have and response.status == 200:
                    have, digest = stream.truncate(0), hashlib.sha256()
                stream.seek(have)
                while block := self._block(response, deadline, path):
                    with at_home():
                        stream.write(block)
                    digest.update(block)
                    have += len(block)
                    if on_progress is not None:
                        on_progress(have, size)
            with at_home():
                stream.flush()
        if have != size:
            if have > size:
                stream.truncate(0)
            raise _Broken(f"{have} of {size} bytes came")
        return Transferred(have, digest.hexdigest())

    @contextmanager
    def _get(self, path: DatastorePath, deadline: Deadline, start: int, count: int = 0) -> Iterator[http.client.HTTPResponse]:
        """The answer, from the byte ``start`` on, so many or all (206), or whole where the server does not do ranges (200)."""
        ranged = {"Range": f"bytes={start}-{start + count - 1 if count else ''}"} if start or count else {}
        with (
            self._request("GET", path, deadline, {"Accept-Encoding": "identity", **ranged}) as connection,
            self._accept(connection.getresponse(), path, (200, 206)) as response,
        ):
            if response.status == 206 and not str(response.getheader("Content-Range", "")).startswith(f"bytes {start}-"):
                raise _Broken("the server sent another range than was asked for")
            yield response

    @contextmanager
    def _request(self, method: str, path: DatastorePath, deadline: Deadline, headers: dict[str, str]) -> Iterator[http.client.HTTPSConnection]:
        """A connection on which the head of a request was sent."""
        self._log_in()
        if self._stats is not None:
            self._stats.call(f"{method} /folder")
        timeout = max(1.0, min(self._vim.endpoint.timeout, deadline.remaining))
        connection = self._vim.transport.connect(timeout)
        try:
            connection.putrequest(method, path.url_path(self._site.inventory.datacenter.path), skip_accept_encoding=True)
            for name, value in {**headers, "User-Agent": "poolwright.virt", **self._vim.transport.cookie_header()}.items():
                connection.putheader(name, value)
            connection.endheaders()
            yield connection
        finally:
            connection.close()

    def _accept(
        self, response: http.client.HTTPResponse, path: DatastorePath, good: tuple[int, ...], begun: threading.Event | None = None
    ) -> http.client.HTTPResponse:
        status = response.status
        if status in good:
            return response
        # It holds the connection's socket, where the server wants that closed.
        response.close()
        if begun is not None and 300 <= status < 500:
            begun.clear()
        said = f"vCenter answers HTTP {status} {response.reason}"
        # A session that ended is sent to the login page by some.
        if status in (401, 403) or 300 <= status < 400:
            raise _SessionEnded(status)
        if status == 404:
            raise FileMissing(said, obj=str(path), phase=PHASE, hint="there is no such file, or not the folder that it should be in")
        if status == 507:
            raise InsufficientResources(f"{said}: the datastore is full", obj=str(path), phase=PHASE)
        if status in (408, 423, 429) or status >= 500:
            raise _Broken(said)
        raise TransferFailed(said, obj=str(path), phase=PHASE)

    # -- around the attempts

    def _patiently(self, attempt: Callable[[], T], path: DatastorePath, deadline: Deadline, *, again: bool = True) -> T:
        """What an attempt returns; it may be made over where a connection broke, and once more where the session had ended."""
        broken, renewed = 0, False
        while True:
            try:
                return attempt()
            except _SessionEnded as exc:
                if renewed or not again:
                    raise self._not_let_in(exc, path) from None
                renewed = True
                self._renew()
            except LocalFailure as exc:
                raise not_at_home(exc, path) from None
            except (_Broken, OSError, http.client.HTTPException, ConnectionFailed) as exc:
                if isinstance(exc, ConnectionFailed) and not exc.transient:
                    raise
                said = exc.message if isinstance(exc, VirtError) else str(exc) or type(exc).__name__
                broken += 1
                if not again or broken > len(PAUSES) or deadline.passed:
                    raise TransferFailed(f"given up after {broken} attempt{'s' if broken > 1 else ''}: {said}", obj=str(path), phase=PHASE) from None
                self._site.clock.sleep(PAUSES[broken - 1])

    def _log_in(self) -> None:
        if not self._vim.transport.cookie_header():
            self._renew()

    def _renew(self) -> None:
        # Any call that needs a session logs in again where vCenter has ended it.
        self._vim.get_properties(self._site.datacenter, ["name"], phase=PHASE)

    def _not_let_in(self, exc: _SessionEnded, path: DatastorePath) -> VirtError:
        if exc.status == 403:
            hint = "give the account the privileges Datastore.Browse and Datastore.FileManagement on the datastore"
            return PermissionDenied("vCenter does not allow it (HTTP 403)", obj=str(path), phase=PHASE, hint=hint)
        return NotAuthenticated(f"vCenter does not take the session for files (HTTP {exc.status})", obj=str(path), phase=PHASE)

    def _block(self, response: http.client.HTTPResponse, deadline: Deadline, path: DatastorePath) -> bytes:
        self._go_on(deadline, path)
        return response.read(BLOCK)

    def _go_on(self, deadline: Deadline, path: DatastorePath) -> None:
        if self._cancel.is_set():
            raise Cancelled("the run was told to stop", obj=str(path), phase=PHASE)
        deadline.check("the transfer", str(path), PHASE)


def _length_of(response: http.client.HTTPResponse) -> int | None:
    length = response.getheader("Content-Length") or ""
    return int(length) if length.isdigit() else None


def _check_length(response: http.client.HTTPResponse, got: int, limit: int | None = None) -> None:
    """A body that is cut off looks like one that has ended."""
    length = _length_of(response)
    due = length if limit is None or length is None else min(limit, length)
    if due is not None and got < due:
        raise _Broken(f"{got} of {length} bytes came")


def _read(response: http.client.HTTPResponse, limit: int) -> bytes:
    content = response.read(limit)
    _check_length(response, len(content), limit)
    return content
