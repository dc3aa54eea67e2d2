# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The key of a guest's disks on Ceph goes with the guest, and nobody sees it."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.poolwright.virt.tests.integration.migration.conftest import ROOT, Pair
from ansible_collections.poolwright.virt.tests.integration.migration.relay import relayed

NAME = "m-1"
UUID = "5f1e0000-0000-4000-8000-00000000000c"
VALUE = base64.b64encode(b"a key that nobody is shown").decode()
SECRET = "<secret ephemeral='no' private='{private}'><uuid>{uuid}</uuid><usage type='ceph'><name>{name}</name></usage></secret>"
DOMAIN = """<domain type='qemu'><name>{name}</name><memory>65536</memory><os><type arch='x86_64' machine='q35'>hvm</type></os><devices>
<disk type='network' device='disk'><driver name='qemu' type='raw'/><source protocol='rbd' name='rbd/nothing'><host name='127.0.0.1' port='1'/>
<auth username='admin'><secret type='ceph' uuid='{uuid}'/></auth></source><target dev='vda' bus='virtio'/></disk></devices></domain>"""


def secrets(pair: Pair, host: int) -> list[str]:
    return [line.split()[0] for line in pair.virsh(host, "secret-list").splitlines() if line.strip()]


def defined(pair: Pair, host: int, folder: Path, private: str, uuid: str = UUID, value: str = VALUE) -> None:
    path = folder / "secret.xml"
    path.write_text(SECRET.format(private=private, uuid=uuid, name="client.admin of the test"))
    pair.virsh(host, "secret-define", str(path))
    pair.virsh(host, "secret-set-value", uuid, "--base64", value)


@pytest.fixture
def clean(pair: Pair) -> Iterator[Pair]:
    yield pair
    for host in (1, 2):
        for uuid in secrets(pair, host):
            pair.virsh(host, "secret-undefine", uuid)


def test_one_that_libvirt_tells_is_made_there(clean: Pair, tmp_path: Path) -> None:
    pair, path = clean, tmp_path / "domain.xml"
    path.write_text(DOMAIN.format(name=NAME, uuid=UUID))
    pair.virsh(1, "define", str(path))
    absent = pair.migrate(NAME)
    assert "nor on this host" in absent["error"], absent
    defined(pair, 1, tmp_path, "yes")
    private = pair.migrate(NAME)
    assert "libvirt does not tell its value; define it there with the same UUID" in private["error"], private
    pair.virsh(1, "secret-undefine", UUID)
    defined(pair, 1, tmp_path, "no")
    other = UUID[:-1] + "d"
    defined(pair, 2, tmp_path, "no", uuid=other)
    taken = pair.migrate(NAME)
    assert f"virsh secret-undefine {other}" in taken["error"], taken
    pair.virsh(2, "secret-undefine", other)

    foreseen = pair.migrate(NAME, check=True)
    assert (foreseen["actions"][0], secrets(pair, 2)) == ("define the secret client.admin of the test on the target", [])
    moved = pair.migrate(NAME)
    assert "error" not in moved, moved
    assert (moved["actions"], pair.states(NAME), secrets(pair, 2)) == (foreseen["actions"], ("", "shut off"), [UUID])
    assert pair.virsh(2, "secret-get-value", UUID) == VALUE
    assert pair.virsh(1, "secret-dumpxml", UUID) == pair.virsh(2, "secret-dumpxml", UUID)
    assert VALUE not in json.dumps([absent, private, taken, foreseen, moved])


@pytest.mark.parametrize("after", ["virSecretDefineXML", "virSecretSetValue"])
def test_a_run_that_is_killed_between_leaves_none_without_its_value(clean: Pair, tmp_path: Path, after: str) -> None:
    pair, path = clean, tmp_path / "domain.xml"
    path.write_text(DOMAIN.format(name=NAME, uuid=UUID))
    pair.virsh(1, "define", str(path))
    defined(pair, 1, tmp_path, "no")
    # Before and after the note, then before and after each of the two.
    point = {"virSecretDefineXML": 3, "virSecretSetValue": 5}[after]
    assert "killed" in pair.migrate(NAME, point=point)
    assert secrets(pair, 2) == [UUID]
    pair.virsh(1, "secret-undefine", UUID)
    # What was prepared there is cleared before the next run finds out that it cannot be made again.
    told = pair.migrate(NAME)
    assert "nor on this host" in told["error"], told
    assert (secrets(pair, 2), pair.states(NAME)) == ([], ("shut off", ""))
    defined(pair, 1, tmp_path, "no")
    moved = pair.migrate(NAME)
    assert (pair.virsh(2, "secret-get-value", UUID), pair.states(NAME)) == (VALUE, ("", "shut off")), moved


