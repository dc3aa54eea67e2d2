# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""VMDK files that hold a whole disk: their header, their descriptor, and whether their tables stay within the file.

Nothing that the file names is followed. Layout: VMware's "Virtual Disk Format 5.0"; all numbers little-endian, places in sectors.
"""

from __future__ import annotations

import re
import struct
from array import array
from dataclasses import dataclass

from ansible_collections.poolwright.virt.plugins.module_utils.images.sizes import MAX_VIRTUAL_SIZE, SECTOR
from ansible_collections.poolwright.virt.plugins.module_utils.images.window import Window

MAGIC = b"KDMV"
DESCRIPTOR_MAGIC = b"# Disk DescriptorFile"
# What is in the descriptor, and what the option disk_type calls it.
DISK_TYPES = {"monolithicSparse": "sparse", "streamOptimized": "streamOptimized"}
ADAPTERS = {"ide": "ide", "buslogic": "busLogic", "lsilogic": "lsiLogic", "legacyesx": "lsiLogic"}

_HEADER = struct.Struct("<4sIIQQQQIQQQB4sH")
_GD_AT_END = 2**64 - 1
_COMPRESSED, _MARKERS = 1 << 16, 1 << 17
_MOST_DESCRIPTOR = 128  # sectors
_EXTENT = re.compile(r'^\s*(RW|RDONLY|NOACCESS)\s+(\d+)\s+(\w+)(?:\s+"([^"]*)")?')
_NO_PARENT = "ffffffff"
# What a descriptor alone may say that the disk is in: plain names beside it, each from its first byte on.
_BESIDE = re.compile(r'(?:RW|RDONLY)\s+([1-9]\d{0,17})\s+(FLAT|VMFS|SPARSE)\s+"(\w[\w .()+@=-]{0,254})"(?:\s+0)?')
_IN_PARTS = ("monolithicFlat", "twoGbMaxExtentFlat", "twoGbMaxExtentSparse", "vmfs")
_MOST_EXTENTS = 8192
_PLACES = ("I", "L")


@dataclass(frozen=True)
class Vmdk:
    """A whole disk in one file: ``disk_type`` as the option has it, sizes in bytes, ``allocated`` of the grains that hold data."""

    disk_type: str
    virtual_size: int
    adapter_type: str
    allocated: int


@dataclass(frozen=True)
class Extent:
    """A file with a part of a disk, beside its descriptor: its ``name``, whether it holds that part byte by byte, and its sectors."""

    name: str
    flat: bool
    sectors: int


@dataclass(frozen=True)
class _Header:
    version: int
    flags: int
    capacity: int
    grain: int
    descriptor_at: int
    descriptor_length: int
    entries: int
    directory_at: int
    compression: int


def is_sparse(head: bytes) -> bool:
    """Whether a file that begins so says that it is a sparse or a streamOptimized VMDK."""
    return head.startswith(MAGIC)


def read(file: Window, *, max_virtual_size: int = MAX_VIRTUAL_SIZE) -> tuple[Vmdk | None, list[str]]:
    """The disk in the file; or None, and everything why it must not be used."""
    head = file.read_at(0, SECTOR)
    if head.startswith(DESCRIPTOR_MAGIC):
        return None, ["it is a descriptor only, and its data is in other files: give one file that holds all (monolithicSparse or streamOptimized)"]
    header = _parse(head)
    if header is None:
        return None, ["it does not begin as a sparse or streamOptimized VMDK does"]
    descriptor, problems = _descriptor(file, header)
    problems += _header_problems(header, max_virtual_size)
    create_type = descriptor.get("createType", "")
    if create_type not in DISK_TYPES:
        problems.append(f"its type {create_type!r} is none that holds all in one file: {' or '.join(DISK_TYPES)}")
    stream = bool(header.flags & _COMPRESSED)
    if create_type in DISK_TYPES and stream != (create_type == "streamOptimized"):
        problems.append(f"its descriptor says {create_type}, its header {'' if stream else 'not '}that it is compressed")
    if problems:
        return None, problems
    allocated, problems = _walk(file, header)
    if problems:
        return None, problems
    adapter = ADAPTERS.get(descriptor.get("ddb.adapterType", "").lower(), "")
    return Vmdk(DISK_TYPES[create_type], header.capacity * SECTOR, adapter, allocated), []


def is_descriptor(head: bytes) -> bool:
    """Whether a file that begins so says that its disk is in other files."""
    return head.startswith(DESCRIPTOR_MAGIC)


def read_parts(text: bytes, *, max_virtual_size: int = MAX_VIRTUAL_SIZE) -> tuple[tuple[Extent, ...], list[str]]:
    """The files that a descriptor's disk is in, in their order; or everything why it must not be used."""
    facts, _extents, problems = _lines(text)
    problems += _parent_problems(facts)
    if facts.get("createType", "") not in _IN_PARTS:
        problems.append(f"its type {facts.get('createType', '')!r} is none of a disk in files beside it: {', '.join(_IN_PARTS)}")
    found = []
    for line in (line.strip() for line in text.split(b"\0", 1)[0].decode("utf-8", "replace").splitlines()):
        if line.startswith(("RW", "RDONLY", "NOACCESS")):
            match = _BESIDE.fullmatch(line)
            if match is None:
                problems.append(f"its descriptor refers to what is no plain file beside it ({line[:200]})")
            else:
                found.append(Extent(match.group(3), match.group(2) != "SPARSE", int(match.group(1))))
    size = sum(extent.sectors for extent in found) * SECTOR
    if not problems and len({extent.name for extent in found}) != len(found):
        problems.append("its descriptor names a file twice")
    if not problems and not 0 < len(found) <= _MOST_EXTENTS:
        problems.append(f"its descriptor names {len(found)} files")
    if not problems and not 0 < size <= max_virtual_size:
        problems.append(f"its disk would have {size} bytes, where at most {max_virtual_size} are allowed")
    return tuple(found), problems


