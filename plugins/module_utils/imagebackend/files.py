# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What the backends that keep a disk in one file have in common."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy, InvalidSpec, OperationFailed, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.images import scratch
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import CachedImage
from ansible_collections.poolwright.virt.plugins.module_utils.images.sparse import naming_storage_errors

# libvirt hands a disk to qemu's user when the guest starts; nobody else reads a tenant's data.
MODE = 0o600


def directory_problems(location: str) -> list[str]:
    if not location.startswith("/") or ".." in location.split("/") or "\0" in location:
        return [f"the disk directory {location!r} is not an absolute path without .."]
    return []


@contextlib.contextmanager
def new_file(final: str, image: CachedImage | None = None) -> Iterator[str]:
    """A path to make the disk at; it becomes ``final`` when the block ends without an error, else nothing is left.

    :param image: what it is made from, if anything.
    :raises Busy: ``final`` is there, looked for before and after.
    :raises OperationFailed: the image is gone from the cache. Errors of the block name ``final``, not the path it had.
    """
    parent, name = os.path.split(final)
    if os.path.lexists(final):
        raise Busy("the disk is there already", obj=final, phase="disk", hint="an earlier run left it: remove it first")
    if image is not None and not os.path.isfile(image.path):
        raise OperationFailed("its image is gone from the cache", obj=final, phase="disk", hint="run again: the image is then fetched")
    scratch.sweep(parent, name)
    with naming_storage_errors(final, "disk"), _room_beside(parent, name) as directory:
        unfinished = os.path.join(directory, name)
        try:
            yield unfinished
        except VirtError as exc:
            exc.obj = final
            exc.message = exc.message.replace(unfinished, final)
            raise
        scratch.publish_new(unfinished, final, MODE)


@contextlib.contextmanager
def _room_beside(parent: str, name: str) -> Iterator[str]:
    scratch.make_directories(parent)
    with scratch.scratch_directory(parent, name) as directory:
        yield directory


def write_contents(path: str, func: Callable[[str], None], size: int) -> None:
    """Let ``func`` write a raw disk at ``path``, and give it exactly ``size`` bytes."""
    with open(path, "xb"):
        pass
    func(path)
    written = os.stat(path).st_size
    if written > size:
        raise InvalidSpec([f"the contents of a disk have {written} bytes, the disk {size}"])
    os.truncate(path, size)


def sync_file(path: str) -> None:
    """Bytes before name: else a crash of the host could leave an empty disk that looks whole."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fdatasync(fd)
    finally:
        os.close(fd)


def remove_file(final: str) -> bool:
    """Remove a disk and what dead makers left of it; False where there was no disk."""
    parent, name = os.path.split(final)
    scratch.sweep(parent, name)
    try:
        os.unlink(final)
    except FileNotFoundError:
        return False
    return True
