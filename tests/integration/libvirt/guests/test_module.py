# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The modules as users run them, through ``ansible-playbook``."""

from __future__ import annotations

import importlib
import json
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.poolwright.virt.plugins.module_utils.guests.params import parse_request
from ansible_collections.poolwright.virt.plugins.module_utils.guests.spec import module_options
from ansible_collections.poolwright.virt.tests.integration.libvirt.guests.conftest import NAME, Lab
from ansible_collections.poolwright.virt.tests.integration.modules.conftest import Ansible

OWN_XML = """
<domain type='qemu'>
  <name>g-1</name><memory unit='MiB'>64</memory><os><type arch='x86_64'>hvm</type></os>
  <devices>
    <graphics type='vnc' passwd='{password}' port='-1'></graphics>
    <video><model type='vga'/></video>
  </devices>
</domain>"""
MODULES = "ansible_collections.poolwright.virt.plugins.modules."


@pytest.fixture
def ansible(lab: Lab) -> Ansible:
    return Ansible(lab.folder)


def guest(lab: Lab, **options: Any) -> dict[str, Any]:
    place = {"uri": lab.uri, "location": str(lab.folder / "state"), "virt_type": "qemu", "name": NAME}
    return {"poolwright.virt.libvirt_guest": {**place, **options}}


def test_a_guest_from_a_play(lab: Lab, ansible: Ansible) -> None:
    wanted: dict[str, Any] = {
        "memory_mb": 64,
        "disks": [lab.blank()],
        "graphics": {"type": "vnc", "password": "geheim-1"},
        "video": {"model": "vga"},
        "state": "running",
    }
    predicted = ansible.play(guest(lab, **wanted), options=("--check", "--diff", "-vvv"))
    (check,) = predicted.results
    assert lab.files() == []
    info = {"poolwright.virt.libvirt_guest_info": {"uri": lab.uri, "gather": ["definition", "statistics"]}}
    played = ansible.play(guest(lab, **wanted), guest(lab, **wanted), info, options=("--diff", "-vvv"))
    made, again, read = played.results
    assert (check["changed"], made["changed"], again["changed"]) == (True, True, False)
    assert {key: check[key] for key in ("actions", "changes", "diff", "state")} == {key: made[key] for key in ("actions", "changes", "diff", "state")}
    assert "geheim-1" not in predicted.output + played.output
    assert read["guests"][NAME]["state"] == "running"
    for module, result in (("libvirt_guest", made), ("libvirt_guest_info", read)):
        documented = yaml.safe_load(importlib.import_module(MODULES + module).RETURN)
        assert {key for key, value in documented.items() if value["returned"] == "success"} <= set(result)
    sample = yaml.safe_load(importlib.import_module(f"{MODULES}libvirt_guest").RETURN)["disks"]["sample"][0]
    assert set(sample) == set(made["disks"][0])


def test_several_guests_in_one_call_share_a_connection_and_none_stops_the_others(lab: Lab, ansible: Ansible) -> None:
    several: list[dict[str, Any]] = [{"name": f"g-{number}", "memory_mb": 64, "networks": [{"network": "default"}]} for number in range(1, 4)]
    several[1]["networks"] = [{"network": "none"}]
    task = {"poolwright.virt.libvirt_guest": {"uri": lab.uri, "location": str(lab.folder / "state"), "virt_type": "qemu", "guests": several}}
    fixed = json.loads(json.dumps(task).replace('[{"network": "none"}]', "[]"))
    failed, made, again = ansible.play(task, fixed, fixed).results
    assert (failed["failed"], [one["name"] for one in failed["guests"]]) == (True, ["g-1", "g-3"])
    assert "g-2" in failed["msg"] and "no network 'none'" in failed["msg"]
    assert ([one["changed"] for one in made["guests"]], again["changed"]) == ([False, True, False], False)
    assert (again["stats"]["logins"], again["diff"]) == (1, [])
    assert sum(again["stats"]["calls"].values()) <= 3 * 10


def test_errors_are_told_without_a_traceback(lab: Lab, ansible: Ansible) -> None:
    played = ansible.play(guest(lab, memory_mb=0, cpus=-1), guest(lab, xml="<domain", state="running"))
    assert [result["code"] for result in played.results] == ["invalid_spec", "invalid_spec"]
    assert played.results[0]["problems"] == ["cpus: -1 is not above 0", "memory_mb: 0 is not above 0"]
    assert "Traceback" not in played.output


def test_a_password_in_ones_own_xml_is_never_shown(lab: Lab, ansible: Ansible) -> None:
    """Not in the answer, its differences, the invocation, the record, nor in what libvirt or a parser says of XML that is wrong."""
    first, second = "geheim-1", "geheim-2"
    damaged = OWN_XML.format(password=first).replace("</graphics>", "</graphic>")
    # Only libvirt knows that it is wrong, and the element that has the password is the one that it speaks of.
    refused = OWN_XML.format(password=first).replace("type='vnc'", "type='vnc' passwdValidTo='never'")
    info = {"poolwright.virt.libvirt_guest_info": {"uri": lab.uri, "gather": ["definition"]}}
    tasks = [guest(lab, xml=text) for text in (damaged, refused)]
    tasks += [guest(lab, xml=OWN_XML.format(password=first)), guest(lab, xml=OWN_XML.format(password=second)), info]
    predicted = ansible.play(*tasks, options=("--check", "--diff", "-vvvv"))
    played = ansible.play(*tasks, options=("--diff", "-vvvv"))
    for shown in (predicted.output, played.output, json.dumps(played.results), *(path.read_text() for path in lab.folder.rglob("*.json"))):
        assert first not in shown
        assert second not in shown
    wrong, odd, made, changed, _read = played.results
    assert [wrong["code"], made["changed"], changed["changed"]] == ["invalid_spec", True, True]
    assert odd["failed"] is True
    assert "Traceback" not in played.output
    assert f"passwd='{second}'" in lab.xml()


def test_every_example_is_a_request_that_can_be_read() -> None:
    spec = module_options()
    examples = yaml.safe_load(importlib.import_module(f"{MODULES}libvirt_guest").EXAMPLES)
    for task in examples:
        told: dict[str, Any] = {
            key: "text" if isinstance(value, str) and "{{" in value else value for key, value in task["poolwright.virt.libvirt_guest"].items()
        }
        if "graphics" in told:
            told["graphics"] = {**told["graphics"], "password": "text"}
        found = ArgumentSpecValidator(spec).validate(told)
        assert found.error_messages == []
        parse_request(found.validated_parameters)
