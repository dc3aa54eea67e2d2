# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""A lab: one hypervisor on which the contract cases run, and the hands that go behind a provider's back.

A case sees a hypervisor through a ``Provider`` only; whatever a user, another tool or a power cut would do to it is a
method of the lab. What a lab cannot stage it leaves out of ``abilities``, and the cases that need it are not collected.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock
from ansible_collections.poolwright.virt.plugins.module_utils.providers.base import Provider
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import Mark
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import (
    Capabilities,
    Check,
    MachineSpec,
    NetworkSpec,
    PoolTemplate,
    ReadyCheck,
)


class LabFailed(RuntimeError):
    """The lab cannot be started on this machine; the message says why and what is missing. Never a skip."""


class Ability(enum.Enum):
    """What only some labs can stage."""

    PAUSE = "pause"
    LOSE_DISK = "lose_disk"
    HALF_MADE = "half_made"
    HALF_GONE = "half_gone"
    LOSE_ANSWER = "lose_answer"
    EXPIRE_SESSION = "expire_session"
    OUTAGE = "outage"
    PARTIAL_LISTING = "partial_listing"
    SHARED = "shared"  # another process sees the same machines (not so for libvirt's test driver)
    FURTHER_DISKS = "further_disks"  # a machine is made with disks beside its root disk
    BOOTS_SLOWLY = "boots_slowly"  # a machine can be caught running but not yet passing the check ``ip``


class Lab(ABC):
    """One hypervisor. A new lab is made and started for each case, and cleaned up after it, also when the case failed.

    ``declared`` is what ``Provider.capabilities()`` must answer: cases are collected by it before anything runs.
    ``clock`` is the clock the providers get; a case waits on it and never on ``time.sleep``.
    """

    name: ClassVar[str]
    declared: ClassVar[Capabilities]
    abilities: ClassVar[frozenset[Ability]] = frozenset()

    def __init__(self, folder: Path, clock: Clock) -> None:
        """:param folder: the lab's own empty folder. :param clock: see the class."""
        self.folder = folder
        self.clock = clock

    @classmethod
    def make_clock(cls) -> Clock:
        """The clock of a new lab; an ``InstantClock`` where the hypervisor's time can be made up."""
        return Clock()

    @abstractmethod
    def start(self) -> None:
        """Make the hypervisor usable. :raises LabFailed: it cannot be."""

    @abstractmethod
    def cleanup(self) -> None:
        """Close all providers and remove everything this lab made. Never raises; may be called twice."""

    # -- providers and what they are given

    @abstractmethod
    def provider(self, pools: Sequence[PoolTemplate], clock: Clock | None = None) -> Provider:
        """A new provider with its own session and its own ``Stats``. ``clock`` None is the lab's own."""

    @abstractmethod
    def machine(self) -> MachineSpec:
        """The smallest machine that this hypervisor runs, its image included where one is needed."""

    @property
    @abstractmethod
    def network(self) -> str:
        """The name of a network that exists."""

    def template(self, name: str = "ci", *, prefix: str = "", machine: MachineSpec | None = None, check: Check = Check.RUNNING) -> PoolTemplate:
        """A pool of the lab's smallest machines. ``prefix`` "" is the pool's name."""
        spec = machine or self.machine()
        return PoolTemplate(name=name, prefix=prefix or name, machine=spec, ready=ReadyCheck(check=check, timeout=120.0))

    def on_network(self, network: str) -> MachineSpec:
        """The smallest machine, with one card on this network instead."""
        return replace(self.machine(), networks=(NetworkSpec(network=network),))

    def other_host(self, host: str) -> str:
        """A host that machines can move to from this one, of labs whose provider migrates."""
        raise LabFailed(f"the lab {self.name} has one host")

    @abstractmethod
    def mutating_calls(self, provider: Provider) -> Mapping[str, int]:
        """The calls that change something on the hypervisor which this provider has made so far, by name."""

    # -- the hypervisor, seen without a provider

    @abstractmethod
    def machines(self) -> set[str]:
        """The names of all machines there are, whosever they are."""

    @abstractmethod
    def fingerprint(self, name: str) -> str:
        """All there is to know about a machine (power, definition, mark, disks), to be compared: was it touched?"""

    @abstractmethod
    def leftovers(self) -> list[str]:
        """Whatever belongs to no machine: volumes, seeds, snapshots, temporary and lock files, processes."""

    # -- behind the provider's back

    @abstractmethod
    def put_foreign(self, name: str) -> None:
        """Make a machine that carries no mark, powered off."""

    @abstractmethod
    def power_off(self, name: str) -> None:
        """Pull the plug."""

    @abstractmethod
    def undefine(self, name: str) -> None:
        """Remove the machine, running or not, as a person in a hurry would. Its files may stay."""

    def disks(self, name: str) -> int:
        """How many disks the machine has, which are all there. ``Ability.FURTHER_DISKS``."""
        raise NotImplementedError

    def hold_addresses(self) -> AbstractContextManager[None]:
        """Meanwhile no guest gets an address, however long the case takes. ``Ability.BOOTS_SLOWLY``."""
        raise NotImplementedError

    def pause(self, name: str) -> None:
        """``Ability.PAUSE``."""
        raise NotImplementedError

    def lose_disk(self, name: str) -> None:
        """Remove the root disk; the machine is to be powered off by this too. ``Ability.LOSE_DISK``."""
        raise NotImplementedError

    def half_make(self, provider: Provider, pool: str, vm: str, mark: Mark) -> None:
        """Leave behind what a ``create_vm`` killed half-way leaves. ``Ability.HALF_MADE``."""
        raise NotImplementedError

    def half_destroy(self, provider: Provider, pool: str, vm: str) -> None:
        """Leave behind what a ``destroy_vm`` killed half-way leaves. ``Ability.HALF_GONE``."""
        raise NotImplementedError

    # -- faults on the way between provider and hypervisor

    def lose_answer(self, provider: Provider, method: str) -> None:
        """The provider's next call of this contract method does its work and loses the answer. ``Ability.LOSE_ANSWER``."""
        raise NotImplementedError

    def expire_session(self, provider: Provider) -> None:
        """The provider's next call finds its session ended; a new login works. ``Ability.EXPIRE_SESSION``."""
        raise NotImplementedError

    def cut_off(self, provider: Provider) -> None:
        """From now on the hypervisor does not answer this provider, until ``reconnect``. ``Ability.OUTAGE``."""
        raise NotImplementedError

    def reconnect(self, provider: Provider) -> None:
        """End ``cut_off``."""
        raise NotImplementedError

    def truncate_listing(self, provider: Provider) -> None:
        """The provider's next listing is not complete. ``Ability.PARTIAL_LISTING``."""
        raise NotImplementedError

    # -- other processes

    @abstractmethod
    def address(self) -> str:
        """With ``attach``, what another process needs to work on the same hypervisor (one line of text)."""

    @classmethod
    @abstractmethod
    def attach(cls, address: str) -> Lab:
        """A started lab on the same hypervisor, for use in another process. It is not cleaned up."""