@pytest.fixture
def cephx(clean: Pair) -> Iterator[Path]:
    """A cluster that asks for a key, had by both hosts too; its folder."""
    folder = clean.folder / "ceph"
    lab = str(ROOT / "tests" / "lab" / "ceph.sh")
    try:
        subprocess.run([lab, "up", str(folder), "cephx"], check=True, capture_output=True)
        said = subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True, check=True).stdout
        pids = [f"pid={path.read_text().strip()}," for path in folder.glob("*.pid")]
        ports = sorted({int(line.split()[3].rpartition(":")[2]) for line in said.splitlines() if any(pid in line for pid in pids)})
        with relayed(clean.spaces[0], ports), relayed(clean.spaces[1], ports):
            yield folder
    finally:
        subprocess.run([lab, "down", str(folder)], check=False, capture_output=True)


def test_one_of_a_keyring_goes_live_with_the_guest(cephx: Path, clean: Pair) -> None:
    pair = clean
    place: dict[str, Any] = {"backend": "rbd", "location": "rbd", "name": f"{NAME}_root", "conf": str(cephx / "ceph.conf"), "keyring": str(cephx / "keyring")}
    disk = {**place, "image": {"source": str(pair.image), "format": "qcow2"}}
    pair.guest(1, name=NAME, disks=[disk], networks=[{"network": "default"}], state="running")
    address = pair.booted(1, NAME)
    before = pair.alive(address)
    (uuid,) = secrets(pair, 1)
    late = pair.migrate(NAME, bandwidth_mib=1, timeout=4.0)
    assert (late["code"], secrets(pair, 2), pair.states(NAME)) == ("deadline_exceeded", [], ("running", "")), late
    foreseen = pair.migrate(NAME, check=True)
    assert (foreseen["actions"][0].startswith("define the secret client.admin at "), secrets(pair, 2)) == (True, [])
    moved = pair.migrate(NAME)
    assert "error" not in moved, moved
    assert (secrets(pair, 2), pair.states(NAME), moved["disk_bytes"]) == ([uuid], ("", "running"), 0)
    assert pair.alive(address).boot == before.boot
    key = next(line.split()[-1] for line in (cephx / "keyring").read_text().splitlines() if "key" in line and "=" in line)
    logs = "".join((pair.folder / str(host) / "libvirtd.out").read_text() for host in (1, 2))
    assert key not in json.dumps([late, foreseen, moved]) + logs + pair.virsh(2, "dumpxml", NAME)
    # It can start there by itself, and back again there is nothing to make.
    pair.virsh(2, "destroy", NAME)
    pair.virsh(2, "start", NAME)
    pair.booted(2, NAME)
    back = pair.migrate(NAME, origin=2)
    assert back["actions"] == ["migrate"], back
    pair.virsh(1, "destroy", NAME)
    pair.guest(1, name=NAME, state="absent")


def test_a_disk_gets_to_a_cluster_with_a_key(cephx: Path, clean: Pair) -> None:
    pair = clean
    pair.guest(1, name=NAME, disks=[{"backend": "flat", "location": str(pair.local / "disks"), "name": NAME, "size_gb": 0.01}], state="shutoff")
    place = {"target": "vda", "backend": "rbd", "location": "rbd", "conf": str(cephx / "ceph.conf"), "keyring": str(cephx / "keyring")}
    moved = pair.migrate(NAME, mode="cold", disks=[place])
    assert "error" not in moved, moved
    (uuid,) = secrets(pair, 2)
    assert f"uuid='{uuid}'" in pair.virsh(2, "dumpxml", NAME)
    pair.guest(2, name=NAME, state="running")
    pair.virsh(2, "destroy", NAME)
    pair.guest(2, name=NAME, state="absent")
