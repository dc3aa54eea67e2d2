# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The provider for vCenter: machines are cloned from templates and carry their mark in their ``extraConfig``."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import (
    MarkChanged,
    MaybeApplied,
    NameTaken,
    NotFound,
    VirtError,
)
from ansible_collections.poolwright.virt.plugins.module_utils.providers.base import Provider
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import Mark, MarkState, require_same
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import (
    Capabilities,
    Check,
    Clone,
    Machine,
    MigrationTimings,
    PoolTemplate,
    Power,
    Readiness,
)
from ansible_collections.poolwright.virt.plugins.module_utils.providers.vsphere_machines import create, placement, readiness, remove, templates
from ansible_collections.poolwright.virt.plugins.module_utils.providers.vsphere_machines.controller import Controller, default_directory
from ansible_collections.poolwright.virt.plugins.module_utils.providers.vsphere_machines.lookup import Lookup, mark_of
from ansible_collections.poolwright.virt.plugins.module_utils.providers.vsphere_machines.lost import wait_until_settled
from ansible_collections.poolwright.virt.plugins.module_utils.providers.vsphere_machines.observe import Seen
from ansible_collections.poolwright.virt.plugins.module_utils.providers.vsphere_machines.planning import Planner
from ansible_collections.poolwright.virt.plugins.module_utils.providers.vsphere_machines.record import mark_options
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere import hosts
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.binding import library, moid_of
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.devices import Slots, adapter_of, disks_of, new_disk
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import ConcurrentChange, InvalidState, ObjectGone
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.gathered import Gathered
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.hardware import config_spec
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Inventory
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.vim import VIM

CAPABILITIES = Capabilities(checks=frozenset(Check), backends=frozenset(), disks=True, snapshots=True, migration=True, seed=True)

# The calls in ``Stats`` that change something in vCenter; all others read, wait, or are about the session.
MUTATING = frozenset(
    {
        "CloneVM_Task",
        "CopyDatastoreFile_Task",
        "CopyVirtualDisk_Task",
        "CreateFolder",
        "CreateSnapshot_Task",
        "CreateVM_Task",
        "CreateVirtualDisk_Task",
        "DeleteDatastoreFile_Task",
        "DeleteVirtualDisk_Task",
        "Destroy_Task",
        "ExtendVirtualDisk_Task",
        "ImportVApp",
        "InstantClone_Task",
        "MakeDirectory",
        "MoveDatastoreFile_Task",
        "MoveVirtualDisk_Task",
        "PUT /folder",
        "PowerOffVM_Task",
        "PowerOnVM_Task",
        "ReconfigVM_Task",
        "RelocateVM_Task",
        "RemoveSnapshot_Task",
        "ResetVM_Task",
        "RevertToSnapshot_Task",
    }
)

_TASK_SECONDS = 600.0
_MIGRATION_SECONDS = 7200.0
# How often a mark is compared and set anew after something else in the machine's configuration was changed in between.
_ATTEMPTS = 5
_ROOT_ADAPTER = "paravirtual"


