# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``vm_spawn`` on a vCenter: made, left alone, changed, refused and removed, with what others see of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy, ImageRefused, InsufficientResources, InvalidSpec, NotFound, NotOurs, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.images.iso import write_iso
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Ambiguous
from ansible_collections.poolwright.virt.tests.integration.vsphere.spawning import Spawning, raw_image

SECRET = "only-for-the-guest-9b1d"


def test_a_machine_is_cloned_found_again_and_removed(spawning: Spawning) -> None:
    wish: dict[str, Any] = {"template": "DC0_C0_RP0_VM0", "folder": "web/front", "cpus": 2, "memory_mb": 512, "networks": [{"network": "VM Network"}]}
    made = spawning.run(name="web-1", **wish)
    assert made["changed"]
    assert [action["action"] for action in made["actions"]] == ["create"]
    assert (made["power"], made["folder"], made["template"]) == ("running", "web/front", "DC0/vm/DC0_C0_RP0_VM0")
    assert [card["network"] for card in made["networks"]] == ["VM Network"]
    assert made["datastore_path"].startswith("[LocalDS_0] web-1")
    assert spawning.calls["CloneVM_Task"] == 1
    assert spawning.calls["Login"] == 1
    again = spawning.run(name="web-1", **wish)
    assert not again["changed"]
    assert again["moid"] == made["moid"]
    assert spawning.mutations() == {}
    gone = spawning.run(name="web-1", folder="web/front", state="absent")
    assert gone["changed"]
    assert "web-1" not in spawning.listing()
    assert not spawning.run(name="web-1", folder="web/front", state="absent")["changed"]
    assert spawning.mutations() == {}


def test_check_mode_says_what_a_run_does_and_does_nothing(spawning: Spawning) -> None:
    wish: dict[str, Any] = {"template": "DC0_C0_RP0_VM0", "name": "check-1", "folder": "checked", "disks": [{"size_gb": 1}]}
    for change in ({}, {"cpus": 3, "state": "poweredoff"}, {"state": "absent"}):
        wish.update(change)
        foretold = spawning.run(check_mode=True, **wish)
        assert spawning.mutations() == {}
        done = spawning.run(**wish)
        assert foretold["changed"] and done["changed"]
        for key in ("actions", "diff", "changed"):
            assert foretold[key] == done[key], key


def test_later_changes_are_made_in_place(spawning: Spawning) -> None:
    wish: dict[str, Any] = {"template": "DC0_C0_RP0_VM0", "name": "change-1", "networks": [{"network": "VM Network"}], "state": "poweredoff"}
    made = spawning.run(**wish)
    wish |= {
        "cpus": 4,
        "memory_mb": 1024,
        "annotation": "changed",
        "extra_config": {"guestinfo.role": "front"},
        "networks": [{"network": "DC0_DVPG0"}, {"network": "VM Network", "model": "e1000"}],
        "disks": [{"size_gb": 1}, {"size_gb": 2}],
        "memory_limits": {"limit": 2048, "reservation": 512, "shares": "high"},
    }
    changed = spawning.run(**wish)
    assert changed["moid"] == made["moid"]
    assert [action["action"] for action in changed["actions"]] == ["reconfigure"]
    assert [(card["network"], card["model"]) for card in changed["networks"]] == [("DC0_DVPG0", "vmxnet3"), ("VM Network", "e1000")]
    assert [disk["size_gb"] for disk in changed["disks"]][1:] == [1, 2]
    assert spawning.calls["ReconfigVM_Task"] == 1
    assert not spawning.run(**wish)["changed"]
    grown = spawning.run(**{**wish, "disks": [{"size_gb": 1}, {"size_gb": 3}]})
    assert [disk["size_gb"] for disk in grown["disks"]][1:] == [1, 3]


@pytest.mark.parametrize("state", ["poweredon", "poweredoff", "present"])
def test_power_follows_the_state(spawning: Spawning, state: str) -> None:
    before = {"poweredon": "poweredoff", "poweredoff": "poweredon", "present": "poweredon"}[state]
    spawning.run(template="DC0_C0_RP0_VM0", name="power-1", state=before)
    then = spawning.run(template="DC0_C0_RP0_VM0", name="power-1", state=state)
    assert then["power"] == ("off" if state == "poweredoff" else "running")
    assert then["changed"] is (state != "present")
    assert not spawning.run(template="DC0_C0_RP0_VM0", name="power-1", state=state)["changed"]


