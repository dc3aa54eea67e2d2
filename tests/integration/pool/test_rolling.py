# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How many machines are unavailable while outdated ones are rebuilt: leased and unhealthy ones count."""

from __future__ import annotations

from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import Lease
from ansible_collections.poolwright.virt.tests.integration.pool.sites import Site, steps


def leased_pool(site: Site, size: int, leased: int, **more: Any) -> dict[str, Any]:
    """A pool whose first machines are handed out; what is returned describes other machines."""
    assert site.run(site.ci(size))["failures"] == []
    for slot in range(1, leased + 1):
        site.set_mark(f"ci-{slot}", lease=Lease(f"job {slot}"))
    return site.ci(size, **{"memory_mb": 144, **more})


def test_the_only_ready_machine_is_not_taken_while_the_others_are_leased(site: Site) -> None:
    pool = leased_pool(site, 4, 3)
    before = site.snapshot()
    foretold, result = site.run(pool, check=True), site.run(pool)
    for one in (foretold, result):
        assert (one["actions"], one["changed"], one["failures"]) == ([], False, [])
        (warning,) = one["warnings"]
        assert "3 others are unavailable (leased, unhealthy, or not the pool's), and max_unavailable (25%) allows 1 of 4" in warning
    assert site.snapshot() == before
    assert result["pools"]["ci"]["machines"][3]["state"] == "outdated"


def test_those_that_come_back_are_renewed_and_then_the_others_follow(site: Site) -> None:
    pool = leased_pool(site, 2, 1)
    assert steps(site.run(pool)) == []
    site.set_mark("ci-1", lease=None)
    assert steps(site.run(pool)) == [("replace", "ci-1"), ("replace", "ci-2")]


def test_what_may_be_unavailable_beside_the_leased_is_taken(site: Site) -> None:
    pool = leased_pool(site, 4, 1, max_unavailable="3")
    result = site.run(pool)
    assert [(step["name"], step["wave"]) for step in result["actions"]] == [("ci-2", 2), ("ci-3", 2), ("ci-4", 3)]
    assert result["warnings"] == []


def test_a_machine_that_is_unhealthy_and_left_so_counts_and_one_that_is_repaired_does_not(site: Site) -> None:
    site.run(site.ci(1))
    pool = site.ci(2, memory_mb=144)
    assert steps(site.run({**pool, "on_outdated": "report"})) == [("create", "ci-2")]
    site.lab.power_off("ci-2")
    assert steps(site.run({**pool, "on_unhealthy": "report"})) == []
    assert steps(site.run(pool)) == [("replace", "ci-2"), ("replace", "ci-1")]
