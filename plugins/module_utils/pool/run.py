# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""One run over any number of pools: look, plan, guard, carry out, account."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec, VirtError, telling_where
from ansible_collections.poolwright.virt.plugins.module_utils.pool import difference, view
from ansible_collections.poolwright.virt.plugins.module_utils.pool.condition import Condition, Observed
from ansible_collections.poolwright.virt.plugins.module_utils.pool.execute import Executor, PoolOutcome
from ansible_collections.poolwright.virt.plugins.module_utils.pool.machine import Maker
from ansible_collections.poolwright.virt.plugins.module_utils.pool.observe import observe
from ansible_collections.poolwright.virt.plugins.module_utils.pool.plan import Action, Kind, Plan, Taken, merge, plan
from ansible_collections.poolwright.virt.plugins.module_utils.pool.spec import PoolSpec, Reset, Share
from ansible_collections.poolwright.virt.plugins.module_utils.providers.base import Provider
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import is_single

# How often a run looks again after another party took a slot or changed a mark while it worked.
_ROUNDS = 3


class TooManyDeletions(VirtError):
    """The plan would remove more machines than the user allows; nothing was touched."""

    code = "max_delete"
    config = True


@dataclass(frozen=True)
class Request:
    """What one run is asked to do. ``timeout`` is in seconds for the whole run."""

    specs: Sequence[PoolSpec] = ()
    every_pool_absent: bool = False
    check_mode: bool = False
    max_parallel: int = 8
    max_delete: Share | None = None
    keep_failed: bool = False
    timeout: float = 3600.0
    lock_timeout: float = 600.0


@dataclass(frozen=True)
class Report:
    """What a run saw and did, in the shapes that a module returns."""

    changed: bool
    actions: list[dict[str, Any]]
    pools: dict[str, dict[str, Any]]
    diff: dict[str, str]
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Look:
    """One observation of all pools and the plans that follow from it."""

    observed: Mapping[str, list[Observed]]
    plans: Mapping[str, Plan]

    @property
    def actions(self) -> tuple[Action, ...]:
        return merge(self.plans)

    @property
    def taken(self) -> list[Taken]:
        return [slot for one in self.plans.values() for slot in one.taken]


def converge(provider: Provider, request: Request, clock: Clock, cancel: threading.Event) -> Report:
    """Bring the declared pools about, or in check mode say what that would take.

    :raises VirtError: nothing was changed: the provider could not be reached, a pool is held by another run,
        the request cannot be met, or it would remove more than allowed. Failures of single machines are in the report.
    """
    if not provider.capabilities().snapshots:
        wrong = [spec.name for spec in request.specs if spec.reset is Reset.SNAPSHOT]
        if wrong:
            raise InvalidSpec([f"pool {name!r}: reset: the provider {provider.name} takes no snapshots; use rebuild" for name in wrong])
    specs = list(request.specs) + (_found_pools(provider, request.specs) if request.every_pool_absent else [])
    run = _Run(provider, {spec.name: spec for spec in specs}, request, clock, cancel)
    with run.exclusive():
        return run.report()


def read(provider: Provider, specs: Sequence[PoolSpec], clock: Clock) -> dict[str, dict[str, Any]]:
    """The pools as they stand, as ``vm_pool_info`` shows them; ``specs`` empty: every pool that has a machine."""
    if not specs:
        specs = [replace(spec, present=True, described=False) for spec in _found_pools(provider, ())]
    with provider.stats.phase("observe"):
        seen = {spec.name: observe(provider, spec, clock) for spec in specs}
    now = clock.now()
    return {spec.name: view.pool_view(spec, seen[spec.name], now) for spec in specs}


def _found_pools(provider: Provider, known: Iterable[PoolSpec]) -> list[PoolSpec]:
    names = {spec.name for spec in known}
    with provider.stats.phase("observe"):
        templates = [template for template in provider.marked_pools() if template.name not in names and not is_single(template.name)]
    provider.serve(templates)
    return [PoolSpec(name=template.name, prefix=template.prefix, present=False) for template in templates]


