# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Snapshots of a guest that may be running: it is paused while one is taken, and has to be off to go back to one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import OperationFailed
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.faults import InvalidState
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.guest import DomainState, Guest
from ansible_collections.poolwright.virt.plugins.module_utils.storage.record import OwnDisk
from ansible_collections.poolwright.virt.plugins.module_utils.storage.snapshots import Snapshots

_OFF = (DomainState.SHUTOFF, DomainState.CRASHED)
_WRITING = (DomainState.RUNNING, DomainState.BLOCKED, DomainState.SHUTDOWN)


class GuestSnapshots(Snapshots):
    """The snapshots of one guest. What a running one has not written yet is no part of a snapshot, as after a power failure."""

    def __init__(self, guest: Guest, disks: Sequence[OwnDisk]) -> None:
        super().__init__(guest.name, disks)
        self._guest = guest

    def revert(self, name: str, deadline: Deadline) -> None:
        """:raises InvalidState: the guest is not off.   :raises NotFound: as ``check``."""
        self.check(name, deadline)
        if self._guest.state() not in _OFF:
            raise InvalidState("it runs, and its disks can be reverted only while it is off", obj=self._guest.name, phase="snapshot", hint="shut it off first")
        super().revert(name, deadline)

    def _still(self) -> AbstractContextManager[None]:
        return writes_stopped(self._guest)


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