def read_part(file: Window, extent: Extent) -> list[str]:
    """Everything why a file is not the part of the disk that its descriptor says."""
    if extent.flat:
        return [] if file.size == extent.sectors * SECTOR else [f"{extent.name} has {file.size} bytes, where its descriptor says {extent.sectors * SECTOR}"]
    header = _parse(file.read_at(0, SECTOR))
    if header is None:
        return [f"{extent.name} does not begin as a sparse extent does"]
    problems = _header_problems(header, MAX_VIRTUAL_SIZE)
    if header.capacity != extent.sectors:
        problems.append(f"it has {header.capacity} sectors, where its descriptor says {extent.sectors}")
    if header.flags & _COMPRESSED:
        problems.append("it is compressed")
    if not problems:
        problems = _walk(file, header)[1]
    return [f"{extent.name}: {problem}" for problem in problems]


def read_descriptor(text: bytes) -> tuple[Vmdk | None, list[str]]:
    """The disk of vSphere's own whose descriptor this is; or None, and why it cannot be copied as a whole."""
    facts, extents, problems = _lines(text)
    problems += _parent_problems(facts)
    if not facts.get("createType", "").startswith("vmfs") and facts.get("createType") != "monolithicFlat":
        problems.append(f"its type {facts.get('createType', '')!r} is none of vSphere's own")
    capacity = sum(int(sectors) for _access, sectors, _kind, _name in extents) * SECTOR
    if not 0 < capacity <= MAX_VIRTUAL_SIZE:
        problems.append(f"its disk would have {capacity} bytes")
    if problems:
        return None, problems
    return Vmdk("preallocated", capacity, ADAPTERS.get(facts.get("ddb.adapterType", "").lower(), ""), capacity), []


def _parse(head: bytes) -> _Header | None:
    if len(head) < _HEADER.size or not is_sparse(head):
        return None
    _magic, version, flags, capacity, grain, at, length, entries, _redundant, directory, _overhead, _dirty, _ends, compression = _HEADER.unpack_from(head)
    return _Header(version, flags, capacity, grain, at, length, entries, directory, compression)


def _header_problems(header: _Header, most: int) -> list[str]:
    problems = []
    if header.version not in (1, 2, 3):
        problems.append(f"its version {header.version} is not known")
    if not header.capacity:
        problems.append("its disk has no size")
    if header.capacity * SECTOR > most:
        problems.append(f"its disk would have {header.capacity * SECTOR} bytes, more than the {most} allowed")
    if header.capacity % 2:
        problems.append(f"its disk has {header.capacity * SECTOR} bytes, and vSphere counts in KiB")
    if not 8 <= header.grain <= 2048 or header.grain & (header.grain - 1):
        problems.append(f"its grains of {header.grain} sectors do not exist")
    if not 0 < header.entries <= 4096:
        problems.append(f"its tables of {header.entries} entries do not exist")
    if header.compression not in (0, 1) or bool(header.flags & _COMPRESSED) != bool(header.flags & _MARKERS):
        problems.append("its compression is not known")
    return problems


