# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""One disk's way from one host to another, as plain data. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.poolwright.virt.plugins.module_utils.migration.facts import Disk
from ansible_collections.poolwright.virt.plugins.module_utils.migration.wish import NewPlace

SHARED, COPIED, SENT, CONVERTED, THERE = "shared", "copied", "sent", "converted", "there"


@dataclass(frozen=True)
class DiskMove:
    """
    :ivar how: ``shared``: the same on both; ``there``: an identical one is; ``copied`` by QEMU as the guest runs; ``sent`` before it does;
        ``converted`` to another place or backend.
    :ivar path: where it will be.   :ivar flat: it gets the contents of its bases too, since the target has not got them.
    """

    disk: Disk
    how: str
    path: str
    format: str
    flat: bool = False
    place: NewPlace | None = None

    @property
    def takes(self) -> int:
        """Bytes that it takes where it is made, as far as that can be told before; the guest may write on."""
        if self.how not in (COPIED, SENT, CONVERTED):
            return 0
        if self.disk.kind == "block":
            # Nobody knows how much of it was ever written.
            return 0
        disk = min(self.disk.size, self.disk.allocated + self.disk.below) if self.flat and self.disk.size else self.disk.allocated
        return disk + sum(kept.allocated for kept in self.disk.kept)
