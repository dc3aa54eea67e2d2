# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Whether the disks of further machines could be made, as far as that can be found out without changing anything."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import (
    ChecksumMismatch,
    ImageRefused,
    InsufficientResources,
    InvalidSpec,
    NotFound,
    telling_where,
)
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import CachedImage, ImageCache
from ansible_collections.poolwright.virt.plugins.module_utils.images.inspect import inspect_file
from ansible_collections.poolwright.virt.plugins.module_utils.images.source import TARGETS, ImageSource
from ansible_collections.poolwright.virt.plugins.module_utils.images.sparse import naming_storage_errors
from ansible_collections.poolwright.virt.plugins.module_utils.images.web import open_url
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.layout import Layout
from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt_machines.create import Source, disk_bytes, where, wishes
from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt_machines.preflight import NAME
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import DiskSpec, PoolTemplate
from ansible_collections.poolwright.virt.plugins.module_utils.storage.contents import creatable, described
from ansible_collections.poolwright.virt.plugins.module_utils.storage.wish import DiskWish

_CHUNK = 1024 * 1024


def check_disks(cache: ImageCache, layout: Layout, template: PoolTemplate, making: int, deadline: Deadline) -> None:
    """Images are there, are what they are said to be, and fit their disks; contents can be written; and there is room for all.

    An image that has to be downloaded is only asked for; its contents are judged when it is fetched.
    """
    spec, pool = template.machine, template.name
    if spec.image is None:
        raise InvalidSpec([f"pool {pool!r}: image: machines are to be made, so it is needed"])
    problems = spec.image.problems(f"pool {pool!r}: image")
    if problems:
        raise InvalidSpec(problems)
    wanted = wishes(spec, layout.location, NAME)
    sources: list[Source | None] = []
    for number, (wish, disk) in enumerate(zip(wanted, (spec.disk, *spec.disks))):
        with where(number):
            sources.append(described(wish, deadline) if wish.image is None else _judged(cache, wish.image, disk, number, pool, deadline))
    check_room(wanted, sources, making, pool, deadline)


def _judged(cache: ImageCache, source: ImageSource, disk: DiskSpec, number: int, pool: str, deadline: Deadline) -> CachedImage | None:
    """The image where it is in the cache already."""
    with telling_where("image"):
        source = cache.resolved(source, deadline)
    cached = cache.lookup(source)
    if cached is not None:
        check_fits(disk, number, cached.virtual_size, source, pool)
    elif source.is_remote:
        _probe(source, deadline)
    else:
        with naming_storage_errors(source.path, "check"):
            size = _examine(source, deadline)
        if size is not None:
            check_fits(disk, number, size, source, pool)
    return cached


def check_fits(disk: DiskSpec, number: int, virtual_size: int, source: ImageSource, pool: str) -> None:
    """:param number: of the disk, 0 for the root disk."""
    wanted, option = disk_bytes(disk), "size_gb" if number else "disk.size_gb"
    if wanted is not None and wanted < virtual_size:
        with telling_where(option):
            raise ImageRefused(
                f"a disk of {disk.size_gb:g} GiB is smaller than the image {source}, which has {virtual_size} bytes",
                obj=pool,
                phase="check",
                hint=f"set {option} to {-(-virtual_size // 1024**3)} or more, or leave it out",
            )


@telling_where("disk")
def check_room(wanted: list[DiskWish], sources: list[Source | None], making: int, pool: str, deadline: Deadline) -> None:
    """Room for what the disks take at once; what guests write later comes on top.

    :param sources: None for an image of which only the fetch can tell.
    :raises NotFound: there is no such volume group or pool.
    """
    needed: dict[tuple[str, str], int] = defaultdict(int)
    places = {(wish.backend, wish.location): wish for wish in wanted}
    for wish, source in zip(wanted, sources):
        needed[(wish.backend, wish.location)] += 0 if source is None else creatable(wish, source, deadline).required_bytes(making)
    for key, wish in places.items():
        free = wish.place().free_bytes(deadline)
        if needed[key] > free:
            raise InsufficientResources(
                f"the disks of {making} further machines need {needed[key]} bytes, {wish.location} has {free} free",
                obj=pool,
                phase="check",
                hint="free some space, or choose another location",
            )


@telling_where("image")
def _probe(source: ImageSource, deadline: Deadline) -> None:
    """Ask the server for an image without taking it."""
    answer = open_url(source.source, deadline.remaining)
    if answer is not None:
        answer.stream.close()


@telling_where("image")
def _examine(source: ImageSource, deadline: Deadline) -> int | None:
    """Judge a local image where it lies; its virtual size in bytes, None where it has to be unpacked or converted first."""
    path = source.path
    if not os.path.exists(path):
        raise NotFound("there is no such file on the host that the disks are on", obj=str(source), phase="check", hint="correct the image's source")
    if not os.path.isfile(path):
        raise ImageRefused("it is not a regular file", obj=str(source), phase="check", hint="give a file that holds the image")
    if source.digest is not None:
        hasher = hashlib.new(source.algorithm)
        with open(path, "rb") as stream:
            for chunk in iter(lambda: stream.read(_CHUNK), b""):
                hasher.update(chunk)
                deadline.check("reading the image", obj=str(source), phase="check")
        found = f"{source.algorithm}:{hasher.hexdigest()}"
        if found != source.digest:
            hint = "correct the checksum if the image was changed on purpose"
            raise ChecksumMismatch(f"the checksum should be {source.digest}, but is {found}", obj=str(source), phase="check", hint=hint)
    if source.compression or source.format not in TARGETS:
        return None
    return inspect_file(path, source.format, deadline, name=str(source)).virtual_size
