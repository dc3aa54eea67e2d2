# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: pool_overview
short_description: Put together what several hosts say about their pools
version_added: 0.1.0
author:
  - poolwright.virt contributors (@poolwright)
description:
  - Takes what M(poolwright.virt.vm_pool_info) or M(poolwright.virt.vm_pool) returned on each host, and makes one list of pools and one
    list of machines of it. Parts of a pool that several hosts hold are added up.
  - It is what the role P(poolwright.virt.pool_report#role) shows.
options:
  _input:
    description:
      - The results by host, one or a list of them. A later one of a list takes the place of an earlier one, pool by pool, and one of a
        skipped task counts for nothing.
      - A host with a result that has no C(pools), since the task failed, is kept as an error with its C(msg).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Read the pools of this host
  poolwright.virt.vm_pool_info:
    provider: dummy
    path: /tmp/pools.db
  register: found

- name: Show the address of every ready machine
  ansible.builtin.debug:
    msg: "{{ overview.machines | selectattr('state', 'eq', 'ready') | map(attribute='ip') }}"
  vars:
    overview: "{{ {inventory_hostname: found} | poolwright.virt.pool_overview }}"
"""

RETURN = r"""
_value:
  description:
    - C(pools), a list with C(name), C(size), C(ready), C(missing), C(states) (how many machines are in which state) and C(machines) of each
      pool.
    - C(machines), a list of all machines as M(poolwright.virt.vm_pool_info) shows them, each with its C(pool) and its C(source), the
      inventory host that it was read from.
    - C(sources), a list with C(name), C(error) and C(stats) of each host.
    - C(size) and C(ready), the sums over all pools.
  type: dict
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Callable

# The order in which states are told, from good to bad; and those of machines that fill no slot of their pool.
_STATES = (
    "ready",
    "outdated",
    "leased",
    "booting",
    "half_made",
    "removing",
    "resetting",
    "silent",
    "stopped",
    "broken",
    "expired",
    "surplus",
    "stray",
    "foreign",
)
_FILLS_NO_SLOT = frozenset({"surplus", "stray", "foreign"})

Result = Mapping[str, Any]
Row = dict[str, Any]


def pool_overview(results: Mapping[str, Result | Sequence[Result]]) -> Row:
    """One account of all pools on all hosts; pools by name, machines in the order of hosts and slots."""
    sources = [_source(name, [found] if isinstance(found, Mapping) else found) for name, found in results.items()]
    names = sorted({pool for source in sources for pool in source["pools"]})
    pools = [_pool(name, [source for source in sources if name in source["pools"]]) for name in names]
    return {
        "pools": pools,
        "machines": [machine for pool in pools for machine in pool["machines"]],
        "sources": [{key: source[key] for key in ("name", "error", "stats")} for source in sources],
        "size": sum(pool["size"] for pool in pools),
        "ready": sum(pool["ready"] for pool in pools),
    }


def _source(name: str, results: Sequence[Result]) -> Row:
    told = [result for result in results if not result.get("skipped")]
    failed = [str(result.get("msg") or "it gave no answer") for result in told or [{}] if "pools" not in result]
    pools: dict[str, Any] = {}
    for result in told:
        pools.update(result.get("pools") or {})
    return {"name": name, "error": failed[0] if failed else "", "pools": pools, "stats": _sum([result.get("stats") or {} for result in told])}


def _sum(stats: Iterable[Mapping[str, Any]]) -> Row:
    calls: Counter[str] = Counter()
    seconds: Counter[str] = Counter()
    logins = 0
    for one in stats:
        calls.update(one.get("calls") or {})
        seconds.update(one.get("seconds") or {})
        logins += int(one.get("logins") or 0)
    return {"calls": dict(calls), "logins": logins, "seconds": {phase: round(spent, 3) for phase, spent in seconds.items()}}


def _pool(name: str, sources: Sequence[Mapping[str, Any]]) -> Row:
    machines = [
        {**machine, "pool": name, "source": source["name"]} for source in sources for machine in sorted(source["pools"][name]["machines"], key=_by_slot)
    ]
    size = sum(int(source["pools"][name]["size"]) for source in sources)
    counts = Counter(str(machine["state"]) for machine in machines)
    return {
        "name": name,
        "size": size,
        "ready": sum(int(source["pools"][name]["ready"]) for source in sources),
        "missing": max(0, size - sum(count for state, count in counts.items() if state not in _FILLS_NO_SLOT)),
        "states": {state: counts[state] for state in sorted(counts, key=_rank)},
        "machines": machines,
    }


def _rank(state: str) -> tuple[int, str]:
    return (_STATES.index(state) if state in _STATES else len(_STATES)), state


def _by_slot(machine: Row) -> tuple[bool, int, str]:
    slot = machine.get("slot")
    return slot is None, slot or 0, str(machine["name"])


class FilterModule:
    """Ansible's way to this file's filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"pool_overview": pool_overview}
