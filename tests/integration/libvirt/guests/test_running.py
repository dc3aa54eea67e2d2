# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Guests that really run: their states, and what changes while they do."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.errors import DeadlineExceeded, InvalidSpec
from ansible_collections.poolwright.virt.tests.contract.labs.own_libvirtd import NETWORK
from ansible_collections.poolwright.virt.tests.integration.libvirt.guests.conftest import NAME, Lab

CARD = {"network": NETWORK}


def test_a_guest_goes_through_all_its_states(lab: Lab) -> None:
    made = lab.booted(autostart=True)
    assert (made["state"], made["autostart"], made["pending_restart"]) == ("running", True, [])
    assert lab.answer(made).startswith("SSH-2.0-tiny_")
    assert lab.daemon is not None
    for state, actions in (("paused", ["pause"]), ("running", ["resume"]), ("shutoff", ["shut down"]), ("paused", ["start paused"]), ("present", [])):
        predicted = lab.run(state=state, check=True)
        result = lab.run(state=state)
        assert (result["actions"], result["changed"]) == (actions, bool(actions))
        assert {key: predicted[key] for key in ("actions", "state", "diff")} == {key: result[key] for key in ("actions", "state", "diff")}
        assert lab.run(state=state)["changed"] is False
    assert result["state"] == "paused"
    assert lab.run(state="shutoff", force=True)["state"] == "shutoff"
    rebooted = lab.run(state="rebooted")
    assert (rebooted["changed"], rebooted["state"], rebooted["actions"]) == (True, "running", ["start"])
    removed = lab.run(state="absent")
    assert [path.rpartition("/")[2] for path in removed["removed"]] == [f"{NAME}_root.qcow2"]
    assert (lab.files(), lab.daemon.virsh("list", "--all", "--name")) == ([], "")
    again = lab.run(state="absent")
    assert (again["changed"], again["state"], again["removed"]) == (False, "absent", [])


def test_a_guest_that_does_not_go_is_switched_off_only_where_that_is_allowed(lab: Lab) -> None:
    lab.run(memory_mb=64, state="running")
    with pytest.raises(DeadlineExceeded, match="force: true"):
        lab.run(state="shutoff", shutdown_timeout=1)
    assert lab.run()["state"] == "running"
    assert lab.run(state="shutoff", shutdown_timeout=1, force=True)["state"] == "shutoff"


def test_disks_and_cards_are_plugged_and_unplugged(lab: Lab) -> None:
    lab.booted()
    wanted: dict[str, Any] = {"disks": [lab.root(), lab.blank(serial="data-1")], "networks": [CARD, {**CARD, "model": "virtio"}]}
    predicted = lab.run(check=True, **wanted)
    plugged = lab.run(**wanted)
    mac = plugged["networks"][1]["mac"]
    assert plugged["actions"][2:4] == ["plug disks[vdb]", f"plug networks[{mac}]"]
    assert predicted["actions"] == plugged["actions"]
    assert (plugged["pending_restart"], plugged["warnings"]) == ([], [])
    assert len(ET.fromstring(lab.xml(live=True)).findall("devices/disk")) == 2
    assert lab.run(**wanted)["changed"] is False

    unplugged = lab.run(disks=[lab.root()], networks=[CARD], unplug_timeout=600)
    assert unplugged["actions"] == ["define", "unplug disks[vdb]", f"unplug networks[{mac}]"]
    assert (unplugged["pending_restart"], unplugged["warnings"]) == ([], [])
    live = ET.fromstring(lab.xml(live=True))
    assert (len(live.findall("devices/disk")), len(live.findall("devices/interface"))) == (1, 1)
    # What was on it stays until the guest goes, and comes back if it is named again.
    assert len(lab.files()) == 2
    assert lab.run(**wanted)["pending_restart"] == []
    lab.run(state="absent")
    assert lab.files() == []


