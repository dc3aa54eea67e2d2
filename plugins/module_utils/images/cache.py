# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The image cache: content-addressed files that overlays stand on, so one that is there never changes.

::

    <root>/sha256/<digest>.<format>         the image as fetched, mode 0644: qemu reads it
    <root>/sha256/<digest>.<format>.json    its ImageRecord; the file's mtime says when the image was last used
    <root>/sources/<sha256 of source>.json  SourceRecord, only of sources without a checksum
    <root>/tmp/                             what is being fetched, and locks; nothing a dead run left survives the next ensure()

The rename of an inspected image to its digest is the commit, and comes after its record: a record without its image
means nothing. The lock only spares several runs the same download.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import ChecksumMismatch, InvalidSpec, TransferFailed
from ansible_collections.poolwright.virt.plugins.module_utils.images import scratch
from ansible_collections.poolwright.virt.plugins.module_utils.images.fetch import Received, fetch, identity_of
from ansible_collections.poolwright.virt.plugins.module_utils.images.inspect import MAX_VIRTUAL_SIZE, RULES_VERSION, Inspected, inspect_file
from ansible_collections.poolwright.virt.plugins.module_utils.images.records import ImageRecord, SourceRecord
from ansible_collections.poolwright.virt.plugins.module_utils.images.source import ImageSource
from ansible_collections.poolwright.virt.plugins.module_utils.images.sparse import naming_storage_errors
from ansible_collections.poolwright.virt.plugins.module_utils.locks import FileLock


@dataclass(frozen=True)
class CachedImage:
    """An inspected image in the cache: absolute ``path``, ``digest`` as ``<algorithm>:<hex>``, sizes in bytes.

    ``size`` is the file's, ``virtual_size`` the disk's, ``allocated`` an upper bound of the data in that disk.
    """

    path: str
    digest: str
    format: str
    virtual_size: int
    size: int
    allocated: int