def test_what_wants_the_machine_off_is_done_only_where_that_is_allowed(spawning: Spawning) -> None:
    spawning.run(template="DC0_C0_RP0_VM0", name="restart-1", cpus=1)
    with pytest.raises(VirtError, match="restart: true") as refused:
        spawning.run(template="DC0_C0_RP0_VM0", name="restart-1", cpus=2)
    assert refused.value.code == "needs_restart"
    assert spawning.mutations() == {}
    done = spawning.run(template="DC0_C0_RP0_VM0", name="restart-1", cpus=2, restart=True)
    assert [action["action"] for action in done["actions"]] == ["power off", "reconfigure", "power on"]
    assert done["power"] == "running"


def test_what_takes_another_machine_is_done_only_where_that_is_allowed(spawning: Spawning) -> None:
    made = spawning.run(template="DC0_C0_RP0_VM0", name="rebuild-1", state="poweredoff")
    with pytest.raises(VirtError, match="recreate: true") as refused:
        spawning.run(template="DC0_C0_RP0_VM1", name="rebuild-1", state="poweredoff")
    assert refused.value.code == "needs_rebuild"
    assert spawning.mutations() == {}
    anew = spawning.run(template="DC0_C0_RP0_VM1", name="rebuild-1", state="poweredoff", recreate=True)
    assert [action["action"] for action in anew["actions"]] == ["recreate"]
    assert anew["instance_uuid"] != made["instance_uuid"]
    assert anew["template"] == "DC0/vm/DC0_C0_RP0_VM1"


def test_machines_of_others_are_never_touched(spawning: Spawning) -> None:
    for state in ("poweredon", "absent"):
        with pytest.raises(NotOurs, match="did not make"):
            spawning.run(template="DC0_C0_RP0_VM1", name="DC0_C0_RP0_VM0", state=state, recreate=True)
        assert spawning.mutations() == {}


def test_a_copy_of_one_of_ours_is_not_ours(spawning: Spawning) -> None:
    spawning.run(template="DC0_C0_RP0_VM0", name="copied-1", state="poweredoff")
    spawning.vcenter.govc("vm.clone", "-on=false", "-ds", "LocalDS_0", "-vm", "copied-1", "copied-2")
    with pytest.raises(NotOurs):
        spawning.run(name="copied-2", state="absent")
    spawning.vcenter.govc("vm.destroy", "copied-2")
    cloned = spawning.run(template="copied-1", name="copied-3", state="poweredoff")
    assert cloned["changed"]
    assert not spawning.run(template="copied-1", name="copied-3", state="poweredoff")["changed"]


def test_disks_from_elsewhere_survive_the_machine(spawning: Spawning) -> None:
    made = spawning.run(template="DC0_C0_RP0_VM0", name="disks-1", state="poweredoff", disks=[{"size_gb": 1}])
    spawning.attach_foreign_disk("disks-1", "[LocalDS_0] theirs.vmdk")
    gone = spawning.run(name="disks-1", state="absent")
    assert gone["kept"] == ["[LocalDS_0] theirs.vmdk"]
    files = spawning.listing()
    assert "theirs.vmdk" in files
    assert "disks-1" not in files, made["disks"]


def test_a_linked_clone_stands_on_a_snapshot_made_once(spawning: Spawning) -> None:
    spawning.run(template="DC0_C0_RP0_VM1", clone="linked", name="linked-1", state="poweredoff")
    assert spawning.calls["CreateSnapshot_Task"] == 1
    spawning.run(template="DC0_C0_RP0_VM1", clone="linked", name="linked-2", state="poweredoff")
    assert spawning.calls["CreateSnapshot_Task"] == 0
    assert not spawning.run(template="DC0_C0_RP0_VM1", clone="linked", name="linked-2", state="poweredoff")["changed"]


