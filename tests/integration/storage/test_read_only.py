# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Directories that cannot be written to: whatever is asked, it is said which disk it was about, and nothing is lost."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.disks import blank
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.registry import disk_image
from ansible_collections.poolwright.virt.tests.contract.imagebackend.staging import MIB, Supplies
from ansible_collections.poolwright.virt.tests.integration.storage.conftest import tool


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "mounted"
    place.mkdir()
    tool("mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(place))
    yield place
    tool("umount", str(place))


@pytest.mark.parametrize("backend", ["flat", "qcow2", "ploop"])
def test_all_that_writes_is_refused_with_the_disks_name(mounted: Path, supplies: Supplies, soon: Deadline, backend: str) -> None:
    disk = disk_image(backend, str(mounted), "web-1_root")
    other = disk_image(backend, str(mounted), "web-2_root")
    record = disk.create_from_image(supplies.image, 9 * MIB, soon)
    disk.snapshot_create(record, "clean", soon)
    tool("mount", "-o", "remount,ro", str(mounted))
    attempts = [
        lambda: other.create_from_image(supplies.image, None, soon),
        lambda: other.create_from_func(blank, MIB, soon),
        lambda: other.create_from_stream(io.BytesIO(b"x" * 512), 512, soon),
        lambda: disk.resize(record, 60 * MIB, soon),
        lambda: disk.snapshot_create(record, "later", soon),
        lambda: disk.snapshot_revert(record, "clean", soon),
        lambda: disk.snapshot_delete("clean", soon),
        lambda: disk.note().write("text", soon),
        lambda: disk.remove(soon),
    ]
    for number, attempt in enumerate(attempts):
        with pytest.raises(VirtError) as caught:
            attempt()
        assert "web-" in str(caught.value), (number, str(caught.value))
        assert "ead-only file system" in str(caught.value), (number, str(caught.value))
        assert caught.value.hint, (number, str(caught.value))
        assert ".part" not in str(caught.value), (number, str(caught.value))
    assert (disk.exists(soon), other.exists(soon), disk.snapshot_list(soon)) == (True, False, ["clean"])
    tool("mount", "-o", "remount,rw", str(mounted))
    disk.snapshot_revert(record, "clean", soon)
    found = io.BytesIO()
    disk.read_to(record, found, soon)
    assert found.getvalue() == supplies.data.ljust(9 * MIB, b"\0")
    assert disk.remove(soon)
    assert list(mounted.iterdir()) == []
