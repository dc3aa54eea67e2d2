# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Edits of a domain's tree: what is as wanted is not touched, what is not asked for survives, and twice is once."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.poolwright.virt.plugins.module_utils.guests import edit_cards, edit_system, live, power, record, tree
from ansible_collections.poolwright.virt.plugins.module_utils.guests.options import Scene, edited, options, settled
from ansible_collections.poolwright.virt.plugins.module_utils.guests.params import parse_guest
from ansible_collections.poolwright.virt.plugins.module_utils.guests.spec import BUSES, CARD_MODELS, FEATURES, guest_options
from ansible_collections.poolwright.virt.plugins.module_utils.guests.storage import info_of
from ansible_collections.poolwright.virt.plugins.module_utils.guests.wish import State, Wish
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.options import DiskOptions
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.records import Backing, DiskRecord
from ansible_collections.poolwright.virt.plugins.module_utils.storage.record import Origin, OwnDisk
from ansible_collections.poolwright.virt.plugins.module_utils.storage.wish import Content
from ansible_collections.poolwright.virt.tests.seeds import examples

UUID = "2f1d9d5c-6f0e-4c69-9f52-9d6e4cb5e0a1"
FOREIGN = f"""<domain type='kvm' id='7' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <!-- theirs -->
  <name>g</name><uuid>{UUID}</uuid>
  <metadata><a:b xmlns:a='urn:a'>x<!-- y --></a:b></metadata>
  <memory unit='GiB'>1</memory><currentMemory unit='KiB'>1048576</currentMemory>
  <vcpu placement='static' cpuset='0-3'>2</vcpu><iothreads>1</iothreads>
  <os><type arch='x86_64' machine='pc-q35-6.2'>hvm</type><boot dev='hd'/><bootmenu enable='yes'/></os>
  <features><acpi/><hyperv><relaxed state='on'/></hyperv></features>
  <cpu mode='host-model' check='partial'><topology sockets='1' dies='1' cores='2' threads='1'/></cpu>
  <clock offset='utc'><timer name='rtc' tickpolicy='catchup'/></clock>
  <devices>
    <emulator>/usr/bin/kvm</emulator>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2' iothread='1'/><source file='/d/a.qcow2' index='1'/>
      <target dev='vda' bus='virtio'/><iotune><total_iops_sec>5</total_iops_sec></iotune><alias name='virtio-disk0'/>
      <address type='pci' domain='0x0000' bus='0x03' slot='0x00' function='0x0'/></disk>
    <disk type='volume' device='disk'><source pool='p' volume='v'/><target dev='vdb' bus='virtio'/></disk>
    <interface type='network'><mac address='52:54:00:00:00:01'/><source network='default' portid='x' bridge='virbr0'/><target dev='vnet0'/>
      <model type='virtio'/><bandwidth/></interface>
    <interface type='user'><mac address='52:54:00:00:00:02'/></interface>
    <graphics type='vnc' port='5900' autoport='yes' listen='127.0.0.1' passwd='pw'><listen type='address' address='127.0.0.1'/></graphics>
    <memballoon model='virtio'/>
  </devices>
  <qemu:commandline><qemu:arg value='-S'/></qemu:commandline>
</domain>"""


def domain() -> ET.Element:
    return tree.parse(FOREIGN)


def wish(**given_options: Any) -> Wish:
    return parse_guest({"name": "g", "state": "present", **given_options})


def scene(wanted: Wish) -> Scene:
    return Scene(UUID, "", {disk.label: info_of(disk) for disk in wanted.disks or ()})


def edit(**given_options: Any) -> tuple[str, list[str]]:
    wanted = wish(**given_options)
    after, names = edited(domain(), wanted, scene(wanted))
    return tree.text_of(after), names


DISKS = [{"path": "/d/a.qcow2", "format": "qcow2"}, {"path": "/d/b.raw", "format": "raw", "target": "vdb"}]


