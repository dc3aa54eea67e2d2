# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Where machines go: cluster, resource pool, host and datastore, found by name or chosen, with the reason for every host that is not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InsufficientResources, InvalidSpec, NotFound
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import Placement
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


@dataclass(frozen=True)
class Site:
    """Where a pool's machines go. ``host`` None leaves it to DRS."""

    cluster: Entry
    resource_pool: Entry
    hosts: tuple[HostLoad, ...]
    balanced: bool  # DRS chooses the host
    host: Entry | None = None


def cluster_of(inventory: Inventory, host: Any) -> Entry:
    """The cluster that a host is in, or the host itself as one that stands alone."""
    entry = inventory.entry_of(host)
    above = None if entry is None else inventory.entry_of(entry.properties["parent"])
    if above is None:
        raise NotFound("its host is not in this datacenter", obj=moid_of(host), phase="look up", hint="name a cluster")
    return above


def resolve(vim: VIM, inventory: Inventory, wanted: Placement, template_host: Any) -> Site:
    """:param template_host: where machines go if nothing is named: to where their template is.

    :raises NotFound, Ambiguous, InvalidSpec: a name fits nothing, or several things, or two names do not go together.
    """
    host = inventory.host(wanted.host) if wanted.host else None
    if wanted.cluster:
        cluster = inventory.cluster(wanted.cluster)
        if host is not None and host.moid not in {member.moid for member in inventory.hosts_of(cluster)}:
            raise InvalidSpec([f"host: {host.path} is not in the cluster {cluster.path}; leave one of them out"])
    else:
        cluster = cluster_of(inventory, host.obj if host is not None else template_host)
    pool = inventory.resource_pool(wanted.resource_pool, cluster)
    if host is not None:
        return Site(cluster, pool, tuple(loads(vim, [host])), balanced=False, host=host)
    members, config = inventory.hosts_of(cluster), None
    wanted_here: dict[str, tuple[str, ...]] = {"HostSystem": HOST_PATHS}
    if cluster.kind == _CLUSTER:
        wanted_here[_CLUSTER] = (_CONFIG,)
    found = {moid_of(one.obj): one for one in vim.get_tree(wanted_here, root=cluster.obj, phase="look up")}
    if cluster.kind == _CLUSTER and cluster.moid in found:
        config = found[cluster.moid].properties.get(_CONFIG)
    drs = getattr(config, "drsConfig", None)
    hosts = [_load(member, found[member.moid].properties) for member in members if member.moid in found]
    return Site(cluster, pool, tuple(hosts), balanced=bool(drs is not None and drs.enabled))


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
    """The emptiest, counting what this run is about to put on each (MiB by host id)."""
    return min(hosts, key=lambda load: load.share_with(promised_mb.get(load.entry.moid, 0)))
