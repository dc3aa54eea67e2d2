# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The provider for a hypervisor that is not there: machines are rows in an SQLite file, shared by threads and processes.

It behaves as a real one does where that matters to a pool: names are unique, a machine carries its mark from its first
moment, making and removing one takes several steps, and anything can fail at any of them, as scripted or by chance.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import NoReturn, TypeVar

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline, InstantClock
from ansible_collections.poolwright.virt.plugins.module_utils.dummy import hosts
from ansible_collections.poolwright.virt.plugins.module_utils.dummy.config import DummyOptions
from ansible_collections.poolwright.virt.plugins.module_utils.dummy.faults import Decision, FaultKind
from ansible_collections.poolwright.virt.plugins.module_utils.dummy.line import Line
from ansible_collections.poolwright.virt.plugins.module_utils.dummy.store import ROOT_DISK, Row, Seen, Store, Usage
from ansible_collections.poolwright.virt.plugins.module_utils.errors import MarkChanged, NotFound, OperationFailed
from ansible_collections.poolwright.virt.plugins.module_utils.locks import FileLock
from ansible_collections.poolwright.virt.plugins.module_utils.providers.base import Provider
from ansible_collections.poolwright.virt.plugins.module_utils.providers.dummy_rows import (
    address_of,
    booted,
    machine_of,
    own_mark,
    power_of,
    read_mark,
    readiness_of,
    slot_in,
    switched_off,
    write_mark,
)
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import Mark, MarkState, require_same
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import (
    Capabilities,
    Check,
    Machine,
    MachineSpec,
    MigrationTimings,
    PoolTemplate,
    Power,
    Readiness,
)
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats

T = TypeVar("T")

# The calls in ``Stats`` that change something on the hypervisor; all others read.
MUTATING = frozenset(
    {
        "insert_machine",
        "insert_disk",
        "power_on",
        "resume",
        "reset",
        "power_off",
        "set_mark",
        "delete_machine",
        "migrate_machine",
        "insert_snapshot",
        "revert_snapshot",
    }
)

CAPABILITIES = Capabilities(
    checks=frozenset(Check),
    backends=frozenset({"flat", "qcow2", "lvm", "rbd", "ploop"}),
    disks=True,
    snapshots=True,
    migration=True,
    seed=True,
)

_FIRST_INSTANT = 1_700_000_000.0


def make_clock(options: DummyOptions, path: str) -> Clock:
    """The clock that the options ask for. An instant one goes on from where the last run on this database left it."""
    if not options.instant:
        return Clock()
    store = Store(path)
    try:
        return InstantClock(max(_FIRST_INSTANT, store.latest_time()))
    finally:
        store.close()


