# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Where a pool's machines go: cluster, resource pool and host, found by their names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec, NotFound
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import Placement
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.binding import moid_of
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.hosts import HostLoad, loads, members
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Entry, Inventory
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.vim import VIM


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
    """:param template_host: where machines go if nothing is named: to where their template is. None where
        there is none yet: then to the only cluster there is.

    :raises NotFound, Ambiguous, InvalidSpec: a name fits nothing, or several things, or two names do not go together.
    """
    host = inventory.host(wanted.host) if wanted.host else None
    if wanted.cluster:
        cluster = inventory.cluster(wanted.cluster)
        if host is not None and host.moid not in {member.moid for member in inventory.hosts_of(cluster)}:
            raise InvalidSpec([f"host: {host.path} is not in the cluster {cluster.path}; leave one of them out"])
    else:
        beside = host.obj if host is not None else template_host
        cluster = inventory.cluster() if beside is None else cluster_of(inventory, beside)
    pool = inventory.resource_pool(wanted.resource_pool, cluster)
    if host is not None:
        return Site(cluster, pool, tuple(loads(vim, [host])), balanced=False, host=host)
    there, balanced = members(inventory, cluster)
    return Site(cluster, pool, tuple(there), balanced)
