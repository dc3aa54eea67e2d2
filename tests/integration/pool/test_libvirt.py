# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pools of real guests: they boot and answer, and whatever kills a run, one more run completes it."""

from __future__ import annotations

import random
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.poolwright.virt.tests.integration.pool.sites import BOOTS, Site, finished, killed, libvirt_site
from ansible_collections.poolwright.virt.tests.seeds import seeds

POINTS = 8


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = libvirt_site(tmp_path)
    yield made
    made.lab.cleanup()


def banner(address: str) -> str:
    with socket.create_connection((address, 22), timeout=120) as connection:
        return connection.makefile("r").readline().strip()


def test_guests_boot_answer_and_know_their_names(site: Site) -> None:
    pool = site.ci(2, **BOOTS, hostname="{name}", ready={"check": "tcp", "port": 22, "timeout": 900.0, "grace": 300.0})
    result = site.run(pool)
    assert result["failures"] == []
    machines = result["pools"]["ci"]["machines"]
    assert [banner(machine["ip"]) for machine in machines] == ["SSH-2.0-tiny_ci-1", "SSH-2.0-tiny_ci-2"]
    again = site.run(pool)
    assert (again["changed"], site.mutations(again)) == (False, {})
    assert site.run(pool | {"size": 0})["failures"] == []
    assert site.lab.leftovers() == []


def test_a_machine_that_runs_but_does_not_answer_is_replaced(site: Site) -> None:
    """A guest that hangs keeps its power and its address; only its silence tells."""
    pool = site.ci(1, **BOOTS, ready={"check": "tcp", "timeout": 900.0, "grace": 2.0})
    made = site.run(pool)["pools"]["ci"]["machines"][0]
    hang(made["ip"])
    result = site.run(pool)
    assert [(step["action"], step["name"]) for step in result["actions"]] == [("replace", "ci-1")]
    assert "nothing answers" in result["actions"][0]["reason"]
    assert result["pools"]["ci"]["ready"] == 1


def hang(address: str) -> None:
    """Have the packets for a guest go nowhere, as if it did not take them any more, for its present MAC address' neighbour entry."""
    link = subprocess.run(["ip", "-o", "route", "get", address], check=True, capture_output=True, text=True).stdout.split(" dev ")[1].split()[0]
    subprocess.run(["ip", "neigh", "replace", address, "lladdr", "02:00:00:00:00:01", "dev", link, "nud", "permanent"], check=True)


@pytest.mark.parametrize("point", seeds(gate=2, soak=8))
def test_a_fill_killed_at_any_call_is_completed_by_one_more_run(site: Site, point: int) -> None:
    size = 3
    killed(site.start(site.ci(size, hostname="{name}"), kill_at_call=random.Random(point).randint(8, 30)))
    mended = site.run(site.ci(size, hostname="{name}"))
    assert mended["failures"] == []
    site.pool["hostname"] = "{name}"
    site.assert_exact(size)


def test_two_runs_at_once_make_the_pool_once(site: Site) -> None:
    results = [finished(child) for child in [site.start(site.ci(4)), site.start(site.ci(4))]]
    assert [result["failures"] for result in results] == [[], []]
    assert sorted(name for result in results for name in result["pools"]["ci"]["created"]) == ["ci-1", "ci-2", "ci-3", "ci-4"]
    site.assert_exact(4)
