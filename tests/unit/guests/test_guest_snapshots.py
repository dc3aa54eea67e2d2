# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Snapshots of a guest as the module takes, deletes and returns to them: libvirt's test driver, and real disks."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec, NotFound, OperationFailed
from ansible_collections.poolwright.virt.plugins.module_utils.guests import record, tree
from ansible_collections.poolwright.virt.plugins.module_utils.guests.info import guests_of
from ansible_collections.poolwright.virt.plugins.module_utils.guests.params import parse_guest
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.flat import Flat
from ansible_collections.poolwright.virt.tests.unit.guests.conftest import Lab


def test_a_snapshot_is_taken_once_of_a_guest_that_runs_on(lab: Lab) -> None:
    lab.make()
    lab.write(b"one")
    taken = lab.predicted(snapshot={"name": "clean"})
    assert (taken["actions"], taken["snapshots"], taken["state"]) == (["take the snapshot clean"], ["clean"], "running")
    assert "snapshots: clean\n" in taken["diff"]["after"]
    lab.write(b"two")
    again = lab.predicted(snapshot={"name": "clean", "state": "present"})
    assert (again["changed"], again["diff"]["before"]) == (False, again["diff"]["after"])
    reverted = lab.predicted(snapshot={"name": "clean", "state": "reverted"})
    assert reverted["actions"] == ["force off", "revert to the snapshot clean", "start"]
    assert (lab.read(), reverted["state"], reverted["snapshots"]) == ({b"one"}, "running", ["clean"])
    assert "disks: as in the snapshot clean\n" in reverted["diff"]["after"]
    gone = lab.predicted(snapshot={"name": "clean", "state": "absent"})
    assert (gone["actions"], gone["snapshots"]) == (["delete the snapshot clean"], [])
    assert lab.predicted(snapshot={"name": "clean", "state": "absent"})["changed"] is False
    assert lab.files() == ["g_data.raw", "g_root.raw"]
    assert record.task_of(tree.parse(lab.guest.definition())) is None


@pytest.mark.parametrize(
    ("before", "state", "name", "actions"),
    [
        ("shutoff", "running", "present", ["take the snapshot s", "start"]),
        ("shutoff", "present", "present", ["take the snapshot s"]),
        ("running", "rebooted", "present", ["shut down", "take the snapshot s", "start"]),
        ("running", "shutoff", "present", ["shut down", "take the snapshot s"]),
        ("running", "paused", "present", ["pause", "take the snapshot s"]),
        ("paused", "present", "present", ["take the snapshot s"]),
        ("running", "present", "reverted", ["force off", "revert to the snapshot s", "start"]),
        ("paused", "present", "reverted", ["force off", "revert to the snapshot s", "start paused"]),
        ("running", "shutoff", "reverted", ["force off", "revert to the snapshot s"]),
        ("running", "rebooted", "reverted", ["force off", "revert to the snapshot s", "start"]),
        ("shutoff", "present", "reverted", ["revert to the snapshot s"]),
        ("shutoff", "running", "reverted", ["revert to the snapshot s", "start"]),
    ],
)
def test_it_is_taken_while_the_guest_is_off_where_it_is_off_at_any_time(lab: Lab, before: str, state: str, name: str, actions: list[str]) -> None:
    lab.make("shutoff")
    if name == "reverted":
        lab.run(snapshot={"name": "s"})
    lab.bring(before)
    wanted: dict[str, Any] = {"state": state, "snapshot": {"name": "s", "state": name}}
    found = lab.run(check=True, **wanted) if "start paused" in actions else lab.predicted(**wanted)
    assert found["actions"] == actions


def test_they_are_told(lab: Lab) -> None:
    lab.make()
    lab.run(snapshot={"name": "b"})
    lab.run(snapshot={"name": "a"})
    assert guests_of(lab.host, None, frozenset({"snapshots"}))["g"]["snapshots"] == ["a", "b"]
    assert guests_of(lab.host, ["test"], frozenset({"snapshots"}))["test"]["snapshots"] == []


def test_a_new_guest_gets_one_before_its_first_start(lab: Lab) -> None:
    wanted: dict[str, Any] = {"memory_mb": 64, "disks": lab.disks, "state": "running", "snapshot": {"name": "clean"}}
    assert lab.predicted(**wanted)["actions"][-2:] == ["take the snapshot clean", "start"]
    assert lab.run(**wanted)["changed"] is False
    assert "g_root.raw@clean" in lab.files()
    lab.run(state="absent")
    assert lab.files() == []


