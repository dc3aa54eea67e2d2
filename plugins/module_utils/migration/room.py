# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Whether there is room on the target for what is made there. Pure."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from ansible_collections.poolwright.virt.plugins.module_utils.migration.facts import GuestFacts, HostFacts, Room
from ansible_collections.poolwright.virt.plugins.module_utils.migration.moves import DiskMove

_MIB = 1024 * 1024


def room_problems(moves: Sequence[DiskMove], guest: GuestFacts, target: HostFacts, *, nvram: bool) -> Iterator[str]:
    """Directories of one file system share its room: those that have as much in all, and as much left, are taken for such."""
    needed: dict[Room, int] = {}
    where: dict[Room, set[str]] = {}
    made = [(move.path, move.takes) for move in moves if os.path.isabs(move.path)] + ([(guest.nvram, guest.nvram_size)] if nvram else [])
    for path, takes in made:
        folder = os.path.dirname(path)
        room = target.room.get(folder)
        if room is not None and takes:
            needed[room] = needed.get(room, 0) + takes
            where.setdefault(room, set()).add(folder)
    for room, takes in needed.items():
        if takes > room.left:
            folders = ", ".join(sorted(where[room]))
            yield (
                f"target: {target.name} has {room.left // _MIB} MiB left in {folders}, and {-(-takes // _MIB)} are to be copied there; "
                "make room, or share that directory"
            )
