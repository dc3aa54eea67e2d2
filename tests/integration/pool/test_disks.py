# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pools of real guests whose disks are on each backend: several of them, with contents, and their way back to a snapshot by bytes."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import socket
import subprocess
import time
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import libvirt
import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt_machines.record import NAMESPACE, MachineRecord, from_element
from ansible_collections.poolwright.virt.plugins.module_utils.storage.record import OwnDisk
from ansible_collections.poolwright.virt.tests.contract.labs.libvirt_base import ROOT, LibvirtLab
from ansible_collections.poolwright.virt.tests.contract.staging import LONG
from ansible_collections.poolwright.virt.tests.integration.pool.sites import BOOTS, Site, killed, libvirt_site
from ansible_collections.poolwright.virt.tests.seeds import seeds

CONF = os.environ.get("POOLWRIGHT_CEPH_CONF") or str(ROOT / ".work" / "lab" / "ceph" / "ceph.conf")
ROOT_DISKS: dict[str, dict[str, Any]] = {
    "qcow2": {"backend": "qcow2"},
    "flat": {"backend": "flat"},
    "ploop": {"backend": "ploop"},
    "rbd": {"backend": "rbd", "location": "rbd", "conf": CONF},
}
DATA = {"size_gb": 0.0625, "content": {"ephemeral": "ext4", "label": "data"}}
SWAP = {"size_gb": 0.01, "backend": "flat", "content": {"swap": True, "label": "swap"}}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = libvirt_site(tmp_path)
    # Runs side by side share the Ceph pool, in which disks are named after their machines.
    made.pool |= {"networks": [], "prefix": f"ci{uuid.uuid4().hex[:8]}"}
    yield made
    made.run(made.ci(0, state="absent"))
    made.lab.cleanup()


def record_of(site: Site, name: str) -> MachineRecord:
    assert isinstance(site.lab, LibvirtLab)
    domain = site.lab.connection.lookupByName(name)
    found = from_element(ET.fromstring(domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, NAMESPACE)))
    assert found is not None
    return found


class Keeper(io.RawIOBase):
    """A stream that keeps the beginning of what is written to it, and a hash of all."""

    def __init__(self) -> None:
        self.hash = hashlib.sha256()
        self.head = b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.hash.update(data)
        self.head += bytes(data)[: max(0, 65536 - len(self.head))]
        return len(data)


def read(disk: OwnDisk) -> Keeper:
    found = Keeper()
    disk.place().read_to(disk.record, cast(Any, found), Deadline.after(Clock(), 60))
    return found


def hashes(site: Site, name: str) -> list[str]:
    return [read(disk).hash.hexdigest() for disk in record_of(site, name).disks]


def scribble(disk: OwnDisk) -> None:
    """As a guest would, while it is off."""
    form = {"ploop": "parallels"}.get(disk.record.format, disk.record.format)
    name = f"rbd:{disk.record.path}:conf={CONF}" if disk.record.backend == "rbd" else disk.record.path
    subprocess.run(["qemu-io", "-f", form, "-c", "write -P 0x5a 4096 65536", name], check=True, capture_output=True)


def machine(site: Site, slot: int = 1) -> str:
    return f"{site.pool['prefix']}-{slot}"


def rbd_images(site: Site) -> list[str]:
    listed = subprocess.run(["rbd", "--conf", CONF, "ls", "rbd", "--format", "json"], check=True, capture_output=True, text=True).stdout
    return [name for name in json.loads(listed) if name.startswith(site.pool["prefix"])]