@pytest.mark.parametrize(
    "same",
    [
        {},
        {"memory_mb": 1024, "max_memory_mb": 1024},
        {"cpus": 2, "max_cpus": 2, "cpu": {"mode": "host-model", "cores": 2}},
        {"machine": "q35"},
        {"machine": "pc-q35-6.2", "firmware": "bios", "secure_boot": False},
        {"features": {"acpi": True, "pae": False}},
        {"clock": {"offset": "utc", "timers": [{"name": "rtc", "tickpolicy": "catchup"}]}},
        {"networks": [{"network": "default", "model": "virtio", "link": "up", "mtu": 0, "filter": ""}]},
        {"graphics": {"type": "vnc", "listen": "127.0.0.1", "password": "pw"}},
        {"boot_order": ["disk"], "title": "", "description": "", "metadata": {}},
        {"hostdevs": [], "channels": [], "cdroms": [], "vsock": {"enabled": False}, "rng": {"enabled": False}, "watchdog": {"model": "none"}},
        {"tpm": {"model": "none"}, "ballooning": {"model": "virtio", "autodeflate": False, "stats_period": 0}, "agent": False},
    ],
)
def test_what_is_as_wanted_is_not_touched(same: dict[str, Any]) -> None:
    assert edit(**same) == (tree.text_of(domain()), [])


def test_what_is_not_modelled_survives_next_to_a_change() -> None:
    text, names = edit(disks=[{**DISKS[0], "cache": "none"}, DISKS[1]], networks=[{"network": "default", "link": "down"}])
    assert names == ["disks", "networks"]
    for there in ("iothread=", "iotune", "virtio-disk0", "<!-- theirs -->", "<!-- y -->", "a:b", "qemu:arg", "bandwidth", 'type="user"', "cpuset"):
        assert there in text
    assert 'volume="v"' not in text  # another disk was put in its place


def test_cards_keep_their_addresses_whatever_is_said_around_them() -> None:
    wanted = wish(networks=[{"bridge": "br0"}, {"network": "default"}])
    after, _names = edited(domain(), wanted, scene(wanted))
    assert edit_cards.addresses(after, wanted.networks or ())[1] == "52:54:00:00:00:01"
    new = edit_cards.addresses(after, wanted.networks or ())[0]
    assert new == edit_cards.stable_mac(UUID, 0, [])
    assert int(new[:2], 16) & 3 == 2  # locally administered, for one machine
    assert edit_cards.stable_mac(UUID, 0, [new]) not in ("", new)


def test_another_kind_of_machine_takes_other_slots_and_a_newer_one_does_not() -> None:
    assert edit(machine="pc-q35-7.2")[0].count("slot=") == 1
    assert edit(machine="pc")[0].count("slot=") == 0


def test_what_the_definition_has_settled_goes_to_the_running_domain() -> None:
    wanted = wish(disks=[{"path": "/d/new.raw", "format": "raw"}, DISKS[0]], networks=[{"bridge": "br0"}])
    after, _names = edited(domain(), wanted, scene(wanted))
    final = settled(wanted, after, scene(wanted))
    assert [disk.target for disk in final.disks or ()] == ["vdb", "vda"]
    assert [card.mac for card in final.networks or ()] == ["52:54:00:00:00:01"]


def test_secrets_are_masked_and_records_hidden_in_what_people_see() -> None:
    changed = domain()
    record.edit_values(changed, {"a": "b"})
    shown = tree.shown(changed, [record.NAMESPACE])
    assert 'passwd="***"' in shown and '"pw"' not in shown and "poolwright" not in shown
    assert tree.shown(tree.parse(shown)) == shown


