# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Snapshots of a guest: of all its disks at one moment, each kept by the disk's own backend. Memory, NVRAM and TPM state are no part of one.

The first disk's snapshot is taken last and goes first. So a snapshot is there as a whole if the first disk has it, and what other disks have of
one that the first has not was left by a run that was killed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from contextlib import AbstractContextManager

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec, NotFound, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.base import snapshot_name
from ansible_collections.poolwright.virt.plugins.module_utils.images.sparse import naming_storage_errors
from ansible_collections.poolwright.virt.plugins.module_utils.storage.record import OwnDisk

_UNDO_SECONDS = 60.0


class Snapshots:
    """The snapshots of one guest, on which nobody writes while one is taken or brought back.

    :param disks: all disks that it writes to, always in the same order; one that is added later comes last.
    :raises InvalidSpec: there are none.
    """

    def __init__(self, guest: str, disks: Sequence[OwnDisk]) -> None:
        if not disks:
            raise InvalidSpec([f"{guest}: the guest has no disks of its own that a snapshot could be taken of"])
        self._name = guest
        self._disks = tuple((disk.place(), disk.record) for disk in disks)

    def list(self, deadline: Deadline) -> list[str]:
        """The names of those that are whole, sorted."""
        return self._disks[0][0].snapshot_list(deadline)

    def has_part(self, name: str, deadline: Deadline) -> bool:
        """Whether any disk has something of this name."""
        return any(name in place.snapshot_list(deadline) for place, _record in self._disks)

    def create(self, name: str, deadline: Deadline) -> bool:
        """Keep all disks as they are now; False where there is a snapshot of that name, which stays as it is.

        :raises InvalidSpec: it is no name for a snapshot.
        :raises InsufficientResources: no room; nothing is left of the snapshot.
        """
        snapshot_name(name)
        if name in self.list(deadline):
            return False
        self._forget_parts(name, deadline)
        with self._still():
            try:
                for place, record in reversed(self._disks):
                    with naming_storage_errors(record.path, "snapshot"):
                        place.snapshot_create(record, name, deadline)
            except VirtError:
                # With time of its own: it may be the deadline that passed. What cannot be taken back now is by the next run.
                with contextlib.suppress(VirtError):
                    self._forget_parts(name, Deadline.after(deadline.clock, _UNDO_SECONDS))
                raise
        return True

    def delete(self, name: str, deadline: Deadline) -> bool:
        """False where there is none, not even a part of one."""
        snapshot_name(name)
        return self._forget_parts(name, deadline)

    def check(self, name: str, deadline: Deadline) -> None:
        """Whether the disks can be reverted to this snapshot, as far as they can tell.

        :raises NotFound: there is no such snapshot, or not of all disks.
        """
        snapshot_name(name)
        there = self.list(deadline)
        if name not in there:
            raise NotFound(f"there is no snapshot {name}", obj=self._name, phase="snapshot", hint=f"there are: {', '.join(there) or 'none'}")
        lacking = [record.path for place, record in self._disks[1:] if name not in place.snapshot_list(deadline)]
        if lacking:
            raise NotFound(
                f"the snapshot {name} is older than {', '.join(lacking)}, so it does not say what was on it",
                obj=self._name,
                phase="snapshot",
                hint="take off what was added since, or choose a newer snapshot",
            )

    def revert(self, name: str, deadline: Deadline) -> None:
        """Give all disks the contents that they had; the snapshot stays. One that was killed is to be run again before the guest is started.

        :raises NotFound: as ``check``.
        """
        self.check(name, deadline)
        for place, record in self._disks:
            with naming_storage_errors(record.path, "snapshot"):
                place.snapshot_revert(record, name, deadline)

    def _still(self) -> AbstractContextManager[None]:
        """The block in which the disks are kept."""
        return contextlib.nullcontext()

    def _forget_parts(self, name: str, deadline: Deadline) -> bool:
        found = [place.snapshot_delete(name, deadline) for place, _record in self._disks]
        return any(found)
