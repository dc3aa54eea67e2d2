# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Hyper-V's disk files: their regions and metadata, and whether their table stays within the file.

Nothing that the file names is followed. Layout: Microsoft's "MS-VHDX"; all numbers little-endian, places in bytes.
"""

from __future__ import annotations

import struct
import uuid
from array import array
from dataclasses import dataclass

from ansible_collections.poolwright.virt.plugins.module_utils.images.sizes import MAX_VIRTUAL_SIZE
from ansible_collections.poolwright.virt.plugins.module_utils.images.window import Window

MAGIC = b"vhdxfile"
_MIB = 1024**2
_REGIONS = (192 * 1024, 256 * 1024)
_MOST_ENTRIES = 2047
_ENTRY = struct.Struct("<16sQII")
_ITEM = struct.Struct("<16sIIII")
_STEP = _MIB
_PRESENT, _PARTLY = 6, 7
_HAS_PARENT = 2


def _guid(text: str) -> bytes:
    return uuid.UUID(text).bytes_le


_TABLE = _guid("2dc27766-f623-4200-9d64-115e9bfd4a08")
_METADATA = _guid("8b7ca206-4790-4b9a-b8fe-575f050f886e")
_PARAMETERS = _guid("caa16737-fa36-4d43-b3b6-33f0aa44e76b")
_SIZE = _guid("2fa54224-cd1b-4876-b211-5dbed83bf4b8")
_SECTOR = _guid("8141bf1d-a96f-4709-ba47-f233a8faab5f")
_PARENT = _guid("a8d35f2d-b30b-454d-abf7-d3d84834ab0c")


@dataclass(frozen=True)
class Vhdx:
    """A whole disk in one file, sizes in bytes; ``allocated`` of the blocks that hold data."""

    virtual_size: int
    allocated: int


def read(file: Window, *, max_virtual_size: int = MAX_VIRTUAL_SIZE) -> tuple[Vhdx | None, list[str]]:
    """The disk in the file; or None, and everything why it must not be used."""
    if file.read_at(0, len(MAGIC)) != MAGIC:
        return None, ["it does not begin as a VHDX does"]
    regions, problems = _regions(file)
    if problems:
        return None, problems
    items, problems = _metadata(file, *regions[_METADATA])
    if problems:
        return None, problems
    block, flags = struct.unpack("<II", items[_PARAMETERS][:8])
    size = struct.unpack("<Q", items[_SIZE][:8])[0]
    sector = struct.unpack("<I", items[_SECTOR][:4])[0]
    if flags & _HAS_PARENT or _PARENT in items:
        problems.append("it is a delta of another disk: make it self-contained")
    if not _MIB <= block <= 256 * _MIB or block & (block - 1):
        problems.append(f"its blocks of {block} bytes do not exist")
    if sector not in (512, 4096):
        problems.append(f"its sectors of {sector} bytes do not exist")
    if not size:
        problems.append("its disk has no size")
    if size > max_virtual_size:
        problems.append(f"its disk would have {size} bytes, more than the {max_virtual_size} allowed")
    return (None, problems) if problems else _walk(file, *regions[_TABLE], block, sector, size)


def _regions(file: Window) -> tuple[dict[bytes, tuple[int, int]], list[str]]:
    """Places and lengths of the regions by their kinds; both copies of their table must agree."""
    copies = []
    for place in _REGIONS:
        head = file.read_at(place, 16)
        if head[:4] != b"regi" or len(head) < 16:
            return {}, ["its table of regions is damaged, or it is cut off"]
        count = struct.unpack_from("<I", head, 8)[0]
        if count > _MOST_ENTRIES:
            return {}, [f"its table of regions claims {count} entries"]
        copies.append(file.read_at(place + 16, count * _ENTRY.size))
        if len(copies[-1]) != count * _ENTRY.size:
            return {}, ["its table of regions is damaged, or it is cut off"]
    if copies[0] != copies[1]:
        return {}, ["the two copies of its table of regions differ"]
    regions = {}
    for guid, place, length, _required in _ENTRY.iter_unpack(copies[0]):
        if guid not in (_TABLE, _METADATA) or guid in regions:
            return {}, ["it has a region that is not known, or one twice"]
        if place < _MIB or place % _MIB or length % _MIB or place + length > file.size:
            return {}, ["a region lies beyond the end of the file: it is cut off"]
        regions[guid] = (place, length)
    return (regions, []) if len(regions) == 2 else ({}, ["it lacks a region"])


def _metadata(file: Window, place: int, length: int) -> tuple[dict[bytes, bytes], list[str]]:
    """The first bytes of each item by its kind."""
    head = file.read_at(place, 32)
    count = struct.unpack_from("<H", head, 10)[0] if head[:8] == b"metadata" and len(head) == 32 else _MOST_ENTRIES + 1
    table = file.read_at(place + 32, count * _ITEM.size)
    if count > _MOST_ENTRIES or len(table) != count * _ITEM.size:
        return {}, ["its metadata is damaged"]
    items: dict[bytes, bytes] = {}
    for guid, offset, size, _flags, _reserved in _ITEM.iter_unpack(table):
        if offset + size > length or guid in items:
            return {}, ["its metadata is damaged"]
        items[guid] = file.read_at(place + offset, min(size, 16))
    needed = ((_PARAMETERS, 8), (_SIZE, 8), (_SECTOR, 4))
    if any(len(items.get(guid, b"")) < size for guid, size in needed):
        return {}, ["its metadata does not say what its disk is"]
    return items, []


def _walk(file: Window, place: int, length: int, block: int, sector: int, size: int) -> tuple[Vhdx | None, list[str]]:
    """The table's entries: after each chunk of blocks there is one for the chunk's bitmap, which only deltas use."""
    ratio = (2**23 * sector) // block
    blocks = -(-size // block)
    entries = blocks + (blocks - 1) // ratio
    if entries * 8 > length:
        return None, ["its table is too small for its size"]
    used = 0
    for start in range(0, entries * 8, _STEP):
        table = array("Q", file.read_at(place + start, min(_STEP, entries * 8 - start)))
        if struct.pack("=I", 1) != struct.pack("<I", 1):
            table.byteswap()
        for number, entry in enumerate(table, start // 8):
            if number % (ratio + 1) == ratio or not entry & 7:
                continue
            if entry & 7 == _PARTLY:
                return None, ["it is a delta of another disk: make it self-contained"]
            if entry & 7 == _PRESENT:
                used += 1
                if (entry >> 20) * _MIB + block > file.size:
                    return None, ["its table points beyond the end of the file: it is cut off"]
    return Vhdx(size, min(used * block, size)), []