def test_how_a_network_disk_is_reached_is_kept_up_with(tmp_path: Path) -> None:
    conf, secrets = tmp_path / "ceph.conf", ["11111111-2222-4333-8444-555555555555", "22222222-2222-4333-8444-555555555555"]

    def edited_with(before: ET.Element, monitors: str, **access: str) -> ET.Element:
        conf.write_text(f"[global]\nmon host = {monitors}\n")
        wanted = wish(disks=[{"backend": "rbd", "location": "vms", "name": "r", "conf": str(conf), **access}])
        after, names = edited(before, wanted, scene(wanted))
        again, none = edited(after, wanted, scene(wanted))
        assert (none, tree.text_of(again)) == ([], tree.text_of(after))
        changes.append(names)
        return after

    changes: list[list[str]] = []
    plain = edited_with(domain(), "192.0.2.1,192.0.2.2:7000")
    (source,) = [one for one in plain.iterfind("devices/disk/source") if one.get("protocol") == "rbd"]
    assert source.get("name") == "vms/r"
    assert [(one.get("name"), one.get("port")) for one in source.findall("host")] == [("192.0.2.1", "6789"), ("192.0.2.2", "7000")]
    edited_with(plain, "192.0.2.1,192.0.2.2:7000")
    moved = edited_with(plain, "192.0.2.9")
    assert [one.get("name") for one in moved.iterfind("devices/disk/source/host")] == ["192.0.2.9"]
    first = edited_with(moved, "192.0.2.9", user="guests", secret=secrets[0])
    second = edited_with(first, "192.0.2.9", user="guests", secret=secrets[1])
    assert [one.get("uuid") for one in second.iterfind("devices/disk/source/auth/secret")] == [secrets[1]]
    back = edited_with(second, "192.0.2.9")
    assert back.find("devices/disk/source/auth") is None
    assert changes == [["disks"], [], ["disks"], ["disks"], ["disks"], ["disks"]]


def plans(**given_options: Any) -> live.LivePlan:
    wanted = wish(**given_options)
    return live.plan_live(domain(), options(wanted, scene(wanted), live=True))


def test_a_running_domain_takes_what_it_can() -> None:
    found = plans(cpus=1, memory_mb=512, title="T", networks=[{"network": "other"}], graphics={"type": "vnc", "password": "new"})
    assert (found.cpus, found.memory_kib, found.title) == (1, 512 * 1024, "T")
    assert [device.what for device in found.update] == ["networks[52:54:00:00:00:01]", "graphics"]
    assert found.pending == ("cpus", "memory_mb")  # their ceilings
    found = plans(disks=[DISKS[0], {"path": "/d/c.raw", "format": "raw", "bus": "sata"}], firmware="efi", cpu={"mode": "maximum"})
    assert [device.what for device in found.detach] == ["disks[vdb]"]
    assert (found.attach, found.pending) == ((), ("cpu", "firmware", "disks[sda]"))
    assert plans(cpu={"mode": "host-model"}).empty


def test_devices_of_the_host_are_plugged_and_unplugged() -> None:
    devices = [{"type": "pci", "address": "0000:01:00.0"}, {"type": "usb", "address": "046d:c52b"}]
    found = plans(hostdevs=devices)
    assert (len(found.attach), found.detach, found.pending) == (2, (), ())
    given_up = domain()
    tree.devices_element(given_up).extend(device.element for device in found.attach)
    left = live.plan_live(given_up, options(wish(hostdevs=devices[:1]), scene(wish(hostdevs=devices[:1])), live=True))
    assert ([device.what for device in left.detach], left.attach, left.pending) == (["hostdevs"], (), ())


def test_a_password_is_not_in_the_repr_of_a_plan() -> None:
    assert "new" not in repr(plans(graphics={"type": "vnc", "password": "new"}))
    assert "secret" not in repr(wish(graphics={"type": "vnc", "password": "secret"}))


@pytest.mark.parametrize("now", ["absent", "shutoff", "running", "paused", "asleep", "crashed", "unknown"])
@pytest.mark.parametrize("wanted", [state for state in State if state not in (State.ABSENT, State.PRESENT)])
def test_steps_lead_to_the_state_and_twice_is_once(now: str, wanted: State) -> None:
    reached = power.after("shutoff" if now == "absent" else now, power.steps(now, wanted))
    assert reached == ("running" if wanted is State.REBOOTED else wanted.value)
    assert wanted is State.REBOOTED or power.steps(reached, wanted) == ()
    assert power.steps(now, State.PRESENT) == ()


