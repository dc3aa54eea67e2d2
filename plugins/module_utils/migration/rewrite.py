# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""A domain's XML as the target is to have it. Pure.

Its own metadata travels unchanged, but for what it says of disks that are not what they were: another place, no base.
"""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import replace

from ansible_collections.poolwright.virt.plugins.module_utils.guests import edit_disks, record, tree
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.records import DiskInfo
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.registry import disk_image
from ansible_collections.poolwright.virt.plugins.module_utils.migration.moves import CONVERTED, DiskMove
from ansible_collections.poolwright.virt.plugins.module_utils.migration.note import NAMESPACE, Note
from ansible_collections.poolwright.virt.plugins.module_utils.migration.plan import Plan
from ansible_collections.poolwright.virt.plugins.module_utils.storage.record import OwnDisk


def needed(plan: Plan) -> bool:
    """Whether the target's XML differs from the source's at all."""
    return any(move.flat or move.how == CONVERTED for move in plan.moves)


def rewritten(domain: ET.Element, plan: Plan) -> ET.Element:
    """A copy for the target."""
    changed = tree.copy_of(domain)
    moves = {move.disk.device: move for move in plan.moves if move.flat or move.how == CONVERTED}
    for element in edit_disks.disk_elements(changed, "disk", "lun"):
        move = moves.get(edit_disks.target_of(element))
        if move is not None:
            _edit_disk(element, move)
    _edit_records(changed, list(moves.values()))
    return changed


def with_note(domain: ET.Element, note: Note) -> ET.Element:
    """The same domain, which says by what migration it came."""
    metadata = tree.ensure(domain, "metadata")
    for stale in metadata.findall(f"{{{NAMESPACE}}}migration"):
        metadata.remove(stale)
    metadata.append(_in_namespace(note.to_element()))
    return domain


def _in_namespace(element: ET.Element) -> ET.Element:
    made = ET.Element(f"{{{NAMESPACE}}}{element.tag}", dict(element.attrib))
    made.extend(_in_namespace(child) for child in element)
    return made


def _edit_disk(element: ET.Element, move: DiskMove) -> None:
    for stale in element.findall("backingStore"):
        element.remove(stale)
    source = element.find("source")
    if source is not None:
        # Of a domain that runs it also has the number of this disk's node, which is no use elsewhere.
        source.attrib.pop("index", None)
    tree.ensure(element, "driver").set("type", move.format)
    if move.how == CONVERTED:
        _edit_source(element, info_of(move))


def _edit_source(element: ET.Element, info: DiskInfo) -> None:
    element.set("type", info.type)
    for stale in element.findall("source"):
        element.remove(stale)
    if info.type != "network":
        source = tree.child(element, "source", **{"dev" if info.type == "block" else "file": info.source})
    else:
        source = tree.child(element, "source", protocol=info.protocol, name=info.source)
        for host, port in info.hosts:
            tree.child(source, "host", name=host, port=str(port))
        if info.secret is not None:
            tree.child(tree.child(source, "auth", username=info.secret[0]), "secret", type="ceph", uuid=info.secret[1])
    element.remove(source)
    element.insert(1, source)


def info_of(move: DiskMove) -> DiskInfo:
    place = move.place
    if place is None or place.backend in ("flat", "qcow2"):
        return DiskInfo("file", move.format, move.path)
    return disk_image(place.backend, place.location, os.path.basename(move.path), place.options).libvirt_info()


def _edit_records(domain: ET.Element, moves: Sequence[DiskMove]) -> None:
    """What the domain says of disks that were made for it, as a guest of its own or as a pool's machine."""
    by_path = {move.disk.path: move for move in moves}
    record.set_disks(domain, [_moved(own, by_path[own.record.path]) if own.record.path in by_path else own for own in record.disks_of(domain)])
    # A pool's machine keeps its disks' places.
    for element in domain.iterfind(f"metadata/*/{{{record.POOL_NAMESPACE}}}disk"):
        if element.get("path") in by_path:
            for backing in element.findall(f"{{{record.POOL_NAMESPACE}}}backing"):
                element.remove(backing)


def _moved(own: OwnDisk, move: DiskMove) -> OwnDisk:
    place = move.place
    if place is None:
        return replace(own, record=replace(own.record, backing=None))
    name = os.path.basename(move.path)
    if place.backend != "rbd":
        name = name.rpartition(".")[0]
    record_there = replace(own.record, backend=place.backend, format=move.format, path=move.path, backing=None)
    return replace(own, location=place.location, name=name, record=record_there, options=place.options)
