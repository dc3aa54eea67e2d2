# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Domain XML and the machine's record in it: what goes in comes out, whatever characters it has."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

import libvirt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.options import DiskOptions
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.records import Backing, DiskRecord
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.domain_xml import (
    DiskDevice,
    DomainConfig,
    NetworkCard,
    Platform,
    build_card,
    build_disk,
    build_domain,
    in_namespace,
)
from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt_machines.record import (
    NAMESPACE,
    PREFIX,
    Card,
    MachineRecord,
    from_element,
    to_element,
    with_disk,
    with_disk_added,
    with_mark,
    with_seen,
    without_disks,
)
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import Lease, Mark, MarkState, new_machine_id
from ansible_collections.poolwright.virt.plugins.module_utils.storage.record import Origin, OwnDisk
from ansible_collections.poolwright.virt.plugins.module_utils.storage.wish import Content

MARKUP = st.sampled_from(list("<>&\"' \t\n\r]]>é😀"))
PRINTABLE = st.text(alphabet=st.one_of(MARKUP, st.characters(min_codepoint=32, max_codepoint=0xD7FF)), max_size=20)
TEXT = st.text(alphabet=st.one_of(MARKUP, st.characters(min_codepoint=32, max_codepoint=0xD7FF)), min_size=1, max_size=20)
MARKS = st.builds(
    Mark,
    pool=TEXT,
    slot=st.integers(1, 10**6),
    id=TEXT,
    spec_hash=PRINTABLE,
    image=PRINTABLE,
    created_at=st.floats(0, 4e9),
    state=st.sampled_from(MarkState),
    lease=st.none() | st.builds(Lease, TEXT, st.none() | st.floats(0, 4e9)),
    snapshot=PRINTABLE,
)
RECORDS = st.builds(
    MachineRecord,
    mark=MARKS,
    directory=TEXT,
    disks=st.lists(
        st.builds(
            OwnDisk,
            location=TEXT,
            name=TEXT,
            record=st.builds(
                DiskRecord,
                backend=TEXT,
                format=TEXT,
                path=TEXT,
                size=st.integers(0, 2**60),
                image=PRINTABLE,
                backing=st.none() | st.builds(Backing, path=TEXT, format=TEXT, digest=TEXT),
            ),
        ),
        max_size=2,
    ).map(tuple),
    cards=st.lists(st.builds(Card, mac=TEXT, network=PRINTABLE, bridge=PRINTABLE, seen=st.integers(0, 2**40)), max_size=2).map(tuple),
    seed=PRINTABLE,
)
PLATFORM = Platform("test", "i686")


def reread(element: ET.Element) -> ET.Element:
    return ET.fromstring(ET.tostring(element, encoding="unicode"))


def config(**changes: object) -> DomainConfig:
    plain = DomainConfig("ci-1", new_machine_id("ci"), PLATFORM, 65536, 1)
    return replace(plain, **changes)  # type: ignore[arg-type]


@given(RECORDS)
def test_a_record_is_read_back_as_it_was_written(record: MachineRecord) -> None:
    assert from_element(reread(to_element(record))) == record


@given(RECORDS, MARKS)
def test_a_new_mark_changes_nothing_else(record: MachineRecord, mark: Mark) -> None:
    element = to_element(record)
    ET.SubElement(element, "later", version="2")
    changed = reread(with_mark(element, mark))
    assert from_element(changed) == replace(record, mark=mark)
    assert changed.find("later") is not None


@pytest.mark.parametrize("damage", ["slot", "state", "id", "directory"])
def test_a_damaged_record_is_no_record(damage: str) -> None:
    element = to_element(MachineRecord(Mark("ci", 1, "x", "h", "i", 1.0), "/d"))
    del element.attrib[damage]
    assert from_element(element) is None
    element.set(damage, "?")
    assert damage in ("id", "directory") or from_element(element) is None


@given(TEXT, TEXT, TEXT, TEXT)
def test_no_text_becomes_markup(name: str, path: str, network: str, serial: str) -> None:
    disk = DiskDevice("file", "qcow2", path, "vda", serial=serial)
    domain = reread(build_domain(config(name=name, disks=(disk,), cards=(NetworkCard("52:54:00:00:00:01", network),))))
    # A parser takes a carriage return in text for a line's end; names with one are refused by libvirt anyway.
    assert domain.findtext("name", "").replace("\r\n", "\n").replace("\r", "\n") == name.replace("\r\n", "\n").replace("\r", "\n")
    sources = [element.attrib for element in domain.iter("source")]
    assert sources == [{"file": path}, {"network": network}]
    assert [element.tag for element in domain] == [
        "name", "uuid", "memory", "vcpu", "os", "features", "clock", "on_poweroff", "on_reboot", "on_crash", "devices"
    ]  # fmt: skip


