# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Runs that are killed where they have changed something, in a soak at every such point: the next one finishes, and nothing is left behind."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.poolwright.virt.tests.integration import forked
from ansible_collections.poolwright.virt.tests.integration.libvirt.guests import killed_run
from ansible_collections.poolwright.virt.tests.integration.libvirt.guests.conftest import DEFAULTS, NAME, Lab, difference
from ansible_collections.poolwright.virt.tests.seeds import points


def run_until(lab: Lab, point: int, options: dict[str, Any]) -> int | None:
    """Nothing where the run was killed; where it ran through, how many points it has."""
    params = {**DEFAULTS, "uri": lab.uri, "location": str(lab.folder / "state"), "virt_type": "qemu", "name": NAME, **options}
    found: int | None = forked.start(killed_run.run_until, point, params).result()
    return found


def points_of(lab: Lab, options: dict[str, Any], least: int) -> int:
    count = run_until(lab, -1, options)
    assert count is not None and count >= least
    return count


def chosen(number: int, test: str) -> list[int]:
    return points(number, 6, f"guest's {test}")


def is_killed(lab: Lab, point: int, options: dict[str, Any]) -> bool:
    return run_until(lab, point, options) is None


def gone(lab: Lab) -> bool:
    assert lab.daemon is not None
    return (lab.files(), lab.daemon.virsh("list", "--all", "--name")) == ([], "")


def test_a_definition_that_was_killed_is_finished_or_taken_back(lab: Lab) -> None:
    wanted: dict[str, Any] = {"memory_mb": 64, "disks": [lab.still(), lab.blank()], "state": "running", "autostart": True}
    count = points_of(lab, wanted, 8)
    whole = lab.xml()
    lab.run(state="absent")
    assert gone(lab)
    for number, point in enumerate(chosen(count, "definition")):
        assert is_killed(lab, point, wanted)
        # What is on disk is named by a domain: nothing but that knows of it.
        named = lab.run(check=True, state="absent")["removed"]
        assert sorted(path.rpartition("/")[2] for path in named) == lab.files(), f"killed at point {point}"
        if number % 2:
            lab.run(**wanted)
            assert lab.run(**wanted)["changed"] is False
            assert difference(whole, lab.xml()) == set()
        lab.run(state="absent")
        assert gone(lab), f"killed at point {point}"


def test_a_removal_that_was_killed_is_finished(lab: Lab) -> None:
    wanted: dict[str, Any] = {"memory_mb": 64, "disks": [lab.still(), lab.blank()], "state": "running"}
    lab.run(**wanted)
    count = points_of(lab, {"state": "absent"}, 6)
    assert gone(lab)
    for point in chosen(count, "removal"):
        lab.run(**wanted)
        assert is_killed(lab, point, {"state": "absent"})
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
    count = points_of(lab, after, 10)
    whole, running = lab.xml(), lab.xml(live=True)
    lab.run(state="absent")
    for point in chosen(count, "change"):
        lab.run(**before)
        assert is_killed(lab, point, after)
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
    count = points_of(lab, taking, 12 if state == "running" else 8)
    for point in chosen(count, f"taking {state}"):
        lab.run(snapshot={"name": "s", "state": "absent"})
        write(lab, b"one")
        assert is_killed(lab, point, taking)
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
    count = points_of(lab, reverting, 12)
    for point in chosen(count, "revert"):
        lab.run(state="running")
        write(lab, b"two")
        assert is_killed(lab, point, reverting)
        assert lab.run(title=f"after {point}")["state"] == "running", f"killed at point {point}"
        left = contents_of(lab)
        assert len(set(left.values())) == 1, f"killed at point {point}: {left}"


def test_a_deletion_of_a_snapshot_that_was_killed_is_finished(lab: Lab) -> None:
    deleting: dict[str, Any] = {"snapshot": {"name": "s", "state": "absent"}}
    lab.run(memory_mb=64, disks=raw_disks(lab))
    lab.run(snapshot={"name": "s"})
    count = points_of(lab, deleting, 2)
    for point in chosen(count, "deletion"):
        lab.run(snapshot={"name": "s"})
        assert is_killed(lab, point, deleting)
        lab.run(**deleting)
        assert [name for name in lab.files() if "@" in name] == [], f"killed at point {point}"
