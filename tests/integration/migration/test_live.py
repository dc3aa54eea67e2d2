# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A guest that runs goes to the other host, and notices nothing."""

from __future__ import annotations

import time

import pytest

from ansible_collections.poolwright.virt.tests.integration.migration.conftest import Alive, Pair

MACHINE = "https://poolwright.virt/xmlns/machine/1"


def same_run(before: Alive, after: Alive) -> bool:
    return after.boot == before.boot and after.uptime >= before.uptime


def test_with_shared_storage(pair: Pair) -> None:
    address = pair.boot("m-1", pair.shared / "disks", autostart=True)
    disk = str(pair.shared / "disks" / "m-1_root.qcow2")
    # The image it stands on is on the first host only: a guest cannot run without it.
    refused = pair.migrate("m-1")
    assert "which the target has not got" in refused["error"], refused
    pair.give_images()
    before, digest = pair.alive(address), pair.digest(1, disk)
    mark = f"<machine pool='ci' slot='3' id='{pair.virsh(1, 'domuuid', 'm-1')}'/>"
    pair.virsh(1, "metadata", "m-1", MACHINE, "--key", "poolwright", "--set", mark, "--live", "--config")
    foreseen = pair.migrate("m-1", check=True)
    assert pair.states("m-1") == ("running", "")
    moved = pair.migrate("m-1")
    assert "error" not in moved, moved
    assert pair.states("m-1") == ("", "running")
    assert (moved["changed"], moved["mode"], moved["source"], moved["target"], moved["state"]) == (True, "live", "kvm1", "kvm2", "running")
    assert [disk["how"] for disk in moved["disks"]] == ["shared"]
    assert (foreseen["changed"], foreseen["diff"], foreseen["disks"]) == (moved["changed"], moved["diff"], moved["disks"])
    assert moved["memory_bytes"] > 0 and moved["transferred_bytes"] > 0 and moved["seconds"] > 0 and moved["downtime_ms"] >= 0
    assert same_run(before, pair.alive(address))
    assert pair.digest(2, disk) == digest
    assert "slot=" in pair.virsh(2, "metadata", "m-1", MACHINE)
    assert "migration" not in pair.virsh(2, "dumpxml", "m-1") + pair.virsh(2, "dumpxml", "m-1", "--inactive")
    assert "enable" in next(line for line in pair.virsh(2, "dominfo", "m-1").splitlines() if line.startswith("Autostart"))
    again = pair.migrate("m-1")
    assert (again["changed"], again["mode"], again["state"]) == (False, "none", "running")
    assert pair.pools(1) + pair.pools(2) == ""
    back = pair.migrate("m-1", origin=2)
    assert (back["changed"], pair.states("m-1")) == (True, ("running", ""))
    assert same_run(before, pair.alive(address))


@pytest.mark.parametrize("base", ["there", "not there"])
def test_with_copied_storage(pair: Pair, base: str) -> None:
    """An overlay stays one where the target has the image it stands on, and gets that one's contents where not."""
    folder = pair.local / "disks"
    address = pair.boot("m-1", folder)
    if base == "there":
        pair.give_images()
    disk = str(folder / "m-1_root.qcow2")
    before, digest = pair.alive(address), pair.digest(1, disk)
    foreseen = pair.migrate("m-1", check=True)
    assert pair.files(2) == []
    moved = pair.migrate("m-1", storage="copy")
    assert "error" not in moved, moved
    assert pair.states("m-1") == ("", "running")
    assert same_run(before, pair.alive(address))
    assert pair.digest(2, disk) == digest
    assert (pair.files(1), pair.files(2)) == ([], ["m-1_root.qcow2"])
    (told,) = moved["disks"]
    assert told["how"] == "copied"
    assert (told["base"] == "flattened") is (base != "there")
    assert foreseen["disks"] == moved["disks"]
    # Of an overlay that the guest has not written to there is nothing to copy.
    assert moved["disk_bytes"] > 0 or base == "there"
    assert pair.pools(1) + pair.pools(2) == ""
    # What it says of its disk is true there: the module that made it finds nothing to do.
    again = pair.guest(2, name="m-1", disks=[{"backend": "qcow2", "location": str(folder), "name": "m-1_root"}], check=True)
    assert again["changed"] is False, again
    pair.virsh(2, "destroy", "m-1")
    pair.guest(2, name="m-1", state="running")
    assert pair.alive(pair.booted(2, "m-1")).boot != before.boot


