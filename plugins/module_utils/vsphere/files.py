# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Files and folders on datastores: list, make, copy, move, delete. Virtual disks are more than one file: see ``disks.py``.

What changes something survives a lost answer: it is looked whether it was done, and only what was not is sent again. All times are
bounded by a deadline, all errors typed: ``FileMissing``, ``FileExists``, ``Busy`` (locked), ``InsufficientResources`` (no space),
``PermissionDenied``, ``NotFound`` and ``Ambiguous`` for the datastore itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Callable

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import DeadlineExceeded, MaybeApplied, OperationFailed
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.binding import library
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.disk_names import is_extent
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import FileExists, FileMissing, ObjectGone
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Entry, Inventory
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.vim import VIM

PHASE = "datastore"

# What a kind of file is called here, by the type that the browser gives it; any other is a "file".
_KINDS = {
    "FolderFileInfo": "folder",
    "VmDiskFileInfo": "disk",
    "IsoImageFileInfo": "iso",
    "FloppyImageFileInfo": "floppy",
    "VmConfigFileInfo": "config",
    "TemplateConfigFileInfo": "template",
    "VmLogFileInfo": "log",
    "VmNvramFileInfo": "nvram",
    "VmSnapshotFileInfo": "snapshot",
}
# They mean something in the browser's patterns, there or in the lab's vCenter.
_MARKS = "*?[]\\"
_ATTEMPTS = 5


@dataclass(frozen=True)
class Site:
    """A datacenter of a vCenter, whose datastores are worked on."""

    vim: VIM
    inventory: Inventory

    @property
    def clock(self) -> Clock:
        return self.vim.clock

    @property
    def datacenter(self) -> Any:
        """The datacenter's managed object."""
        return self.inventory.datacenter.obj

    def datastore(self, path: DatastorePath) -> Entry:
        """:raises NotFound, Ambiguous: the path's datastore is not there, or not the only one."""
        return self.inventory.datastore(path.datastore)

    def browser(self, path: DatastorePath) -> Any:
        return self.datastore(path).properties["browser"]


@dataclass(frozen=True)
class FileInfo:
    """What a datastore's browser says about a file or folder.

    ``size`` is in bytes, as much as the file takes; ``owner`` is "" where the datastore has none. ``kind`` is file, folder, disk (a virtual
    disk's descriptor), extent, iso, floppy, config, template, log, nvram or snapshot.
    """

    path: DatastorePath
    size: int = 0
    modified: datetime | None = None
    kind: str = "file"
    owner: str = ""

    @property
    def is_folder(self) -> bool:
        return self.kind == "folder"


def listing(site: Site, path: DatastorePath, deadline: Deadline, *, pattern: str = "*", details: bool = True) -> list[FileInfo]:
    """What is in a folder and fits the pattern (``*`` and ``?``), sorted. One task.

    :param details: with sizes, times and owners, which takes a large datastore longer.
    :raises FileMissing: there is no such folder.
    """
    return _found(_search(site, "SearchDatastore_Task", path, deadline, pattern, details))


def tree(site: Site, path: DatastorePath, deadline: Deadline, *, details: bool = True) -> list[FileInfo]:
    """Everything below a folder, at any depth, sorted. One task. :raises FileMissing: there is no such folder."""
    return _found(_search(site, "SearchDatastoreSubFolders_Task", path, deadline, "*", details))


def stat(site: Site, path: DatastorePath, deadline: Deadline) -> FileInfo | None:
    """What has exactly this path; None where nothing has, or the folder it would be in is not there.

    The root of a datastore is a folder.
    """
    if path.is_root:
        site.datastore(path)
        return FileInfo(path, kind="folder")
    there = beside(site, path, deadline, pattern=exactly(path.basename))
    return next((entry for entry in there if entry.path == path), None)


def beside(site: Site, path: DatastorePath, deadline: Deadline, *, pattern: str) -> list[FileInfo]:
    """``listing`` of the folder that a path is in, empty where that is not there or is no folder. Not for a root: ``ValueError``."""
    above = path.parent
    try:
        return listing(site, above, deadline, pattern=pattern)
    except FileMissing:
        return []
    except OperationFailed:
        # Which fault it is when a file is listed differs from server to server.
        found = None if above.is_root else stat(site, above, deadline)
        if found is None or found.is_folder:
            raise
        return []


def sub_folders(site: Site, path: DatastorePath, deadline: Deadline) -> list[DatastorePath]:
    """The folders directly in a folder, sorted; none where it is not there itself."""
    try:
        return [entry.path for entry in listing(site, path, deadline) if entry.is_folder]
    except FileMissing:
        return []


def make_directory(site: Site, path: DatastorePath, deadline: Deadline) -> None:
    """Make a folder and those above it. Fine if it is there, whoever made it.

    :raises FileExists: a file has its name.
    """
    if path.is_root:
        site.datastore(path)
        return
    try:
        site.vim.call(
            site.vim.content.fileManager,
            "MakeDirectory",
            idempotent=True,
            about=str(path),
            phase=PHASE,
            deadline=deadline,
            name=str(path),
            datacenter=site.datacenter,
            createParentDirectories=True,
        )
    except FileExists:
        found = stat(site, path, deadline)
        if found is not None and not found.is_folder:
            raise


