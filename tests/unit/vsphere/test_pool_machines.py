# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is decided about a pool's machines on vSphere without asking anybody."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import InsufficientResources
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import Lease, Mark, new_machine_id
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import Check, Clone, DiskSpec, MachineSpec, Power, SeedSpec
from ansible_collections.poolwright.virt.plugins.module_utils.providers.vsphere_machines import (
    addresses,
    create,
    observe,
    placement,
    readiness,
    record,
    remove,
    seed,
    templates,
)
from ansible_collections.poolwright.virt.plugins.module_utils.providers.vsphere_machines.controller import Controller, default_directory
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere import hosts
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.binding import library, reference
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Entry

MARK = Mark("ci", 1, new_machine_id("ci"), "abc", "debian", 1.5, name="ci-1", maker="here", lease=Lease('job "7" ä', 2.5))


def entry(kind: str, moid: str) -> Entry:
    return Entry(reference(kind, moid), kind, moid, f"DC0/{moid}", {})


def host(name: str, **more: Any) -> hosts.HostLoad:
    said: dict[str, Any] = {"connected": True, "maintenance": False, "memory_mb": 4096, "used_mb": 1024, "busy": 0.1}
    return hosts.HostLoad(entry("HostSystem", name), **{**said, **more})


def disk(path: str, key: int = 2000, gib: float = 1) -> Any:
    device = library().vim.vm.device
    backing = device.VirtualDisk.FlatVer2BackingInfo(fileName=path, diskMode="persistent")
    size = int(gib * 1024**3)
    return device.VirtualDisk(key=key, controllerKey=1000, unitNumber=key - 2000, backing=backing, capacityInKB=size // 1024, capacityInBytes=size)


def template(*devices: Any, **more: Any) -> templates.Template:
    said: dict[str, Any] = {"host": None, "datastores": (), "is_template": False, "running": False, "cpus": 1, "memory_mb": 1024, "committed": 0}
    return templates.Template(entry("VirtualMachine", "vm-1"), devices or (disk("[ds] t/t.vmdk"),), **{**said, "snapshots": (), **more})


def blueprint() -> create.Blueprint:
    site = placement.Site(entry("ClusterComputeResource", "c1"), entry("ResourcePool", "rp1"), (), balanced=True)
    return create.Blueprint(template(), site, ())


def spec_of(machine: MachineSpec) -> Any:
    spot = create.Spot(reference("Folder", "group-1"))
    return create.clone_spec(blueprint(), machine, "ci-1", MARK, spot, reference("VirtualMachineSnapshot", "snapshot-1"))


def test_a_mark_is_one_ascii_value_and_reads_back() -> None:
    ((key, text),) = record.mark_options(MARK).items()
    option = library().vim.option.OptionValue(key=key, value=text)
    assert text.isascii()
    assert record.read_mark(option) == MARK
    assert record.read_mark([library().vim.option.OptionValue(key="other", value="x"), option]) == MARK


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"pool": "ci"}'])
def test_what_is_no_mark_is_none(text: str) -> None:
    assert record.read_mark(library().vim.option.OptionValue(key=record.MARK_KEY, value=text)) is None


def test_a_machine_is_ours_by_its_mark_and_one_of_its_ids() -> None:
    option = library().vim.option.OptionValue(key=record.MARK_KEY, value=record.mark_options(MARK)[record.MARK_KEY])
    values = {"name": "ci-1", "config.instanceUuid": MARK.id, "runtime.powerState": "poweredOn", record.MARK_PATH: option}
    machine = reference("VirtualMachine", "vm-2")
    assert observe.as_seen(machine, values).mark == MARK
    assert observe.as_seen(machine, {**values, "config.instanceUuid": "x", "config.uuid": MARK.id.upper()}).mark == MARK
    assert observe.as_seen(machine, {**values, "config.instanceUuid": new_machine_id("ci")}).mark is None
    assert observe.as_seen(machine, {**values, "config.template": True}).mark is None
    assert observe.as_seen(machine, {**values, "runtime.connectionState": "disconnected"}).power is Power.UNKNOWN


