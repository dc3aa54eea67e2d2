# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hostile, damaged and mislabelled images are refused with their reason, before a tool opens them; honest ones are not."""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import ImageRefused
from ansible_collections.poolwright.virt.plugins.module_utils.images.inspect import inspect_file
from ansible_collections.poolwright.virt.plugins.module_utils.images.qcow2_header import Qcow2Header, parse
from ansible_collections.poolwright.virt.tests.seeds import seeds

MIB = 1024 * 1024
Maker = Callable[[Path, Callable[..., str]], None]


def patched(path: Path, offset: int, data: bytes) -> None:
    with open(path, "r+b") as stream:
        stream.seek(offset)
        stream.write(data)


def overlay(path: Path, qemu: Callable[..., str]) -> None:
    base = path.with_name("base.qcow2")
    qemu("create", "-f", "qcow2", base, "8M")
    qemu("create", "-f", "qcow2", "-b", base, "-F", "qcow2", path)


def chained(path: Path, qemu: Callable[..., str]) -> None:
    overlay(path.with_name("middle.qcow2"), qemu)
    qemu("create", "-f", "qcow2", "-b", path.with_name("middle.qcow2"), "-F", "qcow2", path)


def backing_name(name: str) -> Maker:
    """A plain qcow2 whose header is given a backing file by hand, as an attacker would."""

    def make(path: Path, qemu: Callable[..., str]) -> None:
        qemu("create", "-f", "qcow2", path, "8M")
        patched(path, 8, struct.pack(">QI", 512, len(name)))
        patched(path, 512, name.encode())

    return make


def data_file(path: Path, qemu: Callable[..., str]) -> None:
    qemu("create", "-f", "qcow2", "-o", f"data_file={path}.data,data_file_raw=on", path, "8M")


def extended_l2(path: Path, qemu: Callable[..., str]) -> None:
    qemu("create", "-f", "qcow2", "-o", "extended_l2=on,cluster_size=128k", path, "8M")


def header_field(offset: int, fmt: str, *values: int) -> Maker:
    def make(path: Path, qemu: Callable[..., str]) -> None:
        qemu("create", "-f", "qcow2", path, "8M")
        patched(path, offset, struct.pack(fmt, *values))

    return make


def huge(path: Path, qemu: Callable[..., str]) -> None:
    qemu("create", "-f", "qcow2", "-o", "cluster_size=2M", path, "17T")


def written(data: bytes) -> Maker:
    def make(path: Path, qemu: Callable[..., str]) -> None:
        path.write_bytes(data)

    return make


def of_format(name: str, options: str = "") -> Maker:
    def make(path: Path, qemu: Callable[..., str]) -> None:
        qemu("create", "-f", name, *(["-o", options] if options else []), path, "8M")

    return make


DESCRIPTOR = b'# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 16384 FLAT "/etc/passwd" 0\n'
PASSWD = 'json:{"driver":"raw","file":{"driver":"file","filename":"/etc/passwd"}}'

