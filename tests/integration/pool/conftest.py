# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from ansible_collections.poolwright.virt.tests.integration.pool.sites import SITES, Site, dummy_site


class Simulated(Protocol):
    """Makes a site on a dummy hypervisor with these options, in a folder of its own below the test's."""

    def __call__(self, dummy: dict[str, Any] | None = None, folder: str = "") -> Site:
        """Cleaned up when the test ends."""


@pytest.fixture
def simulated(tmp_path: Path) -> Iterator[Simulated]:
    made: list[Site] = []

    def make(dummy: dict[str, Any] | None = None, folder: str = "") -> Site:
        place = tmp_path / (folder or "dummy")
        place.mkdir()
        made.append(dummy_site(place, dummy))
        return made[-1]

    yield make
    for site in made:
        site.lab.cleanup()


@pytest.fixture(params=sorted(SITES))
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    made = SITES[request.param](tmp_path)
    yield made
    made.lab.cleanup()
