# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What is seen of a pool, and what is to be thought of each machine. Pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from ansible_collections.poolwright.virt.plugins.module_utils.pool.spec import PoolSpec, is_outdated
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import Mark, MarkState
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import Machine, Power, Readiness


@dataclass(frozen=True)
class Observed:
    """A machine and, where its pool's check was asked, the answer. ``elsewhere``: another controller has made it, or is at it."""

    machine: Machine
    readiness: Readiness | None = None
    elsewhere: bool = False


class Condition(str, enum.Enum):
    """What a machine is to its pool. The values are what users read as a machine's ``state``."""

    READY = "ready"
    OUTDATED = "outdated"  # ready, but made from another description
    BOOTING = "booting"  # complete and running, never seen ready
    HALF_MADE = "half_made"  # its making was interrupted
    REMOVING = "removing"  # its removal was interrupted
    RESETTING = "resetting"  # its way back to its snapshot was interrupted
    BROKEN = "broken"  # it has lost something it cannot work without
    STOPPED = "stopped"  # its power state is not the wanted one
    SILENT = "silent"  # it runs, was ready once, and no longer passes the check
    EXPIRED = "expired"  # its lease has ended: it is no longer as it was made
    SURPLUS = "surplus"  # outside the pool's range of slots
    LEASED = "leased"  # handed out: never touched
    STRAY = "stray"  # carries the pool's mark, but was renamed: never touched
    FOREIGN = "foreign"  # not this pool's: never touched


MAKING_SECONDS = 600.0
"""What the making of a machine may take. One that another controller has begun is left to it for so long."""

UNTOUCHABLE = frozenset({Condition.LEASED, Condition.STRAY, Condition.FOREIGN})
UNHEALTHY = frozenset({Condition.BROKEN, Condition.STOPPED, Condition.SILENT})
SERVING = frozenset({Condition.READY, Condition.OUTDATED})


@dataclass(frozen=True)
class Assessment:
    """A machine's condition and, unless all is well, the reason in words."""

    condition: Condition
    reason: str = ""


def still_made(mark: Mark, now: float) -> bool:
    """Whether whoever makes the machine, or resets it, may still be at it."""
    return mark.state in (MarkState.CREATING, MarkState.RESETTING) and now - mark.created_at < MAKING_SECONDS


def assess(spec: PoolSpec, seen: Observed, now: float) -> Assessment:
    """Judge one machine; ``now`` is in seconds since the epoch. The first thing found wrong decides."""
    machine, mark = seen.machine, seen.machine.mark
    if mark is None:
        return Assessment(Condition.FOREIGN, "it carries no mark of this pool")
    if mark.pool != spec.name:
        return Assessment(Condition.FOREIGN, f"it belongs to pool '{mark.pool}'")
    made_as = mark.name or spec.vm_name(mark.slot)
    if machine.name != made_as:
        return Assessment(Condition.STRAY, f"it is marked as {made_as} of the pool and was renamed")
    if mark.lease is not None and mark.lease.holds(now):
        return Assessment(Condition.LEASED, f"leased as {mark.lease.id}")
    if not spec.in_range(mark.slot):
        return Assessment(Condition.SURPLUS, f"the pool shall have {spec.wanted} machines" if spec.present else "the pool shall be absent")
    if spec.described and spec.present and machine.name != spec.vm_name(mark.slot):
        return Assessment(Condition.SURPLUS, f"the pool's machines are named {spec.vm_name(mark.slot)} and the like now")
    if mark.state is MarkState.DESTROYING:
        return Assessment(Condition.REMOVING, "an earlier run did not finish removing it")
    if mark.state is MarkState.RESETTING:
        busy = seen.elsewhere and still_made(mark, now)
        return Assessment(Condition.RESETTING, "another controller is resetting it" if busy else "an earlier run did not finish resetting it")
    if mark.state is MarkState.CREATING and machine.power is not Power.RUNNING:
        if seen.elsewhere and still_made(mark, now):
            return Assessment(Condition.BOOTING, "another controller is making it")
        return Assessment(Condition.HALF_MADE, "an earlier run did not finish making it")
    if machine.broken:
        return Assessment(Condition.BROKEN, machine.broken)
    if mark.lease is not None:
        return Assessment(Condition.EXPIRED, f"its lease {mark.lease.id} has ended")
    wanted = Power.RUNNING if spec.machine.power_on else Power.OFF
    if machine.power is not wanted:
        return Assessment(Condition.STOPPED, f"it is {machine.power.value} and should be {wanted.value}")
    if mark.state is MarkState.CREATING:
        return Assessment(Condition.BOOTING, "an earlier run ended before it was ready")
    if seen.readiness is not None and not seen.readiness.ready:
        return Assessment(Condition.SILENT, seen.readiness.reason)
    if is_outdated(spec, mark.spec_hash):
        return Assessment(Condition.OUTDATED, "it was made from another description than the pool's present one")
    return Assessment(Condition.READY)
