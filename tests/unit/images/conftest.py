# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures of the image tests."""

from __future__ import annotations

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
    sha256,
    small_disk,
    soon,
    start_python,
    web,
)

# Imported, a fixture is there for the tests beside this file.
__all__ = [
    "cache",
    "clock",
    "disk_bytes",
    "files_below",
    "forks",
    "qcow2_image",
    "qemu",
    "raw_image",
    "run_killed_at",
    "sha256",
    "small_disk",
    "soon",
    "start_python",
    "web",
]
