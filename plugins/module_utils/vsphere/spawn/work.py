# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What the steps of a spawn share: the way to the server, a deadline, calls that survive a lost answer, and what to undo."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Callable

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import Cancelled, DeadlineExceeded, MaybeApplied, NameTaken, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.binding import moid_of
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import FileExists, ObjectGone
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.files import Site
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Inventory
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.vim import VIM

_ATTEMPTS = 3
_PAUSE = 1.0
UNDO_SECONDS = 300.0
"""How long undoing may take: it goes on when the run's own time is over."""


@dataclass
class Undo:
    """One step back; ``step`` says whether there was something to take back."""

    what: str
    step: Callable[[Work], bool]


@dataclass
class Work:
    """One spawn. ``undo`` grows with what is made; the last is undone first."""

    inventory: Inventory
    deadline: Deadline
    cancel: threading.Event = field(default_factory=threading.Event)
    undo: list[Undo] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def vim(self) -> VIM:
        return self.inventory.vim

    @property
    def site(self) -> Site:
        return Site(self.vim, self.inventory)

    def go_on(self, about: str, phase: str) -> None:
        """:raises Cancelled, DeadlineExceeded: no further step is to be begun."""
        if self.cancel.is_set():
            raise Cancelled("the run was told to stop", obj=about, phase=phase)
        self.deadline.check("the machine's making", obj=about, phase=phase)

    def surely(self, obj: Any, method: str, done: Callable[[], Any], *, involved: Iterable[Any], about: str, phase: str, **arguments: Any) -> Any:
        """Run a task; after a lost answer, look whether it was done, and run it again only if it was not.

        :param done: what the task would have returned where it was done, None where it was not.
        :param involved: the objects whose running tasks may be this one.
        """
        objects = list(involved)
        for attempt in range(_ATTEMPTS):
            try:
                return self.vim.run(obj, method, deadline=self.deadline, about=about, phase=phase, **arguments)
            except (MaybeApplied, DeadlineExceeded) as exc:
                self._settle(objects)
                found = done()
                if found is not None:
                    if isinstance(exc, DeadlineExceeded):
                        raise
                    return found
                if isinstance(exc, DeadlineExceeded) or attempt + 1 == _ATTEMPTS:
                    raise
            except (NameTaken, FileExists):
                # The call before this one came through after all.
                found = done() if attempt else None
                if found is None:
                    raise
                return found
        raise AssertionError("unreachable")

    def _settle(self, objects: Iterable[Any]) -> None:
        """Wait until no task of which one of these objects is the subject runs any more: only then does a look tell."""
        subjects = {moid_of(obj) for obj in objects}
        recent = self.vim.get_properties(self.vim.content.taskManager, ["recentTask"], phase="look up").get("recentTask") or []
        for found in self.vim.get_many(recent, ["info.state", "info.entity"], phase="look up"):
            entity = found.properties.get("info.entity")
            if found.properties.get("info.state") not in ("queued", "running") or entity is None or moid_of(entity) not in subjects:
                continue
            try:
                self.vim.wait_for_properties(found.obj, ["info.state"], _ended, self.deadline.earlier(Deadline.after(self.vim.clock, UNDO_SECONDS)))
            except (ObjectGone, DeadlineExceeded):
                continue

    def undo_all(self) -> tuple[list[str], list[str]]:
        """Take back all that was made, last first: what was undone, and what could not be, in words. Each is tried a few times."""
        undone, left = [], []
        cleaning = Work(self.inventory, Deadline.after(self.vim.clock, UNDO_SECONDS))
        while self.undo:
            step = self.undo.pop()
            for attempt in range(_ATTEMPTS):
                try:
                    undone += [step.what] if step.step(cleaning) else []
                    break
                except VirtError as exc:
                    if attempt + 1 == _ATTEMPTS:
                        left.append(f"{step.what}: failed: {exc}")
                    else:
                        self.vim.clock.sleep(_PAUSE * (attempt + 1))
        return undone, left


def _ended(values: Any) -> bool:
    return values.get("info.state") in ("success", "error")
