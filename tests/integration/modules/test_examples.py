# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The examples in the modules' documentation run as they stand, where they need no hypervisor."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import yaml

from ansible_collections.poolwright.virt.tests.integration.modules.conftest import Ansible

MODULES = ["vm_pool", "vm_pool_info"]


def examples(module: str) -> list[dict[str, Any]]:
    found = importlib.import_module(f"ansible_collections.poolwright.virt.plugins.modules.{module}")
    return list(yaml.safe_load(found.EXAMPLES))


@pytest.mark.any_core
@pytest.mark.parametrize("module", MODULES)
def test_the_dummy_examples_run_and_every_documented_sample_names_what_is_returned(ansible: Ansible, module: str) -> None:
    name = f"poolwright.virt.{module}"
    tasks = []
    for task in examples(module):
        if task.get(name, {}).get("provider") == "dummy":
            tasks.append({**task, name: {**task[name], "path": ansible.database}})
    assert tasks
    pool = ansible.pool(size=1)
    of_its_own = str(ansible.folder / "sample.db")
    pool["poolwright.virt.vm_pool"]["path"] = of_its_own
    played = ansible.play(*tasks, pool, pool if module == "vm_pool" else {name: {"provider": "dummy", "path": of_its_own}})
    assert played.status == 0
    assert [result.get("msg", "") for result in played.results if result.get("failed")] == []

    documented = yaml.safe_load(importlib.import_module(f"ansible_collections.poolwright.virt.plugins.modules.{module}").RETURN)
    result = played.results[-1]
    returned = {key: value for key, value in documented.items() if "success" in value["returned"]}
    assert set(returned) <= set(result)
    assert set(returned["pools"]["sample"]["ci"]) == set(result["pools"]["ci"])
    assert set(returned["pools"]["sample"]["ci"]["machines"][0]) == set(result["pools"]["ci"]["machines"][0])