@pytest.mark.parametrize("bad", ["\x00", "\x1b", "\x7f\x08", "\ud800", "\ufffe"])
def test_what_xml_cannot_hold_is_refused_by_name(bad: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        build_domain(config(disks=(DiskDevice("file", "raw", f"/a{bad}", "vda"),)))
    assert "source file" in caught.value.problems[0]


def test_disks_name_their_format_and_where_they_are() -> None:
    block = build_disk(DiskDevice("block", "raw", "/dev/vg/x", "vdb", readonly=True))
    network = build_disk(DiskDevice("network", "raw", "pool/x", "vdc", protocol="rbd", hosts=(("mon", 6789),), secret=("user", "uuid"), cache="none"))
    assert block.find("driver").attrib == {"name": "qemu", "type": "raw"}  # type: ignore[union-attr]
    assert (block.find("source").attrib, block.find("readonly") is not None) == ({"dev": "/dev/vg/x"}, True)  # type: ignore[union-attr]
    assert network.find("driver").attrib == {"name": "qemu", "type": "raw", "cache": "none", "discard": "unmap"}  # type: ignore[union-attr]
    assert network.find("source/host").attrib == {"name": "mon", "port": "6789"}  # type: ignore[union-attr]
    assert network.find("source/auth/secret").attrib == {"type": "ceph", "uuid": "uuid"}  # type: ignore[union-attr]


def test_a_card_is_on_a_network_or_on_a_bridge() -> None:
    assert build_card(NetworkCard("m", "default")).get("type") == "network"
    assert build_card(NetworkCard("m", bridge="br0")).find("source").attrib == {"bridge": "br0"}  # type: ignore[union-attr]


def test_libvirt_keeps_the_record() -> None:
    """Through libvirt's own parser and back, as it is defined and as it is set."""
    hard = Mark("<&>\"'", 1, new_machine_id("ci"), "h", "tab\tand é😀", 1.5, lease=Lease("a <b>"))
    record = MachineRecord(hard, "/d & e", (OwnDisk("/d", "root", DiskRecord("qcow2", "qcow2", "/d/<root>", 5, "x", Backing("/b", "raw", "y"))),))
    connection = libvirt.open("test:///default")
    try:
        xml = ET.tostring(build_domain(config(uuid=hard.id, metadata=(in_namespace(to_element(record), NAMESPACE),))), encoding="unicode")
        domain = connection.defineXML(xml)
        try:
            read = domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, NAMESPACE)
            assert from_element(ET.fromstring(read)) == record
            changed = with_mark(ET.fromstring(read), hard.as_state(MarkState.READY))
            domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, ET.tostring(changed, encoding="unicode"), PREFIX, NAMESPACE)
            again = from_element(ET.fromstring(domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, NAMESPACE)))
            assert again == replace(record, mark=hard.as_state(MarkState.READY))
        finally:
            domain.undefine()
    finally:
        connection.close()


EARLIER = """
<machine pool="ci" slot="2" id="70777669-7274-8a01-8a02-0123456789ab" spec_hash="2d1f0a6f9c1f7a55" image="/i.qcow2" created_at="1.5" state="ready"
         name="ci-2" directory="/m/ci/ci-2.0123456789ab">
  <disk location="/m/ci/ci-2.0123456789ab" name="root" backend="qcow2" format="qcow2"
        path="/m/ci/ci-2.0123456789ab/root.qcow2" size="1048576" image="sha256:ab">
    <backing path="/images/ab.qcow2" format="qcow2" digest="sha256:ab"/>
  </disk>
  <card mac="52:54:00:00:00:01" network="default" seen="17"/>
  <seed path="/m/ci/ci-2.0123456789ab/seed.iso"/>
</machine>
"""


def test_records_of_earlier_machines_are_read() -> None:
    record = from_element(ET.fromstring(EARLIER))
    assert record is not None
    directory = "/m/ci/ci-2.0123456789ab"
    root = DiskRecord("qcow2", "qcow2", f"{directory}/root.qcow2", 1048576, "sha256:ab", Backing("/images/ab.qcow2", "qcow2", "sha256:ab"))
    assert record.disks == (OwnDisk(directory, "root", root),)
    assert record.cards == (Card("52:54:00:00:00:01", "default", seen=17),)
    assert (record.seed, record.adding, record.mark.snapshot) == (f"{directory}/seed.iso", "", "")
    assert record.paths == (f"{directory}/root.qcow2", "/images/ab.qcow2", f"{directory}/seed.iso")


def test_a_disk_is_recorded_with_how_it_is_reached_and_what_it_was_made_from() -> None:
    mark = Mark("ci", 1, new_machine_id("ci"), "h", "", 1.5, snapshot="clean")
    options = DiskOptions(full=True, conf="/c", user="u", keyring="/k", secret="0" * 8 + "-0000-0000-0000-" + "0" * 12, cluster_size=65536)
    made_of = Origin(content=Content("ephemeral", "ext4", label="data"), seed="ci-1_disk1")
    data = OwnDisk("rbd", "ci-1_disk1", DiskRecord("rbd", "raw", "rbd/ci-1_disk1", 512), options=options, origin=made_of)
    record = MachineRecord(mark, "/d", (data,), adding="ci-1_disk1")
    assert from_element(ET.fromstring(ET.tostring(to_element(record)))) == record
    assert record.paths == ()


def test_changes_of_a_record_leave_the_rest_of_it() -> None:
    earlier = ET.fromstring(EARLIER)
    before = from_element(earlier)
    assert before is not None
    data = OwnDisk("/m", "disk1", DiskRecord("flat", "raw", "/m/disk1.raw", 512))
    adding = with_disk(earlier, data)
    assert from_element(adding) == replace(before, disks=(*before.disks, data), made_with=1, adding="disk1")
    added = from_element(with_disk_added(adding))
    assert added == replace(before, disks=(*before.disks, data), made_with=1)
    assert added is not None
    assert added.first_disks == before.first_disks == before.disks
    assert from_element(without_disks(adding, {"disk1"})) == replace(before, made_with=1)
    assert from_element(with_seen(earlier, {"52:54:00:00:00:01": 99})) == replace(before, cards=(replace(before.cards[0], seen=99),))
    assert from_element(earlier) == before
