# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Domains that others made, by hand and with virt-install: what is not asked for survives, and nobody's disks are removed."""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy, InvalidSpec, NotFound, NotOurs
from ansible_collections.poolwright.virt.tests.integration.libvirt.guests.conftest import NAME, Lab, difference, outside

BY_HAND = """
<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>g-1</name>
  <metadata><app:owner xmlns:app='https://example.org/app' rank='1'>them &amp; us<app:deep/></app:owner></metadata>
  <memory unit='MiB'>96</memory>
  <memtune><hard_limit unit='KiB'>400000</hard_limit></memtune>
  <vcpu placement='static' cpuset='0'>2</vcpu>
  <iothreads>2</iothreads>
  <cputune><shares>2048</shares><vcpupin vcpu='0' cpuset='0'/></cputune>
  <sysinfo type='smbios'><system><entry name='serial'>abc-1</entry></system></sysinfo>
  <os><type arch='x86_64' machine='pc'>hvm</type><boot dev='hd'/><bootmenu enable='yes' timeout='3000'/><smbios mode='sysinfo'/></os>
  <features><acpi/><hyperv mode='custom'><relaxed state='on'/><vapic state='on'/></hyperv><kvm><hidden state='on'/></kvm></features>
  <cpu mode='custom' match='exact'><model fallback='allow'>qemu64</model><topology sockets='1' dies='1' cores='2' threads='1'/><cache mode='disable'/></cpu>
  <clock offset='variable' adjustment='12' basis='utc'><timer name='hpet' present='no'/></clock>
  <pm><suspend-to-mem enabled='no'/></pm>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw' iothread='2' error_policy='stop'/><source file='DISK'><seclabel model='dac' relabel='no'/></source>
      <target dev='vda' bus='virtio'/><iotune><total_iops_sec>500</total_iops_sec></iotune><blockio logical_block_size='512'/><alias name='ua-root'/>
    </disk>
    <disk type='file' device='floppy'><target dev='fda' bus='fdc'/></disk>
    <interface type='network'><mac address='52:54:00:01:02:03'/><source network='default'/><model type='virtio'/>
      <driver name='qemu' queues='2'/><bandwidth><inbound average='1000'/></bandwidth><target dev='pwtap0'/></interface>
    <interface type='user'><mac address='52:54:00:01:02:04'/><model type='e1000'/></interface>
    <parallel type='null'><target port='0'/></parallel>
    <channel type='pty'><target type='virtio' name='org.example.pty'/></channel>
    <input type='tablet' bus='usb'/>
    <sound model='ich6'/>
    <redirdev bus='usb' type='tcp'><source mode='connect' host='localhost' service='4000'/></redirdev>
    <panic model='isa'/>
    <shmem name='pw'><model type='ivshmem-plain'/><size unit='M'>4</size></shmem>
  </devices>
  <seclabel type='none'/>
  <qemu:commandline><qemu:arg value='-name'/><qemu:arg value='debug-threads=on'/></qemu:commandline>
</domain>
"""


def define_by_hand(lab: Lab) -> Path:
    assert lab.daemon is not None
    disk = lab.folder / "hand.raw"
    disk.write_bytes(bytes(1024**2))
    lab.daemon.virsh("define", "/dev/stdin", stdin=BY_HAND.replace("DISK", str(disk)))
    return disk


