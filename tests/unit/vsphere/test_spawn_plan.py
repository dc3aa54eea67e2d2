# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a machine in a vCenter lacks, what that takes, and what is its own: decided without a call."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.poolwright.virt.plugins.module_utils.vsphere import devices
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.binding import library, reference
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.compare import Needs, compare, removal
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.description import Description, DiskWish, Seed, State
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.mark import CREATING, KEY, SpawnMark, read_mark, this_process
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.observe import Seen, addresses

ID = "70777669-7274-8000-8000-0123456789ab"
MARK = SpawnMark(ID, "web-1", template="DC0/vm/tpl/debian", clone="full")
HOME = "[ssd-1] web-1/web-1.vmx"
WISH = Description("web-1", template="tpl/debian")


def machine(*, on: bool = True, hot: bool = False, mark: SpawnMark = MARK, child: bool = False, paths: tuple[str, ...] = ("[ssd-1] web-1/web-1.vmdk",)) -> Seen:
    vim = library().vim
    slots = devices.Slots([])
    changes = [
        devices.child_disk(slots, "paravirtual", "[ssd-1] cache/base.vmdk", 10 * devices.GIB, path=path)
        if child and not number
        else devices.new_disk(slots, "paravirtual", 10 * devices.GIB, path=path)
        for number, path in enumerate(paths)
    ]
    listed = [change.device for change in [*slots.changes, *changes]]
    hardware = vim.vm.VirtualHardware(numCPU=2, memoryMB=1024, numCoresPerSocket=1, device=listed)
    properties = {
        "config.hardware": hardware,
        "config.files.vmPathName": HOME,
        "config.cpuHotAddEnabled": hot,
        "config.memoryHotAddEnabled": hot,
        "config.firmware": "bios",
        "config.extraConfig": [vim.option.OptionValue(key=KEY, value=mark.to_text()), vim.option.OptionValue(key="a", value="1")],
        "runtime.powerState": "poweredOn" if on else "poweredOff",
    }
    return Seen(reference("VirtualMachine", "vm-1"), "web-1", mark, properties)


@pytest.mark.parametrize(
    ("changes", "on", "hot", "needs"),
    [
        ({"cpus": 4}, True, True, Needs.NOTHING),
        ({"cpus": 1}, True, True, Needs.OFF),
        ({"cpus": 4}, True, False, Needs.OFF),
        ({"cpus": 4}, False, False, Needs.NOTHING),
        ({"memory_mb": 2048}, True, True, Needs.NOTHING),
        ({"cores_per_socket": 2}, True, True, Needs.OFF),
        ({"annotation": "x"}, True, False, Needs.NOTHING),
        ({"extra_config": {"a": "2"}}, True, False, Needs.NOTHING),
        ({"guest_id": "debian12_64Guest"}, True, False, Needs.OFF),
        ({"secure_boot": True}, True, False, Needs.OFF),
        ({"root_gb": 20}, True, False, Needs.NOTHING),
        ({"root_gb": 5}, True, False, Needs.REBUILD),
        ({"disks": (DiskWish(1),)}, True, False, Needs.NOTHING),
        ({"firmware": "efi"}, False, False, Needs.REBUILD),
        ({"template": "tpl/other"}, False, False, Needs.REBUILD),
        ({"template": "debian"}, False, False, None),
        ({"clone": "linked"}, False, False, Needs.REBUILD),
        ({"seed": Seed("guestinfo", "x")}, False, False, Needs.REBUILD),
        ({"extra_config": {"a": "1"}, "cpus": 2, "root_gb": 10, "firmware": "bios"}, True, False, None),
    ],
)
def test_each_change_takes_what_it_takes(changes: dict[str, Any], on: bool, hot: bool, needs: Needs | None) -> None:
    seen = machine(on=on, hot=hot)
    wanted = replace(WISH, state=State.ON if on else State.OFF, **changes)
    found = compare(wanted, seen, MARK, None)
    assert [change.needs for change in found.changes] == ([] if needs is None else [needs])
    assert found.reconfigures is (needs not in (None, Needs.REBUILD))