@pytest.mark.parametrize("backend", ROOT_DISKS)
def test_a_pool_of_two_with_further_disks_boots_answers_and_goes_without_a_trace(site: Site, backend: str) -> None:
    pool = site.ci(
        2,
        **BOOTS,
        disk=ROOT_DISKS[backend],
        disks=[DATA, SWAP],
        networks=[{"network": site.lab.network}],
        hostname="{name}",
        ready={"check": "tcp", "timeout": 900.0, "grace": 300.0},
    )
    foretold = site.run(pool, check=True)
    result = site.run(pool)
    assert result["failures"] == []
    assert foretold["diff"] == result["diff"]
    for shown in result["pools"]["ci"]["machines"]:
        with socket.create_connection((shown["ip"], 22), timeout=120) as connection:
            assert connection.makefile("r").readline().strip() == f"SSH-2.0-tiny_{shown['name']}"
    again = site.run(pool)
    assert (again["changed"], site.mutations(again)) == (False, {})
    record = record_of(site, machine(site))
    assert [disk.record.backend for disk in record.disks] == [backend, backend, "flat"]
    site.lab.power_off(machine(site))
    data, swap = (read(disk).head for disk in record.disks[1:])
    assert (data[1024 + 0x38 : 1024 + 0x3A], data[1024 + 0x78 : 1024 + 0x7C]) == (b"\x53\xef", b"data")
    assert swap[4086:4096] == b"SWAPSPACE2"
    assert site.run(pool | {"size": 0})["failures"] == []
    assert (site.lab.leftovers(), rbd_images(site)) == ([], [])


@pytest.mark.parametrize("backend", ROOT_DISKS)
def test_all_disks_of_a_machine_that_is_reset_have_the_bytes_of_the_day_it_was_made(site: Site, backend: str) -> None:
    pool = site.ci(1, disk=ROOT_DISKS[backend], disks=[DATA, SWAP], power="off", ready={"check": "none"}, reset="snapshot")
    assert site.run(pool)["failures"] == []
    clean = hashes(site, machine(site))
    mark = record_of(site, machine(site)).mark
    for _round in range(2):
        for disk in record_of(site, machine(site)).disks:
            scribble(disk)
        used = hashes(site, machine(site))
        assert not set(used) & set(clean)
        site.use_up(machine(site))
        result = site.run(pool)
        assert (result["failures"], result["warnings"], result["pools"]["ci"]["reset"]) == ([], [], [machine(site)])
        assert hashes(site, machine(site)) == clean
        assert record_of(site, machine(site)).mark.id == mark.id


@pytest.mark.parametrize("backend", ["qcow2", "ploop", "rbd"])
def test_a_snapshot_of_a_machine_that_runs_can_be_gone_back_to(site: Site, backend: str) -> None:
    pool = site.ci(1, disk=ROOT_DISKS[backend], disks=[SWAP])
    site.run(pool)
    template = site.lab.template("ci")
    provider = site.lab.provider([template])
    provider.create_snapshot("ci", machine(site), "while-it-ran")
    provider.stop_vm("ci", machine(site))
    provider.revert_snapshot("ci", machine(site), "while-it-ran")
    first = hashes(site, machine(site))
    for disk in record_of(site, machine(site)).disks:
        scribble(disk)
    provider.revert_snapshot("ci", machine(site), "while-it-ran")
    assert hashes(site, machine(site)) == first
    provider.start_vm("ci", machine(site), record_of(site, machine(site)).mark)
    assert provider.vm_ready("ci", machine(site))
    provider.close()


def test_a_machine_that_is_reset_boots_anew_and_is_not_taken_for_what_it_was(site: Site) -> None:
    pool = site.ci(
        1,
        **BOOTS,
        disk={"backend": "flat"},
        networks=[{"network": site.lab.network}],
        hostname="{name}",
        ready={"check": "tcp", "timeout": 900.0},
        reset="snapshot",
    )
    made = site.run(pool)
    address = made["pools"]["ci"]["machines"][0]["ip"]
    site.use_up(machine(site))
    seen = record_of(site, machine(site)).cards[0].seen
    result = site.run(pool)
    assert result["failures"] == []
    assert "virDomainDefineXML" not in result["stats"]["calls"]
    assert result["pools"]["ci"]["machines"][0]["ip"] == address
    assert record_of(site, machine(site)).cards[0].seen > seen


