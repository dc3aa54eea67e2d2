# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Guests as ``libvirt_guest_info`` tells of them.

What libvirt counts comes for all guests in one call, leases in one for each network, the neighbour table in one look.
Only what libvirt has no bulk call for is asked guest by guest, and only where it is wanted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec, NotFound
from ansible_collections.poolwright.virt.plugins.module_utils.guests import power, record, tree
from ansible_collections.poolwright.virt.plugins.module_utils.guests.look import AddressBook, disks_view, networks_view
from ansible_collections.poolwright.virt.plugins.module_utils.guests.snapshots import writable_disks
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host, SeenStatistics
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.leases import is_reachable
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.snapshots import GuestSnapshots
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats

Result = dict[str, Any]
GATHER = ("statistics", "definition", "agent", "jobs", "snapshots")
_SNAPSHOTS_SECONDS = 60.0
_BLOCK = re.compile(r"block\.(\d+)\.(.+)")
_NET = re.compile(r"net\.(\d+)\.(.+)")


def read_guests(params: Mapping[str, Any]) -> Result:
    """:raises NotFound: a guest that was named is not there."""
    gather = frozenset(params.get("gather") or ())
    unknown = sorted(gather - set(GATHER))
    if unknown:
        raise InvalidSpec([f"gather: {one} is not one of {', '.join(GATHER)}" for one in unknown])
    clock = Clock()
    stats = Stats(clock)
    host = Host(str(params["uri"]), clock, stats)
    try:
        return {"changed": False, "guests": guests_of(host, params.get("names"), gather), "stats": stats.as_dict()}
    finally:
        host.close()


def guests_of(host: Host, names: Sequence[str] | None, gather: frozenset[str]) -> dict[str, Result]:
    """By name, in its order.

    :param names: the guests that are wanted, None for all.   :param gather: any of ``GATHER``.
    """
    seen = {one.guest.name: one for one in host.statistics()}
    missing = sorted(set(names or ()) - set(seen))
    if missing:
        raise NotFound(f"there is no guest {', '.join(missing)}", obj=host.uri, phase="observe", hint="correct names, or leave it out for all guests")
    persistent, autostart = host.persistent_uuids(), host.persistent_uuids(autostart=True)
    book = AddressBook(host)
    found = {}
    for name in sorted(seen if names is None else set(names)):
        try:
            found[name] = _guest(seen[name], gather, book, seen[name].guest.uuid in persistent, seen[name].guest.uuid in autostart)
        except NotFound:
            # It went while it was looked at.
            continue
    return found


def _guest(one: SeenStatistics, gather: frozenset[str], book: AddressBook, persistent: bool, autostart: bool) -> Result:
    stats, state = one.stats, power.name_of(one.state)
    active = state in ("running", "paused", "asleep")
    result: Result = {
        "name": one.guest.name,
        "uuid": one.guest.uuid,
        "state": state,
        "persistent": persistent,
        "autostart": autostart,
        "cpus": int(stats.get("vcpu.current", 0)),
        "max_cpus": int(stats.get("vcpu.maximum", 0)),
        "memory_mb": int(stats.get("balloon.current", 0)) // 1024,
        "max_memory_mb": int(stats.get("balloon.maximum", 0)) // 1024,
    }
    blocks = _numbered(stats, _BLOCK)
    if "definition" in gather:
        _add_definition(result, one, active, book)
    if "agent" in gather and active:
        told = one.guest.addresses("agent")
        result["agent_addresses"] = {mac: [address for address in found if is_reachable(address)] for mac, found in told.items()}
    if "statistics" in gather:
        result["statistics"] = {
            "cpu_ns": int(stats.get("cpu.time", 0)),
            "balloon": {key.partition(".")[2]: value for key, value in stats.items() if key.startswith("balloon.")},
            "blocks": list(blocks),
            "nets": list(_numbered(stats, _NET)),
        }
    if "jobs" in gather:
        targets = [str(block.get("name", "")) for block in blocks]
        result["job"] = one.guest.job() if active else {}
        result["block_jobs"] = {target: job for target in targets if active and (job := one.guest.block_job(target))}
    if "snapshots" in gather:
        result["snapshots"] = _snapshots(one)
    return result


def _snapshots(one: SeenStatistics) -> list[str]:
    disks = writable_disks(tree.parse(one.guest.definition()), one.guest.name, all_of_them=False)
    return GuestSnapshots(one.guest, disks).list(Deadline.after(Clock(), _SNAPSHOTS_SECONDS)) if disks else []


def _add_definition(result: Result, one: SeenStatistics, active: bool, book: AddressBook) -> None:
    domain = tree.parse(one.guest.xml())
    addresses = book.of(domain) if active else {}
    kind = domain.find("os/type")
    result |= {
        "title": domain.findtext("title", "") or "",
        "description": domain.findtext("description", "") or "",
        "metadata": record.values_of(domain),
        "pool": record.pool_of(domain),
        "machine": "" if kind is None else kind.get("machine", ""),
        "disks": disks_view(domain),
        "networks": networks_view(domain, addresses),
        "addresses": [address for found in addresses.values() for address in found],
    }


def _numbered(stats: Mapping[str, Any], pattern: re.Pattern[str]) -> Iterable[dict[str, Any]]:
    """Entries that libvirt spreads over keys with numbers, each put together."""
    found: dict[int, dict[str, Any]] = {}
    for key, value in stats.items():
        match = pattern.fullmatch(key)
        if match is not None:
            found.setdefault(int(match[1]), {})[match[2]] = value
    return [found[number] for number in sorted(found)]
