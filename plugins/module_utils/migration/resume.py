# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Taking up a migration that libvirt goes on with although the run that began it is gone, or that broke in post-copy."""

from __future__ import annotations

import threading

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import NotFound, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.faults import InvalidState
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.guest import Guest
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host
from ansible_collections.poolwright.virt.plugins.module_utils.migration import leftovers
from ansible_collections.poolwright.virt.plugins.module_utils.migration.live import NotEnded, PostCopyBroken, Progress, Watch, move
from ansible_collections.poolwright.virt.plugins.module_utils.migration.moving import flag_names, flags_of, params_of
from ansible_collections.poolwright.virt.plugins.module_utils.migration.note import Note
from ansible_collections.poolwright.virt.plugins.module_utils.migration.plan import Plan
from ansible_collections.poolwright.virt.plugins.module_utils.migration.sides import Verdict
from ansible_collections.poolwright.virt.plugins.module_utils.migration.wish import Wish

# The target may still be ending what the source has let go of.
_SETTLE_SECONDS = 15.0
_LOOK_SECONDS = 0.2


def take_up(note: Note, source: Host, target: Host, uuid: str, wish: Wish, cancel: threading.Event, deadline: Deadline) -> list[str]:
    """Returns when no migration of the guest is under way any more, however that ended. What was done, in words."""
    found = leftovers.judge(note, leftovers.look(source, uuid=uuid), leftovers.look(target, uuid=uuid))
    guest = source.guest_of(uuid)
    if guest is None:
        return []
    if found not in (Verdict.WAIT, Verdict.RESUME):
        return []
    refused = _refusal(guest, target, wish, cancel, deadline) if found is Verdict.RESUME else None
    if found is Verdict.RESUME and refused is None:
        return ["take the migration up where its link failed"]
    watch = Watch(guest, wish, deadline, cancel, Progress(post_copy=refused is not None))
    try:
        watch.until(lambda: watch.idle)
    except NotEnded as exc:
        if refused is None:
            raise
        raise PostCopyBroken.stuck(guest.name, note.where, refused.message) from exc
    _settled(note, source, target, uuid, deadline.clock)
    return ["wait for the migration that was under way"]


def _refusal(guest: Guest, target: Host, wish: Wish, cancel: threading.Event, deadline: Deadline) -> VirtError | None:
    """Take it up; None once it has arrived, or why libvirt does not: it has gone on by itself, or the target has not noticed that it broke."""
    names = flag_names(Plan(True), wish, persistent=guest.is_persistent(), unsafe=False, resume=True)
    watch = Watch(guest, wish, deadline, cancel, Progress(post_copy=True))
    try:
        move(guest, target.uri, flags_of((*names, *(() if "POSTCOPY" in names else ("POSTCOPY",)))), params_of(Plan(True), wish), watch)
    except (InvalidState, NotFound) as exc:
        return exc
    return None


def _settled(note: Note, source: Host, target: Host, uuid: str, clock: Clock) -> None:
    """A guest that has just arrived is let go on in a moment; one that has not is ended in one."""
    deadline = Deadline.after(clock, _SETTLE_SECONDS)
    before = None
    while not deadline.passed:
        try:
            now = leftovers.judge(note, leftovers.look(source, uuid=uuid), leftovers.look(target, uuid=uuid))
        except VirtError:
            return
        if now is before and now is not Verdict.WAIT:
            return
        before = now
        clock.sleep(_LOOK_SECONDS)
