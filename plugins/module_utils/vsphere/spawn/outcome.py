# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What a run may do, what it does, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.errors import OperationFailed, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.compare import Change, Plan
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.relocate import Move


class NeedsRebuild(OperationFailed):
    """The machine cannot become what is described; another one can."""

    code = "needs_rebuild"
    config = True


class NeedsRestart(OperationFailed):
    """A change wants the machine off, and it runs."""

    code = "needs_restart"
    config = True


@dataclass(frozen=True)
class Options:
    """What a run may do. ``address_seconds`` is how long a routable address is waited for, None for not at all."""

    check_mode: bool = False
    recreate: bool = False
    restart: bool = False
    keep_failed: bool = False
    timeout: float = 3600.0
    address_seconds: float | None = None


@dataclass(frozen=True)
class Action:
    """One thing that a run does, or would do. ``name`` is create, recreate, relocate, reconfigure, power on, power off or remove."""

    name: str
    reason: str

    def as_dict(self) -> dict[str, str]:
        return {"action": self.name, "reason": self.reason}


@dataclass(frozen=True)
class Outcome:
    """What a run did, or in check mode would do. ``machine`` is as the module shows it, empty where there is none.

    ``failure`` is what it failed with after something was made: ``undone`` says what was taken back, ``left`` what could not be, in words.
    ``touched`` says that a machine that was there is not as it was, although the run failed.
    """

    actions: tuple[Action, ...] = ()
    machine: Mapping[str, Any] = field(default_factory=dict)
    before: str = ""
    after: str = ""
    undone: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    failure: VirtError | None = None
    touched: bool = False


def actions_of(plan: Plan, move: Move, restarts: bool) -> list[Action]:
    actions = []
    changed = [one for one in plan.changes if one.what != "power"]
    if restarts:
        actions.append(Action("power off", "what changes wants the machine off"))
    if plan.power == "off":
        actions.append(Action("power off", "it shall be off"))
    if move.changes:
        actions.append(Action("relocate", listed(move.changes)))
    if changed:
        actions.append(Action("reconfigure", listed(changed)))
    if plan.power == "on" or restarts:
        actions.append(Action("power on", "it shall be on"))
    return actions


def listed(changes: Iterable[Change]) -> str:
    return "; ".join(map(str, changes))
