# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The way to the dummy hypervisor: scarce connections, a session that may end, and everything that can go wrong on it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TypeVar

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.dummy.config import DummyOptions
from ansible_collections.poolwright.virt.plugins.module_utils.dummy.faults import (
    READS,
    Boot,
    Decision,
    FaultKind,
    answers_counted,
    decide,
    draw,
    keys_counted,
    plan_boot,
    scripted,
)
from ansible_collections.poolwright.virt.plugins.module_utils.dummy.store import Store
from ansible_collections.poolwright.virt.plugins.module_utils.errors import (
    ConnectionFailed,
    DeadlineExceeded,
    IncompleteAnswer,
    InsufficientResources,
    MaybeApplied,
    NameTaken,
    OperationFailed,
    VirtError,
)
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats

T = TypeVar("T")

_INSTANTLY = (0.0, 0.0)
_REFUSALS: dict[FaultKind, tuple[type[VirtError], str]] = {
    FaultKind.FAIL: (OperationFailed, "the hypervisor reported a failure (simulated)"),
    FaultKind.HOST_FULL: (InsufficientResources, "no host has room (simulated)"),
    FaultKind.NAME_TAKEN: (NameTaken, "somebody was quicker to take the name (simulated)"),
    FaultKind.PARTIAL_LISTING: (IncompleteAnswer, "the listing broke off (simulated)"),
}


class _NotReached(Exception):
    """The request did not get there; nothing was done."""


class _AnswerLost(Exception):
    """Whether the request got there is not known."""


class Line:
    """One session of one run. ``options`` may be replaced between calls: whoever holds the line can script a fault late."""

    def __init__(self, options: DummyOptions, store: Store, clock: Clock, stats: Stats) -> None:
        self.options = options
        self._store = store
        self._clock = clock
        self._stats = stats
        self._slots = threading.BoundedSemaphore(options.connections) if options.connections else None
        self._login = threading.Lock()
        self._logged_in = False

    def call(self, operation: str, target: str, work: Callable[[Decision], T], own: frozenset[FaultKind] = frozenset()) -> T:
        """Do ``work`` on the hypervisor, unless a fault comes between.

        :param target: the machine, or what else the operation is about.
        :param work: gets the decision, and itself spends the delay (``spend``) and deals with the ``own`` faults.
        :raises ConnectionFailed: not reached, although tried again with a new login.
        :raises MaybeApplied: the answer to a changing operation was lost. A read is asked once more instead.
        """
        with self._connection(operation, target):
            try:
                return self._attempt(operation, target, work, own)
            except _NotReached:
                pass
            except _AnswerLost:
                if operation not in READS:
                    raise MaybeApplied("the answer was lost (simulated)", obj=target, phase=operation) from None
            try:
                return self._attempt(operation, target, work, own)
            except _NotReached:
                raise ConnectionFailed("the hypervisor cannot be reached (simulated)", obj=target, phase=operation) from None
            except _AnswerLost:
                if operation in READS:
                    raise ConnectionFailed("the connection was lost twice (simulated)", obj=target, phase=operation) from None
                raise MaybeApplied("the answer was lost (simulated)", obj=target, phase=operation) from None

    def silent(self, machines: Sequence[str]) -> frozenset[str]:
        """The machines whose answer to the readiness check fails this time."""
        percent = self.options.fail_percent.get("ready", 0.0)
        counts = self._store.count(answers_counted(self.options.faults, machines, percent > 0))
        failed = set()
        for (operation, machine), nth in counts.items():
            chance = draw(self.options.seed, operation, machine, nth)
            if scripted(self.options.faults, {(operation, machine): nth}) or chance.random() * 100 < percent:
                failed.add(machine)
        return frozenset(failed)

    def boot(self, machine: str) -> Boot:
        """How the machine's next boot goes."""
        options = self.options
        boot, drift = options.delays.get("boot", _INSTANTLY), options.delays.get("drift", _INSTANTLY)
        if boot[0] == boot[1] and not options.power_off_percent and not options.rename_percent:
            return Boot(boot[0])
        nth = self._store.count([("boot", machine)])["boot", machine]
        return plan_boot(draw(options.seed, "boot", machine, nth), boot, drift, options.power_off_percent, options.rename_percent)

    def shutdown_seconds(self, machine: str) -> float:
        """How long the machine takes to switch itself off when asked to."""
        least, most = self.options.delays.get("shutdown", _INSTANTLY)
        if least == most:
            return least
        nth = self._store.count([("shutdown", machine)])["shutdown", machine]
        return draw(self.options.seed, "shutdown", machine, nth).uniform(least, most)

    def spend(self, seconds: float, what: str, machine: str, deadline: Deadline | None = None) -> None:
        """Let time pass. :raises DeadlineExceeded: at the deadline, if that comes first."""
        if deadline is not None and seconds > deadline.remaining:
            self._clock.sleep(deadline.remaining)
            raise DeadlineExceeded(f"the operation {what} took too long", obj=machine, phase=what)
        if seconds > 0:
            self._clock.sleep(seconds)

    def _attempt(self, operation: str, target: str, work: Callable[[Decision], T], own: frozenset[FaultKind]) -> T:
        decision = self._decide(operation, target)
        fault = decision.fault
        if fault in (FaultKind.OUTAGE, FaultKind.SESSION_EXPIRED):
            self._logged_in = False
            raise _NotReached
        self._log_in()
        if fault is FaultKind.LOST_REQUEST:
            self._logged_in = False
            raise _AnswerLost
        if fault is FaultKind.LOST_ANSWER:
            with suppress(VirtError):  # that it failed is lost too
                work(Decision(None, decision.delay))
            self._logged_in = False
            raise _AnswerLost
        if fault is not None and fault not in own:
            self.spend(decision.delay, operation, target)
            kind, message = _REFUSALS[fault]
            raise kind(message, obj=target, phase=operation)
        return work(decision)

    def _decide(self, operation: str, target: str) -> Decision:
        options = self.options
        # What fails in a readiness check is each machine's own answer: see ``silent``.
        percent = 0.0 if operation == "ready" else options.fail_percent.get(operation, 0.0)
        delay = options.delays.get(operation, _INSTANTLY)
        drawn = percent > 0 or delay[0] != delay[1]
        counts = self._store.count(keys_counted(options.faults, operation, target, drawn))
        chance = draw(options.seed, operation, target, counts[operation, target]) if drawn else None
        return decide(options.faults, counts, chance, operation, percent, delay)

    def _log_in(self) -> None:
        with self._login:
            if not self._logged_in:
                self._stats.login()
                self._logged_in = True

    @contextmanager
    def _connection(self, operation: str, target: str) -> Iterator[None]:
        if self._slots is None:
            yield
            return
        if not self._slots.acquire(timeout=self.options.connection_timeout):
            seconds = f"{self.options.connection_timeout:g} s"
            raise ConnectionFailed(f"none of the connections came free within {seconds}", obj=target, phase=operation)
        try:
            yield
        finally:
            self._slots.release()
