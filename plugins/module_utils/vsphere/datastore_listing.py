# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The module ``datastore_info``: datastores as users see them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock
from ansible_collections.poolwright.virt.plugins.module_utils.errors import NotFound
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.binding import moid_of
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.connection import connect
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastores import PHASE, Datastore, Wanted, read, writable
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Inventory


def list_with(params: Mapping[str, Any]) -> dict[str, Any]:
    """Run the module. :raises NotFound, Ambiguous: something that was named is not there, or not the only one."""
    wanted = Wanted(pattern=params["datastore_regex"] or "", cluster=params["datastore_cluster"] or "")
    clock = Clock()
    stats = Stats(clock)
    with connect(params, clock, stats) as vim, stats.phase("look"):
        listed = listing(Inventory(vim, params["datacenter"] or ""), params["names"], wanted)
    return {"changed": False, "datastores": listed, "stats": stats.as_dict()}


def listing(inventory: Inventory, names: list[str], wanted: Wanted) -> list[dict[str, Any]]:
    """The datastores of these names, or those that are wanted."""
    found = read(inventory)
    if names:
        chosen = {inventory.datastore(name).moid for name in names}
        found = [one for one in found if one.moid in chosen]
    if wanted.cluster and not any(_is_named(pod.path, wanted.cluster) for pod in inventory.datastore_clusters()):
        have = ", ".join(pod.name for pod in inventory.datastore_clusters()) or "none"
        raise NotFound("there is no such datastore cluster", obj=wanted.cluster, phase=PHASE, hint=f"there are: {have}")
    found = [one for one in found if not wanted.why_not(one)]
    mounts = {moid_of(one.obj): one.properties.get("host") for one in inventory.vim.get_many([one.entry.obj for one in found], ["host"], phase=PHASE)}
    return [_shown(inventory, one, mounts.get(one.moid)) for one in found]


def _shown(inventory: Inventory, one: Datastore, mounts: Any) -> dict[str, Any]:
    able = writable(mounts)
    hosts = [(inventory.entry_of(mount.key), moid_of(mount.key)) for mount in mounts or ()]
    return {
        "name": one.name,
        "path": one.entry.path,
        "moid": one.moid,
        "type": one.type,
        "capacity": one.capacity,
        "free": one.free,
        "uncommitted": one.uncommitted,
        "accessible": one.accessible,
        "maintenance": one.maintenance,
        "datacenter": inventory.datacenter.path,
        "cluster": one.cluster,
        "url": str(one.entry.properties.get("summary.url") or ""),
        "hosts": sorted(({"name": host.name if host else moid, "writable": moid in able} for host, moid in hosts), key=lambda shown: str(shown["name"])),
    }


def _is_named(path: str, name: str) -> bool:
    return f"/{path}".endswith(f"/{name.strip('/')}")
