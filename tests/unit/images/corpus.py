# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hostile images, made as an attacker would, each with the reason why it is refused; and good ones of each kind that qemu-img makes.

What hostile ones lead to is a file ``bait`` beside them, by every way of naming it.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import random
import struct
import subprocess
import uuid
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MIB = 1024**2
MOST_UNPACKED = 64 * MIB

Qemu = Callable[..., str]
Maker = Callable[[Path, Path, Qemu], None]


@dataclass(frozen=True)
class Case:
    """A file to be made: what it is said to be, how, and a part of the reason why it is refused, "" for a good one."""

    name: str
    format: str
    make: Maker
    why: str = ""
    compression: str = ""


def patch(path: Path, offset: int, data: bytes) -> None:
    with open(path, "r+b") as stream:
        stream.seek(offset)
        stream.write(data)


def written(data: bytes | Callable[[], bytes]) -> Maker:
    """``data``, or what makes it where that takes time."""

    def make(path: Path, bait: Path, qemu: Qemu) -> None:
        path.write_bytes(data if isinstance(data, bytes) else data())

    return make


def of(format: str, *options: str, size: str = "8M") -> Maker:
    """An empty image as qemu-img makes it."""

    def make(path: Path, bait: Path, qemu: Qemu) -> None:
        qemu("create", "-f", format, *(argument for option in options for argument in ("-o", option)), path, size)

    return make


def filled(format: str, *options: str) -> Maker:
    """The same with data in it."""

    def make(path: Path, bait: Path, qemu: Qemu) -> None:
        raw = path.with_name(f"{path.name}.raw")
        chance = random.Random(11)
        raw.write_bytes(chance.randbytes(2 * MIB) + bytes(3 * MIB) + chance.randbytes(MIB) + bytes(2 * MIB))
        qemu("convert", "-f", "raw", "-O", format, *(argument for option in options for argument in ("-o", option)), raw, path)
        raw.unlink()

    return make


def patched(maker: Maker, offset: int, layout: str, *values: int | bytes) -> Maker:
    def make(path: Path, bait: Path, qemu: Qemu) -> None:
        maker(path, bait, qemu)
        patch(path, offset, struct.pack(layout, *values))

    return make


def cut(maker: Maker, keep: int | float) -> Maker:
    """The first ``keep`` bytes, or that part of it."""

    def make(path: Path, bait: Path, qemu: Qemu) -> None:
        maker(path, bait, qemu)
        os.truncate(path, int(path.stat().st_size * keep) if isinstance(keep, float) else keep)

    return make


# --- qcow2


def backed(name: str) -> Maker:
    """A plain qcow2 whose header is given a backing file; ``{bait}`` and ``{folder}`` stand for the places."""

    def make(path: Path, bait: Path, qemu: Qemu) -> None:
        qemu("create", "-f", "qcow2", path, "8M")
        told = name.replace("{bait}", str(bait)).encode()
        patch(path, 8, struct.pack(">QI", 512, len(told)))
        patch(path, 512, told)

    return make


def overlay(path: Path, bait: Path, qemu: Qemu) -> None:
    qemu("create", "-f", "qcow2", "-b", bait, "-F", "raw", path)


def chained(path: Path, bait: Path, qemu: Qemu) -> None:
    middle = path.with_name(f"{path.name}.middle")
    overlay(middle, bait, qemu)
    qemu("create", "-f", "qcow2", "-b", middle, "-F", "qcow2", path)


def data_file(raw: str) -> Maker:
    def make(path: Path, bait: Path, qemu: Qemu) -> None:
        other = path.with_name(f"{path.name}.data")
        qemu("create", "-f", "qcow2", "-o", f"data_file={other},data_file_raw={raw}", path, "8M")
        text = path.read_bytes()
        # The name that the header has leads to the bait.
        where = text.index(str(other).encode())
        patch(path, where, str(bait).encode().ljust(len(str(other)), b"\0")[: len(str(other))])

    return make


# --- vmdk


