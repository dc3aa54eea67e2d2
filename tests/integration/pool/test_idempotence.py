# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A second run changes nothing, and check mode foretells exactly what a run does."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.poolwright.virt.tests.integration.pool.sites import Site

STEPS: list[tuple[str, dict[str, Any]]] = [
    ("create", {"size": 2}),
    ("grow", {"size": 3}),
    ("shrink", {"size": 1}),
    ("replace", {"size": 1, "memory_mb": 80}),
    ("empty", {"size": 0}),
]


def test_check_mode_foretells_and_a_second_run_changes_nothing(site: Site) -> None:
    for step, options in [*STEPS, ("absent", {"size": 0, "state": "absent"})]:
        before = site.snapshot()
        foretold = site.run(site.ci(**options), check=True)
        assert site.mutations(foretold) == {}, step
        assert site.snapshot() == before, step

        done = site.run(site.ci(**options))
        assert done["failures"] == [], step
        assert (foretold["actions"], foretold["diff"], foretold["changed"]) == (done["actions"], done["diff"], done["changed"]), step
        for account in ("created", "destroyed", "replaced", "started", "finished"):
            assert sorted(foretold["pools"]["ci"][account]) == sorted(done["pools"]["ci"][account]), step

        settled = site.snapshot()
        again = site.run(site.ci(**options))
        assert (again["changed"], again["actions"], again["failures"]) == (False, [], []), step
        assert again["diff"]["before"] == again["diff"]["after"], step
        assert site.mutations(again) == {}, step
        assert site.snapshot() == settled, step
    assert site.lab.machines() == set()
    assert site.lab.leftovers() == []


def test_info_shows_what_the_run_returned(site: Site) -> None:
    made = site.run(site.ci(1))
    found = site.read()
    assert found["changed"] is False
    shown, returned = found["pools"]["ci"]["machines"][0], made["pools"]["ci"]["machines"][0]
    for key in ("name", "slot", "state", "power", "host", "image", "spec_hash", "created_at", "reason"):
        assert shown[key] == returned[key]
    assert site.mutations(found) == {}


def test_one_run_logs_in_once_for_several_pools(site: Site) -> None:
    result = site.run(site.ci(1), {**site.pool, "name": "demo", "size": 1})
    assert result["stats"]["logins"] == 1
    assert {name: pool["ready"] for name, pool in result["pools"].items()} == {"ci": 1, "demo": 1}


def test_every_pool_can_be_removed_at_once(site: Site) -> None:
    site.run(site.ci(1), {**site.pool, "name": "demo", "prefix": "show", "size": 1})
    site.lab.put_foreign("other-1")
    result = site.run(state="absent", all_pools=True)
    assert {name: pool["destroyed"] for name, pool in result["pools"].items()} == {"ci": ["ci-1"], "demo": ["show-1"]}
    assert site.lab.machines() == {"other-1"}
    assert site.lab.leftovers() == []


def test_a_pool_with_a_prefix_is_read_and_removed_by_its_name_alone(site: Site) -> None:
    site.run(site.ci(1, prefix="build"))
    assert site.read({"name": "ci"})["pools"]["ci"]["ready"] == 1
    assert site.run({"name": "ci", "state": "absent"})["pools"]["ci"]["destroyed"] == ["build-1"]
    assert site.lab.machines() == set()


def test_machines_named_by_a_former_prefix_make_room_for_new_ones(site: Site) -> None:
    site.run(site.ci(1, prefix="build"))
    result = site.run(site.ci(1))
    assert [(step["action"], step["name"]) for step in result["actions"]] == [("destroy", "build-1"), ("create", "ci-1")]
    site.assert_exact(1)


@pytest.mark.parametrize("limit", ["1", "50%"])
def test_a_run_that_would_remove_more_than_allowed_touches_nothing(site: Site, limit: str) -> None:
    site.run(site.ci(3))
    refused = site.refused(site.ci(1), max_delete=limit)
    assert refused.code == "max_delete"
    assert "2 of 3 machines (ci-2, ci-3)" in refused.message
    assert site.refused(site.ci(1), check=True, max_delete=limit).code == "max_delete"
    assert site.run(site.ci(1), max_delete="2")["pools"]["ci"]["destroyed"] == ["ci-2", "ci-3"]
