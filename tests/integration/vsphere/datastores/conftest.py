# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A vCenter with two datacenters of two datastores each, and a folder of its own for every case."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.files import Site, make_directory
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Inventory
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.vim import VIM
from ansible_collections.poolwright.virt.tests.contract.labs.vcenter import VCenter
from ansible_collections.poolwright.virt.tests.integration.vsphere.datastores.staging import QuickClock


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VCenter]:
    lab = VCenter(Path(tmp_path_factory.mktemp("datastores")))
    lab.start("-dc", "2", "-ds", "2", "-cluster", "1", "-vm", "1")
    try:
        yield lab
    finally:
        lab.stop()


@pytest.fixture
def clock() -> QuickClock:
    return QuickClock()


@pytest.fixture
def stats(clock: QuickClock) -> Stats:
    return Stats(clock)


@pytest.fixture
def vim(vcenter: VCenter, clock: QuickClock, stats: Stats) -> Iterator[VIM]:
    with vcenter.vim(clock=clock, stats=stats) as made:
        yield made


@pytest.fixture
def site(vim: VIM) -> Site:
    return Site(vim, Inventory(vim, "DC0"))


@pytest.fixture
def other(vim: VIM) -> Site:
    """The other datacenter, whose datastores have names of their own."""
    return Site(vim, Inventory(vim, "DC1"))


@pytest.fixture
def deadline(clock: QuickClock) -> Deadline:
    return Deadline.after(clock, 60.0)


@pytest.fixture
def folder(site: Site, deadline: Deadline, vcenter: VCenter) -> DatastorePath:
    """What its making took is not counted."""
    made = DatastorePath("LocalDS_0", (f"case-{uuid.uuid4().hex[:8]}",))
    make_directory(site, made, deadline)
    vcenter.forget_calls()
    return made
