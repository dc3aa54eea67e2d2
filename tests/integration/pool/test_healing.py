# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What happens behind our back to a machine is found by the next run, which mends just that one and says why."""

from __future__ import annotations

from typing import Callable

import pytest

from ansible_collections.poolwright.virt.tests.integration.pool.sites import Site

Harm = Callable[[Site], None]


HARMS: dict[str, tuple[Harm, str, str]] = {
    "powered off": (lambda site: site.lab.power_off("ci-2"), "replace", "it is off and should be running"),
    "undefined": (lambda site: site.lab.undefine("ci-2"), "create", "the slot is empty"),
    "paused": (lambda site: site.lab.pause("ci-2"), "replace", "it is paused and should be running"),
    "without its disk": (lambda site: site.lab.lose_disk("ci-2"), "replace", "gone"),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_run_mends_the_machine_that_was(site: Site, harm: str) -> None:
    do_harm, action, reason = HARMS[harm]
    site.run(site.ci(3))
    do_harm(site)
    others = {name: site.lab.fingerprint(name) for name in ("ci-1", "ci-3")}

    foretold = site.run(site.ci(3), check=True)
    mended = site.run(site.ci(3))

    assert mended["failures"] == []
    assert [(step["action"], step["name"]) for step in mended["actions"]] == [(action, "ci-2")]
    assert reason in mended["actions"][0]["reason"]
    assert foretold["actions"] == mended["actions"]
    assert {name: site.lab.fingerprint(name) for name in ("ci-1", "ci-3")} == others
    site.assert_exact(3)


@pytest.mark.parametrize("harm", ["powered off", "paused"])
def test_on_unhealthy_start_starts_the_very_machine_again(site: Site, harm: str) -> None:
    made = site.run(site.ci(1, on_unhealthy="start"))["pools"]["ci"]["machines"][0]
    {"powered off": site.lab.power_off, "paused": site.lab.pause}[harm]("ci-1")
    result = site.run(site.ci(1, on_unhealthy="start"))
    assert result["pools"]["ci"]["started"] == ["ci-1"]
    kept = result["pools"]["ci"]["machines"][0]
    assert (kept["state"], kept["created_at"], kept["spec_hash"]) == ("ready", made["created_at"], made["spec_hash"])


def test_on_unhealthy_report_only_tells(site: Site) -> None:
    site.run(site.ci(1, on_unhealthy="report"))
    site.lab.power_off("ci-1")
    before = site.snapshot()
    result = site.run(site.ci(1, on_unhealthy="report"))
    assert (result["changed"], result["actions"]) == (False, [])
    assert result["pools"]["ci"]["machines"][0]["state"] == "stopped"
    assert result["pools"]["ci"]["ready"] == 0
    assert site.snapshot() == before


def test_a_foreign_machine_in_a_slot_is_left_alone_and_said_to_be_in_the_way(site: Site) -> None:
    site.lab.put_foreign("ci-2")
    before = site.lab.fingerprint("ci-2")
    for check in (True, False):
        result = site.run(site.ci(3), check=check)
        assert [step["name"] for step in result["actions"]] == ["ci-1", "ci-3"]
        (taken,) = result["pools"]["ci"]["failed"]
        assert (taken["name"], taken["code"]) == ("ci-2", "slot_taken")
        assert "another prefix" in taken["hint"]
        assert result["failures"]
    assert site.lab.fingerprint("ci-2") == before
    assert site.run(site.ci(0))["pools"]["ci"]["destroyed"] == ["ci-1", "ci-3"]
    assert site.lab.fingerprint("ci-2") == before


def test_what_an_undefined_machine_left_behind_goes_with_the_pool(site: Site) -> None:
    site.run(site.ci(2))
    site.lab.undefine("ci-1")
    site.lab.undefine("ci-2")
    assert site.run(site.ci(0, state="absent"))["actions"] == []
    assert site.lab.leftovers() == []


def test_outdated_machines_are_only_reported_where_the_pool_says_so(site: Site) -> None:
    site.run(site.ci(1))
    result = site.run(site.ci(1, memory_mb=96, on_outdated="report"))
    assert (result["changed"], result["actions"]) == (False, [])
    assert result["pools"]["ci"]["machines"][0]["state"] == "outdated"
