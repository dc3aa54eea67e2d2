# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Real guests on a libvirtd of the tests' own, which may be killed."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.images.source import ImageSource
from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt import LibvirtProvider
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import Mark, new_machine_id
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import (
    Check,
    Machine,
    MachineSpec,
    NetworkSpec,
    PoolTemplate,
    ReadyCheck,
    SeedSpec,
)
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats
from ansible_collections.poolwright.virt.tests.contract.labs.libvirt_qemu import own_libvirtd
from ansible_collections.poolwright.virt.tests.contract.labs.own_libvirtd import NETWORK, OwnLibvirtd
from ansible_collections.poolwright.virt.tests.integration.still import still_image

TINY = Path(__file__).parents[3] / ".work" / "lab" / "tiny.qcow2"
BOOT_SECONDS = 600.0


@dataclass
class Bench:
    """A provider for the pool ``it`` on the daemon, and short words for what the cases do with it. Its machines boot where that is asked for."""

    daemon: OwnLibvirtd
    location: Path
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        spec = MachineSpec(
            image=ImageSource(str(still_image(self.location.parent))),
            memory_mb=192,
            networks=(NetworkSpec(network=NETWORK),),
            seed=SeedSpec(hostname="{name}", ssh_keys=("ssh-ed25519 AAAA a",)),
        )
        self.template = PoolTemplate("it", "it", spec, ReadyCheck(Check.TCP))
        self.stats = Stats(self.clock)
        self.provider = self.another(self.template, self.stats)

    def another(self, template: PoolTemplate, stats: Stats) -> LibvirtProvider:
        return LibvirtProvider([template], self.clock, stats, uri=self.daemon.uri, location=str(self.location), virt_type="qemu")

    def with_an_image_that_boots(self) -> None:
        self.template = replace(self.template, machine=replace(self.template.machine, image=ImageSource(str(TINY))))
        self.provider.serve([self.template])

    def without_network(self) -> None:
        """The daemon may be killed under them."""
        self.template = replace(self.template, machine=replace(self.template.machine, networks=()), ready=ReadyCheck(Check.RUNNING))
        self.provider.serve([self.template])

    def deadline(self) -> Deadline:
        return Deadline.after(self.clock, BOOT_SECONDS)

    def mark(self, slot: int) -> Mark:
        return Mark("it", slot, new_machine_id("it"), "hash", "tiny", self.clock.now())

    def make(self, slot: int = 1) -> Machine:
        self.provider.prepare("it", self.deadline())
        return self.provider.create_vm("it", f"it-{slot}", self.mark(slot), self.deadline())

    def start(self, name: str = "it-1") -> None:
        mark = self.get(name).mark
        assert mark is not None
        self.provider.start_vm("it", name, mark)

    def get(self, name: str = "it-1") -> Machine:
        found = self.provider.get_vm("it", name)
        assert found is not None
        return found

    def until(self, holds: Callable[[], bool], what: str = "") -> None:
        deadline = self.deadline()
        while not holds():
            assert not deadline.passed, what
            self.clock.sleep(0.1)

    def until_ready(self, name: str = "it-1") -> str:
        """The machine's address."""
        self.until(lambda: self.provider.vm_ready("it", name), "no answer")
        return self.provider.readiness("it", [name])[name].ip

    def directories(self) -> list[str]:
        return sorted(path.name for path in self.location.glob("machines/*/*"))


def banner(address: str) -> str:
    with socket.create_connection((address, 22), 60) as probe:
        return probe.recv(100).decode().strip()


@pytest.fixture(scope="session")
def daemon() -> OwnLibvirtd:
    """The one that pools are tested on too."""
    assert TINY.exists(), f"there is no {TINY}: run make lab-up"
    return own_libvirtd()


@pytest.fixture
def bench(daemon: OwnLibvirtd, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(daemon, tmp_path / "state")
    yield made
    made.provider.close()
    daemon.remove_domains()
