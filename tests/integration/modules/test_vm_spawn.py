# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``vm_spawn`` through ansible-playbook: arguments, check and diff mode, answers, secrets, failures, module_defaults."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.poolwright.virt.tests.contract.labs.vcenter import VCenter
from ansible_collections.poolwright.virt.tests.integration.modules.conftest import Ansible

SPAWN = "poolwright.virt.vm_spawn"
SECRET = "only-for-the-guest-4c2e"


@pytest.fixture(scope="module")
def vcenter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VCenter]:
    lab = VCenter(Path(tmp_path_factory.mktemp("vcenter")))
    lab.start("-vm", "1")
    try:
        yield lab
    finally:
        lab.stop()


def on(vcenter: VCenter) -> dict[str, Any]:
    """The connection, for all modules at once."""
    where = {"hostname": vcenter.host, "port": vcenter.port, "username": vcenter.user, "password": vcenter.password, "ca_path": vcenter.ca_path}
    return {"group/poolwright.virt.vsphere": {"provider": "vsphere", **where}}


@pytest.mark.any_core
def test_a_machine_comes_and_goes_on_the_simulation_and_the_dummy_examples_run(ansible: Ansible) -> None:
    base = {"provider": "dummy", "path": ansible.database, "name": "web-1"}
    steps = [base, base, {**base, "state": "poweredoff"}, {**base, "cpus": 2}, {**base, "cpus": 2, "recreate": True}, {**base, "state": "absent"}]
    # The examples of the documentation go along.
    documented = yaml.safe_load(importlib.import_module("ansible_collections.poolwright.virt.plugins.modules.vm_spawn").EXAMPLES)
    examples = [{**task, SPAWN: {**task[SPAWN], "path": f"{ansible.database}-examples"}} for task in documented if task[SPAWN]["provider"] == "dummy"]
    played = ansible.play(*({SPAWN: step} for step in steps), *examples)
    made, again, off, refused, anew, gone = played.results[:6]
    assert [result["changed"] for result in played.results] == [True, False, True, False, True, True, True, True]
    assert (made["power"], off["power"], anew["power"], gone["power"]) == ("running", "off", "running", "")
    assert again["actions"] == []
    assert refused["code"] == "needs_rebuild"


def test_a_machine_comes_and_goes_in_a_vcenter(ansible: Ansible, vcenter: VCenter) -> None:
    wish = {
        "name": "web-1",
        "template": "DC0_C0_RP0_VM0",
        "folder": "web",
        "networks": [{"network": "VM Network"}],
        "cloud_init": {"user_data": f"#cloud-config\npassword: {SECRET}\n"},
    }
    defaults = on(vcenter)
    foretold = ansible.play({SPAWN: wish}, options=("--check", "--diff"), defaults=defaults)
    vcenter.forget_calls()
    absent = {SPAWN: {"name": "web-1", "folder": "web", "state": "absent"}}
    played = ansible.play({SPAWN: wish}, {SPAWN: wish}, absent, options=("--diff", "-vvv"), defaults=defaults)
    made, again, gone = played.results
    for key in ("actions", "diff", "changed"):
        assert foretold.results[0][key] == made[key]
    assert "+web-1: from template DC0_C0_RP0_VM0" in foretold.output
    assert (again["changed"], gone["changed"]) == (False, True)
    assert vcenter.calls()["Login"] == vcenter.calls()["Logout"] == 3
    documented = yaml.safe_load(importlib.import_module("ansible_collections.poolwright.virt.plugins.modules.vm_spawn").RETURN)
    assert {key for key, value in documented.items() if "success" in value["returned"]} <= set(made)
    for said in (foretold.output, played.output, str(played.results)):
        assert SECRET not in said


def test_a_failure_says_what_was_taken_back(ansible: Ansible, vcenter: VCenter) -> None:
    wish = {"name": "silent-1", "template": "DC0_C0_RP0_VM0", "wait_for_address": True, "address_timeout": 0.5}
    (result,) = ansible.play({SPAWN: wish}, defaults=on(vcenter)).results
    assert (result["failed"], result["changed"]) == (True, False)
    assert (result["code"], result["failure"]["code"]) == ("incomplete", "deadline_exceeded")
    assert result["undone"] == ["removed the machine silent-1"]
    assert "silent-1" not in vcenter.govc("find", "/DC0")


@pytest.mark.any_core
def test_options_that_do_not_go_together_are_refused_at_once(ansible: Ansible, vcenter: VCenter) -> None:
    vcenter.forget_calls()
    wrong = {"name": "web-1", "cpus": 0, "memory_mb": 3}
    (result,) = ansible.play({SPAWN: wrong}, defaults=on(vcenter)).results
    assert result["code"] == "invalid_spec"
    assert len(result["problems"]) == 4
    assert vcenter.calls().total == 0