REFUSED: list[tuple[str, str, Maker, str]] = [
    ("overlay", "qcow2", overlay, "backing file"),
    ("chained overlay", "qcow2", chained, "backing file"),
    ("backing file of the host", "qcow2", backing_name("/etc/passwd"), "backing file"),
    ("json: backing file", "qcow2", backing_name(PASSWD), "backing file"),
    ("nbd: backing file", "qcow2", backing_name("nbd://127.0.0.1/x"), "backing file"),
    ("external data file", "qcow2", data_file, "data_file"),
    ("unknown feature", "qcow2", header_field(72, ">Q", 1 << 40), "nknown QCOW2 features"),
    ("encrypted", "qcow2", header_field(32, ">I", 2), "encrypted"),
    ("marked corrupt", "qcow2", header_field(72, ">Q", 2), "corrupt"),
    ("qcow version 1", "qcow2", of_format("qcow"), "version"),
    ("future version", "qcow2", header_field(4, ">I", 9), "version"),
    ("absurd cluster size", "qcow2", header_field(20, ">I", 31), "cluster size"),
    ("no cluster size", "qcow2", header_field(20, ">I", 0), "cluster size"),
    ("absurd virtual size", "qcow2", header_field(24, ">Q", 2**62), "L1 table"),
    ("absurd virtual size with its tables", "qcow2", huge, "more than"),
    ("no virtual size", "qcow2", header_field(24, ">Q", 0), "no size"),
    ("L1 table elsewhere", "qcow2", header_field(40, ">Q", 2**40), "beyond the end"),
    ("L1 table between clusters", "qcow2", header_field(40, ">Q", 12345), "impossible place"),
    ("absurd L1 table", "qcow2", header_field(36, ">I", 2**31), "beyond the end"),
    ("refcounts elsewhere", "qcow2", header_field(48, ">Q", 2**40), "beyond the end"),
    ("absurd number of snapshots", "qcow2", header_field(60, ">I", 50_000), "50000 snapshots"),
    ("snapshots elsewhere", "qcow2", header_field(60, ">IQ", 2, 2**40), "snapshot table lies beyond"),
    ("absurd header length", "qcow2", header_field(100, ">I", 2**31), "impossible length"),
    ("header only", "qcow2", written(b"QFI\xfb\0\0\0\3".ljust(600, b"\0")), "cluster size"),
    ("first bytes only", "qcow2", written(b"QFI\xfb\0\0\0\3"), "too few"),
    ("empty", "raw", written(b""), "too few"),
    ("raw said to be qcow2", "qcow2", written(b"x" * MIB), "no format that is known"),
    ("qcow2 said to be raw", "raw", of_format("qcow2"), "bytes are of qcow2"),
    ("overlay said to be raw", "raw", overlay, "bytes are of qcow2"),
    ("qed said to be raw", "raw", of_format("qed"), "bytes are of qed"),
    ("qed said to be qcow2", "qcow2", of_format("qed"), "bytes are of qed"),
    ("qed", "qed", of_format("qed"), "unsafe"),
    ("vmdk said to be raw", "raw", of_format("vmdk"), "bytes are of vmdk"),
    ("vmdk descriptor of a host file said to be raw", "raw", written(DESCRIPTOR.ljust(2048, b"\n")), "bytes are of vmdk"),
    ("vmdk descriptor of a host file", "vmdk", written(DESCRIPTOR.ljust(2048, b"\n")), "disk is in other files"),
    ("vmdk flat", "vmdk", of_format("vmdk", "subformat=monolithicFlat"), "disk is in other files"),
    ("vmdk in several extents", "vmdk", of_format("vmdk", "subformat=twoGbMaxExtentSparse"), "disk is in other files"),
    ("vdi said to be raw", "raw", of_format("vdi"), "bytes are of vdi"),
    ("vhd said to be raw", "raw", of_format("vpc"), "bytes are of vhd"),
    ("vhdx said to be raw", "raw", of_format("vhdx"), "bytes are of vhdx"),
    ("broken vhdx said to be raw", "raw", written(b"vhdxfile".ljust(MIB, b"\xff")), "bytes are of vhdx"),
    ("parallels said to be raw", "raw", of_format("parallels"), "bytes are of parallels"),
    ("LUKS said to be raw", "raw", written(b"LUKS\xba\xbe\x00\x01".ljust(MIB, b"\0")), "bytes are of luks"),
    ("ISO said to be raw", "raw", written(bytes(32769) + b"CD001\x01".ljust(MIB, b"\0")), "bytes are of iso"),
    ("qcow2 and ISO at once", "qcow2", written(b"QFI\xfb\0\0\0\3".ljust(32769, b"\0") + b"CD001\x01".ljust(MIB, b"\0")), "several formats"),
]


