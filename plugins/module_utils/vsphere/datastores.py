# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Datastores: what they are, and which one takes what is about to be placed.

``read`` asks vCenter, everything else decides on what it said.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InsufficientResources, InvalidSpec, NotFound
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.binding import moid_of
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Entry, Inventory

PHASE = "datastore"

# Every kind that vSphere has but PMEM, which holds nothing but disks in a host's persistent memory.
_ANY = frozenset({"VMFS", "NFS", "NFS41", "VSAN", "VVOL", "OTHER"})
# On these a disk is an object of the storage; its extent is no file that could be uploaded or replaced.
_OBJECTS = frozenset({"VSAN", "VVOL"})

NORMAL = "normal"


class NoDatastore(InsufficientResources):
    """No datastore can take it; the message has the reason for each."""

    code = "no_datastore"


@dataclass(frozen=True)
class Datastore:
    """A datastore as vCenter knew it when asked; sizes in bytes.

    ``uncommitted`` is what its thin disks may still grow by; ``maintenance`` is normal, enteringMaintenance or inMaintenance;
    ``cluster`` is the datastore cluster it is in, "" for none; ``hosts`` are the ids of usable hosts that mount it for writing, None where
    that was not asked. Raises ``ValueError`` for what cannot be.
    """

    entry: Entry
    name: str
    type: str
    capacity: int
    free: int
    uncommitted: int = 0
    accessible: bool = True
    maintenance: str = NORMAL
    cluster: str = ""
    hosts: frozenset[str] | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a datastore needs a name")
        if min(self.capacity, self.free, self.uncommitted) < 0:
            raise ValueError(f"datastore {self.name}: negative sizes: capacity {self.capacity}, free {self.free}, uncommitted {self.uncommitted}")
        if self.free > self.capacity:
            raise ValueError(f"datastore {self.name}: {self.free} bytes are free, of {self.capacity}")

    @classmethod
    def of(cls, entry: Entry, *, cluster: str = "") -> Datastore:
        """From what the inventory has read."""
        known = entry.properties
        accessible = bool(known.get("summary.accessible"))
        capacity = int(known.get("summary.capacity") or 0)
        # What is not accessible now says what it was like once, if anything.
        free = min(int(known.get("summary.freeSpace") or 0), capacity)
        return cls(
            entry,
            entry.name,
            str(known.get("summary.type") or ""),
            capacity,
            free,
            int(known.get("summary.uncommitted") or 0),
            accessible,
            str(known.get("summary.maintenanceMode") or NORMAL),
            cluster,
        )

    @property
    def moid(self) -> str:
        return self.entry.moid


@dataclass(frozen=True)
class Wanted:
    """Which datastores are meant: the one of a name or path, those whose name a regular expression fits from its start, the members of
    a datastore cluster, or all. One of the three at most.
    """

    name: str = ""
    pattern: str = ""
    cluster: str = ""

    def __post_init__(self) -> None:
        if sum(map(bool, (self.name, self.pattern, self.cluster))) > 1:
            raise InvalidSpec(["datastore: give a name, a regular expression or a datastore cluster, not several of them"])
        try:
            re.compile(self.pattern)
        except re.error as exc:
            raise InvalidSpec([f"datastore_regex: {self.pattern!r} is no regular expression: {exc}"]) from None

    def __str__(self) -> str:
        if self.cluster:
            return f"datastore cluster {self.cluster}"
        return self.name or (f"datastores that fit {self.pattern}" if self.pattern else "any datastore")

    def why_not(self, datastore: Datastore) -> str:
        """Why it is not meant; "" where it is."""
        path = self.name.strip("/")
        if path and datastore.name != path and not f"/{datastore.entry.path}".endswith(f"/{path}"):
            return "it has another name"
        if self.pattern and not re.match(self.pattern, datastore.name):
            return "its name does not fit the regular expression"
        if self.cluster and datastore.cluster != self.cluster.strip("/").rpartition("/")[2]:
            return f"it is not in the datastore cluster {self.cluster}"
        return ""


@dataclass(frozen=True)
class Choice:
    """The datastore, what remains free on it after this and the reservations, and why it was none of the others: (name, reason)."""

    datastore: Datastore
    free_after: int
    rejected: tuple[tuple[str, str], ...] = ()


@dataclass
class Reservations:
    """What this run is about to place, in bytes by the datastore's id. Counted on top of what was read, so read and forget together.

    Safe to use from several threads.
    """

    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _bytes: dict[str, int] = field(default_factory=dict)

    def choose(self, datastores: Sequence[Datastore], wanted: Wanted, size: int, *, allowed: frozenset[str] = _ANY) -> Choice:
        """``choose``, and reserve the space in the same step."""
        with self._lock:
            choice = choose(datastores, wanted, size, reserved=self._bytes, allowed=allowed)
            self._bytes[choice.datastore.moid] = self._bytes.get(choice.datastore.moid, 0) + size
            return choice

    def release(self, datastore: Datastore, size: int) -> None:
        """What was reserved is not placed after all."""
        with self._lock:
            self._bytes[datastore.moid] = max(0, self._bytes.get(datastore.moid, 0) - size)

    def forget(self) -> None:
        with self._lock:
            self._bytes.clear()

    def as_mapping(self) -> dict[str, int]:
        with self._lock:
            return dict(self._bytes)