@pytest.mark.parametrize("clone", ["linked", "full"])
def test_a_machine_is_made_of_an_image(spawning: Spawning, tmp_path: Path, clone: str) -> None:
    image = raw_image(tmp_path / "disk.raw")
    wish: dict[str, Any] = {
        "name": f"image-{clone}",
        "image": {"source": str(image), "format": "raw"},
        "clone": clone,
        "datastore": "LocalDS_0",
        "memory_mb": 256,
        "networks": [{"network": "VM Network"}],
        "disks": [{"size_gb": 1}, {"size_gb": 1, "datastore": "LocalDS_1"}],
        "config_drive": {"user_data": f"#cloud-config\npassword: {SECRET}\n", "meta_data": {"role": "front"}},
    }
    made = spawning.run(**wish)
    assert made["power"] == "running"
    assert len(made["disks"]) == 3
    assert made["disks"][2]["path"].startswith("[LocalDS_1] image-")
    assert made["image"] == str(image)
    assert "poolwright-seed.iso" in spawning.listing()
    assert SECRET not in str(made)
    again = spawning.run(**wish)
    assert not again["changed"]
    assert spawning.mutations() == {}
    copied = spawning.run(name=f"copy-{clone}", template=wish["name"], state="poweredoff")
    assert "poolwright-seed.iso" not in spawning.vcenter.govc("device.info", "-json", "-vm", copied["name"])
    spawning.run(name=copied["name"], state="absent")
    spawning.run(name=wish["name"], state="absent")
    files = spawning.listing()
    assert "poolwright-seed.iso" not in files
    assert wish["name"] not in files


def test_changed_data_for_cloud_init_takes_another_machine(spawning: Spawning) -> None:
    wish: dict[str, Any] = {"template": "DC0_C0_RP0_VM0", "name": "seed-1", "state": "poweredoff"}
    spawning.run(**wish, cloud_init={"user_data": SECRET})
    assert not spawning.run(**wish, cloud_init={"user_data": SECRET})["changed"]
    with pytest.raises(VirtError, match="cloud-init's data") as refused:
        spawning.run(**wish, cloud_init={"user_data": SECRET + "2"})
    assert SECRET not in str(refused.value)


def test_an_address_is_waited_for(spawning: Spawning) -> None:
    wish: dict[str, Any] = {"template": "DC0_C0_RP0_VM0", "name": "address-1", "wait_for_address": True}
    made = spawning.run(**wish, extra_config={"SET.guest.ipAddress": "10.0.0.7"}, address_timeout=600)
    assert (made["ip"], made["addresses"]) == ("10.0.0.7", ["10.0.0.7"])
    without = spawning.run(template="DC0_C0_RP0_VM0", name="address-2", wait_for_address=True, address_timeout=0.5)
    assert without["failure"]["code"] == "deadline_exceeded"
    assert without["undone"] == ["removed the machine address-2"]
    assert "address-2" not in spawning.listing()


def test_wishes_that_cannot_be_met_are_refused_before_anything_is_made(spawning: Spawning) -> None:
    base: dict[str, Any] = {"template": "DC0_C0_RP0_VM0", "name": "refused-1", "folder": "never/made"}
    for change, kind, text in (
        ({"template": "nothing-such"}, NotFound, "template"),
        ({"template": "DC0_C0_RP0_VM"}, NotFound, "is it"),
        ({"datastore": "nowhere"}, NotFound, "LocalDS_0"),
        ({"networks": [{"network": "nowhere"}]}, NotFound, "VM Network"),
        ({"cluster": "nowhere"}, NotFound, "DC0_C0"),
        ({"host": "nowhere"}, NotFound, "DC0_C0_H0"),
        ({"resource_pool": "nowhere"}, NotFound, "resource pool"),
        ({"disks": [{"size_gb": 60000, "thin": False}]}, InsufficientResources, "MiB"),
        ({"disk": {"size_gb": 0.0009765625}}, InvalidSpec, "never shrunk"),
        ({"clone": "linked", "snapshot": "nothing-such"}, InvalidSpec, "snapshot"),
    ):
        with pytest.raises(kind, match=text):
            spawning.run(**{**base, **change})
        assert spawning.mutations() == {}, change
    assert "refused-1" not in spawning.listing()


def test_an_image_larger_than_its_disk_is_refused_and_no_machine_is_made(spawning: Spawning, tmp_path: Path) -> None:
    image = raw_image(tmp_path / "large.raw")
    for clone in ("linked", "full"):
        with pytest.raises(ImageRefused, match="disks are never shrunk"):
            spawning.run(name="large-1", image={"source": str(image), "format": "raw"}, clone=clone, disk={"size_gb": 0.0009765625})
        assert "large-1" not in spawning.listing()


