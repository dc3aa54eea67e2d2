# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Which names on a datastore belong to virtual disks: descriptors, and what only a descriptor gives a sense to."""

from __future__ import annotations

import re

from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath

# Extents of ESXi's disks, raw mappings, the map of changed blocks, and the parts of hosted disks that were split.
_PART = re.compile(r"-(flat|delta|sesparse|rdm|rdmp|ctk|[sf]\d{3})\Z")


def is_extent(path: DatastorePath) -> bool:
    """Whether the name is one of what belongs to a descriptor, such as ``x-flat.vmdk``."""
    return path.suffix.lower() == ".vmdk" and _PART.search(path.stem) is not None


def is_descriptor(path: DatastorePath) -> bool:
    """Whether the name is one that a virtual disk's descriptor has."""
    return path.suffix.lower() == ".vmdk" and not is_extent(path)


def descriptor_of(extent: DatastorePath) -> DatastorePath:
    """``x.vmdk`` for ``x-flat.vmdk``."""
    return extent.parent.join(_PART.sub("", extent.stem) + extent.suffix)


def belongs_to(path: DatastorePath, descriptor: DatastorePath) -> bool:
    """Whether it is the descriptor or one of its extents."""
    return path == descriptor or (is_extent(path) and descriptor_of(path) == descriptor)
