# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the cases on datastores are staged with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.files import FileInfo, Site, tree
from ansible_collections.poolwright.virt.tests.contract.labs.vcenter import VCenter

CHANGING = (
    "CopyDatastoreFile_Task",
    "CopyVirtualDisk_Task",
    "CreateVirtualDisk_Task",
    "DeleteDatastoreFile_Task",
    "DeleteVirtualDisk_Task",
    "ExtendVirtualDisk_Task",
    "MakeDirectory",
    "MoveDatastoreFile_Task",
    "MoveVirtualDisk_Task",
    "PUT /folder",
)
"""All calls that change something on a datastore, as the server counts them."""


class QuickClock(Clock):
    """Sleeps a hundredth of what it is told to."""

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds / 100)


def changes(vcenter: VCenter) -> int:
    """How many calls the server has counted that change something on a datastore."""
    counted = vcenter.calls()
    return sum(counted[name] for name in CHANGING)


def names(site: Site, folder: DatastorePath, deadline: Deadline) -> list[str]:
    """All that is below a folder, relative to it."""
    return [entry.path.relative_to(folder) for entry in tree(site, folder, deadline)]


def on_disk(site: Site, path: DatastorePath) -> Path:
    """Where the lab's vCenter keeps it on this machine."""
    return Path(str(site.datastore(path).properties["summary.url"])).joinpath(*path.parts)


def put(site: Site, path: DatastorePath, content: bytes) -> DatastorePath:
    """Have a file there without asking the vCenter."""
    place = on_disk(site, path)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    return path


@contextmanager
def never_called(vcenter: VCenter) -> Iterator[None]:
    """Nothing is changed inside, by the server's count."""
    before = changes(vcenter)
    yield
    assert changes(vcenter) == before


def found(listed: list[FileInfo], name: str) -> FileInfo:
    return next(entry for entry in listed if entry.path.basename == name)


Act = Callable[[], Any]
