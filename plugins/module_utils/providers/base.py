# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The provider contract. ``tests/contract/`` holds every provider to what the docstrings here say."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import NotFound, OperationFailed
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import Mark
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import (
    Capabilities,
    Machine,
    MigrationTimings,
    PoolTemplate,
    Readiness,
)
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats


class NotSupported(OperationFailed):
    """The provider's ``capabilities()`` say that it cannot do this."""

    code = "not_supported"
    config = True


class Provider(ABC):
    """One hypervisor behind one connection, serving any number of pools.

    Every method that names a pool raises ``NotFound`` for one that was not given to the constructor. Every method may raise
    ``ConnectionFailed`` when the hypervisor cannot be reached even after reconnecting. Reads are repeated once
    on a lost connection; a changing call whose answer was lost is never repeated but raises ``MaybeApplied``.
    Methods may be called from several threads at once.
    """

    name: str = ""

    def __init__(self, pools: Sequence[PoolTemplate], clock: Clock, stats: Stats) -> None:
        self._pools: dict[str, PoolTemplate] = {pool.name: pool for pool in pools}
        self.clock = clock
        self.stats = stats
        self.warnings: list[str] = []

    @property
    def provided_pools(self) -> tuple[str, ...]:
        return tuple(self._pools)

    @property
    def maker(self) -> str:
        """Who makes machines through this provider, where ``exclusive`` cannot keep all others off: the mark of each says so.

        "" where it can.
        """
        return ""

    def pool(self, name: str) -> PoolTemplate:
        try:
            return self._pools[name]
        except KeyError:
            raise NotFound(f"the provider {self.name} was not given this pool", obj=name) from None

    def serve(self, pools: Iterable[PoolTemplate]) -> None:
        """Take over further pools, such as those that ``marked_pools`` found."""
        self._pools.update({pool.name: pool for pool in pools})

    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What this provider can do. Makes no call."""

    @abstractmethod
    def exclusive(self, pools: Iterable[str], deadline: Deadline) -> AbstractContextManager[None]:
        """Keep other runs off these pools while inside. Waits for them, ``Busy`` once the deadline has passed.

        A run that is killed gives the pools free at once. Inside, a machine marked as being made was therefore left so
        by a run that ended.
        """

    @abstractmethod
    def marked_pools(self) -> list[PoolTemplate]:
        """Every pool of which a marked machine exists, by name; name and prefix are filled in, no more."""

    @abstractmethod
    def vms_in_pool(self, pool: str) -> list[Machine]:
        """The pool's machines, whatever their names, and others that hold a name of its slots: their ``mark`` is None or another pool's.

        One bulk read: no call for any machine that is not the pool's. Sorted by slot, each machine once.
        :raises IncompleteAnswer: the answer may be missing machines; an empty pool is an empty list, never an error.
        """

    @abstractmethod
    def get_vm(self, pool: str, vm: str) -> Machine | None:
        """One machine, or None where there is none of this name."""

    def vm_exists(self, pool: str, vm: str) -> bool:
        return self.get_vm(pool, vm) is not None

    @abstractmethod
    def check(self, pool: str, making: int, deadline: Deadline) -> None:
        """Find out, without changing anything, whether ``making`` further machines could be made; raise the reason if not.

        Covers the networks, the image (there, readable, its checksum, safe, not larger than the disk) and the host's memory.
        """

    @abstractmethod
    def prepare(self, pool: str, deadline: Deadline) -> None:
        """Bring about what the pool's machines share (the image in the cache). Done already: no work, no change."""

    @abstractmethod
    def create_vm(self, pool: str, vm: str, mark: Mark, deadline: Deadline) -> Machine:
        """Make a machine with its mark (state CREATING) and start it, unless the pool's machines are kept off.

        A mark with a ``snapshot`` has it taken before the machine is started for the first time.
        ``prepare`` has been called. A machine that runs is complete: whoever finds one marked CREATING and not running
        knows that its making was interrupted.
        :raises NameTaken: a machine of this name exists, whosever it is; nothing was changed.
        :raises MaybeApplied: the answer was lost; look with ``get_vm`` and compare the mark's id.
        Any other error may leave the machine half-made, still with its mark.
        """

    @abstractmethod
    def destroy_vm(self, pool: str, vm: str, expected: Mark) -> bool:
        """Remove a machine with all that belongs to it and nothing else. False where it was gone already.

        Marks it DESTROYING first; when interrupted, a further call finishes the work.
        :raises MarkChanged: its mark's id or lease is not the expected one: it was replaced or handed out meanwhile.
        :raises NotOurs: it carries no mark of this pool.
        """

    def tidy(self, pool: str) -> None:  # noqa: B027 (most providers have nothing to do)
        """Remove what machines of the pool that others removed have left behind, and no machine has any more.

        The pool is held. What cannot be removed is in ``warnings``. Nothing to do where a machine is all there is.
        """

    @abstractmethod
    def start_vm(self, pool: str, vm: str, expected: Mark) -> None:
        """Have the machine running: power it on, resume it if paused, reset it if it runs already.

        :raises MarkChanged: its mark's id or lease is not the expected one: it was replaced or handed out meanwhile; it was not touched.
        :raises NotFound: there is none of this name.   :raises NotOurs: it carries no mark of this pool.
        """

    @abstractmethod
    def stop_vm(self, pool: str, vm: str) -> bool:
        """Have the machine off, at once, whatever its guest does; False where it was off already.

        :raises NotFound: there is none of this name.   :raises NotOurs: it carries no mark of this pool.
        """

    @abstractmethod
    def set_mark(self, pool: str, vm: str, mark: Mark, expected: Mark) -> None:
        """Compare-and-set the mark.

        :raises MarkChanged: the machine's mark is not ``expected``.   :raises NotOurs: it has none of this pool.
        :raises NotFound: the machine is gone.
        """

    @abstractmethod
    def readiness(self, pool: str, vms: Sequence[str]) -> Mapping[str, Readiness]:
        """Ask once, all machines together, whether they pass the pool's check. A machine that is gone is not ready.

        The calls to the hypervisor do not grow with the number of machines. Returns within a few seconds.
        """

    def vm_ready(self, pool: str, vm: str) -> bool:
        return self.readiness(pool, [vm])[vm].ready

    @abstractmethod
    def get_vm_host(self, pool: str, vm: str) -> str:
        """The name of the host the machine is on. :raises NotFound: there is none of this name."""

    def find_least_used_compatible_host(self, pool: str, vm: str) -> str:
        """The host best suited to take the machine; its own where none is clearly better. Capability ``migration``.

        By what is read of the hosts, which differs a little each time. So a host is better only if it is less full by a margin with the machine on it than
        its own host is now, and once it has moved there, the way back does not qualify.
        """
        raise NotSupported(f"the provider {self.name} does not migrate", obj=vm, phase="migrate")

    def migrate_vm_to_host(self, pool: str, vm: str, host: str) -> MigrationTimings:
        """Move the machine; its mark goes with it. Capability ``migration``."""
        raise NotSupported(f"the provider {self.name} does not migrate", obj=vm, phase="migrate")

    def create_disk(self, pool: str, vm: str, size_gb: float) -> None:
        """Add an empty disk, which goes when the machine goes. Capability ``disks``."""
        raise NotSupported(f"the provider {self.name} does not add disks", obj=vm, phase="disk")

    def create_snapshot(self, pool: str, vm: str, snapshot: str) -> None:
        """Keep the contents of the machine's disks as they are now; a machine that runs does so afterwards. Capability ``snapshots``.

        :raises NameTaken: it has a snapshot of this name.   :raises NotFound: there is no such machine.
        :raises NotOurs: it carries no mark of this pool.
        """
        raise NotSupported(f"the provider {self.name} does not take snapshots", obj=vm, phase="snapshot")

    def revert_snapshot(self, pool: str, vm: str, snapshot: str) -> None:
        """Give the machine the disks back that it had, which the snapshot outlives; its mark stays. Capability ``snapshots``.

        A machine that runs is switched off for it, and boots anew from what it then has. When interrupted, a further call finishes the work.
        :raises NotFound: the machine has no snapshot of this name, or there is no such machine; nothing was changed.
        :raises NotOurs: it carries no mark of this pool.
        """
        raise NotSupported(f"the provider {self.name} does not take snapshots", obj=vm, phase="snapshot")

    @abstractmethod
    def close(self) -> None:
        """End the session. Never raises; may be called twice."""
