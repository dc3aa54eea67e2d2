# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""A guest moves while it runs: started in one thread, looked after from another."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import Cancelled, DeadlineExceeded, NotFound, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.guest import Guest
from ansible_collections.poolwright.virt.plugins.module_utils.migration.sides import POST_COPY_FAILED
from ansible_collections.poolwright.virt.plugins.module_utils.migration.wish import OnTimeout, Wish

_LOOK_SECONDS = 0.2
# How long a daemon may take to notice that its peer has gone, and to give up.
_GIVE_UP_SECONDS = 60.0


@dataclass
class Progress:
    """What was seen of a migration while it went on. Bytes; ``downtime`` in milliseconds, -1 where nobody told."""

    memory: int = 0
    disk: int = 0
    total: int = 0
    downtime: int = -1
    post_copy: bool = False

    def note(self, job: dict[str, Any]) -> None:
        self.memory = max(self.memory, int(job.get("memory_processed", 0)))
        self.disk = max(self.disk, int(job.get("disk_processed", 0)))
        self.total = max(self.total, int(job.get("data_processed", 0)))
        if "downtime_net" in job or "downtime" in job:
            self.downtime = int(job.get("downtime", job.get("downtime_net", -1)))


class _Aside:
    """Calls in a thread of their own, one at a time: a daemon that hangs on one holds up nothing else."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    def begin(self, action: Callable[[], None]) -> None:
        """Nothing where an earlier one has not come back."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, args=(action,), daemon=True)
            self._thread.start()

    def _run(self, action: Callable[[], None]) -> None:
        # What became of the migration shows when it has ended; what failed is begun again with the next look.
        with contextlib.suppress(VirtError):
            action()


class NotEnded(DeadlineExceeded):
    """A migration was told to end and has not: nobody can tell yet where the guest will be."""


class PostCopyBroken(NotEnded):
    """A link failed in the middle of post-copy: neither host has the whole guest."""

    @classmethod
    def of(cls, name: str, why: str) -> PostCopyBroken:
        hint = "leave both domains as they are, and run again with the same target once the hosts reach each other: it goes on where it stopped"
        said = f"the link failed in the middle of post-copy ({why}); it stands still, with a part of its memory on each host"
        return cls(said, obj=name, phase="migrate", hint=hint)

    @classmethod
    def stuck(cls, name: str, target: str, why: str) -> PostCopyBroken:
        """It was tried to take it up."""
        hint = (
            f"run again once the hosts reach each other; where QEMU on {target} never notices that its connection is gone, what the guest had in memory is "
            f"lost: end it there (virsh destroy {name}), and run again to be told what to do with its disks"
        )
        said = f"it broke in the middle of post-copy, and libvirt could not take it up ({why}); it stands still, with a part of its memory on each host"
        return cls(said, obj=name, phase="migrate", hint=hint)


class Watch:
    """Looks after a migration: starts post-copy in time, ends it at the deadline or when the run is told to stop.

    :ivar idle: no migration was under way when it was looked for last.
    :ivar ended_by: why it was told to end, if it was.
    """

    def __init__(self, guest: Guest, wish: Wish, deadline: Deadline, cancel: threading.Event, progress: Progress) -> None:
        self._guest = guest
        self._wish = wish
        self._clock = deadline.clock
        self._cancel = cancel
        self._progress = progress
        self._began = self._clock.monotonic()
        self._deadline = deadline
        self._late = Deadline(self._clock, deadline.at + wish.timeout)
        self._gave_up: Deadline | None = None
        self._broken: Deadline | None = None
        self._paused = False
        self._looks, self._orders = _Aside(), _Aside()
        self.idle = False
        self.ended_by: VirtError | None = None

    def until(self, done: Callable[[], bool]) -> None:
        """Returns when it has ended. :param done: asks nobody.

        :raises NotEnded: it was told to, and did not.
        """
        while not done():
            self._looks.begin(self._look)
            self._decide()
            if self._broken is not None and self._broken.passed:
                raise PostCopyBroken.of(self._guest.name, "and libvirt has not ended it yet")
            if self._gave_up is not None and self._gave_up.passed:
                said = "" if self.ended_by is None else f"{self.ended_by.message}; "
                hint = "the hosts may have lost each other: run again once they have not, and it is brought to its end"
                raise NotEnded(f"{said}the daemon has not ended the migration in {_GIVE_UP_SECONDS:g} s", obj=self._guest.name, phase="migrate", hint=hint)
            self._clock.sleep(_LOOK_SECONDS)

    def _look(self) -> None:
        try:
            job = self._guest.job()
        except NotFound:
            job = {}
        self._progress.note(job)
        self.idle = not job
        if self._progress.post_copy:
            failed = self._guest.state_and_reason()[1] == POST_COPY_FAILED
            self._broken = None if not failed else self._broken or Deadline.after(self._clock, _GIVE_UP_SECONDS)

    def _decide(self) -> None:
        wish, name = self._wish, self._guest.name
        if self._progress.post_copy:
            # It is on both hosts now, and only comes together again on the target.
            return
        if self._cancel.is_set():
            self._end(Cancelled("the run was told to stop; it runs where it was", obj=name, phase="migrate"))
        elif self._deadline.passed:
            self._at_deadline()
        elif wish.tuning.post_copy and self._clock.monotonic() - self._began >= wish.tuning.post_copy_after:
            self._orders.begin(self._post_copy)

    def _at_deadline(self) -> None:
        wish, name = self._wish, self._guest.name
        hint = "give it more with timeout or bandwidth_mib, slow the guest down with auto_converge, or let it go on at the target with post_copy"
        if wish.on_timeout is OnTimeout.ABORT or self._late.passed:
            waited = wish.timeout if wish.on_timeout is OnTimeout.ABORT else 2 * wish.timeout
            self._end(DeadlineExceeded(f"it did not arrive in {waited:g} s; it runs where it was", obj=name, phase="migrate", hint=hint))
        elif wish.on_timeout is OnTimeout.POSTCOPY:
            self._orders.begin(self._post_copy)
        elif not self._paused:
            self._orders.begin(self._pause)

    def _post_copy(self) -> None:
        self._progress.post_copy = self._guest.start_post_copy()

    def _pause(self) -> None:
        self._guest.suspend()
        self._paused = True

    def _abort(self) -> None:
        self._guest.abort_job()

    def _end(self, why: VirtError) -> None:
        self.ended_by = self.ended_by or why
        if self._gave_up is None:
            self._gave_up = Deadline.after(self._clock, _GIVE_UP_SECONDS)
        # It may have just ended, or not begun yet, so this is done until it has.
        self._orders.begin(self._abort)


class Moving(threading.Thread):
    """The call that moves it. ``error`` is how it failed, None where it did not."""

    def __init__(self, guest: Guest, uri: str, flags: int, params: dict[str, Any]) -> None:
        super().__init__(name=f"migrate {guest.name}", daemon=True)
        self._call = (guest, uri, flags, params)
        self.error: Exception | None = None

    def run(self) -> None:
        guest, uri, flags, params = self._call
        try:
            guest.migrate(uri, flags, params)
        except Exception as exc:  # told by whoever waits for this thread
            self.error = exc


def move(guest: Guest, uri: str, flags: int, params: dict[str, Any], watch: Watch) -> None:
    """:raises VirtError: as ``Guest.migrate``, or why it was ended."""
    moving = Moving(guest, uri, flags, params)
    moving.start()
    watch.until(lambda: not moving.is_alive())
    if moving.error is not None:
        if watch.ended_by is not None:
            raise watch.ended_by from moving.error
        raise moving.error
