# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Modules as users run them: through ``ansible-playbook``, whichever ansible-core this Python has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Played:
    """What a play printed, and what its tasks returned, in order; a task that failed ends the play unless it was rescued."""

    status: int
    output: str
    results: list[dict[str, Any]]


class Ansible:
    """Runs plays on this machine, in a folder of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = str(folder / "pools.db")
        self.interpreter = sys.executable  # what modules run with

    def play(self, *tasks: dict[str, Any], options: tuple[str, ...] = (), defaults: dict[str, Any] | None = None) -> Played:
        """Run these tasks one after the other, each whether or not those before it failed."""
        results = self.folder / "results.json"
        results.unlink(missing_ok=True)
        steps: list[dict[str, Any]] = [{**task, "register": f"result_{number}", "ignore_errors": True} for number, task in enumerate(tasks)]
        names = ", ".join(f"result_{number}" for number in range(len(tasks)))
        told = {"content": f"{{{{ [{names}] | to_json }}}}", "dest": str(results), "mode": "0600"}
        steps.append({"ansible.builtin.copy": told, "check_mode": False, "diff": False, "no_log": True})
        play = {"hosts": "localhost", "gather_facts": False, "tasks": steps, "module_defaults": defaults or {}}
        book = self.folder / "play.yml"
        book.write_text(json.dumps([play]))
        done = self.run("ansible-playbook", str(book), *options)
        return Played(done.returncode, done.stdout + done.stderr, json.loads(results.read_text()) if results.exists() else [])

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        inventory = self.folder / "inventory.yml"
        host = {"ansible_connection": "local", "ansible_python_interpreter": self.interpreter}
        inventory.write_text(json.dumps({"all": {"hosts": {"localhost": host}}}))
        environment = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": os.environ["ANSIBLE_COLLECTIONS_PATH"],
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_NOCOLOR": "true",
            "ANSIBLE_HOME": str(self.folder / "home"),
        }
        return subprocess.run(
            [str(BIN / program), *arguments, "-i", str(inventory)], capture_output=True, text=True, check=False, env=environment, cwd=self.folder
        )

    def pool(self, **options: Any) -> dict[str, Any]:
        """A task that keeps the pool ``ci`` on the dummy provider."""
        entry = {"name": "ci", "size": 2, **options}
        return {"poolwright.virt.vm_pool": {"provider": "dummy", "path": self.database, "pools": [entry]}}


@pytest.fixture
def ansible(tmp_path: Path) -> Ansible:
    return Ansible(tmp_path)