def described(old: bytes, new: bytes, subformat: str = "monolithicSparse") -> Maker:
    """A VMDK in one file whose embedded descriptor was edited."""

    def make(path: Path, bait: Path, qemu: Qemu) -> None:
        filled("vmdk", f"subformat={subformat}")(path, bait, qemu)
        data = path.read_bytes()[:65536]
        at, sectors = struct.unpack_from("<QQ", data, 28)
        text = data[at * 512 : (at + sectors) * 512].rstrip(b"\0")
        # An extent is named as the file was when it was made.
        told = old.replace(b"{self}", path.name.encode())
        assert told in text
        edited = text.replace(told, new.replace(b"{self}", path.name.encode()).replace(b"{bait}", str(bait).encode()))
        patch(path, at * 512, edited.ljust(sectors * 512, b"\0"))

    return make


def descriptor(kind: str, extent: str, more: str = "") -> Maker:
    """A VMDK that is only a descriptor of other files."""

    def make(path: Path, bait: Path, qemu: Qemu) -> None:
        text = f'# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n{more}createType="{kind}"\n{extent}\n'
        path.write_text(text.replace("{bait}", str(bait)).replace("{up}", f"../{bait.parent.name}/{bait.name}") + "\n" * 1024)

    return make


def second_descriptor(path: Path, bait: Path, qemu: Qemu) -> None:
    """With no capacity in its header, qemu takes what follows the header for a descriptor of extents anywhere."""
    filled("vmdk")(path, bait, qemu)
    at, _sectors = struct.unpack_from("<QQ", path.read_bytes()[:512], 28)
    text = f'# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 16384 FLAT "{bait}" 0\n'
    patch(path, 12, struct.pack("<Q", 0))
    patch(path, at * 512, text.encode().ljust(20 * 512, b"\0"))


def in_parts(kind: str, extent: str, part: Maker) -> Maker:
    """A descriptor of a file beside it, and that file, ``{part}``."""

    def make(path: Path, bait: Path, qemu: Qemu) -> None:
        beside = path.with_name("part")
        part(beside, bait, qemu)
        descriptor(kind, extent.replace("{part}", beside.name))(path, bait, qemu)

    return make


def split_off(maker: Maker, capacity: int) -> Maker:
    """The first extent of a split VMDK, whose header then gives it so many sectors."""

    def make(path: Path, bait: Path, qemu: Qemu) -> None:
        whole = path.with_name("whole")
        maker(whole, bait, qemu)
        whole.with_name("whole-s001").rename(path)
        patch(path, 12, struct.pack("<Q", capacity))
        # With no capacity in its header, qemu takes what follows the header for a descriptor of extents anywhere.
        text = f'# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 16384 FLAT "{bait}" 0\n'
        patch(path, struct.unpack_from("<Q", path.read_bytes()[:512], 28)[0] * 512, text.encode().ljust(20 * 512, b"\0"))

    return make


SPLIT = "subformat=twoGbMaxExtentSparse"
SPARSE_EXTENT = b'RW 16384 SPARSE "{self}"'

# --- vdi and vhdx

VHDX_PARAMETERS = uuid.UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b").bytes_le
VHDX_DISK_ID = uuid.UUID("beca12ab-b2e6-4523-93ef-c309e000c746").bytes_le
VHDX_SIZE = uuid.UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8").bytes_le
VHDX_METADATA = uuid.UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e").bytes_le
VHDX_TABLE = uuid.UUID("2dc27766-f623-4200-9d64-115e9bfd4a08").bytes_le
VHDX_PARENT = uuid.UUID("a8d35f2d-b30b-454d-abf7-d3d84834ab0c").bytes_le


def vhdx_item(guid: bytes, layout: str, *values: int) -> Maker:
    """A VHDX with another value for an item of its metadata."""

    def make(path: Path, bait: Path, qemu: Qemu) -> None:
        filled("vhdx")(path, bait, qemu)
        data = path.read_bytes()
        region = data.index(VHDX_METADATA, 192 * 1024)
        place = struct.unpack_from("<Q", data, region + 16)[0]
        entry = data.index(guid, place)
        patch(path, place + struct.unpack_from("<I", data, entry + 16)[0], struct.pack(layout, *values))

    return make


def vhdx_parent(path: Path, bait: Path, qemu: Qemu) -> None:
    """The item that only says which disk it is becomes a parent locator."""
    filled("vhdx")(path, bait, qemu)
    patch(path, path.read_bytes().index(VHDX_DISK_ID), VHDX_PARENT)


