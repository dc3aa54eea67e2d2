# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Disks that somebody took an external snapshot of: the domain then has an overlay in the disk's place, which is still that disk."""

from __future__ import annotations

import os
import struct
import xml.etree.ElementTree as ET
from collections.abc import Mapping

from ansible_collections.poolwright.virt.plugins.module_utils.guests import edit_disks
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.records import DiskInfo

_MAGIC = b"QFI\xfb"
_LONGEST_CHAIN = 32


def seen_through(domain: ET.Element, infos: Mapping[str, DiskInfo]) -> dict[str, DiskInfo]:
    """The disks as the domain has them now: each that has an overlay in its place is that overlay.

    The overlay's header is only read to see its name for what is below; nothing is opened because of it.
    """
    found = dict(infos)
    elements = edit_disks.disk_elements(domain, "disk")
    sources = {edit_disks.source_of(element) for element in elements}
    below = {info.source: label for label, info in infos.items() if info.type in ("file", "block") and (info.type, info.source) not in sources}
    for element in elements if below else ():
        kind, source = edit_disks.source_of(element)
        driver = element.find("driver")
        if kind == "file" and driver is not None and driver.get("type") == "qcow2":
            label = next((below[path] for path in _chain(source) if path in below), None)
            if label is not None:
                found[label] = DiskInfo(kind, "qcow2", source)
    return found


def _chain(path: str) -> list[str]:
    """What a qcow2 file stands on, from the top down."""
    found: list[str] = []
    while len(found) < _LONGEST_CHAIN:
        name = _backing_name(path)
        if not name or name.startswith("json:"):
            return found
        path = os.path.normpath(os.path.join(os.path.dirname(path), name))
        found.append(path)
    return found


def _backing_name(path: str) -> str:
    """As the header has it, "" for none and for what cannot be read."""
    try:
        if not os.path.isfile(path):
            return ""
        with open(path, "rb") as stream:
            head = stream.read(20)
            if len(head) < 20 or head[:4] != _MAGIC:
                return ""
            offset, length = struct.unpack(">QI", head[8:20])
            if not offset or length > 1023:
                return ""
            stream.seek(offset)
            return stream.read(length).decode("utf-8", "replace")
    except (OSError, OverflowError):
        return ""
