# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What a provider is told and what it answers: plain frozen data, never an object of a hypervisor's library."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.options import DEFAULT_OPTIONS, DiskOptions
from ansible_collections.poolwright.virt.plugins.module_utils.images.source import ImageSource
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import Mark

if TYPE_CHECKING:
    # Loaded by whoever makes one: most runs have none.
    from ansible_collections.poolwright.virt.plugins.module_utils.storage.wish import Content
    from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.image import VMwareImage


class Power(str, enum.Enum):
    """A machine's power state as the hypervisor reports it."""

    RUNNING = "running"
    OFF = "off"
    PAUSED = "paused"
    CRASHED = "crashed"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class DiskSpec:
    """A disk of a machine. ``size_gb`` None keeps the image's own size; ``location`` "" is the provider's default.

    Of a disk beside the root disk, ``image`` or ``content`` say what is on it; neither: nothing.
    """

    backend: str = "qcow2"
    size_gb: float | None = None
    location: str = ""
    options: DiskOptions = DEFAULT_OPTIONS
    image: ImageSource | None = None
    content: Content | None = None


@dataclass(frozen=True)
class NetworkSpec:
    """One network card: on a network of the hypervisor, or on a bridge of the host."""

    network: str = ""
    bridge: str = ""
    model: str = "virtio"


@dataclass(frozen=True)
class SeedSpec:
    """cloud-init's NoCloud data. Not shown by repr: user data commonly holds secrets."""

    user_data: str = field(default="", repr=False)
    network_config: str = field(default="", repr=False)
    ssh_keys: tuple[str, ...] = ()
    hostname: str = ""  # may hold {name}, which becomes the slot's name

    @property
    def wanted(self) -> bool:
        return bool(self.user_data or self.network_config or self.ssh_keys or self.hostname)


class Clone(str, enum.Enum):
    """How a machine comes from its template: its disks are children of the template's, or copies, or it is forked from a running one."""

    LINKED = "linked"
    FULL = "full"
    INSTANT = "instant"


@dataclass(frozen=True)
class Placement:
    """Where in a vCenter a machine goes; all are names or inventory paths, "" leaves the choice to the provider.

    ``folder`` is below the datacenter's folder of machines. ``datastore`` names a datastore or a datastore cluster.
    """

    folder: str = ""
    cluster: str = ""
    host: str = ""
    resource_pool: str = ""
    datastore: str = ""


@dataclass(frozen=True)
class MachineSpec:
    """What each machine of a pool is. ``memory_mb`` is in MiB.

    It is made from ``image`` on a KVM host, from ``template`` or ``vmware_image`` on a vCenter; all are missing only where nothing will be made.
    ``disk`` is its root disk, ``disks`` are those beside it.
    """

    image: ImageSource | None = None
    vmware_image: VMwareImage | None = None
    template: str = ""
    clone: Clone = Clone.LINKED
    placement: Placement = Placement()
    cpus: int = 1
    memory_mb: int = 1024
    disk: DiskSpec = DiskSpec()
    disks: tuple[DiskSpec, ...] = ()
    networks: tuple[NetworkSpec, ...] = ()
    seed: SeedSpec = SeedSpec()
    power_on: bool = True


class Check(str, enum.Enum):
    """What has to be seen before a machine counts as ready; each includes the ones before it."""

    NONE = "none"
    RUNNING = "running"
    IP = "ip"
    TCP = "tcp"


@dataclass(frozen=True)
class ReadyCheck:
    """``timeout`` bounds a new machine's way to readiness, ``grace`` how long one that was ready may stay silent (seconds)."""

    check: Check = Check.RUNNING
    port: int = 22
    timeout: float = 300.0
    grace: float = 10.0
    interval: float = 0.5


@dataclass(frozen=True)
class PoolTemplate:
    """A pool as a provider knows it: how its machines are named and what each of them is."""

    name: str
    prefix: str
    machine: MachineSpec
    ready: ReadyCheck = ReadyCheck()

    def vm_name(self, slot: int) -> str:
        return f"{self.prefix}-{slot}"

    def slot_of(self, name: str) -> int | None:
        """The slot that a machine of this name holds, None for any other name."""
        found = re.fullmatch(re.escape(self.prefix) + r"-([1-9][0-9]*)", name)
        return int(found.group(1)) if found else None


@dataclass(frozen=True)
class Machine:
    """One machine as observed. ``mark`` None: it is not ours. ``broken`` says what it has lost, "" if nothing."""

    name: str
    power: Power
    mark: Mark | None = None
    host: str = ""
    ip: str = ""
    broken: str = ""


@dataclass(frozen=True)
class Readiness:
    """Whether a machine passes its pool's check; ``reason`` says what was seen instead."""

    ready: bool
    ip: str = ""
    reason: str = ""


@dataclass(frozen=True)
class MigrationTimings:
    """Seconds a migration took and where from and to."""

    source: str
    target: str
    seconds: float


@dataclass(frozen=True)
class Capabilities:
    """What a provider can do, declared rather than discovered by failure."""

    checks: frozenset[Check]
    backends: frozenset[str]
    disks: bool = False
    snapshots: bool = False
    migration: bool = False
    seed: bool = False
