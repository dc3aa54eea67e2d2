# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filters that the roles are made with."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.poolwright.virt.plugins.filter.pool_overview import pool_overview
from ansible_collections.poolwright.virt.plugins.filter.pool_share import pool_share

pytestmark = pytest.mark.any_core

WEIGHT: st.SearchStrategy[Any] = st.sampled_from([0, 0.5, 1, 2, 31.7, "4"])
HOSTS = st.from_regex(r"kvm-[a-z]{1,4}", fullmatch=True)
WEIGHTS = st.dictionaries(HOSTS, WEIGHT, min_size=1, max_size=8).filter(lambda weights: any(float(weight) for weight in weights.values()))


@given(size=st.integers(0, 200), weights=WEIGHTS)
def test_the_parts_add_up_to_the_whole_and_are_fair(size: int, weights: dict[str, Any]) -> None:
    parts = {host: pool_share([{"name": "ci", "size": size}], host, weights)[0]["size"] for host in weights}
    total = sum(float(weight) for weight in weights.values())
    assert sum(parts.values()) == size
    assert all(abs(parts[host] - size * float(weight) / total) < 1 for host, weight in weights.items())


def test_the_first_hosts_get_what_is_left_over() -> None:
    weights = {"a": 1, "b": 1, "c": 1}
    assert [pool_share([{"name": "ci", "size": 10}], host, weights)[0]["size"] for host in weights] == [4, 3, 3]


def test_every_host_has_a_prefix_of_its_own_and_the_rest_is_kept() -> None:
    pool = {"name": "ci", "size": 1, "prefix": "build", "memory_mb": 512}
    assert pool_share([pool], "kvm_1.example.org", {"kvm_1.example.org": 1}) == [{**pool, "prefix": "build-kvm-1-example-org"}]
    assert pool_share([{"name": "ci", "state": "absent"}], "a", {"a": 1}) == [{"name": "ci", "state": "absent", "prefix": "ci-a"}]


@pytest.mark.parametrize("weights", [{}, {"b": 1}, {"a": 0}, {"a": -1, "b": 2}, {"a": "much"}, {"a": None}])
def test_weights_of_no_use_are_refused(weights: dict[str, Any]) -> None:
    with pytest.raises(AnsibleFilterError, match="pool_share: "):
        pool_share([], "a", weights)


def result(name: str, size: int, *states: str) -> dict[str, Any]:
    machines = [{"name": f"{name}-{slot}", "slot": slot, "state": state} for slot, state in enumerate(states, 1)]
    pool = {"size": size, "ready": states.count("ready"), "machines": machines[::-1]}
    return {"pools": {name: pool}, "stats": {"calls": {"list": 1}, "logins": 1, "seconds": {"observe": 0.25}}}


def test_parts_of_a_pool_are_added_up() -> None:
    overview = pool_overview({"kvm-1": result("ci", 2, "ready", "broken"), "kvm-2": result("ci", 3, "ready", "foreign")})
    (pool,) = overview["pools"]
    assert (pool["size"], pool["ready"], pool["missing"], pool["states"]) == (5, 2, 2, {"ready": 2, "broken": 1, "foreign": 1})
    assert [(machine["source"], machine["name"]) for machine in overview["machines"]] == [
        ("kvm-1", "ci-1"),
        ("kvm-1", "ci-2"),
        ("kvm-2", "ci-1"),
        ("kvm-2", "ci-2"),
    ]
    assert (overview["size"], overview["ready"]) == (5, 2)


def test_a_later_reading_takes_the_place_of_an_earlier_one() -> None:
    overview = pool_overview({"kvm-1": [result("ci", 1, "ready"), result("ci", 3, "ready"), {"skipped": True}]})
    assert overview["size"] == 3
    assert overview["sources"] == [{"name": "kvm-1", "error": "", "stats": {"calls": {"list": 2}, "logins": 2, "seconds": {"observe": 0.5}}}]


@pytest.mark.parametrize(("found", "error"), [({"msg": "no route"}, "no route"), ({}, "it gave no answer"), ([{}, {"skipped": True}], "it gave no answer")])
def test_a_host_that_could_not_be_read_is_told(found: Any, error: str) -> None:
    overview = pool_overview({"kvm-1": found, "kvm-2": result("ci", 1, "ready")})
    assert [source["error"] for source in overview["sources"]] == [error, ""]
    assert overview["ready"] == 1
