# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What the backends that keep a disk in one file have in common."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from typing import IO

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy, InvalidSpec, NotFound, OperationFailed, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend import base, streams
from ansible_collections.poolwright.virt.plugins.module_utils.images import scratch
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import CachedImage
from ansible_collections.poolwright.virt.plugins.module_utils.images.sparse import CHUNK, copy_sparse, naming_storage_errors, reflink

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
    if os.path.lexists(final):
        raise base.taken(final)
    need_image(image, final)
    with _beside(final) as unfinished:
        yield unfinished
        scratch.publish_new(unfinished, final, MODE)


@contextlib.contextmanager
def replacement(final: str) -> Iterator[str]:
    """A path to make a file at that takes the place of ``final`` when the block ends without an error; else nothing is left."""
    with _beside(final) as unfinished:
        yield unfinished
        sync_file(unfinished)
        scratch.publish(unfinished, final, MODE)
        scratch.sync_directory(os.path.dirname(final))


@contextlib.contextmanager
def _beside(final: str) -> Iterator[str]:
    parent, name = os.path.split(final)
    with naming_storage_errors(final, "disk"):
        scratch.sweep(parent, name)
        scratch.make_directories(parent)
        with scratch.scratch_directory(parent, name) as directory:
            unfinished = os.path.join(directory, name)
            with naming_final(final, unfinished):
                yield unfinished


@contextlib.contextmanager
def naming_final(final: str, unfinished: str) -> Iterator[None]:
    """Have errors name the disk, and not the path or volume it has while it is made."""
    try:
        yield
    except InvalidSpec:
        raise
    except VirtError as exc:
        exc.obj = final
        exc.message = exc.message.replace(unfinished, final)
        raise


def need_image(image: CachedImage | None, obj: str) -> None:
    """:raises OperationFailed: the image is gone from the cache."""
    if image is not None and not os.path.isfile(image.path):
        raise OperationFailed("its image is gone from the cache", obj=obj, phase="disk", hint="run again: the image is then fetched")


def write_contents(path: str, func: Callable[[str], None], size: int) -> None:
    """Let ``func`` write a raw disk at ``path``, and give it exactly ``size`` bytes."""
    with open(path, "xb"):
        pass
    func(path)
    written = os.stat(path).st_size
    if written > size:
        raise InvalidSpec([f"the contents of a disk have {written} bytes, the disk {size}"])
    os.truncate(path, size)


def write_stream(path: str, stream: IO[bytes], size: int, deadline: Deadline) -> None:
    """A raw disk of ``size`` bytes at ``path`` with a stream's contents, zeros as holes."""
    with open(path, "xb") as target:
        streams.copy_in(stream, target.fileno(), size, deadline, os.path.basename(path), skip_zeros=True)
        os.ftruncate(target.fileno(), size)


def read_file(path: str, stream: IO[bytes], size: int, deadline: Deadline) -> None:
    with open(path, "rb", buffering=0) as source:
        streams.copy_out(source, stream, size, deadline, path)


def copy_file(source: str, target: str, deadline: Deadline) -> None:
    """A new file with the same bytes: shared blocks where the file system can, holes kept where not."""
    with open(source, "rb", buffering=0) as origin, open(target, "xb", buffering=0) as copy:
        if not reflink(origin.fileno(), copy.fileno()):
            copy_sparse(origin.fileno(), copy.fileno(), deadline, target)


def lengthen(path: str, size: int, preallocation: str = "off") -> None:
    """Give a raw file ``size`` bytes, and all its blocks: ``falloc`` reserves them, ``full`` writes zeros into its holes.

    It has that length only once it has the blocks: a call that was killed is seen to be unfinished. One that fails leaves the length it had.
    """
    with open(path, "r+b", buffering=0) as file:
        fd = file.fileno()
        before = os.fstat(fd).st_size
        try:
            if preallocation == "falloc":
                os.posix_fallocate(fd, 0, size)
            elif preallocation == "full":
                _fill_holes(fd, before)
                _write_zeros(fd, before, size)
            os.ftruncate(fd, size)
        except OSError:
            os.ftruncate(fd, before)
            raise


