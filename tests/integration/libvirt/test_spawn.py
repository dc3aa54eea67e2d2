# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``vm_spawn`` with libvirt: a guest that boots, is switched off and on, and goes with its disk."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.errors import VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.spawn.request import spawn_with
from ansible_collections.poolwright.virt.tests.integration.libvirt.conftest import Bench, banner


def run(bench: Bench, *, check_mode: bool = False, **options: Any) -> dict[str, Any]:
    source = bench.template.machine.image
    assert source is not None
    params = {
        "provider": "libvirt",
        "uri": bench.daemon.uri,
        "location": str(bench.location),
        "virt_type": "qemu",
        "name": "alone-1",
        "state": "poweredon",
        "image": {"source": source.source, "format": source.format},
        "memory_mb": bench.template.machine.memory_mb,
        "networks": [{"network": card.network} for card in bench.template.machine.networks],
        "recreate": False,
        "keep_failed": False,
        "timeout": 1800.0,
        "wait_for_address": False,
        "address_timeout": 600.0,
    }
    return spawn_with({**params, **options}, check_mode, threading.Event())


def test_a_guest_boots_under_its_name_and_goes_with_its_disk(bench: Bench) -> None:
    bench.with_an_image_that_boots()
    seed = {"meta_data": {"local-hostname": "tiny-alone"}}
    made = run(bench, wait_for_address=True, config_drive=seed)
    assert made["power"] == "running"
    assert banner(made["ip"]) == "SSH-2.0-tiny_tiny-alone"
    assert not run(bench, config_drive=seed)["changed"]
    off = run(bench, state="poweredoff", config_drive=seed)
    assert (off["changed"], off["power"]) == (True, "off")
    assert "shut off" in bench.daemon.virsh("domstate", "alone-1")
    with pytest.raises(VirtError, match="recreate: true"):
        run(bench, memory_mb=128, config_drive=seed)
    gone = run(bench, state="absent")
    assert gone["changed"]
    assert "alone-1" not in bench.daemon.virsh("list", "--all", "--name")
    assert list((bench.location / "machines").rglob("*.qcow2")) == []


def test_check_mode_makes_nothing(bench: Bench) -> None:
    foretold = run(bench, check_mode=True)
    assert foretold["changed"]
    assert "alone-1" not in bench.daemon.virsh("list", "--all", "--name")


def test_a_guest_has_its_further_disks_and_takes_another_machine_for_other_ones(bench: Bench) -> None:
    (bench.location / "tree").mkdir(parents=True)
    (bench.location / "tree" / "setup.sh").write_text("echo hello\n")
    disks = [
        {"size_gb": 0.05, "content": {"ephemeral": "ext4", "label": "data"}},
        {"backend": "flat", "content": {"directory": str(bench.location / "tree"), "as": "iso9660", "label": "SETUP"}},
    ]
    options: dict[str, Any] = {"networks": [], "disk": {"backend": "ploop"}, "disks": disks}
    assert run(bench, check_mode=True, **options)["changed"]
    made = run(bench, **options)
    assert [disk["size_gb"] for disk in made["disks"]] == [None, 0.05, None]
    listed = bench.daemon.virsh("domblklist", "alone-1", "--details")
    assert [line.split()[2] for line in listed.splitlines() if " disk " in line] == ["vda", "vdb", "vdc"]
    (iso,) = bench.location.glob("machines/*/*/disk2.raw")
    assert b"CD001" in iso.read_bytes()[: 40 * 1024]
    assert not run(bench, **options)["changed"]
    with pytest.raises(VirtError, match="recreate: true"):
        run(bench, **{**options, "disks": disks[:1]})
    assert run(bench, state="absent")["changed"]
    assert list((bench.location / "machines").rglob("*")) == []
