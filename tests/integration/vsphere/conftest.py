# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""One vCenter for all cases of this folder; for each it is calm and its counts are at zero."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.vim import VIM
from ansible_collections.poolwright.virt.tests.contract.labs.vcenter import VCenter
from ansible_collections.poolwright.virt.tests.integration.vsphere.spawning import Spawning
from ansible_collections.poolwright.virt.tests.integration.vsphere.staging import TASK_SECONDS, Inventory


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VCenter]:
    lab = VCenter(Path(tmp_path_factory.mktemp("vcenter")))
    lab.start("-vm", "3", "-task-delay", f"CloneVm:{TASK_SECONDS * 1000:.0f},Rename:{TASK_SECONDS * 1000:.0f}")
    try:
        yield lab
    finally:
        lab.stop()


@pytest.fixture
def vcenter(started: VCenter) -> Iterator[VCenter]:
    started.calm()
    started.forget_calls()
    yield started
    started.calm()


@pytest.fixture
def vim(vcenter: VCenter) -> Iterator[VIM]:
    with vcenter.vim() as made:
        yield made


@pytest.fixture
def inventory(vcenter: VCenter, vim: VIM) -> Inventory:
    """Logged in; what that took is not counted."""
    made = Inventory(vim)
    vcenter.forget_calls()
    return made


@pytest.fixture(scope="session")
def prompt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VCenter]:
    """One that takes no time for anything."""
    lab = VCenter(Path(tmp_path_factory.mktemp("prompt")))
    lab.start("-vm", "3", "-ds", "2")
    try:
        yield lab
    finally:
        lab.stop()


@pytest.fixture
def spawning(prompt: VCenter) -> Iterator[Spawning]:
    prompt.calm()
    yield Spawning(prompt)
    prompt.calm()