def test_a_seed_is_sent_and_two_disks_are_copied(pair: Pair) -> None:
    folder = pair.local / "disks"
    data = {"backend": "flat", "location": str(folder), "name": "m-1_data", "size_gb": 0.02}
    pair.guest(1, name="m-1", disks=[pair.root("m-1", folder), data], networks=[{"network": "default"}], state="shutoff")
    seed = pair.folder / "1" / "local" / "seeds" / "seed.iso"
    seed.parent.mkdir()
    seed.write_bytes(b"\0" * 40960 + b"cidata")
    pair.guest(1, name="m-1", cdroms=[{"path": str(pair.local / "seeds" / "seed.iso")}], state="running")
    address = pair.booted(1, "m-1")
    before = pair.alive(address)
    moved = pair.migrate("m-1")
    assert "error" not in moved, moved
    assert {disk["source"].rpartition("/")[2]: disk["how"] for disk in moved["disks"]} == {
        "m-1_root.qcow2": "copied",
        "m-1_data.raw": "copied",
        "seed.iso": "sent",
    }
    assert same_run(before, pair.alive(address))
    assert (pair.files(1), pair.files(2)) == ([], ["m-1_data.raw", "m-1_root.qcow2"])
    # A medium may be in other drives too.
    assert pair.files(1, "seeds") == pair.files(2, "seeds") == ["seed.iso"]


def test_at_the_deadline_it_goes_on_where_it_was(pair: Pair) -> None:
    folder = pair.local / "disks"
    address = pair.boot("m-1", folder)
    before = pair.alive(address)
    late = pair.migrate("m-1", bandwidth_mib=1, timeout=8.0)
    assert late["code"] == "deadline_exceeded" and "it runs where it was" in late["error"], late
    assert pair.states("m-1") == ("running", "")
    assert same_run(before, pair.alive(address))
    assert pair.files(2) == []
    assert pair.pools(1) + pair.pools(2) == ""
    assert "migration" not in pair.virsh(1, "dumpxml", "m-1")
    moved = pair.migrate("m-1")
    assert (moved["changed"], moved["recovered"]) == (True, [])


def test_at_the_deadline_it_is_paused_and_arrives(pair: Pair) -> None:
    address = pair.boot("m-1", pair.local / "disks")
    pair.give_images()
    before = pair.alive(address)
    moved = pair.migrate("m-1", bandwidth_mib=6, timeout=12.0, on_timeout="pause")
    assert "error" not in moved, moved
    assert pair.states("m-1") == ("", "running")
    assert same_run(before, pair.alive(address))


def test_post_copy(pair: Pair) -> None:
    """Slow enough that it would not have arrived by then, it goes on at the target with the rest of its memory still to come."""
    address = pair.boot("m-1", pair.local / "disks")
    pair.give_images()
    before = pair.alive(address)
    moved = pair.migrate("m-1", bandwidth_mib=1, post_copy=True, post_copy_after=2.0)
    assert "error" not in moved, moved
    assert "post-copy" in moved["actions"]
    assert pair.states("m-1") == ("", "running")
    assert same_run(before, pair.alive(address))


