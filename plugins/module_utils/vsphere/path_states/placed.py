# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""States ``copied`` and ``moved``: from one datastore path to another, across datacenters too. Disks go as disks."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.disks import copy_disk, move_disk
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.extents import read_descriptor
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import FileExists, FileMissing
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.files import (
    PHASE,
    FileInfo,
    Site,
    copy_file,
    delete_file,
    listing,
    make_directory,
    move_file,
    tree,
)
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.path_states.folders import NotEmpty, remove
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.path_states.plan import Facts, Plan, Step, Work, shown, steps_of
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.path_states.spot import (
    Spot,
    check_extent,
    check_unused,
    is_disk,
    look,
    parents,
    tidy,
)
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.path_states.temporary import temporary

_TIDY_SECONDS = 60.0
_DESCRIPTOR_BYTES = 65536


def plan_copied(work: Work) -> Plan:
    """:raises FileMissing: the source is not there.   :raises FileExists: something else is at the path, and no ``force``."""
    origin, spot = _both(work)
    if origin.info is None:
        raise FileMissing("there is nothing to copy", obj=str(origin.path), phase=PHASE, hint="correct src")
    check_extent(origin.path, work.request.force, "copied")
    _check_ways(work, origin, spot)
    before = _diff(work, origin, spot)
    if _is_one(work, origin, spot) or _is_copy(work, origin, spot):
        return Plan(before, before, steps_of(tidy(work, spot)), _facts(origin))
    if origin.is_folder and not work.request.recurse and listing(origin.site, origin.path, work.deadline, details=False):
        raise NotEmpty("the folder is not empty", obj=str(origin.path), phase=PHASE, hint="recurse: true copies it with all that is in it")
    _check_place(work, origin, spot)
    after = {**before, "path": _as_at(spot.path, origin)}
    copy = Step(f"copy {origin.path} to {spot.path}", lambda: _copy(work, origin, spot))
    return Plan(before, after, steps_of(tidy(work, spot), _folders(work, spot), [copy]), _facts(origin))


def plan_moved(work: Work) -> Plan:
    """Nothing at ``src`` and something at the path is what a move leaves, so then nothing changes.

    :raises FileMissing: nothing is at either.   :raises FileExists: something is at both, and no ``force``.
    """
    origin, spot = _both(work)
    if origin.info is None:
        if spot.info is None:
            hint = f"nor is anything at {spot.path}, so it was not moved there; correct src"
            raise FileMissing("there is nothing to move", obj=str(origin.path), phase=PHASE, hint=hint)
        before = _diff(work, origin, spot)
        return Plan(before, before, steps_of(tidy(work, spot)), _facts(spot))
    check_extent(origin.path, work.request.force, "moved")
    _check_ways(work, origin, spot)
    before = _diff(work, origin, spot)
    if _is_one(work, origin, spot):
        return Plan(before, before, (), _facts(origin))
    _check_place(work, origin, spot)
    check_unused(work, origin, force=work.request.force)
    after = {"path": _as_at(spot.path, origin), "src": shown(origin.path, None)}
    move = Step(f"move {origin.path} to {spot.path}", lambda: _move(work, origin, spot))
    return Plan(before, after, steps_of(tidy(work, spot), _folders(work, spot), [move]), _facts(origin))


# -- what is there, and what may be done


def _both(work: Work) -> tuple[Spot, Spot]:
    source = work.request.source
    if source is None:
        raise InvalidSpec(["src: missing"])
    return look(work, work.other, source), look(work, work.site, work.request.path)


def _datastore(spot: Spot) -> str:
    return spot.site.datastore(spot.path).moid


def _is_one(_work: Work, origin: Spot, spot: Spot) -> bool:
    return origin.path.parts == spot.path.parts and _datastore(origin) == _datastore(spot)


def _check_ways(work: Work, origin: Spot, spot: Spot) -> None:
    if _datastore(origin) != _datastore(spot) or _is_one(work, origin, spot):
        return
    one, other = DatastorePath("x", origin.path.parts), DatastorePath("x", spot.path.parts)
    if one.is_within(other) or other.is_within(one):
        raise InvalidSpec([f"src: one of {origin.path} and {spot.path} lies within the other"])


def _check_place(work: Work, origin: Spot, spot: Spot) -> None:
    """Whether something may come to the path."""
    if spot.info is None:
        return
    if spot.is_folder:
        hint = "give the whole path, with the last name" if not origin.is_folder else "remove it first; a folder is never replaced"
        raise FileExists("a folder is there already", obj=str(spot.path), phase=PHASE, hint=hint)
    if origin.is_folder:
        raise FileExists("a file is there already, and a folder does not replace it", obj=str(spot.path), phase=PHASE, hint="remove it first")
    if not work.request.force:
        raise FileExists("it is there already, and not the same", obj=str(spot.path), phase=PHASE, hint="force: true replaces it")
    if spot.disk != origin.disk:
        what = "a virtual disk" if spot.disk else "no virtual disk"
        raise FileExists(f"what is there is {what}, so it is not replaced", obj=str(spot.path), phase=PHASE, hint="remove it first")
    check_unused(work, spot, force=False)


