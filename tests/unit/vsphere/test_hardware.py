# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Specifications of machines: what is said, where devices go, how cards are made over."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere import devices, hardware
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.binding import library, reference
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Entry


def network(name: str, kind: str = "Network", **facts: str) -> hardware.NetworkFacts:
    return hardware.NetworkFacts(Entry(reference(kind, f"id-of-{name}"), kind, name, f"DC0/network/{name}", {}), **facts)


STANDARD = network("VM Network")
GROUP = network("group", "DistributedVirtualPortgroup", switch_uuid="50 2f", portgroup_key="dvportgroup-7")
LIKE_GROUP = network("group-2", "DistributedVirtualPortgroup", switch_uuid="50 2f", portgroup_key="dvportgroup-8")
OPAQUE = network("nsx", "OpaqueNetwork", opaque_id="id-1", opaque_type="nsx.LogicalSwitch")


def existing(*cards: hardware.Card) -> list[Any]:
    """The devices of a machine with these cards."""
    made = [change.device for change in hardware.replace_cards([], cards)]
    for number, device in enumerate(made):
        device.key = 4000 + number
        device.macAddress = device.macAddress or f"00:50:56:00:00:{number:02x}"
    return made


def controller(kind: str, key: int, bus: int = 0) -> Any:
    return getattr(library().vim.vm.device, kind)(key=key, busNumber=bus)


def test_a_specification_says_only_what_is_given() -> None:
    spec = hardware.config_spec(cpus=2)
    assert spec.numCPUs == 2
    assert [name for name in ("memoryMB", "annotation", "guestId", "deviceChange", "extraConfig", "bootOptions") if getattr(spec, name)] == []
    full = hardware.config_spec(
        name="web-1",
        memory_mb=512,
        extra_config={"a": "b"},
        firmware="efi",
        secure_boot=True,
        memory_limits=hardware.Allocation(limit=-1, shares=1500),
        cpu_limits=hardware.Allocation(shares="high"),
        vm_path="[ds]",
        annotation="",
    )
    assert (full.name, full.memoryMB, full.firmware, full.bootOptions.efiSecureBootEnabled, full.files.vmPathName) == ("web-1", 512, "efi", True, "[ds]")
    assert [(option.key, option.value) for option in full.extraConfig] == [("a", "b")]
    assert (full.memoryAllocation.limit, full.memoryAllocation.shares.level, full.memoryAllocation.shares.shares) == (-1, "custom", 1500)
    assert full.cpuAllocation.shares.level == "high"
    assert full.annotation == ""


@pytest.mark.parametrize("wanted", [STANDARD, GROUP, OPAQUE], ids=lambda facts: facts.entry.kind)
def test_a_card_is_on_its_network_and_no_other(wanted: hardware.NetworkFacts) -> None:
    card = hardware.network_card(wanted, "vmxnet3", -1).device
    assert [facts for facts in (STANDARD, GROUP, LIKE_GROUP, OPAQUE) if hardware.is_on(card, facts)] == [wanted]


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(InvalidSpec, match="virtio"):
        hardware.network_card(STANDARD, "virtio", -1)


def test_cards_that_are_as_wanted_are_left_alone() -> None:
    cards = [hardware.Card(STANDARD), hardware.Card(GROUP, "e1000", "00:50:56:aa:aa:aa")]
    assert hardware.replace_cards(existing(*cards), cards) == []


def test_a_card_moves_to_another_network_and_keeps_its_address() -> None:
    (change,) = hardware.replace_cards(existing(hardware.Card(STANDARD)), [hardware.Card(GROUP)])
    assert (change.operation, change.device.key, change.device.macAddress) == ("edit", 4000, "00:50:56:00:00:00")
    assert hardware.is_on(change.device, GROUP)


def test_a_card_of_another_model_makes_way_and_surplus_ones_go() -> None:
    changes = hardware.replace_cards(existing(hardware.Card(STANDARD), hardware.Card(STANDARD)), [hardware.Card(STANDARD, "e1000")])
    assert [(change.operation, change.device.key) for change in changes] == [("remove", 4000), ("add", -4000), ("remove", 4001)]