def allowed_datastore_types(disk_type: str = "") -> frozenset[str]:
    """The types, in capitals, of datastores that can take an image of this disk type; "" is for what vCenter clones or makes itself.

    VMFS, NFS and a host's local storage take everything. vSAN and vVols take what vCenter imports (streamOptimized) and what it clones:
    elsewhere the extent is uploaded as a file, which they have not. PMEM is never chosen: it is bound to one host.
    """
    return _ANY if disk_type in ("", "streamOptimized") else _ANY - _OBJECTS


def choose(
    datastores: Iterable[Datastore],
    wanted: Wanted,
    size: int,
    *,
    reserved: Mapping[str, int] | None = None,
    allowed: frozenset[str] = _ANY,
    barred: Mapping[str, str] | None = None,
) -> Choice:
    """Of the wanted datastores that can take ``size`` bytes, the one with most free space; of equal ones the first by name.

    :param reserved: bytes by the datastore's id that are as good as taken.   :param allowed: see ``allowed_datastore_types``.
    :param barred: by the id of each that is out of the question, why.
    :raises NotFound: none is wanted.   :raises NoDatastore: none of those wanted can take it.
    """
    taken = reserved or {}
    listed = sorted(datastores, key=lambda one: (one.name, one.entry.path))
    meant = [one for one in listed if not wanted.why_not(one)]
    if not meant:
        have = ", ".join(one.name for one in listed[:20]) or "none"
        raise NotFound("no datastore is meant by this", obj=str(wanted), phase=PHASE, hint=f"there are: {have}")
    reasons = {one.moid: (barred or {}).get(one.moid) or _why_not(one, size, taken.get(one.moid, 0), allowed) for one in meant}
    fit = [one for one in meant if not reasons[one.moid]]
    rejected = tuple((one.name, reasons[one.moid]) for one in meant if reasons[one.moid])
    if not fit:
        said = "; ".join(f"{name}: {reason}" for name, reason in rejected)
        raise NoDatastore(f"no datastore can take it: {said}", obj=str(wanted), phase=PHASE)
    best = max(fit, key=lambda one: one.free - taken.get(one.moid, 0))
    left = best.free - taken.get(best.moid, 0)
    passed_over = tuple((one.name, f"{_mib(one.free - taken.get(one.moid, 0))} free, no more than {best.name}") for one in fit if one is not best)
    return Choice(best, left - size, (*rejected, *passed_over))


def read(inventory: Inventory, *, cluster: Entry | None = None) -> list[Datastore]:
    """All datastores of the datacenter, by path. No call of its own beyond the inventory's, and one where a compute cluster is given.

    :param cluster: only hosts of this cluster count as such that mount a datastore; without, ``hosts`` is None and not looked at.
    """
    pods = {pod.moid: pod.name for pod in inventory.datastore_clusters()}
    found = [Datastore.of(entry, cluster=pods.get(moid_of(entry.properties["parent"]), "")) for entry in inventory.datastores()]
    if cluster is None:
        return found
    usable = frozenset(host.moid for host in inventory.hosts_of(cluster) if _is_usable(host))
    # Only what the cluster's hosts know at all: a vCenter may have thousands of others.
    near = {moid_of(obj) for obj in cluster.properties.get("datastore") or ()}
    reachable = inventory.vim.get_many([one.entry.obj for one in found if one.moid in near], ["host"], phase=PHASE)
    mounts = {moid_of(one.obj): one.properties.get("host") for one in reachable}
    return [replace(one, hosts=frozenset(writable(mounts.get(one.moid)) & usable)) for one in found]


def writable(mounts: Any) -> frozenset[str]:
    """The ids of the hosts that mount a datastore for writing, from its property ``host``."""
    return frozenset(
        moid_of(mount.key)
        for mount in mounts or ()
        if mount.mountInfo.accessMode == "readWrite" and mount.mountInfo.mounted is not False and mount.mountInfo.accessible is True
    )


def _is_usable(host: Entry) -> bool:
    return host.properties.get("runtime.connectionState") == "connected" and not host.properties.get("runtime.inMaintenanceMode")


def _why_not(one: Datastore, size: int, taken: int, allowed: frozenset[str]) -> str:
    if not one.accessible:
        return "it is not accessible"
    if one.maintenance != NORMAL:
        return f"it is in maintenance ({one.maintenance})"
    if one.type.upper() not in allowed:
        return f"its type {one.type} cannot take this"
    if one.hosts is not None and not one.hosts:
        return "no usable host of the cluster mounts it for writing"
    if one.free - taken < size:
        planned = f", {_mib(taken)} of it reserved by this run" if taken else ""
        return f"{_mib(one.free)} free{planned}; {_mib(size)} needed"
    return ""


def _mib(size: int) -> str:
    return f"{size / 1024**2:,.0f} MiB"
