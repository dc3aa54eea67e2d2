# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Where a new machine goes, looked up and held against what it needs before anything is made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec, NotFound, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere import datastores, hosts
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.binding import moid_of
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import PermissionDenied
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.hardware import Card, network_facts
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Entry, Inventory
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.policies import Fit, Policies, Policy
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.description import FULL, INSTANT, CardWish, Description, DiskWish
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.vim import VIM

PHASE = "look up"


@dataclass(frozen=True)
class Place:
    """Where a new machine and its files go; ``host`` None leaves that to the cluster."""

    cluster: Entry
    pool: Entry
    host: Entry | None
    datastore: Entry


def find_fit(inventory: Inventory, policy: str, known: Policy | None = None) -> Fit | None:
    """The datastores of the storage policy of this name or id; None, without a call, where none is wanted.

    :param known: the policy, where it need not be looked up.
    :raises NotFound, Ambiguous: there is none, or several of the name.
    """
    if not policy:
        return None
    policies = Policies(inventory.vim)
    return policies.fit(known or policies.policy(policy), inventory.datastores())


def find_place(
    inventory: Inventory,
    wanted: Description,
    *,
    near: Any = None,
    home: Entry | None = None,
    size: int = 0,
    allowed: frozenset[str] | None = None,
    fit: Fit | None = None,
) -> Place:
    """:param near: the host that a template is on.   :param home: the datastore it is on, taken where none is named.
    :param size: bytes that are needed at once.   :param fit: the datastores of the storage policy.

    :raises NotFound, Ambiguous: a name is nobody's, or several things'.   :raises NoDatastore: none of those meant can take it; why, for each.
    """
    host = inventory.host(wanted.host) if wanted.host else None
    cluster = _cluster(inventory, wanted, host, near)
    if host is not None and host.moid not in {one.moid for one in inventory.hosts_of(cluster)}:
        raise InvalidSpec([f"host: {host.path} is not in the cluster {cluster.path}; leave one of the two out"])
    pool = inventory.resource_pool(wanted.resource_pool, cluster)
    barred = {} if fit is None else fit.reasons
    # A full clone may lie anywhere.
    if home is not None and home.moid in barred and wanted.clone == FULL:
        home = None
    meant = meant_datastores(inventory, wanted, home)
    there = datastores.read(inventory, cluster=cluster)
    try:
        choice = datastores.choose(there, meant, size, allowed=allowed or datastores.allowed_datastore_types(), barred=barred)
    except datastores.NoDatastore as exc:
        exc.hint = exc.hint if fit is None else str(fit)
        raise
    home = choice.datastore.entry
    if host is None and wanted.clone != INSTANT:
        host = choose_host(inventory, cluster, memory_mb=wanted.memory_mb or 0, datastore=home, about=wanted.name)
    return Place(cluster, pool, host, home)


def check_disks(inventory: Inventory, wishes: Iterable[DiskWish], fit: Fit | None, first: int = 0) -> None:
    """The datastores that disks of their own are wished on.

    :param first: the number of the first disk.
    :raises NotFound, Ambiguous: a name is nobody's, or several things'.   :raises NoDatastore: the storage policy does not take one.
    """
    for number, wish in enumerate(wishes, first):
        if not wish.datastore:
            continue
        entry = inventory.datastore(wish.datastore)
        if fit is not None and entry.moid in fit.reasons:
            raise datastores.NoDatastore(f"disks[{number}].datastore: {fit.reasons[entry.moid]}", obj=entry.path, phase=datastores.PHASE, hint=str(fit))


def choose_host(inventory: Inventory, cluster: Entry, *, memory_mb: int, datastore: Entry, about: str) -> Entry | None:
    """The emptiest host of a cluster that can take a machine; None where DRS chooses. One call.

    :raises InsufficientResources: none can; why not is said of each.
    """
    there, balanced = hosts.members(inventory, cluster)
    fit = hosts.compatible(there, hosts.Needs(memory_mb, frozenset({datastore.moid})), about)
    return None if balanced else hosts.least_used(fit, {}).entry


def meant_datastores(inventory: Inventory, wanted: Description, home: Entry | None = None) -> datastores.Wanted:
    """Which datastores the description means.   :param home: the one that is taken where it names none."""
    if not wanted.datastore:
        return datastores.Wanted(name=home.path if home is not None else "")
    try:
        return datastores.Wanted(name=inventory.datastore(wanted.datastore).path)
    except NotFound:
        clusters = [entry for entry in inventory.datastore_clusters() if wanted.datastore.strip("/") in (entry.name, entry.path)]
        if len(clusters) != 1:
            raise
        return datastores.Wanted(cluster=clusters[0].name)


def _cluster(inventory: Inventory, wanted: Description, host: Entry | None, near: Any) -> Entry:
    if wanted.cluster:
        return inventory.cluster(wanted.cluster)
    beside = host.obj if host is not None else near
    known = None if beside is None else inventory.entry_of(beside)
    above = None if known is None else inventory.entry_of(known.properties["parent"])
    if above is not None and "resourcePool" in above.properties:
        return above
    return inventory.cluster()


def find_cards(inventory: Inventory, wishes: Iterable[CardWish], cluster: Entry | None) -> list[Card]:
    """The networks of cards. Two or three calls where port groups are among them.

    :param cluster: whose hosts have to have them, where that is known.
    """
    listed = list(wishes)
    entries = []
    problems = []
    for number, wish in enumerate(listed):
        entry = inventory.network(wish.network)
        entries.append(entry)
        reachable = {moid_of(network) for network in (cluster.properties.get("network") or ())} if cluster is not None else {entry.moid}
        if entry.moid not in reachable:
            problems.append(
                f"networks[{number}].network: the hosts of {cluster.path if cluster else ''} do not have {entry.path}; choose another network or cluster"
            )
    if problems:
        raise InvalidSpec(problems)
    facts = network_facts(inventory.vim, entries)
    return [Card(facts[entry.moid], wish.model, wish.mac) for entry, wish in zip(entries, listed)]


def check_privileges(vim: VIM, needed: Iterable[tuple[Entry, Iterable[str]]]) -> None:
    """:raises PermissionDenied: the account lacks some; which, and on what. Nobody says so where it may not ask."""
    manager = vim.content.authorizationManager
    if manager is None:
        return
    wanted = {entry.moid: (entry, set(privileges)) for entry, privileges in needed}
    try:
        session = vim.get_properties(vim.content.sessionManager, ["currentSession"], phase=PHASE).get("currentSession")
        if session is None:
            return
        answer = vim.call(
            manager,
            "FetchUserPrivilegeOnEntities",
            phase="check",
            entities=[entry.obj for entry, _privileges in wanted.values()],
            userName=session.userName,
        )
    except VirtError as exc:
        if exc.transient:
            raise
        return
    missing = []
    for one in answer or ():
        entry, privileges = wanted[moid_of(one.entity)]
        lacking = sorted(privileges - set(one.privileges or ()))
        missing += [f"{', '.join(lacking)} on {entry.path}"] if lacking else []
    if missing:
        raise PermissionDenied(
            f"the account lacks {'; '.join(missing)}", obj=str(session.userName), phase="check", hint="grant the privileges named, or use another account"
        )
