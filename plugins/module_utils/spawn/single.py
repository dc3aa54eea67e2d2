# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""One run for one machine of a provider that pools use: look, plan, carry out; and take it back where that fails."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import Cancelled, DeadlineExceeded, MaybeApplied, NameTaken, OperationFailed, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.pool.retry import repeat, transient
from ansible_collections.poolwright.virt.plugins.module_utils.pool.spec import spec_hash
from ansible_collections.poolwright.virt.plugins.module_utils.providers.base import Provider
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import Mark, MarkState, new_machine_id
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import Check, Machine, PoolTemplate, Power, Readiness, ReadyCheck
from ansible_collections.poolwright.virt.plugins.module_utils.spawn.plan import Plan, Step, plan

_LOCK_SECONDS = 600.0
_INTERVAL = 0.5


class NeedsRebuild(OperationFailed):
    """The machine cannot become what is described; another one can."""

    code = "needs_rebuild"
    config = True


@dataclass(frozen=True)
class Options:
    """What a run may do; ``address_seconds`` is how long an address is waited for, None for not at all."""

    state: str
    check_mode: bool = False
    recreate: bool = False
    keep_failed: bool = False
    timeout: float = 3600.0
    address_seconds: float | None = None


def spawn_single(provider: Provider, template: PoolTemplate, options: Options, clock: Clock, cancel: threading.Event) -> dict[str, Any]:
    """Bring the machine about, or in check mode say what that takes; the module's result.

    :raises VirtError: nothing was changed.
    """
    run = _Run(provider, template, options, clock, cancel)
    wait = Deadline.after(clock, min(_LOCK_SECONDS, options.timeout))
    with nullcontext() if options.check_mode else provider.exclusive([template.name], wait):
        return run.result()


