# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks as users run them, on simulated machines."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

Play = Callable[..., subprocess.CompletedProcess[str]]

POOLS = [
    {"name": "ci", "size": 3, "networks": [{"network": "default"}], "user_data": "sesame", "image": {"source": "/images/<b>&.qcow2"}, "ready": {"check": "ip"}},
    {"name": "demo", "size": 1, "prefix": "show"},
]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    return playing(tmp_path)


@pytest.fixture(scope="module")
def pools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Databases with the pools, as one run has made them."""
    folder = tmp_path_factory.mktemp("pools")
    done = playing(folder)("provision")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture
def provisioned(tmp_path: Path, pools: Path) -> None:
    for path in pools.glob("*.db"):
        shutil.copy(path, tmp_path)


def playing(tmp_path: Path) -> Play:
    """Runs a playbook of the collection on two hosts, each with a database of its own."""
    variables = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "pool_provision_provider": "dummy",
        "pool_provision_path": f"{tmp_path}/{{{{ inventory_hostname }}}}.db",
        "pool_provision_dummy": {"clock": "instant"},
        "pool_provision_spread": "{{ groups['kvm_hosts'] }}",
        "pool_provision_pools": POOLS,
    }
    inventory = tmp_path / "inventory.json"
    inventory.write_text(json.dumps({"kvm_hosts": {"hosts": {"kvm-1": {"pool_provision_weight": 2}, "kvm-2": None}, "vars": variables}}))
    program = str(Path(sys.executable).parent / "ansible-playbook")

    def run(name: str, *options: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "ANSIBLE_NOCOLOR": "true", "PWD": str(tmp_path)}
        command = [program, "-i", str(inventory), f"poolwright.virt.{name}", *options]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=3600, check=False)

    return run


def changes(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    return {host: int(count) for host, count in re.findall(r"^(kvm-\d) .* changed=(\d+) ", done.stdout, re.MULTILINE)}


def machines(folder: Path) -> dict[str, list[str]]:
    found = {}
    for path in sorted(folder.glob("*.db")):
        with closing(sqlite3.connect(path)) as database:
            found[path.stem] = [name for (name,) in database.execute("SELECT name FROM machines ORDER BY name")]
    return found


def test_provision_and_teardown(play: Play, tmp_path: Path) -> None:
    shared = {"kvm-1": ["ci-kvm-1-1", "ci-kvm-1-2", "show-kvm-1-1"], "kvm-2": ["ci-kvm-2-1"]}

    foretold = play("provision", "--check", "--diff")
    assert (foretold.returncode, changes(foretold)) == (0, {"kvm-1": 1, "kvm-2": 1}), foretold.stdout + foretold.stderr
    assert "+  ci-kvm-1-2: ready" in foretold.stdout
    assert not any(machines(tmp_path).values())

    made = play("provision", "-vvv")
    assert (made.returncode, changes(made)) == (0, {"kvm-1": 1, "kvm-2": 1}), made.stdout + made.stderr
    assert machines(tmp_path) == shared
    assert "sesame" not in made.stdout + made.stderr

    # A host of its own keeps its share, and not the whole.
    limited = play("provision", "--limit", "kvm-2")
    assert (limited.returncode, changes(limited)) == (0, {"kvm-2": 0})

    unnamed = play("teardown")
    assert unnamed.returncode != 0
    assert "pool_provision_remove" in unnamed.stdout + unnamed.stderr
    assert machines(tmp_path) == shared

    assert play("teardown", "-e", "teardown_pools=demo", "--check").returncode == 0
    assert machines(tmp_path) == shared
    assert play("teardown", "-e", "teardown_pools=demo").returncode == 0
    assert machines(tmp_path) == {"kvm-1": ["ci-kvm-1-1", "ci-kvm-1-2"], "kvm-2": ["ci-kvm-2-1"]}
    assert play("teardown", "-e", "teardown_all=true").returncode == 0
    assert not any(machines(tmp_path).values())
    assert changes(play("teardown", "-e", "teardown_all=true")) == {"kvm-1": 0, "kvm-2": 0}


@pytest.mark.any_core
@pytest.mark.usefixtures("provisioned")
def test_a_drained_host_gets_no_machines_and_the_others_take_its_part(play: Play, tmp_path: Path) -> None:
    inventory = tmp_path / "inventory.json"
    drained = json.loads(inventory.read_text())
    drained["kvm_hosts"]["hosts"]["kvm-1"]["pool_provision_drained"] = True
    inventory.write_text(json.dumps(drained))

    done = play("provision")
    assert (done.returncode, changes(done)) == (0, {"kvm-1": 1, "kvm-2": 1}), done.stdout + done.stderr
    assert machines(tmp_path) == {"kvm-1": [], "kvm-2": ["ci-kvm-2-1", "ci-kvm-2-2", "ci-kvm-2-3", "show-kvm-2-1"]}
    assert "ci: 3 of 3 ready" in play("report").stdout
    assert changes(play("provision")) == {"kvm-1": 0, "kvm-2": 0}

    # Where hosts share nothing, nobody could take its machines over: they stay as they are.
    alone = play("provision", "-e", '{"pool_provision_spread": []}', "--limit", "kvm-1")
    assert (alone.returncode, changes(alone)) == (0, {"kvm-1": 0}), alone.stdout + alone.stderr
    assert machines(tmp_path)["kvm-1"] == []


@pytest.mark.usefixtures("provisioned")
def test_report(play: Play, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "kvm-1.db", isolation_level=None)) as database:
        database.execute("DELETE FROM machines WHERE name = 'ci-kvm-1-2'")

    done = play("report")
    assert (done.returncode, changes(done)) == (0, {"kvm-1": 0, "kvm-2": 0}), done.stdout + done.stderr
    assert "ci: 2 of 3 ready, 1 missing" in done.stdout
    page = (tmp_path / "pool-report.html").read_text(encoding="utf-8")
    assert all(text in page for text in ("3 of 4 ready", "ci-kvm-1-1", "ci-kvm-2-1", "show-kvm-1-1", "1 missing"))
    # It stands for itself, and takes nothing of the machines for markup.
    assert not re.search(r"<script|<link|<img|<b>|url\(|https?:", page)
    assert "&lt;b&gt;&amp;.qcow2" in page

    named = play("report", "-e", "report_pools=demo", "-e", "report_path=named.html")
    assert named.returncode == 0
    assert "ci-kvm" not in named.stdout
    assert (tmp_path / "named.html").is_file()


@pytest.mark.usefixtures("provisioned")
def test_a_host_that_cannot_be_read_is_on_the_page_and_fails_the_play(play: Play, tmp_path: Path) -> None:
    (tmp_path / "kvm-2.db").unlink()
    (tmp_path / "kvm-2.db").mkdir()
    done = play("report")
    assert done.returncode != 0
    assert "these hosts could not be read: kvm-2" in done.stdout + done.stderr
    page = (tmp_path / "pool-report.html").read_text(encoding="utf-8")
    assert "ci-kvm-1-1" in page
    assert "kvm-2 could not be read." in page