def test_ambiguous_names_are_refused_with_their_paths(spawning: Spawning) -> None:
    spawning.vcenter.govc("folder.create", "/DC0/vm/twin")
    spawning.vcenter.govc("vm.clone", "-on=false", "-ds", "LocalDS_0", "-vm", "DC0_C0_RP0_VM0", "-folder", "/DC0/vm/twin", "twin-source")
    spawning.vcenter.govc("vm.change", "-vm", "twin-source", "-name", "DC0_C0_RP0_VM2")
    try:
        with pytest.raises(Ambiguous, match="DC0/vm/DC0_C0_RP0_VM2, DC0/vm/twin/DC0_C0_RP0_VM2"):
            spawning.run(template="DC0_C0_RP0_VM2", name="twin-1")
        assert spawning.run(template="twin/DC0_C0_RP0_VM2", name="twin-1", state="poweredoff")["changed"]
    finally:
        spawning.vcenter.govc("vm.destroy", "/DC0/vm/twin/DC0_C0_RP0_VM2")


def test_a_machine_that_is_switched_on_while_it_is_removed_goes_all_the_same(spawning: Spawning) -> None:
    spawning.run(template="DC0_C0_RP0_VM0", name="late-1", state="poweredoff")
    spawning.vcenter.fault("Destroy_Task", "InvalidPowerState")
    spawning.run(name="late-1", state="absent")
    assert spawning.calls["Destroy_Task"] == 2
    assert "late-1" not in spawning.listing()


def test_a_machine_to_be_installed_has_the_image_in_its_drive(spawning: Spawning, tmp_path: Path) -> None:
    """From the controller by way of the cache; from the machine's own datastore where it lies."""
    iso = str(tmp_path / "install.iso")
    write_iso(iso, {"README": b"install me"}, "install", Deadline.after(Clock(), 60.0))
    spawning.vcenter.govc("datastore.upload", "-ds", "LocalDS_0", iso, "iso/install.iso")
    there = "[LocalDS_0] iso/install.iso"
    cached = r"\[LocalDS_[01]\] poolwright-cache/images/.*\.iso"
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("LocalDS_0", {"source": iso}, cached),
        ("LocalDS_0", {"source": there}, re.escape(there)),
        ("LocalDS_1", {"source": there}, cached),
    ]
    for number, (datastore, image, expected) in enumerate(cases):
        image = {**image, "format": "iso"}
        wish: dict[str, Any] = {"name": f"install-{number}", "image": image, "datastore": datastore, "disk": {"size_gb": 1}, "state": "poweredoff"}
        assert spawning.run(**wish)["changed"]
        assert spawning.calls["CopyDatastoreFile_Task"] == (1 if image["source"] == there and datastore == "LocalDS_1" else 0)
        devices_found = spawning.vcenter.govc("device.info", "-json", "-vm", wish["name"], "cdrom-*")
        assert re.search(f'"fileName": *"{expected}"', devices_found)
        assert not spawning.run(**wish)["changed"]
        spawning.run(name=wish["name"], state="absent")
        assert "install.iso" in spawning.vcenter.govc("datastore.ls", "-ds", "LocalDS_0", "iso")


def test_a_machine_that_another_run_makes_is_left_to_it(spawning: Spawning) -> None:
    spawning.run(template="DC0_C0_RP0_VM0", name="busy-1", state="poweredoff")
    spawning.put_mark("busy-1", state="creating", maker="elsewhere:1", until=9e9)
    with pytest.raises(Busy, match="elsewhere:1"):
        spawning.run(template="DC0_C0_RP0_VM0", name="busy-1", state="poweredoff")
    spawning.put_mark("busy-1", state="creating", maker="elsewhere:1", until=1.0)
    taken_up = spawning.run(template="DC0_C0_RP0_VM0", name="busy-1", state="poweredoff")
    assert [action["action"] for action in taken_up["actions"]] == ["create"]
    assert not spawning.run(template="DC0_C0_RP0_VM0", name="busy-1", state="poweredoff")["changed"]
