# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What is wrong with a request is told all at once, with its place, before anything is asked of a host."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec
from ansible_collections.poolwright.virt.plugins.module_utils.guests.params import parse_guest, parse_request

DISK = {"backend": "qcow2", "location": "/d", "name": "a"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "a/b"}, "name: 'a/b' cannot be"),
        ({"xml": "<domain/>", "cpus": 1, "title": "t"}, "xml: stands in place of cpus, title"),
        ({"uuid": "x"}, "uuid: 'x' is no UUID"),
        ({"cpus": 0}, "cpus: 0 is not above 0"),
        ({"cpus": 4, "max_cpus": 2}, "cpus: 4 are more than max_cpus: 2"),
        ({"cpus": 3, "cpu": {"sockets": 2, "cores": 2}}, "cpu: 2 sockets x 1 dies x 2 cores x 1 threads are 4, not 3"),
        ({"cpu": {"cores": 2}}, "cpus: is missing beside the topology"),
        ({"cpu": {"mode": "custom"}}, "cpu.model: is missing"),
        ({"cpu": {"mode": "host-model", "model": "x"}}, "cpu.model: goes with mode: custom"),
        ({"cpu": {"features": [{"name": "a"}, {"name": "a"}]}}, "cpu.features: a is there more than once"),
        ({"memory_mb": 2, "max_memory_mb": 1}, "memory_mb: 2 is more than"),
        ({"memory_mb": 2, "numa": {"cells": [{"cpus": "0", "memory_mb": 1}]}}, "numa.cells: have 1 MiB together, the guest 2"),
        ({"numa": {"cells": [{"cpus": "x", "memory_mb": 1}]}}, r"numa.cells\[0\].cpus: 'x' is no set"),
        ({"numa": {"nodeset": "x"}}, "numa.nodeset: 'x'"),
        ({"secure_boot": True}, "secure_boot: wants firmware: efi"),
        ({"secure_boot": True, "firmware": "efi", "machine": "pc"}, "machine: pc has no secure boot"),
        ({"clock": {"timezone": "UTC"}}, "clock.timezone: goes with"),
        ({"clock": {"offset": "timezone"}}, "clock.timezone: is missing"),
        ({"metadata": {"a b": "c"}}, "metadata.a b: is no key"),
        ({"metadata": {"a": ["c"]}}, "metadata.a: is no text"),
        ({"boot_order": ["disk"], "disks": [{**DISK, "boot_order": 1}]}, "boot_order: is given by kind of device and on devices"),
        ({"disks": [{"backend": "qcow2"}]}, r"disks\[0\]: lacks location, name"),
        ({"disks": [{**DISK, "path": "/x", "format": "raw"}]}, r"disks\[0\]: has a path"),
        ({"disks": [{"path": "/x"}]}, r"disks\[0\].format: is missing"),
        ({"disks": [{"path": "x", "format": "raw"}]}, r"disks\[0\].path: 'x' is no absolute path"),
        ({"disks": [{**DISK, "backend": "none"}]}, r"disks\[0\]: 'none' is not one of the disk backends"),
        ({"disks": [{**DISK, "location": "d"}]}, r"disks\[0\]: .*not an absolute path"),
        ({"disks": [{**DISK, "content": "blank"}]}, r"disks\[0\].size_gb: is missing"),
        ({"disks": [{**DISK, "size_gb": -1}]}, r"disks\[0\].size_gb: -1"),
        ({"disks": [{**DISK, "image": {"source": "x"}}]}, r"disks\[0\].image.source: 'x' is neither"),
        ({"disks": [{**DISK, "content": "blank", "size_gb": 1, "image": {"source": "/x"}}]}, r"disks\[0\].content: give either"),
        ({"disks": [DISK, DISK]}, "disks: a is there more than once"),
        ({"disks": [{**DISK, "target": "xvda"}]}, r"disks\[0\].target: 'xvda'"),
        ({"disks": [{**DISK, "target": "vda", "bus": "scsi"}]}, r"disks\[0\].target: on the bus scsi"),
        ({"disks": [{**DISK, "target": "sda"}], "cdroms": [{"target": "sda"}]}, "disks: the target sda is there more than once"),
        ({"disks": [{**DISK, "boot_order": 1}], "networks": [{"network": "a", "boot_order": 1}]}, "boot_order: 1 is there more than once"),
        ({"cdroms": [{"path": "x"}]}, r"cdroms\[0\].path: 'x'"),
        ({"networks": [{}]}, r"networks\[0\]: has nothing to be on"),
        ({"networks": [{"network": "a", "bridge": "b"}]}, r"networks\[0\]: has network and bridge"),
        ({"networks": [{"network": "a", "direct_mode": "vepa"}]}, r"networks\[0\].direct_mode: goes with direct"),
        ({"networks": [{"network": "a", "mac": "01:00:00:00:00:00"}]}, r"networks\[0\].mac: '01:00"),
        ({"networks": [{"network": "a", "mac": "52:54:00:00:00:01"}] * 2}, "networks: the address 52:54:00:00:00:01"),
        ({"networks": [{"network": "a", "mtu": 10}]}, r"networks\[0\].mtu: 10"),
        ({"graphics": {"type": "vnc", "password": "123456789"}}, "graphics.password: VNC takes 8"),
        ({"graphics": {"type": "none", "port": 5900}}, "graphics.port: there are no graphics"),
        ({"graphics": {"type": "vnc", "port": 80}}, "graphics.port: 80"),
        ({"vsock": {"cid": 2}}, "vsock.cid: 2"),
        ({"rng": {"rate_period_ms": 2}}, "rng.rate_bytes: is missing"),
        ({"ballooning": {"model": "none", "stats_period": 2}}, "ballooning: there is no balloon"),
        ({"channels": [{"name": "a"}] * 2}, "channels: a is there more than once"),
        ({"hostdevs": [{"type": "pci", "address": "x"}]}, r"hostdevs\[0\].address: 'x' is not 0000:01:00.0"),
        ({"hostdevs": [{"type": "usb", "address": "01:00.0"}]}, r"hostdevs\[0\].address"),
    ],
)
def test_a_fault_is_told_with_its_place(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidSpec, match=words):
        parse_guest({"name": "g", "state": "present", **options})


def test_all_faults_are_told_at_once_and_no_password_is_among_them() -> None:
    with pytest.raises(InvalidSpec) as raised:
        parse_guest({"name": "g", "state": "present", "cpus": 0, "memory_mb": 0, "graphics": {"type": "vnc", "password": "far too long"}})
    assert len(raised.value.problems) == 3
    assert "far too long" not in str(raised.value)


def test_short_addresses_of_pci_devices_are_written_out() -> None:
    found = parse_guest({"name": "g", "state": "present", "hostdevs": [{"type": "pci", "address": "01:00.0"}]})
    assert found.hostdevs is not None and found.hostdevs[0].address == "0000:01:00.0"


def test_several_guests_are_judged_together() -> None:
    with pytest.raises(InvalidSpec) as raised:
        parse_request({"state": "running", "guests": [{"name": "a", "state": "present", "cpus": 0}, {"name": "b", "state": "absent"}] * 2})
    problems = ["guests[0].cpus: 0 is not above 0", "guests[2].cpus: 0 is not above 0", "guests: b is there more than once"]
    assert raised.value.problems == [*problems, "state: give it with each of the guests"]
    with pytest.raises(InvalidSpec, match="keep: goes with state: absent"):
        parse_request({"name": "a", "state": "present", "keep": ["disks"]})
