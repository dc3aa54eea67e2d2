# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``vm_spawn`` on a vCenter that fails: typed errors and nothing left, answers lost on the way, sessions that end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.errors import VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.spawn import request
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.mark import ROOT_NAME
from ansible_collections.poolwright.virt.tests.contract.labs.vcenter import VCenter
from ansible_collections.poolwright.virt.tests.integration.vsphere.spawning import Spawning, raw_image
from ansible_collections.poolwright.virt.tests.integration.vsphere.staging import ActingStats, together
from ansible_collections.poolwright.virt.tests.seeds import pairs, seeds

FAULTS = {
    "DuplicateName": "name_taken",
    "ResourceInUse": "busy",
    "TaskInProgress": "busy",
    "InsufficientResourcesFault": "insufficient_resources",
    "FileLocked": "busy",
    "NoDiskSpace": "insufficient_resources",
    "NoPermission": "permission_denied",
}
OF_IMAGE = ("CreateVM_Task", "CopyVirtualDisk_Task", "ReconfigVM_Task", "PowerOnVM_Task")
LOST = ("drop-before", "drop-after", "truncated")


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory, prompt: VCenter) -> Path:
    """One that is in the cache already: what fails is the spawn."""
    path = raw_image(tmp_path_factory.mktemp("image") / "faults.raw")
    Spawning(prompt).run(**{**wish_for("CreateVM_Task", path, "warm"), "state": "poweredoff"})
    Spawning(prompt).run(name="warm", state="absent")
    return path


def wish_for(method: str, image: Path, name: str) -> dict[str, Any]:
    if method in OF_IMAGE:
        return {
            "name": name,
            "image": {"source": str(image), "format": "raw"},
            "datastore": "LocalDS_0",
            "memory_mb": 256,
            "config_drive": {"user_data": "#cloud-config\n"},
        }
    if method == "MakeDirectory":
        return {"name": name, "template": "DC0_C0_RP0_VM0", "folder": "failing", "disks": [{"size_gb": 1, "datastore": "LocalDS_1"}]}
    return {"name": name, "template": "DC0_C0_RP0_VM2", "clone": "linked", "folder": f"failing/{name}"}


def outcome(spawning: Spawning, **wish: Any) -> tuple[str, dict[str, Any]]:
    """The code of the failure, "" for none, and the result where there is one."""
    try:
        result = spawning.run(**wish)
    except VirtError as exc:
        return exc.code, {}
    return result.get("failure", {}).get("code", ""), result


@pytest.mark.parametrize(("method", "fault"), pairs(["CreateFolder", "CloneVM_Task", "MakeDirectory", *OF_IMAGE], list(FAULTS), 3, "faults of a spawn"))
def test_a_fault_at_any_step_leaves_nothing(spawning: Spawning, image: Path, method: str, fault: str) -> None:
    name = f"fault-{method}-{fault}".replace("_", "-")
    wish = wish_for(method, image, name)
    wish.pop("clone", None)  # the snapshot that linked clones stand on stays
    files = files_of(spawning)
    spawning.vcenter.fault(method, fault)
    code, result = outcome(spawning, **wish)
    spawning.vcenter.calm()
    assert code == FAULTS[fault]
    assert files_of(spawning) == files
    if method in ("ReconfigVM_Task", "PowerOnVM_Task", "CopyVirtualDisk_Task"):
        assert f"removed the machine {name}" in result["undone"]
    assert spawning.calls["Login"] == spawning.calls["Logout"] == 1


def files_of(spawning: Spawning) -> list[str]:
    """All machines, and all files but the stamps of when an image was used."""
    return [*spawning.machines(), *(line for line in spawning.files() if "used-" not in line)]


