# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``vm_pool`` as it is really run, and the code inside alone."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.poolwright.virt.plugins.module_utils.argspec import pool_options, provider_options, run_options
from ansible_collections.poolwright.virt.plugins.module_utils.pool.request import converge_with
from ansible_collections.poolwright.virt.tests.bench.children import Ended
from ansible_collections.poolwright.virt.tests.bench.figures import must
from ansible_collections.poolwright.virt.tests.bench.packed import Packed

MODULE = "poolwright.virt.vm_pool"


class PoolModule:
    """One task of ``vm_pool``, to be run any number of times."""

    def __init__(self, folder: Path, name: str, params: dict[str, Any]) -> None:
        validated = ArgumentSpecValidator(
            {**provider_options(), **run_options(), "pools": {"type": "list", "elements": "dict", "default": [], "options": pool_options()}}
        ).validate(params)
        must(not validated.error_messages, f"{MODULE}: {validated.error_messages}")
        self._params = validated.validated_parameters
        self._packed = Packed(folder, name, MODULE, params)

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
        result, ended = self._packed.process(environment)
        return finished(result), ended

    def weigh(self) -> float:
        """The peak memory of the module's process, in MB."""
        return self._packed.weigh()

    def argv(self) -> list[str]:
        return self._packed.argv()

    def playbook(self) -> Ended:
        """Run ``ansible-playbook`` with this one task."""
        return self._packed.playbook()


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
