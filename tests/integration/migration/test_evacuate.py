# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A KVM host is emptied by the playbook, as its user runs it."""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.poolwright.virt.tests.integration.migration.conftest import ROOT, Pair
from ansible_collections.poolwright.virt.tests.integration.migration.test_module import play

MODULES = ("libvirt_host_info", "libvirt_evacuation_plan")
DOCUMENTED = {name: importlib.import_module(f"ansible_collections.poolwright.virt.plugins.modules.{name}") for name in MODULES}


@dataclass
class Evacuation:
    """Runs of the playbook over both hosts, whose Python runs where each of them is."""

    pair: Pair
    folder: Path

    def command(self, *options: str, **variables: Any) -> list[str]:
        hosts: dict[str, Any] = {}
        for number in (1, 2):
            program = self.folder / f"python-{number}"
            program.write_text(f'#!/bin/sh\nexec {shlex.join(self.pair.inside(number))} {sys.executable} "$@"\n')
            program.chmod(0o755)
            hosts[f"kvm-{number}"] = {"ansible_python_interpreter": str(program), "host_evacuate_target_uri": self.pair.uri(number)}
        settings = {
            "ansible_connection": "local",
            "host_evacuate_location": str(self.pair.shared / "state"),
            "host_evacuate_timeout": 900,
            # What else runs on this machine takes of the same memory.
            "host_evacuate_reserve_mb": 0,
            "host_evacuate_memory_overcommit": 8.0,
        }
        inventory = self.folder / "hosts.json"
        inventory.write_text(json.dumps({"kvm_hosts": {"hosts": hosts, "vars": {**settings, **variables}}}))
        program = Path(sys.executable).parent / "ansible-playbook"
        report = f"host_evacuate_report={self.folder}/report.json"
        return [str(program), "-i", str(inventory), "poolwright.virt.evacuate", "-e", "evacuate_hosts=kvm-1", "-e", report, *options]

    def environment(self) -> dict[str, str]:
        return {**os.environ, "ANSIBLE_NOCOLOR": "true", "ANSIBLE_HOME": str(self.folder), "ANSIBLE_ASYNC_DIR": str(self.folder / "async")}

    def run(self, *options: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        command = self.command(*options, **variables)
        return subprocess.run(command, capture_output=True, text=True, check=False, env=self.environment(), timeout=3600)

    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "report.json").read_text())
        return found

    def became(self) -> dict[str, tuple[str, str]]:
        """What became of each guest, and how it went."""
        return {row["name"]: (row["status"], row["mode"]) for row in self.report()["guests"]}


@pytest.fixture
def evacuation(pair: Pair, tmp_path: Path) -> Evacuation:
    return Evacuation(pair, tmp_path)