def test_a_failed_machine_is_kept_where_that_is_asked(spawning: Spawning) -> None:
    spawning.vcenter.fault("PowerOnVM_Task", "InsufficientResourcesFault")
    wish: dict[str, Any] = {"template": "DC0_C0_RP0_VM0", "name": "kept-1", "state": "poweredoff"}
    spawning.run(**wish)
    spawning.run(name="kept-1", state="absent")
    spawning.vcenter.calm()
    without = spawning.run(**{**wish, "state": "poweredon"}, wait_for_address=True, address_timeout=0.3, keep_failed=True)
    assert without["undone"] == []
    assert "kept-1" in str(without["left"])
    assert "kept-1" in spawning.listing()
    spawning.run(name="kept-1", state="absent")
    assert "kept-1" not in spawning.listing()


@pytest.mark.parametrize(
    ("method", "action"),
    pairs(["CreateFolder", "CreateSnapshot_Task", "CloneVM_Task", "MakeDirectory", *OF_IMAGE], LOST, 2, "lost answers to a spawn"),
)
def test_a_lost_answer_is_looked_for(spawning: Spawning, image: Path, method: str, action: str) -> None:
    name = f"lost-{method}-{action}".replace("_", "-").lower()
    wish = wish_for(method, image, name)
    if method == "CreateSnapshot_Task":
        wish["template"] = f"source-{action}"
        spawning.vcenter.govc("vm.clone", "-on=false", "-ds", "LocalDS_0", "-vm", "DC0_C0_RP0_VM0", wish["template"])
    spawning.vcenter.chaos(method, action, times=1)
    code, made = outcome(spawning, **wish)
    spawning.vcenter.calm()
    assert code == ""
    assert made["changed"]
    assert spawning.vcenter.govc("find", "/DC0", "-type", "m", "-name", name).count("\n") == 0
    assert not spawning.run(**wish)["changed"]
    gone = spawning.run(name=name, folder=wish.get("folder"), state="absent")
    assert gone["changed"]
    assert f"] {name}" not in spawning.listing()


@pytest.mark.parametrize("action", LOST)
@pytest.mark.parametrize("method", ["ReconfigVM_Task", "PowerOffVM_Task", "PowerOnVM_Task", "Destroy_Task"])
def test_a_lost_answer_to_a_change_is_looked_for(spawning: Spawning, method: str, action: str) -> None:
    wish: dict[str, Any] = {"template": "DC0_C0_RP0_VM0", "name": f"change-{method}-{action}".replace("_", "-"), "cpus": 1}
    spawning.run(**wish)
    spawning.vcenter.chaos(method, action, times=1)
    if method == "Destroy_Task":
        spawning.run(name=wish["name"], state="absent")
    else:
        changed = spawning.run(**{**wish, "cpus": 2}, restart=True, disks=[{"size_gb": 1}])
        assert (changed["power"], len(changed["disks"])) == ("running", 2)
        spawning.vcenter.calm()
        assert not spawning.run(**{**wish, "cpus": 2}, disks=[{"size_gb": 1}])["changed"]
        spawning.run(name=wish["name"], state="absent")
    assert wish["name"] not in spawning.listing()


