# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Names of unfinished files and folders on datastores, and whether their maker is gone.

What is being made lies beside its place under ``<stem>.poolwright-<host>-<pid>-<start>-<number><suffix>``: a run that was killed
leaves no more than that, and a later one for the same place removes it.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import re
import secrets
import socket
from datetime import datetime, timezone

from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath

FOREIGN_SECONDS = 3600.0
"""How long an unfinished file of another host may have had no byte added before its maker counts as gone."""

_NAME = re.compile(r"(?P<stem>.+)\.poolwright-(?P<host>[0-9a-f]{8})-(?P<pid>\d+)-(?P<start>\d+)-\d+[0-9a-f]{4}(?:-[a-z]+)?(?P<suffix>(?:\.[^.]+)?)\Z")
_serial = itertools.count(1)


def temporary(path: DatastorePath) -> DatastorePath:
    """A new name beside ``path``, with its suffix: what vSphere makes of a file goes by that."""
    number = f"{next(_serial)}{secrets.token_hex(2)}"
    return path.parent.join(f"{path.stem}.poolwright-{_host()}-{os.getpid()}-{_start_of(os.getpid())}-{number}{path.suffix}")


def is_temporary(path: DatastorePath) -> bool:
    return _NAME.match(path.basename) is not None


def is_temporary_of(path: DatastorePath, final: DatastorePath) -> bool:
    """Whether it was to become ``final``, or is an extent of a disk that was."""
    found = _NAME.match(path.basename)
    return found is not None and path.parent == final.parent and found["stem"] == final.stem and found["suffix"] == final.suffix


def is_abandoned(path: DatastorePath, modified: datetime | None, now: float) -> bool:
    """Whether nobody works on this unfinished file any more: its process on this host is gone, or, from elsewhere, it has long been still.

    :param now: seconds since the epoch.
    """
    found = _NAME.match(path.basename)
    if found is None:
        return False
    if found["host"] == _host():
        return _start_of(int(found["pid"])) != int(found["start"])
    return modified is not None and now - modified.astimezone(timezone.utc).timestamp() > FOREIGN_SECONDS


def _host() -> str:
    """This host, as far as numbers of processes mean the same."""
    about = [socket.gethostname()]
    with contextlib.suppress(OSError):
        about.append(os.readlink("/proc/self/ns/pid"))
    with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
        about.append(stream.read())
    return hashlib.sha256("\n".join(about).encode()).hexdigest()[:8]


def _start_of(pid: int) -> int:
    """When the process began, in the kernel's ticks; 0 where there is none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stream:
            # The program's name, in brackets, may hold anything.
            return int(stream.read().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0
