# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""States ``directory`` and ``absent``."""

from __future__ import annotations

from ansible_collections.poolwright.virt.plugins.module_utils.errors import OperationFailed
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.disks import delete_disk
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import FileExists, FileMissing
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.files import PHASE, delete_file, listing, make_directory
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.path_states.plan import Plan, Step, Work, shown, steps_of
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.path_states.spot import Spot, check_extent, check_unused, look, parents, tidy

_SAMPLE = 5


class NotEmpty(OperationFailed):
    """A folder that shall go has something in it."""

    code = "not_empty"
    config = True


def plan_directory(work: Work) -> Plan:
    """:raises FileExists: a file is in the way."""
    path = work.request.path
    spot = look(work, work.site, path)
    before = shown(path, spot.info)
    if spot.is_folder:
        return Plan(before, before)
    if spot.info is not None:
        raise FileExists("a file has this name", obj=str(path), phase=PHASE, hint="give another path, or remove the file first")
    # Whether one above is a file is seen here; all are made at once.
    parents(work, work.site, path)

    def make() -> None:
        make_directory(work.site, path, work.deadline)

    return Plan(before, {"path": str(path), "state": "directory"}, (Step(f"make the folder {path}", make),))


def plan_absent(work: Work) -> Plan:
    """:raises NotEmpty: a folder with something in it, and no ``recurse``.   :raises InUse: a machine's files, and no ``force``."""
    path = work.request.path
    spot = look(work, work.site, path)
    before, after = shown(path, spot.info, disk=spot.disk), shown(path, None)
    left = tidy(work, spot)
    if spot.info is None:
        return Plan(before, after, steps_of(left))
    check_extent(path, work.request.force, "removed")
    _check_content(work, spot)
    check_unused(work, spot, force=work.request.force)
    return Plan(before, after, steps_of(left, [Step(f"remove {path}", lambda: remove(work, spot))]))


def remove(work: Work, spot: Spot) -> None:
    """Remove what is there: a file, a folder with all in it, or a disk with its extents."""
    if not spot.disk:
        delete_file(spot.site, spot.path, work.deadline)
        return
    try:
        delete_disk(spot.site, spot.path, work.deadline)
    except FileMissing:
        # A descriptor whose extents are gone is but a file.
        delete_file(spot.site, spot.path, work.deadline)


def _check_content(work: Work, spot: Spot) -> None:
    if not spot.is_folder or work.request.recurse:
        return
    inside: list[DatastorePath] = [entry.path for entry in listing(spot.site, spot.path, work.deadline, details=False)]
    if inside:
        named = ", ".join(one.basename for one in inside[:_SAMPLE])
        more = f" and {len(inside) - _SAMPLE} more" if len(inside) > _SAMPLE else ""
        raise NotEmpty(f"the folder is not empty: {named}{more}", obj=str(spot.path), phase=PHASE, hint="recurse: true removes it with all that is in it")