@pytest.mark.parametrize("method", ["CreateFolder", "CloneVM_Task", "CreateVM_Task", "ReconfigVM_Task", "PowerOnVM_Task", "FindChild"])
def test_a_session_that_ends_on_the_way_is_opened_again(spawning: Spawning, image: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    wish = wish_for(method, image, f"expired-{method}".replace("_", "-"))
    if method == "FindChild":
        del wish["folder"]
    monkeypatch.setattr(request, "Stats", lambda clock: ActingStats(clock, method, spawning.vcenter.expire_sessions))
    made = spawning.run(**wish)
    assert made["changed"]
    assert made["stats"]["logins"] == 2
    monkeypatch.undo()
    assert not spawning.run(**wish)["changed"]
    spawning.run(name=wish["name"], folder=wish.get("folder"), state="absent")


def test_a_vcenter_that_loses_every_fifth_call_is_served(spawning: Spawning) -> None:
    for seed in seeds(gate=1, soak=3):
        wish: dict[str, Any] = {"template": "DC0_C0_RP0_VM0", "name": f"storm-{seed}", "folder": "storm", "networks": [{"network": "VM Network"}]}
        for action, rate in (("drop-before", 0.07), ("drop-after", 0.07), ("unavailable", 0.05)):
            spawning.vcenter.chaos("*", action, rate=rate, seed=seed)
        outcome(spawning, **wish)
        spawning.vcenter.calm()
        settled = spawning.run(**wish)
        assert settled["power"] == "running"
        assert not spawning.run(**wish)["changed"]
        assert spawning.vcenter.govc("find", "/DC0", "-type", "m", "-name", wish["name"]).count("storm") == 2


@pytest.mark.parametrize("method", ["CopyVirtualDisk_Task", "PUT /folder", "ReconfigVM_Task", "PowerOnVM_Task"])
def test_what_a_killed_run_left_is_taken_up_by_the_next(spawning: Spawning, image: Path, method: str) -> None:
    wish = wish_for("CreateVM_Task", image, f"killed-{method[:9]}".replace(" ", "-").replace("/", "-"))
    before = files_of(spawning)
    spawning.kill_at(method, **wish)
    made = spawning.run(**wish)
    assert made["power"] == "running"
    assert len(made["disks"]) == 1
    assert not spawning.run(**wish)["changed"]
    spawning.run(name=wish["name"], state="absent")
    assert files_of(spawning) == before


def test_a_killed_runs_copy_that_arrives_late_is_not_in_the_way(spawning: Spawning, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wish = wish_for("CreateVM_Task", image, "late-copy")
    spawning.run(**{**wish, "name": "late-copy-before"})
    before = files_of(spawning)
    path = f"[{wish['datastore']}] {wish['name']}/{ROOT_NAME}"
    monkeypatch.setattr(request, "Stats", lambda clock: ActingStats(clock, "CopyVirtualDisk_Task", lambda: spawning.make_disk(path)))
    made = spawning.run(**wish)
    assert made["power"] == "running"
    assert [disk["size_gb"] for disk in made["disks"]] == [disk["size_gb"] for disk in spawning.run(**{**wish, "name": "late-copy-before"})["disks"]]
    monkeypatch.undo()
    assert not spawning.run(**wish)["changed"]
    spawning.run(name=wish["name"], state="absent")
    assert files_of(spawning) == before
    spawning.run(name="late-copy-before", state="absent")


def test_two_runs_at_the_same_moment_make_one_machine(spawning: Spawning) -> None:
    wish: dict[str, Any] = {"template": "DC0_C0_RP0_VM0", "name": "twice-1", "state": "poweredoff"}
    results = together(2, lambda _number: spawning.run(**wish))
    made = [result for result in results if isinstance(result, dict) and result["changed"]]
    assert len(made) == 1
    assert not spawning.run(**wish)["changed"]
    assert spawning.vcenter.govc("find", "/DC0", "-type", "m", "-name", "twice-1").count("twice") == 1


def test_a_change_that_fails_leaves_the_machine_running(spawning: Spawning) -> None:
    wish: dict[str, Any] = {"template": "DC0_C0_RP0_VM0", "name": "stays-on", "cpus": 1}
    spawning.run(**wish)
    spawning.vcenter.fault("ReconfigVM_Task", "InsufficientResourcesFault")
    code, _result = outcome(spawning, **{**wish, "cpus": 2, "restart": True})
    assert code == "insufficient_resources"
    assert spawning.run(**wish)["changed"] is False
    spawning.vcenter.fault("PowerOnVM_Task", "InsufficientResourcesFault")
    code, result = outcome(spawning, **{**wish, "cpus": 2, "restart": True})
    assert (code, result["changed"], result["power"]) == ("insufficient_resources", True, "off")
    assert spawning.run(**{**wish, "cpus": 2})["power"] == "running"
