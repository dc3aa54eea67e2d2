# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Tasks: what they ended with, and what becomes of those that take too long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import DeadlineExceeded, MaybeApplied, OperationFailed, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.binding import moid_of
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import Fault, ObjectGone
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.updates import Updates, Watch

# One by one: of a task on disks, a server may not be able to give ``info`` as a whole.
PATHS = ("info.state", "info.error", "info.result")

CANCEL_SECONDS = 10.0
"""How long a task that was asked to end is given to do so."""


@dataclass(frozen=True)
class TaskOutcome:
    """How a task ended: with ``result``, or with ``error``."""

    task: Any
    result: Any = None
    error: VirtError | None = None

    def value(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.result


def ended(values: Mapping[str, Any]) -> bool:
    """By the task's state alone: a running task has no error yet, and a task without an error may still run."""
    return values.get("info.state") in ("success", "error")


def outcome(task: Any, values: Mapping[str, Any], *, about: str = "", phase: str = "") -> TaskOutcome:
    """Of a task that has ended, from its properties."""
    if values["info.state"] == "success":
        return TaskOutcome(task, values.get("info.result"))
    fault = values.get("info.error")
    if fault is None:
        return TaskOutcome(task, error=OperationFailed("vCenter says that the task failed, and not why", obj=about, phase=phase))
    return TaskOutcome(task, error=Fault.of(fault).as_error(obj=about, phase=phase))


def wait_for(
    updates: Updates, cancel: Callable[[Any], None], clock: Clock, running: Sequence[Any], deadline: Deadline, *, about: str, phase: str
) -> list[TaskOutcome]:
    """The outcome of each task. Those that have not ended by the deadline are cancelled."""
    watches = [Watch(task, PATHS, ended) for task in running]
    updates.wait(watches, deadline)
    late = [watch for watch in watches if not watch.settled]
    for watch in late:
        cancel(watch.obj)
    if late:
        updates.wait(late, Deadline.after(clock, CANCEL_SECONDS))
    return [_outcome_of(watch, watch in late, about, phase) for watch in watches]


def _outcome_of(watch: Watch, late: bool, about: str, phase: str) -> TaskOutcome:
    if not watch.settled:
        said = f"the task {moid_of(watch.obj)} did not end in time, could not be cancelled and still runs in vCenter"
        return TaskOutcome(watch.obj, error=DeadlineExceeded(said, obj=about, phase=phase))
    if isinstance(watch.error, ObjectGone):
        said = f"vCenter does not know the task {moid_of(watch.obj)} any more, so how it ended cannot be told"
        return TaskOutcome(watch.obj, error=MaybeApplied(said, obj=about, phase=phase))
    if watch.error is not None:
        return TaskOutcome(watch.obj, error=watch.error)
    found = outcome(watch.obj, watch.values, about=about, phase=phase)
    # What ended well in the last moment has ended well.
    if late and found.error is not None:
        said = f"the task {moid_of(watch.obj)} did not end in time and was cancelled: {found.error.message}"
        return TaskOutcome(watch.obj, error=DeadlineExceeded(said, obj=about, phase=phase))
    return found