def _fill_holes(fd: int, size: int) -> None:
    position = 0
    while position < size:
        begin = os.lseek(fd, position, os.SEEK_HOLE)
        if begin >= size:
            return
        try:
            position = os.lseek(fd, begin, os.SEEK_DATA)
        except OSError:  # nothing but a hole up to the end
            position = size
        _write_zeros(fd, begin, position)


def _write_zeros(fd: int, begin: int, end: int) -> None:
    while begin < end:
        begin += os.pwrite(fd, bytes(min(CHUNK, end - begin)), begin)


def sync_file(path: str) -> None:
    """Bytes before name: else a crash of the host could leave an empty disk that looks whole."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fdatasync(fd)
    finally:
        os.close(fd)


def is_disk(final: str) -> bool:
    """Whether it is a regular file; a link or a directory of that name is nothing that we made."""
    try:
        return stat.S_ISREG(os.lstat(final).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def need_disk(final: str) -> None:
    if not is_disk(final):
        raise no_disk(final)


def no_disk(final: str) -> NotFound:
    return NotFound("there is no such disk", obj=final, phase="disk", hint="make it first")


def free_bytes(directory: str) -> int:
    """Room on the file system that holds the directory, or that will."""
    while not os.path.isdir(directory):
        directory = os.path.dirname(directory)
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize


def used_bytes(final: str) -> int:
    """Blocks that a disk's file has. :raises NotFound: there is no such disk."""
    need_disk(final)
    return os.stat(final).st_blocks * 512


def remove_file(final: str) -> bool:
    """Remove a disk, its snapshots and what dead makers left of it; False where there was no disk."""
    if os.path.lexists(final) and not is_disk(final):
        raise base.foreign(final)
    parent, name = os.path.split(final)
    scratch.sweep(parent, name)
    # The disk goes last: as long as something is left of it, it is there to be removed.
    for snapshot in snapshots(final):
        remove_snapshot(final, snapshot)
    return _unlink(final)


# -- snapshots: copies beside the disk, with a character in their names that no disk has


SNAPSHOT_MARK = "@"


def snapshot_path(final: str, snapshot: str) -> str:
    return f"{final}{SNAPSHOT_MARK}{base.snapshot_name(snapshot)}"


def snapshots(final: str) -> list[str]:
    parent, name = os.path.split(final)
    try:
        return sorted(entry[len(name) + 1 :] for entry in os.listdir(parent) if entry.startswith(f"{name}{SNAPSHOT_MARK}"))
    except (FileNotFoundError, NotADirectoryError):
        return []


def take_snapshot(final: str, snapshot: str, deadline: Deadline, finish: Callable[[str], None] = lambda path: None) -> None:
    """:param finish: what is done to the copy.   :raises Busy: there is one of that name."""
    kept = snapshot_path(final, snapshot)
    need_disk(final)
    if os.path.lexists(kept):
        raise Busy("there is a snapshot of that name", obj=kept, phase="snapshot", hint="delete it first, or choose another name")
    with new_file(kept) as path:
        copy_file(final, path, deadline)
        finish(path)
        sync_file(path)


def remove_snapshot(final: str, snapshot: str) -> bool:
    return _unlink(snapshot_path(final, snapshot))


def _unlink(path: str) -> bool:
    """False where there is no such file."""
    with naming_storage_errors(path, "remove"):
        try:
            os.unlink(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True


@contextlib.contextmanager
def reverted(final: str, snapshot: str, deadline: Deadline) -> Iterator[str]:
    """A copy of the snapshot that takes the disk's place when the block ends. :raises NotFound: there is no such snapshot."""
    kept = snapshot_path(final, snapshot)
    if not is_disk(kept):
        raise NotFound("there is no such snapshot", obj=kept, phase="snapshot", hint=f"there are: {', '.join(snapshots(final)) or 'none'}")
    with contextlib.ExitStack() as stack:
        path = stack.enter_context(replacement(final))
        copy_file(kept, path, deadline)
        yield path