def test_a_linked_clone_stands_on_the_snapshot_and_says_whose_it_is() -> None:
    spec = spec_of(MachineSpec(template="t", cpus=2, memory_mb=64))
    assert spec.location.diskMoveType == "createNewChildDiskBacking"
    assert spec.snapshot is not None
    assert spec.powerOn is True
    assert (spec.config.instanceUuid, spec.config.numCPUs, spec.config.memoryMB) == (MARK.id, 2, 64)
    assert record.read_mark(list(spec.config.extraConfig)) == MARK


def test_a_full_clone_has_disks_of_its_own_and_may_have_larger_ones() -> None:
    spec = spec_of(MachineSpec(template="t", clone=Clone.FULL, disk=DiskSpec(size_gb=3), power_on=False))
    assert spec.location.diskMoveType == "moveAllDiskBackingsAndDisallowSharing"
    assert spec.snapshot is None
    assert spec.powerOn is False
    (change,) = spec.config.deviceChange
    assert (change.operation, change.device.capacityInBytes) == ("edit", 3 * 1024**3)


def test_an_instant_clone_has_our_id_in_its_bios() -> None:
    spec = create.instant_clone_spec(blueprint(), MachineSpec(template="t"), "ci-1", MARK, create.Spot(reference("Folder", "group-1")))
    assert (spec.name, spec.biosUuid) == ("ci-1", MARK.id)
    assert record.read_mark(list(spec.config)) == MARK


@pytest.mark.parametrize(
    ("machine", "said"),
    [
        (MachineSpec(disk=DiskSpec(size_gb=0.5)), "is less than the 1 GiB"),
        (MachineSpec(disk=DiskSpec(size_gb=2)), "say clone: full"),
        (MachineSpec(clone=Clone.INSTANT), "does not run"),
    ],
)
def test_what_a_template_cannot_become_is_said(machine: MachineSpec, said: str) -> None:
    (problem,) = templates.problems(template(), machine)
    assert said in problem


def test_of_several_base_snapshots_the_oldest_counts() -> None:
    made = [templates.Snapshot(None, name, (when, number)) for name, when, number in (("poolwright-base", 5, 3), ("poolwright-base", 4, 2), ("mine", 1, 1))]
    found = templates.base_of(made)
    assert found is not None
    assert found.order == (4, 2)
    assert templates.base_of(made[2:]) is None


def test_cloud_init_reads_what_is_told() -> None:
    wanted = SeedSpec(user_data="#cloud-config\n{}", network_config="version: 2", ssh_keys=("ssh-ed25519 AAAA me",), hostname="{name}.example.com")
    told = seed.guest_info(wanted, "ci-1", "id-1")
    metadata = json.loads(base64.b64decode(told["guestinfo.metadata"]))
    assert (metadata["instance-id"], metadata["local-hostname"]) == ("id-1", "ci-1.example.com")
    assert metadata["public-keys-data"] == "ssh-ed25519 AAAA me"
    assert base64.b64decode(metadata["network"]).decode() == "version: 2"
    assert base64.b64decode(told["guestinfo.userdata"]).decode() == "#cloud-config\n{}"
    assert {value for key, value in told.items() if key.endswith(".encoding")} == {"base64"}
    assert seed.guest_info(SeedSpec(), "ci-1", "id-1") == {}


@pytest.mark.parametrize(
    ("told", "best"),
    [
        ([], ""),
        (["169.254.3.4", "fe80::1%eth0", "::1", "127.0.0.1", "nonsense"], ""),
        (["2001:db8::7", "10.0.0.7"], "10.0.0.7"),
        (["fe80::1", "2001:db8::7"], "2001:db8::7"),
    ],
)
def test_only_addresses_that_others_reach_count(told: list[str], best: str) -> None:
    assert addresses.best(told) == best