# -- laws, over options of all kinds

text = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12)
number = st.integers(1, 8)
sizes = st.integers(1, 4096)


def optional(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


paths = st.sampled_from(["/d/a.qcow2", "/d/b.raw", "/d/c.raw", "/dev/vg/x"])
disk = st.builds(
    lambda path, more: {"path": path, "format": "raw", **more},
    paths,
    optional(
        bus=st.sampled_from(BUSES), cache=st.sampled_from(["default", "none", "writeback"]), io=st.sampled_from(["default", "native"]),
        discard=st.sampled_from(["unmap", "ignore"]), readonly=st.booleans(), shareable=st.booleans(), serial=st.sampled_from(["", "s1"]),
    ),
)  # fmt: skip
card = st.builds(
    lambda place, more: {**place, **more},
    st.sampled_from([{"network": "default"}, {"network": "other"}, {"bridge": "br0"}, {"direct": "eth0"}]),
    optional(model=st.sampled_from(CARD_MODELS), mtu=st.sampled_from([0, 1400]), link=st.sampled_from(["up", "down"]), filter=st.sampled_from(["", "f"])),
)
anything = optional(
    title=text,
    description=text,
    metadata=st.dictionaries(st.sampled_from(["a", "b.c"]), text, max_size=2),
    machine=st.sampled_from(["pc", "q35", "pc-q35-7.2"]),
    memory_mb=sizes,
    cpu=optional(mode=st.sampled_from(["host-passthrough", "host-model", "maximum"]), features=st.just([{"name": "aes", "policy": "require"}])),
    cpus=number,
    ballooning=optional(model=st.just("virtio"), autodeflate=st.booleans(), stats_period=st.integers(0, 5)),
    firmware=st.sampled_from(["bios", "efi"]),
    tpm=st.sampled_from([{"model": "none"}, {"model": "tpm-crb"}, {"model": "tpm-tis"}]),
    features=optional(**{name: st.booleans() for name in FEATURES}),
    clock=optional(offset=st.sampled_from(["utc", "localtime"]), timers=st.sampled_from([[], [{"name": "hpet", "present": False}]])),
    on_crash=st.sampled_from(["destroy", "restart"]),
    boot_order=st.lists(st.sampled_from(["disk", "cdrom", "network"]), unique=True, max_size=3),
    disks=st.lists(disk, max_size=3, unique_by=lambda one: one["path"]),
    cdroms=st.lists(optional(path=st.just("/i.iso"), bus=st.sampled_from(["ide", "sata"])), max_size=2),
    networks=st.lists(card, max_size=3),
    agent=st.booleans(),
    channels=st.lists(st.fixed_dictionaries({"name": st.sampled_from(["x.0", "y.0"])}), max_size=2, unique_by=lambda one: one["name"]),
    serial=optional(log_file=st.sampled_from(["", "/l"]), append=st.booleans()),
    graphics=st.builds(
        lambda kind, more: {"type": kind, **more},
        st.sampled_from(["vnc", "spice"]),
        optional(listen=st.just("::1"), port=st.just(5999), password=st.just("p")),
    ),
    video=st.fixed_dictionaries({"model": st.sampled_from(["virtio", "vga", "none"])}),
    vsock=optional(enabled=st.booleans(), cid=st.integers(3, 9)),
    rng=optional(enabled=st.booleans(), source=st.just("/dev/random"), rate_bytes=st.integers(0, 9)),
    watchdog=st.fixed_dictionaries({"model": st.sampled_from(["none", "i6300esb"])}, optional={"action": st.sampled_from(["reset", "pause"])}),
    hostdevs=st.lists(
        st.sampled_from([{"type": "pci", "address": "0000:01:00.0"}, {"type": "usb", "address": "046d:c52b"}]), max_size=2, unique_by=lambda one: one["type"]
    ),
)  # fmt: skip


@settings(max_examples=examples(300))
@given(anything)
def test_twice_is_once(asked: dict[str, Any]) -> None:
    wanted = wish(**asked)
    once, _names = edited(domain(), wanted, scene(wanted))
    again, names = edited(tree.parse(tree.text_of(once)), wanted, scene(wanted))
    assert names == []
    assert tree.text_of(again) == tree.text_of(once)


@settings(max_examples=examples(200))
@given(anything, st.sampled_from(["a:b", "iothreads", "emulator", "hyperv", "bootmenu", "qemu:commandline", "cpuset"]))
def test_what_nobody_models_survives_everything(asked: dict[str, Any], kept: str) -> None:
    assert kept in edit(**asked)[0]


@settings(max_examples=examples(200))
@given(anything)
def test_a_running_domain_that_took_all_has_nothing_to_wait_for(asked: dict[str, Any]) -> None:
    """What was started from the edited definition is as wanted."""
    wanted = wish(**asked)
    after, _names = edited(domain(), wanted, scene(wanted))
    left = live.plan_live(after, options(settled(wanted, after, scene(wanted)), scene(wanted), live=True))
    assert (left.pending, left.empty) == ((), True)


names = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20)
disks = st.lists(
    st.builds(
        lambda name, size, backing, made, options, origin: OwnDisk(
            "/d", name, DiskRecord("qcow2", "qcow2", f"/d/{name}", size, "sha256:1" if backing else "", backing), made, options, origin
        ),
        names, st.integers(512, 10**13), st.sampled_from([None, Backing("/i", "raw", "sha256:1")]), st.booleans(),
        st.sampled_from([DiskOptions(), DiskOptions(full=True, cluster_size=65536), DiskOptions(conf="/c", user="u", secret="s")]),
        st.sampled_from([Origin(), Origin("/i", "sha256:1", "qcow2"), Origin(content=Content("ephemeral", "xfs"), seed="a", digest="d")]),
    ),
    max_size=4,
)  # fmt: skip


