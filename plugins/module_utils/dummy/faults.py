# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What goes wrong on the dummy hypervisor, and when. Pure: the same seed and the same counts give the same decisions.

A decision depends on how often an operation was done (to a machine), never on which thread came first, so the runs of a
pool with several workers agree. The counts are kept with the machines, because a run after a crash is to go on where
the one before it ended rather than to meet the same faults again.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

FOREVER = 2**53

# The operations of the contract that reach the hypervisor.
OPERATIONS = ("list", "get", "ready", "check", "create", "start", "stop", "mark", "destroy", "migrate", "disk", "snapshot", "revert")
READS = frozenset({"list", "get", "ready", "check"})
ANY = ""

Key = tuple[str, str]  # operation, machine; ANY for all of them


class FaultKind(str, enum.Enum):
    """The values are the words of ``dummy.faults[].fault``."""

    FAIL = "fail"  # the hypervisor reports a failure
    LOST_ANSWER = "lost_answer"  # the work is done, its answer lost
    LOST_REQUEST = "lost_request"  # nothing is done, and that cannot be told from a lost answer
    PARTIAL_LISTING = "partial_listing"  # a listing that may lack machines
    OUTAGE = "outage"  # the hypervisor cannot be reached
    SESSION_EXPIRED = "session_expired"  # the session has ended; a new login works
    HOST_FULL = "host_full"  # no host has room
    HALF_MADE = "half_made"  # making the machine fails half-way and leaves it behind
    NAME_TAKEN = "name_taken"  # somebody else was quicker to take the name


_ONLY: Mapping[FaultKind, frozenset[str]] = {
    FaultKind.PARTIAL_LISTING: frozenset({"list"}),
    FaultKind.HOST_FULL: frozenset({"create", "migrate"}),
    FaultKind.HALF_MADE: frozenset({"create"}),
    FaultKind.NAME_TAKEN: frozenset({"create", "snapshot"}),
}


@dataclass(frozen=True)
class Fault:
    """A scripted fault: from the ``first`` to the ``last`` call, counted from 1, both included.

    Counted are the calls of ``operation`` for ``machine``; ANY counts all operations, all machines.
    """

    kind: FaultKind
    operation: str = ANY
    machine: str = ANY
    first: int = 1
    last: int = 1

    @property
    def key(self) -> Key:
        return self.operation, self.machine


def fault_problem(fault: Fault) -> str:
    """Why such a fault cannot happen, "" if it can."""
    only = _ONLY.get(fault.kind)
    if only and fault.operation not in only:
        return f"{fault.kind.value} happens to the operation {' or '.join(sorted(only))} only; name it"
    if fault.machine and fault.operation in ("list", "check"):
        return f"the operation {fault.operation} names no machine, leave machine out"
    if fault.machine and fault.operation == "ready" and fault.kind is not FaultKind.FAIL:
        return "all machines are asked together whether they are ready; for one of them there is only the fault fail"
    return ""


@dataclass(frozen=True)
class Decision:
    """What one call meets: a fault or none, and the seconds it takes."""

    fault: FaultKind | None = None
    delay: float = 0.0


@dataclass(frozen=True)
class Boot:
    """How a boot goes: seconds until the guest is up, and when after that it drifts, None for never."""

    seconds: float
    off_after: float | None = None
    renamed_after: float | None = None


def keys_counted(faults: Sequence[Fault], operation: str, machine: str, drawn: bool) -> tuple[Key, ...]:
    """Which counts a call moves on: those that a fault waits for and, if something is ``drawn``, the machine's own.

    Nothing is counted, and so nothing written, for a call that no option concerns.
    """
    own = (operation, machine)
    fitting = {own, (operation, ANY), (ANY, machine), (ANY, ANY)}
    wanted = {fault.key for fault in faults} & fitting
    return tuple(sorted(wanted | ({own} if drawn else set())))


def answers_counted(faults: Sequence[Fault], machines: Sequence[str], drawn: bool) -> tuple[Key, ...]:
    """Which counts move on because these machines are asked whether they are ready."""
    named = {fault.machine for fault in faults if fault.operation == "ready"}
    return tuple(("ready", machine) for machine in machines if drawn or machine in named)


def draw(seed: int, operation: str, machine: str, nth: int) -> random.Random:
    """The source of chance for the ``nth`` time that an operation is done to a machine."""
    return random.Random(f"{seed}:{operation}:{machine}:{nth}")


def scripted(faults: Sequence[Fault], counts: Mapping[Key, int]) -> FaultKind | None:
    """The fault whose turn it is: an outage before an ended session before any other, as nothing gets past those two."""
    due = [fault.kind for fault in faults if fault.first <= counts.get(fault.key, 0) <= fault.last]
    for first in (FaultKind.OUTAGE, FaultKind.SESSION_EXPIRED):
        if first in due:
            return first
    return due[0] if due else None


def decide(
    faults: Sequence[Fault],
    counts: Mapping[Key, int],
    chance: random.Random | None,
    operation: str,
    fail_percent: float,
    delay: tuple[float, float],
) -> Decision:
    """What a call meets.

    :param counts: the counts of ``keys_counted`` with this call included.
    :param chance: what ``draw`` gave, None where nothing is left to chance.
    """
    fault = scripted(faults, counts)
    if chance is None:
        return Decision(fault, delay[0])
    # Every number is drawn, used or not, so that changing one option leaves the chances of the others alone.
    seconds, failing, half = chance.uniform(*delay), chance.random() * 100, chance.random()
    if fault is None and failing < fail_percent:
        fault = FaultKind.HALF_MADE if operation == "create" and half < 0.5 else FaultKind.FAIL
    return Decision(fault, seconds)


def plan_boot(chance: random.Random, boot: tuple[float, float], drift: tuple[float, float], power_off_percent: float, rename_percent: float) -> Boot:
    """How a boot goes."""
    seconds, later = chance.uniform(*boot), chance.uniform(*drift)
    off, renamed = chance.random() * 100 < power_off_percent, chance.random() * 100 < rename_percent
    return Boot(seconds, later if off else None, later if renamed else None)
