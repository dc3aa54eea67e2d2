# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``reset: snapshot``: a machine that is used up or unhealthy goes back to how it was made; where it cannot, it is rebuilt."""

from __future__ import annotations

import random
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import Lease, MarkState
from ansible_collections.poolwright.virt.tests.integration.pool.conftest import Simulated
from ansible_collections.poolwright.virt.tests.integration.pool.sites import Site, finished, killed, steps
from ansible_collections.poolwright.virt.tests.seeds import seeds


def resetting(site: Site, size: int, **more: Any) -> dict[str, Any]:
    return site.ci(size, reset="snapshot", **more)


def test_a_machine_that_was_used_goes_back_and_is_the_same_machine(site: Site) -> None:
    pool = resetting(site, 2)
    assert site.run(pool)["failures"] == []
    before, other = site.mark("ci-1"), site.lab.fingerprint("ci-2")
    site.use_up("ci-1")
    foretold = site.run(pool, check=True)
    result = site.run(pool)
    assert result["failures"] == result["warnings"] == []
    assert steps(foretold) == steps(result) == [("reset", "ci-1")]
    assert result["actions"][0]["reason"] == "its lease job 7 has ended"
    assert foretold["diff"] == result["diff"]
    assert foretold["pools"]["ci"]["reset"] == result["pools"]["ci"]["reset"] == ["ci-1"]
    after = site.mark("ci-1")
    assert (after.id, after.state, after.lease, after.spec_hash) == (before.id, MarkState.READY, None, before.spec_hash)
    assert after.created_at > before.created_at
    assert site.lab.fingerprint("ci-2") == other
    again = site.run(pool)
    assert (again["changed"], site.mutations(again)) == (False, {})
    assert site.run(resetting(site, 0))["failures"] == []
    assert site.lab.leftovers() == []


@pytest.mark.parametrize("harm", ["power_off", "pause"])
def test_an_unhealthy_machine_goes_back(site: Site, harm: str) -> None:
    pool = resetting(site, 1)
    site.run(pool)
    before = site.mark("ci-1")
    getattr(site.lab, harm)("ci-1")
    assert steps(site.run(pool)) == [("reset", "ci-1")]
    assert site.mark("ci-1").id == before.id
    assert steps(site.run(pool)) == []


def test_a_machine_that_lost_its_disk_is_rebuilt(site: Site) -> None:
    pool = resetting(site, 1)
    site.run(pool)
    site.lab.lose_disk("ci-1")
    result = site.run(pool)
    assert (steps(result), result["failures"]) == ([("replace", "ci-1")], [])
    site.assert_exact(1)


def test_a_machine_of_another_description_is_rebuilt(site: Site) -> None:
    site.run(resetting(site, 1))
    before = site.mark("ci-1")
    site.use_up("ci-1")
    result = site.run(resetting(site, 1, memory_mb=144))
    assert (steps(result), result["failures"]) == ([("replace", "ci-1")], [])
    assert site.mark("ci-1").id != before.id
    assert site.mark("ci-1").snapshot


def test_machines_from_before_are_kept_until_they_are_used_up(site: Site) -> None:
    site.run(site.ci(1))
    result = site.run(resetting(site, 1))
    assert (result["changed"], steps(result)) == (False, [])
    site.use_up("ci-1")
    assert steps(site.run(resetting(site, 1))) == [("replace", "ci-1")]
    site.use_up("ci-1")
    assert steps(site.run(resetting(site, 1))) == [("reset", "ci-1")]
    site.use_up("ci-1")
    assert steps(site.run(site.ci(1))) == [("replace", "ci-1")]


def test_a_machine_whose_snapshot_is_gone_is_rebuilt_with_a_warning(site: Site) -> None:
    pool = resetting(site, 2)
    site.run(pool)
    before = site.mark("ci-1")
    site.use_up("ci-1")
    site.set_mark("ci-1", snapshot="lost")
    result = site.run(pool)
    assert result["failures"] == []
    assert (result["pools"]["ci"]["replaced"], result["pools"]["ci"]["reset"]) == (["ci-1"], [])
    assert ["it cannot be reset" in warning for warning in result["warnings"]] == [True]
    assert site.mark("ci-1").id != before.id
    assert site.run(pool)["actions"] == []


