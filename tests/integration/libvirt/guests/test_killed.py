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

import pytest

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


def contents_of(lab: Lab, pattern: str = "*.raw") -> dict[str, bytes]:
    """What a guest would find first on each disk."""
    found = {}
    for path in sorted(lab.disks.glob(pattern)):
        with open(path, "rb") as stream:
            found[path.name] = stream.read(3)
    return found


def write(lab: Lab, text: bytes) -> None:
    for path in lab.disks.glob("*.raw"):
        with open(path, "r+b") as stream:
            stream.write(text)


def raw_disks(lab: Lab) -> list[dict[str, Any]]:
    return [lab.blank(name, backend="flat") for name in ("a", "b")]


@pytest.mark.parametrize("state", ["running", "shutoff"])
def test_a_snapshot_whose_taking_was_killed_is_whole_or_not_there(lab: Lab, state: str) -> None:
    wanted: dict[str, Any] = {"memory_mb": 64, "disks": raw_disks(lab), "state": state}
    taking: dict[str, Any] = {"snapshot": {"name": "s"}}
    lab.run(**wanted)
    points = int(run_until(lab, -1, taking)[1])
    assert points >= (12 if state == "running" else 8)
    for point in range(points):
        lab.run(snapshot={"name": "s", "state": "absent"})
        write(lab, b"one")
        assert run_until(lab, point, taking)[0]
        whole = lab.run(check=True, snapshot={"name": "t"})["snapshots"] == ["s", "t"]
        # Any run mends it, this one asks for something else.
        assert lab.run(title=f"after {point}")["state"] == state, f"killed at point {point}"
        kept = contents_of(lab, "*@s")
        assert kept == ({"g-1_a.raw@s": b"one", "g-1_b.raw@s": b"one"} if whole else {}), f"killed at point {point}"
    lab.run(state="absent")
    assert gone(lab)


def test_a_revert_that_was_killed_is_ended_before_the_guest_runs_again(lab: Lab) -> None:
    reverting: dict[str, Any] = {"snapshot": {"name": "s", "state": "reverted"}}
    lab.run(memory_mb=64, disks=raw_disks(lab), state="running")
    write(lab, b"one")
    lab.run(snapshot={"name": "s"})
    points = int(run_until(lab, -1, reverting)[1])
    assert points >= 12
    for point in range(points):
        lab.run(state="running")
        write(lab, b"two")
        assert run_until(lab, point, reverting)[0]
        assert lab.run(title=f"after {point}")["state"] == "running", f"killed at point {point}"
        left = contents_of(lab)
        assert len(set(left.values())) == 1, f"killed at point {point}: {left}"


def test_a_deletion_of_a_snapshot_that_was_killed_is_finished(lab: Lab) -> None:
    deleting: dict[str, Any] = {"snapshot": {"name": "s", "state": "absent"}}
    lab.run(memory_mb=64, disks=raw_disks(lab))
    lab.run(snapshot={"name": "s"})
    points = int(run_until(lab, -1, deleting)[1])
    for point in range(points):
        lab.run(snapshot={"name": "s"})
        assert run_until(lab, point, deleting)[0]
        lab.run(**deleting)
        assert [name for name in lab.files() if "@" in name] == [], f"killed at point {point}"
