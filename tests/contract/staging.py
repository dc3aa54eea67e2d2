# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What the contract cases share: short words for the steps they take on a lab."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.providers.base import Provider
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import Lease, Mark, MarkState, new_machine_id
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import Machine, PoolTemplate
from ansible_collections.poolwright.virt.tests.contract.labs.base import Lab

LONG = 600.0  # seconds: more than anything a lab's machine takes


class Stage:
    """A lab in use by one case. ``provider`` serves the pool ``ci`` (``template``), whose machines are ci-1, ci-2, ..."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.clock = lab.clock
        self.template = lab.template("ci")
        self.provider = lab.provider([self.template])
        self._children: list[subprocess.Popen[str]] = []

    def deadline(self, seconds: float = LONG) -> Deadline:
        return Deadline.after(self.clock, seconds)

    def mark(self, slot: int = 1, pool: str = "ci") -> Mark:
        return Mark(pool=pool, slot=slot, id=new_machine_id(pool), spec_hash="abc", image="tiny", created_at=self.clock.now())

    def make(self, slot: int = 1, template: PoolTemplate | None = None, provider: Provider | None = None) -> Machine:
        """A machine of the pool, made as a run makes it."""
        template, provider = template or self.template, provider or self.provider
        provider.prepare(template.name, self.deadline())
        return provider.create_vm(template.name, template.vm_name(slot), self.mark(slot, template.name), self.deadline())

    def ready(self, slot: int = 1) -> Machine:
        """A machine that was seen ready."""
        made = self.make(slot)
        self.until(lambda: self.provider.vm_ready("ci", made.name))
        mark = mark_of(made)
        self.provider.set_mark("ci", made.name, mark.as_state(MarkState.READY), mark)
        return self.get(made.name)

    def start(self, name: str) -> None:
        """Have a machine running that carries the mark which it has now, or one of the pool where it has none."""
        machine = self.provider.get_vm("ci", name)
        mark = None if machine is None else machine.mark
        self.provider.start_vm("ci", name, mark or self.mark(1))

    def lease(self, machine: Machine) -> Mark:
        """Hand the machine out; its new mark."""
        mark = mark_of(machine)
        leased = replace(mark, lease=Lease("somebody"))
        self.provider.set_mark(mark.pool, machine.name, leased, mark)
        return leased

    def get(self, name: str, pool: str = "ci") -> Machine:
        machine = self.provider.get_vm(pool, name)
        assert machine is not None, f"{name} is gone"
        return machine

    def listed(self, pool: str = "ci") -> list[str]:
        return [machine.name for machine in self.provider.vms_in_pool(pool)]

    def until(self, holds: Callable[[], bool], seconds: float = LONG) -> None:
        deadline = self.deadline(seconds)
        while not holds():
            assert not deadline.passed, f"not so within {seconds} s"
            self.clock.sleep(0.25)

    def mutations(self, provider: Provider | None = None) -> int:
        return sum(self.lab.mutating_calls(provider or self.provider).values())

    def calls(self, ask: Callable[[Provider], object], pools: list[PoolTemplate] | None = None) -> int:
        """How many calls a fresh provider makes for one request."""
        provider = self.lab.provider(pools or [self.template])
        ask(provider)
        return sum(provider.stats.as_dict()["calls"].values())

    def waiting_provider(self) -> Provider:
        """A provider on the system's clock, for cases in which one run really waits for another."""
        return self.lab.provider([self.template], Clock())

    def child(self, task: str) -> subprocess.Popen[str]:
        """Another process that works on this lab; it has begun its task when this returns."""
        command = [sys.executable, str(Path(__file__).with_name("child.py")), self.lab.name, self.lab.address(), task]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, env=environment)
        self._children.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == "begun\n", "the other process failed; its error is above"
        return child

    def kill(self, child: subprocess.Popen[str]) -> None:
        child.send_signal(signal.SIGKILL)
        child.wait()

    def end(self) -> None:
        for child in self._children:
            if child.poll() is None:
                self.kill(child)
            if child.stdout is not None:
                child.stdout.close()


def mark_of(machine: Machine) -> Mark:
    assert machine.mark is not None, f"{machine.name} carries no mark"
    return machine.mark
