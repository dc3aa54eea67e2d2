# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Guests that boot from disks on each backend, answer on TCP 22, write, and are taken back to a snapshot. LVM's proof is bytes, elsewhere."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy, InvalidSpec
from ansible_collections.poolwright.virt.plugins.module_utils.guests import record, tree
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.rbd import Rbd
from ansible_collections.poolwright.virt.plugins.module_utils.storage.record import OwnDisk
from ansible_collections.poolwright.virt.tests.contract.imagebackend.labs.rbd import RbdLab
from ansible_collections.poolwright.virt.tests.contract.labs.own_libvirtd import NETWORK
from ansible_collections.poolwright.virt.tests.integration.libvirt.conftest import TINY
from ansible_collections.poolwright.virt.tests.integration.libvirt.guests.conftest import NAME, Lab

BACKENDS = ["flat", "qcow2", "rbd", "ploop"]
MIB = 1024 * 1024
AT = 44 * MIB  # where the image's own disk is empty


@pytest.fixture
def place(request: pytest.FixtureRequest, lab: Lab) -> Iterator[dict[str, Any]]:
    """Where disks are, on the backend that a case is for."""
    if request.param != "rbd":
        yield {"backend": request.param, "location": str(lab.disks)}
        return
    ceph = RbdLab(lab.folder)
    ceph.start()
    ceph.begin()
    try:
        # Not in the case's namespace, which this libvirt could not reach.
        yield {"backend": "rbd", "location": "rbd", "conf": ceph.options.conf}
    finally:
        lab.run(state="absent")
        forget_bases(ceph)
        ceph.end()
        ceph.stop()


def forget_bases(ceph: RbdLab) -> None:
    """What was made of the image to clone disks from."""
    for name in ceph.volumes("rbd"):
        found = re.fullmatch(r"poolwright-base-([0-9a-f]{40})", name)
        if found is not None:
            with contextlib.suppress(Busy):
                # Of a guest of somebody else's.
                Rbd("rbd", "any", ceph.options).remove_base(f"sha256:{found.group(1)}", Deadline.after(Clock(), 60))


def disks(place: dict[str, Any], seed: Path) -> list[dict[str, Any]]:
    seed.mkdir(exist_ok=True)
    (seed / "meta-data").write_text(f"local-hostname: from-{place['backend']}\n")
    return [
        {**place, "name": f"{NAME}_root", "image": {"source": str(TINY), "format": "qcow2"}},
        {**place, "name": f"{NAME}_seed", "content": {"directory": str(seed), "label": "cidata"}, "readonly": True},
        {**place, "name": f"{NAME}_data", "content": {"ephemeral": "ext4", "label": "data"}, "size_gb": 0.02},
    ]


def own_disks(lab: Lab) -> dict[str, OwnDisk]:
    return {one.name.rpartition("_")[2]: one for one in record.disks_of(tree.parse(lab.xml()))}


def write(lab: Lab, target: int, pattern: int) -> None:
    """By the guest's own QEMU, through the driver of its disk."""
    assert lab.daemon is not None
    device = f"/machine/peripheral/virtio-disk{target}/virtio-backend"
    assert lab.daemon.virsh("qemu-monitor-command", NAME, "--hmp", f'qemu-io -d {device} "write -P {pattern} {AT} 64k"') == ""


def read(own: OwnDisk, folder: Path) -> bytes:
    path = folder / "read"
    with open(path, "w+b") as stream:
        own.place().read_to(own.record, stream, Deadline.after(Clock(), 60))
    return path.read_bytes()


def plugged_in_grown_and_unplugged(lab: Lab, place: dict[str, Any], wanted: dict[str, Any]) -> None:
    there = wanted["disks"]
    extra = {**place, "name": f"{NAME}_extra", "content": {"ephemeral": "ext4", "label": "extra"}, "size_gb": 0.02, "bus": "virtio"}
    plugged = lab.run(disks=[*there, extra])
    assert ("plug disks[vdd]" in plugged["actions"], plugged["pending_restart"], plugged["warnings"]) == (True, [], [])
    larger = [*there, {**extra, "size_gb": 0.03}]
    if place["backend"] == "ploop":
        for check in (True, False):
            with pytest.raises(InvalidSpec, match="a disk on ploop grows only while the guest is off"):
                lab.run(disks=larger, check=check)
    else:
        grown = lab.run(disks=larger)
        assert grown["actions"][0].startswith("grow the disk") and grown["disks"][3]["size"] == 32212480
        assert lab.run(disks=larger)["changed"] is False
    unplugged = lab.run(disks=there, unplug_timeout=600)
    assert ("unplug disks[vdd]" in unplugged["actions"], unplugged["pending_restart"]) == (True, [])
    # What was on it stays: the magic number of its file system.
    assert read(own_disks(lab)["extra"], lab.folder)[1080:1082] == b"\x53\xef"


@pytest.mark.parametrize("place", BACKENDS, indirect=True)
def test_a_guest_boots_from_it_answers_and_takes_another_while_it_runs(lab: Lab, place: dict[str, Any]) -> None:
    wanted: dict[str, Any] = {"memory_mb": 192, "disks": disks(place, lab.folder / "seed"), "networks": [{"network": NETWORK}], "state": "running"}
    predicted = lab.run(check=True, **wanted)
    made = lab.booted(**wanted)
    # The name is from the seed, so both disks were read.
    assert lab.answer(made) == f"SSH-2.0-tiny_from-{place['backend']}"
    assert [one["source"] for one in predicted["disks"]] == [one["source"] for one in made["disks"]]
    assert {one["backend"] for one in made["disks"]} == {place["backend"]}
    write(lab, 0, 0x5A)

    kept = lab.run(snapshot={"name": "live"})
    assert (kept["state"], kept["snapshots"]) == ("running", ["live"])
    write(lab, 0, 0xA5)
    assert lab.run(state="shutoff", shutdown_timeout=600)["actions"] == ["shut down"]
    own = own_disks(lab)
    root = read(own["root"], lab.folder)
    assert (len(root), root[AT : AT + 65536]) == (own["root"].record.size, b"\xa5" * 65536)
    lab.run(snapshot={"name": "live", "state": "reverted"})
    assert read(own["root"], lab.folder)[AT : AT + 65536] == b"\x5a" * 65536

    again = lab.booted(**wanted)
    assert lab.answer(again) == f"SSH-2.0-tiny_from-{place['backend']}"
    plugged_in_grown_and_unplugged(lab, place, wanted)
    # Its plug pulled, it starts again.
    assert lab.run(state="rebooted", force=True, shutdown_timeout=0)["state"] == "running"
    removed = lab.run(state="absent")
    assert len(removed["removed"]) == 4
    assert not any(one.place().exists(Deadline.after(Clock(), 60)) for one in own.values())