def test_its_definition_stays_where_that_is_asked_for(pair: Pair) -> None:
    """Switched off, and with its disks, which are the same; the next run finds the guest where it was to go."""
    folder = pair.shared / "disks"
    pair.guest(1, name="m-1", disks=[{"backend": "flat", "location": str(folder), "name": "m-1", "size_gb": 0.01}], state="running")
    for mode in ("live", "cold"):
        moved = pair.migrate("m-1", mode=mode, undefine_source=False, force=True, shutdown_timeout=1.0)
        assert "error" not in moved, moved
        assert pair.states("m-1") == ("shut off", "running")
        assert "migration" not in pair.virsh(1, "dumpxml", "m-1") + pair.virsh(2, "dumpxml", "m-1")
        assert pair.migrate("m-1", undefine_source=False)["changed"] is False
        # Two definitions of one guest: whoever moves it back says which is right.
        back = pair.migrate("m-1", origin=2)
        assert "has a guest of this UUID already" in back["error"], back
        pair.virsh(1, "undefine", "m-1")
        assert pair.migrate("m-1", origin=2)["state"] == "running"
        assert pair.states("m-1") == ("running", "")


def test_without_a_definition_it_is_gone_once_it_stops(pair: Pair) -> None:
    folder = pair.local / "disks"
    pair.guest(1, name="m-1", disks=[{"backend": "flat", "location": str(folder), "name": "m-1", "size_gb": 0.01}], state="running", autostart=True)
    moved = pair.migrate("m-1", persist=False)
    assert "error" not in moved, moved
    assert (pair.states("m-1"), pair.virsh(2, "list", "--transient", "--name")) == (("", "running"), "m-1")
    assert "migration" not in pair.virsh(2, "dumpxml", "m-1")
    back = pair.migrate("m-1", origin=2)
    assert "error" not in back, back
    assert (pair.states("m-1"), pair.virsh(1, "list", "--persistent", "--name")) == (("running", ""), "m-1")
    assert (pair.files(1), pair.files(2)) == (["m-1.raw"], [])
    assert "error" not in pair.migrate("m-1", persist=False)
    pair.virsh(2, "destroy", "m-1")
    assert (pair.states("m-1"), pair.files(2)) == (("", ""), ["m-1.raw"])


@pytest.mark.parametrize("transport", ["tls", "ssh"])
def test_protected(pair: Pair, transport: str) -> None:
    """With QEMU's own certificates its disk too; through libvirt's own connection memory only, and another disk is refused."""
    folder = pair.local / "disks" if transport == "tls" else pair.shared / "disks"
    address = pair.boot("m-1", folder)
    pair.give_images()
    before = pair.alive(address)
    moved = pair.migrate("m-1", transport=transport)
    assert "error" not in moved, moved
    assert [disk["how"] for disk in moved["disks"]] == ["copied" if transport == "tls" else "shared"]
    assert pair.states("m-1") == ("", "running")
    assert same_run(before, pair.alive(address))


def test_a_paused_guest_stays_paused(pair: Pair) -> None:
    pair.guest(1, name="m-1", disks=[pair.disk("m-1", pair.local / "disks")], state="paused")
    assert pair.migrate("m-1")["state"] == "paused"
    assert pair.states("m-1") == ("", "paused")


def test_a_run_that_is_told_to_stop_leaves_it_where_it_was(pair: Pair) -> None:
    pair.guest(1, name="m-1", disks=[pair.root("m-1", pair.local / "disks")], state="running")
    running = pair.begin(1, "migrate", -1, pair.params("m-1", bandwidth_mib=1))
    while not pair.moves(1, "m-1"):
        assert running.poll() is None, running.result()
        time.sleep(0.1)
    running.terminate()
    told = pair.end(running)
    assert told["code"] == "cancelled", told
    assert (pair.states("m-1"), pair.files(2)) == (("running", ""), [])


def test_several_and_one_that_cannot(pair: Pair) -> None:
    for name in ("m-1", "m-2"):
        pair.guest(1, name=name, disks=[pair.disk(name, pair.local / "disks")], state="shutoff")
    pair.guest(2, name="m-1", state="shutoff")
    told = pair.migrate("", name=None, names=["m-1", "m-2", "m-3"])
    assert [one["name"] for one in told["guests"]] == ["m-2"]
    assert len(told["failures"]) == 2 and "another guest of this name" in told["failures"][0] and "no such guest" in told["failures"][1]