def test_what_cannot_be_is_refused_before_anything_is_touched(lab: Lab) -> None:
    wanted: dict[str, Any] = {"memory_mb": 64, "disks": lab.disks}
    with pytest.raises(NotFound, match="there is no such guest"):
        lab.run(**wanted, snapshot={"name": "s", "state": "reverted"})
    with pytest.raises(InvalidSpec, match="no disks of its own"):
        lab.run(memory_mb=64, snapshot={"name": "s"})
    assert lab.host.guest("g") is None
    assert lab.run(check=True, memory_mb=64, snapshot={"name": "s", "state": "absent"})["snapshots"] == []
    lab.make()
    with pytest.raises(NotFound, match="there is no snapshot s"):
        lab.run(state="shutoff", force=True, snapshot={"name": "s", "state": "reverted"})
    assert lab.run()["state"] == "running"
    lab.run(snapshot={"name": "s"})
    other = lab.folder / "theirs.raw"
    other.write_bytes(bytes(1024))
    theirs = {"path": str(other), "format": "raw"}
    for state in ("present", "reverted"):
        with pytest.raises(InvalidSpec, match=r"also writes to .*theirs\.raw"):
            lab.run(disks=[*lab.disks, theirs], snapshot={"name": "t" if state == "present" else "s", "state": state})
    assert len(lab.run()["disks"]) == 2
    lab.run(state="shutoff", force=True)
    newer = {**lab.disks[1], "name": "g_newer"}
    with pytest.raises(NotFound, match=r"is older than .*g_newer\.raw"):
        lab.run(disks=[*lab.disks, newer], snapshot={"name": "s", "state": "reverted"})
    assert lab.run(disks=[*lab.disks, {**theirs, "readonly": True}], snapshot={"name": "t"})["snapshots"] == ["s", "t"]


def test_names_and_company_are_judged_with_the_rest_of_the_request() -> None:
    for options, words in (({"name": "a/b"}, "snapshot.name: the snapshot name 'a/b'"), ({"name": ""}, "snapshot.name")):
        with pytest.raises(InvalidSpec, match=words):
            parse_guest({"name": "g", "state": "present", "snapshot": options})
    with pytest.raises(InvalidSpec, match="xml: stands in place of snapshot"):
        parse_guest({"name": "g", "state": "present", "xml": "<domain/>", "snapshot": {"name": "s"}})


def test_a_guest_that_a_killed_run_left_paused_goes_on_and_the_part_of_a_snapshot_goes(lab: Lab) -> None:
    lab.make()
    lab.interrupt(record.Task("take", "s", "running"))
    lab.guest.suspend()
    (part,) = [disk for disk in record.disks_of(tree.parse(lab.guest.definition())) if disk.name == "g_data"]
    part.place().snapshot_create(part.record, "s", Deadline.after(Clock(), 60))
    mended = lab.predicted()
    assert (mended["actions"], mended["state"], lab.files()) == (["resume", "tidy up after the snapshot s"], "running", ["g_data.raw", "g_root.raw"])
    assert lab.run()["changed"] is False


def test_a_whole_snapshot_of_a_killed_run_stays(lab: Lab) -> None:
    lab.make()
    lab.run(snapshot={"name": "s"})
    lab.interrupt(record.Task("take", "s", "running"))
    lab.guest.suspend()
    assert lab.predicted(snapshot={"name": "s"})["state"] == "running"
    assert lab.run(snapshot={"name": "s"})["snapshots"] == ["s"]


@pytest.mark.parametrize("was", ["running", "paused", "shutoff"])
def test_a_revert_that_was_killed_is_ended_by_the_next_run_whatever_it_is_for(lab: Lab, was: str) -> None:
    lab.make(was)
    lab.write(b"one")
    lab.run(snapshot={"name": "s"})
    lab.guest.destroy()
    lab.write(b"two")
    lab.interrupt(record.Task("revert to", "s", was))
    if was == "paused":
        assert lab.run(check=True, title="t")["actions"][1:] == ["revert to the snapshot s", "start paused"]
        return
    mended = lab.predicted(title="t")
    assert (mended["state"], lab.read()) == (was, {b"one"})
    assert lab.run(title="t")["changed"] is False


def test_a_revert_that_was_killed_before_it_touched_a_disk_is_ended_if_the_guest_is_off(lab: Lab) -> None:
    lab.make()
    lab.write(b"one")
    lab.run(snapshot={"name": "s"})
    lab.write(b"two")
    lab.interrupt(record.Task("about to revert to", "s", "running"))
    kept = lab.predicted(title="t")
    assert (kept["actions"][-1], kept["state"], lab.read()) == ("tidy up after the snapshot s", "running", {b"two"})
    lab.interrupt(record.Task("about to revert to", "s", "running"))
    lab.guest.destroy()
    assert lab.predicted(title="u")["state"] == "running"
    assert lab.read() == {b"one"}


def test_a_guest_that_was_started_on_disks_half_reverted_is_an_error_until_it_is_off(lab: Lab) -> None:
    lab.make()
    lab.write(b"one")
    lab.run(snapshot={"name": "s"})
    lab.interrupt(record.Task("revert to", "s", "running"))
    with pytest.raises(OperationFailed, match="was started before its disks were whole"):
        lab.run(title="t")
    lab.write(b"two")
    assert lab.run(snapshot={"name": "s", "state": "reverted"})["state"] == "running"
    assert lab.read() == {b"one"}
    assert lab.run(title="t")["changed"]


def test_a_snapshot_that_fails_leaves_the_guest_as_it_was(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.make()

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Flat, "snapshot_create", full)
    with pytest.raises(Exception, match="no space left"):
        lab.run(snapshot={"name": "s"})
    monkeypatch.undo()
    assert record.task_of(tree.parse(lab.guest.definition())) is None
    assert lab.run()["changed"] is False and lab.run()["state"] == "running"
