# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""How much room a guest's disks take, and how much this machine has for those that are not on it. Looks at files, and asks nobody."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping

from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.files import SNAPSHOT_MARK
from ansible_collections.poolwright.virt.plugins.module_utils.images.users import backing_name, named_paths
from ansible_collections.poolwright.virt.plugins.module_utils.placement.facts import GuestFacts

_MIB = 1024 * 1024
_BLOCK = 512
_LONGEST_CHAIN = 50


def disk_files(domain: ET.Element) -> dict[str, dict[str, int]]:
    """Of each disk and medium that is a file, what it consists of: itself, its snapshots and its bases, with the bytes that each takes."""
    made = {element.get("path") for element in domain.iterfind("metadata//*")}
    found: dict[str, dict[str, int]] = {}
    for disk in domain.iterfind("devices/disk[@type='file']"):
        source, driver = disk.find("source"), disk.find("driver")
        path = "" if source is None else source.get("file", "")
        if not path:
            continue
        chain = _chain(path) if driver is not None and driver.get("type") == "qcow2" else [path]
        taken = {one: _taken(one) for one in [*chain, *(_snapshots(path) if path in made else [])]}
        found[path] = {one: size for one, size in taken.items() if size is not None}
    return found


def _chain(path: str) -> list[str]:
    """Bases have names in their overlays, whose format nobody but QEMU wrote."""
    found = [path]
    while len(found) < _LONGEST_CHAIN:
        try:
            name = backing_name(found[-1])
        except OSError:
            break
        below = named_paths(name, os.path.dirname(found[-1])) if name else []
        if not below or below[0] in found:
            break
        found.append(below[0])
    return found


def _snapshots(path: str) -> list[str]:
    parent, name = os.path.split(path)
    try:
        return [os.path.join(parent, one) for one in os.listdir(parent) if one.startswith(f"{name}{SNAPSHOT_MARK}")]
    except OSError:
        return []


def _taken(path: str) -> int | None:
    try:
        return os.stat(path).st_blocks * _BLOCK
    except OSError:
        return None


def needs(guest: GuestFacts) -> dict[str, int]:
    """MiB by mount point that the guest's disks would take here: of those that are not here yet, with the bases that are not here either."""
    found: dict[str, int] = {}
    for path, files in guest.disk_files.items():
        if not os.path.lexists(path):
            takes = sum(size for one, size in files.items() if not os.path.lexists(one))
            mount = _mount(os.path.dirname(path))
            found[mount] = found.get(mount, 0) + takes
    return {mount: -(-takes // _MIB) for mount, takes in found.items() if takes}


def room(mounts: Iterable[str]) -> dict[str, int]:
    """MiB that are left on file systems, by their mount points."""
    found = {}
    for mount in mounts:
        state = os.statvfs(mount)
        found[mount] = state.f_bavail * state.f_frsize // _MIB
    return found


def _mount(folder: str) -> str:
    """The mount point of a directory, or of the nearest one above that is there."""
    while not os.path.isdir(folder) and folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
    device = os.stat(folder).st_dev
    while folder != os.path.dirname(folder) and os.stat(os.path.dirname(folder)).st_dev == device:
        folder = os.path.dirname(folder)
    return folder


def all_mounts(needed: Iterable[Mapping[str, int]]) -> list[str]:
    return sorted({mount for one in needed for mount in one})