def vhdx_block(state: int, place: int) -> Maker:
    """A VHDX whose first block is said to be elsewhere."""

    def make(path: Path, bait: Path, qemu: Qemu) -> None:
        filled("vhdx")(path, bait, qemu)
        data = path.read_bytes()
        table = struct.unpack_from("<Q", data, data.index(VHDX_TABLE, 192 * 1024) + 16)[0]
        patch(path, table, struct.pack("<Q", place << 20 | state))

    return make


# --- compression


def squeezed(maker: Maker, pack: Callable[[bytes], bytes]) -> Maker:
    def make(path: Path, bait: Path, qemu: Qemu) -> None:
        maker(path, bait, qemu)
        path.write_bytes(pack(path.read_bytes()))

    return make


def zstd(data: bytes) -> bytes:
    return subprocess.run(["zstd", "-q", "-c"], input=data, capture_output=True, check=True).stdout


def two_gzips(data: bytes) -> bytes:
    """Two members, and the zeros that a tape adds."""
    return gzip.compress(data[:MIB]) + gzip.compress(data[MIB:]) + bytes(64)


def two_xzs(data: bytes) -> bytes:
    return lzma.compress(data[:MIB], preset=0) + bytes(8) + lzma.compress(data[MIB:], preset=0)


def greedy_xz(data: bytes) -> bytes:
    """An xz file that says it needs 4 GiB of memory to be unpacked."""
    packed = bytearray(lzma.compress(data, preset=0))
    length = (packed[12] + 1) * 4
    at = packed.index(b"\x21\x01", 12) + 2
    packed[at] = 40
    packed[12 + length - 4 : 12 + length] = struct.pack("<I", zlib.crc32(bytes(packed[12 + 0 : 12 + length - 4])))
    return bytes(packed)


BOMB = bytes(MOST_UNPACKED + MIB)
ISO = b"CD001\x01"


def with_iso(maker: Maker) -> Maker:
    def make(path: Path, bait: Path, qemu: Qemu) -> None:
        maker(path, bait, qemu)
        patch(path, 32769, ISO)

    return make


