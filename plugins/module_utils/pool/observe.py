# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Look at a pool: one bulk read, and the readiness check for the machines that have passed it before."""

from __future__ import annotations

from functools import partial

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import IncompleteAnswer
from ansible_collections.poolwright.virt.plugins.module_utils.pool.condition import Observed
from ansible_collections.poolwright.virt.plugins.module_utils.pool.retry import repeat, transient
from ansible_collections.poolwright.virt.plugins.module_utils.pool.spec import PoolSpec, needs_address
from ansible_collections.poolwright.virt.plugins.module_utils.providers.base import Provider
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import MarkState
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import Machine, Power, Readiness


def observe(provider: Provider, spec: PoolSpec, clock: Clock) -> list[Observed]:
    """The pool's machines with the answers to its check, sorted as the provider gives them.

    A machine that does not answer is asked again until ``ready.grace`` seconds have passed: it may just be rebooting.
    :raises IncompleteAnswer: also when a machine is listed twice, since such a listing cannot be trusted.
    """
    machines = repeat(partial(_list, provider, spec.name), clock, transient)
    answers = _answers(provider, spec, [machine.name for machine in machines if _askable(spec, machine, clock.now())], clock)
    return [Observed(machine, answers.get(machine.name), _elsewhere(provider, machine)) for machine in machines]


def _elsewhere(provider: Provider, machine: Machine) -> bool:
    return machine.mark is not None and machine.mark.maker not in ("", provider.maker)


def _list(provider: Provider, pool: str) -> list[Machine]:
    machines = provider.vms_in_pool(pool)
    if len({machine.name for machine in machines}) != len(machines):
        raise IncompleteAnswer("the listing names a machine twice", obj=pool, phase="observe")
    return machines


def _askable(spec: PoolSpec, machine: Machine, now: float) -> bool:
    mark = machine.mark
    return (
        needs_address(spec.ready.check)
        and mark is not None
        and mark.pool == spec.name
        and spec.in_range(mark.slot)
        and mark.state is MarkState.READY
        and not (mark.lease and mark.lease.holds(now))
        and machine.power is Power.RUNNING
        and not machine.broken
    )


def _answers(provider: Provider, spec: PoolSpec, names: list[str], clock: Clock) -> dict[str, Readiness]:
    answers: dict[str, Readiness] = {}
    deadline = Deadline.after(clock, spec.ready.grace)
    silent = names
    while silent:
        answers.update(repeat(partial(provider.readiness, spec.name, silent), clock, transient))
        silent = [name for name in silent if not answers[name].ready]
        if not silent or deadline.passed:
            break
        clock.sleep(min(spec.ready.interval, max(deadline.remaining, 0.01)))
    return answers
