# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``vm_pool`` as it is really run: the file that Ansible sends to a host, a playbook around it, and the code inside alone."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.poolwright.virt.plugins.module_utils.argspec import pool_options, provider_options, run_options
from ansible_collections.poolwright.virt.plugins.module_utils.pool.request import converge_with
from ansible_collections.poolwright.virt.tests.bench.children import Ended, run, weigh
from ansible_collections.poolwright.virt.tests.bench.figures import must

MODULE = "poolwright.virt.vm_pool"
_CONFIG = Path(__file__).with_name("ansible.cfg").resolve()


class PoolModule:
    """One task of ``vm_pool``, to be run any number of times."""

    def __init__(self, folder: Path, name: str, params: dict[str, Any]) -> None:
        self._payload = folder / f"{name}.payload.py"
        self._playbook = folder / f"{name}.json"
        validated = ArgumentSpecValidator(
            {**provider_options(), **run_options(), "pools": {"type": "list", "elements": "dict", "default": [], "options": pool_options()}}
        ).validate(params)
        must(not validated.error_messages, f"{MODULE}: {validated.error_messages}")
        self._params = validated.validated_parameters
        self._playbook.write_text(json.dumps(play({"name": "Pools", MODULE: params})), encoding="utf-8")
        self._have_packed(folder)

    def inside(self) -> dict[str, Any]:
        """Run what is inside the module, in this process."""
        return finished(converge_with(self._params, False, threading.Event()))

    def check(self) -> dict[str, Any]:
        """The same in check mode."""
        result = converge_with(self._params, True, threading.Event())
        must(not result["failures"], f"{MODULE}: {result['failures']}")
        return result

    def process(self, environment: dict[str, str] | None = None) -> tuple[dict[str, Any], Ended]:
        """Run the module's process on the host, from its start to its end."""
        ended = run(self.argv(), environment)
        return finished(json.loads(ended.output)), ended

    def weigh(self) -> float:
        """The peak memory of the module's process, in MB."""
        return weigh(self.argv())

    def argv(self) -> list[str]:
        return [sys.executable, str(self._payload)]

    def playbook(self) -> Ended:
        """Run ``ansible-playbook`` with this one task."""
        return playbook(self._playbook)

    def _have_packed(self, folder: Path) -> None:
        """Let Ansible pack the module with its arguments, and have the file kept in place of being run."""
        stand_in = folder / "interpreter"
        stand_in.write_text(f"#!/bin/sh\ncp \"$1\" '{self._payload}' && echo '{{}}'\n", encoding="utf-8")
        stand_in.chmod(0o755)
        playbook(self._playbook, python=str(stand_in))
        must(self._payload.exists(), f"Ansible did not pack {MODULE}")


def finished(result: dict[str, Any]) -> dict[str, Any]:
    """:raises Wrong: something failed."""
    must(not result.get("failures"), f"{MODULE}: {result.get('failures')}")
    for name, pool in result["pools"].items():
        ours = sum(machine["state"] != "foreign" for machine in pool["machines"])
        must(pool["ready"] == pool["size"] == ours, f"{MODULE}: of {pool['size']} machines of {name}, {ours} are there and {pool['ready']} ready")
    return result


def unchanged(results: Iterable[dict[str, Any]]) -> None:
    """:raises Wrong: one of these runs did something."""
    must(not any(result["changed"] or result["actions"] for result in results), "a converged run changed something")


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
