# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What the labs on libvirt have in common: the hands that go behind the provider's back."""

from __future__ import annotations

import contextlib
import functools
import shutil
import subprocess
import tempfile
import uuid
import xml.etree.ElementTree as ET
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import libvirt

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import OperationFailed
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.ploop import DELTA, DESCRIPTOR
from ansible_collections.poolwright.virt.plugins.module_utils.images.source import ImageSource
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.guest import Guest
from ansible_collections.poolwright.virt.plugins.module_utils.placement.choose import Rules
from ansible_collections.poolwright.virt.plugins.module_utils.providers.base import Provider
from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt import CAPABILITIES, MUTATING, LibvirtProvider
from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt_machines.leftover import RECORD_NAME
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import Mark
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import MachineSpec, NetworkSpec, PoolTemplate
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats
from ansible_collections.poolwright.virt.tests.contract.labs.base import Ability, Lab

ROOT = Path(__file__).parents[3]
NAMED_SUFFIXES = {".lock", ".part"}


@functools.cache
def blank_qcow2() -> bytes:
    """A disk of 1 MiB with nothing on it, as a qcow2 file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "blank.qcow2")
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "1M"], check=True)
        return path.read_bytes()


class LibvirtLab(Lab):
    """Domains of a libvirt, their files below the lab's folder."""

    declared = CAPABILITIES
    abilities = frozenset({Ability.PAUSE, Ability.LOSE_DISK, Ability.HALF_MADE, Ability.HALF_GONE, Ability.FURTHER_DISKS})
    domain_type = "qemu"

    def __init__(self, folder: Path, clock: Clock) -> None:
        super().__init__(folder, clock)
        self.location = folder / "state"
        self.providers: list[LibvirtProvider] = []
        self._connection: Any = None

    @property
    def connection(self) -> Any:
        """The lab's own, beside the providers'."""
        if self._connection is None:
            self._connection = libvirt.open(self.own_uri())
        return self._connection

    @abstractmethod
    def own_uri(self) -> str:
        """The URI of the libvirt that the domains are on."""

    @property
    def peers(self) -> Mapping[str, str]:
        """KVM hosts that machines may move to, as the provider is given them."""
        return {}

    @property
    def rules(self) -> Rules:
        """When one of them takes a machine, and when a machine gains by it."""
        return Rules()

    def provider_uri(self) -> str:
        return self.own_uri()

    def provider(self, pools: Sequence[PoolTemplate], clock: Clock | None = None) -> Provider:
        clock = clock or self.clock
        # No probe: what it answers on this machine is not what the cases are about.
        made = LibvirtProvider(
            pools, clock, Stats(clock), uri=self.provider_uri(), location=str(self.location), probe=lambda: False, peers=self.peers, rules=self.rules
        )
        self.providers.append(made)
        return made

    @abstractmethod
    def image(self) -> Path:
        """A small image to make machines from."""

    def machine(self) -> MachineSpec:
        source = ImageSource(str(self.image()))
        return MachineSpec(image=source, memory_mb=128, networks=(NetworkSpec(network=self.network),))

    @property
    def network(self) -> str:
        return "default"

    def mutating_calls(self, provider: Provider) -> Mapping[str, int]:
        return {name: calls for name, calls in provider.stats.as_dict()["calls"].items() if name in MUTATING}

    def machines(self) -> set[str]:
        return {domain.name() for domain in self.connection.listAllDomains()}

    def fingerprint(self, name: str) -> str:
        domain = self.connection.lookupByName(name)
        xml = domain.XMLDesc()
        files = [source.get("file", "") for source in ET.fromstring(xml).iterfind("devices/disk/source")]
        there = {path: Path(path).exists() for path in files}
        return repr((domain.UUIDString(), domain.state(), xml, there))

    def leftovers(self) -> list[str]:
        """Files below ``machines`` that no domain names, directories without files, and anything temporary.

        A snapshot goes with its disk, a ploop disk's descriptor with its delta, and the copy of a machine's record with its directory.
        """
        xml = "".join(domain.XMLDesc() for domain in self.connection.listAllDomains())
        found = []
        for path in sorted(self.location.rglob("*")):
            in_machines = path.relative_to(self.location).parts[0] == "machines" and path.name != "machines"
            owner = path.parent if path.name == RECORD_NAME else path.with_name(DELTA if path.name == DESCRIPTOR else path.name.partition("@")[0])
            if path.suffix in NAMED_SUFFIXES or (in_machines and str(owner) not in xml):
                found.append(str(path))
        return found

    def put_foreign(self, name: str) -> None:
        arch = "i686" if self.domain_type == "test" else "x86_64"
        system = f"<os><type arch='{arch}'>hvm</type></os>"
        self.connection.defineXML(f"<domain type='{self.domain_type}'><name>{name}</name><uuid>{uuid.uuid4()}</uuid><memory>65536</memory>{system}</domain>")

    def disks(self, name: str) -> int:
        sources = ET.fromstring(self.connection.lookupByName(name).XMLDesc()).iterfind("devices/disk/source")
        return sum(Path(source.get("file", "")).exists() for source in sources)

    def power_off(self, name: str) -> None:
        self.connection.lookupByName(name).destroy()

    def undefine(self, name: str) -> None:
        domain = self.connection.lookupByName(name)
        if domain.isActive():
            domain.destroy()
        domain.undefine()

    def pause(self, name: str) -> None:
        self.connection.lookupByName(name).suspend()

    def lose_disk(self, name: str) -> None:
        self.power_off(name)
        (disk,) = self.location.glob(f"machines/*/{name}.*/root.qcow2")
        disk.unlink()

    def half_make(self, provider: Provider, pool: str, vm: str, mark: Mark) -> None:
        provider.prepare(pool, Deadline.after(self.clock, 600))
        with mock.patch.object(Guest, "start", side_effect=OperationFailed("killed")), contextlib.suppress(OperationFailed):
            provider.create_vm(pool, vm, mark, Deadline.after(self.clock, 600))

    def half_destroy(self, provider: Provider, pool: str, vm: str) -> None:
        machine = provider.get_vm(pool, vm)
        assert machine is not None and machine.mark is not None
        with mock.patch.object(Guest, "destroy", side_effect=OperationFailed("killed")), contextlib.suppress(OperationFailed):
            provider.destroy_vm(pool, vm, machine.mark)

    def cleanup(self) -> None:
        for provider in self.providers:
            provider.close()
        if self.own_uri():
            for domain in self.connection.listAllDomains():
                if domain.name() not in self.spared():
                    if domain.isActive():
                        domain.destroy()
                    domain.undefine()
            self.connection.close()
            self._connection = None
        shutil.rmtree(self.location, ignore_errors=True)

    def spared(self) -> set[str]:
        return set()

    def address(self) -> str:
        return str(self.folder)