def _descriptor(file: Window, header: _Header) -> tuple[dict[str, str], list[str]]:
    """What the embedded descriptor says, and what it must not say: anything about another file."""
    if not header.descriptor_at or not 0 < header.descriptor_length <= _MOST_DESCRIPTOR:
        return {}, ["it has no descriptor of its own"]
    facts, extents, problems = _lines(file.read_at(header.descriptor_at * SECTOR, header.descriptor_length * SECTOR))
    problems += _parent_problems(facts)
    if len(extents) != 1:
        problems.append(f"its descriptor names {len(extents)} extents where there is one")
    for _access, sectors, kind, name in extents:
        if kind != "SPARSE" or not name or "/" in name or "\\" in name:
            problems.append(f"its descriptor refers to another file ({kind} {name})")
        elif int(sectors) != header.capacity:
            problems.append(f"its descriptor gives the disk {sectors} sectors, its header {header.capacity}")
    return facts, problems


def _lines(data: bytes) -> tuple[dict[str, str], list[tuple[str, str, str, str]], list[str]]:
    """A descriptor's settings, its extents as (access, sectors, type, file), and what is wrong with its lines."""
    facts: dict[str, str] = {}
    extents: list[tuple[str, str, str, str]] = []
    problems = []
    for line in data.split(b"\0", 1)[0].decode("utf-8", "replace").splitlines():
        extent = _EXTENT.match(line)
        if extent is not None:
            extents.append((extent.group(1), extent.group(2), extent.group(3), extent.group(4) or ""))
        elif "=" in line and not line.lstrip().startswith("#"):
            key, _equals, value = line.partition("=")
            if key.strip() in facts:
                problems.append(f"its descriptor says {key.strip()} twice")
            facts[key.strip()] = value.strip().strip('"')
    return facts, extents, problems


def _parent_problems(facts: dict[str, str]) -> list[str]:
    if facts.get("parentCID", _NO_PARENT).lower().strip("0") in (_NO_PARENT, "") and "parentFileNameHint" not in facts:
        return []
    return ["it is a delta of another disk: make it self-contained"]


def _walk(file: Window, header: _Header) -> tuple[int, list[str]]:
    """Bytes of the grains that the tables hold; all that they point to must lie within the file."""
    directory_at = header.directory_at
    if directory_at == _GD_AT_END:
        # Written in one go, its tables follow the data, and what would be in the header is in a footer.
        footer = _parse(file.read_at(file.size - 2 * SECTOR, SECTOR))
        if footer is None or footer.capacity != header.capacity or footer.directory_at == _GD_AT_END:
            return 0, ["it has no footer: it is cut off"]
        directory_at = footer.directory_at
    sectors = file.size // SECTOR
    grains = -(-header.capacity // header.grain)
    tables = -(-grains // header.entries)
    if not directory_at or directory_at * SECTOR + tables * 4 > file.size:
        return 0, ["its directory lies beyond the end of the file: it is cut off"]
    used = 0
    for table in numbers(file.read_at(directory_at * SECTOR, tables * 4)):
        if not table:
            continue
        if table * SECTOR + header.entries * 4 > file.size:
            return 0, ["a table lies beyond the end of the file: it is cut off"]
        places = [place for place in numbers(file.read_at(table * SECTOR, header.entries * 4)) if place > 1]
        if places and max(places) >= sectors:
            return 0, ["its tables point beyond the end of the file: it is cut off"]
        used += len(places)
    return min(used * header.grain, header.capacity) * SECTOR, []


def numbers(data: bytes) -> array[int]:
    """Little-endian numbers of 4 bytes each."""
    numbers = array(next(code for code in _PLACES if array(code).itemsize == 4), data)
    if struct.pack("=I", 1) != struct.pack("<I", 1):
        numbers.byteswap()
    return numbers
