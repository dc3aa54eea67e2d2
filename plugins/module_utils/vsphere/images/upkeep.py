# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Removing from a datastore's cache: what killed runs left, and images; never one that a machine stands on, or that came into use meanwhile.

An image is moved out of the way before it is looked at for the last time, so whoever wants it then does not find it, and whoever has
recorded its use before that is seen.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere import files
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import FileExists, FileMissing
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.files import Site
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images import nfc
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.layout import (
    MACHINE_PREFIX,
    Entry,
    Snapshot,
    is_dead,
    machine_name,
    made_since,
    new_maker,
    read,
)

ABANDONED_SECONDS = 24 * 3600.0
"""After this time, what a process elsewhere left counts as left behind: whether that process lives cannot be told from here."""

_ASIDE = "aged-"
_TIDY_SECONDS = 120.0
_DEVICES, _LAYOUT = "config.hardware.device", "layoutEx.file"


@dataclass(frozen=True)
class Users:
    """Which machines use what is in a cache: their names by the image's key. ``unknown`` are machines of which vCenter has no files."""

    by_key: dict[str, tuple[str, ...]]
    unknown: tuple[str, ...] = ()

    def of(self, key: str) -> tuple[str, ...]:
        return self.by_key.get(key, ())


def look(site: Site, root: DatastorePath, deadline: Deadline) -> Snapshot:
    """The cache as it is now; an empty one where there is none. One listing."""
    try:
        return read(root, files.tree(site, root, deadline))
    except FileMissing:
        return Snapshot(root)


def users_of(site: Site, root: DatastorePath) -> Users:
    """Whose disks, snapshots and CD-ROM drives lead to the cache, by themselves or through their parents. One read of all machines."""
    found: dict[str, set[str]] = {}
    unknown = []
    datastore = site.datastore(root)
    for machine in site.vim.get_objects("VirtualMachine", ["name", "datastore", _DEVICES, _LAYOUT], phase="look up"):
        name = str(machine.properties.get("name", ""))
        devices, layout = machine.properties.get(_DEVICES), machine.properties.get(_LAYOUT)
        if devices is None:
            if name.startswith(MACHINE_PREFIX):
                continue
            if any(site.inventory.entry_of(one) is datastore for one in machine.properties.get("datastore") or ()):
                unknown.append(name)
            continue
        paths = [path for device in devices for path in _chain(getattr(device, "backing", None))]
        paths += [str(one.name) for one in layout or ()]
        for path in paths:
            key = _key_in(root, path)
            if key:
                found.setdefault(key, set()).add(name)
    return Users({key: tuple(sorted(names)) for key, names in found.items()}, tuple(sorted(unknown)))


def sweep(site: Site, snapshot: Snapshot, deadline: Deadline, *, abandoned_seconds: float = ABANDONED_SECONDS) -> list[str]:
    """Remove what dead runs left: claims, folders, imported machines. Returns the makers; what resists is left for a further run."""
    removed = []
    now = site.clock.now()
    for key, (maker, _beats) in snapshot.claims.items():
        if is_dead(maker):
            with contextlib.suppress(VirtError):
                files.delete_file(site, snapshot.root.join("claims", key), deadline)
    claiming = {maker for maker, _beats in snapshot.claims.values()}
    for maker, there in snapshot.temporary.items():
        since = made_since(maker)
        if since is None:
            continue
        if is_dead(maker) or (maker not in claiming and now - since > abandoned_seconds):
            with contextlib.suppress(VirtError):
                for name in there:
                    if name.startswith(_ASIDE):
                        _judge_aside(site, snapshot.root, maker, name[len(_ASIDE) :], None, deadline)
                remove_maker(site, snapshot.root, maker, deadline)
                removed.append(maker)
    return removed