def _is_copy(work: Work, origin: Spot, spot: Spot) -> bool:
    """By the content, or the size where that suffices; a disk by its capacity, for its extents may be laid out otherwise; a folder by the
    names and sizes in it."""
    if origin.info is None or spot.info is None or origin.info.is_folder != spot.info.is_folder or origin.disk != spot.disk:
        return False
    if origin.is_folder:
        return _content(work, origin) == _content(work, spot)
    if origin.disk:
        return _capacity(work, origin) == _capacity(work, spot)
    if origin.info.size != spot.info.size:
        return False
    if work.request.compare == "size":
        return True
    with work.stats.phase("compare"):
        return _hash(work, origin) == _hash(work, spot)


def _hash(work: Work, spot: Spot) -> str:
    return work.transfer_at(spot.site).hash(spot.path, work.deadline).sha256


def _capacity(work: Work, spot: Spot) -> int:
    return read_descriptor(work.transfer_at(spot.site).beginning(spot.path, work.deadline, _DESCRIPTOR_BYTES)).capacity


def _content(work: Work, spot: Spot) -> dict[str, Any]:
    found = tree(spot.site, spot.path, work.deadline)
    # Of a disk the files' sizes say nothing.
    return {entry.path.relative_to(spot.path): entry.kind if entry.is_folder or entry.kind in ("disk", "extent") else entry.size for entry in found}


def _folders(work: Work, spot: Spot) -> list[Step]:
    return parents(work, work.site, spot.path) if spot.info is None else []


def _as_at(path: DatastorePath, origin: Spot) -> dict[str, Any]:
    return {**shown(origin.path, origin.info, disk=origin.disk), "path": str(path)}


def _diff(_work: Work, origin: Spot, spot: Spot) -> dict[str, Any]:
    return {"path": shown(spot.path, spot.info, disk=spot.disk), "src": shown(origin.path, origin.info, disk=origin.disk)}


def _facts(spot: Spot) -> Facts:
    return {"size": 0 if spot.info is None or spot.is_folder else spot.info.size}


# -- the doing


def _copy(work: Work, origin: Spot, spot: Spot) -> None:
    """To a name beside the place, and there in one step."""
    part = temporary(spot.path)
    force = spot.info is not None
    try:
        with work.stats.phase("copy"):
            if origin.is_folder:
                _copy_tree(work, origin, part)
            else:
                _copy_one(work, origin.site, origin.path, part, disk=origin.disk)
        if origin.disk:
            move_disk(work.site, part, spot.path, work.deadline, force=force)
        else:
            move_file(work.site, part, spot.path, work.deadline, force=force)
    except BaseException:  # whatever it is, goes on after half a copy is gone
        _tidy(work, part, disk=origin.disk)
        raise


def _move(work: Work, origin: Spot, spot: Spot) -> None:
    force = spot.info is not None
    with work.stats.phase("move"):
        if origin.disk:
            move_disk(origin.site, origin.path, spot.path, work.deadline, to=work.site, force=force)
        elif origin.is_folder and _datastore(origin) != _datastore(spot):
            # As a whole a folder is moved within a datastore only, or else its disks would go as mere files.
            _copy(work, origin, spot)
            remove(work, origin)
        else:
            move_file(origin.site, origin.path, spot.path, work.deadline, to=work.site, force=force)


def _copy_tree(work: Work, origin: Spot, target: DatastorePath) -> None:
    make_directory(work.site, target, work.deadline)
    found = tree(origin.site, origin.path, work.deadline)
    disks = _disks_in(work, origin.site, found)
    for entry in found:
        to = target.join(entry.path.relative_to(origin.path))
        if entry.is_folder:
            make_directory(work.site, to, work.deadline)
        elif not any(entry.path in files for files in disks.values()):
            _copy_one(work, origin.site, entry.path, to, disk=entry.path in disks)


def _disks_in(work: Work, site: Site, found: Sequence[FileInfo]) -> dict[DatastorePath, set[DatastorePath]]:
    """The descriptors among them, each with the files that go along with it."""
    transfer = work.transfer_at(site)
    disks: dict[DatastorePath, set[DatastorePath]] = {}
    for entry in found:
        if is_disk(transfer, entry, found, work.deadline):
            named = read_descriptor(transfer.beginning(entry.path, work.deadline, _DESCRIPTOR_BYTES)).extents
            disks[entry.path] = {entry.path.parent.join(name) for name in named if "/" not in name}
    return disks


def _copy_one(work: Work, site: Site, source: DatastorePath, target: DatastorePath, *, disk: bool) -> None:
    if disk:
        copy_disk(site, source, target, work.deadline, to=work.site)
    else:
        copy_file(site, source, target, work.deadline, to=work.site)


def _tidy(work: Work, part: DatastorePath, *, disk: bool) -> None:
    """Remove what a failed copy left, extents without their descriptor too."""
    deadline = Deadline.after(work.site.clock, _TIDY_SECONDS)
    with contextlib.suppress(VirtError):
        if disk:
            for entry in listing(work.site, part.parent, deadline, pattern=f"{part.stem}*", details=False):
                delete_file(work.site, entry.path, deadline)
        else:
            delete_file(work.site, part, deadline)
