# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Guests from XML of the user's own."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.faults import DefinitionRefused, Unsupported
from ansible_collections.poolwright.virt.tests.integration.libvirt.guests.conftest import NAME, Lab, difference

PLAIN = f"""<?xml version='1.0'?>
<!-- ours -->
<domain type='qemu'>
  <name>{NAME}</name>
  <memory unit='GiB'>1</memory>
  <vcpu>2</vcpu>
  <os><type machine='pc'>hvm</type></os>
  <devices>
    <interface type='network'><source network='default'/></interface>
    <graphics type='vnc' passwd='geheim'/>
  </devices>
</domain>
"""


def test_a_guest_from_xml_is_defined_once(lab: Lab) -> None:
    predicted = lab.run(xml=PLAIN, check=True)
    made = lab.run(xml=PLAIN)
    assert (made["changes"], made["diff"]) == (["definition", "xml"], predicted["diff"])
    assert "geheim" not in str(made) and "passwd='geheim'" in lab.xml()
    first = lab.xml()
    for same in (PLAIN, PLAIN.replace("\n  ", "\n\n      "), PLAIN.replace("<!-- ours -->", "")):
        again = lab.run(xml=same)
        assert (again["changed"], again["diff"]["before"] == again["diff"]["after"]) == (False, True)
    assert lab.xml() == first


def test_a_changed_xml_keeps_what_libvirt_made_up(lab: Lab) -> None:
    lab.run(xml=PLAIN)
    before = lab.xml()
    changed = lab.run(xml=PLAIN.replace("<vcpu>2", "<vcpu>3"))
    assert changed["changes"] == ["xml"]
    assert {line for line in difference(before, lab.xml()) if "metadata" not in line} == {"-vcpu=2", "+vcpu=3"}
    assert lab.run(xml=PLAIN.replace("<vcpu>2", "<vcpu>3"))["changed"] is False
    assert lab.run(xml=PLAIN.replace("<vcpu>2", "<vcpu>3").replace("geheim", "anders"))["changed"]
    assert "passwd='anders'" in lab.xml()


def test_what_somebody_else_changed_is_changed_back(lab: Lab) -> None:
    lab.run(xml=PLAIN)
    first = lab.xml()
    assert lab.daemon is not None
    lab.daemon.virsh("define", "/dev/stdin", stdin=first.replace("static'>2<", "static'>1<"))
    assert lab.run(xml=PLAIN)["changes"] == ["xml"]
    assert difference(first, lab.xml()) == set()


def test_a_guest_that_runs_has_the_former_definition_until_its_restart(lab: Lab) -> None:
    lab.run(xml=PLAIN, state="running")
    waiting = PLAIN.replace("<vcpu>2", "<vcpu>3")
    assert lab.run(xml=waiting)["pending_restart"] == ["xml"]
    again = lab.run(xml=waiting)
    assert (again["changed"], again["pending_restart"]) == (False, ["xml"])
    assert lab.run(xml=waiting, state="rebooted", force=True, shutdown_timeout=0)["pending_restart"] == []
    assert lab.run(xml=waiting)["pending_restart"] == []


def test_typed_options_go_on_from_there(lab: Lab) -> None:
    lab.run(xml=PLAIN)
    assert lab.run(memory_mb=512)["changes"] == ["memory_mb"]
    assert ET.fromstring(lab.xml()).findtext("memory") == str(512 * 1024)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<domain", "no XML"),
        ("<network/>", "not a <domain>"),
        (PLAIN.replace(NAME, "another"), "names the guest 'another'"),
    ],
)
def test_xml_that_is_no_such_guest_is_refused(lab: Lab, text: str, words: str) -> None:
    with pytest.raises(InvalidSpec, match=words):
        lab.run(xml=text)


def test_xml_that_libvirt_refuses_changes_nothing(lab: Lab) -> None:
    lab.run(xml=PLAIN)
    first = lab.xml()
    with pytest.raises((DefinitionRefused, Unsupported)):
        lab.run(xml=PLAIN.replace("machine='pc'", "machine='none-such'"))
    assert lab.xml() == first
