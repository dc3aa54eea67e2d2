# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Snapshots of a guest: of all its disks at one moment, each kept by the disk's own backend. Memory, NVRAM and TPM state are no part of one.

The first disk's snapshot is taken last and goes first. So a snapshot is there as a whole if the first disk has it, and what other disks have of
one that the first has not was left by a run that was killed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec, NotFound, OperationFailed, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.base import Image, snapshot_name
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.records import DiskRecord
from ansible_collections.poolwright.virt.plugins.module_utils.images.sparse import naming_storage_errors
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.faults import InvalidState
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.guest import DomainState, Guest

_OFF = (DomainState.SHUTOFF, DomainState.CRASHED)
_WRITING = (DomainState.RUNNING, DomainState.BLOCKED, DomainState.SHUTDOWN)
_UNDO_SECONDS = 60.0


@dataclass(frozen=True)
class SnapshotDisk:
    """A disk that the guest writes to: its place, and its record."""

    place: Image
    record: DiskRecord


class GuestSnapshots:
    """The snapshots of one guest.

    :param disks: all disks that it writes to, always in the same order; one that is added later comes last.
    :raises InvalidSpec: there are none.
    """

    def __init__(self, guest: Guest, disks: Sequence[SnapshotDisk]) -> None:
        if not disks:
            raise InvalidSpec([f"{guest.name}: the guest has no disks of its own that a snapshot could be taken of"])
        self._guest = guest
        self._disks = tuple(disks)

    def list(self, deadline: Deadline) -> list[str]:
        """The names of those that are whole, sorted."""
        return self._disks[0].place.snapshot_list(deadline)

    def has_part(self, name: str, deadline: Deadline) -> bool:
        """Whether any disk has something of this name."""
        return any(name in disk.place.snapshot_list(deadline) for disk in self._disks)

    def create(self, name: str, deadline: Deadline) -> bool:
        """Keep all disks as they are now; False where there is a snapshot of that name, which stays as it is.

        A guest that runs is paused for that time. What it has not written yet is no part of the snapshot, as after a power failure.

        :raises InvalidSpec: it is no name for a snapshot.
        :raises InsufficientResources: no room; nothing is left of the snapshot.
        """
        snapshot_name(name)
        if name in self.list(deadline):
            return False
        self._forget_parts(name, deadline)
        with writes_stopped(self._guest):
            try:
                for disk in reversed(self._disks):
                    with naming_storage_errors(disk.record.path, "snapshot"):
                        disk.place.snapshot_create(disk.record, name, deadline)
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
            raise NotFound(f"there is no snapshot {name}", obj=self._guest.name, phase="snapshot", hint=f"there are: {', '.join(there) or 'none'}")
        lacking = [disk.record.path for disk in self._disks[1:] if name not in disk.place.snapshot_list(deadline)]
        if lacking:
            raise NotFound(
                f"the snapshot {name} is older than {', '.join(lacking)}, so it does not say what was on it",
                obj=self._guest.name,
                phase="snapshot",
                hint="take off what was added since, or choose a newer snapshot",
            )

    def revert(self, name: str, deadline: Deadline) -> None:
        """Give all disks the contents that they had; the snapshot stays. One that was killed is to be run again before the guest is started.

        :raises InvalidState: the guest is not off.   :raises NotFound: as ``check``.
        """
        self.check(name, deadline)
        if self._guest.state() not in _OFF:
            raise InvalidState("it runs, and its disks can be reverted only while it is off", obj=self._guest.name, phase="snapshot", hint="shut it off first")
        for disk in self._disks:
            with naming_storage_errors(disk.record.path, "snapshot"):
                disk.place.snapshot_revert(disk.record, name, deadline)

    def _forget_parts(self, name: str, deadline: Deadline) -> bool:
        found = [disk.place.snapshot_delete(name, deadline) for disk in self._disks]
        return any(found)


@contextlib.contextmanager
def writes_stopped(guest: Guest) -> Iterator[None]:
    """A guest that runs is paused for the block: QEMU then writes out what it holds. Others are left as they are.

    :raises OperationFailed: it does not go on.
    """
    if guest.state() not in _WRITING:
        yield
        return
    guest.suspend()
    try:
        yield
    finally:
        _go_on(guest)


def _go_on(guest: Guest) -> None:
    try:
        guest.resume()
    except InvalidState as exc:
        # Somebody else was faster, or it was switched off meanwhile.
        if guest.state() is DomainState.PAUSED:
            raise OperationFailed(f"it stays paused: {exc.message}", obj=guest.name, phase="snapshot", hint="resume it with state: running") from exc
