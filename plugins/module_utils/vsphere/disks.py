# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Virtual disks on datastores, always as a whole: the descriptor ``x.vmdk`` stands for itself and its extents.

Paths are those of descriptors. Answers that were lost, deadlines and errors are as in ``files.py``. What is made anew (``create_disk``,
``copy_disk``) should get a name of its own and be moved into place: after a lost answer, a disk of that name counts as made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.binding import library
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import FileMissing
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.files import PHASE, Site, exactly, stat, surely

DISK_TYPES = ("preallocated", "thin", "eagerZeroedThick")
"""What ``disk_type`` may be: in vSphere's words, the first is thick and zeroed as it is written."""

ADAPTERS = ("ide", "busLogic", "lsiLogic")
"""What a descriptor may have for ``adapter``. Disks for lsiLogicsas and paraVirtual controllers have ``lsiLogic``."""


@dataclass(frozen=True)
class DiskInfo:
    """What is known of a disk beside its files: ``capacity_kb`` in KiB, ``thin``; None and "" where the server does not say."""

    capacity_kb: int | None = None
    thin: bool | None = None
    controller: str = ""


def create_disk(site: Site, path: DatastorePath, size_kb: int, deadline: Deadline, *, disk_type: str = "thin", adapter: str = "lsiLogic") -> None:
    """Make an empty disk; its folder has to be there. :raises FileExists: the disk is there."""
    spec = library().vim.VirtualDiskManager.FileBackedVirtualDiskSpec(diskType=disk_type, adapterType=adapter, capacityKb=size_kb)
    _run(site, "CreateVirtualDisk_Task", path, deadline, lambda: stat(site, path, deadline) is not None, name=str(path), datacenter=site.datacenter, spec=spec)


def copy_disk(
    site: Site,
    source: DatastorePath,
    target: DatastorePath,
    deadline: Deadline,
    *,
    to: Site | None = None,
    force: bool = False,
    disk_type: str = "",
    adapter: str = "lsiLogic",
) -> None:
    """Copy a disk; a sparse one becomes one that a machine can use. The folder it goes to has to be there.

    :param to: the datacenter of the target, where it is another.
    :param disk_type: one of ``DISK_TYPES``; "" leaves it to vCenter, which then ignores ``adapter`` too.
    :raises FileExists: the target is there, and ``force`` is not set.   :raises FileMissing: the source is not there.
    """
    there = to or site
    kinds = library().vim.VirtualDiskManager
    spec = kinds.VirtualDiskSpec(diskType=disk_type, adapterType=adapter) if disk_type else None
    before = stat(there, target, deadline) if force else None

    def done() -> bool:
        return before is None and stat(there, target, deadline) is not None

    _run(site, "CopyVirtualDisk_Task", target, deadline, done, **_from_to(site, source, there, target), destSpec=spec, force=force)


def move_disk(site: Site, source: DatastorePath, target: DatastorePath, deadline: Deadline, *, to: Site | None = None, force: bool = False) -> None:
    """Move or rename a disk. :raises FileExists: the target is there.   :raises FileMissing: the source is not."""
    there = to or site

    def done() -> bool:
        return stat(site, source, deadline) is None and stat(there, target, deadline) is not None

    _run(site, "MoveVirtualDisk_Task", target, deadline, done, **_from_to(site, source, there, target), force=force)


def delete_disk(site: Site, path: DatastorePath, deadline: Deadline) -> bool:
    """Delete a disk with its extents. False if it was gone."""
    try:
        _run(site, "DeleteVirtualDisk_Task", path, deadline, lambda: stat(site, path, deadline) is None, name=str(path), datacenter=site.datacenter)
    except FileMissing:
        if stat(site, path, deadline) is not None:
            raise
        return False
    return True


def extend_disk(site: Site, path: DatastorePath, size_kb: int, deadline: Deadline, *, eager_zero: bool = False) -> None:
    """Make a disk ``size_kb`` KiB large. A disk never shrinks: vCenter's refusal is raised."""
    _run(
        site,
        "ExtendVirtualDisk_Task",
        path,
        deadline,
        lambda: disk_info(site, path, deadline).capacity_kb == size_kb,
        name=str(path),
        datacenter=site.datacenter,
        newCapacityKb=size_kb,
        eagerZero=eager_zero,
    )


def disk_uuid(site: Site, path: DatastorePath, deadline: Deadline) -> str:
    """:raises FileMissing: there is no such disk."""
    manager = site.vim.content.virtualDiskManager
    return str(
        site.vim.call(manager, "QueryVirtualDiskUuid", about=str(path), phase=PHASE, deadline=deadline, name=str(path), datacenter=site.datacenter) or ""
    )


def disk_info(site: Site, path: DatastorePath, deadline: Deadline) -> DiskInfo:
    """:raises FileMissing: the folder is not there. A disk that is not there has an empty answer."""
    types = library().vim.host.DatastoreBrowser
    query = types.VmDiskQuery(details=types.VmDiskQuery.Details(diskType=True, capacityKb=True, hardwareVersion=True, controllerType=True, thin=True))
    spec = types.SearchSpec(matchPattern=[exactly(path.basename)], query=[query], searchCaseInsensitive=False)
    about, folder = str(path), str(path.parent)
    found = site.vim.run(site.browser(path), "SearchDatastore_Task", deadline=deadline, about=about, phase=PHASE, datastorePath=folder, searchSpec=spec)
    info = next((one for one in found.file or () if one.path == path.basename), None)
    controller = getattr(info, "controllerType", None)
    return DiskInfo(
        getattr(info, "capacityKb", None) or None,
        getattr(info, "thin", None),
        "" if controller is None else str(getattr(controller, "_wsdlName", controller)),
    )


def _run(site: Site, method: str, path: DatastorePath, deadline: Deadline, done: Any, **arguments: Any) -> None:
    surely(site, site.vim.content.virtualDiskManager, method, str(path), deadline, done, **arguments)


def _from_to(site: Site, source: DatastorePath, there: Site, target: DatastorePath) -> dict[str, Any]:
    return {"sourceName": str(source), "sourceDatacenter": site.datacenter, "destName": str(target), "destDatacenter": there.datacenter}
