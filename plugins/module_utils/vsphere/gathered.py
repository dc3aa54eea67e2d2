# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Reads of single objects by many threads at nearly the same time, made in one call."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.errors import ConnectionFailed, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.binding import kind_of, moid_of
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import ObjectGone
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.vim import VIM


@dataclass(eq=False)
class _Ask:
    """What one thread wants to know of one object."""

    obj: Any
    answered: threading.Event = field(default_factory=threading.Event)
    values: Mapping[str, Any] | None = None
    error: VirtError | None = None


GATHER_SECONDS = 0.02
"""What threads ask for within this time is asked for in one call."""

PATIENCE_SECONDS = 1.0
"""So long is waited for threads that are known to come."""


class Gathered:
    """The first thread that asks waits for others and asks for them too."""

    def __init__(self, vim: VIM) -> None:
        self._vim = vim
        self._lock = threading.Condition()
        self._coming = 0
        self._open: dict[tuple[str, ...], list[_Ask]] = {}

    @contextmanager
    def coming(self) -> Iterator[None]:
        """Whoever is inside will ask as soon as it is outside, unless it fails."""
        with self._lock:
            self._coming += 1
        try:
            yield
        finally:
            with self._lock:
                self._coming -= 1
                self._lock.notify_all()

    def read(self, obj: Any, paths: tuple[str, ...], *, about: str = "", phase: str = "") -> Mapping[str, Any]:
        """Those of the properties that are set, as they are now. :raises ObjectGone: there is no such object."""
        ask = _Ask(obj)
        with self._lock:
            group = self._open.setdefault(paths, [])
            group.append(ask)
            first = len(group) == 1
        if first:
            with self._lock:
                self._lock.wait_for(lambda: not self._coming, PATIENCE_SECONDS)
            self._vim.clock.sleep(GATHER_SECONDS)
            self._answer(paths, phase)
        ask.answered.wait()
        if ask.error is not None:
            raise ask.error
        if ask.values is None:
            raise ObjectGone("it does not exist any more", obj=about or f"{kind_of(obj)}:{moid_of(obj)}", phase=phase)
        return ask.values

    def _answer(self, paths: tuple[str, ...], phase: str) -> None:
        with self._lock:
            asks = self._open.pop(paths)
        error: VirtError = ConnectionFailed("the thread that asked was ended", phase=phase)
        found: Mapping[str, Mapping[str, Any]] | None = None
        try:
            wanted = {moid_of(ask.obj): ask.obj for ask in asks}
            found = {moid_of(one.obj): one.properties for one in self._vim.get_many(wanted.values(), paths, phase=phase)}
        except VirtError as exc:
            error = exc
        finally:
            for ask in asks:
                if found is None:
                    # Each thread adds to its error where it happened.
                    ask.error = copy.copy(error)
                else:
                    ask.values = found.get(moid_of(ask.obj))
                ask.answered.set()
