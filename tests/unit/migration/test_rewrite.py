# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A domain as the target has it: only what is said of its disks changes."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from ansible_collections.poolwright.virt.plugins.module_utils.guests import record, tree
from ansible_collections.poolwright.virt.plugins.module_utils.migration.facts import guest_facts
from ansible_collections.poolwright.virt.plugins.module_utils.migration.moves import DiskMove
from ansible_collections.poolwright.virt.plugins.module_utils.migration.note import NAMESPACE, Note
from ansible_collections.poolwright.virt.plugins.module_utils.migration.plan import Plan
from ansible_collections.poolwright.virt.plugins.module_utils.migration.rewrite import needed, rewritten, with_note
from ansible_collections.poolwright.virt.plugins.module_utils.migration.wish import NewPlace

DOMAIN = """<domain type='kvm' xmlns:foo='urn:foo'><name>web</name><uuid>9f0c0000-0000-4000-8000-000000000001</uuid><memory unit='MiB'>512</memory>
<metadata><foo:x a='1'/><poolwright-guest:guest xmlns:poolwright-guest='https://poolwright.virt/xmlns/guest/1' uuid='9f0c0000-0000-4000-8000-000000000001'>
<poolwright-guest:disk location='/d' name='web_root' backend='qcow2' format='qcow2' path='/d/web_root.qcow2' size='1024' image='sha256:1' made='yes'>
<poolwright-guest:backing path='/i/base' format='qcow2' digest='sha256:1'/></poolwright-guest:disk></poolwright-guest:guest></metadata>
<os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type><nvram>/n/web.fd</nvram></os><devices>
<disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='none'/><source file='/d/web_root.qcow2' index='1'/><backingStore type='file'>
<format type='qcow2'/><source file='/i/base'/><backingStore/></backingStore><target dev='vda' bus='virtio'/><serial>abc</serial></disk>
<disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk>
<interface type='bridge'><source bridge='br0'/></interface><interface type='bridge'><source network='default' bridge='virbr0'/></interface>
<hostdev mode='subsystem' type='pci'/></devices></domain>"""


def parsed() -> ET.Element:
    return tree.parse(DOMAIN)


def moved(how: str, path: str, format: str, place: NewPlace | None = None) -> Plan:
    disk = guest_facts(parsed(), "running").disks[0]
    return Plan(True, (DiskMove(disk, how, path, format, True, place),))


def test_a_domains_xml_tells_what_matters() -> None:
    facts = guest_facts(parsed(), "running")
    root, drive = facts.disks
    assert (root.device, root.cache, root.chain, root.own, root.written) == ("vda", "none", (("/i/base", "qcow2"),), True, True)
    assert (drive.path, drive.written) == ("", False)
    assert (facts.networks, facts.bridges, facts.nvram, facts.memory) == (("default",), ("br0",), "/n/web.fd", 512 * 1024)
    assert facts.bound == ("a device of the host (pci)",)


def test_a_disk_that_gets_its_bases_contents_stands_on_nothing_any_more() -> None:
    after = rewritten(parsed(), moved("copied", "/d/web_root.qcow2", "qcow2"))
    assert after.find("devices/disk/backingStore") is None
    (own,) = record.disks_of(after)
    assert own.record.backing is None and own.record.path == "/d/web_root.qcow2" and own.made


def test_a_disk_elsewhere_is_named_there_in_the_domain_and_its_record() -> None:
    plan = moved("converted", "/new/web-vda.raw", "raw", NewPlace("vda", "flat", "/new"))
    assert needed(plan)
    after = rewritten(parsed(), plan)
    disk = after.find("devices/disk")
    assert disk is not None
    source, driver = disk.find("source"), disk.find("driver")
    assert source is not None and source.attrib == {"file": "/new/web-vda.raw"}
    assert driver is not None and driver.attrib == {"name": "qemu", "type": "raw", "cache": "none"}
    assert disk.findtext("serial") == "abc"
    (own,) = record.disks_of(after)
    assert (own.record.backend, own.location, own.name, own.record.path) == ("flat", "/new", "web-vda", "/new/web-vda.raw")
    assert own.place().libvirt_info().source == "/new/web-vda.raw"


def test_everything_else_stays_as_it_was() -> None:
    plan = Plan(True, ())
    assert not needed(plan)
    assert ET.canonicalize(tree.text_of(rewritten(parsed(), plan))) == ET.canonicalize(tree.text_of(parsed()))


def test_a_note_takes_the_place_of_an_older_one() -> None:
    note = Note("n-1", "cold", "h-1", "h-2", "kvm2", "qemu+tcp://kvm2/system", "running", made=("/d/a",))
    twice = with_note(with_note(parsed(), note), note)
    assert len(twice.findall(f"metadata/{{{NAMESPACE}}}migration")) == 1
    assert tree.parse(tree.text_of(twice)).find(f"metadata/{{{NAMESPACE}}}migration/{{{NAMESPACE}}}made") is not None
