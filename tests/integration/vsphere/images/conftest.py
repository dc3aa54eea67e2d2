# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A vCenter with two datastores, images in all forms, and a cache folder of its own for every case."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.files import Site
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.cache import DatastoreImageCache
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.settings import Settings
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Inventory
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.transfer import Transfer
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.vim import VIM
from ansible_collections.poolwright.virt.tests.contract.labs.vcenter import VCenter
from ansible_collections.poolwright.virt.tests.integration.vsphere.datastores.staging import QuickClock
from ansible_collections.poolwright.virt.tests.integration.vsphere.images.staging import Shelf, make_images
from ansible_collections.poolwright.virt.tests.unit.images.fixtures import start_python, web

__all__ = ["start_python", "web"]


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VCenter]:
    lab = VCenter(Path(tmp_path_factory.mktemp("images")))
    lab.start("-ds", "2", "-cluster", "1", "-vm", "1")
    try:
        yield lab
    finally:
        lab.stop()


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_images(Path(tmp_path_factory.mktemp("forms")))


@pytest.fixture
def clock() -> Clock:
    return QuickClock()


@pytest.fixture
def stats(clock: Clock) -> Stats:
    return Stats(clock)


@pytest.fixture
def vim(vcenter: VCenter, clock: Clock, stats: Stats) -> Iterator[VIM]:
    with vcenter.vim(clock=clock, stats=stats) as made:
        yield made


@pytest.fixture
def site(vim: VIM) -> Site:
    return Site(vim, Inventory(vim))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(folder=f"cache-{uuid.uuid4().hex[:8]}", scratch=str(tmp_path / "scratch"), beat=0.2, dead=1.0, poll=10.0)


@pytest.fixture
def new_cache(site: Site, clock: Clock, stats: Stats, settings: Settings) -> Callable[[], DatastoreImageCache]:
    """A cache as another run would have it: same folder, nothing remembered."""
    return lambda: DatastoreImageCache(site.vim, site.inventory, Transfer(site, stats=stats), clock, stats, settings=settings)


@pytest.fixture
def shelf(vcenter: VCenter, site: Site, clock: Clock, new_cache: Callable[[], DatastoreImageCache]) -> Shelf:
    """What its making took is not counted."""
    made = Shelf(vcenter, new_cache(), site.inventory.datastore("LocalDS_0"), Transfer(site), clock)
    vcenter.forget_calls()
    return made
