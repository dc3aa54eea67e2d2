# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Unfinished files: where they are written, how they become finished ones, and how a dead run's are found.

Everything that is being made lives in a directory ``.<stem>.<unique>.part`` that its maker holds an ``flock`` on. A
directory whose lock is free belongs to nobody alive, so it can be removed at once, without a waiting period.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import shutil
from collections.abc import Iterator

from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy
from ansible_collections.poolwright.virt.plugins.module_utils.locks import still_named, try_flock

_SUFFIXES = (".part", ".lock")
_serial = itertools.count()


@contextlib.contextmanager
def scratch_directory(parent: str, stem: str) -> Iterator[str]:
    """A private (0700) locked directory in ``parent``; it goes with everything in it when the block ends."""
    path, fd = _make_locked(parent, stem)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(fd)


def _make_locked(parent: str, stem: str) -> tuple[str, int]:
    while True:
        path = os.path.join(parent, f".{stem}.{os.getpid()}-{next(_serial)}.part")
        try:
            os.mkdir(path, 0o700)
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except (FileExistsError, FileNotFoundError):
            # Taken by a process of another pid namespace, or swept before it was locked; a missing parent is an error.
            os.stat(parent)
            continue
        if try_flock(fd) and still_named(path, fd):
            return path, fd
        os.close(fd)


def sweep(parent: str, stem: str = "") -> list[str]:
    """Remove what dead makers left in ``parent`` (scratch directories and lock files), and return the paths.

    :param stem: only that stem's leftovers; empty for all.
    """
    prefix = f".{stem}." if stem else "."
    try:
        names = [name for name in os.listdir(parent) if name.startswith(prefix) and name.endswith(_SUFFIXES)]
    except OSError:  # not there, or not ours: whoever writes there next says so
        return []
    return [path for path in (os.path.join(parent, name) for name in names) if _remove_if_dead(path)]


def _remove_if_dead(path: str) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        if not (try_flock(fd) and still_named(path, fd)):
            return False
        if os.path.isdir(path):
            shutil.rmtree(path, ignore_errors=True)
        else:
            os.unlink(path)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def discard(directory: str) -> bool:
    """Remove a directory whose name goes first, and takes no room that may not be there; False where somebody else was faster."""
    parent, stem = os.path.split(directory)
    while True:
        doomed = os.path.join(parent, f".{stem}.{os.getpid()}-{next(_serial)}.part")
        try:
            os.rename(directory, doomed)
        except FileNotFoundError:
            return False
        except OSError as exc:
            # Taken by a process of another pid namespace.
            if exc.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            continue
        shutil.rmtree(doomed, ignore_errors=True)
        return True


def publish(path: str, final: str, mode: int) -> None:
    """Give a finished file its name, in place of any file that has it."""
    os.chmod(path, mode)
    os.replace(path, final)


def publish_new(path: str, final: str, mode: int) -> None:
    """Give a finished file its name unless one has it already: another run's disk is never replaced under its guest.

    :raises Busy: the name is taken.
    """
    os.chmod(path, mode)
    taken = Busy("the file is there already", obj=final, phase="publish", hint="another run made it, or an earlier one left it: remove it first")
    try:
        os.link(path, final)
    except FileExistsError:
        raise taken from None
    except OSError as exc:
        if exc.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK):
            raise
        # A file system without hard links.
        if os.path.lexists(final):
            raise taken from None
        os.rename(path, final)


def make_directories(path: str, mode: int = 0o755) -> None:
    """Make a directory and its missing parents, all of ``mode`` whatever the umask: qemu has to walk through them."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    if parent != path:
        make_directories(parent)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, mode)
        os.chmod(path, mode)


def sync_directory(path: str) -> None:
    """Make the names in a directory survive a crash of the host."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
