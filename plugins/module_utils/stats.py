# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Counts and times of a run, kept by whoever does the work and shown in a module's ``stats``."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock


class Stats:
    """Calls to the provider by name, logins, and seconds by phase. Safe to use from several threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._calls: Counter[str] = Counter()
        self._seconds: dict[str, float] = {}
        self._logins = 0

    def call(self, name: str) -> int:
        """Count one call; returns how many of this name there have been, itself included."""
        with self._lock:
            self._calls[name] += 1
            return self._calls[name]

    def login(self) -> None:
        with self._lock:
            self._logins += 1

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time spent inside to the phase's seconds."""
        start = self._clock.monotonic()
        try:
            yield
        finally:
            spent = self._clock.monotonic() - start
            with self._lock:
                self._seconds[name] = self._seconds.get(name, 0.0) + spent

    def as_dict(self) -> dict[str, Any]:
        with self._lock:
            return {
                "calls": dict(sorted(self._calls.items())),
                "logins": self._logins,
                "seconds": {name: round(spent, 3) for name, spent in self._seconds.items()},
            }
