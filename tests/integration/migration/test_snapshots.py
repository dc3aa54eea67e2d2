# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A guest's snapshots go where it goes, or it does not go."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.poolwright.virt.tests.integration.migration.conftest import Pair

NAME, FILES = "m-1", ["m-1_root.qcow2", "m-1_root.qcow2@clean"]


def test_those_of_this_collection_travel_live_and_come_back_cold(pair: Pair) -> None:
    folder = pair.local / "disks"
    address = pair.boot(NAME, folder)
    pair.give_images()
    pair.guest(1, name=NAME, state="running", snapshot={"name": "clean"})
    before, kept = pair.alive(address), pair.digest(1, str(folder / FILES[1]))
    moved = pair.migrate(NAME)
    assert "error" not in moved, moved
    assert [one["how"] for one in moved["disks"]] == ["copied"]
    assert pair.alive(address).boot == before.boot
    assert (pair.files(1), pair.files(2), pair.digest(2, str(folder / FILES[1]))) == ([], FILES, kept)
    back = pair.migrate(NAME, origin=2, mode="cold", force=True, shutdown_timeout=30.0)
    assert "error" not in back, back
    assert (pair.files(1), pair.files(2), pair.digest(1, str(folder / FILES[1]))) == (FILES, [], kept)
    # It is what the guest goes back to.
    pair.virsh(1, "destroy", NAME)
    reverted = pair.guest(1, name=NAME, state="running", snapshot={"name": "clean", "state": "reverted"})
    assert reverted["changed"] is True
    assert pair.alive(pair.booted(1, NAME)).boot != before.boot
    pair.guest(1, name=NAME, state="absent")
    assert pair.files(1) == []


def test_they_are_refused_where_their_base_is_not(pair: Pair) -> None:
    pair.guest(1, name=NAME, disks=[pair.disk(NAME, pair.local / "disks")], state="shutoff", snapshot={"name": "clean"})
    place = {"target": "vda", "backend": "flat", "location": str(pair.local / "new")}
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, "bring that image there with image_cache"),
        ({"disks": [place], "mode": "cold"}, "do not go to another place"),
    ]
    for options, said in cases:
        told = pair.migrate(NAME, **options)
        assert told["code"] == "invalid_spec" and "snapshots clean" in told["error"] and said in told["error"], told
    assert (pair.files(1), pair.files(2), pair.states(NAME)) == (FILES, [], ("shut off", ""))


@pytest.mark.parametrize("point", [-2, -6, -10])
def test_a_run_that_is_killed_loses_none(pair: Pair, point: int) -> None:
    pair.guest(1, name=NAME, disks=[pair.disk(NAME, pair.local / "disks")], state="shutoff", snapshot={"name": "clean"})
    pair.give_images()
    points = pair.migrate(NAME)["points"]
    assert "killed" in pair.migrate(NAME, origin=2, point=points + point)
    assert "error" not in pair.migrate(NAME, origin=2)
    assert (pair.files(1), pair.files(2), pair.states(NAME)) == (FILES, [], ("shut off", ""))


def test_those_inside_its_file_go_with_the_file_only(pair: Pair) -> None:
    """libvirt's own keep it where it is, since it would not take them along; those of qemu-img's it does not know of."""
    path = str(pair.local / "disks" / FILES[0])
    pair.guest(1, name=NAME, disks=[pair.disk(NAME, pair.local / "disks")], state="shutoff")
    pair.virsh(1, "snapshot-create-as", NAME, "before")
    told = pair.migrate(NAME)
    assert "1 snapshots" in told["error"] and "virsh snapshot-delete" in told["error"], told
    pair.virsh(1, "snapshot-delete", NAME, "before")
    pair.on(1, "qemu-img", "snapshot", "-c", "by hand", path)
    refused = pair.migrate(NAME)
    assert "1 snapshots inside its file" in refused["error"] and "qemu-img snapshot -d" in refused["error"], refused
    pair.give_images()
    pair.guest(1, name=NAME, state="running")
    live = pair.migrate(NAME, check=True)
    assert "mode: cold sends the file as it is" in live["error"], live
    assert (pair.files(2), pair.states(NAME)) == ([], ("running", ""))
    moved = pair.migrate(NAME, mode="cold", force=True, shutdown_timeout=1.0)
    assert "error" not in moved, moved
    pair.virsh(2, "destroy", NAME)
    assert "by hand" in pair.on(2, "qemu-img", "snapshot", "-l", path)
