# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Runs that are killed at every point where they have changed something: the next one finishes, and nothing is left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from ansible_collections.poolwright.virt.tests.integration.libvirt.guests.conftest import DEFAULTS, NAME, Lab, difference

RUN = Path(__file__).with_name("killed_run.py")
ROOT = os.environ["ANSIBLE_COLLECTIONS_PATH"]


def run_until(lab: Lab, point: int, options: dict[str, Any]) -> tuple[bool, str]:
    """Whether the run was killed, and what it printed."""
    params = {**DEFAULTS, "uri": lab.uri, "location": str(lab.folder / "state"), "virt_type": "qemu", "name": NAME, **options}
    environment = {**os.environ, "PYTHONPATH": ROOT}
    done = subprocess.run([sys.executable, str(RUN), str(point), json.dumps(params)], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode in (0, -9), done.stderr
    return done.returncode == -9, done.stdout


def gone(lab: Lab) -> bool:
    assert lab.daemon is not None
    return (lab.files(), lab.daemon.virsh("list", "--all", "--name")) == ([], "")


def test_a_definition_that_was_killed_is_finished_or_taken_back(lab: Lab) -> None:
    wanted: dict[str, Any] = {"memory_mb": 64, "disks": [lab.root(), lab.blank()], "state": "running", "autostart": True}
    points = int(run_until(lab, -1, wanted)[1])
    assert points >= 8
    whole = lab.xml()
    lab.run(state="absent")
    assert gone(lab)
    for point in range(points):
        assert run_until(lab, point, wanted)[0]
        # What is on disk is named by a domain: nothing but that knows of it.
        named = lab.run(check=True, state="absent")["removed"]
        assert sorted(path.rpartition("/")[2] for path in named) == lab.files(), f"killed at point {point}"
        if point % 2:
            lab.run(**wanted)
            assert lab.run(**wanted)["changed"] is False
            assert difference(whole, lab.xml()) == set()
        lab.run(state="absent")
        assert gone(lab), f"killed at point {point}"


def test_a_removal_that_was_killed_is_finished(lab: Lab) -> None:
    wanted: dict[str, Any] = {"memory_mb": 64, "disks": [lab.root(), lab.blank()], "state": "running"}
    lab.run(**wanted)
    points = int(run_until(lab, -1, {"state": "absent"})[1])
    assert points >= 6
    assert gone(lab)
    for point in range(points):
        lab.run(**wanted)
        assert run_until(lab, point, {"state": "absent"})[0]
        lab.run(state="absent")
        assert gone(lab), f"killed at point {point}"


def test_a_change_that_was_killed_is_finished(lab: Lab) -> None:
    before: dict[str, Any] = {"memory_mb": 64, "disks": [lab.blank("a")], "state": "running"}
    after: dict[str, Any] = {
        "memory_mb": 64,
        "disks": [lab.blank("a", size_gb=0.02), lab.blank("b")],
        "title": "changed",
        "metadata": {"a": "b"},
        "state": "running",
    }
    lab.run(**before)
    points = int(run_until(lab, -1, after)[1])
    assert points >= 10
    whole, running = lab.xml(), lab.xml(live=True)
    lab.run(state="absent")
    for point in range(points):
        lab.run(**before)
        assert run_until(lab, point, after)[0]
        result = lab.run(**after)
        assert result["pending_restart"] == []
        assert lab.run(**after)["changed"] is False
        assert difference(whole, lab.xml()) == set()
        assert {line for line in difference(running, lab.xml(live=True)) if "devices/disk/source@file" in line} == set()
        lab.run(state="absent")
        assert gone(lab), f"killed at point {point}"