def test_what_nobody_asked_for_survives_a_change_of_everything_else(lab: Lab) -> None:
    disk = define_by_hand(lab)
    first = lab.xml()
    assert lab.run()["changed"] is False
    assert lab.xml() == first
    same: dict[str, Any] = {
        "cpus": 2, "memory_mb": 96, "cpu": {"mode": "custom", "model": "qemu64", "cores": 2}, "machine": "pc", "firmware": "bios",
        "disks": [{"path": str(disk), "format": "raw"}], "networks": [{"network": "default"}], "features": {"acpi": True}, "boot_order": ["disk"],
    }  # fmt: skip
    assert lab.run(**same)["changed"] is False
    assert lab.xml() == first

    change: dict[str, Any] = {
        **same,
        "title": "ours now",
        "memory_mb": 128,
        "metadata": {"a": "b"},
        "disks": [{"path": str(disk), "format": "raw", "cache": "none"}],
        "agent": True,
    }
    result = lab.run(**change)
    assert result["changes"] == ["title", "metadata", "memory_mb", "disks", "agent"]
    changed = lab.xml()
    allowed = "title|memory|currentMemory|devices/disk/driver@cache|devices/channel|devices/controller|devices/[a-z]+/address"
    assert outside(difference(first, changed), allowed) == set()
    # The prefixes that others gave their namespaces are still theirs.
    assert "<app:owner xmlns:app=" in changed and "<qemu:commandline>" in changed
    assert lab.daemon is not None
    assert lab.daemon.virsh("metadata", NAME, "https://example.org/app", "--config").endswith("them &amp; us<deep/></owner>")
    assert lab.run(**change)["changed"] is False

    back = lab.run(**same, title="", metadata={}, agent=False)
    assert back["changed"]
    assert lab.run(**{**same, "disks": [{"path": str(disk), "format": "raw", "cache": "default"}]})["changed"]
    assert outside(difference(first, lab.xml()), "devices/controller|devices/[a-z]+/address") == set()


def test_a_removed_guest_leaves_the_disks_that_were_not_made_for_it(lab: Lab) -> None:
    disk = define_by_hand(lab)
    removed = lab.run(state="absent")
    assert (removed["changed"], removed["removed"], removed["kept"]) == (True, [], [str(disk)])
    assert disk.exists()


