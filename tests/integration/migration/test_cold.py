# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A guest that is switched off goes to the other host, its disks as they are or as something else."""

from __future__ import annotations

import hashlib
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.poolwright.virt.tests.integration.migration.conftest import ROOT, Pair
from ansible_collections.poolwright.virt.tests.integration.migration.relay import relayed


@pytest.mark.parametrize(("backend", "ending", "format"), [("flat", "raw", "raw"), ("qcow2", "qcow2", "qcow2")])
def test_to_another_backend(pair: Pair, backend: str, ending: str, format: str) -> None:
    """From an overlay on the first host to a file of its own on the second; it was running, and runs again."""
    folder, new = pair.local / "disks", pair.local / "new"
    address = pair.boot("m-1", folder)
    before, digest = pair.alive(address), pair.digest(1, str(folder / "m-1_root.qcow2"))
    place = {"target": "vda", "backend": backend, "location": str(new), "name": "m-1_system"}
    foreseen = pair.migrate("m-1", mode="cold", disks=[place], check=True)
    moved = pair.migrate("m-1", mode="cold", disks=[place])
    assert "error" not in moved, moved
    assert (moved["mode"], moved["state"], moved["source"], moved["target"]) == ("cold", "running", "kvm1", "kvm2")
    assert (pair.files(1), pair.files(2, "new")) == ([], [f"m-1_system.{ending}"])
    assert pair.digest(2, str(new / f"m-1_system.{ending}"), format) == digest == moved["disks"][0]["sha256"]
    assert foreseen["diff"] == moved["diff"]
    assert pair.alive(pair.booted(2, "m-1")).boot != before.boot
    assert pair.states("m-1") == ("", "running")
    again = pair.guest(2, name="m-1", disks=[{"backend": backend, "location": str(new), "name": "m-1_system"}], check=True)
    assert again["changed"] is False, again
    # Removed by the module that made it, nothing is left.
    pair.guest(2, name="m-1", state="absent")
    assert pair.files(2, "new") == []


def test_with_shared_storage_nothing_is_sent(pair: Pair) -> None:
    data = {"backend": "flat", "location": str(pair.shared / "disks"), "name": "m-1_data", "size_gb": 0.01}
    pair.guest(1, name="m-1", disks=[data], state="shutoff")
    moved = pair.migrate("m-1")
    assert (moved["disks"][0]["how"], moved["disk_bytes"]) == ("shared", 0)
    assert pair.states("m-1") == ("", "shut off")
    assert (pair.shared / "disks" / "m-1_data.raw").exists()
    pair.guest(2, name="m-1", state="running")


def test_a_guest_that_is_off_takes_its_disks_along(pair: Pair) -> None:
    folder = pair.local / "disks"
    data = {"backend": "flat", "location": str(folder), "name": "m-1_data", "size_gb": 0.02}
    pair.guest(1, name="m-1", disks=[pair.disk("m-1", folder), data], state="shutoff", autostart=True)
    digest = pair.digest(1, str(folder / "m-1_root.qcow2"))
    with (pair.folder / "1" / "local" / "disks" / "m-1_data.raw").open("r+b") as stream:
        stream.seek(1_000_000)
        stream.write(b"x" * 100_000)
    moved = pair.migrate("m-1", keep_source_disks=True)
    assert "error" not in moved, moved
    assert pair.digest(2, str(folder / "m-1_root.qcow2")) == digest
    assert pair.digest(2, str(folder / "m-1_data.raw"), "raw") == pair.digest(1, str(folder / "m-1_data.raw"), "raw") == moved["disks"][1]["sha256"]
    assert pair.files(1) == pair.files(2) == ["m-1_data.raw", "m-1_root.qcow2"]
    assert pair.pools(1) + pair.pools(2) == ""


def test_a_guest_that_cannot_start_there_starts_again_here(pair: Pair) -> None:
    # Something that only shows when it starts: the other host has no place for its log.
    (pair.folder / "1" / "local" / "logs").mkdir()
    address = pair.boot("m-1", pair.local / "disks", serial={"log_file": str(pair.local / "logs" / "m-1.log")})
    uuid, before = pair.virsh(1, "domuuid", "m-1"), pair.alive(address)
    told = pair.migrate("m-1", mode="cold")
    assert "error" in told, told
    assert pair.states("m-1") == ("running", "")
    assert (pair.virsh(1, "domuuid", "m-1"), pair.files(2)) == (uuid, [])
    assert pair.alive(address).boot != before.boot


def test_a_guest_that_does_not_shut_down_stays(pair: Pair) -> None:
    pair.guest(1, name="m-1", disks=[], state="running")
    told = pair.migrate("m-1", mode="cold", shutdown_timeout=1.0)
    assert told["code"] == "deadline_exceeded" and "force: true" in told["error"], told
    assert pair.states("m-1") == ("running", "")
    assert "migration" not in pair.virsh(1, "dumpxml", "m-1") + pair.virsh(1, "dumpxml", "m-1", "--inactive")
    moved = pair.migrate("m-1", mode="cold", shutdown_timeout=1.0, force=True)
    assert (moved["state"], pair.states("m-1")) == ("running", ("", "running"))


