# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What it takes to bring a guest from one state to another, and doing it."""

from __future__ import annotations

import enum
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import Cancelled, DeadlineExceeded, NotFound, OperationFailed
from ansible_collections.poolwright.virt.plugins.module_utils.guests.wish import State
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.faults import InvalidState, Unsupported
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.guest import DomainState, Guest

_LOOK_SECONDS = 0.2
# A guest that is still booting does not notice its button.
_PRESS_SECONDS = 5.0


class Step(enum.Enum):
    START = "start"
    START_PAUSED = "start paused"
    RESUME = "resume"
    WAKE = "wake up"
    PAUSE = "pause"
    SHUT_DOWN = "shut down"
    PULL_PLUG = "force off"


def name_of(state: DomainState) -> str:
    return state.word


def steps(now: str, wanted: State) -> tuple[Step, ...]:
    """:param now: as ``name_of`` says, ``absent`` for a guest that is to be made."""
    off = now in ("shutoff", "absent")
    # A guest that crashed has to be cleared away before it can do anything.
    clear = (Step.PULL_PLUG,) if now in ("crashed", "unknown") else ()
    if wanted is State.RUNNING:
        return {"running": (), "paused": (Step.RESUME,), "asleep": (Step.WAKE,)}.get(now, (*clear, Step.START))
    if wanted is State.PAUSED:
        return {"running": (Step.PAUSE,), "paused": (), "asleep": (Step.WAKE, Step.PAUSE)}.get(now, (*clear, Step.START_PAUSED))
    if wanted is State.SHUTOFF:
        return () if off else clear or (Step.SHUT_DOWN,)
    if wanted is State.REBOOTED:
        return (Step.START,) if off else (*(clear or (Step.SHUT_DOWN,)), Step.START)
    return ()


def after(now: str, taken: Sequence[Step]) -> str:
    """The state that the steps lead to."""
    for step in taken:
        now = {
            Step.START: "running",
            Step.RESUME: "running",
            Step.WAKE: "running",
            Step.START_PAUSED: "paused",
            Step.PAUSE: "paused",
        }.get(step, "shutoff")
    return now


@dataclass(frozen=True)
class Patience:
    """How long a guest may take to shut down, and whether it is then switched off."""

    clock: Clock
    seconds: float
    force: bool
    cancel: threading.Event


def take(guest: Guest, taken: Sequence[Step], patience: Patience, *, reset_nvram: bool = False) -> None:
    """:param reset_nvram: a start is one with new variables of the firmware."""
    for step in taken:
        if step is Step.START:
            guest.start(reset_nvram=reset_nvram)
        elif step is Step.START_PAUSED:
            guest.start(paused=True, reset_nvram=reset_nvram)
        elif step is Step.RESUME:
            guest.resume()
        elif step is Step.WAKE:
            guest.wake()
        elif step is Step.PAUSE:
            guest.suspend()
        elif step is Step.PULL_PLUG:
            guest.destroy()
        else:
            shut_down(guest, patience)


def shut_down(guest: Guest, patience: Patience) -> None:
    """Press the power button until the guest is off; a guest that does not go is switched off where that is allowed.

    :raises DeadlineExceeded: it did not go in time.   :raises Cancelled: the run was told to stop.
    """
    deadline, pressed = Deadline.after(patience.clock, patience.seconds), -_PRESS_SECONDS
    while True:
        try:
            state = guest.state()
        except NotFound:
            # It had no definition.
            return
        if state in (DomainState.SHUTOFF, DomainState.CRASHED):
            return
        if deadline.passed or (state is DomainState.PAUSED and patience.force):
            break
        if patience.cancel.is_set():
            raise Cancelled("the run was told to stop", obj=guest.name, phase="shut down")
        if patience.clock.monotonic() - pressed >= _PRESS_SECONDS and state is not DomainState.PAUSED:
            pressed = patience.clock.monotonic()
            _press(guest)
        elif state is DomainState.PAUSED:
            hint = "resume it first (state: running), or set force: true"
            raise OperationFailed("it is paused, so it cannot shut down", obj=guest.name, phase="shut down", hint=hint)
        patience.clock.sleep(min(_LOOK_SECONDS, deadline.remaining))
    if not patience.force:
        hint = "allow more with shutdown_timeout, or set force: true to switch it off"
        raise DeadlineExceeded(f"it did not shut down in {patience.seconds:g} s", obj=guest.name, phase="shut down", hint=hint)
    guest.destroy()


def _press(guest: Guest) -> None:
    try:
        guest.shutdown()
    except (InvalidState, Unsupported):
        # It went off between, or is not ready to hear: the state tells.
        return