@pytest.mark.parametrize(("declared", "make", "why"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_refused(tmp_path: Path, qemu: Any, soon: Deadline, declared: str, make: Maker, why: str) -> None:
    path = tmp_path / "image"
    make(path, qemu)
    with pytest.raises(ImageRefused, match=why) as caught:
        inspect_file(str(path), declared, soon, name="https://host/image")
    assert caught.value.obj == "https://host/image"
    assert str(tmp_path) not in str(caught.value) or "base" in str(caught.value)


@pytest.mark.parametrize("keep", [104, 512, 65536, 200_000, 300_000, 2 * MIB, -65536 - 1])
def test_a_cut_off_qcow2_is_refused(tmp_path: Path, qcow2_image: Path, soon: Deadline, keep: int) -> None:
    path = tmp_path / "image"
    shutil.copy(qcow2_image, path)
    os.truncate(path, keep if keep > 0 else path.stat().st_size + keep)
    with pytest.raises(ImageRefused):
        inspect_file(str(path), "qcow2", soon)


@pytest.mark.parametrize("seed", seeds(gate=5, soak=20))
def test_a_fuzzed_qcow2_is_judged_and_never_trips(tmp_path: Path, qcow2_image: Path, soon: Deadline, seed: int) -> None:
    chance = random.Random(seed)
    path = tmp_path / "image"
    shutil.copy(qcow2_image, path)
    for _time in range(chance.randint(1, 6)):
        patched(path, chance.choice([chance.randrange(4, 104), chance.randrange(4, 400_000)]), chance.randbytes(chance.choice([1, 4, 8])))
    try:
        inspected = inspect_file(str(path), "qcow2", soon)
    except ImageRefused:
        return
    assert 0 < inspected.virtual_size <= 16 * 1024**4


def test_no_tool_runs_on_what_its_bytes_give_away(tmp_path: Path, qemu: Any, soon: Deadline, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no tool to be found the refusal is the same: it came before one was looked for."""
    for number, make in enumerate((overlay, data_file, backing_name(PASSWD), written(DESCRIPTOR.ljust(2048, b"\n")))):
        (tmp_path / str(number)).mkdir()
        make(tmp_path / str(number) / "image", qemu)
    monkeypatch.setenv("PATH", "/nowhere")
    for number in range(4):
        with pytest.raises(ImageRefused):
            inspect_file(str(tmp_path / str(number) / "image"), "qcow2" if number < 3 else "raw", soon)


def with_snapshots(path: Path, qemu: Callable[..., str]) -> None:
    qemu("create", "-f", "qcow2", path, "8M")
    for name in ("one", "two"):
        qemu("snapshot", "-c", name, path)


GOOD: list[tuple[str, str, Maker]] = [
    ("qcow2", "qcow2", of_format("qcow2")),
    ("qcow2 version 2", "qcow2", of_format("qcow2", "compat=0.10")),
    ("qcow2 with lazy refcounts", "qcow2", of_format("qcow2", "lazy_refcounts=on")),
    ("qcow2 with small clusters", "qcow2", of_format("qcow2", "cluster_size=512")),
    ("qcow2 with large clusters", "qcow2", of_format("qcow2", "cluster_size=2M")),
    ("qcow2 with wide refcounts", "qcow2", of_format("qcow2", "refcount_bits=64")),
    ("qcow2 with extended L2 entries", "qcow2", extended_l2),
    ("preallocated qcow2", "qcow2", of_format("qcow2", "preallocation=metadata")),
    ("qcow2 with snapshots", "qcow2", with_snapshots),
    ("raw", "raw", of_format("raw")),
    ("raw with a boot sector and no partition", "raw", written(bytes(510) + b"\x55\xaa" + bytes(8 * MIB - 512))),
    ("raw with an odd length", "raw", written(b"x" * (8 * MIB - 11))),
    ("raw with qemu's magic inside", "raw", written(bytes(4096) + b"QFI\xfb" + bytes(8 * MIB - 4100))),
]


@pytest.mark.parametrize(("declared", "make"), [case[1:] for case in GOOD], ids=[case[0] for case in GOOD])
def test_accepted(tmp_path: Path, qemu: Any, soon: Deadline, declared: str, make: Maker) -> None:
    path = tmp_path / "image"
    make(path, qemu)
    inspected = inspect_file(str(path), declared, soon)
    assert (inspected.format, inspected.virtual_size) == (declared, 8 * MIB)


def test_a_partitioned_disk_is_raw(tmp_path: Path, soon: Deadline) -> None:
    path = tmp_path / "image"
    path.write_bytes(bytes(446) + struct.pack("<B3BB3BII", 0x80, 0, 2, 0, 0x83, 0, 0, 0, 1, 2047) + bytes(48) + b"\x55\xaa" + bytes(MIB - 512))
    assert inspect_file(str(path), "raw", soon).virtual_size == MIB


@pytest.mark.parametrize("options", ["-c", "-c -o compression_type=zstd", "-o cluster_size=4k"])
def test_data_is_counted(tmp_path: Path, raw_image: Path, qemu: Any, soon: Deadline, options: str) -> None:
    path = tmp_path / "image"
    qemu("convert", "-f", "raw", "-O", "qcow2", *options.split(), raw_image, path)
    inspected = inspect_file(str(path), "qcow2", soon)
    assert inspected.virtual_size == 8 * MIB
    assert 3 * MIB <= inspected.allocated <= 3 * MIB + 512 * 1024


def test_leaked_clusters_are_harmless(tmp_path: Path, qcow2_image: Path, soon: Deadline) -> None:
    path = tmp_path / "image"
    shutil.copy(qcow2_image, path)
    header = parse(path.read_bytes()[:104])
    assert isinstance(header, Qcow2Header)
    block = struct.unpack(">Q", path.read_bytes()[header.refcount_offset :][:8])[0]
    unused = (path.stat().st_size >> header.cluster_bits) - 1
    os.truncate(path, path.stat().st_size + 3 * header.cluster_size)
    patched(path, block + 2 * (unused + 2), b"\0\1")
    leaks = subprocess.run(["qemu-img", "check", "-f", "qcow2", str(path)], capture_output=True, check=False)
    assert leaks.returncode == 3
    assert inspect_file(str(path), "qcow2", soon).virtual_size == 8 * MIB


def test_the_limit_on_the_virtual_size_can_be_lowered(raw_image: Path, soon: Deadline) -> None:
    with pytest.raises(ImageRefused, match="more than the 1048576 allowed"):
        inspect_file(str(raw_image), "raw", soon, max_virtual_size=MIB)


def test_the_inspector_keeps_standard_error_clean(tmp_path: Path, qemu: Any, soon: Deadline, capfd: pytest.CaptureFixture[str]) -> None:
    overlay(tmp_path / "image", qemu)
    with pytest.raises(ImageRefused):
        inspect_file(str(tmp_path / "image"), "qcow2", soon)
    assert capfd.readouterr().err == ""
