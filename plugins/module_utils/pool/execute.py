# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Carry out a plan: bounded parallelism, one waiting loop for all machines, and an account of what became of each."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import Cancelled, DeadlineExceeded, MarkChanged, NameTaken, NotFound, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.pool.condition import still_made
from ansible_collections.poolwright.virt.plugins.module_utils.pool.machine import Maker
from ansible_collections.poolwright.virt.plugins.module_utils.pool.plan import FIRST_ROLLING_WAVE, Action, Kind
from ansible_collections.poolwright.virt.plugins.module_utils.pool.spec import PoolSpec, needs_address
from ansible_collections.poolwright.virt.plugins.module_utils.providers.base import Provider
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import Mark, MarkState
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import Readiness


@dataclass(frozen=True)
class Failure:
    """What could not be done to one machine."""

    name: str
    error: VirtError

    def as_dict(self) -> dict[str, str]:
        """``name, phase, code, message, hint``; the message says where the fault lies when not in the machine itself."""
        told = self.error.as_dict()
        if told["name"] not in ("", self.name):
            told["message"] = f"{told['name']}: {told['message']}"
        told["name"] = self.name
        return told


@dataclass
class PoolOutcome:
    """What a run did to one pool, by machine name."""

    done: dict[Kind, list[str]] = field(default_factory=lambda: defaultdict(list))
    failed: list[Failure] = field(default_factory=list)
    untouched: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Waiting:
    """A machine that was started and has not answered yet. ``fresh``: it has not been ready since it was made or reset, and goes if it fails."""

    spec: PoolSpec
    action: Action
    mark: Mark
    deadline: Deadline
    fresh: bool


