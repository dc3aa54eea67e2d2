# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module as a play runs it on a host, and what it refuses."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.poolwright.virt.plugins.module_utils.migration.options import module_options, module_rules
from ansible_collections.poolwright.virt.tests.integration.migration.conftest import Pair

MODULE = "ansible_collections.poolwright.virt.plugins.modules.libvirt_migrate"
DOCUMENTED = importlib.import_module(MODULE)


def play(pair: Pair, host: int, tasks: list[dict[str, Any]], folder: Path, *options: str) -> tuple[str, list[dict[str, Any]]]:
    """What a play on one of the hosts printed, and what its tasks returned."""
    results, book, inventory = folder / "results.json", folder / "play.yml", folder / "hosts.json"
    results.unlink(missing_ok=True)
    steps = [{**task, "register": f"result_{number}", "ignore_errors": True} for number, task in enumerate(tasks)]
    names = ", ".join(f"result_{number}" for number in range(len(tasks)))
    told = {"content": f"{{{{ [{names}] | to_json }}}}", "dest": str(results), "mode": "0600"}
    book.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [*steps, {"ansible.builtin.copy": told, "check_mode": False}]}]))
    inventory.write_text(json.dumps({"all": {"hosts": {"kvm": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}}}}))
    command = [*pair.inside(host), str(Path(sys.executable).parent / "ansible-playbook"), str(book), "-i", str(inventory), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "ANSIBLE_NOCOLOR": "true", "ANSIBLE_HOME": str(folder)})
    assert results.exists(), done.stdout + done.stderr
    found: list[dict[str, Any]] = json.loads(results.read_text())
    return done.stdout + done.stderr, found


def task(pair: Pair, **options: Any) -> dict[str, Any]:
    return {"poolwright.virt.libvirt_migrate": {"target": pair.uri(2), "location": str(pair.local / "state"), **options}}


def test_a_guest_moves_in_a_play(pair: Pair, tmp_path: Path) -> None:
    pair.guest(1, name="m-1", disks=[pair.disk("m-1", pair.local / "disks")], state="running")
    _said, (foreseen,) = play(pair, 1, [task(pair, name="m-1")], tmp_path, "--check", "--diff")
    said, (moved, again) = play(pair, 1, [task(pair, name="m-1"), task(pair, name="m-1")], tmp_path, "--diff")
    assert (foreseen["changed"], moved.get("changed"), again.get("changed")) == (True, True, False), said
    assert foreseen["diff"] == moved["diff"]
    assert "kvm2" in said
    documented = yaml.safe_load(DOCUMENTED.RETURN)
    assert {key for key, value in documented.items() if value["returned"] == "success"} <= set(moved)
    assert set(documented["disks"]["sample"][0]) == set(moved["disks"][0])
    assert moved["stats"]["logins"] == 2


def test_faults_are_told_together_and_before_anything_is_touched(pair: Pair, tmp_path: Path) -> None:
    cards = [{"network": "default"}, {"bridge": "br0"}]
    pair.guest(1, name="m-1", memory_mb=128, disks=[pair.disk("m-1", pair.local / "disks")], networks=cards, state="running")
    pair.virsh(2, "net-destroy", "default")
    try:
        said, results = play(
            pair,
            1,
            [
                task(pair, name="m-1", storage="shared"),
                task(pair, name="m-1", copy_disks=[]),
                task(pair, name="m-1", target="qemu+tcp://10.77.0.1/system"),
                task(pair, name="m-1", target="qemu+tcp://10.77.0.9/system"),
                task(pair, name="m-9"),
                task(pair, name="m-1", on_timeout="postcopy", timeout=0, disks=[{"target": "vda", "backend": "flat", "location": "/new"}]),
            ],
            tmp_path,
        )
    finally:
        pair.virsh(2, "net-start", "default")
    shared, none, itself, nobody, absent, wrong = results
    assert "the network default is not active on kvm2" in shared["msg"] and "storage: shared lets nothing be copied" in shared["msg"]
    assert "copy_disks does not name it" in none["msg"]
    assert "leads to as well" in itself["msg"]
    assert nobody["code"] == "connection_failed"
    assert absent["code"] == "not_found" and "neither there nor on kvm2" in absent["msg"]
    assert len(wrong["problems"]) == 3
    assert "Traceback" not in said
    assert (pair.states("m-1"), pair.files(2), pair.pools(2)) == (("running", ""), [], "")
    assert "xmlns/migration" not in pair.virsh(1, "dumpxml", "m-1")


def test_every_example_runs_on_a_pair(pair: Pair, tmp_path: Path) -> None:
    """As it stands, but for the target's address, and a limit that the test's patience needs."""
    for number, example in enumerate(yaml.safe_load(DOCUMENTED.EXAMPLES)):
        options = example["poolwright.virt.libvirt_migrate"]
        validated = ArgumentSpecValidator(module_options(), **module_rules()).validate(options)
        assert validated.error_messages == []
        names = options.get("names") or [options["name"]]
        for name in names:
            if options.get("mode") == "cold":
                # It answers the power button.
                pair.boot(name, pair.local / "disks")
            else:
                pair.guest(1, name=name, disks=[pair.disk(name, pair.local / "disks")], networks=[{"network": "default"}], state="running")
        # There are no certificates on these hosts.
        given = {**options, "target": pair.uri(2), "location": str(pair.local / "state")}
        if "disks" in options:
            given["disks"] = [{**one, "location": str(pair.local / "new")} for one in options["disks"]]
        said, (moved,) = play(pair, 1, [{"poolwright.virt.libvirt_migrate": given}], tmp_path)
        assert moved["changed"] is True, (number, said)
        for name in names:
            assert pair.states(name) == ("", "running")
            pair.virsh(2, "destroy", name)
            pair.guest(2, name=name, state="absent")
