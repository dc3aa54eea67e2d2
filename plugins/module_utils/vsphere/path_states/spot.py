# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What is at a path, and who uses it: reads only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import OperationFailed
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastores import NORMAL, Datastore
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.disk_names import belongs_to, descriptor_of, is_descriptor, is_extent
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import FileExists
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.files import PHASE, FileInfo, Site, beside, delete_file, exactly, make_directory, stat
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.path_states.plan import Step, Work
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.path_states.temporary import is_abandoned, is_temporary_of
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.transfer import Transfer

_SAMPLE = 3


class DatastoreUnavailable(OperationFailed):
    """The datastore is not accessible, or in maintenance."""

    code = "datastore_unavailable"


class InUse(OperationFailed):
    """A registered machine uses the file; the message names it."""

    code = "in_use"
    config = True


@dataclass(frozen=True)
class Spot:
    """A path and what is there. ``disk``: it is a virtual disk's descriptor. ``leftovers`` are what dead runs left beside it."""

    site: Site
    path: DatastorePath
    info: FileInfo | None
    disk: bool = False
    leftovers: tuple[DatastorePath, ...] = ()

    @property
    def is_folder(self) -> bool:
        return self.info is not None and self.info.is_folder


def look(work: Work, site: Site, path: DatastorePath) -> Spot:
    """One search, and the first bytes of what may be a disk's descriptor."""
    if path.is_root:
        return Spot(site, path, stat(site, path, work.deadline))
    there = beside(site, path, work.deadline, pattern=f"{exactly(path.stem)}*")
    info = next((entry for entry in there if entry.path == path), None)
    now = site.clock.now()
    left = [entry for entry in there if is_temporary_of(entry.path, path) and is_abandoned(entry.path, entry.modified, now)]
    return Spot(site, path, info, info is not None and is_disk(work.transfer_at(site), info, there, work.deadline), tuple(entry.path for entry in left))


def is_disk(transfer: Transfer, info: FileInfo, there: Iterable[FileInfo], deadline: Deadline) -> bool:
    """Whether a file is the descriptor of a virtual disk: by its extents, or by its first words. One that holds a whole hosted disk is none."""
    if info.is_folder or not info.size or not is_descriptor(info.path):
        return False
    if any(entry.path != info.path and belongs_to(entry.path, info.path) for entry in there):
        return True
    return transfer.beginning(info.path, deadline, 32).lower().startswith(b"# disk descriptor")


def check_datastore(site: Site, path: DatastorePath, *, writing: bool) -> None:
    """:raises NotFound, Ambiguous: there is no such datastore, or several.   :raises DatastoreUnavailable: it cannot be used now."""
    known = Datastore.of(site.datastore(path))
    if not known.accessible:
        hint = "look at its hosts' connections to the storage"
        raise DatastoreUnavailable("no host has access to this datastore", obj=known.entry.path, phase=PHASE, hint=hint)
    if writing and known.maintenance != NORMAL:
        raise DatastoreUnavailable(
            f"the datastore is in maintenance ({known.maintenance})", obj=known.entry.path, phase=PHASE, hint="end its maintenance first"
        )


def check_extent(path: DatastorePath, force: bool, verb: str) -> None:
    """:raises OperationFailed: the path is an extent, which is nothing without its descriptor."""
    if is_extent(path) and not force:
        raise OperationFailed(
            f"this is a part of the virtual disk {descriptor_of(path)}, and is not {verb} alone",
            obj=str(path),
            phase=PHASE,
            hint=f"give {descriptor_of(path).basename}, and all its files go with it; force: true takes just this one",
        )


def check_unused(work: Work, spot: Spot, *, force: bool) -> None:
    """:raises InUse: a registered machine has its configuration or one of its files there."""
    if spot.info is None or force:
        return
    datastore = spot.site.datastore(spot.path)
    vim = spot.site.vim
    machines = vim.get_properties(datastore.obj, ["vm"], about=datastore.path, phase=PHASE).get("vm") or []
    for found in vim.get_many(machines, ["name", "summary.config.vmPathName", "layoutEx.file"], phase=PHASE):
        named = [found.properties.get("summary.config.vmPathName"), *(file.name for file in found.properties.get("layoutEx.file") or ())]
        used = sorted({text for text in named if text and _lies_in(text, spot)})
        if used:
            more = f" and {len(used) - _SAMPLE} more" if len(used) > _SAMPLE else ""
            raise InUse(
                f"the machine {found.properties.get('name')} uses {', '.join(used[:_SAMPLE])}{more}",
                obj=str(spot.path),
                phase=PHASE,
                hint="remove the machine or its disk first; force: true does it all the same",
            )


def parents(work: Work, site: Site, path: DatastorePath) -> list[Step]:
    """The step that makes the folder which ``path`` shall be in, if it is missing.

    :raises FileExists: what should be a folder above it is a file.
    """
    folder = path.parent
    above = folder
    while (found := stat(site, above, work.deadline)) is None:
        above = above.parent
    if not found.is_folder:
        raise FileExists(f"{above} is a file, so nothing can be in it", obj=str(path), phase=PHASE, hint="give another path")
    if above == folder:
        return []

    def make() -> None:
        make_directory(site, folder, work.deadline)

    return [Step(f"make the folder {folder}", make)]


def tidy(work: Work, spot: Spot) -> list[Step]:
    """The steps that remove what dead runs left beside a path."""

    def removal(left: DatastorePath) -> Step:
        def remove() -> None:
            delete_file(spot.site, left, work.deadline)

        return Step(f"remove {left}, which a run that ended left unfinished", remove)

    return [removal(left) for left in spot.leftovers]


def _lies_in(text: str, spot: Spot) -> bool:
    try:
        file = DatastorePath.parse(text)
    except ValueError:  # of a datastore that is not mounted, it begins with its id
        return False
    return file.is_within(spot.path) or (spot.disk and belongs_to(file, spot.path))
