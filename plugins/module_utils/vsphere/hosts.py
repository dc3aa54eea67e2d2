# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Hosts and how full they are: which of them can take a machine, with the reason for each that cannot, and which is emptiest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InsufficientResources
from ansible_collections.poolwright.virt.plugins.module_utils.placement import balance
from ansible_collections.poolwright.virt.plugins.module_utils.placement.balance import MARGIN, Load
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.binding import moid_of
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Entry, Inventory
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.vim import VIM

HOST_PATHS = (
    "name",
    "runtime.connectionState",
    "runtime.inMaintenanceMode",
    "summary.hardware.memorySize",
    "summary.hardware.cpuMhz",
    "summary.hardware.numCpuCores",
    "summary.quickStats.overallMemoryUsage",
    "summary.quickStats.overallCpuUsage",
    "datastore",
    "network",
)
_CLUSTER = "ClusterComputeResource"
_CONFIG = "configurationEx"
_MIB = 1024**2


@dataclass(frozen=True)
class HostLoad:
    """A host and how full it is. Memory in MiB; ``busy`` is the share of its processors in use."""

    entry: Entry
    connected: bool
    maintenance: bool
    memory_mb: int
    used_mb: int
    busy: float
    datastores: frozenset[str] = frozenset()
    networks: frozenset[str] = frozenset()

    @property
    def free_mb(self) -> int:
        return max(0, self.memory_mb - self.used_mb)

    def share_with(self, more_mb: int = 0) -> float:
        """How full it is with so much more on it, from 0 to 1: by what there is less of."""
        return max(self.busy, (self.used_mb + more_mb) / self.memory_mb if self.memory_mb else 1.0)


@dataclass(frozen=True)
class Needs:
    """What a host must have for a machine to run on it; things are known by their ids."""

    memory_mb: int = 0
    datastores: frozenset[str] = frozenset()
    networks: Mapping[str, str] = field(default_factory=dict)  # names by ids


def members(inventory: Inventory, cluster: Entry) -> tuple[list[HostLoad], bool]:
    """The hosts of a cluster, and whether DRS chooses among them. One call."""
    there = inventory.hosts_of(cluster)
    asked: dict[str, tuple[str, ...]] = {"HostSystem": HOST_PATHS}
    if cluster.kind == _CLUSTER:
        asked[_CLUSTER] = (_CONFIG,)
    found = {moid_of(one.obj): one for one in inventory.vim.get_tree(asked, root=cluster.obj, phase="look up")}
    config = found[cluster.moid].properties.get(_CONFIG) if cluster.kind == _CLUSTER and cluster.moid in found else None
    drs = getattr(config, "drsConfig", None)
    return [_load(host, found[host.moid].properties) for host in there if host.moid in found], bool(drs is not None and drs.enabled)


def loads(vim: VIM, hosts: Iterable[Entry]) -> list[HostLoad]:
    """One call for all of them."""
    entries = {entry.moid: entry for entry in hosts}
    found = vim.get_many([entry.obj for entry in entries.values()], HOST_PATHS, phase="look up")
    return sorted((_load(entries[moid_of(one.obj)], one.properties) for one in found), key=lambda load: load.entry.name)


def _load(entry: Entry, values: Mapping[str, Any]) -> HostLoad:
    cycles = int(values.get("summary.hardware.cpuMhz") or 0) * int(values.get("summary.hardware.numCpuCores") or 0)
    return HostLoad(
        entry=entry,
        connected=values.get("runtime.connectionState") == "connected",
        maintenance=bool(values.get("runtime.inMaintenanceMode")),
        memory_mb=int(values.get("summary.hardware.memorySize") or 0) // _MIB,
        used_mb=int(values.get("summary.quickStats.overallMemoryUsage") or 0),
        busy=int(values.get("summary.quickStats.overallCpuUsage") or 0) / cycles if cycles else 1.0,
        datastores=frozenset(moid_of(one) for one in values.get("datastore") or ()),
        networks=frozenset(moid_of(one) for one in values.get("network") or ()),
    )


def rejection(load: HostLoad, needs: Needs) -> str:
    """Why a host cannot take a machine, "" if it can."""
    if not load.connected:
        return "is not connected"
    if load.maintenance:
        return "is in maintenance mode"
    if needs.memory_mb > load.memory_mb:
        return f"has {load.memory_mb} MiB of memory"
    if needs.datastores and not needs.datastores & load.datastores:
        return "does not have the datastore"
    for moid, name in needs.networks.items():
        if moid not in load.networks:
            return f"does not have the network {name}"
    return ""


def compatible(hosts: Sequence[HostLoad], needs: Needs, about: str) -> list[HostLoad]:
    """Those that can take a machine. :raises InsufficientResources: none can; why not is said of each."""
    reasons = {load.entry.name: rejection(load, needs) for load in hosts}
    fit = [load for load in hosts if not reasons[load.entry.name]]
    if not fit:
        said = "; ".join(f"{name} {reason}" for name, reason in reasons.items()) or "there is none"
        raise InsufficientResources(
            f"no host can take a machine with {needs.memory_mb} MiB of memory: {said}",
            obj=about,
            phase="place",
            hint="give another cluster, host or datastore, or smaller machines",
        )
    return fit


def least_used(hosts: Sequence[HostLoad], promised_mb: Mapping[str, int]) -> HostLoad:
    """The emptiest, counting what this run is about to put on each (MiB by host id); the first by name among equals."""
    return min(hosts, key=lambda load: (load.share_with(promised_mb.get(load.entry.moid, 0)), load.entry.name))


def better(hosts: Sequence[HostLoad], own: HostLoad | None, memory_mb: int) -> HostLoad:
    """The host of those that can take a machine that suits it best.

    :param own: the one that it is on, if it may stay there; then a host must be clearly better.   :param memory_mb: what it takes along.
    """
    known = {load.entry.path: load for load in hosts}
    others = [Load(path, load.share_with(memory_mb)) for path, load in known.items() if load is not own]
    if own is None:
        return known[balance.least_used(others, MARGIN).name]
    chosen = balance.better(others, own.share_with(), MARGIN)
    return own if chosen is None else known[chosen.name]
