# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is read of domains and hosts for a choice between hosts."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.capabilities import parse_host_capabilities
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.guest_facts import Kept, guest_facts
from ansible_collections.poolwright.virt.plugins.module_utils.placement.facts import CpuNeed, GuestFacts

DOMAIN = """
<domain type='kvm' id='3'>
  <name>web-1</name>
  <uuid>2F1D9D5C-6f0e-5c69-9f52-9d6e4cb5e0a1</uuid>
  <metadata>{metadata}</metadata>
  <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>
  {cpu}
  <devices>{devices}</devices>
</domain>
"""
HOST_CPU = "<cpu><arch>x86_64</arch><model>EPYC</model></cpu>"


def facts(devices: str = "", cpu: str = "", defined_cpu: str = "", metadata: str = "") -> GuestFacts:
    current, definition = (DOMAIN.format(devices=devices, cpu=one, metadata=metadata) for one in (cpu, defined_cpu))
    return guest_facts(current, definition, "running", persistent=True, memory_kib=1048577, cpus=2, host_cpu=HOST_CPU)


def test_the_kind_of_a_guest() -> None:
    found = facts()
    assert (found.name, found.uuid, found.arch, found.virt_type, found.machine) == (
        "web-1",
        "2f1d9d5c-6f0e-5c69-9f52-9d6e4cb5e0a1",
        "x86_64",
        "kvm",
        "pc-q35-7.2",
    )
    assert found.memory_mb == 1025


def test_what_it_is_joined_to_and_what_it_writes() -> None:
    found = facts(
        """
        <disk type='file' device='disk'><source file='/srv/a.qcow2'/><target dev='vda'/></disk>
        <disk type='block' device='disk'><source dev='/dev/vg/b'/><target dev='vdb'/></disk>
        <disk type='network' device='disk'><source protocol='rbd' name='rbd/c'/><target dev='vdc'/></disk>
        <disk type='file' device='disk'><source file='/srv/seed.iso'/><target dev='vdd'/><readonly/></disk>
        <disk type='file' device='cdrom'><target dev='sda'/></disk>
        <interface type='network'><source network='default' bridge='virbr0'/></interface>
        <interface type='network'><source network='default'/></interface>
        <interface type='bridge'><source bridge='br0'/></interface>
        """
    )
    assert found.disks == ("/srv/a.qcow2", "/dev/vg/b", "rbd/c")
    assert (found.networks, found.devices) == (("default",), ("br0",))
    # Nobody can tell whether another host has the same device.
    assert found.tied == ("it has the block device /dev/vg/b of this host",)


@pytest.mark.parametrize(
    ("device", "words"),
    [
        (
            "<hostdev mode='subsystem' type='pci'><source><address domain='0x0000' bus='0x01' slot='0x00' function='0x0'/></source></hostdev>",
            "the pci device 0000:01:00.0",
        ),
        ("<hostdev mode='subsystem' type='usb'><source><vendor id='0x046d'/><product id='0xC52B'/></source></hostdev>", "the usb device 046d:c52b"),
        ("<hostdev mode='subsystem' type='mdev'><source><address uuid='aa'/></source></hostdev>", "the mdev device aa"),
        ("<interface type='hostdev'><source><address type='pci' bus='0x02'/></source></interface>", "the network device 0000:02:00.0"),
        ("<interface type='direct'><source dev='eth1' mode='bridge'/></interface>", "the card eth1"),
        ("<filesystem type='mount'><source dir='/srv/data'/></filesystem>", "the directory /srv/data"),
        ("<serial type='dev'><source path='/dev/ttyS0'/></serial>", "the device /dev/ttyS0"),
    ],
)
def test_what_it_cannot_do_without(device: str, words: str) -> None:
    assert facts(device).tied == (f"it has {words} of this host",)


def test_what_libvirt_keeps_of_it() -> None:
    xml = DOMAIN.format(devices="<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>", cpu="", metadata="")
    found = guest_facts(xml, xml, "shutoff", persistent=True, memory_kib=1, cpus=1, host_cpu="", kept=Kept(snapshots=2, saved=True))
    assert found.tied == ("it has 2 snapshots of libvirt's, which cannot move",)
    assert found.not_cold == ("its memory is saved on this host", "what its TPM keeps moves only while it runs")


@pytest.mark.parametrize(
    ("cpu", "live", "cold"),
    [
        ("", CpuNeed(), CpuNeed()),
        ("<cpu><topology sockets='1' cores='2' threads='1'/></cpu>", CpuNeed(), CpuNeed()),
        ("<cpu mode='host-passthrough' check='none'/>", CpuNeed("host-passthrough", HOST_CPU), CpuNeed("host-passthrough")),
    ],
)
def test_its_cpu(cpu: str, live: CpuNeed, cold: CpuNeed) -> None:
    found = facts(cpu=cpu, defined_cpu=cpu)
    assert (found.live_cpu, found.cold_cpu) == (live, cold)


def test_a_running_guest_has_the_cpu_that_it_was_started_with() -> None:
    found = facts(
        cpu="<cpu mode='custom' match='exact' check='full'><model fallback='forbid'>EPYC</model>"
        "<topology sockets='1'/><feature policy='require' name='x2apic'/></cpu>",
        defined_cpu="<cpu mode='host-model'/>",
    )
    assert found.live_cpu == CpuNeed(
        "custom", '<cpu mode="custom" match="exact" check="full"><model fallback="forbid">EPYC</model><feature policy="require" name="x2apic" /></cpu>'
    )
    assert found.cold_cpu == CpuNeed("host-model")


@pytest.mark.parametrize(("machine_id", "pool"), [("2f1d9d5c-6f0e-5c69-9f52-9d6e4cb5e0a1", "ci"), ("another", "")])
def test_a_copy_of_a_pools_machine_is_none(machine_id: str, pool: str) -> None:
    mark = f"<p:machine xmlns:p='https://poolwright.virt/xmlns/machine/1' pool='ci' id='{machine_id}'/>"
    assert facts(metadata=mark).pool == pool


CAPABILITIES = """
<capabilities>
  <host>
    <uuid>7E1F0000-0000-4000-8000-000000000001</uuid>
    <cpu><arch>x86_64</arch><model>EPYC</model><vendor>AMD</vendor><microcode version='1'/>
      <counter name='tsc'/><topology sockets='1'/><feature name='aes'/></cpu>
  </host>
  <guest><os_type>hvm</os_type>
    <arch name='x86_64'><machine canonical='pc-q35-7.2' maxCpus='288'>q35</machine><machine maxCpus='255'>pc-i440fx-7.2</machine>
      <domain type='qemu'/><domain type='kvm'><machine>microvm</machine></domain></arch>
  </guest>
</capabilities>
"""


def test_a_hosts_cpu_and_machine_types() -> None:
    found = parse_host_capabilities(CAPABILITIES)
    assert (found.uuid, found.cpu_model) == ("7e1f0000-0000-4000-8000-000000000001", "EPYC")
    # Neither microcode nor topology says anything of what guests can have.
    assert found.cpu == '<cpu><arch>x86_64</arch><model>EPYC</model><vendor>AMD</vendor><feature name="aes" /></cpu>'
    expected: dict[str, Any] = {"x86_64/kvm": ("microvm",), "x86_64/qemu": ("pc-i440fx-7.2", "pc-q35-7.2", "q35")}
    assert found.machines == expected