class _Run:
    """The steps of one run, in the order ``report`` takes them."""

    def __init__(self, provider: Provider, specs: dict[str, PoolSpec], request: Request, clock: Clock, cancel: threading.Event) -> None:
        self._provider = provider
        self._specs = specs
        self._request = request
        self._clock = clock
        self._cancel = cancel
        self._deadline = Deadline.after(clock, request.timeout)

    def exclusive(self) -> AbstractContextManager[None]:
        """A run holds its pools; check mode changes nothing, so it need not wait for anybody."""
        if self._request.check_mode or not self._specs:
            return nullcontext()
        wait = Deadline.after(self._clock, self._request.lock_timeout).earlier(self._deadline)
        return self._provider.exclusive(list(self._specs), wait)

    def report(self) -> Report:
        first = self._look()
        self._guard(first)
        self._check(first)
        before = self._lines(first)
        if self._request.check_mode:
            return self._foretell(first, before)
        if not first.actions:
            self._tidy(name for name, spec in self._specs.items() if not spec.present)
            return self._account(first, first, before, {name: PoolOutcome() for name in self._specs}, [])
        self._prepare(first)
        look, actions, outcomes = first, list(first.actions), {name: PoolOutcome() for name in self._specs}
        for further in reversed(range(_ROUNDS)):
            executor = self._executor()
            executor.run(look.actions)
            _add(outcomes, executor.outcomes)
            look = self._look()
            if not executor.contested or (look.actions and (not further or self._deadline.passed)):
                break
            # What was left to others is looked at anew: they have done it, or it is among the actions again.
            for outcome in outcomes.values():
                outcome.untouched.clear()
            if not look.actions:
                break
            self._guard(look)
            actions += look.actions
        self._tidy(self._specs)
        return self._account(first, look, before, outcomes, actions)

    def _tidy(self, pools: Iterable[str]) -> None:
        """Housekeeping after a run that changes its pools anyway; one that finds all well changes nothing at all."""
        with self._provider.stats.phase("tidy"):
            for name in pools:
                try:
                    self._provider.tidy(name)
                except VirtError as exc:
                    self._provider.warnings.append(f"{name}: what removed machines left behind stays: {exc}")

    def _look(self) -> _Look:
        with self._provider.stats.phase("observe"):
            observed = {name: observe(self._provider, spec, self._clock) for name, spec in self._specs.items()}
        with self._provider.stats.phase("plan"):
            now = self._clock.now()
            plans = {name: plan(spec, observed[name], now) for name, spec in self._specs.items()}
        return _Look(observed, plans)

    def _guard(self, look: _Look) -> None:
        """Refuse a plan that removes more than ``max_delete``, which counts over all pools of the run."""
        limit = self._request.max_delete
        if limit is None:
            return
        doomed = [action.name for one in look.plans.values() for action in one.deletions]
        ours = sum(1 for one in look.plans.values() for _name, judged in one.assessments if judged.condition is not Condition.FOREIGN)
        if len(doomed) > limit.of(ours):
            shown = ", ".join(doomed[:10]) + (f" and {len(doomed) - 10} more" if len(doomed) > 10 else "")
            raise TooManyDeletions(
                f"the run would remove or replace {len(doomed)} of {ours} machines ({shown}), max_delete allows {limit}; nothing was touched",
                phase="plan",
                hint="look at the plan with --check, then raise max_delete if it is what you want",
            )

    def _check(self, look: _Look) -> None:
        with self._provider.stats.phase("check"):
            for name, making in self._making(look).items():
                with telling_where("pools"), telling_where(name):
                    self._provider.check(name, making, self._deadline)

    def _prepare(self, look: _Look) -> None:
        with self._provider.stats.phase("prepare"):
            for name in self._making(look):
                with telling_where("pools"), telling_where(name):
                    self._provider.prepare(name, self._deadline)

    def _making(self, look: _Look) -> dict[str, int]:
        """How many machines more than now each pool will have at a time, for pools that make any at all.

        A replaced machine gives back what its successor takes.
        """
        making = {}
        for name, one in look.plans.items():
            kinds = [action.kind for action in one.actions]
            if Kind.CREATE in kinds or Kind.REPLACE in kinds:
                making[name] = kinds.count(Kind.CREATE)
        return making

    def _executor(self) -> Executor:
        return Executor(
            self._provider,
            self._specs,
            Maker(self._provider, self._clock, keep_failed=self._request.keep_failed),
            self._clock,
            max_parallel=self._request.max_parallel,
            keep_failed=self._request.keep_failed,
            deadline=self._deadline,
            cancel=self._cancel,
        )

    # --- the account

    def _lines(self, look: _Look) -> dict[str, dict[str, str]]:
        now = self._clock.now()
        return {name: difference.machine_lines(spec, look.observed[name], now) for name, spec in self._specs.items()}

    def _foretell(self, look: _Look, before: dict[str, dict[str, str]]) -> Report:
        after = difference.predict(self._specs, before, look.plans)
        forecasts = {name: view.forecast(one.actions) for name, one in look.plans.items()}
        return self._report(look, list(look.actions), forecasts, difference.as_diff(before, after), bool(look.actions))

    def _account(self, first: _Look, last: _Look, before: dict[str, dict[str, str]], outcomes: Mapping[str, PoolOutcome], actions: list[Action]) -> Report:
        accounts = {name: view.account(self._specs[name], outcome) for name, outcome in outcomes.items()}
        after = before if last is first else self._lines(last)
        changed = any(names for outcome in outcomes.values() for names in outcome.done.values()) or after != before
        return self._report(last, actions, accounts, difference.as_diff(before, after), changed)

    def _report(self, look: _Look, actions: list[Action], accounts: Mapping[str, dict[str, Any]], diff: dict[str, str], changed: bool) -> Report:
        now = self._clock.now()
        pools, failures = {}, []
        for name, spec in self._specs.items():
            shown = view.pool_view(spec, look.observed[name], now) | accounts[name]
            shown["failed"] = shown["failed"] + view.taken_failures(look.plans[name].taken)
            failures += [_sentence(failed) for failed in shown["failed"]]
            failures += [f"{machine}: {reason}" for machine, reason in shown["untouched"].items()]
            if look.plans[name].kept:
                self._provider.warnings.append(f"pool {name!r}: {look.plans[name].kept}")
            pools[name] = shown
        return Report(changed, [action.as_dict() for action in actions], pools, diff, failures)


def _sentence(failed: Mapping[str, str]) -> str:
    hint = f" ({failed['hint']})" if failed["hint"] else ""
    return f"{failed['name']}: {failed['message']}{hint}"


def _add(total: dict[str, PoolOutcome], more: Mapping[str, PoolOutcome]) -> None:
    for name, outcome in more.items():
        for kind, names in outcome.done.items():
            total[name].done[kind] += names
        total[name].failed += outcome.failed
        total[name].untouched.update(outcome.untouched)
