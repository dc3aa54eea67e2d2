# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The image cache: content-addressed files that overlays stand on, so one that is there never changes. ``store.py`` says what lies where.

The rename of an inspected image to its digest is the commit, and comes after its record: a record without its image means nothing, and
neither does an image without its record. Locks spare several runs the same download, and keep ``upkeep.py`` from an image that is
being made. Whoever uses one that is there takes none: he records the use, and then looks.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import ChecksumMismatch, ImageRefused, InvalidSpec, TransferFailed
from ansible_collections.poolwright.virt.plugins.module_utils.images import checksums, parts, qemu_img, scratch, store
from ansible_collections.poolwright.virt.plugins.module_utils.images import inspect as inspection
from ansible_collections.poolwright.virt.plugins.module_utils.images.fetch import Received, fetch
from ansible_collections.poolwright.virt.plugins.module_utils.images.records import ImageRecord, SourceRecord
from ansible_collections.poolwright.virt.plugins.module_utils.images.sizes import MAX_UNPACKED_SIZE, MAX_VIRTUAL_SIZE
from ansible_collections.poolwright.virt.plugins.module_utils.images.source import ImageSource
from ansible_collections.poolwright.virt.plugins.module_utils.images.sparse import check_space, naming_storage_errors
from ansible_collections.poolwright.virt.plugins.module_utils.images.web import open_url
from ansible_collections.poolwright.virt.plugins.module_utils.locks import FileLock


@dataclass(frozen=True)
class CachedImage:
    """An inspected image in the cache: absolute ``path``, ``digest`` as ``<algorithm>:<hex>``, sizes in bytes.

    ``size`` is the file's, ``virtual_size`` the disk's, ``allocated`` an upper bound of the data in that disk. ``made`` says of what
    ``ensure`` returns whether it was brought or converted just now.
    """

    path: str
    digest: str
    format: str
    virtual_size: int
    size: int
    allocated: int
    made: bool = field(default=False, compare=False)