HOSTILE: list[Case] = [
    # other files, by every kind of reference
    Case("overlay", "qcow2", overlay, "backing file"),
    Case("overlay of an overlay", "qcow2", chained, "backing file"),
    Case("backing file by an absolute path", "qcow2", backed("{bait}"), "backing file"),
    Case("backing file by a relative path", "qcow2", backed("../bait/bait"), "backing file"),
    Case("backing file by file:", "qcow2", backed("file:{bait}"), "backing file"),
    Case("backing file by json:", "qcow2", backed('json:{"driver":"raw","file":{"driver":"file","filename":"{bait}"}}'), "backing file"),
    Case("backing file by nbd:", "qcow2", backed("nbd:unix:{bait}"), "backing file"),
    Case("backing file by http", "qcow2", backed("http://127.0.0.1:9/bait"), "backing file"),
    Case("backing file of a host device", "qcow2", backed("/dev/zero"), "backing file"),
    Case("external data file", "qcow2", data_file("off"), "data_file"),
    Case("raw external data file", "qcow2", data_file("on"), "data_file"),
    Case("vmdk descriptor of a flat file", "vmdk", descriptor("monolithicFlat", 'RW 16384 FLAT "{bait}" 0'), "no plain file beside it"),
    Case("vmdk descriptor with ..", "vmdk", descriptor("monolithicFlat", 'RW 16384 FLAT "{up}" 0'), "no plain file beside it"),
    Case("vmdk descriptor with escaped quotes", "vmdk", descriptor("monolithicFlat", 'RW 16384 FLAT "a\\"/{bait}" 0'), "no plain file beside it"),
    Case("vmdk descriptor of vmfs", "vmdk", descriptor("vmfs", 'RW 16384 VMFS "{bait}"'), "no plain file beside it"),
    Case("vmdk descriptor in parts", "vmdk", descriptor("twoGbMaxExtentSparse", 'RW 8192 SPARSE "{bait}"\nRW 8192 SPARSE "{bait}"'), "no plain file beside it"),
    Case("vmdk descriptor of a device", "vmdk", descriptor("fullDevice", 'RW 16384 FLAT "/dev/zero" 0'), "none of a disk in files beside it"),
    Case("vmdk descriptor of a URL", "vmdk", descriptor("monolithicFlat", 'RW 16384 FLAT "nbd:unix:{bait}" 0'), "no plain file beside it"),
    Case("vmdk descriptor that lies about its kind", "vmdk", descriptor("monolithicSparse", 'RW 16384 FLAT "{bait}" 0'), "none of a disk in files beside it"),
    Case("vmdk descriptor with a parent", "vmdk", descriptor("monolithicSparse", 'RW 16384 SPARSE "{bait}"', 'parentFileNameHint="{bait}"\n'), "delta"),
    Case("vmdk part that has no size", "vmdk", in_parts("twoGbMaxExtentSparse", 'RW 16384 SPARSE "{part}"', split_off(of("vmdk", SPLIT), 0)), "no size"),
    Case(
        "vmdk part of another size", "vmdk", in_parts("twoGbMaxExtentSparse", 'RW 16384 SPARSE "{part}"', split_off(of("vmdk", SPLIT), 32768)), "it has 32768"
    ),
    Case("vmdk part that is no sparse one", "vmdk", in_parts("twoGbMaxExtentSparse", 'RW 16384 SPARSE "{part}"', of("qcow2")), "does not begin as a sparse"),
    Case("vmdk part that is cut off", "vmdk", in_parts("monolithicFlat", 'RW 16384 FLAT "{part}" 0', of("raw", size="1M")), "has 1048576 bytes"),
    Case("vmdk part from its middle on", "vmdk", in_parts("monolithicFlat", 'RW 8192 FLAT "{part}" 8192', of("raw")), "no plain file beside it"),
    Case("vmdk part twice", "vmdk", in_parts("twoGbMaxExtentFlat", 'RW 16384 FLAT "{part}" 0\nRW 16384 FLAT "{part}" 0', of("raw")), "names a file twice"),
    Case("vmdk of 17 TiB in parts", "vmdk", in_parts("monolithicFlat", 'RW 36507222016 FLAT "{part}" 0', of("raw")), "at most"),
    Case("vmdk of no parts", "vmdk", descriptor("monolithicFlat", ""), "names 0 files"),
    Case("vmdk monolith with an absolute extent", "vmdk", described(SPARSE_EXTENT, b'RW 16384 FLAT "{bait}" 0'), "unsafe"),
    Case("vmdk monolith with an extent by ..", "vmdk", described(SPARSE_EXTENT, b'RW 16384 FLAT "../bait/bait" 0'), "unsafe"),
    Case("vmdk monolith with a quoted extent", "vmdk", described(SPARSE_EXTENT, b'RW 16384 SPARSE "x\\"/{bait}"'), "unsafe|another file"),
    Case("vmdk monolith with two extents", "vmdk", described(SPARSE_EXTENT, SPARSE_EXTENT + b'\nRW 16384 FLAT "{bait}" 0'), "unsafe"),
    Case("vmdk monolith with two sparse extents", "vmdk", described(SPARSE_EXTENT, SPARSE_EXTENT + b'\nRW 16384 SPARSE "bait"'), "2 extents"),
    Case("vmdk monolith with a parent", "vmdk", described(b"parentCID=ffffffff", b'parentCID=12345678\nparentFileNameHint="{bait}"'), "unsafe|delta"),
    Case("vmdk monolith said to be flat", "vmdk", described(b"monolithicSparse", b"monolithicFlat"), "unsafe"),
    Case("vmdk monolith said to be of vmfs", "vmdk", described(b"monolithicSparse", b"vmfsSparse"), "unsafe"),
    Case("vmdk monolith of two kinds", "vmdk", described(b"createType=", b'createType="streamOptimized"\ncreateType='), "unsafe|twice"),
    Case("vmdk monolith with a second descriptor", "vmdk", second_descriptor, "unsafe|no size"),
    Case("vmdk stream with another extent", "vmdk", described(b'"{self}"', b'"/{bait}"', "streamOptimized"), "unsafe|another file"),
    Case("vdi that needs a parent", "vdi", patched(filled("vdi"), 64 + 12, "<I", 4), "needs its parent"),
    Case("vdi that undoes another", "vdi", patched(filled("vdi"), 64 + 12, "<I", 3), "needs its parent"),
    Case("vdi with a parent's identity", "vdi", patched(filled("vdi"), 64 + 372, "16s", b"p" * 16), "needs its parent"),
    Case("vhdx that has a parent", "vhdx", vhdx_item(VHDX_PARAMETERS, "<II", MIB, 2), "delta"),
    Case("vhdx with a parent locator", "vhdx", vhdx_parent, "delta"),
    Case("vhdx with a block that is there in part", "vhdx", vhdx_block(7, 8), "delta"),
    # what it is not
    Case("qed", "qcow2", of("qed"), "bytes are of qed"),
    Case("qed said to be raw", "raw", of("qed"), "bytes are of qed"),
    Case("qcow2 said to be raw", "raw", of("qcow2"), "bytes are of qcow2"),
    Case("overlay said to be raw", "raw", overlay, "bytes are of qcow2"),
    Case("qcow2 said to be vmdk", "vmdk", of("qcow2"), "bytes are of qcow2"),
    Case("vmdk said to be qcow2", "qcow2", of("vmdk"), "bytes are of vmdk"),
    Case("vmdk said to be raw", "raw", of("vmdk"), "bytes are of vmdk"),
    Case("vmdk descriptor said to be raw", "raw", descriptor("monolithicFlat", 'RW 16384 FLAT "{bait}" 0'), "bytes are of vmdk"),
    Case("vdi said to be raw", "raw", of("vdi"), "bytes are of vdi"),
    Case("vhdx said to be vdi", "vdi", of("vhdx"), "bytes are of vhdx"),
    Case("vhd said to be vhdx", "vhdx", of("vpc"), "bytes are of vhd"),
    Case("raw said to be vhdx", "vhdx", written(b"x" * MIB), "no format that is known"),
    Case("parallels said to be raw", "raw", of("parallels"), "bytes are of parallels"),
    Case("LUKS said to be raw", "raw", written(b"LUKS\xba\xbe\x00\x01".ljust(MIB, b"\0")), "bytes are of luks"),
    Case("LUKS in qcow2", "qcow2", patched(of("qcow2"), 32, ">I", 2), "encrypted"),
    Case("ISO said to be raw", "raw", with_iso(written(bytes(MIB))), "bytes are of iso"),
    Case("qcow2 and ISO", "qcow2", with_iso(of("qcow2")), "several formats"),
    Case("vmdk and ISO", "vmdk", with_iso(filled("vmdk")), "several formats"),
    Case("vdi and ISO", "vdi", with_iso(filled("vdi")), "several formats"),
    Case("vhdx and ISO", "vhdx", with_iso(filled("vhdx")), "several formats"),
    # sizes
    Case("qcow2 of 17 TiB", "qcow2", of("qcow2", "cluster_size=2M", size="17T"), "more than"),
    Case("qcow2 of 4 EiB", "qcow2", patched(of("qcow2"), 24, ">Q", 2**62), "L1 table"),
    Case("vmdk of 8 EiB", "vmdk", patched(filled("vmdk"), 12, "<Q", 2**54), "more than|unsafe"),
    Case("vdi of 4 EiB", "vdi", patched(filled("vdi"), 64 + 304, "<Q", 2**62), "more than"),
    Case("vhdx of 20 TiB", "vhdx", vhdx_item(VHDX_SIZE, "<Q", 20 * 1024**4), "more than"),
    Case("gzip bomb", "raw", written(lambda: gzip.compress(BOMB)), "unpacks to more", "gzip"),
    Case("xz bomb", "raw", written(lambda: lzma.compress(BOMB, preset=0)), "unpacks to more", "xz"),
    Case("zstd bomb", "raw", written(lambda: zstd(BOMB)), "unpacks to more", "zstd"),
    Case("xz that wants all memory", "raw", written(lambda: greedy_xz(b"x" * MIB)), "memory", "xz"),
    Case("gzip in gzip", "raw", written(lambda: gzip.compress(gzip.compress(b"x" * MIB))), "bytes are of gzip", "gzip"),
    Case("overlay in xz", "qcow2", squeezed(overlay, lzma.compress), "backing file", "xz"),
    Case("flat vmdk in zstd", "vmdk", squeezed(descriptor("monolithicFlat", 'RW 16384 FLAT "{bait}" 0'), zstd), "disk is in other files", "zstd"),
    Case("xz said to be gzip", "raw", written(lambda: lzma.compress(b"x" * MIB)), "not gzip", "gzip"),
    Case("gzip said to be zstd", "raw", written(lambda: gzip.compress(b"x" * MIB)), "not zstd", "zstd"),
    Case("zstd said to be xz", "raw", written(lambda: zstd(b"x" * MIB)), "not xz", "xz"),
    Case("compressed and not said", "raw", written(lambda: lzma.compress(random.Random(3).randbytes(MIB))), "compression: xz"),
    Case("bzip2", "raw", written(lambda: bz2.compress(random.Random(3).randbytes(MIB))), "bytes are of bzip2"),
    Case("cut off gzip", "raw", written(lambda: gzip.compress(random.Random(3).randbytes(MIB))[:-100_000]), "cut off", "gzip"),
    Case("cut off xz", "raw", written(lambda: lzma.compress(random.Random(3).randbytes(MIB))[:-100_000]), "cut off", "xz"),
    Case("cut off zstd", "raw", written(lambda: zstd(random.Random(3).randbytes(MIB))[:-100_000]), "cut off", "zstd"),
    Case("gzip with something behind", "raw", written(lambda: gzip.compress(b"x" * MIB) + b"behind"), "not gzip, or damaged", "gzip"),
    Case("xz with something behind", "raw", written(lambda: lzma.compress(b"x" * MIB) + b"behind"), "something else follows", "xz"),
    Case("empty gzip", "raw", written(b""), "empty", "gzip"),
    # damaged
    Case("qcow2 with absurd clusters", "qcow2", patched(of("qcow2"), 20, ">I", 31), "cluster size"),
    Case("qcow2 without clusters", "qcow2", patched(of("qcow2"), 20, ">I", 0), "cluster size"),
    Case("qcow2 with absurd snapshots", "qcow2", patched(of("qcow2"), 60, ">I", 50_000), "50000 snapshots"),
    Case("qcow2 with tables elsewhere", "qcow2", patched(of("qcow2"), 40, ">Q", 2**40), "beyond the end"),
    Case("qcow2 with an unknown feature", "qcow2", patched(of("qcow2"), 72, ">Q", 1 << 40), "nknown QCOW2 features"),
    Case("qcow2 of version 9", "qcow2", patched(of("qcow2"), 4, ">I", 9), "version"),
    Case("qcow2 cut off", "qcow2", cut(filled("qcow2"), 0.5), "cut off|damaged"),
    Case("vmdk cut off", "vmdk", cut(filled("vmdk"), 0.5), "cut off"),
    Case("vmdk stream cut off", "vmdk", cut(filled("vmdk", "subformat=streamOptimized"), 0.5), "cut off|unsafe"),
    Case("vmdk with absurd grains", "vmdk", patched(filled("vmdk"), 20, "<Q", 2**40), "grains|unsafe"),
    Case("vmdk with absurd tables", "vmdk", patched(filled("vmdk"), 44, "<I", 2**31), "tables|unsafe"),
    Case("vmdk with its directory elsewhere", "vmdk", patched(filled("vmdk"), 56, "<Q", 2**50), "cut off|unsafe"),
    Case("vmdk whose descriptor is elsewhere", "vmdk", patched(filled("vmdk"), 28, "<Q", 2**50), "unsafe|descriptor"),
    Case("vdi cut off", "vdi", cut(filled("vdi"), 0.5), "cut off"),
    Case("vdi header only", "vdi", cut(filled("vdi"), 512), "cut off"),
    Case("vdi with absurd blocks", "vdi", patched(filled("vdi"), 64 + 312, "<I", 2**31), "do not exist"),
    Case("vdi with too few blocks", "vdi", patched(filled("vdi"), 64 + 320, "<I", 1), "do not fit"),
    Case("vdi with its table elsewhere", "vdi", patched(filled("vdi"), 64 + 276, "<II", 2**31, 2**31 + 512), "cut off|impossible"),
    Case("vhdx cut off", "vhdx", cut(filled("vhdx"), 0.6), "cut off"),
    Case("vhdx header only", "vhdx", cut(filled("vhdx"), 64 * 1024), "cut off|damaged"),
    Case("vhdx with absurd blocks", "vhdx", vhdx_item(VHDX_PARAMETERS, "<II", 2**31, 0), "do not exist"),
    Case("vhdx with a block elsewhere", "vhdx", vhdx_block(6, 2**30), "cut off"),
    Case("vhdx of 0xff", "vhdx", written(b"vhdxfile".ljust(MIB, b"\xff")), "no format that is known|damaged|cut off|bytes are of"),
    Case("empty", "raw", written(b""), "too few"),
    Case("first bytes only", "qcow2", written(b"QFI\xfb\0\0\0\3"), "too few"),
]

