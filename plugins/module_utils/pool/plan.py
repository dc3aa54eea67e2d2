# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The plan: from what is wanted and what is there to what is to be done. Pure; ``tests/unit/pool`` holds its laws."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.poolwright.virt.plugins.module_utils.pool.condition import (
    SERVING,
    UNHEALTHY,
    UNTOUCHABLE,
    Assessment,
    Condition,
    Observed,
    assess,
    still_made,
)
from ansible_collections.poolwright.virt.plugins.module_utils.pool.spec import OnOutdated, OnUnhealthy, PoolSpec, Reset, is_outdated
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import Mark
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import Power


class Kind(str, enum.Enum):
    """What can be done to a slot."""

    DESTROY = "destroy"
    REPLACE = "replace"
    RESET = "reset"
    START = "start"
    WAIT = "wait"
    CREATE = "create"


@dataclass(frozen=True)
class Action:
    """One thing to do. ``expected`` is the mark the machine must still carry; None where there is no machine yet.

    Actions of one ``wave`` may run side by side; a wave begins when the one before it has ended.
    """

    kind: Kind
    pool: str
    name: str
    slot: int
    reason: str
    wave: int
    expected: Mark | None = None

    def as_dict(self) -> dict[str, object]:
        return {"action": self.kind.value, "pool": self.pool, "name": self.name, "reason": self.reason, "wave": self.wave}


@dataclass(frozen=True)
class Taken:
    """A slot that something else holds; it stays unfilled and the machine untouched."""

    pool: str
    name: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """What will be done, in order; slots that cannot be filled; and how each machine was judged.

    ``kept`` says why outdated machines are not rebuilt although they shall be, "" where they are.
    """

    actions: tuple[Action, ...] = ()
    taken: tuple[Taken, ...] = ()
    assessments: tuple[tuple[str, Assessment], ...] = ()
    kept: str = ""

    @property
    def deletions(self) -> tuple[Action, ...]:
        """Actions that remove a machine somebody may be using, or what is on it; what never was finished or is half gone does not count."""
        judged = dict(self.assessments)
        return tuple(
            action for action in self.actions if action.kind in (Kind.DESTROY, Kind.REPLACE, Kind.RESET) and judged[action.name].condition not in _UNFINISHED
        )


# Wave 0 gives resources back, wave 1 repairs and fills. Each later wave takes ready machines away, which nothing does while an earlier
# wave of the pool has failed.
_REMOVE, _REPAIR, FIRST_ROLLING_WAVE = 0, 1, 2
_ORDER = {Kind.DESTROY: 0, Kind.REPLACE: 1, Kind.RESET: 2, Kind.START: 3, Kind.WAIT: 4, Kind.CREATE: 5}
_UNFINISHED = frozenset({Condition.HALF_MADE, Condition.REMOVING, Condition.RESETTING})


def plan(spec: PoolSpec, observed: Sequence[Observed], now: float) -> Plan:
    """What brings one pool to its declared state. ``observed`` names each machine once; ``now`` in seconds since the epoch."""
    judged = [(seen, assess(spec, seen, now)) for seen in observed]
    actions = [action for seen, judgement in judged for action in _repair(spec, seen, judgement, now)]
    held = {seen.machine.name: judgement for seen, judgement in judged}
    taken = []
    for slot in range(1, spec.wanted + 1):
        name = spec.vm_name(slot)
        if name not in held:
            actions.append(Action(Kind.CREATE, spec.name, name, slot, "the slot is empty", _REPAIR))
        elif held[name].condition in (Condition.FOREIGN, Condition.STRAY):
            taken.append(Taken(spec.name, name, held[name].reason))
    serving = sum(judgement.condition in SERVING for judgement in held.values())
    repaired = sum(action.wave == _REPAIR for action in actions)
    rolled, kept = _roll(spec, judged, spec.wanted - serving - repaired)
    actions = sorted([*actions, *rolled], key=lambda action: (action.wave, _ORDER[action.kind], action.slot))
    return Plan(tuple(actions), tuple(taken), tuple(held.items()), kept)


