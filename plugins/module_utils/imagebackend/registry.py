# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The image backends by name."""

from __future__ import annotations

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.base import Image
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.flat import Flat
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.lvm import Lvm
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.options import DEFAULT_OPTIONS, DiskOptions
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.ploop import Ploop
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.qcow2 import Qcow2
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.rbd import Rbd

BACKENDS: dict[str, type[Image]] = {cls.backend: cls for cls in (Flat, Qcow2, Lvm, Rbd, Ploop)}


def disk_image(backend: str, location: str, name: str, options: DiskOptions = DEFAULT_OPTIONS) -> Image:
    """The place of one disk on the named backend.

    :raises InvalidSpec: there is no such backend, or location or name are not for it.
    """
    cls = BACKENDS.get(backend)
    if cls is None:
        raise InvalidSpec([f"{backend!r} is not one of the disk backends {', '.join(sorted(BACKENDS))}"])
    return cls(location, name, options)
