# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Time, injected: whatever sleeps or reads a clock takes a ``Clock``, so that tests are fast and seeded."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from ansible_collections.poolwright.virt.plugins.module_utils.errors import Cancelled, DeadlineExceeded


class Clock:
    """The system's clock."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds from an arbitrary start that never go back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class InstantClock(Clock):
    """A clock that sleeps by moving itself on: a simulated hour passes in no time."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._now = start
        self._lock = threading.Lock()

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self._now += max(0.0, seconds)


@dataclass(frozen=True)
class Deadline:
    """A point on a clock's monotonic scale by which something must have happened."""

    clock: Clock
    at: float

    @classmethod
    def after(cls, clock: Clock, seconds: float) -> Deadline:
        return cls(clock, clock.monotonic() + seconds)

    @property
    def remaining(self) -> float:
        """Seconds left, never below 0."""
        return max(0.0, self.at - self.clock.monotonic())

    @property
    def passed(self) -> bool:
        return self.clock.monotonic() >= self.at

    def check(self, what: str, obj: str = "", phase: str = "", hint: str = "") -> None:
        """Raise ``DeadlineExceeded`` once the deadline has passed."""
        if self.passed:
            raise DeadlineExceeded(f"{what} did not happen in time", obj=obj, phase=phase, hint=hint)

    def earlier(self, other: Deadline) -> Deadline:
        return self if self.at <= other.at else other


@dataclass(frozen=True)
class Interruptible(Deadline):
    """A deadline that also ends what waits for it once ``cancel`` is set."""

    cancel: threading.Event = field(default_factory=threading.Event)

    def check(self, what: str, obj: str = "", phase: str = "", hint: str = "") -> None:
        """:raises Cancelled: the run was told to stop."""
        if self.cancel.is_set():
            raise Cancelled(f"the run was told to stop before {what} was done", obj=obj, phase=phase)
        super().check(what, obj, phase, hint)
