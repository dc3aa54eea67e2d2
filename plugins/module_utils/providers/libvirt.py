# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The provider for KVM hosts: machines are libvirt domains that carry their mark in their metadata."""

from __future__ import annotations

import os
import threading
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from types import MappingProxyType

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import (
    AuthenticationFailed,
    ConnectionFailed,
    IncompleteAnswer,
    InvalidSpec,
    MarkChanged,
    MissingDependency,
    NotFound,
    NotOurs,
    VirtError,
)
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.registry import BACKENDS
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import ImageCache
from ansible_collections.poolwright.virt.plugins.module_utils.images.scratch import make_directories
from ansible_collections.poolwright.virt.plugins.module_utils.images.sparse import naming_storage_errors
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.domain_xml import Platform
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.guest import Guest
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.kvm_probe import kvm_works
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.layout import Layout, default_location
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.session import MUTATING
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.virt_type import VIRT_TYPES, choose_platform
from ansible_collections.poolwright.virt.plugins.module_utils.locks import FileLock, sweep_locks
from ansible_collections.poolwright.virt.plugins.module_utils.placement.choose import Rules
from ansible_collections.poolwright.virt.plugins.module_utils.providers.base import Provider
from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt_machines import create, preflight, preflight_disks, remove, storage
from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt_machines.addresses import Addresses
from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt_machines.keys import Keys
from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt_machines.observe import (
    Missing,
    SeenMachine,
    as_machine,
    machines_of,
    prefixes_of,
    read_own,
    read_record,
    see,
)
from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt_machines.peers import Peers
from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt_machines.readiness import is_static, judge
from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt_machines.record import NAMESPACE, PREFIX, MachineRecord, with_mark
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import Mark, require_same
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

__all__ = ["CAPABILITIES", "MUTATING", "LibvirtProvider"]

CAPABILITIES = Capabilities(checks=frozenset(Check), backends=frozenset(BACKENDS), disks=True, snapshots=True, seed=True)

# A mark is read, compared and written within milliseconds; whoever holds its lock for longer is removing the machine.
_MARK_SECONDS = 120.0
# What the disks of one machine may take, where their backend copies them.
_STORAGE_SECONDS = 3600.0
_MIGRATION_SECONDS = 3600.0


