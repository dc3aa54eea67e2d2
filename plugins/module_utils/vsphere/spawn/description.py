# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""One machine in a vCenter as it shall be, by the names people give. None means: as it is, or as it comes."""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.hardware import Allocation
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.image import VMwareImage

LINKED, FULL, INSTANT = "linked", "full", "instant"


class State(str, enum.Enum):
    """PRESENT leaves the power of a machine that is there alone, and makes one that is not without starting it."""

    ON = "poweredon"
    OFF = "poweredoff"
    PRESENT = "present"
    ABSENT = "absent"


@dataclass(frozen=True)
class CardWish:
    """A card on a network; ``mac`` "" leaves the address to vCenter."""

    network: str
    model: str = "vmxnet3"
    mac: str = ""


@dataclass(frozen=True)
class DiskWish:
    """A blank disk beside the root disk. What a guest writes to an ``ephemeral`` one is gone once the machine is off.

    ``datastore`` "" is with the machine.
    """

    size_gb: float
    datastore: str = ""
    thin: bool = True
    ephemeral: bool = False


@dataclass(frozen=True)
class Seed:
    """cloud-init's data: on a CD-ROM (``config_drive``), or in the machine's configuration (``guestinfo``). Not shown by repr: it commonly holds secrets."""

    kind: str
    user_data: str = field(default="", repr=False)
    network_config: str = field(default="", repr=False)
    meta_data: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def digest(self, salt: str) -> str:
        """Of what it says; it tells nothing about it to whoever does not know it already."""
        said = json.dumps([salt, self.kind, self.user_data, self.network_config, self.meta_data], sort_keys=True)
        return hashlib.pbkdf2_hmac("sha256", said.encode(), salt.encode(), 100_000).hex()[:32]


@dataclass(frozen=True)
class Address:
    """Of one card; ``ip`` "" is DHCP."""

    ip: str = ""
    netmask: str = ""
    gateway: str = ""


@dataclass(frozen=True)
class Customization:
    """What vCenter sets in a Linux guest at its first boot."""

    hostname: str
    domain: str = ""
    dns: tuple[str, ...] = ()
    addresses: tuple[Address, ...] = ()


@dataclass(frozen=True)
class Description:
    """``folder`` is below the datacenter's folder of machines, ``datastore`` a datastore or a datastore cluster, ``storage_policy`` a policy's
    name or id; sizes are in GiB and MiB.
    """

    name: str
    state: State = State.ON
    folder: str = ""
    image: VMwareImage | None = None
    template: str = ""
    clone: str = FULL
    snapshot: str = ""
    cluster: str = ""
    host: str = ""
    resource_pool: str = ""
    datastore: str = ""
    storage_policy: str = ""
    cpus: int | None = None
    cores_per_socket: int | None = None
    memory_mb: int | None = None
    cpu_limits: Allocation = Allocation()
    memory_limits: Allocation = Allocation()
    firmware: str = ""
    secure_boot: bool | None = None
    guest_id: str = ""
    annotation: str | None = None
    extra_config: Mapping[str, str] = field(default_factory=dict)
    networks: tuple[CardWish, ...] | None = None
    disks: tuple[DiskWish, ...] = ()
    root_gb: float | None = None
    seed: Seed | None = None
    customization: Customization | None = None

    @property
    def names_a_place(self) -> bool:
        return bool(self.cluster or self.host or self.resource_pool or self.datastore)

    @property
    def source(self) -> str:
        """What it is made from, as a person knows it; without what may be secret in a URL."""
        return f"image {self.image}" if self.image is not None else f"template {self.template}"

    @property
    def origin(self) -> str:
        """What tells one source from another; a template's name is compared by ``SpawnMark.is_from``."""
        if self.image is None:
            return ""
        return f"{self.image.checksum or hashlib.sha256(self.image.source.encode()).hexdigest()} {self.image.variant()}"
