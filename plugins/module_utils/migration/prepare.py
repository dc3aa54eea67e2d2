# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What is made on the target before a guest moves: files, and the directories they are in."""

from __future__ import annotations

import os
from collections.abc import Iterable

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import NotFound, TransferFailed
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host
from ansible_collections.poolwright.virt.plugins.module_utils.migration.facts import GuestFacts, HostFacts
from ansible_collections.poolwright.virt.plugins.module_utils.migration.moves import CONVERTED, COPIED, SENT, DiskMove
from ansible_collections.poolwright.virt.plugins.module_utils.migration.plan import Plan


def made_paths(plan: Plan, guest: GuestFacts) -> tuple[str, ...]:
    """The files that are made on the target."""
    files = [move.path for move in plan.of(COPIED, SENT, CONVERTED) if os.path.isabs(move.path)]
    return (*files, *(kept.path for kept in plan.kept), *([guest.nvram] if plan.nvram else []))


def made_directories(paths: Iterable[str], target: HostFacts) -> tuple[str, ...]:
    """The directories that are made there with them."""
    return tuple(dict.fromkeys(directory for directory in (os.path.dirname(path) for path in paths) if directory not in target.directories))


def make_empty(target: Host, move: DiskMove) -> None:
    """A disk that QEMU fills: the same size to the byte, the same format, and the same base unless it gets that one's contents too."""
    parent, name = os.path.split(move.path)
    backing = move.disk.chain[0] if move.disk.chain and not move.flat else None
    with target.directory(parent, make=True) as directory:
        if directory is None:
            raise NotFound("there is no such directory on the target, and none could be made", obj=parent, phase="prepare")
        directory.create(name, move.format, move.disk.size, backing)


def send_file(source: Host, target: Host, path: str, size: int, deadline: Deadline, *, to: str = "") -> str:
    """A file as it is, read back from the target; its SHA-256.

    :raises TransferFailed: what arrived is not what was sent.
    """
    final = to or path
    parent, name = os.path.split(path)
    with source.directory(parent) as mine, target.directory(os.path.dirname(final), make=True) as theirs:
        if mine is None or theirs is None:
            raise NotFound("its directory is gone", obj=path if mine is None else final, phase="send")
        theirs.create(os.path.basename(final), "raw", size)
        with mine.reading(name, deadline) as stream:
            sent = theirs.write(os.path.basename(final), stream, size, deadline)
        read_back(target, final, sent, size, deadline)
    return sent


def read_back(target: Host, path: str, sent: str, size: int, deadline: Deadline) -> None:
    """:raises TransferFailed: the target has other bytes."""
    parent, name = os.path.split(path)
    with target.directory(parent) as directory:
        if directory is None:
            raise NotFound("its directory is gone", obj=path, phase="read back")
        found, count = directory.digest(name, deadline)
    if (found, count) != (sent, size):
        hint = "see whether the target's storage or network loses bytes"
        raise TransferFailed(f"{size} bytes with SHA-256 {sent} were sent, the target has {count} with {found}", obj=path, phase="read back", hint=hint)


def remove_file(host: Host, path: str) -> bool:
    """False where there is none."""
    parent, name = os.path.split(path)
    with host.directory(parent) as directory:
        if directory is None or name not in directory.names():
            return False
        return directory.delete(name)


def remove_directory(host: Host, path: str) -> bool:
    """Remove it if nothing is in it; False where it stays, or was not there."""
    with host.directory(path) as directory:
        return directory is not None and directory.remove_if_empty()