class DummyProvider(Provider):
    """Machines in the database ``path``, which behave as ``options`` say.

    :raises ConnectionFailed: the path cannot be used.
    """

    name = "dummy"

    def __init__(self, pools: Sequence[PoolTemplate], clock: Clock, stats: Stats, *, path: str, options: DummyOptions) -> None:
        super().__init__(pools, clock, stats)
        self.store = Store(path)
        self.line = Line(options, self.store, clock, stats)

    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    def exclusive(self, pools: Iterable[str], deadline: Deadline) -> AbstractContextManager[None]:
        return self._exclusive(sorted(self.pool(pool).name for pool in set(pools)), deadline)

    @contextmanager
    def _exclusive(self, pools: Sequence[str], deadline: Deadline) -> Iterator[None]:
        with ExitStack() as held:
            # Always in the same order, so that two runs over the same pools cannot wait for each other.
            for pool in pools:
                path = f"{self.store.path}.{urllib.parse.quote(pool, safe='')}.lock"
                held.enter_context(FileLock(path, self.clock, deadline))
            yield

    # -- looking

    def marked_pools(self) -> list[PoolTemplate]:
        prefixes: dict[str, str] = {}
        for name, text in self._read("list", "", "list_pools", self.store.marked):
            mark = read_mark(text)
            stem, _hyphen, slot = name.rpartition("-")
            if mark is not None and (slot == str(mark.slot) or mark.pool not in prefixes):
                prefixes[mark.pool] = stem
        return [PoolTemplate(name=pool, prefix=prefixes[pool], machine=MachineSpec()) for pool in sorted(prefixes)]

    def vms_in_pool(self, pool: str) -> list[Machine]:
        template = self.pool(pool)
        found = self._read("list", _all_of(pool), "list_machines", lambda: self.store.machines(pool, template.prefix))
        now = self.clock.now()
        machines = ((slot_in(template, machine), machine) for machine in (machine_of(seen, now) for seen in found))
        listed = [(slot, machine.name, machine) for slot, machine in machines if slot is not None]
        return [machine for _slot, _name, machine in sorted(listed, key=lambda entry: entry[:2])]

    def get_vm(self, pool: str, vm: str) -> Machine | None:
        seen = self._get(pool, vm)
        return None if seen is None else machine_of(seen, self.clock.now())

    def get_vm_host(self, pool: str, vm: str) -> str:
        seen = self._get(pool, vm)
        return _gone(vm, "get") if seen is None else seen.row.host

    def readiness(self, pool: str, vms: Sequence[str]) -> Mapping[str, Readiness]:
        template = self.pool(pool)
        listed = self._read("ready", _all_of(pool), "readiness", lambda: self.store.machines(pool, template.prefix))
        found, silent, now = {seen.row.name: seen for seen in listed}, self.line.silent(vms), self.clock.now()
        answers = {vm: readiness_of(found.get(vm), pool, template.ready.check, now) for vm in vms}
        return {vm: Readiness(False, reason="its check failed (simulated)") if vm in silent else answers[vm] for vm in vms}

    def check(self, pool: str, making: int, deadline: Deadline) -> None:
        machine = self.pool(pool).machine
        usage = self._read("check", _all_of(pool), "host_info", self.store.usage, deadline)
        hosts.check_networks(self.line.options, [card.network for card in machine.networks if card.network])
        hosts.check_room(self.line.options, usage, making, machine.memory_mb)

    def prepare(self, pool: str, deadline: Deadline) -> None:
        self.pool(pool)

    # -- making and removing, in steps as anywhere else

    def create_vm(self, pool: str, vm: str, mark: Mark, deadline: Deadline) -> Machine:
        spec = self.pool(pool).machine
        row = Row(name=vm, pool=pool, mark=write_mark(mark), ip=address_of(mark), memory_mb=spec.memory_mb)

        def same(there: Row) -> None:
            if there.mark != row.mark:
                raise MarkChanged("it was replaced or removed while it was being made", obj=vm, phase="create")

        def work(decision: Decision) -> Machine:
            self.stats.call("insert_machine")
            made = self.store.insert(row, lambda usage: hosts.place(self.line.options, usage, spec.memory_mb))
            self.line.spend(decision.delay, "create", vm, deadline)
            if decision.fault is FaultKind.HALF_MADE:
                raise OperationFailed("the hypervisor failed half-way (simulated)", obj=vm, phase="create")
            self.stats.call("insert_disk")
            for number, disk in enumerate((spec.disk, *spec.disks)):
                if not self.store.add_disk(vm, disk.size_gb or 1.0, same, f"disk{number}" if number else ROOT_DISK):
                    _gone(vm, "create")
            if mark.snapshot:
                self.stats.call("insert_snapshot")
                if not self.store.add_snapshot(vm, mark.snapshot, same):
                    _gone(vm, "create")
            if spec.power_on:
                made = self._power_on(vm, "create", same)
            return machine_of(Seen(made, has_root=True), self.clock.now())

        return self.line.call("create", vm, work, own=frozenset({FaultKind.HALF_MADE}))

    def destroy_vm(self, pool: str, vm: str, expected: Mark) -> bool:
        self.pool(pool)

        def same(row: Row) -> Mark:
            mark = own_mark(row, pool, "destroy")
            require_same(mark, expected, vm, "destroy")
            return mark

        def doomed(seen: Seen) -> Row:
            return replace(seen.row, mark=write_mark(same(seen.row).as_state(MarkState.DESTROYING)))

        def unplugged(seen: Seen) -> Row:
            same(seen.row)
            return switched_off(seen.row)

        def work(decision: Decision) -> bool:
            self.stats.call("set_mark")
            row = self.store.change(vm, doomed)
            if row is None:
                return False
            if decision.fault is FaultKind.FAIL:
                self.line.spend(decision.delay, "destroy", vm)
                raise OperationFailed("the hypervisor failed to remove it (simulated)", obj=vm, phase="destroy")
            if power_of(row, self.clock.now()) is not Power.OFF:
                self.line.spend(self.line.shutdown_seconds(vm), "shutdown", vm)
                self.stats.call("power_off")
                self.store.change(vm, unplugged)
            self.line.spend(decision.delay, "destroy", vm)
            self.stats.call("delete_machine")
            return self.store.delete(vm, same)

        return self.line.call("destroy", vm, work, own=frozenset({FaultKind.FAIL}))

    def start_vm(self, pool: str, vm: str, expected: Mark) -> None:
        self.pool(pool)
        self._write("start", vm, "", lambda: self._power_on(vm, "start", lambda row: require_same(own_mark(row, pool, "start"), expected, vm, "start")))

    def stop_vm(self, pool: str, vm: str) -> bool:
        self.pool(pool)
        was_on = []

        def unplugged(seen: Seen) -> Row:
            own_mark(seen.row, pool, "stop")
            if power_of(seen.row, self.clock.now()) is not Power.OFF:
                was_on.append(vm)
                self.stats.call("power_off")
            return switched_off(seen.row)

        if self._write("stop", vm, "", lambda: self.store.change(vm, unplugged)) is None:
            _gone(vm, "stop")
        return bool(was_on)

    def set_mark(self, pool: str, vm: str, mark: Mark, expected: Mark) -> None:
        self.pool(pool)

        def swapped(seen: Seen) -> Row:
            if own_mark(seen.row, pool, "mark") != expected:
                raise MarkChanged("its mark is not the expected one any more", obj=vm, phase="mark")
            return replace(seen.row, mark=write_mark(mark))

        if self._write("mark", vm, "set_mark", lambda: self.store.change(vm, swapped)) is None:
            _gone(vm, "mark")

    # -- what not every provider can do

    def find_least_used_compatible_host(self, pool: str, vm: str) -> str:
        own = self.get_vm_host(pool, vm)
        return hosts.better(self.line.options, self._read("check", _all_of(pool), "host_info", self.store.usage), own)

    def migrate_vm_to_host(self, pool: str, vm: str, host: str) -> MigrationTimings:
        source, start = self.get_vm_host(pool, vm), self.clock.monotonic()
        if source == host:
            return MigrationTimings(source, host, 0.0)

        def target(seen: Seen, usage: Usage) -> str:
            own_mark(seen.row, pool, "migrate")
            hosts.check_target(self.line.options, usage, host)
            return host

        if self._write("migrate", vm, "migrate_machine", lambda: self.store.move(vm, target)) is None:
            _gone(vm, "migrate")
        return MigrationTimings(source, host, self.clock.monotonic() - start)

    def create_disk(self, pool: str, vm: str, size_gb: float) -> None:
        self.pool(pool)
        if not self._write("disk", vm, "insert_disk", lambda: self.store.add_disk(vm, size_gb, lambda row: own_mark(row, pool, "disk"))):
            _gone(vm, "disk")

    def create_snapshot(self, pool: str, vm: str, snapshot: str) -> None:
        self.pool(pool)
        guard = partial(own_mark, pool=pool, phase="snapshot")
        if not self._write("snapshot", vm, "insert_snapshot", lambda: self.store.add_snapshot(vm, snapshot, guard)):
            _gone(vm, "snapshot")

    def revert_snapshot(self, pool: str, vm: str, snapshot: str) -> None:
        self.pool(pool)
        guard = partial(own_mark, pool=pool, phase="revert")

        def booted_anew(seen: Seen) -> Row:
            running = power_of(seen.row, self.clock.now()) is Power.RUNNING
            return booted(seen.row, self.line.boot(vm), self.clock.now()) if running else switched_off(seen.row)

        def work() -> bool:
            done = self.store.revert(vm, snapshot, guard)
            if done:
                self.store.change(vm, booted_anew)
            return done

        if not self._write("revert", vm, "revert_snapshot", work):
            raise NotFound(f"there is no machine of this name, or it has no snapshot {snapshot!r}", obj=vm, phase="revert")

    def close(self) -> None:
        self.store.close()

    # -- one call each

    def _read(self, operation: str, target: str, call: str, ask: Callable[[], T], deadline: Deadline | None = None) -> T:
        def work(decision: Decision) -> T:
            self.stats.call(call)
            self.line.spend(decision.delay, operation, target, deadline)
            return ask()

        return self.line.call(operation, target, work)

    def _write(self, operation: str, vm: str, call: str, change: Callable[[], T]) -> T:
        def work(decision: Decision) -> T:
            self.line.spend(decision.delay, operation, vm)
            if call:
                self.stats.call(call)
            return change()

        return self.line.call(operation, vm, work)

    def _get(self, pool: str, vm: str) -> Seen | None:
        self.pool(pool)
        return self._read("get", vm, "get_machine", lambda: self.store.machine(vm))

    def _power_on(self, vm: str, phase: str, guard: Callable[[Row], object]) -> Row:
        """Have the machine running, by whichever call its state wants."""
        boot, now = self.line.boot(vm), self.clock.now()
        called = []

        def powered(seen: Seen) -> Row:
            guard(seen.row)
            power = power_of(seen.row, now)
            called.append({Power.RUNNING: "reset", Power.PAUSED: "resume"}.get(power, "power_on"))
            if not seen.has_root:
                raise OperationFailed("its root disk is gone", obj=vm, phase=phase)
            return replace(seen.row, power=Power.RUNNING.value) if power is Power.PAUSED else booted(seen.row, boot, now)

        try:
            return self.store.change(vm, powered) or _gone(vm, phase)
        finally:
            for name in called:
                self.stats.call(name)


def _all_of(pool: str) -> str:
    """What a call about a whole pool is about; no machine can have this name."""
    return f"{pool}-*"


def _gone(vm: str, phase: str) -> NoReturn:
    raise NotFound("there is no machine of this name", obj=vm, phase=phase)
