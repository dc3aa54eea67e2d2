# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A module as it is really run: the file that Ansible sends to a host, and a playbook around it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ansible_collections.poolwright.virt.tests.bench.children import Ended, run, weigh
from ansible_collections.poolwright.virt.tests.bench.figures import must

_CONFIG = Path(__file__).with_name("ansible.cfg").resolve()


class Packed:
    """One task, to be run any number of times.

    :param module: its full name.
    """

    def __init__(self, folder: Path, name: str, module: str, params: dict[str, Any]) -> None:
        self._payload = folder / f"{name}.payload.py"
        self._playbook = folder / f"{name}.json"
        self._playbook.write_text(json.dumps(play({"name": "Task", module: params})), encoding="utf-8")
        self._have_packed(folder, module)

    def process(self, environment: dict[str, str] | None = None) -> tuple[dict[str, Any], Ended]:
        """Run the module's process on the host, from its start to its end; what it says, and what it took."""
        ended = run(self.argv(), environment)
        return json.loads(ended.output), ended

    def weigh(self) -> float:
        """The peak memory of the module's process, in MB."""
        return weigh(self.argv())

    def argv(self) -> list[str]:
        return [sys.executable, str(self._payload)]

    def playbook(self) -> Ended:
        """Run ``ansible-playbook`` with this one task."""
        return playbook(self._playbook)

    def _have_packed(self, folder: Path, module: str) -> None:
        """Let Ansible pack the module with its arguments, and have the file kept in place of being run."""
        stand_in = folder / "interpreter"
        stand_in.write_text(f"#!/bin/sh\ncp \"$1\" '{self._payload}' && echo '{{}}'\n", encoding="utf-8")
        stand_in.chmod(0o755)
        playbook(self._playbook, python=str(stand_in))
        must(self._payload.exists(), f"Ansible did not pack {module}")


def play(*tasks: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"name": "Measured", "hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": list(tasks)}]


def playbook(path: Path, python: str = sys.executable, ansible: Path = Path(sys.executable).parent) -> Ended:
    """Run ``ansible-playbook`` of the environment whose programs are in ``ansible``, with modules under ``python``."""
    argv = [str(ansible / "ansible-playbook"), "-i", "localhost,", "-e", f"ansible_python_interpreter={python}", str(path)]
    return run(argv, {"ANSIBLE_CONFIG": str(_CONFIG)})


def nothing(folder: Path) -> Path:
    """A playbook that does nothing on the host: Ansible's own time."""
    path = folder / "nothing.json"
    path.write_text(json.dumps(play({"name": "Nothing", "ansible.builtin.ping": {}})), encoding="utf-8")
    return path
