# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""A guest moves switched off: its disks are sent, or made anew on another backend, and read back before it is defined."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import NotFound, OperationFailed, TransferFailed
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.registry import disk_image
from ansible_collections.poolwright.virt.plugins.module_utils.images import qemu_img
from ansible_collections.poolwright.virt.plugins.module_utils.images.scratch import scratch_directory, sweep
from ansible_collections.poolwright.virt.plugins.module_utils.images.sparse import naming_storage_errors
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host
from ansible_collections.poolwright.virt.plugins.module_utils.migration.moves import CONVERTED, DiskMove
from ansible_collections.poolwright.virt.plugins.module_utils.migration.prepare import read_back, send_file

_CHUNK = 1024 * 1024
_BESIDE_DEVICES = "/var/tmp"  # noqa: S108 (a directory of its own is made in it)


@dataclass(frozen=True)
class Sent:
    """A disk that has arrived. ``sha256`` is of what the guest sees where the disk's bytes are just that, else of its file."""

    sha256: str
    bytes: int


def send(source: Host, target: Host, move: DiskMove, deadline: Deadline) -> Sent:
    """Make the disk on the target, and read it back.

    :raises TransferFailed: what arrived is not what was sent.
    """
    if move.how != CONVERTED and not move.flat:
        return Sent(send_file(source, target, move.path, move.disk.file_size, deadline), move.disk.file_size)
    path, block = move.disk.path, move.disk.kind == "block"
    if not os.path.exists(path):
        hint = "run this on the host that the guest is on"
        raise NotFound(f"{path} is not on the host that this runs on", obj=move.disk.device, phase="send", hint=hint)
    # Beside the disk, where there is as much room as it takes itself; there is none beside a device.
    parent, name = (_BESIDE_DEVICES, path.strip("/").replace("/", "-")) if block else os.path.split(path)
    stem = f"{name}.moving"
    with naming_storage_errors(path, "convert"):
        sweep(parent, stem)
    with naming_storage_errors(path, "convert"), scratch_directory(parent, stem) as scratch:
        contents = path
        if not block:
            contents = os.path.join(scratch, "contents")
            qemu_img.convert(path, move.disk.format, contents, "raw", deadline)
        seen = _digest(contents, deadline)
        if move.place is not None and move.place.backend == "rbd":
            return _into_image(move, contents, os.path.join(scratch, "back"), seen, deadline)
        made = contents
        if move.format != "raw":
            made = os.path.join(scratch, "made")
            qemu_img.convert(contents, "raw", made, move.format, deadline)
            qemu_img.compare(contents, "raw", made, move.format, deadline)
        sent = _send_local(target, made, move.path, deadline)
        return Sent(seen, sent)


def _size(path: str) -> int:
    """Of a file or a device."""
    with open(path, "rb") as stream:
        return stream.seek(0, os.SEEK_END)


def _send_local(target: Host, path: str, to: str, deadline: Deadline) -> int:
    size = _size(path)
    parent, name = os.path.split(to)
    with target.directory(parent, make=True) as directory:
        if directory is None:
            raise NotFound("there is no such directory on the target, and none could be made", obj=parent, phase="send")
        directory.create(name, "raw", size)
        with open(path, "rb") as stream:
            sent = directory.write(name, stream, size, deadline)
    read_back(target, to, sent, size, deadline)
    return size


def _into_image(move: DiskMove, contents: str, found: str, seen: str, deadline: Deadline) -> Sent:
    """:param found: a path for what is read back."""
    if move.place is None:
        raise OperationFailed("no place was given for it", obj=move.disk.device, phase="send")
    place = disk_image(move.place.backend, move.place.location, os.path.basename(move.path), move.place.options)
    size = _size(contents)
    with open(contents, "rb") as stream:
        made = place.create_from_stream(stream, size, deadline)
    with open(found, "xb") as sink:
        place.read_to(made, sink, deadline)
    back = _digest(found, deadline)
    if back != seen:
        raise TransferFailed(f"its bytes have SHA-256 {seen}, and those of the new disk {back}", obj=move.path, phase="read back")
    return Sent(seen, size)


def _digest(path: str, deadline: Deadline) -> str:
    hasher = hashlib.sha256()
    with open(path, "rb") as stream:
        while chunk := stream.read(_CHUNK):
            deadline.check("reading the disk", obj=path, phase="send")
            hasher.update(chunk)
    return hasher.hexdigest()
