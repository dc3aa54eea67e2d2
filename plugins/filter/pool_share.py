# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: pool_share
short_description: The part of some pools that one of several hosts keeps
version_added: 0.1.0
author:
  - poolwright.virt contributors (@poolwright)
description:
  - Divides the size of each pool over hosts in proportion to their weights. Over all hosts the parts add up to the whole.
  - The part depends on the arguments only, not on what the hosts hold at the moment, so a second run moves nothing.
  - On each host the machines get a prefix of their own, the pool's and the host's name, so that no two hosts have a machine of the
    same name.
positional: host, weights
options:
  _input:
    description: Pools as M(poolwright.virt.vm_pool) takes them.
    type: list
    elements: dict
    required: true
  host:
    description: The host whose part is wanted, one of O(weights).
    type: str
    required: true
  weights:
    description: Every host that shares the pools, with its weight. Zero is a host that gets no machines.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what two hosts of different size keep of a pool of ten machines
  ansible.builtin.debug:
    msg: "{{ [{'name': 'ci', 'size': 10}] | poolwright.virt.pool_share(item, {'kvm-1': 4, 'kvm-2': 1}) }}"
  loop: [kvm-1, kvm-2]
  # kvm-1: [{"name": "ci", "size": 8, "prefix": "ci-kvm-1"}]
  # kvm-2: [{"name": "ci", "size": 2, "prefix": "ci-kvm-2"}]
"""

RETURN = r"""
_value:
  description: The pools with the size and the prefix that they have on the host.
  type: list
  elements: dict
"""

import math
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, Callable

from ansible.errors import AnsibleFilterError


def pool_share(pools: Sequence[Mapping[str, Any]], host: str, weights: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each pool as ``host`` keeps it.

    :raises AnsibleFilterError: the host is not among those that share, or the weights are of no use.
    """
    if host not in weights:
        raise AnsibleFilterError(f"pool_share: {host} is not among the hosts that share the pools: {', '.join(weights) or 'there are none'}")
    try:
        parts = {name: Fraction(str(weight)) for name, weight in weights.items()}
    except ValueError as exc:
        raise AnsibleFilterError(f"pool_share: a weight is no number: {exc}") from exc
    if min(parts.values()) < 0 or sum(parts.values()) == 0:
        raise AnsibleFilterError("pool_share: weights are 0 or more, and at least one is more")
    hosts = list(parts)
    before = sum((parts[name] for name in hosts[: hosts.index(host)]), Fraction(0)) / sum(parts.values())
    after = before + parts[host] / sum(parts.values())
    label = re.sub(r"[^A-Za-z0-9]+", "-", host).strip("-")
    return [_on_host(pool, label, before, after) for pool in pools]


def _on_host(pool: Mapping[str, Any], label: str, before: Fraction, after: Fraction) -> dict[str, Any]:
    here = {**pool, "prefix": f"{pool.get('prefix') or pool['name']}-{label}"}
    if pool.get("size") is not None:
        # The hosts lie end to end on a line as long as the pool; a host has the machines that begin in its part.
        size = int(pool["size"])
        here["size"] = math.ceil(size * after) - math.ceil(size * before)
    return here


class FilterModule:
    """Ansible's way to this file's filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"pool_share": pool_share}
