# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The third axis: how a machine comes by a disk of an image. Child disks of a sized base are ``DatastoreImageCache.ensure`` with ``size_gb``."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import ImageRefused, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere import disks
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import FileExists
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.files import Site
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.facts import CachedDisk
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.image import KIB, VMwareImage
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.sources import Sources
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.transfer import Transfer

_TIDY_SECONDS = 60.0


def full_copy(site: Site, disk: CachedDisk, target: DatastorePath, deadline: Deadline, *, capacity_bytes: int = 0) -> CachedDisk:
    """A copy of its own in a machine's folder, which is there; grown to ``capacity_bytes`` where that is more.

    :raises ImageRefused: it is to be smaller than the image.   :raises FileExists: there is a file of the name, which is left alone.
    :raises FileMissing: the image was removed after it was found; ensure it again.
    """
    capacity = capacity_bytes or disk.capacity_bytes
    if disk.kind == "iso":
        raise ImageRefused("an ISO image is used as it is, not copied to be a disk", obj=str(disk.path), phase="use")
    if capacity < disk.capacity_bytes or capacity % KIB:
        said = f"a disk of {capacity} bytes cannot be made from an image of {disk.capacity_bytes}"
        raise ImageRefused(said, obj=str(disk.path), phase="use", hint="disks are never shrunk, and have whole KiB")
    try:
        disks.copy_disk(site, disk.path, target, deadline)
        if capacity > disk.capacity_bytes:
            disks.extend_disk(site, target, capacity // KIB, deadline)
    except FileExists:
        raise
    except BaseException:  # whatever it is, goes on after half a disk is gone
        with contextlib.suppress(VirtError):
            disks.delete_disk(site, target, Deadline.after(site.clock, _TIDY_SECONDS))
        raise
    return replace(disk, path=target, capacity_bytes=capacity)


def direct(site: Site, transfer: Transfer, image: VMwareImage, deadline: Deadline) -> CachedDisk:
    """An ISO image that a datastore has already, where it lies. Nothing is copied, and nothing keeps it from being removed.

    :raises ImageRefused: it is a disk: that would go with the machine.   :raises NotFound: there is no such file.
    """
    found = Sources(site, transfer).native(image, deadline) if image.is_iso else None
    if found is None:
        said = "no machine can use it where it lies"
        raise ImageRefused(said, obj=str(image.on_datastore or image), phase="use", hint="leave it to the cache: it is brought there and converted")
    return CachedDisk(found.path, found.virtual_size, "", "", "", "iso")
