# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""A machine's snapshots: one of each of its disks, taken and brought back by their backends.

The root disk's is taken last, so a machine has a snapshot when its root disk has: what a killed run took before is taken anew.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy, NameTaken, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.base import snapshot_name
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.guest import DomainState, Guest
from ansible_collections.poolwright.virt.plugins.module_utils.storage.record import OwnDisk


def take(disks: Sequence[OwnDisk], snapshot: str, vm: str, deadline: Deadline) -> None:
    """Keep the disks' contents under a name that none of the machine's snapshots has; nobody writes to them meanwhile.

    What fails leaves no snapshot.   :param disks: the root disk first.
    """
    snapshot_name(snapshot)
    taken: list[OwnDisk] = []
    try:
        for disk in reversed(disks):
            _take_one(disk, snapshot, vm, deadline, root=disk is disks[0])
            taken.append(disk)
    except VirtError:
        for disk in taken:
            # What cannot be removed now is taken anew by the next one of this name.
            with contextlib.suppress(VirtError):
                disk.place().snapshot_delete(snapshot, deadline)
        raise


def _take_one(disk: OwnDisk, snapshot: str, vm: str, deadline: Deadline, *, root: bool) -> None:
    try:
        disk.place().snapshot_create(disk.record, snapshot, deadline)
    except Busy as exc:
        place = disk.place()
        if snapshot not in place.snapshot_list(deadline):
            raise
        if root:
            raise NameTaken(f"it has a snapshot {snapshot!r} already", obj=vm, phase="snapshot", hint="give another name") from exc
        place.snapshot_delete(snapshot, deadline)
        place.snapshot_create(disk.record, snapshot, deadline)


def has(disks: Sequence[OwnDisk], snapshot: str, deadline: Deadline) -> bool:
    """Whether the machine has a snapshot of this name, whole. :param disks: the root disk first."""
    return bool(disks) and snapshot in disks[0].place().snapshot_list(deadline)


def bring_back(disks: Sequence[OwnDisk], snapshot: str, deadline: Deadline) -> list[OwnDisk]:
    """Give the disks of a machine that is off and has the snapshot the contents they had; those that came later, which have to go."""
    later = []
    # The root disk is the one that tells, and goes back last.
    for disk in reversed(disks):
        place = disk.place()
        if snapshot in place.snapshot_list(deadline):
            place.snapshot_revert(disk.record, snapshot, deadline)
        else:
            later.append(disk)
    return later


@contextlib.contextmanager
def standing_still(guest: Guest) -> Iterator[None]:
    """A guest that runs is paused for the block: its hypervisor then has written out all that it was given."""
    running = guest.state() in (DomainState.RUNNING, DomainState.BLOCKED)
    if running:
        guest.suspend()
    try:
        yield
    finally:
        if running:
            guest.resume()