@given(disks, st.dictionaries(names, text, max_size=3))
def test_records_come_back_as_they_were_written(own: list[OwnDisk], values: dict[str, str]) -> None:
    written = domain()
    record.set_disks(written, own)
    record.edit_values(written, values)
    read = tree.parse(tree.text_of(written))
    assert (record.disks_of(read), record.values_of(read)) == (tuple(own), values)
    assert record.digest(read) == record.digest(domain())
    copied = tree.parse(tree.text_of(written).replace(f"<uuid>{UUID}</uuid>", "<uuid>11111111-2222-4333-8444-555555555555</uuid>"))
    assert record.disks_of(copied) == ()


def test_what_is_noted_for_the_next_run_goes_without_a_trace() -> None:
    noted, task = domain(), record.Task("take", "clean", "running")
    record.set_nvram_stale(noted, True)
    record.set_task(noted, task)
    read = tree.parse(tree.text_of(noted))
    assert (record.nvram_is_stale(read), record.task_of(read)) == (True, task)
    copied = tree.parse(tree.text_of(noted).replace(f"<uuid>{UUID}</uuid>", "<uuid>11111111-2222-4333-8444-555555555555</uuid>"))
    assert (record.nvram_is_stale(copied), record.task_of(copied)) == (False, None)
    record.set_task(noted, None)
    assert record.nvram_is_stale(noted)
    record.set_nvram_stale(noted, False)
    assert tree.text_of(noted) == tree.text_of(domain())


def test_every_option_is_parsed_into_the_wish() -> None:
    fields = set(Wish.__dataclass_fields__)
    assert set(guest_options()) <= fields


def test_amounts_are_the_same_in_every_unit() -> None:
    for amount, unit in (("1", "GiB"), ("1024", "MiB"), ("1048576", "KiB"), ("1048576", ""), ("1073741824", "b")):
        changed = domain()
        memory = tree.ensure(changed, "memory")
        memory.text = amount
        memory.attrib.clear()
        memory.attrib.update({"unit": unit} if unit else {})
        before = tree.text_of(changed)
        edit_system.memory(changed, 1024, 1024)
        assert tree.text_of(changed) == before