class ImageCache:
    """One cache directory; safe for several threads, processes and controllers at once.

    :param root: absolute path, made when missing.
    :param max_virtual_size: bytes that a disk may have.
    :param max_unpacked_size: bytes that a compressed file may become.
    """

    def __init__(
        self,
        root: str,
        clock: Clock,
        *,
        validate_certs: bool = True,
        max_virtual_size: int = MAX_VIRTUAL_SIZE,
        max_unpacked_size: int = MAX_UNPACKED_SIZE,
    ) -> None:
        self.store = store.Store(os.path.abspath(root), max_virtual_size)
        self.clock = clock
        self._validate_certs = validate_certs
        self._max_virtual_size = max_virtual_size
        self._max_unpacked_size = max_unpacked_size
        # Sources without a checksum that this object has looked at: one run uses one version for all its machines.
        self._current: set[str] = set()
        # Checksums that were read from files, for the same reason.
        self._resolved: dict[ImageSource, ImageSource] = {}

    @property
    def root(self) -> str:
        return self.store.root

    def resolved(self, source: ImageSource, deadline: Deadline) -> ImageSource:
        """The source with its checksum, where that is in a file which is read once; all else of it stays.

        :raises InvalidSpec: it has ``problems()``.   :raises VirtError: see ``checksums.resolved``.
        """
        problems = source.problems()
        if problems:
            raise InvalidSpec(problems)
        if source.checksum_file is None:
            return source
        if source not in self._resolved:
            self._resolved[source] = checksums.resolved(source, deadline, validate_certs=self._validate_certs)
        return self._resolved[source]

    def lookup(self, source: ImageSource) -> CachedImage | None:
        """The image if it is here, fit for use, and belongs to the source as far as can be told without the network.

        Changes nothing and reads two small files at most. For a URL without a checksum that is the version seen last. One whose checksum
        is in a file is not known before it is ``resolved``.
        """
        source = self._resolved.get(source, source)
        if source.checksum_file is not None:
            return None
        digest = source.digest or self._remembered_digest(source)
        return None if digest is None else self._load(digest, source.used_variant)

    def foresee(self, source: ImageSource, deadline: Deadline) -> CachedImage | None:
        """What ``ensure`` would return without having to make it; None where it would fetch or convert. Changes nothing.

        A source without a checksum that was seen before is asked whether it has changed, and read where it cannot tell.

        :raises InvalidSpec: the source has ``problems()``.
        :raises NotFound, AuthenticationFailed, TransferFailed: the source, or the file that its checksum is in, cannot be read.
        """
        source = self.resolved(source, deadline)
        digest = source.digest or self._digest_now(source, deadline)
        return None if digest is None else self._load(digest, source.used_variant)

    def ensure(self, source: ImageSource, deadline: Deadline) -> CachedImage:
        """The image, fetched, inspected and converted if it is not here yet, and marked as used now.

        With a checksum the network is touched only when the image is missing. A URL without one is asked once per
        ``ImageCache`` whether it has changed, and downloaded again unless the server says that it has not.

        :raises InvalidSpec: the source has ``problems()``.
        :raises ChecksumMismatch, ImageRefused: nothing of it is kept.
        :raises NotFound, AuthenticationFailed, TransferFailed, InsufficientResources: see ``fetch``.
        :raises Busy: another run was still fetching it at the deadline.
        """
        started = self.clock.now()
        source = self.resolved(source, deadline)
        self.sweep()
        found = self._usable(source, started)
        if found is None:
            with naming_storage_errors(self.root, "fetch"):
                found = self._bring(source, started, deadline)
        return found

    def sweep(self) -> list[str]:
        """Remove what killed runs left, and return the paths; what a living one works on is left alone."""
        return scratch.sweep(self.store.tmp)

    def contains(self, path: str) -> bool:
        """Whether ``path`` is one of this cache's files, by name."""
        return os.path.commonpath([self.root, os.path.abspath(path)]) == self.root

    def _bring(self, source: ImageSource, started: float, deadline: Deadline) -> CachedImage:
        for path, mode in ((self.root, 0o755), (self.store.tmp, 0o700)):
            scratch.make_directories(path, mode)
        name = source.digest or source.key
        with FileLock(self.store.lock_path(name, source.variant), self.clock, deadline):
            found = self._usable(source, started)  # another run may have brought it while this one waited
            if found is None and source.used_variant == source.variant:
                found = self._bring_as_it_comes(source, started, deadline)
            elif found is None:
                found = self._bring_converted(source, started, deadline)
        if source.digest is None:
            self._current.add(source.key)
        return found

    def _bring_as_it_comes(self, source: ImageSource, started: float, deadline: Deadline) -> CachedImage:
        return self._usable(source, started) or self._inspect_again(source, deadline) or self._fetch(source, deadline)

    def _bring_converted(self, source: ImageSource, started: float, deadline: Deadline) -> CachedImage:
        found = self._inspect_again(source, deadline)
        if found is not None:
            return found
        original = self._bring_as_it_comes(replace(source, convert_to=""), started, deadline)
        return self._use(original.digest, source.used_variant) or self._convert(original, source, deadline)

    def _usable(self, source: ImageSource, since: float) -> CachedImage | None:
        """The image if it can be used without fetching."""
        if source.digest is None and source.is_remote and source.key not in self._current:
            seen = self.store.source(source.key)
            if seen is None or seen.checked_at < since:
                return None
        digest = source.digest or self._remembered_digest(source)
        return None if digest is None else self._use(digest, source.used_variant)

    def _use(self, digest: str, variant: str) -> CachedImage | None:
        """The image if it is here; marked as used before it is looked at, so it is not aged away between."""
        self.store.mark_used(digest, variant, self.clock.now())
        return self._load(digest, variant)

    def _inspect_again(self, source: ImageSource, deadline: Deadline) -> CachedImage | None:
        """An image that an older version of this collection let in: looked at by today's rules, not fetched again."""
        digest = source.digest or (None if source.is_remote else self._remembered_digest(source))
        record = None if digest is None else self.store.record(digest, source.used_variant)
        if digest is None or record is None or record.rules == inspection.RULES_VERSION:
            return None
        path = self.store.image_path(digest, source.used_variant)
        if store.size_of(path) != record.size:
            return None
        inspected = self._inspect(path, record.format, str(source), deadline)
        renewed = replace(record, virtual_size=inspected.virtual_size, allocated=inspected.allocated, rules=inspection.RULES_VERSION)
        with scratch.scratch_directory(self.store.tmp, "record") as directory:
            self.store.write(directory, path + ".json", renewed.dump())
        return self._load(digest, source.used_variant)

    def _fetch(self, source: ImageSource, deadline: Deadline) -> CachedImage:
        known = self._known_version(source)
        with scratch.scratch_directory(self.store.tmp, (source.digest or source.key).replace(":", "-")) as directory:
            unfinished = os.path.join(directory, "image")
            place = checksums.located(source, deadline, validate_certs=self._validate_certs)
            with open(unfinished, "xb", buffering=0) as stream:
                received = fetch(
                    place,
                    stream.fileno(),
                    self.store.tmp,
                    deadline,
                    known=known.validators if known else None,
                    validate_certs=self._validate_certs,
                    max_unpacked_size=self._max_unpacked_size,
                )
                os.fsync(stream.fileno())
            if received is None:
                return self._still_current(source, known, directory)
            pieces = None
            if parts.are_beside(place, unfinished):
                most = self._max_virtual_size
                pieces = parts.gather(place, received, unfinished, deadline, validate_certs=self._validate_certs, max_virtual_size=most)
                received = pieces.received
            if source.digest is not None and received.digest != source.digest:
                raise _mismatch(source, received)
            if pieces is not None:
                received = parts.assemble(place, pieces, unfinished, deadline)
            inspected = self._inspect(unfinished, source.format, str(source), deadline)
            if source.digest is not None:
                return self._commit(source, received, inspected, directory, unfinished)
            # Known by its source until now, it is held under its own name from here on.
            with FileLock(self.store.lock_path(received.digest, source.variant), self.clock, deadline):
                return self._commit(source, received, inspected, directory, unfinished)

    def _convert(self, original: CachedImage, source: ImageSource, deadline: Deadline) -> CachedImage:
        """The image in another format, beside it under the same digest."""
        final = self.store.image_path(original.digest, source.used_variant)
        with scratch.scratch_directory(self.store.tmp, "convert") as directory:
            check_space(directory, original.allocated, "convert")
            unfinished = os.path.join(directory, "image")
            qemu_img.convert(original.path, original.format, unfinished, source.convert_to, deadline)
            _sync(unfinished)
            inspected = self._inspect(unfinished, source.convert_to, f"{source} converted to {source.convert_to}", deadline)
            if inspected.virtual_size != original.virtual_size:
                said = f"its disk has {original.virtual_size} bytes, and what qemu-img made of it {inspected.virtual_size}"
                raise ImageRefused(f"the image is refused: {said}", obj=str(source), phase="convert")
            of = self.store.record(original.digest, source.variant)
            record = ImageRecord(
                digest=original.digest,
                format=source.convert_to,
                size=os.stat(unfinished).st_size,
                virtual_size=inspected.virtual_size,
                allocated=inspected.allocated,
                source=str(source) if of is None else of.source,
                checked=source.digest is not None,
                fetched_at=self.clock.now() if of is None else of.fetched_at,
                rules=inspection.RULES_VERSION,
                converted_from=source.format,
                compression=source.compression,
            )
            if source.digest is not None:
                return self._publish(final, record, directory, unfinished)
            with FileLock(self.store.lock_path(original.digest, source.variant), self.clock, deadline):
                return self._publish(final, record, directory, unfinished)

    def _inspect(self, path: str, format: str, name: str, deadline: Deadline) -> inspection.Inspected:
        return inspection.inspect_file(path, format, deadline, name=name, max_virtual_size=self._max_virtual_size)

    def _known_version(self, source: ImageSource) -> SourceRecord | None:
        """The last version of a URL without a checksum, if its image is still here: only then may the server answer "unchanged"."""
        if source.digest is not None or not source.is_remote or self.lookup(source) is None:
            return None
        return self.store.source(source.key)

    def _still_current(self, source: ImageSource, known: SourceRecord | None, directory: str) -> CachedImage:
        now = self.clock.now()
        if known is not None:
            self.store.write(directory, self.store.source_path(source.key), replace(known, checked_at=now).dump())
        found = self._usable(source, now)
        if found is None:
            raise TransferFailed("the image vanished from the cache while its source was asked", obj=str(source), phase="fetch")
        return found

    def _commit(self, source: ImageSource, received: Received, inspected: inspection.Inspected, directory: str, unfinished: str) -> CachedImage:
        now = self.clock.now()
        record = ImageRecord(
            digest=received.digest,
            format=inspected.format,
            size=received.stored,
            virtual_size=inspected.virtual_size,
            allocated=inspected.allocated,
            source=str(source),
            checked=source.digest is not None,
            fetched_at=now,
            rules=inspection.RULES_VERSION,
            compression=source.compression,
        )
        was_there = self._load(received.digest, source.variant) is not None and (source.digest is not None or self.store.source(source.key) is not None)
        made = self._publish(self.store.image_path(received.digest, source.variant), record, directory, unfinished)
        if source.digest is None:
            # After the image: a source never leads to one that is not here.
            final = self.store.source_path(source.key)
            scratch.make_directories(os.path.dirname(final))
            seen = SourceRecord(str(source), received.digest, now, received.validators, received.identity)
            self.store.write(directory, final, seen.dump())
        return replace(made, made=not was_there)

    def _publish(self, final: str, record: ImageRecord, directory: str, unfinished: str) -> CachedImage:
        scratch.make_directories(os.path.dirname(final))
        self.store.write(directory, final + ".json", record.dump())
        scratch.publish(unfinished, final, 0o644)
        scratch.sync_directory(os.path.dirname(final))
        return replace(_as_cached(final, record), made=True)

    def _load(self, digest: str, variant: str) -> CachedImage | None:
        record = self.store.load(digest, variant)
        return None if record is None else _as_cached(self.store.image_path(digest, variant), record)

    def _remembered_digest(self, source: ImageSource) -> str | None:
        seen = self.store.source(source.key)
        if seen is None or (not source.is_remote and seen.identity != parts.identity_of(source)):
            return None
        return seen.digest

    def _digest_now(self, source: ImageSource, deadline: Deadline) -> str | None:
        """What a source without a checksum is now; None where it was never seen."""
        seen = self.store.source(source.key)
        if seen is None or source.key in self._current:
            return None if seen is None else seen.digest
        if not source.is_remote and seen.identity == parts.identity_of(source):
            return seen.digest
        if source.is_remote and seen.validators:
            answer = open_url(source.source, deadline.remaining, known=seen.validators, validate_certs=self._validate_certs)
            if answer is None:
                return seen.digest
            answer.stream.close()
        bounds = {"max_unpacked_size": self._max_unpacked_size, "max_virtual_size": self._max_virtual_size}
        return parts.measure(source, deadline, validate_certs=self._validate_certs, **bounds)


def _as_cached(path: str, record: ImageRecord) -> CachedImage:
    return CachedImage(path, record.digest, record.format, record.virtual_size, record.size, record.allocated)


def _sync(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _mismatch(source: ImageSource, received: Received) -> ChecksumMismatch:
    return ChecksumMismatch(
        f"the checksum should be {source.digest}, but is {received.digest} over {received.size} bytes",
        obj=str(source),
        phase="fetch",
        hint="nothing was kept; correct the checksum if the image was changed on purpose",
    )