def test_a_guest_that_does_not_give_a_device_back_keeps_it_until_its_restart(lab: Lab) -> None:
    """Nothing boots, so nobody answers."""
    wanted: dict[str, Any] = {"memory_mb": 64, "disks": [lab.blank("a"), lab.blank("b")], "state": "running"}
    lab.run(**wanted)
    kept = lab.run(**{**wanted, "disks": [lab.blank("a")]}, unplug_timeout=1)
    assert kept["pending_restart"] == ["disks[vdb]"]
    assert "disks[vdb] could not be changed while the guest runs" in kept["warnings"][0]
    again = lab.run(**{**wanted, "disks": [lab.blank("a")]}, unplug_timeout=1)
    assert (again["changed"], again["pending_restart"]) == (False, ["disks[vdb]"])
    assert len(ET.fromstring(lab.xml()).findall("devices/disk")) == 1
    assert lab.run(state="rebooted", shutdown_timeout=0.5, force=True)["pending_restart"] == []
    assert len(ET.fromstring(lab.xml(live=True)).findall("devices/disk")) == 1


def test_what_can_change_in_use_does_and_the_rest_is_told(lab: Lab) -> None:
    vnc = {"type": "vnc", "listen": "127.0.0.1", "password": "pw-one"}
    base: dict[str, Any] = {
        "cpus": 1, "max_cpus": 2, "memory_mb": 96, "max_memory_mb": 128, "networks": [CARD], "graphics": vnc, "video": {"model": "vga"},
        "cdroms": [{}], "state": "running",
    }  # fmt: skip
    lab.run(**base)
    change: dict[str, Any] = {
        "cpus": 2, "memory_mb": 128, "title": "T", "description": "D", "metadata": {"a": "b"}, "networks": [{**CARD, "link": "down"}],
        "graphics": {**vnc, "password": "pw-two"}, "cdroms": [{"path": "/etc/hostname"}], "ballooning": {"stats_period": 3}, "autostart": True,
    }  # fmt: skip
    predicted = lab.run(check=True, **{**base, **change})
    result = lab.run(**{**base, **change})
    assert (result["pending_restart"], result["warnings"]) == ([], [])
    assert predicted["actions"] == result["actions"]
    assert "pw-one" not in str(result) and "pw-two" not in str(result)
    live = lab.xml(live=True)
    for there in ("<title>T</title>", "<description>D</description>", "<vcpu placement='static'>2</vcpu>", "<link state='down'/>", "file='/etc/hostname'"):
        assert there in live
    assert "passwd='pw-two'" in live and "passwd='pw-two'" in lab.xml()
    assert lab.run(**{**base, **change})["changed"] is False

    waiting = lab.run(**{**base, **change, "machine": "q35", "cdroms": [{"path": "/etc/hostname", "bus": "sata"}]}, tpm={"model": "tpm-crb"})
    assert waiting["pending_restart"] == ["machine", "tpm", "cdroms[hda]"]
    again = lab.run(machine="q35", tpm={"model": "tpm-crb"})
    assert (again["changed"], again["pending_restart"]) == (False, ["machine", "tpm"])
    restarted = lab.run(state="rebooted", shutdown_timeout=0.5, force=True)
    assert restarted["pending_restart"] == []
    assert lab.run(machine="q35", tpm={"model": "tpm-crb"})["pending_restart"] == []


def test_a_disk_grows_while_it_is_used_and_never_shrinks(lab: Lab) -> None:
    wanted: dict[str, Any] = {"memory_mb": 64, "disks": [lab.blank()]}
    lab.run(**wanted, state="running")
    grown = lab.run(memory_mb=64, disks=[lab.blank(size_gb=0.02)])
    assert grown["actions"][0].startswith("grow the disk")
    assert lab.daemon is not None
    assert f"Capacity:       {int(0.02 * 1024**3 + 511) // 512 * 512}" in lab.daemon.virsh("domblkinfo", NAME, "vda")
    assert lab.run(memory_mb=64, disks=[lab.blank(size_gb=0.02)])["changed"] is False
    with pytest.raises(InvalidSpec, match="cannot shrink"):
        lab.run(**wanted)
    lab.run(state="shutoff", force=True, shutdown_timeout=0)
    assert lab.run(memory_mb=64, disks=[lab.blank(size_gb=0.03)])["disks"][0]["size"] == int(0.03 * 1024**3 + 511) // 512 * 512
