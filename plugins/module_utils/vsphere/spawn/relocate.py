# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Where a machine that is there shall be, beside where it is: another host, resource pool or cluster is moved to, another datastore takes a rebuild."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec, NotFound
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.binding import library, moid_of
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastores import Datastore, read
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Entry, Inventory
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.compare import Change, Needs
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.description import Description
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.observe import Seen
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.place import choose_host, meant_datastores
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.work import Work


@dataclass(frozen=True)
class Move:
    """Where a machine is moved to; None stays. ``changes`` say so, and may need a rebuild instead."""

    pool: Entry | None = None
    host: Entry | None = None
    changes: tuple[Change, ...] = ()


def find_move(inventory: Inventory, wanted: Description, seen: Seen) -> Move:
    """What of the place that is wanted, if any, the machine does not have. One call where it goes to another cluster, else none.

    :raises NotFound, Ambiguous, InvalidSpec: a name is nobody's, or several things', or two names do not go together.
    """
    pool_now, host_now = _known(inventory, seen, "resourcePool"), _known(inventory, seen, "runtime.host")
    cluster_now = inventory.entry_of(pool_now.properties["owner"])
    host = inventory.host(wanted.host) if wanted.host else None
    cluster = inventory.cluster(wanted.cluster) if wanted.cluster else cluster_now if host is None else inventory.entry_of(host.properties["parent"])
    if cluster is None or cluster_now is None:
        raise NotFound("the cluster of its host is not in this datacenter", obj=seen.name, phase="look up", hint="name the cluster")
    if host is not None and host.moid not in {one.moid for one in inventory.hosts_of(cluster)}:
        raise InvalidSpec([f"host: {host.path} is not in the cluster {cluster.path}; leave one of the two out"])
    elsewhere = cluster.moid != cluster_now.moid
    home = inventory.datastore(DatastorePath.parse(seen.home).datastore)
    changes = _datastore(inventory, wanted, home)
    if elsewhere:
        reaches = home.moid in {moid_of(one) for one in cluster.properties.get("datastore") or ()}
        changes.append(Change("cluster", cluster_now.path, cluster.path, Needs.NOTHING if reaches else Needs.REBUILD))
        if host is None:
            host = choose_host(inventory, cluster, memory_mb=int(seen.properties["config.hardware"].memoryMB), datastore=home, about=seen.name)
    pool = inventory.resource_pool(wanted.resource_pool, cluster) if wanted.resource_pool or elsewhere else pool_now
    if pool.moid != pool_now.moid and not (elsewhere and not wanted.resource_pool):
        changes.append(Change("resource_pool", pool_now.path, pool.path))
    if wanted.host and host is not None and host.moid != host_now.moid:
        changes.append(Change("host", host_now.path, host.path))
    moves = host is not None and host.moid != host_now.moid
    return Move(pool if pool.moid != pool_now.moid else None, host if moves else None, tuple(changes))


def relocate(work: Work, seen: Seen, move: Move) -> None:
    """Move a machine, without a stop where it runs."""

    def there() -> Any:
        now = work.vim.get_properties(seen.obj, ["resourcePool", "runtime.host"], about=seen.name, phase="relocate")
        wanted = (("resourcePool", move.pool), ("runtime.host", move.host))
        return True if all(entry is None or moid_of(now[path]) == entry.moid for path, entry in wanted) else None

    spec = library().vim.vm.RelocateSpec(
        **({} if move.pool is None else {"pool": move.pool.obj}),
        **({} if move.host is None else {"host": move.host.obj}),
    )
    work.surely(seen.obj, "RelocateVM_Task", there, involved=[seen.obj], about=seen.name, phase="relocate", spec=spec, priority="defaultPriority")


def _datastore(inventory: Inventory, wanted: Description, home: Entry) -> list[Change]:
    """Its files stay where they are: disks that others share could not go with them."""
    if not wanted.datastore:
        return []
    here = next((one for one in read(inventory) if one.moid == home.moid), Datastore.of(home))
    meant = meant_datastores(inventory, wanted)
    return [Change("datastore", home.path, str(meant), Needs.REBUILD)] if meant.why_not(here) else []


def _known(inventory: Inventory, seen: Seen, path: str) -> Entry:
    found = seen.properties.get(path)
    entry = None if found is None else inventory.entry_of(found)
    if entry is None:
        raise NotFound(f"its {path} is not to be seen in this datacenter", obj=seen.name, phase="look up", hint="see whether the account may read it")
    return entry
