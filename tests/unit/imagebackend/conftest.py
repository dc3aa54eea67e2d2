# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures of the disk tests: the images' own, and the images in a cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import CachedImage, ImageCache
from ansible_collections.poolwright.virt.plugins.module_utils.images.source import ImageSource
from ansible_collections.poolwright.virt.tests.unit.images.fixtures import (
    cache,
    clock,
    disk_bytes,
    files_below,
    forks,
    qcow2_image,
    qemu,
    raw_image,
    run_killed_at,
    small_disk,
    soon,
    start_python,
)

# Imported, a fixture is there for the tests beside this file.
__all__ = ["cache", "clock", "disk_bytes", "files_below", "forks", "qcow2_image", "qemu", "raw_image", "run_killed_at", "small_disk", "soon", "start_python"]


@pytest.fixture(params=["qcow2", "raw"])
def image(request: pytest.FixtureRequest, cache: ImageCache, soon: Deadline) -> CachedImage:
    """The same disk, cached in either format."""
    path: Path = request.getfixturevalue(f"{request.param}_image")
    return cache.ensure(ImageSource(str(path), None, request.param), soon)