class _Run:
    def __init__(self, provider: Provider, template: PoolTemplate, options: Options, clock: Clock, cancel: threading.Event) -> None:
        self._provider = provider
        self._template = template
        self._pool, self._name = template.name, template.vm_name(1)
        self._options = options
        self._clock = clock
        self._cancel = cancel
        self._deadline = Deadline.after(clock, options.timeout)
        self._begun = False
        self._undone: list[str] = []
        self._left: list[str] = []

    def result(self) -> dict[str, Any]:
        stats = self._provider.stats
        with stats.phase("observe"):
            machine = self._look()
        found = plan(self._pool, self._options.state, machine, spec_hash(self._template.machine))
        if found.rebuild and not self._options.recreate:
            hint = "allow it with recreate: true, which removes the machine and makes it anew"
            raise NeedsRebuild(f"this takes another machine: {found.rebuild}; nothing was changed", obj=self._name, phase="plan", hint=hint)
        if any(step.name in ("create", "recreate") for step in found.steps):
            with stats.phase("check"):
                self._provider.check(self._pool, 0 if machine is not None else 1, self._deadline)
        failure: VirtError | None = None
        now, address = machine, Readiness(False)
        if not self._options.check_mode:
            try:
                now, address = self._carry_out(machine, found)
            except VirtError as exc:
                if not self._begun:
                    raise
                failure, now = exc, self._look()
        return self._account(machine, now, found, address, failure)

    def _look(self) -> Machine | None:
        return repeat(partial(self._provider.get_vm, self._pool, self._name), self._clock, transient)

    def _carry_out(self, machine: Machine | None, found: Plan) -> tuple[Machine | None, Readiness]:
        for step in found.steps:
            with self._provider.stats.phase(step.name):
                self._do(step, machine)
        now = self._look() if found.steps else machine
        address = Readiness(False)
        if self._options.address_seconds is not None and self._options.state == "poweredon":
            with self._provider.stats.phase("address"):
                address = self._await_address()
        return now, address

    def _do(self, step: Step, machine: Machine | None) -> None:
        mark = None if machine is None else machine.mark
        if step.name == "power on":
            if mark is not None:  # always: only what carries our mark is switched on
                self._provider.start_vm(self._pool, self._name, mark)
        elif step.name == "power off":
            self._provider.stop_vm(self._pool, self._name)
        else:
            if step.name != "remove":
                self._provider.prepare(self._pool, self._deadline)
            if mark is not None:
                self._begun = step.name != "remove"
                self._destroy(mark)
            if step.name != "remove":
                self._make()

    def _destroy(self, mark: Mark) -> bool:
        return repeat(partial(self._provider.destroy_vm, self._pool, self._name, mark), self._clock, lambda exc: not exc.config)

    def _make(self) -> None:
        if self._cancel.is_set():
            raise Cancelled("the run was told to stop", obj=self._name, phase="create")
        machine, image = self._template.machine, self._template.machine.image
        mark = Mark(
            pool=self._pool,
            slot=1,
            id=new_machine_id(self._pool),
            spec_hash=spec_hash(machine),
            image="" if image is None else str(image),
            created_at=self._clock.now(),
            name=self._name,
        )
        try:
            self._create(mark)
            self._provider.set_mark(self._pool, self._name, mark.as_state(MarkState.READY), mark)
            if self._options.address_seconds is not None and self._options.state == "poweredon":
                self._await_address()
        except NameTaken:
            raise
        except VirtError:
            self._begun = True
            self._undo(mark)
            raise

    def _create(self, mark: Mark) -> None:
        try:
            self._provider.create_vm(self._pool, self._name, mark, self._deadline)
        except MaybeApplied:
            made = self._look()
            ours = made is not None and made.mark is not None and made.mark.id == mark.id
            if made is None or not ours or (made.power is Power.OFF and self._template.machine.power_on):
                raise

    def _undo(self, mark: Mark) -> None:
        if self._options.keep_failed:
            self._left.append(f"the machine {self._name} was kept")
            return
        try:
            now = self._look()
            if now is not None and now.mark is not None and now.mark.id == mark.id and self._destroy(now.mark):
                self._undone.append(f"removed the machine {self._name}")
            self._provider.tidy(self._pool)
        except VirtError as exc:
            self._left.append(f"the machine {self._name} could not be removed: {exc}; the next run will")

    def _await_address(self) -> Readiness:
        """:raises DeadlineExceeded: it has none in time."""
        until = Deadline.after(self._clock, self._options.address_seconds or 0.0).earlier(self._deadline)
        while True:
            found = repeat(partial(self._provider.readiness, self._pool, [self._name]), self._clock, transient)[self._name]
            if found.ready:
                return found
            if until.passed or self._cancel.is_set():
                raise DeadlineExceeded(
                    f"it had no address in time: {found.reason}", obj=self._name, phase="address", hint="allow more time with address_timeout"
                )
            self._clock.sleep(min(_INTERVAL, max(until.remaining, 0.01)))

    # -- the account

    def _account(self, before: Machine | None, now: Machine | None, found: Plan, address: Readiness, failure: VirtError | None) -> dict[str, Any]:
        after = self._predicted(before, found)
        result: dict[str, Any] = {
            "changed": bool(found.steps) if failure is None else bool(self._left) or before != now,
            "actions": [step.as_dict() for step in found.steps],
            "state": self._options.state,
            **self._view(now, address),
            "diff": {"before": _line(before), "after": after if found.steps else _line(before)},
            "undone": self._undone,
            "left": self._left,
            "kept": [],
            "stats": self._provider.stats.as_dict(),
            "warnings": self._provider.warnings,
        }
        if failure is not None:
            result |= {"failures": [str(failure)], "failure": failure.as_dict()}
        return result

    def _view(self, machine: Machine | None, address: Readiness) -> dict[str, Any]:
        mark = None if machine is None else machine.mark
        ip = address.ip or ("" if machine is None else machine.ip)
        spec = self._template.machine
        there = machine is not None
        return {
            "name": self._name,
            "uuid": "" if mark is None else mark.id,
            "instance_uuid": "" if mark is None else mark.id,
            "moid": "",
            "power": machine.power.value if machine is not None else "",
            "ip": ip,
            "addresses": [ip] if ip else [],
            "host": machine.host if machine is not None else "",
            "folder": "",
            "datastore_path": "",
            "disks": [{"path": "", "size_gb": disk.size_gb} for disk in (spec.disk, *spec.disks)] if there and (spec.disk.size_gb or spec.disks) else [],
            "networks": [{"network": card.network or card.bridge, "model": card.model, "mac": ""} for card in spec.networks] if there else [],
            "image": "" if mark is None else mark.image,
            "template": "",
        }

    def _predicted(self, before: Machine | None, found: Plan) -> str:
        names: Mapping[str, Step] = {step.name: step for step in found.steps}
        if "remove" in names:
            return ""
        if "create" in names or "recreate" in names:
            machine = self._template.machine
            image = "" if machine.image is None else str(machine.image)
            return _told(self._name, image, "running" if machine.power_on else "off", spec_hash(machine))
        if before is None or before.mark is None:
            return ""
        power = "running" if "power on" in names else "off" if "power off" in names else before.power.value
        return _told(self._name, before.mark.image, power, before.mark.spec_hash)


def _line(machine: Machine | None) -> str:
    return "" if machine is None or machine.mark is None else _told(machine.name, machine.mark.image, machine.power.value, machine.mark.spec_hash)


def _told(name: str, image: str, power: str, digest: str) -> str:
    made_of = f"image {image}, " if image else ""
    return f"{name}: {power} ({made_of}spec {digest})\n"


def with_address_check(template: PoolTemplate, wanted: bool) -> PoolTemplate:
    """The template whose readiness is an address, where one is waited for."""
    return replace(template, ready=ReadyCheck(check=Check.IP)) if wanted else template