class ImageCache:
    """One cache directory; safe for several threads, processes and controllers at once.

    :param root: absolute path, made when missing.
    """

    def __init__(self, root: str, clock: Clock, *, validate_certs: bool = True, max_virtual_size: int = MAX_VIRTUAL_SIZE) -> None:
        self._root = os.path.abspath(root)
        self._clock = clock
        self._validate_certs = validate_certs
        self._max_virtual_size = max_virtual_size
        self._tmp = os.path.join(self._root, "tmp")
        # Sources without a checksum that this object has looked at: one run uses one version for all its machines.
        self._current: set[str] = set()

    def lookup(self, source: ImageSource) -> CachedImage | None:
        """The image if it is here, fit for use, and belongs to the source as far as can be told without the network.

        Changes nothing and reads two small files at most. For a URL without a checksum that is the version seen last.
        """
        digest = source.digest or self._remembered_digest(source)
        return None if digest is None else self._load(digest, source.format)

    def ensure(self, source: ImageSource, deadline: Deadline) -> CachedImage:
        """The image, fetched and inspected if it is not here yet, and marked as used now.

        With a checksum the network is touched only when the image is missing. A URL without one is asked once per
        ``ImageCache`` whether it has changed, and downloaded again unless the server says that it has not.

        :raises InvalidSpec: the source has ``problems()``.
        :raises ChecksumMismatch, ImageRefused: nothing of it is kept.
        :raises NotFound, AuthenticationFailed, TransferFailed, InsufficientResources: see ``fetch``.
        :raises Busy: another run was still fetching it at the deadline.
        """
        problems = source.problems()
        if problems:
            raise InvalidSpec(problems)
        started = self._clock.now()
        self.sweep()
        found = self._usable(source, started)
        if found is None:
            with naming_storage_errors(self._root, "fetch"):
                found = self._bring(source, started, deadline)
        return found

    def sweep(self) -> list[str]:
        """Remove what killed runs left, and return the paths; what a living one works on is left alone."""
        return scratch.sweep(self._tmp)

    def contains(self, path: str) -> bool:
        """Whether ``path`` is one of this cache's files, by name."""
        return os.path.commonpath([self._root, os.path.abspath(path)]) == self._root

    def _bring(self, source: ImageSource, started: float, deadline: Deadline) -> CachedImage:
        for path, mode in ((self._root, 0o755), (self._tmp, 0o700)):
            scratch.make_directories(path, mode)
        name = (source.digest or source.key).replace(":", "-")
        with FileLock(os.path.join(self._tmp, f".{name}.{source.format}.lock"), self._clock, deadline):
            # Another run may have fetched it while this one waited.
            found = self._usable(source, started) or self._inspect_again(source, deadline) or self._fetch(source, name, deadline)
        if source.digest is None:
            self._current.add(source.key)
        return found

    def _usable(self, source: ImageSource, since: float) -> CachedImage | None:
        """The image if it can be used without fetching; marked as used before it is looked at, so it is not aged away between."""
        if source.digest is None and source.is_remote and source.key not in self._current:
            seen = self._source_record(source)
            if seen is None or seen.checked_at < since:
                return None
        digest = source.digest or self._remembered_digest(source)
        if digest is None:
            return None
        with contextlib.suppress(OSError):
            # A read-only or foreign record (an NFS cache) still serves.
            os.utime(self._image_path(digest, source.format) + ".json", (self._clock.now(),) * 2)
        return self._load(digest, source.format)

    def _inspect_again(self, source: ImageSource, deadline: Deadline) -> CachedImage | None:
        """An image that an older version of this collection let in: looked at by today's rules, not fetched again."""
        digest = source.digest or (None if source.is_remote else self._remembered_digest(source))
        record = None if digest is None else self._record(digest, source.format)
        if digest is None or record is None or record.rules == RULES_VERSION:
            return None
        path = self._image_path(digest, source.format)
        if _size_of(path) != record.size:
            return None
        inspected = inspect_file(path, source.format, deadline, name=str(source), max_virtual_size=self._max_virtual_size)
        renewed = replace(record, virtual_size=inspected.virtual_size, allocated=inspected.allocated, rules=RULES_VERSION)
        with scratch.scratch_directory(self._tmp, "record") as directory:
            self._write(directory, path + ".json", renewed.dump())
        return self._load(digest, source.format)

    def _fetch(self, source: ImageSource, name: str, deadline: Deadline) -> CachedImage:
        known = self._known_version(source)
        with scratch.scratch_directory(self._tmp, name) as directory:
            unfinished = os.path.join(directory, "image")
            with open(unfinished, "xb", buffering=0) as stream:
                received = fetch(source, stream.fileno(), self._tmp, deadline, known=known.validators if known else None, validate_certs=self._validate_certs)
                os.fsync(stream.fileno())
            if received is None:
                return self._still_current(source, known, directory)
            if source.digest is not None and received.digest != source.digest:
                raise _mismatch(source, received)
            inspected = inspect_file(unfinished, source.format, deadline, name=str(source), max_virtual_size=self._max_virtual_size)
            return self._commit(source, received, inspected, directory, unfinished)

    def _known_version(self, source: ImageSource) -> SourceRecord | None:
        """The last version of a URL without a checksum, if its image is still here: only then may the server answer "unchanged"."""
        if source.digest is not None or not source.is_remote or self.lookup(source) is None:
            return None
        return self._source_record(source)

    def _still_current(self, source: ImageSource, known: SourceRecord | None, directory: str) -> CachedImage:
        now = self._clock.now()
        if known is not None:
            self._write(directory, self._source_path(source), replace(known, checked_at=now).dump())
        found = self._usable(source, now)
        if found is None:
            raise TransferFailed("the image vanished from the cache while its source was asked", obj=str(source), phase="fetch")
        return found

    def _commit(self, source: ImageSource, received: Received, inspected: Inspected, directory: str, unfinished: str) -> CachedImage:
        final = self._image_path(received.digest, source.format)
        scratch.make_directories(os.path.dirname(final))
        now = self._clock.now()
        record = ImageRecord(
            digest=received.digest,
            format=inspected.format,
            size=received.size,
            virtual_size=inspected.virtual_size,
            allocated=inspected.allocated,
            source=str(source),
            checked=source.digest is not None,
            fetched_at=now,
            rules=RULES_VERSION,
        )
        self._write(directory, final + ".json", record.dump())
        scratch.publish(unfinished, final, 0o644)
        scratch.sync_directory(os.path.dirname(final))
        if source.digest is None:
            # After the image: a source never leads to one that is not here.
            scratch.make_directories(os.path.dirname(self._source_path(source)))
            seen = SourceRecord(str(source), received.digest, now, received.validators, received.identity)
            self._write(directory, self._source_path(source), seen.dump())
        return _as_cached(final, record)

    def _write(self, directory: str, final: str, data: bytes) -> None:
        unfinished = os.path.join(directory, "record")
        with open(unfinished, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        scratch.publish(unfinished, final, 0o644)

    def _load(self, digest: str, format: str) -> CachedImage | None:
        record = self._record(digest, format)
        path = self._image_path(digest, format)
        if record is None or record.rules != RULES_VERSION or record.virtual_size > self._max_virtual_size or _size_of(path) != record.size:
            return None
        return _as_cached(path, record)

    def _record(self, digest: str, format: str) -> ImageRecord | None:
        data = _read(self._image_path(digest, format) + ".json")
        record = None if data is None else ImageRecord.load(data)
        return record if record is not None and (record.digest, record.format) == (digest, format) else None

    def _remembered_digest(self, source: ImageSource) -> str | None:
        seen = self._source_record(source)
        if seen is None or (not source.is_remote and seen.identity != identity_of(source)):
            return None
        return seen.digest

    def _source_record(self, source: ImageSource) -> SourceRecord | None:
        data = _read(self._source_path(source))
        return None if data is None else SourceRecord.load(data)

    def _source_path(self, source: ImageSource) -> str:
        return os.path.join(self._root, "sources", f"{source.key}.json")

    def _image_path(self, digest: str, format: str) -> str:
        algorithm, _colon, digits = digest.partition(":")
        return os.path.join(self._root, algorithm, f"{digits}.{format}")


def _as_cached(path: str, record: ImageRecord) -> CachedImage:
    return CachedImage(path, record.digest, record.format, record.virtual_size, record.size, record.allocated)


def _mismatch(source: ImageSource, received: Received) -> ChecksumMismatch:
    return ChecksumMismatch(
        f"the checksum should be {source.digest}, but is {received.digest} over {received.size} bytes",
        obj=str(source),
        phase="fetch",
        hint="nothing was kept; correct the checksum if the image was changed on purpose",
    )


def _size_of(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:
        return None


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except OSError:
        return None
