# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``vm_pool`` on a vCenter: what it costs, counted by the server, and what becomes of pools that several work on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import InsufficientResources, InvalidSpec, MaybeApplied, NotFound, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.pool.request import converge_with, read_with
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import Mark, MarkState, new_machine_id
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import Clone, MachineSpec, Placement, PoolTemplate
from ansible_collections.poolwright.virt.plugins.module_utils.providers.vsphere import MUTATING, VsphereProvider
from ansible_collections.poolwright.virt.plugins.module_utils.providers.vsphere_machines import record, templates
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.binding import library
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.hardware import option_values
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Ambiguous, Inventory
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.vim import VIM
from ansible_collections.poolwright.virt.tests.contract.labs.vcenter import VCenter
from ansible_collections.poolwright.virt.tests.contract.labs.vsphere import TEMPLATE, make_template
from ansible_collections.poolwright.virt.tests.integration.vsphere.staging import together

DRIVER = Path(__file__).parents[1] / "pool" / "driver.py"


class Site:
    """A vCenter with a template, the parameters that lead there, and a folder of this case's own."""

    def __init__(self, vcenter: VCenter, state: Path) -> None:
        self.vcenter = vcenter
        self.state = state
        self.folder = f"pools/{uuid.uuid4().hex[:8]}"

    def pool(self, size: int, **more: Any) -> dict[str, Any]:
        networks = [{"network": "VM Network"}]
        return {"name": "ci", "size": size, "template": TEMPLATE, "folder": self.folder, "memory_mb": 32, "networks": networks, **more}

    def params(self, *pools: dict[str, Any], **run: Any) -> dict[str, Any]:
        at = self.vcenter
        connection = {"provider": "vsphere", "hostname": at.host, "port": at.port, "username": at.user, "password": at.password, "ca_path": at.ca_path}
        rest = {"token": None, "validate_certs": True, "thumbprint": None, "proxy_host": None, "proxy_port": 8080, "datacenter": None}
        how = {"state": "present", "all_pools": False, "max_parallel": 20, "max_delete": None, "keep_failed": False, "timeout": 300.0, "lock_timeout": 60.0}
        return {**connection, **rest, **how, "pools": list(pools), **run}

    def run(self, *pools: dict[str, Any], check: bool = False, **run: Any) -> dict[str, Any]:
        return converge_with(self.params(*pools, **run), check, threading.Event())

    def counted(self, *pools: dict[str, Any], check: bool = False, **run: Any) -> tuple[dict[str, Any], int, dict[str, int]]:
        """What a run returns, how many calls the server has counted, and those that change something."""
        self.vcenter.forget_calls()
        result = self.run(*pools, check=check, **run)
        calls = self.vcenter.calls()
        assert calls.sessions == 0
        assert calls["Login"] == 1
        return result, calls.total, {method: number for method, number in calls.methods.items() if method in MUTATING}

    def start(self, controller: str, *pools: dict[str, Any], **run: Any) -> subprocess.Popen[str]:
        """A run on another controller."""
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry), "XDG_STATE_HOME": str(self.state / controller)}
        child = subprocess.Popen([sys.executable, str(DRIVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        assert child.stdin is not None
        child.stdin.write(json.dumps({"params": self.params(*pools, **run), "kill_at_call": 0}))
        child.stdin.close()
        return child

    def machines(self) -> list[str]:
        with self.vcenter.vim() as vim:
            folder = Inventory(vim).folder(self.folder)
            found = [] if folder is None else vim.get_objects("VirtualMachine", ["name"], root=folder.obj)
        return sorted(one.properties["name"] for one in found)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VCenter]:
    lab = VCenter(Path(tmp_path_factory.mktemp("pools")))
    lab.start("-vm", "1")
    try:
        with lab.vim() as vim:
            make_template(vim)
        yield lab
    finally:
        lab.stop()


@pytest.fixture
def site(server: VCenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    server.calm()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "here"))
    made = Site(server, tmp_path)
    yield made
    server.calm()
    with server.vim() as vim:
        inventory = Inventory(vim)
        for path in (made.folder, f"{made.folder}-moved"):
            folder = inventory.folder(path)
            for one in [] if folder is None else vim.get_objects("VirtualMachine", ["runtime.powerState"], root=folder.obj):
                deadline = Deadline.after(Clock(), 600)
                if one.properties["runtime.powerState"] != "poweredOff":
                    vim.run(one.obj, "PowerOffVM_Task", deadline=deadline)
                vim.run(one.obj, "Destroy_Task", deadline=deadline)


def finished(run: subprocess.Popen[str]) -> str:
    assert run.stdout is not None
    with run.stdout as answer:
        said = answer.read()
    assert run.wait(timeout=600) == 0
    return said


def snapshots(server: VCenter) -> list[str]:
    with server.vim() as vim:
        info = vim.get_properties(Inventory(vim).machine(TEMPLATE).obj, ["snapshot"]).get("snapshot")
    return [one.name for one in templates.snapshots_in(info)]


def in_folder(vim: VIM, site: Site, name: str, extra: dict[str, str], instance: str = "") -> None:
    """A machine of the folder that nobody's run has made."""
    kinds = library().vim.vm
    inventory = Inventory(vim)
    pool = vim.get_properties(inventory.machine(TEMPLATE).obj, ["resourcePool"])["resourcePool"]
    files = kinds.FileInfo(vmPathName="[LocalDS_0]")
    spec = kinds.ConfigSpec(name=name, memoryMB=32, numCPUs=1, guestId="otherGuest", files=files, extraConfig=option_values(extra))
    if instance:
        spec.instanceUuid = instance
    vim.run(inventory.ensure_folder(site.folder).obj, "CreateVM_Task", config=spec, pool=pool, deadline=Deadline.after(Clock(), 600))


def test_a_fill_takes_two_calls_for_a_machine_and_few_more(site: Site) -> None:
    site.run(site.pool(1))  # so that the template's snapshot is there
    result, calls, changes = site.counted(site.pool(20))
    assert result["pools"]["ci"]["ready"] == 20
    assert (changes["CloneVM_Task"], changes["ReconfigVM_Task"]) == (19, 19)
    assert calls <= 2 * 19 + 25
    assert site.machines() == sorted(f"ci-{slot}" for slot in range(1, 21))


def test_a_converged_run_takes_few_calls_and_changes_nothing(site: Site) -> None:
    site.run(site.pool(20))
    result, calls, changes = site.counted(site.pool(20))
    assert not result["changed"]
    assert calls <= 15
    assert changes == {}


def test_check_mode_changes_nothing_and_foretells_the_run(site: Site) -> None:
    foretold, _calls, changes = site.counted(site.pool(3), check=True)
    assert changes == {}
    assert site.machines() == []
    done = site.run(site.pool(3))
    assert foretold["actions"] == done["actions"]
    assert foretold["diff"] == done["diff"]


def test_others_in_the_folder_cost_next_to_nothing(site: Site) -> None:
    site.run(site.pool(30, clone="full"))
    with site.vcenter.vim() as vim:
        for number in range(30):
            in_folder(vim, site, f"other-{number}", {})
    result, calls, changes = site.counted(site.pool(30, clone="full"))
    assert not result["changed"]
    assert calls <= 20
    assert changes == {}


def test_two_controllers_that_fill_one_pool_make_each_machine_once(site: Site) -> None:
    runs = [site.start(name, site.pool(12)) for name in ("one", "two")]
    answers = [finished(run) for run in runs]
    result = site.run(site.pool(12))
    assert not result["changed"]
    assert site.machines() == sorted(f"ci-{slot}" for slot in range(1, 13))
    made = [json.loads(answer)["pools"]["ci"]["created"] for answer in answers]
    assert sorted(made[0] + made[1]) == site.machines()
    assert [json.loads(answer)["pools"]["ci"]["destroyed"] for answer in answers] == [[], []]
    assert snapshots(site.vcenter).count(templates.BASE_SNAPSHOT) == 1


def test_a_base_snapshot_that_several_make_at_once_is_one(site: Site) -> None:
    name = f"source-{uuid.uuid4().hex[:6]}"
    with site.vcenter.vim() as vim:
        in_folder(vim, site, name, {})
        inventory = Inventory(vim)
        read = [templates.find(vim, inventory, name) for _time in range(4)]
        bases = together(4, lambda index: templates.ensure_base(vim, read[index], Deadline.after(Clock(), 600)).moid)
        info = vim.get_properties(read[0].entry.obj, ["snapshot"])["snapshot"]
        left = [one for one in templates.snapshots_in(info) if one.name == templates.BASE_SNAPSHOT]
    assert [one.moid for one in left] == list(set(bases))


def test_an_instant_clone_carries_its_mark_and_is_known_by_it(site: Site) -> None:
    source = f"running-{uuid.uuid4().hex[:6]}"
    with site.vcenter.vim() as vim:
        in_folder(vim, site, source, {})
        machine = Inventory(vim).machine(source).obj
        pool = site.pool(2, template=source, clone="instant", networks=[])
        with pytest.raises(InvalidSpec, match="does not run"):
            site.run(pool)
        vim.run(machine, "PowerOnVM_Task", deadline=Deadline.after(Clock(), 600))
        with pytest.raises(InvalidSpec, match="give cpus and memory_mb"):
            site.run({**pool, "memory_mb": 64})
    result, _calls, changes = site.counted(pool)
    assert changes["InstantClone_Task"] == 2
    assert result["pools"]["ci"]["ready"] == 2
    assert not site.run(pool)["changed"]
    site.run({"name": "ci", "folder": site.folder}, state="absent")
    assert site.machines() == [source]


def test_a_pool_whose_folder_was_renamed_is_not_made_anew(site: Site) -> None:
    site.run(site.pool(2))
    with site.vcenter.vim() as vim:
        folder = Inventory(vim).folder(site.folder)
        assert folder is not None
        vim.run(folder.obj, "Rename_Task", newName=f"{site.folder.rpartition('/')[2]}-moved", deadline=Deadline.after(Clock(), 600))
    with pytest.raises(NotFound) as caught:
        site.run(site.pool(2))
    assert f"{site.folder}-moved/ci-1" in str(caught.value)
    assert site.machines() == []


def test_pools_are_found_with_their_folders(site: Site) -> None:
    site.run(site.pool(2))
    found = read_with(site.params())
    assert found["pools"]["ci"]["ready"] == 2
    site.run(state="absent", all_pools=True)
    assert site.machines() == []


def test_a_copy_of_one_of_our_machines_is_a_foreign_one(site: Site) -> None:
    site.run(site.pool(1))
    mark = Mark("ci", 2, new_machine_id("ci"), "", "", 0.0, name="ci-2")
    with site.vcenter.vim() as vim:
        in_folder(vim, site, "ci-2", record.mark_options(mark), new_machine_id("ci"))
    result = site.run(site.pool(2))
    assert result["pools"]["ci"]["created"] == []
    assert "ci-2" in "".join(result["failures"])
    site.run({"name": "ci", "folder": site.folder}, state="absent")
    assert site.machines() == ["ci-2"]


def test_a_disk_that_is_not_the_machines_own_outlives_it(site: Site) -> None:
    site.run(site.pool(1))
    with site.vcenter.vim() as vim:
        folder = Inventory(vim).folder(site.folder)
        assert folder is not None
        (machine,) = [one.obj for one in vim.get_objects("VirtualMachine", ["name"], root=folder.obj)]
        directory = f"kept-{uuid.uuid4().hex[:6]}"
        files, datacenter = vim.content.fileManager, Inventory(vim).datacenter.obj
        vim.call(files, "MakeDirectory", name=f"[LocalDS_0] {directory}", datacenter=datacenter, createParentDirectories=False)
        kinds = library().vim.vm
        backing = kinds.device.VirtualDisk.FlatVer2BackingInfo(fileName=f"[LocalDS_0] {directory}/data.vmdk", diskMode="persistent")
        devices = vim.get_properties(machine, ["config.hardware.device"])["config.hardware.device"]
        own = next(device for device in devices if isinstance(device, kinds.device.VirtualDisk))
        disk = kinds.device.VirtualDisk(key=-1, controllerKey=own.controllerKey, unitNumber=9, capacityInKB=1024, backing=backing)
        change = kinds.device.VirtualDeviceSpec(operation="add", fileOperation="create", device=disk)
        vim.run(machine, "ReconfigVM_Task", spec=kinds.ConfigSpec(deviceChange=[change]), deadline=Deadline.after(Clock(), 600))
    site.run({"name": "ci", "folder": site.folder}, state="absent")
    assert site.machines() == []
    assert "data.vmdk" in site.vcenter.govc("datastore.ls", directory)


@pytest.mark.parametrize(
    ("pool", "error", "said"),
    [
        ({"template": "no-such"}, NotFound, "there is no such machine or template"),
        ({"cluster": "no-such"}, NotFound, "there is no such cluster"),
        ({"datastore": "no-such"}, NotFound, "there is no such datastore"),
        ({"resource_pool": "no-such"}, NotFound, "there is no such resource pool"),
        ({"host": "no-such"}, NotFound, "there is no such host"),
        ({"networks": [{"network": "no-such"}]}, NotFound, "there is no such network"),
        ({"memory_mb": 1024 * 1024}, InsufficientResources, "MiB of memory"),
        ({"disk": {"size_gb": 0.001}}, InvalidSpec, "is less than"),
        ({"disk": {"size_gb": 900}}, InvalidSpec, "say clone: full"),
        ({"disk": {"backend": "qcow2"}}, InvalidSpec, "is for KVM hosts"),
        ({"networks": [{"bridge": "br0"}]}, InvalidSpec, "is for KVM hosts"),
        ({"folder": "a/../b"}, InvalidSpec, "'.' or '..'"),
        ({"template": None}, InvalidSpec, "template: is missing"),
    ],
)
def test_a_pool_that_cannot_be_is_refused_and_nothing_is_made(site: Site, pool: dict[str, Any], error: type[VirtError], said: str) -> None:
    site.vcenter.forget_calls()
    with pytest.raises(error) as caught:
        site.run({**site.pool(2), **pool})
    assert said in str(caught.value)
    assert {method for method in site.vcenter.calls().methods if method in MUTATING} == set()


def test_an_ambiguous_template_is_refused_with_the_paths_of_all(site: Site) -> None:
    with site.vcenter.vim() as vim:
        in_folder(vim, site, TEMPLATE, {})
    with pytest.raises(Ambiguous) as caught:
        site.run(site.pool(1))
    assert f"DC0/vm/{site.folder}/{TEMPLATE}" in str(caught.value)
    assert f"DC0/vm/{TEMPLATE}" in str(caught.value)


def test_a_clone_that_goes_on_after_its_answer_was_lost_is_found(vcenter: VCenter, tmp_path: Path) -> None:
    clock = Clock()
    with vcenter.vim() as vim:
        found = [one for one in vim.get_objects("VirtualMachine", ["name"]) if "C0" in one.properties["name"]]
        machine = MachineSpec(template=found[0].properties["name"], clone=Clone.FULL, placement=Placement(folder=f"lost-{uuid.uuid4().hex[:6]}"))
        provider = VsphereProvider([PoolTemplate("ci", "ci", machine)], clock, Stats(clock), vim=vim, state_directory=str(tmp_path))
        provider.prepare("ci", Deadline.after(clock, 600))
        vcenter.chaos("CloneVM_Task", "drop-after", times=1)
        mark = Mark("ci", 1, new_machine_id("ci"), "", "", clock.now(), name="ci-1")
        with pytest.raises(MaybeApplied):
            provider.create_vm("ci", "ci-1", mark, Deadline.after(clock, 600))
        made = provider.get_vm("ci", "ci-1")
        assert made is not None
        assert made.mark == mark
        assert provider.destroy_vm("ci", "ci-1", mark)
        assert vcenter.calls()["CloneVM_Task"] == 1


def test_a_missing_privilege_is_named(site: Site) -> None:
    site.vcenter.fault("CloneVM_Task", "NoPermission", times=0)
    result = site.run(site.pool(1))
    (failed,) = result["pools"]["ci"]["failed"]
    assert failed["code"] == "permission_denied"
    assert site.machines() == []


@pytest.mark.parametrize("clone", ["linked", "full"])
def test_an_unhealthy_machine_goes_back_to_its_snapshot(site: Site, server: VCenter, clone: str) -> None:
    pool = site.pool(2, clone=clone, reset="snapshot")
    made = site.run(pool)
    assert made["failures"] == []
    assert made["stats"]["calls"]["CreateSnapshot_Task"] >= 2
    before = marked(site, server)
    assert all(mark.snapshot == "poolwright-clean" for mark in before.values())
    with server.vim() as vim:
        machine = Inventory(vim).machine(f"{site.folder}/ci-1").obj
        vim.run(machine, "PowerOffVM_Task", deadline=Deadline.after(Clock(), 600))
    foretold = site.run(pool, check=True)
    result, _calls, changed = site.counted(pool)
    assert [(step["action"], step["name"]) for step in result["actions"]] == [("reset", "ci-1")] == [(s["action"], s["name"]) for s in foretold["actions"]]
    assert (result["failures"], result["warnings"], result["pools"]["ci"]["reset"]) == ([], [], ["ci-1"])
    assert changed["RevertToSnapshot_Task"] == changed["PowerOnVM_Task"] == 1
    assert not {"CloneVM_Task", "Destroy_Task"} & set(changed)
    after = marked(site, server)
    assert (after["ci-1"].id, after["ci-1"].state) == (before["ci-1"].id, MarkState.READY)
    assert after["ci-2"] == before["ci-2"]
    assert site.run(pool)["actions"] == []


def test_a_machine_whose_snapshot_somebody_removed_is_rebuilt(site: Site, server: VCenter) -> None:
    pool = site.pool(1, reset="snapshot")
    site.run(pool)
    before = marked(site, server)
    with server.vim() as vim:
        machine = Inventory(vim).machine(f"{site.folder}/ci-1").obj
        info = vim.get_properties(machine, ["snapshot"])["snapshot"]
        (clean,) = templates.snapshots_in(info)
        vim.run(clean.obj, "RemoveSnapshot_Task", removeChildren=False, deadline=Deadline.after(Clock(), 600))
        vim.run(machine, "PowerOffVM_Task", deadline=Deadline.after(Clock(), 600))
    result = site.run(pool)
    assert (result["failures"], result["pools"]["ci"]["replaced"], len(result["warnings"])) == ([], ["ci-1"], 1)
    assert marked(site, server)["ci-1"].id != before["ci-1"].id


def test_an_instant_clone_has_no_snapshot_to_go_back_to(site: Site) -> None:
    with pytest.raises(InvalidSpec, match="reset: an instant clone runs from its first moment"):
        site.run(site.pool(1, clone="instant", reset="snapshot"))


def marked(site: Site, server: VCenter) -> dict[str, Mark]:
    with server.vim() as vim:
        folder = Inventory(vim).folder(site.folder)
        assert folder is not None
        found = vim.get_objects("VirtualMachine", ["name", record.EXTRA_CONFIG], root=folder.obj)
    marks = {one.properties["name"]: record.read_mark(one.properties[record.EXTRA_CONFIG]) for one in found}
    return {name: mark for name, mark in marks.items() if mark is not None}
