# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Where the bytes of described disks come from: the image in the cache, or contents that can be written."""

from __future__ import annotations

import os
from dataclasses import replace

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import ChecksumMismatch, ImageRefused, NotFound, telling_where
from ansible_collections.poolwright.virt.plugins.module_utils.images import checksums, parts
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import CachedImage, ImageCache
from ansible_collections.poolwright.virt.plugins.module_utils.images.inspect import inspect_file
from ansible_collections.poolwright.virt.plugins.module_utils.images.sizes import SECTOR
from ansible_collections.poolwright.virt.plugins.module_utils.images.source import ImageSource
from ansible_collections.poolwright.virt.plugins.module_utils.images.sparse import naming_storage_errors
from ansible_collections.poolwright.virt.plugins.module_utils.images.web import open_url
from ansible_collections.poolwright.virt.plugins.module_utils.storage.contents import Contents, described
from ansible_collections.poolwright.virt.plugins.module_utils.storage.wish import DiskWish


class Sources:
    """:param fetch: whether images may be brought to the cache; else one that is not there is only judged."""

    def __init__(self, cache: ImageCache, deadline: Deadline, *, fetch: bool) -> None:
        self._cache = cache
        self._deadline = deadline
        self._fetch = fetch

    def of(self, wish: DiskWish, *, seed: str = "") -> CachedImage | Contents:
        """:raises VirtError: there is no such source, or it does not fit; see ``ImageCache.ensure`` and ``described``."""
        return described(wish, self._deadline, seed=seed) if wish.image is None else self.image(wish.image)

    @telling_where("image")
    def image(self, source: ImageSource) -> CachedImage:
        """The image; ``is_seen`` says whether it is known."""
        source = self._cache.resolved(source, self._deadline)
        if self._fetch:
            with naming_storage_errors(source.source if not source.is_remote else str(source), "fetch"):
                return self._cache.ensure(source, self._deadline)
        return self._cache.lookup(source) or self._judged(source)

    def _judged(self, source: ImageSource) -> CachedImage:
        """An image that is not in the cache and must not be brought there, as far as it can be told."""
        place = checksums.located(source, self._deadline)
        if place.is_remote:
            answer = open_url(place.source, self._deadline.remaining)
            if answer is not None:
                answer.stream.close()
            return self._unseen(source, source.digest)
        if not os.path.exists(place.path):
            raise NotFound("there is no such file on the host that the disks are on", obj=str(place), phase="check", hint="correct the image's source")
        if not os.path.isfile(place.path):
            raise ImageRefused("it is not a regular file", obj=str(place), phase="check", hint="give a file that holds the image")
        digest = _measured(place, self._deadline)
        unseen = self._unseen(source, digest)
        if place.compression or parts.are_beside(place, place.path):
            return unseen
        inspected = inspect_file(place.path, place.format, self._deadline, name=str(place))
        return replace(unseen, virtual_size=inspected.virtual_size, size=os.path.getsize(place.path), allocated=inspected.allocated)

    def _unseen(self, source: ImageSource, digest: str | None) -> CachedImage:
        """Where it will be, if its digest is known; nobody knows how large."""
        path = "" if digest is None else self._cache.store.image_path(digest, source.used_variant)
        return CachedImage(path, digest or "", source.convert_to or source.format, SECTOR, 0, 0)


def is_seen(source: CachedImage | Contents) -> bool:
    """Whether its size is known: not of an image that would have to be fetched or unpacked first."""
    return isinstance(source, Contents) or source.size > 0


def _measured(source: ImageSource, deadline: Deadline) -> str:
    """The image's digest, which is the one that it was said to have, if any."""
    with naming_storage_errors(str(source), "check"):
        found = parts.measure(source, deadline)
    if source.digest not in (None, found):
        hint = "correct the checksum if the image was changed on purpose"
        raise ChecksumMismatch(f"the checksum should be {source.digest}, but is {found}", obj=str(source), phase="check", hint=hint)
    return found