def test_a_machine_that_is_handed_out_is_left_alone(site: Site) -> None:
    pool = resetting(site, 1)
    site.run(pool)
    site.set_mark("ci-1", lease=Lease("job 8"))
    site.lab.power_off("ci-1")
    before = site.snapshot()
    assert steps(site.run(pool)) == []
    assert site.snapshot() == before


def test_a_reset_counts_as_a_removal_for_what_a_run_may_remove(simulated: Simulated) -> None:
    site = simulated()
    pool = resetting(site, 2)
    site.run(pool)
    site.use_up("ci-1")
    assert site.refused(pool, max_delete="0").code == "max_delete"
    assert steps(site.run(pool, max_delete="1")) == [("reset", "ci-1")]


def test_a_machine_that_does_not_come_back_is_removed_as_a_new_one_would_be(simulated: Simulated) -> None:
    site = simulated()
    pool = resetting(site, 1, ready={"check": "tcp", "timeout": 1.0, "grace": 0.0, "interval": 0.05})
    site.run(pool)
    site.use_up("ci-1")
    site.connection["dummy"] = {"faults": [{"operation": "ready", "machine": "ci-1", "fault": "fail", "times": 1000}]}
    result = site.run(pool)
    assert [failed["code"] for failed in result["pools"]["ci"]["failed"]] == ["deadline_exceeded"]
    assert site.lab.machines() == set()
    site.connection["dummy"] = {}
    assert steps(site.run(pool)) == [("create", "ci-1")]


@pytest.mark.parametrize("fault", ["lost_answer", "lost_request", "session_expired"])
@pytest.mark.parametrize("operation", ["mark", "stop", "revert", "start"])
def test_a_lost_answer_is_no_lost_machine(simulated: Simulated, operation: str, fault: str) -> None:
    site = simulated()
    pool = resetting(site, 2)
    site.run(pool)
    before = site.mark("ci-1")
    site.use_up("ci-1")
    site.connection["dummy"] = {"faults": [{"operation": operation, "machine": "ci-1", "fault": fault, "times": 1}]}
    result = site.run(pool)
    site.connection["dummy"] = {}
    if result["failures"]:
        assert site.run(pool)["failures"] == []
    assert (site.mark("ci-1").id, site.mark("ci-1").state) == (before.id, MarkState.READY)
    assert site.run(pool)["actions"] == []


@pytest.mark.parametrize("point", seeds(gate=6, soak=20))
def test_a_reset_killed_at_any_call_is_completed_by_one_more_run(simulated: Simulated, point: int) -> None:
    site = simulated({"delays": {"boot": 0.05}, "seed": point})
    size = 3
    pool = resetting(site, size)
    site.run(pool)
    ids = [site.mark(f"ci-{slot}").id for slot in (1, 2, 3)]
    for slot in (1, 2):
        site.use_up(f"ci-{slot}")
    killed(site.start(pool, kill_at_call=random.Random(point).randint(2, 16), max_parallel=1 + point % 3))
    mended = site.run(pool)
    assert mended["failures"] == []
    assert [site.mark(f"ci-{slot}").id for slot in (1, 2, 3)] == ids
    assert site.run(pool)["actions"] == []
    assert site.lab.leftovers() == []


def test_two_runs_at_once_reset_a_machine_once(simulated: Simulated) -> None:
    site = simulated({"delays": {"boot": 0.1}})
    pool = resetting(site, 3)
    site.run(pool)
    site.use_up("ci-2")
    results = [finished(child) for child in [site.start(pool), site.start(pool)]]
    assert [result["failures"] for result in results] == [[], []]
    assert sorted(name for result in results for name in result["pools"]["ci"]["reset"]) == ["ci-2"]
