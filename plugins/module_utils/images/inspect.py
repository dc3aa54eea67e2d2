# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Whether an image from outside may be used. Rules and their histories: CVE-2024-32498, -40767, CVE-2022-47951, CVE-2015-5162.

Three must agree before a file is used: what the user says it is, what its bytes say, and what ``qemu-img`` finds when
told to read it as that. The bytes are looked at first, by code that follows no reference in them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Protocol

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import ImageRefused, ToolFailed
from ansible_collections.poolwright.virt.plugins.module_utils.images import qcow2_header, qemu_img, vdi, vhdx, vmdk
from ansible_collections.poolwright.virt.plugins.module_utils.images.formats import Detected, detect
from ansible_collections.poolwright.virt.plugins.module_utils.images.sizes import MAX_VIRTUAL_SIZE, SECTOR
from ansible_collections.poolwright.virt.plugins.module_utils.images.window import Window, open_window

# Recorded with every cached image: raise it when a rule is added, and cached images are looked at again.
RULES_VERSION = 2
_HEAD = 4096
# The compressions that are undone on the way, by their first bytes.
COMPRESSED = {"gzip": b"\x1f\x8b\x08", "xz": b"\xfd7zXZ\x00", "zstd": b"\x28\xb5\x2f\xfd"}
_READERS: dict[str, Reader] = {"vmdk": vmdk.read, "vhdx": vhdx.read, "vdi": vdi.read}
_MAGICS = (
    (0, b"QFI\xfb", "qcow2"),
    (0, b"QED\x00", "qed"),
    (0, b"KDMV", "vmdk"),
    (0, b"COWD", "vmdk"),
    (0, b"# Disk DescriptorFile", "vmdk"),
    (0, b"conectix", "vhd"),
    (0, b"vhdxfile", "vhdx"),
    (0, b"LUKS\xba\xbe", "luks"),
    (0, b"WithoutFreeSpace", "parallels"),
    (0, b"WithouFreSpacExt", "parallels"),
    (0, b"Bochs Virtual HD Image", "bochs"),
    (64, b"\x7f\x10\xda\xbe", "vdi"),
    *((0, magic, name) for name, magic in COMPRESSED.items()),
    (4, b"1AY&SY", "bzip2"),
    (0, b"PK\x03\x04", "zip"),
)
_REMEDIES = {
    "backing_file": "make it self-contained: qemu-img convert -O qcow2 OLD NEW",
    "data_file": "make it self-contained: qemu-img convert -O qcow2 OLD NEW",
    "unknown_features": "rewrite it with plain features: qemu-img convert -O qcow2 OLD NEW",
    "descriptor": "make it one file: qemu-img convert -O vmdk OLD NEW",
}


class Disk(Protocol):
    """What a format's own reader says of a disk, in bytes."""

    @property
    def virtual_size(self) -> int:
        """As its guest sees it."""

    @property
    def allocated(self) -> int:
        """Of the data in it, an upper bound."""


class Reader(Protocol):
    """Reads a file without following anything in it: the disk, or None and everything why it must not be used."""

    def __call__(self, file: Window, *, max_virtual_size: int) -> tuple[Disk | None, list[str]]:
        """:param max_virtual_size: bytes."""


@dataclass(frozen=True)
class Inspected:
    """A file that may be used: its format, and in bytes the disk it holds and the data in that disk (an upper bound)."""

    format: str
    virtual_size: int
    allocated: int