class LibvirtProvider(Provider):
    """Domains of the libvirt at ``uri``, which must run on this machine: their disks are made here.

    Nothing is opened before the first call.

    :param location: directory of everything that is kept on disk; "" for the default, see ``default_location``.
    :param virt_type: ``auto``, ``kvm`` or ``qemu``.
    :param probe: whether a KVM guest runs here.
    :param peers: KVM hosts that machines may move to: their libvirt, as this host reaches it, by their own names. What has moved to one is found by
        its name, but no longer a machine of this host's pools.
    :param rules: which of them can take a machine, and when it gains by moving there; None for the defaults.
    """

    name = "libvirt"

    def __init__(
        self,
        pools: Sequence[PoolTemplate],
        clock: Clock,
        stats: Stats,
        *,
        uri: str = "qemu:///system",
        location: str = "",
        virt_type: str = "auto",
        probe: Callable[[], bool] = kvm_works,
        peers: Mapping[str, str] = MappingProxyType({}),
        rules: Rules | None = None,
    ) -> None:
        super().__init__(pools, clock, stats)
        if virt_type not in VIRT_TYPES:
            raise InvalidSpec([f"virt_type: {virt_type!r} is not one of {', '.join(VIRT_TYPES)}"])
        self.layout = Layout(os.path.abspath(location or default_location(uri, os.environ, os.path.expanduser("~"))))
        self._virt_type = virt_type
        self._probe = probe
        self._unchecked_host = Host(uri, clock, stats)
        self._keys = Keys(self._unchecked_host)
        self._peers = Peers(peers, clock, stats, rules or Rules())
        self._cache = ImageCache(self.layout.images, clock)
        self._lock = threading.RLock()
        self._local = False
        self._platform: Platform | None = None
        self._sources: dict[str, tuple[create.Source, ...]] = {}
        self._promised_mb: dict[str, int] = {}
        # By machine id. What readiness needs of a record only we change, so it asks for each machine once.
        self._records: dict[str, MachineRecord] = {}

    def capabilities(self) -> Capabilities:
        # libvirt's test driver plugs nothing.
        return replace(CAPABILITIES, disks=not self._unchecked_host.uri.startswith("test:"), migration=bool(self._peers))

    @contextmanager
    def _exclusive(self, pools: Sequence[str], deadline: Deadline) -> Iterator[None]:
        with ExitStack() as held:
            for pool in pools:
                held.enter_context(self._file_lock(self.layout.pool_lock(pool), deadline))
            with naming_storage_errors(self.layout.locks, "lock"):
                sweep_locks(self.layout.locks)
            yield

    def exclusive(self, pools: Iterable[str], deadline: Deadline) -> AbstractContextManager[None]:
        # Always in the same order, so that two runs over the same pools cannot wait for each other.
        return self._exclusive(sorted({self.pool(pool).name for pool in pools}), deadline)

    # -- looking

    def marked_pools(self) -> list[PoolTemplate]:
        prefixes = prefixes_of(self._host)
        return [PoolTemplate(name=pool, prefix=prefixes[pool], machine=MachineSpec()) for pool in sorted(prefixes)]

    def vms_in_pool(self, pool: str) -> list[Machine]:
        template, host = self.pool(pool), self._host
        try:
            return self._as_machines(template, machines_of(host, template), host)
        except (AuthenticationFailed, ConnectionFailed, MissingDependency):
            raise
        except VirtError as exc:
            raise IncompleteAnswer(f"the pool's machines could not all be read: {exc}", obj=pool, phase="observe") from exc

    def get_vm(self, pool: str, vm: str) -> Machine | None:
        template = self.pool(pool)
        seen = self._find(vm)
        if seen is not None:
            return self._as_machines(template, [seen], self._host)[0]
        holder = self._peers.holder(vm)
        moved = None if holder is None else see(holder[2])
        return None if holder is None or moved is None else self._as_machines(template, [moved], holder[1])[0]

    def _find(self, vm: str) -> SeenMachine | None:
        guest = self._host.guest(vm)
        return None if guest is None else see(guest)

    def _as_machines(self, template: PoolTemplate, found: Sequence[SeenMachine], on: Host) -> list[Machine]:
        addresses, missing, host = Addresses(on), Missing(), on.hostname()
        static = is_static(template)
        with self._lock:
            self._records.update({seen.record.mark.id: seen.record for seen in found if seen.record is not None})
        return [as_machine(template, seen, host, lambda record: addresses.of(record, static=static), missing) for seen in found]

    def get_vm_host(self, pool: str, vm: str) -> str:
        self.pool(pool)
        if self._host.guest(vm) is not None:
            return self._host.hostname()
        holder = self._peers.holder(vm)
        if holder is None:
            raise NotFound("there is no machine of this name", obj=vm, phase="look up")
        return holder[0]

    # -- making

    def check(self, pool: str, making: int, deadline: Deadline) -> None:
        template = self.pool(pool)
        spec = template.machine
        preflight.check_host(self._host, self.layout, template, self._new_platform().virt_type)
        self._keys.check(template)
        preflight_disks.check_disks(self._cache, self.layout, template, making, deadline)
        with self._lock:
            promised = sum(wanted for other, wanted in self._promised_mb.items() if other != pool)
            preflight.check_memory(self._host.memory().available, spec.memory_mb, making, promised, pool)
            self._promised_mb[pool] = making * spec.memory_mb

    def prepare(self, pool: str, deadline: Deadline) -> None:
        template = self.pool(pool)
        self._new_platform()
        with naming_storage_errors(self.layout.location, "prepare"):
            sources = preflight_disks.sources(self._cache, self.layout, template, deadline, fetch=True)
        with self._lock:
            self._sources[pool] = sources

    def create_vm(self, pool: str, vm: str, mark: Mark, deadline: Deadline) -> Machine:
        template = self.pool(pool)
        deadline.check("the machine's making", obj=vm, phase="create")
        site = create.Site(self.layout, self._new_platform(), self._host.capabilities().uuid, self._prepared(template))
        plan = create.plan_machine(self._keys.give(template), vm, mark, site, Addresses(self._host).newest_lease, deadline)
        guest = create.define(self._host, plan)
        with naming_storage_errors(plan.record.directory, "create"):
            create.make_files(plan, deadline)
        power = Power.OFF
        if template.machine.power_on:
            guest.start()
            power = Power.RUNNING
        with self._lock:
            self._records[mark.id] = plan.record
            self._promised_mb[pool] = max(0, self._promised_mb.get(pool, 0) - template.machine.memory_mb)
        return Machine(vm, power, mark, self._host.hostname())

    def _prepared(self, template: PoolTemplate) -> tuple[create.Source, ...]:
        found = self._sources.get(template.name)
        if found is None:
            raise NotFound("the pool's image was not prepared", obj=template.name, phase="create", hint="call prepare first")
        return found

    def _new_platform(self) -> Platform:
        """What new machines run on; found out once, and only when one is to be made."""
        with self._lock:
            if self._platform is None:
                self._platform, warning = choose_platform(self._host, self._virt_type, self._probe)
                self.warnings += [warning] if warning else []
            return self._platform

    # -- changing

    def destroy_vm(self, pool: str, vm: str, expected: Mark) -> bool:
        self.pool(pool)
        with self._machine_lock(vm):
            guest = self._host.guest(vm)
            if guest is None:
                return False
            try:
                element, record = read_own(guest)
            except NotFound:
                return False
            if element is None or record is None or record.mark.pool != pool:
                raise NotOurs("it carries no mark of this pool", obj=vm, phase="destroy", hint="remove it by hand if it is not needed")
            require_same(record.mark, expected, vm, "destroy")
            with naming_storage_errors(record.directory, "destroy"):
                self.warnings += remove.remove_machine(self._host, guest, element, record)
        with self._lock:
            self._records.pop(record.mark.id, None)
        return True

    def tidy(self, pool: str) -> None:
        with naming_storage_errors(self.layout.location, "tidy"):
            self.warnings += remove.remove_orphans(self._host, self.layout, self.pool(pool).name)

    def start_vm(self, pool: str, vm: str, expected: Mark) -> None:
        with self._machine_lock(vm):
            seen, mark = self._own(pool, vm, "start")
            require_same(mark, expected, vm, "start")
            if seen.power is Power.RUNNING:
                seen.guest.reset()
            elif seen.power is Power.PAUSED:
                seen.guest.resume()
            else:
                if seen.power is not Power.OFF:
                    seen.guest.destroy()
                seen.guest.start()

    def stop_vm(self, pool: str, vm: str) -> bool:
        seen, _mark = self._own(pool, vm, "stop")
        return seen.power is not Power.OFF and seen.guest.destroy()

    def set_mark(self, pool: str, vm: str, mark: Mark, expected: Mark) -> None:
        self.pool(pool)
        with self._machine_lock(vm):
            guest = self._host.guest(vm)
            if guest is None:
                raise NotFound("there is no machine of this name", obj=vm, phase="mark")
            element, record = read_own(guest)
            if element is None or record is None or record.mark != expected:
                raise MarkChanged("its mark is no longer the expected one", obj=vm, phase="mark")
            guest.set_metadata(with_mark(element, mark), NAMESPACE, PREFIX)

    def _own(self, pool: str, vm: str, phase: str) -> tuple[SeenMachine, Mark]:
        self.pool(pool)
        seen = self._find(vm)
        if seen is None:
            raise NotFound("there is no machine of this name", obj=vm, phase=phase)
        if seen.mark is None or seen.mark.pool != pool:
            raise NotOurs("it carries no mark of this pool", obj=vm, phase=phase)
        return seen, seen.mark

    # -- disks and snapshots

    @contextmanager
    def _changing(self, pool: str, vm: str, phase: str) -> Iterator[tuple[Guest, ET.Element, MachineRecord]]:
        """A machine of the pool, held for as long as its storage is changed."""
        with self._machine_lock(vm):
            seen, _mark = self._own(pool, vm, phase)
            guest = seen.guest
            element, record = read_own(guest)
            if element is None or record is None:
                raise NotOurs("it carries no mark of this pool", obj=vm, phase=phase)
            with naming_storage_errors(record.directory, phase):
                yield guest, element, record

    def create_disk(self, pool: str, vm: str, size_gb: float) -> None:
        if not self.capabilities().disks:
            super().create_disk(pool, vm, size_gb)
        with self._changing(pool, vm, "disk") as (guest, element, record):
            self._remember(storage.add_disk(self._host, guest, element, record, int(size_gb * create.GIB), self._storage_deadline()))

    def create_snapshot(self, pool: str, vm: str, snapshot: str) -> None:
        with self._changing(pool, vm, "snapshot") as (guest, _element, record):
            storage.take_snapshot(guest, record, snapshot, self._storage_deadline())

    def revert_snapshot(self, pool: str, vm: str, snapshot: str) -> None:
        with self._changing(pool, vm, "revert") as (guest, element, record):
            newest = Addresses(self._host).newest_lease
            self._remember(storage.go_back(self._host, guest, element, record, snapshot, newest, self._storage_deadline()))

    # -- migration

    def find_least_used_compatible_host(self, pool: str, vm: str) -> str:
        if not self._peers:
            return super().find_least_used_compatible_host(pool, vm)
        self.pool(pool)
        return self._peers.better_than(self._host, vm, self.warnings.append) or self._host.hostname()

    def migrate_vm_to_host(self, pool: str, vm: str, host: str) -> MigrationTimings:
        if not self._peers:
            return super().migrate_vm_to_host(pool, vm, host)
        own = self._host
        with self._machine_lock(vm):
            self._own(pool, vm, "migrate")
            if host == own.hostname():
                return MigrationTimings(host, host, 0.0)
            return self._peers.move(own, vm, host, lambda name, deadline: self._file_lock(self.layout.guest_lock(name), deadline), _MIGRATION_SECONDS)

    def _storage_deadline(self) -> Deadline:
        return Deadline.after(self.clock, _STORAGE_SECONDS)

    def _remember(self, record: MachineRecord) -> None:
        with self._lock:
            self._records[record.mark.id] = record

    # -- readiness

    def readiness(self, pool: str, vms: Sequence[str]) -> Mapping[str, Readiness]:
        return judge(self._host, self.pool(pool), vms, self._record_of)

    def _record_of(self, guest: Guest) -> MachineRecord | None:
        with self._lock:
            known = self._records.get(guest.uuid)
        if known is None:
            try:
                known = read_record(guest)
            except NotFound:
                return None
            if known is not None:
                with self._lock:
                    self._records[guest.uuid] = known
        return known

    # -- the rest

    def close(self) -> None:
        self._unchecked_host.close()
        self._peers.close()

    @property
    def _host(self) -> Host:
        """The host, once it is known to be this machine."""
        with self._lock:
            if not self._local:
                preflight.refuse_other_machine(self._unchecked_host)
                self._local = True
            return self._unchecked_host

    def _machine_lock(self, vm: str) -> AbstractContextManager[object]:
        """Whoever changes a mark or removes a machine holds it: libvirt itself cannot compare and set."""
        return self._file_lock(self.layout.machine_lock(vm), Deadline.after(self.clock, _MARK_SECONDS))

    def _file_lock(self, path: str, deadline: Deadline) -> FileLock:
        with naming_storage_errors(path, "lock"):
            make_directories(os.path.dirname(path))
        return FileLock(path, self.clock, deadline)
