# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What the disks of a pool's machines are made from, once for all of them, and whether there is room for further machines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import ImageRefused, InsufficientResources, InvalidSpec, telling_where
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import CachedImage, ImageCache
from ansible_collections.poolwright.virt.plugins.module_utils.images.source import ImageSource
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.layout import Layout
from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt_machines.create import Source, disk_bytes, where, wishes
from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt_machines.preflight import NAME
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import DiskSpec, PoolTemplate
from ansible_collections.poolwright.virt.plugins.module_utils.storage.contents import creatable
from ansible_collections.poolwright.virt.plugins.module_utils.storage.sources import Sources, is_seen
from ansible_collections.poolwright.virt.plugins.module_utils.storage.wish import DiskWish


def check_disks(cache: ImageCache, layout: Layout, template: PoolTemplate, making: int, deadline: Deadline) -> None:
    """Images are there, are what they are said to be, and fit their disks; contents can be written; and there is room for all.

    An image that has to be downloaded is only asked for; its contents are judged when it is fetched.
    """
    found = sources(cache, layout, template, deadline, fetch=False)
    check_room(wishes(template.machine, layout.location, NAME), found, making, template.name, deadline)


def sources(cache: ImageCache, layout: Layout, template: PoolTemplate, deadline: Deadline, *, fetch: bool) -> tuple[Source, ...]:
    """By disk, the root disk's first.

    :param fetch: whether images are brought to the cache; else what is not there is only judged, and nothing is changed.
    """
    spec, pool = template.machine, template.name
    if spec.image is None:
        raise InvalidSpec([f"pool {pool!r}: image: machines are to be made, so it is needed"])
    problems = spec.image.problems(f"pool {pool!r}: image")
    if problems:
        raise InvalidSpec(problems)
    look, found = Sources(cache, deadline, fetch=fetch), []
    for number, (wish, disk) in enumerate(zip(wishes(spec, layout.location, NAME), (spec.disk, *spec.disks))):
        with where(number):
            source = look.of(wish)
            if isinstance(source, CachedImage) and wish.image is not None and is_seen(source):
                check_fits(disk, number, source.virtual_size, wish.image, pool)
            found.append(source)
    return tuple(found)


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
def check_room(wanted: Sequence[DiskWish], found: Sequence[Source], making: int, pool: str, deadline: Deadline) -> None:
    """Room for what the disks take at once; what guests write later comes on top.

    :raises NotFound: there is no such volume group or pool.
    """
    needed: dict[tuple[str, str], int] = defaultdict(int)
    places = {(wish.backend, wish.location): wish for wish in wanted}
    for wish, source in zip(wanted, found):
        needed[(wish.backend, wish.location)] += creatable(wish, source, deadline).required_bytes(making) if is_seen(source) else 0
    for key, wish in places.items():
        free = wish.place().free_bytes(deadline)
        if needed[key] > free:
            raise InsufficientResources(
                f"the disks of {making} further machines need {needed[key]} bytes, {wish.location} has {free} free",
                obj=pool,
                phase="check",
                hint="free some space, or choose another location",
            )