def inspect_file(path: str, declared: str, deadline: Deadline, *, name: str = "", max_virtual_size: int = MAX_VIRTUAL_SIZE) -> Inspected:
    """Look at a file from outside that nobody else can change any more.

    :param declared: the format its user says it has.
    :param name: what to call it in errors; its path by default.
    :raises ImageRefused: with the reason and, where there is one, the remedy.
    """
    name = name or path
    stat = os.stat(path)
    with open(path, "rb") as stream:
        head = stream.read(_HEAD)
    if declared == "vmdk" and vmdk.is_descriptor(head):
        raise _refused(name, "it is a descriptor only, and its disk is in other files", "give one file that holds all, or the descriptor as it is beside them")
    if stat.st_size < SECTOR:
        raise _refused(name, f"it has {stat.st_size} bytes: too few to be a disk", "look what the source delivers")
    header = qcow2_header.parse(head) if declared == "qcow2" else None
    _judge_content(name, declared, _pardoned(detect(path), header), _foreign_magic(head))
    own: Disk | None = None
    if declared == "qcow2":
        _judge_qcow2(name, header, stat.st_size)
    elif declared in _READERS:
        own = _read_tables(name, path, _READERS[declared], max_virtual_size)
    said = _ask_qemu(name, path, declared, deadline)
    expected = None if own is None else -(-own.virtual_size // SECTOR) * SECTOR
    if header is not None:
        expected = header.virtual_size
    if declared == "raw":
        expected = -(-stat.st_size // SECTOR) * SECTOR
    _judge_sizes(name, said.virtual_size, expected, max_virtual_size)
    if declared == "raw":
        return Inspected(declared, said.virtual_size, min(stat.st_blocks * 512, said.virtual_size))
    clusters = _walk_tables(name, path, declared, deadline)
    if own is not None:
        return Inspected(declared, said.virtual_size, own.allocated)
    allocated = said.virtual_size if clusters is None or header is None else min(clusters * header.cluster_size, said.virtual_size)
    return Inspected(declared, said.virtual_size, allocated)


def _pardoned(detected: Detected, header: qcow2_header.Qcow2Header | None) -> Detected:
    """The library knows the features of qcow2 up to one; extended L2 entries, which came after it, lead nowhere outside either."""
    if header is None or not header.plain_features:
        return detected
    return replace(detected, violations=tuple(pair for pair in detected.violations if pair[0] != "unknown_features"))


def _read_tables(name: str, path: str, read: Reader, most: int) -> Disk:
    with open_window(path) as file:
        disk, problems = read(file, max_virtual_size=most)
    if disk is None:
        raise _refused(name, "; ".join(problems), "make it self-contained, or fetch it again and give its checksum")
    return disk


def _judge_content(name: str, declared: str, detected: Detected, magic: str) -> None:
    """The bytes must match the declared format and no other, and pass that format's safety checks."""
    found = detected.formats
    # A raw disk that boots has a partition table. Odd ones (no partition, a bare boot loader) are the guest's affair.
    if found == ("gpt",) and declared == "raw":
        found = ("raw",)
    if found == ("raw",) and magic and magic != declared:
        found = (magic,)
    if len(found) > 1:
        raise _refused(name, f"its bytes are of several formats at once: {', '.join(found)}", "give an image that is one thing")
    if found != (declared,):
        was = "no format that is known" if found == ("raw",) else found[0]
        if was in COMPRESSED:
            raise _refused(name, f"it is said to be {declared}, but its bytes are of {was}", f"say that it is compressed: compression: {was}")
        raise _refused(name, f"it is said to be {declared}, but its bytes are of {was}", f"convert it to {declared}, or correct the format")
    if detected.formats == (declared,) and detected.violations:
        why = "; ".join(text for _check, text in detected.violations)
        hints = [_REMEDIES[check] for check, _text in detected.violations if check in _REMEDIES]
        raise _refused(name, f"it is unsafe or damaged: {why}", hints[0] if hints else "")


def _judge_qcow2(name: str, header: qcow2_header.Qcow2Header | None, file_size: int) -> None:
    problems = ["its header is cut off"] if header is None else header.problems(file_size)
    if problems:
        raise _refused(name, "; ".join(problems), "fetch it again, and give its checksum")


def _ask_qemu(name: str, path: str, declared: str, deadline: Deadline) -> qemu_img.ImageInfo:
    try:
        said = qemu_img.info(path, declared, deadline)
    except ToolFailed as exc:
        raise _refused(name, f"qemu-img cannot read it as {declared}: {_without(exc.message, path, name)}") from exc
    outside = said.backing or said.data_file
    if outside:
        raise _refused(name, f"it refers to another file ({outside})", _REMEDIES["backing_file"])
    others = [extent for extent in said.extents if extent != path]
    if others:
        raise _refused(name, f"it refers to another file ({others[0]})", _REMEDIES["descriptor"])
    if said.encrypted or said.corrupt:
        raise _refused(name, "it is encrypted" if said.encrypted else "it is marked as corrupt")
    if said.format != declared:
        raise _refused(name, f"it is said to be {declared}, but qemu-img reads {said.format}")
    return said


def _judge_sizes(name: str, virtual_size: int, expected: int | None, most: int) -> None:
    if expected is not None and virtual_size != expected:
        raise _refused(name, f"its own bytes give its disk {expected} bytes, qemu-img {virtual_size}")
    if virtual_size <= 0:
        raise _refused(name, "its disk has no size")
    if virtual_size > most:
        raise _refused(name, f"its disk would have {virtual_size} bytes, more than the {most} allowed", "an honest image is smaller")


def _walk_tables(name: str, path: str, declared: str, deadline: Deadline) -> int | None:
    try:
        return qemu_img.check(path, declared, deadline)
    except ToolFailed as exc:
        raise _refused(name, f"its tables are damaged, or it is cut off: {_without(exc.message, path, name)}", "fetch it again, and give its checksum") from exc


def _foreign_magic(head: bytes) -> str:
    """The format that a file's first bytes announce, also where its parser gave up on the rest; empty for none."""
    return next((label for offset, magic, label in _MAGICS if head.startswith(magic, offset)), "")


def _without(text: str, path: str, name: str) -> str:
    """The tool's words about the image, not about the temporary file that no longer is there; the first 500 characters."""
    return text.replace(path, name)[:500]


def _refused(name: str, why: str, hint: str = "") -> ImageRefused:
    return ImageRefused(f"the image is refused: {why}", obj=name, phase="inspect", hint=hint)