def merge(plans: Mapping[str, Plan]) -> tuple[Action, ...]:
    """The actions of all pools in the order they are done: wave by wave, pools as given."""
    actions = [action for one in plans.values() for action in one.actions]
    return tuple(sorted(actions, key=lambda action: (action.wave, _ORDER[action.kind])))


def _repair(spec: PoolSpec, seen: Observed, judgement: Assessment, now: float) -> list[Action]:
    """The action for a machine that is wrong by itself, whatever the others are like."""
    mark, condition = seen.machine.mark, judgement.condition
    if mark is None or condition in UNTOUCHABLE:
        return []
    kind: Kind | None = None
    if condition is Condition.SURPLUS:
        kind = Kind.DESTROY
    elif condition in (Condition.HALF_MADE, Condition.REMOVING):
        kind = Kind.REPLACE
    elif condition is Condition.EXPIRED or (condition is Condition.RESETTING and not (seen.elsewhere and still_made(mark, now))):
        kind = _renew(spec, seen, mark)
    elif condition is Condition.BOOTING:
        kind = Kind.REPLACE if seen.machine.power is Power.RUNNING and _to_be_rebuilt(spec, mark) else Kind.WAIT
    elif condition in UNHEALTHY:
        kind = Kind.REPLACE if _to_be_rebuilt(spec, mark) else _heal(spec, seen, mark, condition)
    if kind is None:
        return []
    wave = _REMOVE if kind is Kind.DESTROY else _REPAIR
    return [Action(kind, spec.name, seen.machine.name, mark.slot, judgement.reason, wave, mark)]


def _to_be_rebuilt(spec: PoolSpec, mark: Mark) -> bool:
    return spec.on_outdated is OnOutdated.REPLACE and is_outdated(spec, mark.spec_hash)


def _renew(spec: PoolSpec, seen: Observed, mark: Mark) -> Kind:
    """How a machine becomes as it was made: by its snapshot where that is wanted, is there and leads to what the pool is now."""
    there = bool(mark.snapshot) and not seen.machine.broken and not is_outdated(spec, mark.spec_hash)
    return Kind.RESET if spec.reset is Reset.SNAPSHOT and there else Kind.REPLACE


def _heal(spec: PoolSpec, seen: Observed, mark: Mark, condition: Condition) -> Kind | None:
    if spec.on_unhealthy is OnUnhealthy.REPLACE:
        return _renew(spec, seen, mark)
    # Starting mends neither a lost disk nor a machine that runs though it should be off.
    startable = condition is not Condition.BROKEN and spec.machine.power_on and seen.machine.power is not Power.UNKNOWN
    return Kind.START if spec.on_unhealthy is OnUnhealthy.START and startable else None


def _roll(spec: PoolSpec, judged: Sequence[tuple[Observed, Assessment]], unavailable: int) -> tuple[list[Action], str]:
    """Ready machines that are to be rebuilt, in batches, lowest slot first; or none, and why they are kept.

    :param unavailable: machines of the pool that will not be ready either: leased, unhealthy and left so, or held by something else.
    """
    outdated = [(seen.machine.mark, judgement) for seen, judgement in judged if judgement.condition is Condition.OUTDATED and seen.machine.mark]
    if not outdated or spec.on_outdated is not OnOutdated.REPLACE:
        return [], ""
    batch = spec.most_unavailable - unavailable
    if batch < 1:
        allowed = f"max_unavailable ({spec.max_unavailable}) allows {spec.most_unavailable} of {spec.wanted}"
        others = f"{unavailable} others are unavailable (leased, unhealthy, or not the pool's)"
        return [], f"outdated machines are kept ready: {others}, and {allowed}"
    return [
        Action(Kind.REPLACE, spec.name, spec.vm_name(mark.slot), mark.slot, judgement.reason, FIRST_ROLLING_WAVE + number // batch, mark)
        for number, (mark, judgement) in enumerate(sorted(outdated, key=lambda pair: pair[0].slot))
    ], ""