@pytest.fixture
def device(tmp_path: Path) -> Iterator[str]:
    """A block device with some bytes."""
    path = tmp_path / "device"
    path.write_bytes(b"a guest's own".ljust(4 << 20, b"\0") + b"and its end".rjust(4 << 20, b"\0"))
    name = subprocess.run(["losetup", "--find", "--show", str(path)], capture_output=True, text=True, check=True).stdout.strip()
    try:
        yield name
    finally:
        subprocess.run(["losetup", "--detach", name], check=True)


def test_a_block_device_moves_into_a_file(pair: Pair, device: str, tmp_path: Path) -> None:
    path = tmp_path / "domain.xml"
    path.write_text(
        "<domain type='qemu'><name>m-1</name><memory>65536</memory><os><type arch='x86_64' machine='q35'>hvm</type></os><devices><disk type='block' "
        f"device='disk'><driver name='qemu' type='raw'/><source dev='{device}'/><target dev='vda' bus='virtio'/></disk></devices></domain>"
    )
    pair.virsh(1, "define", str(path))
    pair.virsh(1, "start", "m-1")
    refused = pair.migrate("m-1")
    assert "mode: cold and disks: [{target: vda, backend: qcow2, location: DIRECTORY}]" in refused["error"], refused
    place = {"target": "vda", "backend": "qcow2", "location": str(pair.local / "new")}
    live = pair.migrate("m-1", disks=[place])
    assert "switched off" in live["error"], live
    assert (pair.states("m-1"), pair.files(2, "new"), pair.pools(1) + pair.pools(2)) == (("running", ""), [], "")
    moved = pair.migrate("m-1", mode="cold", disks=[place], force=True, shutdown_timeout=1.0)
    assert "error" not in moved, moved
    assert (pair.states("m-1"), pair.files(2, "new")) == (("", "running"), ["m-1-vda.qcow2"])
    with open(device, "rb") as stream:
        before = hashlib.sha256(stream.read()).hexdigest()
    assert pair.digest(2, str(pair.local / "new" / "m-1-vda.qcow2")) == moved["disks"][0]["sha256"] == before
    assert moved["warnings"] == [f"m-1: {device} stays on kvm1; remove it there when nobody needs it any more"]
    assert not list(Path("/var/tmp").glob("*.moving*"))


@pytest.fixture
def cluster(pair: Pair) -> Iterator[str]:
    """The lab's Ceph, had by both hosts too; its configuration."""
    ports = {int(line.rpartition(":")[2]) for line in _listening("ceph-mon") + _listening("ceph-osd")}
    assert ports, "there is no Ceph: run make lab-up"
    with relayed(pair.spaces[0], sorted(ports)), relayed(pair.spaces[1], sorted(ports)):
        yield str(ROOT / ".work" / "lab" / "ceph" / "ceph.conf")


def _listening(program: str) -> list[str]:
    said = subprocess.run(["ss", "--listening", "--tcp", "--numeric", "--processes", "--no-header"], capture_output=True, text=True, check=True).stdout
    return [line.split()[3] for line in said.splitlines() if program in line]


def test_to_a_cluster_and_on_from_there(pair: Pair, cluster: str) -> None:
    """From a file on the first host to an image that both reach; and then live, with nothing to copy."""
    folder = pair.local / "disks"
    pair.boot("m-1", folder)
    digest = pair.digest(1, str(folder / "m-1_root.qcow2"))
    place = {"target": "vda", "backend": "rbd", "location": "rbd", "name": f"pair-{uuid.uuid4().hex[:8]}", "conf": cluster}
    try:
        moved = pair.migrate("m-1", mode="cold", disks=[place])
        assert "error" not in moved, moved
        assert (pair.states("m-1"), pair.files(1), moved["disks"][0]["sha256"]) == (("", "running"), [], digest)
        before = pair.alive(pair.booted(2, "m-1"))
        back = pair.migrate("m-1", origin=2)
        assert (back["mode"], [disk["how"] for disk in back["disks"]], back["disk_bytes"]) == ("live", ["shared"], 0)
        assert pair.alive(pair.address("m-1")).boot == before.boot
        pair.virsh(1, "destroy", "m-1")
        pair.guest(1, name="m-1", state="absent")
        assert place["name"] not in _images(cluster)
    finally:
        subprocess.run(["rbd", "--conf", cluster, "rm", "--no-progress", f"rbd/{place['name']}"], capture_output=True, check=False)


def test_an_image_that_was_not_finished_goes_again(pair: Pair, cluster: str) -> None:
    pair.guest(1, name="m-1", disks=[pair.disk("m-1", pair.local / "disks")], state="shutoff")
    place = {"target": "vda", "backend": "rbd", "location": "rbd", "name": f"pair-{uuid.uuid4().hex[:8]}", "conf": cluster}
    late = pair.migrate("m-1", mode="cold", disks=[place], timeout=1.0)
    assert late["code"] == "deadline_exceeded", late
    assert (pair.states("m-1"), pair.files(1)) == (("shut off", ""), ["m-1_root.qcow2"])
    assert place["name"] not in _images(cluster)


def _images(conf: str) -> str:
    return subprocess.run(["rbd", "--conf", conf, "ls", "rbd"], capture_output=True, text=True, check=True).stdout
