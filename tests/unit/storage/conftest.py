# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures of the disks' tests: the images' own, and runs of ``disk_backend`` in a folder."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.storage.request import module_options
from ansible_collections.poolwright.virt.plugins.module_utils.storage.run import disks_with
from ansible_collections.poolwright.virt.tests.unit.images.fixtures import disk_bytes, qcow2_image, qemu, raw_image, small_disk, web
from ansible_collections.poolwright.virt.tests.unit.storage.filled import filled

__all__ = ["disk_bytes", "qcow2_image", "qemu", "raw_image", "small_disk", "web"]


class Runs:
    """Runs of the module for the disk ``web-1_root``, flat in ``folder / "disks"`` where nothing else is said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.disks = folder / "disks"
        self.cancel = threading.Event()

    def run(self, *, check: bool = False, **options: Any) -> dict[str, Any]:
        place = {} if "disks" in options else {"backend": "flat", "location": str(self.disks), "name": "web-1_root"}
        given = {"cache": str(self.folder / "images"), "timeout": 600, **place, **options}
        return disks_with(filled(module_options(), given), check, self.cancel)


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)
