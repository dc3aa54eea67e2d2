# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""VirtualBox's disk files: their header, and whether their one table stays within the file.

Nothing that the file names is followed. All numbers are little-endian, places in bytes. qemu reads only images with blocks of 1 MiB.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ansible_collections.poolwright.virt.plugins.module_utils.images.sizes import MAX_VIRTUAL_SIZE, SECTOR
from ansible_collections.poolwright.virt.plugins.module_utils.images.vmdk import numbers
from ansible_collections.poolwright.virt.plugins.module_utils.images.window import Window

MAGIC = b"\x7f\x10\xda\xbe"
MAGIC_AT = 64
_FIELDS = struct.Struct("<4sIIII256sIIIIIIIQIIII16s16s16s16s")
_HEAD = MAGIC_AT + _FIELDS.size
_KINDS = {1: "dynamic", 2: "static", 3: "undo", 4: "differencing"}
_WHOLE = (1, 2)
_BLOCK = 1024**2
_UNALLOCATED = 0xFFFFFFFE  # and 0xffffffff: reads as zeros
_STEP = 1024**2
_NOBODY = bytes(16)


@dataclass(frozen=True)
class Vdi:
    """A whole disk in one file, sizes in bytes; ``allocated`` of the blocks that hold data."""

    virtual_size: int
    allocated: int


def read(file: Window, *, max_virtual_size: int = MAX_VIRTUAL_SIZE) -> tuple[Vdi | None, list[str]]:
    """The disk in the file; or None, and everything why it must not be used."""
    head = file.read_at(0, _HEAD)
    if len(head) < _HEAD or head[MAGIC_AT : MAGIC_AT + 4] != MAGIC:
        return None, ["it does not begin as a VDI does"]
    fields = _FIELDS.unpack_from(head, MAGIC_AT)
    _magic, version, _length, kind, _flags, _text, table_at, data_at = fields[:8]
    sector_size, size, block, extra, blocks, allocated = fields[11], fields[13], fields[14], fields[15], fields[16], fields[17]
    link, parent = fields[20], fields[21]
    problems = []
    if version != 0x00010001:
        problems.append(f"its version {version >> 16}.{version & 0xFFFF} is not known")
    if kind not in _WHOLE or link != _NOBODY or parent != _NOBODY:
        problems.append(f"it is no whole disk ({_KINDS.get(kind, 'unknown kind')}): it needs its parent")
    if sector_size != SECTOR or block != _BLOCK or extra:
        problems.append(f"its blocks of {block} bytes do not exist")
    if not size:
        problems.append("its disk has no size")
    if size > max_virtual_size:
        problems.append(f"its disk would have {size} bytes, more than the {max_virtual_size} allowed")
    if blocks != -(-size // _BLOCK) or allocated > blocks:
        problems.append(f"its {blocks} blocks do not fit its size")
    if table_at % SECTOR or data_at % SECTOR or table_at < _HEAD or data_at < table_at + 4 * blocks:
        problems.append("its table is at an impossible place")
    elif table_at + 4 * blocks > file.size:
        problems.append("its table lies beyond the end of the file: it is cut off")
    if problems:
        return None, problems
    return _walk(file, table_at, data_at, blocks, size)


def _walk(file: Window, table_at: int, data_at: int, blocks: int, size: int) -> tuple[Vdi | None, list[str]]:
    """The table's entries, each the number of a block in the file."""
    there = max(0, file.size - data_at) // _BLOCK
    used = 0
    for start in range(0, 4 * blocks, _STEP):
        places = [place for place in numbers(file.read_at(table_at + start, min(_STEP, 4 * blocks - start))) if place < _UNALLOCATED]
        if places and max(places) >= there:
            return None, ["its table points beyond the end of the file: it is cut off"]
        used += len(places)
    return Vdi(size, min(used * _BLOCK, size)), []
