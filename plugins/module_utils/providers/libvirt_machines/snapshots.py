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
from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy, NameTaken, NotFound, VirtError
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


def covered(first: Sequence[OwnDisk], added: Sequence[OwnDisk], snapshot: str, vm: str, deadline: Deadline) -> tuple[list[OwnDisk], list[OwnDisk]]:
    """The disks that go back to the snapshot, the root disk first, and those that came after it.

    :param first: the disks the machine was made with, the root disk first: all of them have every snapshot.   :param added: the others.
    :raises NotFound: the machine has no such snapshot, or has lost a part of it.
    """
    if not has(first, snapshot, deadline):
        raise NotFound(f"it has no snapshot {snapshot!r}", obj=vm, phase="revert")
    lost = [disk.record.path for disk in first[1:] if not has([disk], snapshot, deadline)]
    if lost:
        raise NotFound(f"its snapshot {snapshot!r} lacks {', '.join(lost)}", obj=vm, phase="revert")
    older = [disk for disk in added if has([disk], snapshot, deadline)]
    return [*first, *older], [disk for disk in added if disk not in older]


def bring_back(disks: Sequence[OwnDisk], snapshot: str, deadline: Deadline) -> None:
    """Give the disks of a machine that is off the contents they had. When interrupted, a further call finishes the work."""
    for disk in disks:
        disk.place().snapshot_revert(disk.record, snapshot, deadline)


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
