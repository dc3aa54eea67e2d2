# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What a user declares: pools as frozen data. ``spec_parse`` makes them from a module's parameters."""

from __future__ import annotations

import enum
import functools
import hashlib
import json
import math
from dataclasses import dataclass, fields

from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.options import DEFAULT_OPTIONS, DiskOptions
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import (
    Check,
    DiskSpec,
    MachineSpec,
    Placement,
    PoolTemplate,
    ReadyCheck,
)

# Part of every hash: a change of what the hash covers must not pass for an unchanged machine.
_HASH_VERSION = 1


class OnUnhealthy(str, enum.Enum):
    """What happens to a machine that was ready once and is found off, paused, silent or damaged."""

    REPLACE = "replace"
    START = "start"
    REPORT = "report"


class OnOutdated(str, enum.Enum):
    """What happens to a machine that was made from another description than the pool's present one."""

    REPLACE = "replace"
    REPORT = "report"


class Reset(str, enum.Enum):
    """How a machine that is used up or unhealthy is made new: from its image, or by its snapshot."""

    REBUILD = "rebuild"
    SNAPSHOT = "snapshot"


CLEAN_SNAPSHOT = "poolwright-clean"
"""The snapshot that a machine goes back to: taken when it was made, before its first start."""


@dataclass(frozen=True)
class Share:
    """A number of machines, or a percentage of them."""

    value: float
    percent: bool = False

    @classmethod
    def parse(cls, text: str) -> Share:
        """``"3"`` or ``"25%"``. :raises ValueError: anything else, or outside 0..100 %."""
        text = text.strip()
        if text.endswith("%"):
            value = float(text[:-1])
            if not 0 <= value <= 100:
                raise ValueError(f"{text} is not between 0% and 100%")
            return cls(value, percent=True)
        if not text.isdigit():
            raise ValueError(f"{text!r} is neither a number of machines nor a percentage such as 25%")
        return cls(int(text))

    def of(self, total: int) -> int:
        """How many of ``total`` machines this is; a percentage is rounded down."""
        return math.floor(total * self.value / 100) if self.percent else int(self.value)

    def __str__(self) -> str:
        return f"{self.value:g}%" if self.percent else f"{self.value:g}"


@dataclass(frozen=True)
class PoolSpec:
    """One declared pool. ``present`` False: it shall have no machines at all. ``described`` False: only its name is known,
    which is enough to read it, and its machines are judged by themselves.
    """

    name: str
    prefix: str
    size: int = 0
    machine: MachineSpec = MachineSpec()
    ready: ReadyCheck = ReadyCheck()
    on_unhealthy: OnUnhealthy = OnUnhealthy.REPLACE
    on_outdated: OnOutdated = OnOutdated.REPLACE
    reset: Reset = Reset.REBUILD
    max_unavailable: Share = Share(25, percent=True)
    present: bool = True
    described: bool = True

    @property
    def wanted(self) -> int:
        """How many machines there shall be."""
        return self.size if self.present else 0

    def in_range(self, slot: int) -> bool:
        """Whether the pool has this slot; one that is not described may have any."""
        return slot <= self.wanted or not self.described

    @property
    def most_unavailable(self) -> int:
        """How many machines may be unavailable when ready ones are taken away; at least one, or nothing would ever be replaced."""
        return max(1, self.max_unavailable.of(self.size))

    @property
    def template(self) -> PoolTemplate:
        return PoolTemplate(self.name, self.prefix, self.machine, self.ready)

    def vm_name(self, slot: int) -> str:
        return self.template.vm_name(slot)


@functools.cache
def spec_hash(machine: MachineSpec) -> str:
    """16 hex digits that differ whenever a machine would have to be rebuilt to match the description.

    An image with a checksum is known by it, so moving it to another mirror rebuilds nothing; one without is known by its
    source. Whether the machine is kept running is not covered, since that takes no rebuild; nor are the keyring with which its disks
    are reached from here and what becomes of them in the end. Only what is not as it is by default is in it of what came
    later than the first machines, which so have the hash that they were made with.
    """
    image, seed, place = machine.vmware_image or machine.image, machine.seed, machine.placement
    covered: dict[str, object] = {
        "version": _HASH_VERSION,
        "image": None if image is None else [image.digest or image.source, image.format],
        "cpus": machine.cpus,
        "memory_mb": machine.memory_mb,
        "disk": [machine.disk.backend, machine.disk.size_gb, machine.disk.location],
        "networks": [[card.network, card.bridge, card.model] for card in machine.networks],
        "seed": [seed.user_data, seed.network_config, list(seed.ssh_keys), seed.hostname],
    }
    laid_out = [_as_made(machine.disk.options), *(_further(disk) for disk in machine.disks)]
    if any(laid_out):
        covered["disks"] = laid_out
    if machine.vmware_image is not None:
        covered["vmware_image"] = [machine.vmware_image.disk_type, machine.vmware_image.adapter_type]
    if machine.template or machine.vmware_image is not None or place != Placement():
        # In which folder a machine is found is not what it is.
        where = [place.cluster, place.host, place.resource_pool, place.datastore]
        covered["template"] = [machine.template, machine.clone.value, where]
    return hashlib.sha256(json.dumps(covered, sort_keys=True).encode()).hexdigest()[:16]


def _further(disk: DiskSpec) -> dict[str, object]:
    content, image = disk.content, disk.image
    return {
        "place": [disk.backend, disk.size_gb, disk.location],
        "options": _as_made(disk.options),
        "image": None if image is None else [image.digest or image.source, image.format, image.compression, image.convert_to],
        "content": None if content is None else [content.kind, content.file_system, content.directory, content.label],
    }


def _as_made(options: DiskOptions) -> dict[str, object]:
    """Those options that say what a disk is and how its machine reaches it, rather than how this collection does."""
    said = {item.name: getattr(options, item.name) for item in fields(options) if item.name not in ("clear", "keyring")}
    return {name: value for name, value in said.items() if value != getattr(DEFAULT_OPTIONS, name)}


def is_outdated(spec: PoolSpec, made_from: str) -> bool:
    """Whether a machine with this spec hash was made from another description than the pool's present one."""
    return spec.described and made_from != spec_hash(spec.machine)


def needs_address(check: Check) -> bool:
    """Whether a readiness check has to reach the machine over a network."""
    return check in (Check.IP, Check.TCP)
