# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""VMDKs that are a descriptor and files beside it: they become one file when they come.

No tool ever reads the descriptor that came. Nothing is reached by the names in it but what lies beside it, and the tool that puts
the disk together gets a descriptor of ours. The digest is of the descriptor and all those files after it, as ``cat`` would join them.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import ImageRefused
from ansible_collections.poolwright.virt.plugins.module_utils.images import fetch, qemu_img, vmdk
from ansible_collections.poolwright.virt.plugins.module_utils.images.fetch import FileIdentity, Received
from ansible_collections.poolwright.virt.plugins.module_utils.images.sizes import MAX_UNPACKED_SIZE, MAX_VIRTUAL_SIZE
from ansible_collections.poolwright.virt.plugins.module_utils.images.source import ImageSource
from ansible_collections.poolwright.virt.plugins.module_utils.images.sparse import check_space
from ansible_collections.poolwright.virt.plugins.module_utils.images.web import Validators
from ansible_collections.poolwright.virt.plugins.module_utils.images.window import open_window

MOST_BYTES = 1024 * 1024
_REMEDY = "give one file that holds all: qemu-img convert -O vmdk OLD NEW"


@dataclass(frozen=True)
class Parts:
    """A disk whose parts are here: ``files`` are absolute paths, one for each of the ``extents``; ``received`` is of all that came."""

    received: Received
    extents: tuple[vmdk.Extent, ...]
    files: tuple[str, ...]


def are_beside(source: ImageSource, path: str) -> bool:
    """Whether the file that came for a source, unpacked by nobody, says that its disk is in others."""
    if source.format != "vmdk" or source.compression:
        return False
    return vmdk.is_descriptor(_begin(path, len(vmdk.DESCRIPTOR_MAGIC)))


def gather(
    source: ImageSource,
    received: Received,
    path: str,
    deadline: Deadline,
    *,
    validate_certs: bool = True,
    max_virtual_size: int = MAX_VIRTUAL_SIZE,
) -> Parts:
    """Bring the files that the descriptor at ``path`` names beside it, under names of ours, and judge each.

    :raises ImageRefused: it names anything but files beside it, or they are not what it says.   :raises VirtError: see ``fetch``.
    """
    extents = _extents(source, _begin(path, MOST_BYTES + 1), max_virtual_size)
    directory, files, came = os.path.dirname(path), [], [received]
    for number, extent in enumerate(extents):
        place, file = source.sibling(extent.name), os.path.join(directory, f"part-{number}")
        # The sum is in the algorithm of the source, whatever a file beside it would have by default.
        place = replace(place, checksum=source.checksum)
        with open(file, "xb", buffering=0) as stream:
            part = fetch.fetch(place, stream.fileno(), directory, deadline, validate_certs=validate_certs, after=came[-1].hasher, links=False)
        if part is None:
            raise AssertionError("no version was known, so none is still current")
        with open_window(file) as window:
            problems = vmdk.read_part(window, extent)
        if problems:
            raise _refused(source, problems)
        files.append(file)
        came.append(part)
    return Parts(_summed(came), extents, tuple(files))


def assemble(source: ImageSource, parts: Parts, path: str, deadline: Deadline) -> Received:
    """Make one sparse VMDK of the parts, in place of the descriptor at ``path``; what was received, with the bytes that it has now."""
    directory = os.path.dirname(path)
    check_space(directory, sum(os.stat(file).st_blocks * 512 for file in parts.files), "fetch")
    ours, whole = os.path.join(directory, "descriptor"), os.path.join(directory, "whole")
    lines = [
        f'RW {extent.sectors} FLAT "{os.path.basename(file)}" 0' if extent.flat else f'RW {extent.sectors} SPARSE "{os.path.basename(file)}"'
        for extent, file in zip(parts.extents, parts.files)
    ]
    kind = "twoGbMaxExtentFlat" if parts.extents[0].flat else "twoGbMaxExtentSparse"
    with open(ours, "x", encoding="ascii") as stream:
        stream.write("\n".join(["# Disk DescriptorFile", "version=1", "CID=fffffffe", "parentCID=ffffffff", f'createType="{kind}"', *lines, ""]))
    qemu_img.convert(ours, "vmdk", whole, "vmdk", deadline, options={"subformat": "monolithicSparse"})
    for file in (ours, *parts.files):
        os.unlink(file)
    os.replace(whole, path)
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
        return replace(parts.received, stored=os.fstat(fd).st_size)
    finally:
        os.close(fd)


def measure(
    source: ImageSource,
    deadline: Deadline,
    *,
    validate_certs: bool = True,
    max_unpacked_size: int = MAX_UNPACKED_SIZE,
    max_virtual_size: int = MAX_VIRTUAL_SIZE,
) -> str:
    """The digest of all that a source is, keeping nothing.

    :raises VirtError: see ``fetch.measure`` and ``gather``.
    """
    most = MOST_BYTES + 1 if source.format == "vmdk" and not source.compression else 0
    received = fetch.measure(source, deadline, validate_certs=validate_certs, max_unpacked_size=max_unpacked_size, head=most)
    if most and vmdk.is_descriptor(received.head):
        for extent in _extents(source, received.head, max_virtual_size):
            place = replace(source.sibling(extent.name), checksum=source.checksum)
            received = fetch.measure(place, deadline, validate_certs=validate_certs, after=received.hasher, links=False)
    return received.digest


def identity_of(source: ImageSource) -> FileIdentity | None:
    """A local source's identity with that of the files that it names; None where one of them is not there."""
    own = fetch.identity_of(source)
    with contextlib.suppress(OSError, ImageRefused):
        if own is None or not are_beside(source, source.path):
            return own
        found = [own]
        for extent in _extents(source, _begin(source.path, MOST_BYTES + 1), MAX_VIRTUAL_SIZE):
            found.append(FileIdentity.of(os.lstat(source.sibling(extent.name).path)))
        return _joined(found)
    return None


def _summed(came: list[Received]) -> Received:
    """What several files are together. A server can only tell of each of them whether it has changed, so it is asked of none."""
    identities = [part.identity for part in came if part.identity is not None]
    identity = _joined(identities) if len(identities) == len(came) else None
    return Received(came[-1].digest, sum(part.size for part in came), Validators(), identity)


def _joined(identities: list[FileIdentity]) -> FileIdentity:
    """Whatever is changed or put in the place of another has a later time than all of them had."""
    first = identities[0]
    return FileIdentity(
        first.device,
        first.inode,
        sum(one.size for one in identities),
        max(one.mtime_ns for one in identities),
        max(one.ctime_ns for one in identities),
    )


def _begin(path: str, length: int) -> bytes:
    # Not blocking: a FIFO would wait for its writer.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as stream:
        return stream.read(length) or b""


def _extents(source: ImageSource, text: bytes, max_virtual_size: int) -> tuple[vmdk.Extent, ...]:
    if len(text) > MOST_BYTES:
        raise _refused(source, [f"a descriptor has at most {MOST_BYTES} bytes, and it has more"])
    extents, problems = vmdk.read_parts(text, max_virtual_size=max_virtual_size)
    if problems:
        raise _refused(source, problems)
    return extents


def _refused(source: ImageSource, problems: list[str]) -> ImageRefused:
    return ImageRefused(f"the image is refused: {'; '.join(problems)}", obj=str(source), phase="inspect", hint=_REMEDY)