def remove_maker(site: Site, root: DatastorePath, maker: str, deadline: Deadline, *, imported: bool = True) -> None:
    """Remove all that one piece of work has left. :param imported: whether there may be a machine of it."""
    if imported:
        name = machine_name(maker)
        folder = site.inventory.folder("")
        if folder is not None:
            machine = nfc.find_machine(site, folder.obj, name, deadline)
            if machine is not None:
                nfc.destroy_machine(site, folder.obj, name, deadline)
        # vCenter adds something to the name of a folder whose name is taken.
        for left in files.listing(site, DatastorePath(root.datastore), deadline, pattern=f"{name}*", details=False):
            files.delete_file(site, left.path, deadline)
    # Last: while it is there, a further run knows what to look for.
    files.delete_file(site, root.join("tmp", maker), deadline)


def remove_entry(site: Site, root: DatastorePath, entry: Entry, deadline: Deadline) -> None:
    """Remove an image, unless somebody uses it, or has begun to since ``entry`` was read.

    :raises Busy: somebody does; it is there as before.
    """
    maker = new_maker(site.clock.now())
    files.make_directory(site, root.join("tmp", maker), deadline)
    try:
        files.move_file(site, entry.path, _aside(root, maker, entry.key), deadline)
        _judge_aside(site, root, maker, entry.key, entry, deadline)
    except FileMissing:
        if files.stat(site, entry.path, deadline) is not None:
            raise
    finally:
        # What could not be moved back stays where a further run finds it.
        late = Deadline.after(site.clock, _TIDY_SECONDS)
        with contextlib.suppress(VirtError):
            if files.stat(site, _aside(root, maker, entry.key), late) is None:
                remove_maker(site, root, maker, late, imported=False)


def _judge_aside(site: Site, root: DatastorePath, maker: str, key: str, known: Entry | None, deadline: Deadline) -> None:
    """Delete an image that was moved out of the way, or put it back.

    :param known: as it was when it was decided to remove it; None where a killed run had decided: then it goes back.
    """
    place = _aside(root, maker, key)
    there = files.listing(site, place, deadline, details=False)
    folders = frozenset(file.path.basename for file in there if file.is_folder)
    users = users_of(site, root)
    if known is not None and folders == known.folders and not users.of(key) and not users.unknown:
        files.delete_file(site, place, deadline)
        return
    try:
        files.move_file(site, place, root.join("images", key), deadline)
    except FileExists:
        # It was brought again meanwhile, from the same bytes. Nobody can have found the old one.
        if not users.of(key) and not users.unknown:
            files.delete_file(site, place, deadline)
    if known is not None:
        who = f"by {', '.join(users.of(key)[:5])}" if users.of(key) else "by a run that began meanwhile"
        if users.unknown and not users.of(key):
            who = f"perhaps, by {', '.join(users.unknown[:5])}, whose files vCenter cannot tell"
        raise Busy(f"the image is used {who}", obj=str(root.join("images", key)), phase="remove", hint="it was left as it is")


def check_unused(site: Site, root: DatastorePath, key: str) -> None:
    """:raises Busy: machines stand on the image, or may do so."""
    users = users_of(site, root)
    if users.of(key):
        who, hint = ", ".join(users.of(key)[:5]), "remove those machines first, or leave the image"
        raise Busy(f"{len(users.of(key))} machines use the image: {who}", obj=str(root.join("images", key)), phase="remove", hint=hint)
    if users.unknown:
        said = f"vCenter cannot tell the files of {', '.join(users.unknown[:5])} on this datastore, so the image may be in use"
        raise Busy(said, obj=str(root.join("images", key)), phase="remove", hint="bring those machines or their hosts back, or remove them from vCenter")


def _aside(root: DatastorePath, maker: str, key: str) -> DatastorePath:
    return root.join("tmp", maker, _ASIDE + key)


def _chain(backing: object) -> list[str]:
    paths = []
    while backing is not None:
        path = getattr(backing, "fileName", None)
        if path:
            paths.append(str(path))
        backing = getattr(backing, "parent", None)
    return paths


def _key_in(root: DatastorePath, path: str) -> str:
    prefix = f"{root.join('images')}/"
    return path[len(prefix) :].partition("/")[0] if path.startswith(prefix) else ""
