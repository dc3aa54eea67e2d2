# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The lab of the dummy provider: an SQLite file in the lab's folder."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline, InstantClock
from ansible_collections.poolwright.virt.plugins.module_utils.dummy.config import DummyOptions
from ansible_collections.poolwright.virt.plugins.module_utils.dummy.faults import FOREVER, Fault, FaultKind
from ansible_collections.poolwright.virt.plugins.module_utils.dummy.line import Line
from ansible_collections.poolwright.virt.plugins.module_utils.dummy.store import Row, Store
from ansible_collections.poolwright.virt.plugins.module_utils.errors import OperationFailed
from ansible_collections.poolwright.virt.plugins.module_utils.providers import dummy
from ansible_collections.poolwright.virt.plugins.module_utils.providers.base import Provider
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import Mark
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import MachineSpec, NetworkSpec, PoolTemplate
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats
from ansible_collections.poolwright.virt.tests.contract.labs.base import Ability, Lab

_MEMORY_MB = 65536

OPERATION_OF = {
    "vms_in_pool": "list",
    "marked_pools": "list",
    "get_vm": "get",
    "readiness": "ready",
    "create_vm": "create",
    "destroy_vm": "destroy",
    "start_vm": "start",
    "set_mark": "mark",
}


class DummyLab(Lab):
    name = "dummy"
    declared = dummy.CAPABILITIES
    abilities = frozenset(Ability)

    def __init__(self, folder: Path, clock: Clock) -> None:
        super().__init__(folder, clock)
        self._path = folder / "dummy.sqlite"
        self._providers: list[dummy.DummyProvider] = []
        self._store: Store | None = None

    @classmethod
    def make_clock(cls) -> Clock:
        return InstantClock()

    def start(self) -> None:
        self._store = Store(str(self._path))

    def cleanup(self) -> None:
        for provider in self._providers:
            provider.close()
        if self._store is not None:
            self._store.close()
        for path in self.folder.glob(f"{self._path.name}*"):
            path.unlink()

    def provider(self, pools: Sequence[PoolTemplate], clock: Clock | None = None) -> Provider:
        clock = clock or self.clock
        # Only on a made-up clock does a slow boot cost nothing.
        delays = {"boot": (20.0, 20.0)} if isinstance(clock, InstantClock) else {}
        provider = dummy.DummyProvider(pools, clock, Stats(clock), path=str(self._path), options=DummyOptions(delays=delays, memory_mb=_MEMORY_MB))
        self._providers.append(provider)
        return provider

    def other_host(self, host: str) -> str:
        return next(name for name in DummyOptions().hosts if name != host)

    def machine(self) -> MachineSpec:
        return MachineSpec(memory_mb=64, networks=(NetworkSpec(network=self.network),))

    @property
    def network(self) -> str:
        return "default"

    def mutating_calls(self, provider: Provider) -> Mapping[str, int]:
        return {name: calls for name, calls in provider.stats.as_dict()["calls"].items() if name in dummy.MUTATING}

    def machines(self) -> set[str]:
        return {seen.row.name for seen in self.store.everything()}

    def fingerprint(self, name: str) -> str:
        return repr((self.store.machine(name), self.store.disks(name), self.store.snapshots(name)))

    def leftovers(self) -> list[str]:
        files = {path.name for path in self.folder.iterdir()} - {self._path.name + end for end in ("", "-wal", "-shm")}
        return self.store.leftovers() + sorted(files)

    def put_foreign(self, name: str) -> None:
        self.store.insert(Row(name=name, host="host-1"))
        self.store.add_disk(name, 1.0, lambda row: None)

    def disks(self, name: str) -> int:
        return len(self.store.disks(name))

    def power_off(self, name: str) -> None:
        self.store.change(name, lambda seen: replace(seen.row, power="off"))

    def hold_addresses(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()  # Its time only passes where a case lets it.

    def pause(self, name: str) -> None:
        self.store.change(name, lambda seen: replace(seen.row, power="paused"))

    def undefine(self, name: str) -> None:
        self.store.delete(name)

    def lose_disk(self, name: str) -> None:
        self.power_off(name)
        self.store.drop_disk(name)

    def half_make(self, provider: Provider, pool: str, vm: str, mark: Mark) -> None:
        self._script(provider, FaultKind.HALF_MADE, "create")
        with contextlib.suppress(OperationFailed):
            provider.create_vm(pool, vm, mark, Deadline.after(self.clock, 60))

    def half_destroy(self, provider: Provider, pool: str, vm: str) -> None:
        machine = provider.get_vm(pool, vm)
        assert machine is not None and machine.mark is not None
        self._script(provider, FaultKind.FAIL, "destroy")
        with contextlib.suppress(OperationFailed):
            provider.destroy_vm(pool, vm, machine.mark)

    def lose_answer(self, provider: Provider, method: str) -> None:
        self._script(provider, FaultKind.LOST_ANSWER, OPERATION_OF[method])

    def expire_session(self, provider: Provider) -> None:
        self._script(provider, FaultKind.SESSION_EXPIRED, "")

    def cut_off(self, provider: Provider) -> None:
        self._script(provider, FaultKind.OUTAGE, "", lasting=True)

    def reconnect(self, provider: Provider) -> None:
        line = _line(provider)
        line.options = replace(line.options, faults=())

    def truncate_listing(self, provider: Provider) -> None:
        self._script(provider, FaultKind.PARTIAL_LISTING, "list")

    def address(self) -> str:
        return str(self.folder)

    @classmethod
    def attach(cls, address: str) -> DummyLab:
        lab = cls(Path(address), Clock())
        lab.start()
        return lab

    @property
    def store(self) -> Store:
        assert self._store is not None, "the lab was not started"
        return self._store

    def _script(self, provider: Provider, kind: FaultKind, operation: str, *, lasting: bool = False) -> None:
        line, nth = _line(provider), self.store.counted((operation, "")) + 1
        fault = Fault(kind, operation, first=nth, last=FOREVER if lasting else nth)
        line.options = replace(line.options, faults=(*line.options.faults, fault))


def _line(provider: Provider) -> Line:
    assert isinstance(provider, dummy.DummyProvider)
    return provider.line