def delete_file(site: Site, path: DatastorePath, deadline: Deadline) -> bool:
    """Delete a file, or a folder with all that is in it. False if it was gone. Never a root: ``ValueError``."""
    if path.is_root:
        raise ValueError(f"{path} is the root of a datastore")
    try:
        _changed(site, "DeleteDatastoreFile_Task", path, deadline, lambda: stat(site, path, deadline) is None, name=str(path), datacenter=site.datacenter)
    except FileMissing:
        return False
    return True


def copy_file(site: Site, source: DatastorePath, target: DatastorePath, deadline: Deadline, *, to: Site | None = None, force: bool = False) -> None:
    """Copy a file. The folder it goes to has to be there.

    :param to: the datacenter of the target, where it is another.   :param force: replace what is there.
    :raises FileExists: the target is there.   :raises FileMissing: the source, or the target's folder, is not.
    """
    there = to or site
    before = stat(there, target, deadline) if force else None

    def done() -> bool:
        copy, original = stat(there, target, deadline), stat(site, source, deadline)
        # Whether what is replaced was replaced cannot be seen, so it is done once more.
        return before is None and copy is not None and original is not None and copy.size == original.size

    _changed(site, "CopyDatastoreFile_Task", target, deadline, done, **_from_to(site, source, there, target), force=force)


def move_file(site: Site, source: DatastorePath, target: DatastorePath, deadline: Deadline, *, to: Site | None = None, force: bool = False) -> None:
    """Move a file or a folder: within a datastore at once, as one step that nobody sees half done.

    :param to: the datacenter of the target, where it is another.   :param force: replace a file that is there.
    :raises FileExists: the target is there: somebody else was first.   :raises FileMissing: the source, or the target's folder, is not there.
    """
    there = to or site

    def done() -> bool:
        return stat(site, source, deadline) is None and stat(there, target, deadline) is not None

    _changed(site, "MoveDatastoreFile_Task", target, deadline, done, **_from_to(site, source, there, target), force=force)


def exactly(name: str) -> str:
    """A pattern for the browser that fits this name, and few others: compare what it finds."""
    return "".join("?" if letter in _MARKS else letter for letter in name)


def surely(site: Site, obj: Any, method: str, about: str, deadline: Deadline, done: Callable[[], bool], **arguments: Any) -> Any:
    """Run a task that changes something; after a lost answer, see whether it was ``done``, and run it again only if it was not.

    Returns what the task returned, None where its answer was lost.
    """
    lost = 0
    while True:
        try:
            return site.vim.run(obj, method, deadline=deadline, about=about, phase=PHASE, **arguments)
        except MaybeApplied:
            lost += 1
            until_quiet(site, deadline)
            if done():
                return None
            if lost >= _ATTEMPTS or deadline.passed:
                raise
        except (FileExists, FileMissing):
            # The call before this one came through after all.
            if lost and done():
                return None
            raise


def until_quiet(site: Site, deadline: Deadline) -> None:
    """Wait until vCenter runs no task on files or disks that it may have begun for us: only then does a look tell what it did."""
    recent = site.vim.get_properties(site.vim.content.taskManager, ["recentTask"], phase=PHASE).get("recentTask") or []
    for found in site.vim.get_many(recent, ["info.state", "info.descriptionId"], phase=PHASE):
        what = str(found.properties.get("info.descriptionId", "")).lower()
        if found.properties.get("info.state") in ("queued", "running") and ("filemanager" in what or "virtualdiskmanager" in what):
            try:
                site.vim.wait_for_properties(found.obj, ["info.state"], lambda values: values.get("info.state") in ("success", "error"), deadline, phase=PHASE)
            except (ObjectGone, DeadlineExceeded):
                continue


def _changed(site: Site, method: str, path: DatastorePath, deadline: Deadline, done: Callable[[], bool], **arguments: Any) -> None:
    surely(site, site.vim.content.fileManager, method, str(path), deadline, done, **arguments)


def _from_to(site: Site, source: DatastorePath, there: Site, target: DatastorePath) -> dict[str, Any]:
    return {
        "sourceName": str(source),
        "sourceDatacenter": site.datacenter,
        "destinationName": str(target),
        "destinationDatacenter": there.datacenter,
    }


def _search(site: Site, method: str, path: DatastorePath, deadline: Deadline, pattern: str, details: bool) -> list[Any]:
    types = library().vim.host.DatastoreBrowser
    flags = types.FileInfo.Details(fileType=True, fileSize=details, modification=details, fileOwner=details)
    spec = types.SearchSpec(matchPattern=[pattern], details=flags, searchCaseInsensitive=False, sortFoldersFirst=False)
    found = site.vim.run(site.browser(path), method, deadline=deadline, about=str(path), phase=PHASE, datastorePath=str(path), searchSpec=spec)
    return list(found) if isinstance(found, Sequence) else [found]


def _found(results: Iterable[Any]) -> list[FileInfo]:
    entries = [_entry(_folder_of(result.folderPath), one) for result in results for one in result.file or ()]
    return sorted(entries, key=lambda entry: entry.path)


def _folder_of(text: str) -> DatastorePath:
    # Below the root, some write "[ds]/folder".
    return DatastorePath.parse(text.replace("]/", "] ", 1))


def _entry(folder: DatastorePath, info: Any) -> FileInfo:
    path = folder.join(str(info.path))
    kind = _KINDS.get(str(type(info)._wsdlName), "file")
    if kind == "disk" and is_extent(path):
        kind = "extent"
    return FileInfo(path, int(info.fileSize or 0), info.modification, kind, str(info.owner or ""))