GOOD: list[Case] = [
    Case("raw", "raw", filled("raw")),
    Case("raw, preallocated", "raw", of("raw", "preallocation=full")),
    Case("qcow2", "qcow2", filled("qcow2")),
    Case("qcow2 version 2", "qcow2", filled("qcow2", "compat=0.10")),
    Case("qcow2 with lazy refcounts", "qcow2", filled("qcow2", "lazy_refcounts=on")),
    Case("qcow2 with the smallest clusters", "qcow2", filled("qcow2", "cluster_size=512")),
    Case("qcow2 with the largest clusters", "qcow2", filled("qcow2", "cluster_size=2M")),
    Case("qcow2 with narrow refcounts", "qcow2", filled("qcow2", "refcount_bits=1")),
    Case("qcow2 with wide refcounts", "qcow2", filled("qcow2", "refcount_bits=64")),
    Case("qcow2 with zstd clusters", "qcow2", filled("qcow2", "compression_type=zstd")),
    Case("qcow2 with extended L2 entries", "qcow2", filled("qcow2", "extended_l2=on,cluster_size=128k")),
    Case("qcow2, metadata preallocated", "qcow2", of("qcow2", "preallocation=metadata")),
    Case("qcow2, falloc", "qcow2", of("qcow2", "preallocation=falloc")),
    Case("qcow2, full", "qcow2", of("qcow2", "preallocation=full")),
    Case("vmdk, monolithicSparse", "vmdk", filled("vmdk", "subformat=monolithicSparse")),
    Case("vmdk, streamOptimized", "vmdk", filled("vmdk", "subformat=streamOptimized")),
    Case("vmdk, monolithicFlat", "vmdk", filled("vmdk", "subformat=monolithicFlat")),
    Case("vmdk, twoGbMaxExtentSparse", "vmdk", filled("vmdk", SPLIT)),
    Case("vmdk, twoGbMaxExtentFlat", "vmdk", filled("vmdk", "subformat=twoGbMaxExtentFlat")),
    Case("vmdk for lsilogic", "vmdk", filled("vmdk", "adapter_type=lsilogic")),
    Case("vmdk for buslogic", "vmdk", filled("vmdk", "adapter_type=buslogic")),
    Case("vmdk of version 6", "vmdk", filled("vmdk", "compat6=on")),
    Case("vmdk with zeroed grains", "vmdk", filled("vmdk", "zeroed_grain=on")),
    Case("empty vmdk", "vmdk", of("vmdk")),
    Case("vhdx, dynamic", "vhdx", filled("vhdx", "subformat=dynamic")),
    Case("vhdx, fixed", "vhdx", filled("vhdx", "subformat=fixed")),
    Case("vhdx with small blocks", "vhdx", filled("vhdx", "block_size=1M")),
    Case("vhdx with large blocks", "vhdx", filled("vhdx", "block_size=256M")),
    Case("empty vhdx", "vhdx", of("vhdx")),
    Case("vdi, dynamic", "vdi", filled("vdi")),
    Case("vdi, static", "vdi", filled("vdi", "static=on")),
    Case("empty vdi", "vdi", of("vdi")),
    Case("qcow2 in gzip", "qcow2", squeezed(filled("qcow2"), gzip.compress), compression="gzip"),
    Case("raw in xz", "raw", squeezed(filled("raw"), lzma.compress), compression="xz"),
    Case("raw in xz -9", "raw", squeezed(filled("raw"), lambda data: lzma.compress(data, preset=9)), compression="xz"),
    Case("vmdk in zstd", "vmdk", squeezed(filled("vmdk"), zstd), compression="zstd"),
    Case("vdi in gzip of two members", "vdi", squeezed(filled("vdi"), two_gzips), compression="gzip"),
    Case("vhdx in xz of two streams", "vhdx", squeezed(filled("vhdx"), two_xzs), compression="xz"),
]


def made(case: Case, folder: Path, qemu: Qemu) -> Path:
    """The case's file in a folder of its own, with the bait in the folder ``bait`` beside that."""
    folder.mkdir(parents=True)
    bait = folder.parent / "bait" / "bait"
    bait.parent.mkdir(exist_ok=True)
    if not bait.exists():
        bait.write_bytes(b"secret of the host" * (8 * MIB // 18))
    path = folder / "image"
    case.make(path, bait, qemu)
    return path