class VsphereProvider(Provider):
    """Machines of one datacenter. Nothing is sent before the first call.

    A pool's machines are in the folder that its ``placement`` names; another machine there that has one of its names holds that slot.

    :param datacenter: its name or path; "" is the only one there is.
    :param state_directory: see ``controller``; "" is the default.
    """

    name = "vsphere"

    def __init__(self, pools: Sequence[PoolTemplate], clock: Clock, stats: Stats, *, vim: VIM, datacenter: str = "", state_directory: str = "") -> None:
        super().__init__(pools, clock, stats)
        self.vim = vim
        self._inventory = Inventory(vim, datacenter)
        # Machines that are made side by side are done at nearly the same time.
        self._made = Gathered(vim)
        self._planner = Planner(vim, self._inventory, self._warn, stats)
        directory = state_directory or default_directory(os.environ, os.path.expanduser("~"))
        self._controller = Controller(directory, f"{vim.endpoint} {datacenter}".strip())
        self._machines = Lookup(vim, self._inventory, self._warn, self._planner.learn)
        self._lock = threading.Lock()  # guards the warnings

    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    @property
    def maker(self) -> str:
        return self._controller.identity()

    def exclusive(self, pools: Iterable[str], deadline: Deadline) -> AbstractContextManager[None]:
        # Always in the same order, so that two runs over the same pools cannot wait for each other.
        return self._controller.holding(sorted({self.pool(pool).name for pool in pools}), self.clock, deadline)

    # -- looking

    def marked_pools(self) -> list[PoolTemplate]:
        return self._machines.marked_pools()

    def vms_in_pool(self, pool: str) -> list[Machine]:
        return self._machines.in_pool(self.pool(pool))

    def get_vm(self, pool: str, vm: str) -> Machine | None:
        template = self.pool(pool)
        seen = self._machines.find(template, vm, "get")
        return None if seen is None else self._machines.machine(seen)

    def get_vm_host(self, pool: str, vm: str) -> str:
        template = self.pool(pool)
        return self._machines.host_name(self._machines.must_find(template, vm, "look up").host)

    # -- making

    def check(self, pool: str, making: int, deadline: Deadline) -> None:
        self._planner.check(self.pool(pool), making, deadline)

    def prepare(self, pool: str, deadline: Deadline) -> None:
        self._planner.prepare(self.pool(pool), deadline)

    def create_vm(self, pool: str, vm: str, mark: Mark, deadline: Deadline) -> Machine:
        template = self.pool(pool)
        deadline.check("the machine's making", obj=vm, phase="create")
        prepared = self._planner.prepared(template)
        spot = self._planner.spot(template)
        source = prepared.blueprint.template.entry.obj
        if template.machine.clone is Clone.INSTANT:
            method, said = "InstantClone_Task", {"spec": create.instant_clone_spec(prepared.blueprint, template.machine, vm, mark, spot)}
        else:
            spec = create.clone_spec(prepared.blueprint, template.machine, vm, mark, spot, prepared.snapshot)
            method, said = "CloneVM_Task", {"folder": spot.folder, "name": vm, "spec": spec}
        try:
            with self._made.coming():
                made = self.vim.run(source, method, deadline=deadline, about=vm, phase="create", **said)
        except NameTaken as exc:
            exc.obj = vm
            raise
        except MaybeApplied:
            with suppress(VirtError):
                wait_until_settled(self.vim, source, deadline, vm)
            raise
        seen = self._machines.look(template, vm, made, "create", self._made)
        if mark.snapshot:
            self._take_snapshot(seen, mark.snapshot, deadline, "create")
            if template.machine.power_on:
                self._start(seen, deadline, "create")
            seen = self._machines.look(template, vm, made, "create")
        return self._machines.machine(seen)

    # -- changing

    def destroy_vm(self, pool: str, vm: str, expected: Mark) -> bool:
        template = self.pool(pool)
        seen = self._machines.current(template, vm, "destroy")
        if seen is None:
            return False
        deadline = Deadline.after(self.clock, _TASK_SECONDS)

        def doomed(mark: Mark) -> Mark:
            require_same(mark, expected, vm, "destroy")
            return mark.as_state(MarkState.DESTROYING)

        try:
            self._swap(template, vm, seen, doomed, deadline, "destroy")
            values = self._machines.read(seen, remove.DISK_PATHS, "destroy")
            foreign = remove.guests_disks(values.get("config.hardware.device") or (), str(values.get("config.files.vmPathName") or ""))
            remove.remove(self.vim, seen.obj, seen.power, foreign, deadline, vm)
        except ObjectGone:
            return False
        finally:
            self._machines.forget(pool, vm)
        return True

    def set_mark(self, pool: str, vm: str, mark: Mark, expected: Mark) -> None:
        template = self.pool(pool)

        def swapped(there: Mark) -> Mark:
            if there != expected:
                raise MarkChanged("its mark is no longer the expected one", obj=vm, phase="mark")
            return mark

        seen = self._machines.known(template, vm, "mark")
        if seen.mark != expected:
            seen = self._machines.must_find(template, vm, "mark")
        try:
            self._swap(template, vm, seen, swapped, Deadline.after(self.clock, _TASK_SECONDS), "mark")
        except ObjectGone:
            # Another may have taken its place.
            seen = self._machines.must_find(template, vm, "mark")
            self._swap(template, vm, seen, swapped, Deadline.after(self.clock, _TASK_SECONDS), "mark")

    def _swap(self, template: PoolTemplate, vm: str, seen: Seen, change: Callable[[Mark], Mark], deadline: Deadline, phase: str) -> None:
        """Compare and set a machine's mark: what has changed since it was seen makes vCenter refuse, and it is looked at again.

        :param change: the new mark from the old one, or an error.   :raises ObjectGone: it is gone.
        """
        for attempt in range(_ATTEMPTS):
            if attempt or not seen.version:
                seen = self._machines.look(template, vm, seen.obj, phase)
                if seen.name != vm:
                    raise ObjectGone("it was renamed meanwhile", obj=vm, phase=phase)
            mark = change(mark_of(template, seen, vm, phase))
            if mark == seen.mark:
                return
            spec = config_spec(extra_config=mark_options(mark))
            spec.changeVersion = seen.version
            try:
                self.vim.run(seen.obj, "ReconfigVM_Task", spec=spec, deadline=deadline, about=vm, phase=phase)
            except ConcurrentChange:
                continue
            # The next change has to look first: the configuration has a version now that we do not know.
            self._machines.remember(template.name, vm, replace(seen, mark=mark, version=""))
            return
        raise MarkChanged("its configuration is changed by others again and again", obj=vm, phase=phase)

    def start_vm(self, pool: str, vm: str, expected: Mark) -> None:
        template = self.pool(pool)
        seen = self._machines.own(template, vm, "start")
        require_same(mark_of(template, seen, vm, "start"), expected, vm, "start")
        self._start(seen, Deadline.after(self.clock, _TASK_SECONDS), "start")

    def stop_vm(self, pool: str, vm: str) -> bool:
        seen = self._machines.own(self.pool(pool), vm, "stop")
        if seen.power is Power.OFF:
            return False
        with suppress(InvalidState):
            self.vim.run(seen.obj, "PowerOffVM_Task", deadline=Deadline.after(self.clock, _TASK_SECONDS), about=vm, phase="stop")
        return True

    def _start(self, seen: Seen, deadline: Deadline, phase: str) -> None:
        method = "ResetVM_Task" if seen.power is Power.RUNNING else "PowerOnVM_Task"
        self.vim.run(seen.obj, method, deadline=deadline, about=seen.name, phase=phase)

    # -- readiness

    def readiness(self, pool: str, vms: Sequence[str]) -> Mapping[str, Readiness]:
        template = self.pool(pool)
        if not vms:
            return {}
        known = self._machines.objects(pool, vms)
        if len(known) < len(set(vms)):
            self.vms_in_pool(pool)
            known = self._machines.objects(pool, vms)
        answers = readiness.judge(self.vim, template, known)
        for vm, answer in answers.items():
            if answer == readiness.GONE:
                self._machines.forget(pool, vm)
        return {vm: answers.get(vm, readiness.GONE) for vm in vms}

    # -- disks, snapshots, migration

    def create_disk(self, pool: str, vm: str, size_gb: float) -> None:
        seen = self._machines.own(self.pool(pool), vm, "disk")
        devices = self.vim.get_properties(seen.obj, ["config.hardware.device"], about=vm, phase="disk")["config.hardware.device"]
        slots, disks = Slots(devices), disks_of(devices)
        added = new_disk(slots, adapter_of(devices, disks[0]) or _ROOT_ADAPTER if disks else _ROOT_ADAPTER, int(size_gb * 1024**3))
        spec = config_spec(device_changes=[*slots.changes, added])
        self.vim.run(seen.obj, "ReconfigVM_Task", spec=spec, deadline=Deadline.after(self.clock, _TASK_SECONDS), about=vm, phase="disk")

    def create_snapshot(self, pool: str, vm: str, snapshot: str) -> None:
        seen = self._machines.own(self.pool(pool), vm, "snapshot")
        if self._snapshot(seen, snapshot, "snapshot") is not None:
            raise NameTaken(f"it has a snapshot {snapshot!r} already", obj=vm, phase="snapshot", hint="give another name")
        self._take_snapshot(seen, snapshot, Deadline.after(self.clock, _TASK_SECONDS), "snapshot")

    def revert_snapshot(self, pool: str, vm: str, snapshot: str) -> None:
        template = self.pool(pool)
        seen = self._machines.own(template, vm, "revert")
        found = self._snapshot(seen, snapshot, "revert")
        if found is None or seen.mark is None:
            raise NotFound(f"it has no snapshot {snapshot!r}", obj=vm, phase="revert")
        deadline = Deadline.after(self.clock, _TASK_SECONDS)
        self.vim.run(found, "RevertToSnapshot_Task", deadline=deadline, about=vm, phase="revert")
        # Its configuration went back too, the mark with it.
        now = self._machines.look(template, vm, seen.obj, "revert")
        if now.mark != seen.mark:
            options = mark_options(seen.mark)
            self.vim.run(now.obj, "ReconfigVM_Task", spec=config_spec(extra_config=options), deadline=deadline, about=vm, phase="revert")
        if seen.power is Power.RUNNING and now.power is not Power.RUNNING:
            self._start(now, deadline, "revert")

    def _take_snapshot(self, seen: Seen, name: str, deadline: Deadline, phase: str) -> None:
        said: dict[str, Any] = {"name": name, "description": "", "memory": False, "quiesce": False}
        self.vim.run(seen.obj, "CreateSnapshot_Task", deadline=deadline, about=seen.name, phase=phase, **said)

    def _snapshot(self, seen: Seen, name: str, phase: str) -> Any:
        info = self.vim.get_properties(seen.obj, ["snapshot"], about=seen.name, phase=phase).get("snapshot")
        return next((one.obj for one in templates.snapshots_in(info) if one.name == name), None)

    def find_least_used_compatible_host(self, pool: str, vm: str) -> str:
        seen = self._machines.must_find(self.pool(pool), vm, "migrate")
        needs = self._needs_of(seen)
        there = hosts.loads(self.vim, self._inventory.hosts_of(placement.cluster_of(self._inventory, seen.host)))
        fit = hosts.compatible(there, needs, vm)
        own = next((load for load in fit if load.entry.moid == moid_of(seen.host)), None)
        return hosts.better(fit, own, needs.memory_mb).entry.name

    def _needs_of(self, seen: Seen) -> hosts.Needs:
        values = self.vim.get_properties(seen.obj, ["datastore", "network", "config.hardware.memoryMB"], about=seen.name, phase="migrate")
        networks = {moid_of(one): getattr(self._inventory.entry_of(one), "name", moid_of(one)) for one in values.get("network") or ()}
        return hosts.Needs(int(values.get("config.hardware.memoryMB") or 0), frozenset(moid_of(one) for one in values.get("datastore") or ()), networks)

    def migrate_vm_to_host(self, pool: str, vm: str, host: str) -> MigrationTimings:
        seen = self._machines.own(self.pool(pool), vm, "migrate")
        target, source, start = self._inventory.host(host), self._machines.host_name(seen.host), self.clock.monotonic()
        if moid_of(seen.host) == target.moid:
            return MigrationTimings(source, target.name, 0.0)
        spec = library().vim.vm.RelocateSpec(host=target.obj)
        here, there = (placement.cluster_of(self._inventory, one) for one in (seen.host, target.obj))
        if here.moid != there.moid:
            spec.pool = self._inventory.resource_pool("", there).obj
        deadline = Deadline.after(self.clock, _MIGRATION_SECONDS)
        self.vim.run(seen.obj, "RelocateVM_Task", spec=spec, priority="defaultPriority", deadline=deadline, about=vm, phase="migrate")
        return MigrationTimings(source, target.name, self.clock.monotonic() - start)

    # -- the rest

    def close(self) -> None:
        self.vim.close()

    def _warn(self, said: str) -> None:
        with self._lock:
            if said not in self.warnings:
                self.warnings.append(said)