@pytest.mark.parametrize("lost", ["snapshot", "disk"])
def test_a_machine_whose_snapshot_is_not_whole_is_rebuilt_with_all_its_disks(site: Site, lost: str) -> None:
    pool = site.ci(1, disk=ROOT_DISKS["rbd"], disks=[DATA, SWAP], power="off", ready={"check": "none"}, reset="snapshot")
    site.run(pool)
    mark, data = record_of(site, machine(site)).mark, record_of(site, machine(site)).disks[1]
    deadline = Deadline.after(Clock(), 60)
    if lost == "disk":
        assert data.place().remove(deadline)
    else:
        assert data.place().snapshot_delete("poolwright-clean", deadline)
    site.use_up(machine(site))
    result = site.run(pool)
    assert (result["failures"], result["pools"]["ci"]["replaced"], len(result["warnings"])) == ([], [machine(site)], 1)
    assert data.record.path in result["warnings"][0]
    assert record_of(site, machine(site)).mark.id != mark.id
    assert len(hashes(site, machine(site))) == 3


def completed(site: Site, pool: dict[str, Any]) -> None:
    """By one run, once Ceph has noticed that the client of a killed one is dead: until then its disks count as in use."""
    deadline = Deadline.after(Clock(), LONG)
    failures = site.run(pool)["failures"]
    while failures and all("it is in use by" in failure for failure in failures):
        assert not deadline.passed, failures
        time.sleep(1)
        failures = site.run(pool)["failures"]
    assert failures == []


@pytest.mark.parametrize("seed", seeds(gate=1, soak=2))
@pytest.mark.parametrize("backend", ["rbd", "ploop", "flat"])
def test_a_run_killed_at_any_moment_is_completed_by_one_more(site: Site, backend: str, seed: int) -> None:
    pool = site.ci(2, disk=ROOT_DISKS[backend], disks=[DATA, SWAP], reset="snapshot")
    child = site.start(pool)
    time.sleep(0.4 + random.Random(seed).random() * 2.5)
    child.kill()
    killed(child)
    completed(site, pool)
    result = site.run(pool, check=True)
    assert result["actions"] == []
    assert [len(record_of(site, name).disks) for name in (machine(site, 1), machine(site, 2))] == [3, 3]
    assert site.lab.leftovers() == []
    for name in (machine(site, 1), machine(site, 2)):
        site.use_up(name)
    child = site.start(pool)
    time.sleep(0.3 + random.Random(seed + 100).random() * 1.5)
    child.kill()
    killed(child)
    completed(site, pool)
    assert site.run(pool, check=True)["actions"] == []
    child = site.start(pool | {"size": 0})
    time.sleep(0.3 + random.Random(seed + 200).random())
    child.kill()
    killed(child)
    completed(site, pool | {"size": 0})
    assert (site.lab.leftovers(), rbd_images(site)) == ([], [])


def test_disks_elsewhere_of_machines_that_somebody_undefined_go_too(site: Site, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    pool = site.ci(1, disk=ROOT_DISKS["rbd"], disks=[{**SWAP, "location": str(elsewhere)}])
    site.run(pool)
    assert (len(rbd_images(site)), len(list(elsewhere.iterdir()))) == (1, 1)
    site.lab.undefine(machine(site))
    result = site.run(pool)
    assert (result["failures"], result["warnings"]) == ([], [])
    assert (len(rbd_images(site)), len(list(elsewhere.iterdir()))) == (1, 1)


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ({"disk": {"backend": "rbd", "location": "nowhere", "conf": CONF}}, "not_found", "nowhere"),
        ({"disks": [{"size_gb": 60000, "backend": "flat", "preallocation": "full"}]}, "insufficient_resources", "need"),
        ({"disks": [{"size_gb": 0.001, "content": {"ephemeral": "ext4"}}]}, "invalid_spec", "too few for ext4"),
        ({"disks": [{"content": {"directory": "/no/such/tree"}}]}, "not_found", "/no/such/tree"),
        ({"disks": [{"image": {"source": "/no/such.qcow2"}}]}, "not_found", "no such file"),
    ],
)
def test_what_cannot_be_made_is_refused_before_anything_is(site: Site, options: dict[str, Any], code: str, words: str) -> None:
    for check in (True, False):
        error = site.refused(site.ci(1, **options), check=check)
        assert error.code == code
        assert words in str(error)
    assert site.lab.machines() == set()
