# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What the machines of a pool are made from, got ready once for all of them: images in the cache, directories read."""

from __future__ import annotations

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import telling_where
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import CachedImage, ImageCache
from ansible_collections.poolwright.virt.plugins.module_utils.images.source import ImageSource
from ansible_collections.poolwright.virt.plugins.module_utils.images.sparse import naming_storage_errors
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.layout import Layout
from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt_machines.create import Source, where, wishes
from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt_machines.preflight import NAME
from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt_machines.preflight_disks import check_fits
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import DiskSpec, PoolTemplate
from ansible_collections.poolwright.virt.plugins.module_utils.storage.contents import described


def sources(cache: ImageCache, layout: Layout, template: PoolTemplate, deadline: Deadline) -> tuple[Source, ...]:
    """By disk, the root disk's first."""
    spec = template.machine
    found: list[Source] = []
    for number, (wish, disk) in enumerate(zip(wishes(spec, layout.location, NAME), (spec.disk, *spec.disks))):
        with where(number):
            found.append(described(wish, deadline) if wish.image is None else _fetched(cache, layout, template.name, wish.image, disk, number, deadline))
    return tuple(found)


def _fetched(cache: ImageCache, layout: Layout, pool: str, image: ImageSource, disk: DiskSpec, number: int, deadline: Deadline) -> CachedImage:
    with telling_where("image"), naming_storage_errors(layout.location, "prepare"):
        cached = cache.ensure(image, deadline)
    check_fits(disk, number, cached.virtual_size, image, pool)
    return cached
