# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What is known of an image on a datastore, and what a machine needs to know of its disk."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath


@dataclass(frozen=True)
class CachedDisk:
    """A disk or an ISO image that a machine's specification can name.

    ``capacity_bytes`` is the disk's size as a guest sees it; ``kind`` is disk or iso; ``digest`` is ``<algorithm>:<hex>`` of the image it
    came from, "" where its bytes were never read. ``disk_type`` is what the image was.
    """

    path: DatastorePath
    capacity_bytes: int
    adapter_type: str
    disk_type: str
    digest: str
    kind: str = "disk"


@dataclass(frozen=True)
class Facts:
    """Recorded beside each image, sizes in bytes. ``size`` is of the file that was fetched; ``source`` is without credentials."""

    digest: str
    format: str
    disk_type: str
    adapter_type: str
    size: int
    virtual_size: int
    allocated: int
    os_type: str
    source: str
    created: float
    checked: bool

    def dump(self) -> bytes:
        return json.dumps(asdict(self), indent=1, sort_keys=True).encode() + b"\n"

    @classmethod
    def load(cls, data: bytes) -> Facts | None:
        """The facts, or None where they are damaged: the image is then brought again."""
        try:
            said = json.loads(data)
            return cls(
                digest=str(said["digest"]),
                format=str(said["format"]),
                disk_type=str(said["disk_type"]),
                adapter_type=str(said["adapter_type"]),
                size=int(said["size"]),
                virtual_size=int(said["virtual_size"]),
                allocated=int(said["allocated"]),
                os_type=str(said["os_type"]),
                source=str(said["source"]),
                created=float(said["created"]),
                checked=bool(said["checked"]),
            )
        except (ValueError, KeyError, TypeError):
            return None
