# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The two files of a ploop disk: the delta's header, and ``DiskDescriptor.xml``. Layouts: qemu's docs/interop/parallels.txt and prl-xml.

qemu-img converts deltas, and cannot make one larger. The table that says where each cluster lies has a whole
number of clusters for itself, so nearly always there is room for more entries; then growing is two numbers in the header.
"""

from __future__ import annotations

import os
import struct
import uuid
import xml.etree.ElementTree as ET

from ansible_collections.poolwright.virt.plugins.module_utils.errors import OperationFailed

SECTOR = 512
# Magic, version, heads, cylinders, sectors of a cluster, entries of the table, sectors of the disk, in use, first sector of data.
_HEADER = struct.Struct("<16sIIIIIQII")
_MAGIC = b"WithouFreSpacExt"
_VERSION = 2
_HEADS, _TRACK = 16, 32  # a geometry, which nobody asks for any more
_SIZES = struct.Struct("<IQ")
_SIZES_AT = 32
_IN_USE_AT = 44
_ENTRIES_AT = 64
_NOBODY = "{00000000-0000-0000-0000-000000000000}"
_CURRENT = "{5fbaabe3-6958-40ff-92a7-860e329aab41}"  # what the format's documents call the delta that is written to


def create(path: str, size: int, cluster_size: int) -> None:
    """An empty delta of ``size`` bytes, in clusters of ``cluster_size``; the same bytes as qemu-img's."""
    cluster, sectors = cluster_size // SECTOR, size // SECTOR
    entries = -(-sectors // cluster)
    data_at = -(-(_ENTRIES_AT + 4 * entries) // cluster_size) * cluster
    with open(path, "xb") as file:
        file.write(_HEADER.pack(_MAGIC, _VERSION, _HEADS, sectors // (_HEADS * _TRACK), cluster, entries, sectors, 0, data_at))
        file.truncate(data_at * SECTOR)


def grow(path: str, size: int) -> bool:
    """Give the delta ``size`` bytes of disk, in place; False where its table has no room for that. Never makes it smaller.

    :raises OperationFailed: it is no such delta.
    """
    with open(path, "r+b", buffering=0) as file:
        head = file.read(_HEADER.size)
        if len(head) < _HEADER.size or not head.startswith(_MAGIC):
            raise OperationFailed("its delta is damaged", obj=path, phase="resize", hint="restore the disk from a copy")
        _magic, _version, _heads, _cylinders, cluster, entries, sectors, _in_use, data_at = _HEADER.unpack(head)
        wanted = size // SECTOR
        if wanted <= sectors:
            return True
        needed = max(entries, -(-wanted // cluster)) if cluster else entries
        if not cluster or _ENTRIES_AT + 4 * needed > data_at * SECTOR:
            return False
        # What was never an entry may hold anything; a zero means a cluster that is not there.
        os.pwrite(file.fileno(), bytes(4 * (needed - entries)), _ENTRIES_AT + 4 * entries)
        os.fdatasync(file.fileno())
        # Within one sector of the storage, so it is written as a whole or not at all.
        os.pwrite(file.fileno(), _SIZES.pack(needed, wanted), _SIZES_AT)
        os.fdatasync(file.fileno())
    return True


def disown(path: str) -> None:
    """Have a copy of a delta say that nobody has it open: it was taken while somebody had the original, whose writes were all there.

    QEMU marks a delta while it is open for writing, and opens one that bears the mark for reading only.
    """
    with open(path, "r+b", buffering=0) as file:
        if file.read(len(_MAGIC)) == _MAGIC:
            os.pwrite(file.fileno(), bytes(4), _IN_USE_AT)


def describe(name: str, size: int, cluster_sectors: int, delta: str) -> bytes:
    """``DiskDescriptor.xml`` of a disk with one delta."""
    sectors = size // SECTOR
    root = ET.Element("Parallels_disk_image", Version="1.0")
    parameters = ET.SubElement(root, "Disk_Parameters")
    for tag, value in (("Disk_size", sectors), ("Cylinders", max(1, sectors // (16 * 63))), ("Heads", 16), ("Sectors", 63), ("Padding", 0)):
        ET.SubElement(parameters, tag).text = str(value)
    encryption = ET.SubElement(parameters, "Encryption")
    ET.SubElement(encryption, "Engine").text = _NOBODY
    ET.SubElement(encryption, "Data")
    # From its name, so that the same disk is described by the same bytes.
    ET.SubElement(parameters, "UID").text = f"{{{uuid.uuid5(uuid.NAMESPACE_URL, f'poolwright.virt/{name}')}}}"
    ET.SubElement(parameters, "Name").text = name
    storage = ET.SubElement(ET.SubElement(root, "StorageData"), "Storage")
    for tag, value in (("Start", 0), ("End", sectors), ("Blocksize", cluster_sectors)):
        ET.SubElement(storage, tag).text = str(value)
    image = ET.SubElement(storage, "Image")
    for tag, text in (("GUID", _CURRENT), ("Type", "Compressed"), ("File", delta)):
        ET.SubElement(image, tag).text = text
    snapshots = ET.SubElement(root, "Snapshots")
    shot = ET.SubElement(snapshots, "Shot")
    ET.SubElement(shot, "GUID").text = _CURRENT
    ET.SubElement(shot, "ParentGUID").text = _NOBODY
    found: bytes = ET.tostring(root, encoding="UTF-8", xml_declaration=True)
    return found