def test_a_child_disk_does_not_grow() -> None:
    found = compare(replace(WISH, root_gb=20), machine(child=True), MARK, None)
    assert [change.needs for change in found.changes] == [Needs.REBUILD]


def test_added_disks_are_known_by_their_place() -> None:
    mark = replace(MARK, disks=("scsi0:1",))
    seen = machine(mark=mark, paths=("[ssd-1] web-1/web-1.vmdk", "[ssd-1] web-1/web-1_1.vmdk", "[other] theirs.vmdk"))
    found = compare(replace(WISH, disks=(DiskWish(20),)), seen, mark, None)
    assert [(change.what, change.needs) for change in found.changes] == [("disks[0]", Needs.NOTHING)]
    assert [devices.path_of(change.device) for change in found.device_changes] == ["[ssd-1] web-1/web-1_1.vmdk"]
    fewer = compare(WISH, seen, mark, None)
    assert [change.needs for change in fewer.changes] == [Needs.REBUILD]


def test_disks_from_elsewhere_are_taken_off_and_children_of_the_cache_go_by_themselves() -> None:
    own = f"[ssd-2] web-1{MARK.directory_end}/disk-0.vmdk"
    mark = replace(MARK, child=True)
    seen = machine(mark=mark, child=True, paths=("[ssd-1] web-1/web-1.vmdk", "[ssd-1] web-1/data.vmdk", own, "[ssd-1] theirs/x.vmdk", "[ssd-1] root.vmdk"))
    then, changes, kept = removal(seen, mark)
    assert kept == ["[ssd-1] theirs/x.vmdk", "[ssd-1] root.vmdk"]
    assert then.doomed == ("[ssd-1] web-1/web-1.vmdk", own)
    assert [devices.path_of(change.device) for change in changes] == ["[ssd-1] web-1/web-1.vmdk", own, *kept]
    assert all(change.operation == "remove" and change.fileOperation is None for change in changes)


@given(
    st.builds(
        SpawnMark, id=st.just(ID), name=st.text(), template=st.text(), disks=st.lists(st.text()).map(tuple), until=st.floats(0, 1e12), revision=st.integers(0)
    )
)
def test_a_mark_is_read_as_it_was_written(mark: SpawnMark) -> None:
    assert SpawnMark.from_text(mark.to_text()) == mark


@pytest.mark.parametrize("text", ["", "x", "[]", "null", '{"version": 2, "id": "x", "name": "y"}', '{"version": 1}'])
def test_what_is_no_mark_is_none(text: str) -> None:
    assert SpawnMark.from_text(text) is None


def test_a_mark_belongs_to_one_machine() -> None:
    extra = {KEY: MARK.to_text()}
    assert read_mark(extra, ID, "renamed") == MARK
    assert read_mark(extra, ID.replace("0", "1"), "web-1") is None
    instant = {KEY: replace(MARK, id="").to_text()}
    assert read_mark(instant, "whatever", "web-1") is not None
    assert read_mark(instant, "whatever", "web-2") is None


def test_a_machine_is_being_made_while_its_maker_lives() -> None:
    host = socket.gethostname()
    for maker, until, busy in (
        ("elsewhere:1", 10.0, True),
        ("elsewhere:1", 1.0, False),
        (f"{host}:{os.getppid()}", 10.0, True),
        (f"{host}:999999999", 10.0, False),
        (this_process(), 10.0, False),
    ):
        assert replace(MARK, state=CREATING, maker=maker, until=until).is_being_made(5.0) is busy
    assert not MARK.is_being_made(0.0)


def test_only_addresses_that_others_can_reach_count() -> None:
    card = library().vim.vm.GuestInfo.NicInfo(ipAddress=["fe80::1", "169.254.1.1", "2001:db8::7", "10.0.0.7", "127.0.0.1"], connected=True, deviceConfigId=4000)
    assert addresses({"guest.ipAddress": "fe80::1", "guest.net": [card]}) == ["10.0.0.7", "2001:db8::7"]


def test_the_digest_of_a_seed_tells_nothing_without_its_salt() -> None:
    seed = Seed("guestinfo", "secret")
    assert seed.digest("a") == seed.digest("a") != seed.digest("b")
    assert "secret" not in repr(seed)
