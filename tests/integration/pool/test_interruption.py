# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs that are killed, and runs side by side: one more run gives exactly the declared machines, and nothing is left."""

from __future__ import annotations

import random
import time

import pytest

from ansible_collections.poolwright.virt.tests.integration.pool.conftest import Simulated
from ansible_collections.poolwright.virt.tests.integration.pool.sites import finished, killed
from ansible_collections.poolwright.virt.tests.seeds import seeds


@pytest.mark.parametrize("point", seeds(gate=6, soak=25))
def test_a_fill_killed_at_any_call_is_completed_by_one_more_run(simulated: Simulated, point: int) -> None:
    site = simulated({"delays": {"create": [0.0, 0.01], "boot": 0.05}, "seed": point})
    size = 5
    calls = sum(site.run(site.ci(size), check=True)["stats"]["calls"].values()) + 6 * size
    at = random.Random(point).randint(1, calls)
    killed(site.start(site.ci(size), kill_at_call=at, max_parallel=1 + point % 4))
    mended = site.run(site.ci(size))
    assert mended["failures"] == []
    site.assert_exact(size)


@pytest.mark.parametrize("point", seeds(gate=3, soak=10))
def test_a_removal_killed_at_any_call_is_completed_by_one_more_run(simulated: Simulated, point: int) -> None:
    site = simulated()
    site.run(site.ci(4))
    killed(site.start(site.ci(0), kill_at_call=random.Random(point).randint(1, 14)))
    assert site.run(site.ci(0))["failures"] == []
    site.assert_exact(0)


@pytest.mark.parametrize("seed", seeds(gate=2, soak=5))
def test_a_fill_killed_at_any_moment_is_completed_by_one_more_run(simulated: Simulated, seed: int) -> None:
    site = simulated({"delays": {"create": 0.1, "boot": 0.1}})
    child = site.start(site.ci(6))
    time.sleep(0.15 + random.Random(seed).random() * 0.5)
    child.kill()
    killed(child)
    assert site.run(site.ci(6))["failures"] == []
    site.assert_exact(6)


@pytest.mark.parametrize("runs", [2, 4])
def test_runs_side_by_side_make_the_pool_once(simulated: Simulated, runs: int) -> None:
    site = simulated({"delays": {"create": 0.05, "boot": 0.05}})
    results = [finished(child) for child in [site.start(site.ci(8)) for _run in range(runs)]]
    assert [result["failures"] for result in results] == [[]] * runs
    assert sorted(name for result in results for name in result["pools"]["ci"]["created"]) == [f"ci-{slot}" for slot in range(1, 9)]
    site.assert_exact(8)


def test_runs_for_different_pools_do_not_wait_for_each_other(simulated: Simulated) -> None:
    site = simulated({"delays": {"create": 0.3}})
    one, other = site.start(site.ci(2)), site.start({**site.pool, "name": "demo", "size": 2})
    assert finished(one)["failures"] == finished(other)["failures"] == []


def test_a_run_told_to_stop_ends_in_order_and_the_next_goes_on(simulated: Simulated) -> None:
    site = simulated({"delays": {"create": 0.2}})
    calls = sum(site.run(site.ci(10), check=True)["stats"]["calls"].values())
    # With two machines at a time, some are made by then, and others are not begun.
    result = finished(site.start(site.ci(10), max_parallel=2, stop_at_call=calls + 8))
    assert site.lab.machines()
    assert result["failures"]
    assert set(result["pools"]["ci"]["untouched"].values()) == {"the run was told to stop"}
    assert {machine["state"] for machine in result["pools"]["ci"]["machines"]} <= {"ready", "booting"}
    assert site.run(site.ci(10))["failures"] == []
    site.assert_exact(10)
