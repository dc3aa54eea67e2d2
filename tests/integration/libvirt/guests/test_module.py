# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The modules as users run them, through ``ansible-playbook``."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.poolwright.virt.plugins.module_utils.guests.params import parse_request
from ansible_collections.poolwright.virt.plugins.module_utils.guests.spec import module_options
from ansible_collections.poolwright.virt.tests.integration.libvirt.guests.conftest import NAME, Lab
from ansible_collections.poolwright.virt.tests.integration.modules.conftest import Ansible

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
    (failed,) = ansible.play(task).results
    assert (failed["failed"], [one["name"] for one in failed["guests"]]) == (True, ["g-1", "g-3"])
    assert "g-2" in failed["msg"] and "no network 'none'" in failed["msg"]
    several[1]["networks"] = []
    made, again = ansible.play(task, task).results
    assert ([one["changed"] for one in made["guests"]], again["changed"]) == ([False, True, False], False)
    assert (again["stats"]["logins"], again["diff"]) == (1, [])
    assert sum(again["stats"]["calls"].values()) <= 3 * 10


def test_errors_are_told_without_a_traceback(lab: Lab, ansible: Ansible) -> None:
    played = ansible.play(guest(lab, memory_mb=0, cpus=-1), guest(lab, xml="<domain", state="running"))
    assert [result["code"] for result in played.results] == ["invalid_spec", "invalid_spec"]
    assert played.results[0]["problems"] == ["cpus: -1 is not above 0", "memory_mb: 0 is not above 0"]
    assert "Traceback" not in played.output


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