def test_a_machine_without_an_address_says_why() -> None:
    running = {"runtime.powerState": "poweredOn"}
    assert readiness.of(Check.RUNNING, running).ready
    assert "do not run yet" in readiness.of(Check.IP, running).reason
    assert "no address yet" in readiness.of(Check.IP, {**running, "guest.toolsRunningStatus": "guestToolsRunning"}).reason
    assert readiness.of(Check.IP, {**running, "guest.ipAddress": "10.0.0.7"}).ip == "10.0.0.7"
    assert readiness.of(Check.IP, {"runtime.powerState": "suspended"}).reason == "it is paused"
    assert readiness.of(Check.NONE, {}).ready


def test_every_host_that_cannot_take_a_machine_says_why() -> None:
    there = [
        host("h1", connected=False),
        host("h2", maintenance=True),
        host("h3", memory_mb=64),
        host("h4"),
        host("h5", datastores=frozenset({"ds-1"})),
    ]
    needs = hosts.Needs(512, frozenset({"ds-1"}), {"net-1": "VM Network"})
    with pytest.raises(InsufficientResources) as caught:
        hosts.compatible(there, needs, "ci")
    for said in ("h1 is not connected", "h2 is in maintenance", "h3 has 64 MiB", "h4 does not have the datastore", "h5 does not have the network VM Network"):
        assert said in str(caught.value)


def test_the_emptiest_host_is_taken_with_what_is_promised_to_each() -> None:
    there = [host("h1", used_mb=1000), host("h2", used_mb=1200), host("h3", busy=0.9)]
    assert hosts.least_used(there, {}).entry.name == "h1"
    assert hosts.least_used(there, {"h1": 512}).entry.name == "h2"


def test_a_machine_moves_to_a_clearly_emptier_host_only() -> None:
    own, near, far = host("h1", used_mb=2048), host("h2", used_mb=1400), host("h3", used_mb=1200)
    assert hosts.better([own, near], own, 512) is own
    assert hosts.better([own, near, far], own, 512) is far
    # Moved there, it does not come back, and what two readings differ by moves nothing.
    assert hosts.better([host("h1", used_mb=1536), host("h3", used_mb=1712)], host("h3", used_mb=1712), 512).entry.name == "h3"
    assert hosts.better([own], own, 512) is own


def test_a_machine_whose_host_takes_none_goes_to_the_emptiest() -> None:
    full = [host("h3", used_mb=3000), host("h2", used_mb=2900), host("h1", used_mb=3500)]
    assert hosts.better(full, None, 512).entry.name == "h2"
    assert hosts.better(list(reversed(full)), None, 512).entry.name == "h2"


def test_a_disk_in_another_directory_is_not_the_machines_own() -> None:
    disks = [disk("[ds] ci-1/ci-1.vmdk"), disk("[other] ci-1/ci-1_1.vmdk", 2001), disk("[ds] data/kept.vmdk", 2002)]
    assert remove.guests_disks(disks, "[ds] ci-1/ci-1.vmx") == disks[2:]


def test_a_controller_is_the_same_one_at_each_run(tmp_path: Path) -> None:
    first, second = (Controller(str(tmp_path / "state"), "vc").identity() for _time in range(2))
    assert first == second != ""
    assert Controller(str(tmp_path / "other"), "vc").identity() != first
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["controller-id"]


def test_a_controllers_state_is_where_the_user_keeps_such() -> None:
    assert default_directory({"XDG_STATE_HOME": "/s"}, "/home/x") == "/s/poolwright/vsphere"
    assert default_directory({"XDG_STATE_HOME": "relative"}, "/home/x") == "/home/x/.local/state/poolwright/vsphere"


def test_holding_a_pool_leaves_nothing(tmp_path: Path) -> None:
    controller = Controller(str(tmp_path), "vc:443 DC0/x")
    with controller.holding(["ci"], Clock(), Deadline.after(Clock(), 5)):
        assert list(tmp_path.rglob("*.lock"))
    assert not list(tmp_path.rglob("*.lock"))


def test_a_mark_without_a_maker_is_written_as_before() -> None:
    assert "maker" not in replace(MARK, maker="").to_dict()
    assert Mark.from_dict(replace(MARK, maker="").to_dict()).maker == ""
