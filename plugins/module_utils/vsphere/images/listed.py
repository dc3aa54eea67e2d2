# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""An image that is in a cache, and the disks it is there as."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images import layout
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.facts import CachedDisk, Facts
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.image import bytes_of
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.layout import Entry


@dataclass(frozen=True)
class Listed:
    """An image in the cache with what is known of it.

    ``made`` and ``resized`` say of what ``ensure`` returns whether it was brought just now, or its base of the wanted size made.
    """

    entry: Entry
    facts: Facts
    made: bool = False
    resized: bool = False

    def disk(self, size_gb: float | None = None) -> CachedDisk:
        """What a machine's specification names; of the base of this size where one is given."""
        facts, key = self.facts, self.entry.key
        if facts.format == "iso":
            return CachedDisk(self.entry.path.join(f"{layout.stem_of(key)}.iso"), facts.virtual_size, "", "", facts.digest, "iso")
        sized = size_gb is not None and bytes_of(size_gb) > facts.virtual_size
        name = layout.sized_name(key, size_gb) if sized and size_gb is not None else f"{layout.stem_of(key)}.vmdk"
        capacity = bytes_of(size_gb) if sized and size_gb is not None else facts.virtual_size
        return CachedDisk(self.entry.path.join(name), capacity, facts.adapter_type, facts.disk_type, facts.digest)

    def has(self, size_gb: float | None) -> bool:
        """Whether the disk of that size is there."""
        return self.disk(size_gb).path.basename in self.entry.names