def test_an_address_set_by_hand_is_not_cloned() -> None:
    there = existing(hardware.Card(STANDARD, mac="00:50:56:aa:aa:aa"), hardware.Card(STANDARD))
    (change,) = hardware.replace_cards(there, [hardware.Card(STANDARD), hardware.Card(STANDARD)], cloning=True)
    assert (change.operation, change.device.addressType, change.device.macAddress) == ("edit", "generated", None)
    assert [one.device.key for one in hardware.fresh_addresses(there)] == [4000]


@given(st.lists(st.sampled_from([*devices.ADAPTERS]), max_size=40))
def test_every_device_gets_a_place_and_a_key_of_its_own_on_the_right_controller(adapters: list[str]) -> None:
    slots = devices.Slots([controller("VirtualIDEController", 200), controller("VirtualIDEController", 201, 1), controller("ParaVirtualSCSIController", 1000)])
    places, keys = [], []
    for adapter in adapters:
        try:
            disk = devices.new_disk(slots, adapter, 1024).device
        except InvalidSpec:
            continue
        places.append((disk.controllerKey, disk.unitNumber))
        keys.append(disk.key)
        new = {change.device.key: change.device for change in slots.changes}
        there = {200: "VirtualIDEController", 201: "VirtualIDEController", 1000: "ParaVirtualSCSIController"}
        kind = type(new[disk.controllerKey])._wsdlName if disk.controllerKey in new else there[disk.controllerKey]
        assert kind == devices.ADAPTERS[adapter].kind
        if devices.ADAPTERS[adapter].bus == "scsi":
            assert disk.unitNumber != 7
    keys += [change.device.key for change in slots.changes]
    assert len(set(places)) == len(places)
    assert len(set(keys)) == len(keys)
    assert all(key < 0 for key in keys)


def test_a_full_bus_is_never_replaced_by_another() -> None:
    slots = devices.Slots([controller("VirtualIDEController", 200), controller("VirtualIDEController", 201, 1)])
    for _number in range(4):
        slots.take("ide")
    with pytest.raises(InvalidSpec, match="no place for another device on ide"):
        slots.take("ide")
    assert slots.changes == []


def test_four_scsi_controllers_of_other_kinds_leave_no_room() -> None:
    slots = devices.Slots([controller("VirtualLsiLogicController", 1000 + bus, bus) for bus in range(4)])
    with pytest.raises(InvalidSpec, match="4 scsi controllers"):
        slots.take("paravirtual")


def test_the_fifteenth_scsi_disk_skips_the_controllers_own_unit() -> None:
    slots = devices.Slots([])
    units = [slots.take("paravirtual").unit for _number in range(16)]
    assert units == [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 0]
    assert [change.device.busNumber for change in slots.changes] == [0, 1]


def test_disks_say_what_they_are() -> None:
    slots = devices.Slots([])
    blank = devices.new_disk(slots, "paravirtual", 2 * devices.GIB, path="[ds]", thin=False, ephemeral=True)
    child = devices.child_disk(slots, "paravirtual", "[ds] base.vmdk", devices.GIB)
    theirs = devices.existing_disk(slots, "paravirtual", "[ds] a/b.vmdk")
    drive = devices.cdrom(slots, "[ds] seed.iso")
    assert (blank.fileOperation, blank.device.backing.diskMode, blank.device.backing.thinProvisioned) == ("create", "independent_nonpersistent", False)
    assert (child.fileOperation, child.device.backing.parent.fileName) == ("create", "[ds] base.vmdk")
    assert (theirs.fileOperation, devices.path_of(theirs.device)) == (None, "[ds] a/b.vmdk")
    assert devices.path_of(drive.device) == "[ds] seed.iso"
    assert [slots.place_of(one) for one in (blank, child, theirs, drive)] == ["scsi0:0", "scsi0:1", "scsi0:2", "ide0:0"]
    grown = devices.grown_disk(blank.device, 3 * devices.GIB)
    assert (devices.size_of(grown.device), devices.size_of(blank.device)) == (3 * devices.GIB, 2 * devices.GIB)