class Executor:
    """Runs the actions of a plan. One instance serves one run; ``contested`` says that another party got in between."""

    def __init__(
        self,
        provider: Provider,
        specs: Mapping[str, PoolSpec],
        maker: Maker,
        clock: Clock,
        *,
        max_parallel: int,
        keep_failed: bool,
        deadline: Deadline,
        cancel: threading.Event,
    ) -> None:
        self._provider = provider
        self._specs = specs
        self._maker = maker
        self._clock = clock
        self._keep_failed = keep_failed
        self._max_parallel = max_parallel
        self._deadline = deadline
        self._cancel = cancel
        self._lock = threading.Lock()
        self._waiting: dict[str, _Waiting] = {}
        self._stopped: dict[str, VirtError] = {}
        self._preparing = threading.Lock()
        self._prepared: set[str] = set()
        self.outcomes: dict[str, PoolOutcome] = {name: PoolOutcome() for name in specs}
        self.contested = False

    def run(self, actions: Sequence[Action]) -> None:
        """Carry the actions out, wave by wave. Failures are in ``outcomes``; nothing is raised for them."""
        with self._threads() as threads:
            for number in sorted({action.wave for action in actions}):
                self._run_wave([action for action in actions if action.wave == number], threads)

    def _threads(self) -> AbstractContextManager[ThreadPoolExecutor | None]:
        # Without threads a run is reproducible to the call, which a seeded simulation relies on.
        return nullcontext() if self._max_parallel == 1 else ThreadPoolExecutor(self._max_parallel)

    def _run_wave(self, actions: Sequence[Action], threads: ThreadPoolExecutor | None) -> None:
        running: set[Future[None]] = set()
        for action in actions:
            if threads is None:
                self._do(action)
                self._collect(None, running)
            else:
                running.add(threads.submit(self._do, action))
        while running or self._waiting:
            finished = {future for future in running if future.done()}
            for future in finished:
                future.result()
            running -= finished
            if self._waiting and self._collect(threads, running):
                continue
            if self._waiting:
                self._clock.sleep(min(waiting.spec.ready.interval for waiting in self._snapshot()))
            elif running and not finished:
                wait(running, return_when=FIRST_COMPLETED)

    def _snapshot(self) -> list[_Waiting]:
        with self._lock:
            return list(self._waiting.values())

    # --- one action, in a worker thread

    def _do(self, action: Action) -> None:
        spec = self._specs[action.pool]
        hindrance = self._hindrance(action)
        if hindrance:
            self._leave(action, hindrance)
            return
        try:
            self._change(spec, action)
        except VirtError as exc:
            self._fail(action, exc)

    def _hindrance(self, action: Action) -> str:
        """Why an action is not begun, "" if it is."""
        outcome = self.outcomes[action.pool]
        if self._cancel.is_set():
            return "the run was told to stop"
        if self._deadline.passed:
            return "the run's time was up"
        if action.kind is not Kind.DESTROY and action.pool in self._stopped:
            return f"not tried after the same would have failed: {self._stopped[action.pool].message}"
        if action.wave >= FIRST_ROLLING_WAVE and (outcome.failed or outcome.untouched):
            return "the ready machine was kept since an earlier step of its pool failed"
        return ""

    def _change(self, spec: PoolSpec, action: Action) -> None:
        phase = {Kind.DESTROY: "destroy", Kind.START: "start", Kind.WAIT: "ready", Kind.RESET: "reset"}.get(action.kind, "create")
        with self._provider.stats.phase(phase):
            if action.kind is Kind.RESET and action.expected is not None:
                action = self._reset(spec, action, action.expected)
            if action.kind in (Kind.DESTROY, Kind.REPLACE) and action.expected is not None:
                self._maker.destroy(spec, action.name, action.expected)
            if action.kind is Kind.DESTROY:
                self._succeed(action)
                return
            if action.kind in (Kind.CREATE, Kind.REPLACE):
                mark = self._maker.create(spec, action.slot)
            elif action.expected is not None:
                mark = action.expected
            if action.kind is Kind.START:
                self._maker.start(spec, action.name, mark)
        fresh = mark.state is not MarkState.READY
        # A machine that another controller is making may not even run yet.
        if needs_address(spec.ready.check) or (action.kind is Kind.WAIT and mark.maker not in ("", self._provider.maker)):
            deadline = Deadline.after(self._clock, spec.ready.timeout).earlier(self._deadline)
            with self._lock:
                self._waiting[action.name] = _Waiting(spec, action, mark, deadline, fresh)
        else:
            self._finish(spec, action, mark)

    def _reset(self, spec: PoolSpec, action: Action, expected: Mark) -> Action:
        """Take the machine back to its snapshot; the action as it turned out, which is REPLACE where there is nothing to go back to."""
        mark = self._maker.begin_reset(spec, action.name, expected)
        try:
            self._maker.revert(spec, action.name, mark)
        except NotFound as exc:
            # What a rebuild needs was not looked at, since none was planned.
            with self._preparing:
                if spec.name not in self._prepared:
                    self._provider.check(spec.name, 0, self._deadline)
                    self._provider.prepare(spec.name, self._deadline)
                    self._prepared.add(spec.name)
            self._provider.warnings.append(f"{action.name}: it cannot be reset ({exc.message}) and is rebuilt")
            return replace(action, kind=Kind.REPLACE, expected=mark)
        return replace(action, expected=mark)

    def _finish(self, spec: PoolSpec, action: Action, mark: Mark) -> None:
        if mark.state is not MarkState.READY:
            self._maker.mark_ready(spec, action.name, mark)
        self._succeed(action)

    # --- readiness, for all waiting machines together, in the main thread

    def _collect(self, threads: ThreadPoolExecutor | None, running: set[Future[None]]) -> bool:
        """Ask all waiting machines once; True if any of them came to an end, well or ill."""
        moved = False
        for pool, group in self._by_pool().items():
            answers = self._ask(pool, list(group))
            for name, waiting in group.items():
                answer = answers.get(name, Readiness(False, reason="it could not be asked"))
                if answer.ready or waiting.deadline.passed or self._cancel.is_set():
                    moved = True
                    with self._lock:
                        del self._waiting[name]
                    if threads is None:
                        self._settle(waiting, answer)
                    else:
                        running.add(threads.submit(self._settle, waiting, answer))
        return moved

    def _by_pool(self) -> dict[str, dict[str, _Waiting]]:
        groups: dict[str, dict[str, _Waiting]] = defaultdict(dict)
        for waiting in self._snapshot():
            groups[waiting.spec.name][waiting.action.name] = waiting
        return groups

    def _ask(self, pool: str, names: list[str]) -> Mapping[str, Readiness]:
        try:
            with self._provider.stats.phase("ready"):
                return self._provider.readiness(pool, names)
        except VirtError as exc:
            if exc.transient:
                return {}
            return {name: Readiness(False, reason=exc.message) for name in names}

    def _settle(self, waiting: _Waiting, answer: Readiness) -> None:
        """Close the account of a machine that has answered, or has run out of time."""
        spec, action = waiting.spec, waiting.action
        try:
            if answer.ready:
                self._finish(spec, action, waiting.mark)
                return
            if self._cancel.is_set():
                raise Cancelled("the run was told to stop before it was ready; the next run goes on waiting", obj=action.name, phase="ready")
            left_to_another = waiting.mark.maker not in ("", self._provider.maker) and still_made(waiting.mark, self._clock.now())
            if waiting.fresh and not self._keep_failed and not left_to_another:
                self._maker.undo(spec, action.name, waiting.mark)
            raise DeadlineExceeded(
                f"it was not ready within {spec.ready.timeout:g} s: {answer.reason}",
                obj=action.name,
                phase="ready",
                hint="look at its console with keep_failed: true, or raise ready.timeout",
            )
        except VirtError as exc:
            self._fail(action, exc)

    # --- the account

    def _succeed(self, action: Action) -> None:
        with self._lock:
            self.outcomes[action.pool].done[action.kind].append(action.name)

    def _leave(self, action: Action, reason: str) -> None:
        with self._lock:
            self.outcomes[action.pool].untouched[action.name] = reason

    def _fail(self, action: Action, exc: VirtError) -> None:
        if isinstance(exc, (NameTaken, MarkChanged)):
            self.contested = True
            self._leave(action, exc.message)
            return
        with self._lock:
            self.outcomes[action.pool].failed.append(Failure(action.name, exc))
            if exc.config:
                self._stopped.setdefault(action.pool, exc)