def test_a_guest_of_virt_install_survives(lab: Lab) -> None:
    assert lab.daemon is not None
    disk = lab.folder / "install.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(disk), "16M"], check=True)
    made = subprocess.run(
        ["virt-install", "--connect", lab.uri, "--virt-type", "qemu", "--name", NAME, "--memory", "128", "--vcpus", "2", "--disk", f"path={disk},format=qcow2",
         "--network", "network=default", "--graphics", "vnc,listen=127.0.0.1", "--osinfo", "detect=off,require=off", "--import", "--print-xml"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    lab.daemon.virsh("define", "/dev/stdin", stdin=made.stdout)
    first = lab.xml()
    same: dict[str, Any] = {
        "cpus": 2, "memory_mb": 128, "disks": [{"path": str(disk), "format": "qcow2"}], "networks": [{"network": "default", "model": "virtio"}],
        "graphics": {"type": "vnc", "listen": "127.0.0.1"}, "agent": True, "rng": {"source": "/dev/urandom"}, "clock": {"offset": "utc"},
    }  # fmt: skip
    second = lab.run(**same)
    assert set(second["changes"]) <= {"networks", "graphics", "agent", "rng"}
    assert outside(difference(first, lab.xml()), "devices/(interface/model|graphics|channel|rng|interface/address|controller|[a-z]+/address)") == set()
    assert lab.run(**same)["changed"] is False
    assert [entry["mac"] for entry in second["networks"]] == [ET.fromstring(first).find("devices/interface/mac").get("address")]  # type: ignore[union-attr]


INSTALLS = {
    "plain": [],
    "uefi": ["--boot", "uefi", "--machine", "q35", "--tpm", "backend.type=emulator,model=tpm-crb"],
    "scsi": ["--controller", "type=scsi,model=virtio-scsi", "--disk", "size=0.01,bus=scsi,cache=none,io=native,discard=unmap,serial=s-1", "--sound", "ich6"],
    "tuned": ["--cpu", "qemu64,+aes", "--numatune", "0", "--iothreads", "2", "--memballoon", "virtio,autodeflate=on", "--watchdog", "i6300esb,action=reset"],
    "devices": ["--channel", "unix,target.type=virtio,target.name=org.x.0", "--vsock", "cid.auto=yes", "--rng", "/dev/random", "--panic", "default"],
    "clock": [
        "--clock",
        "offset=localtime,hpet_present=no",
        "--events",
        "on_crash=restart",
        "--metadata",
        "title=T,description=D",
        "--features",
        "vmport.state=off",
    ],
}


@pytest.mark.parametrize("kind", sorted(INSTALLS))
def test_guests_of_virt_install_of_all_kinds_are_changed_by_what_is_asked_for_alone(lab: Lab, kind: str) -> None:
    assert lab.daemon is not None
    disk = lab.folder / "install.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(disk), "16M"], check=True)
    plain = ["--name", NAME, "--memory", "128", "--disk", f"path={disk},format=qcow2", "--network", "network=default", "--graphics", "none"]
    made = subprocess.run(
        ["virt-install", "--connect", lab.uri, "--virt-type", "qemu", *plain, *INSTALLS[kind], "--osinfo", "detect=off,require=off", "--import", "--print-xml"],
        capture_output=True, text=True, check=False, cwd=lab.folder,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    lab.daemon.virsh("define", "/dev/stdin", stdin=made.stdout.partition("</domain>")[0] + "</domain>")
    first = lab.xml()
    assert (lab.run()["changed"], lab.xml()) == (False, first)
    assert lab.run(memory_mb=128, cpus=1, networks=[{"network": "default"}])["changed"] is False
    lab.run(title="ours", memory_mb=192)
    assert outside(difference(first, lab.xml()), "title|memory|currentMemory") == set()
    lab.run(title="T" if kind == "clock" else "", memory_mb=128)
    assert difference(first, lab.xml()) == set()


def test_a_disk_that_is_there_is_never_taken_over_nor_removed(lab: Lab) -> None:
    lab.run(name="other", memory_mb=64, disks=[lab.blank()])
    with pytest.raises(Busy, match="was not made for this guest"):
        lab.run(memory_mb=64, disks=[lab.blank()])
    assert lab.daemon is not None
    assert lab.daemon.virsh("list", "--all", "--name") == "other"
    place: dict[str, Any] = {key: value for key, value in lab.blank(readonly=True).items() if key != "size_gb"}
    assert lab.run(memory_mb=64, disks=[place])["disks"][0]["made"] is False
    assert lab.run(state="absent")["removed"] == []
    assert lab.files() == [f"{NAME}_data.qcow2"]
    with pytest.raises(NotFound, match="there is no disk"):
        lab.run(memory_mb=64, disks=[{**place, "name": "none"}])


def test_a_disk_that_was_lost_is_not_made_anew_behind_its_owners_back(lab: Lab) -> None:
    lab.run(memory_mb=64, disks=[lab.blank()])
    (lab.disks / f"{NAME}_data.qcow2").unlink()
    for state in ("present", "running"):
        with pytest.raises(NotFound, match="is gone"):
            lab.run(memory_mb=64, disks=[lab.blank()], state=state)
    assert lab.run(memory_mb=64, disks=[lab.blank("new")])["changed"]
    lab.run(state="absent")
    assert lab.files() == []


@pytest.mark.parametrize("state", ["running", "shutoff"])
def test_a_disk_with_a_snapshot_is_still_that_disk(lab: Lab, state: str) -> None:
    assert lab.daemon is not None
    wanted: dict[str, Any] = {"memory_mb": 64, "disks": [lab.blank("a"), lab.blank("b")], "state": state, "force": True, "shutdown_timeout": 0}
    lab.run(**wanted)
    lab.daemon.virsh("snapshot-create-as", NAME, "s1", "--disk-only", "--no-metadata")
    before = lab.xml()
    assert "g-1_a.s1" in before
    same = lab.run(**wanted)
    assert (same["changed"], same["pending_restart"], lab.xml()) == (False, [], before)
    with pytest.raises(InvalidSpec, match="cannot grow below its snapshot"):
        lab.run(**{**wanted, "disks": [lab.blank("a", size_gb=0.02), lab.blank("b")]})


def test_a_guest_that_lost_its_definition_while_it_runs_gets_it_back(lab: Lab) -> None:
    assert lab.daemon is not None
    wanted: dict[str, Any] = {"memory_mb": 64, "disks": [lab.blank("a")], "state": "running"}
    lab.run(**wanted)
    lab.run(**{**wanted, "disks": [lab.blank("a"), lab.blank("b")]})
    lab.daemon.virsh("undefine", NAME)
    assert lab.run()["changes"] == ["definition"]
    assert lab.run()["changed"] is False
    lab.daemon.virsh("undefine", NAME)
    assert len(lab.run(state="absent")["removed"]) == 2
    assert (lab.files(), lab.daemon.virsh("list", "--all", "--name")) == ([], "")


def test_a_copy_of_a_guest_does_not_own_its_disks(lab: Lab) -> None:
    assert lab.daemon is not None
    lab.run(memory_mb=64, disks=[lab.blank()])
    uuid = ET.fromstring(lab.xml()).findtext("uuid", "")
    copy = lab.xml().replace(f"<name>{NAME}</name>", "<name>copy</name>").replace(f"<uuid>{uuid}</uuid>", "<uuid>11111111-2222-4333-8444-555555555555</uuid>")
    lab.daemon.virsh("define", "/dev/stdin", stdin=copy)
    assert lab.run(name="copy", state="absent")["removed"] == []
    assert lab.files() == [f"{NAME}_data.qcow2"]


def test_a_machine_of_a_pool_is_left_to_its_pool(lab: Lab) -> None:
    assert lab.daemon is not None
    mark = '<m:machine xmlns:m="https://poolwright.virt/xmlns/machine/1" pool="ci" id="{}"/>'
    uuid = "11111111-2222-4333-8444-555555555555"
    rest = f"<memory>65536</memory><os><type>hvm</type></os><metadata>{mark.format(uuid)}</metadata>"
    xml = f"<domain type='qemu'><name>{NAME}</name><uuid>{uuid}</uuid>{rest}</domain>"
    lab.daemon.virsh("define", "/dev/stdin", stdin=xml)
    for state in ("present", "absent"):
        with pytest.raises(NotOurs, match="pool ci"):
            lab.run(state=state)


def test_disks_and_state_that_shall_stay_do(lab: Lab) -> None:
    wanted: dict[str, Any] = {"memory_mb": 64, "disks": [lab.blank()], "machine": "q35", "firmware": "efi", "tpm": {"model": "tpm-crb"}}
    first = lab.run(**wanted, state="running")
    assert lab.daemon is not None
    lib = lab.daemon.folder / "lib"
    nvram, tpm = lib / "qemu" / "nvram" / f"{NAME}_VARS.fd", lib / "swtpm" / first["uuid"]
    assert nvram.exists() and tpm.exists()
    kept = lab.run(state="absent", keep=["disks", "nvram", "tpm"], force=True, shutdown_timeout=0)
    assert (kept["removed"], [path.rpartition("/")[2] for path in kept["kept"]]) == ([], lab.files())
    assert nvram.exists() and tpm.exists()
    place: dict[str, Any] = {key: value for key, value in lab.blank().items() if key != "size_gb"}
    assert lab.run(**{**wanted, "disks": [place]}, state="running")["uuid"] == first["uuid"]
    lab.run(state="absent", force=True, shutdown_timeout=0)
    assert not nvram.exists() and not tpm.exists()
    assert lab.files() == [f"{NAME}_data.qcow2"]


def test_a_guest_keeps_its_uuid(lab: Lab) -> None:
    lab.run(memory_mb=64)
    with pytest.raises(InvalidSpec, match="uuid"):
        lab.run(uuid="11111111-2222-4333-8444-555555555555")
