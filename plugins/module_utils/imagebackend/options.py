# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""How a disk is to be made, where its backend has the choice. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, fields

BACKEND_NAMES = ("flat", "lvm", "ploop", "qcow2", "rbd")
"""Those of ``registry``, for who takes a name and loads no backend."""

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_CLUSTER_SIZES = {1 << bits for bits in range(9, 22)}
_VALUES = {"preallocation": ("off", "metadata", "falloc", "full"), "clear": ("none", "zero", "discard")}


@dataclass(frozen=True)
class DiskOptions:
    """Options of all backends together; one that a backend does not have is refused by its name.

    :ivar full: copy the image in place of standing on it.
    :ivar preallocation: ``off``, ``metadata``, ``falloc`` or ``full``: what is allocated when the disk is made.
    :ivar cluster_size: bytes, a power of two; 0 for the format's own.
    :ivar extended_l2: subclusters: small writes to an overlay copy less of its base.
    :ivar compressed: a full copy is stored compressed.
    :ivar clear: what happens to a removed disk's blocks: ``none``, ``zero`` or ``discard``.
    :ivar conf: path of the cluster's configuration, "" for the client's own default.
    :ivar user: the cluster's user without ``client.``, "" for the client's own default.
    :ivar keyring: path of the user's keyring. Keys themselves are never given to a tool.
    :ivar secret: UUID of the libvirt secret that holds the user's key, "" where the cluster asks for none.
    """

    full: bool = False
    preallocation: str = "off"
    cluster_size: int = 0
    extended_l2: bool = False
    compressed: bool = False
    clear: str = "none"
    conf: str = ""
    user: str = ""
    keyring: str = ""
    secret: str = ""

    def problems(self, backend: str, taken: Collection[str]) -> list[str]:
        """What is wrong with them for a backend that takes the options ``taken``; ``full`` is taken by all."""
        refused = [item.name for item in fields(self) if item.name not in taken and item.name != "full" and getattr(self, item.name) != item.default]
        found = [f"the disk backend {backend} has no option {name}" for name in refused]
        for name, values in _VALUES.items():
            if getattr(self, name) not in values:
                found.append(f"{name}: {getattr(self, name)!r} is not one of {', '.join(values)}")
        if self.cluster_size and self.cluster_size not in _CLUSTER_SIZES:
            found.append(f"cluster_size: {self.cluster_size} is no power of two between 512 and {max(_CLUSTER_SIZES)}")
        if self.secret and not _UUID.fullmatch(self.secret):
            found.append("secret: it is not the UUID of a libvirt secret")
        if self.user and not re.fullmatch(r"[A-Za-z0-9_.-]+", self.user):
            found.append(f"user: {self.user!r} is no user's name (without 'client.')")
        for name in ("conf", "keyring"):
            path = getattr(self, name)
            if path and (not path.startswith("/") or not path.isprintable()):
                found.append(f"{name}: {path!r} is not an absolute path")
        return found


DEFAULT_OPTIONS = DiskOptions()