def changes(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    return {host: int(count) for host, count in re.findall(r"^(kvm-\d) .* changed=(\d+) ", done.stdout, re.MULTILINE)}


def test_a_host_is_emptied_while_its_guests_run(pair: Pair, evacuation: Evacuation) -> None:
    images = str(pair.shared / "state")
    shared, local = pair.boot("e-1", pair.shared / "disks", location=images), pair.boot("e-2", pair.local / "disks")
    pair.guest(1, name="e-3", location=images, disks=[pair.disk("e-3", pair.shared / "disks")], state="shutoff")
    before = {name: pair.alive(address) for name, address in (("e-1", shared), ("e-2", local))}

    foretold = evacuation.run("--check", host_evacuate_serial=2)
    assert (foretold.returncode, changes(foretold)["kvm-1"] > 0) == (0, True), foretold.stdout + foretold.stderr
    assert evacuation.became() == {"e-1": ("to move", "live"), "e-2": ("to move", "live"), "e-3": ("to move", "cold")}
    assert [pair.states(name) for name in ("e-1", "e-2", "e-3")] == [("running", ""), ("running", ""), ("shut off", "")]

    # Two at a time: those that run together, and the last by itself.
    done = evacuation.run(host_evacuate_serial=2)
    assert (done.returncode, changes(done)["kvm-2"]) == (0, 0), done.stdout + done.stderr
    assert evacuation.became() == {"e-1": ("moved", "live"), "e-2": ("moved", "live"), "e-3": ("moved", "cold")}
    report = evacuation.report()
    assert (report["empty"], report["failed"], report["left"]) == (True, [], [])
    assert all(row["seconds"] > 0 and row["transferred_bytes"] > 0 for row in report["guests"] if row["mode"] == "live")
    assert "GUEST  STATUS" in done.stdout
    assert [pair.states(name) for name in ("e-1", "e-2", "e-3")] == [("", "running"), ("", "running"), ("", "shut off")]
    for name, address in (("e-1", shared), ("e-2", local)):
        now = pair.alive(address)
        assert (now.boot, now.uptime > before[name].uptime) == (before[name].boot, True)
    assert not list((evacuation.folder / "async").glob("*"))

    again = evacuation.run()
    assert (again.returncode, changes(again)) == (0, {"kvm-1": 0, "kvm-2": 0}), again.stdout + again.stderr
    assert "There is no guest to move." in again.stdout


def test_what_cannot_move_is_left_and_told_of(pair: Pair, evacuation: Evacuation) -> None:
    pair.guest(1, name="e-free", location=str(pair.shared / "state"), disks=[pair.disk("e-free", pair.shared / "disks")], state="shutoff")
    pair.guest(1, name="e-namesake", disks=[], state="shutoff")
    pair.guest(2, name="e-namesake", uuid="7e1f0000-0000-4000-8000-0000000000aa", disks=[], state="shutoff")
    pair.guest(1, name="e-large", memory_mb=8 * 1024 * 1024, disks=[], state="shutoff")
    pair.guest(1, name="e-asked", disks=[], state="shutoff")
    tied = "<domain type='qemu'><name>e-tied</name><memory>65536</memory><os><type arch='x86_64'>hvm</type></os>{}</domain>"
    directory = "<devices><filesystem type='mount'><source dir='/srv'/><target dir='data'/></filesystem></devices>"
    definition = evacuation.folder / "tied.xml"
    definition.write_text(tied.format(directory))
    pair.virsh(1, "define", str(definition))

    done = evacuation.run("-e", "evacuate_guests=e-free,e-namesake,e-large,e-tied")
    assert done.returncode != 0
    rows = {row["name"]: row for row in evacuation.report()["guests"]}
    assert {name: row["status"] for name, row in rows.items()} == {
        "e-free": "moved",
        "e-namesake": "left",
        "e-large": "left",
        "e-tied": "left",
        "e-asked": "stays",
    }
    assert re.search("kvm-1 not empty: e-large, e-namesake, e-tied could not be moved", done.stdout + done.stderr)
    assert rows["e-namesake"]["rejected"] == {"kvm-2": "has another guest of its name"}
    assert "MiB of memory in all" in rows["e-large"]["rejected"]["kvm-2"]
    assert rows["e-tied"]["reason"] == "it has the directory /srv of this host"
    assert pair.states("e-free") == ("", "shut off")

    # Those that stay are no failure where that was allowed, and a host that takes none is not asked to.
    pair.guest(1, name="e-late", disks=[], state="shutoff")
    drained = evacuation.run("-e", "evacuate_guests=e-late", host_evacuate_may_leave=True, pool_provision_drained=True)
    assert (drained.returncode, changes(drained)) == (0, {"kvm-1": 0, "kvm-2": 0}), drained.stdout + drained.stderr
    assert {row["name"]: row["rejected"] for row in evacuation.report()["guests"] if row["status"] == "left"} == {"e-late": {"kvm-2": "is drained"}}


def test_a_host_without_room_for_its_disks_is_not_chosen(pair: Pair, evacuation: Evacuation) -> None:
    """The copied disk of the one, and not the shared one of the other; what the plan cannot know `libvirt_migrate` refuses before it begins."""
    folder = pair.local / "disks"
    for name, place in (("e-1", folder), ("e-2", pair.shared / "disks")):
        pair.guest(1, name=name, disks=[{"backend": "flat", "location": str(place), "name": name, "size_gb": 0.04}], state="shutoff")
    own = pair.folder / "1" / "local" / "disks" / "e-1.raw"
    with own.open("r+b") as stream:
        stream.write(b"x" * (30 << 20))
    pair.on(2, "mkdir", "-p", str(folder))
    pair.on(2, "mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(folder))
    try:
        done = evacuation.run(host_evacuate_disk_reserve_mb=0)
        assert done.returncode != 0
        rows = {row["name"]: row for row in evacuation.report()["guests"]}
        assert {name: row["status"] for name, row in rows.items()} == {"e-1": "left", "e-2": "moved"}
        said = rows["e-1"]["rejected"]["kvm-2"]
        assert re.fullmatch(rf"has \d+ MiB left on {folder} for disks that are copied, and those of this guest take 3\d", said)
        assert said in done.stdout
        told = pair.migrate("e-1")
        assert told["code"] == "invalid_spec" and re.search(rf"kvm2 has \d+ MiB left in {folder}, and 3\d are to be copied there", told["error"]), told
        assert pair.states("e-1") == ("shut off", "")
    finally:
        pair.on(2, "umount", str(folder))
    done = evacuation.run(host_evacuate_disk_reserve_mb=0)
    assert done.returncode == 0, done.stdout + done.stderr
    assert evacuation.became() == {"e-1": ("moved", "cold")}


def test_a_guest_that_may_not_move_live_is_shut_down_for_it(pair: Pair, evacuation: Evacuation) -> None:
    address = pair.boot("e-1", pair.shared / "disks", location=str(pair.shared / "state"))
    before = pair.alive(address)
    refused = evacuation.run(host_evacuate_live=False)
    assert refused.returncode != 0
    assert evacuation.report()["guests"][0]["reason"] == "live moves are not allowed; cold moves are not allowed"
    assert pair.alive(address).boot == before.boot

    done = evacuation.run(host_evacuate_live=False, host_evacuate_cold=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert evacuation.became() == {"e-1": ("moved", "cold")}
    assert pair.states("e-1") == ("", "running")
    assert pair.alive(pair.booted(2, "e-1")).boot != before.boot


def test_a_play_that_is_killed_is_finished_by_the_next(pair: Pair, evacuation: Evacuation) -> None:
    address = pair.boot("e-1", pair.local / "disks")
    before = pair.alive(address)
    options = {"host_evacuate_bandwidth_mib": 20}
    said = evacuation.folder / "said"
    with (
        said.open("w") as out,
        subprocess.Popen(evacuation.command(**options), stdout=out, stderr=subprocess.STDOUT, env=evacuation.environment(), start_new_session=True) as running,
    ):
        deadline = time.monotonic() + 600
        while not pair.state(2, "e-1"):
            assert running.poll() is None, said.read_text()
            assert time.monotonic() < deadline, "the guest did not set out"
            time.sleep(0.05)
        os.killpg(running.pid, signal.SIGKILL)
    done = evacuation.run(**options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert pair.states("e-1") == ("", "running")
    assert pair.alive(address).boot == before.boot
    assert pair.files(1) == []


def test_the_providers_contract_holds_on_two_hosts(pair: Pair) -> None:
    """Of moving, which other labs on libvirt cannot stage."""
    chosen = ["tests/contract/test_capabilities.py", "--lab", "libvirt_pair", "-k", "moves or told_to or does_not_move or placed or was_said"]
    command = [sys.executable, "-m", "pytest", "-q", "--basetemp", str(pair.folder / "contract"), *chosen]
    done = subprocess.run(
        # Options for the tests around these, such as where their report goes, are not for these.
        [*pair.inside(1), "sh", "-c", 'cd "$0" && unset PYTEST_ADDOPTS && exec "$@"', str(ROOT), *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=3600,
    )
    assert done.returncode == 0, done.stdout
    assert "6 passed" in done.stdout


def test_the_examples_of_the_modules_run(pair: Pair, tmp_path: Path) -> None:
    pair.guest(1, name="web-1", disks=[pair.disk("web-1", pair.shared / "disks")], networks=[{"network": "default"}], state="shutoff")
    for name, found in DOCUMENTED.items():
        tasks = list(yaml.safe_load(found.EXAMPLES))
        names = [task.pop("register", "") for task in tasks]
        # `play` registers results under names of its own.
        text = json.dumps(tasks)
        for number, said in enumerate(names):
            text = re.sub(rf"\b{said}\b(?=[ .])", f"result_{number}", text) if said else text
        output, results = play(pair, 1, json.loads(text), tmp_path)
        assert [one["msg"] for one in results if one.get("failed")] == [], output
        returned = yaml.safe_load(found.RETURN)
        module = [result for task, result in zip(tasks, results) if f"poolwright.virt.{name}" in task]
        assert all(set(returned) <= set(result) for result in module)
        for key, value in returned.items():
            sample = value["sample"][0] if isinstance(value["sample"], list) else value["sample"]
            told = next((result[key][0] if isinstance(value["sample"], list) else result[key] for result in module if result[key]), None)
            if told is not None and key not in ("verdicts", "stats"):
                assert set(sample) == set(told), key
