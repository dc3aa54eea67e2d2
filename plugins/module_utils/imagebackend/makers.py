# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Who is making a volume: unfinished volumes are named after a locked directory of their maker, so a dead one's are known.

A volume group or a pool has no place to lock, and others may share it. A maker holds a scratch directory on its own
host; the unfinished volume's name says which host that is and which directory. Whoever meets such a volume of its own
host looks whether the directory is still locked. One of another host it leaves alone for a day.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock
from ansible_collections.poolwright.virt.plugins.module_utils.errors import OperationFailed
from ansible_collections.poolwright.virt.plugins.module_utils.images import scratch
from ansible_collections.poolwright.virt.plugins.module_utils.locks import try_flock

RESERVED = "poolwright-"
_PARENT = "/var/tmp"  # noqa: S108 (what is made in it is looked at before it is used)
_FOREIGN_SECONDS = 24 * 3600
_DIRECTORY = re.compile(r"\.volumes-[0-9a-f]{8}\.(\d+-\d+)\.part")
_NAME = re.compile(RESERVED + r"(new|del)-([a-z]+)-([0-9a-f]{8})-(\d+)-(\d+-\d+)")


@dataclass(frozen=True)
class Maker:
    """A living maker: ``directory`` is its own for files, ``mark`` what its volumes are named after."""

    directory: str
    mark: str

    def new_name(self, kind: str = "disk") -> str:
        """The name of a volume that is being made; ``kind`` tells several apart."""
        return f"{RESERVED}new-{kind}-{self.mark}"

    def dying_name(self, how: str) -> str:
        """The name of a volume that is being removed; ``how`` says what has to be done to it, for who finishes that."""
        return f"{RESERVED}del-{how}-{self.mark}"


@dataclass(frozen=True)
class Leftover:
    """A dead maker's volume: half made, or (``dying``) half removed in the way ``how``."""

    name: str
    dying: bool
    how: str


@contextlib.contextmanager
def maker(place: str, clock: Clock) -> Iterator[Maker]:
    """:param place: the group or pool that volumes are made in, as all who look after it call it.

    :raises OperationFailed: there is no directory to lock.
    """
    with scratch.scratch_directory(home(), _stem(place)) as directory:
        found = _DIRECTORY.fullmatch(os.path.basename(directory))
        serial = "0-0" if found is None else found.group(1)
        yield Maker(directory, f"{_host()}-{int(clock.now())}-{serial}")


def somebody_died(place: str) -> bool:
    """Whether a maker on this host was killed since the last ``forget_dead``; costs no look at any volume."""
    directory, prefix = home(), f".{_stem(place)}."
    return any(_is_dead(os.path.join(directory, name)) for name in os.listdir(directory) if name.startswith(prefix))


def leftover(place: str, name: str, clock: Clock) -> Leftover | None:
    """What a volume's name says, where its maker is dead; None for all others."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    state, how, host, since, serial = found.groups()
    here = host == _host()
    dead = _is_dead(os.path.join(home(), f".{_stem(place)}.{serial}.part")) if here else clock.now() - int(since) > _FOREIGN_SECONDS
    return Leftover(name, state == "del", how) if dead else None


def forget_dead(place: str) -> None:
    """Remove the directories of dead makers, once their volumes are gone from the place."""
    scratch.sweep(home(), _stem(place))


def _stem(place: str) -> str:
    return f"volumes-{hashlib.sha256(place.encode()).hexdigest()[:8]}"


def _is_dead(directory: str) -> bool:
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return True
    try:
        return try_flock(fd)
    finally:
        os.close(fd)


@functools.cache
def _host() -> str:
    parts = [os.uname().nodename, home()]
    with contextlib.suppress(OSError), open("/etc/machine-id", encoding="ascii") as stream:
        parts.append(stream.read())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


@functools.cache
def home() -> str:
    """A private directory on disk that outlives a reboot where there is one; contents may be as large as a disk's."""
    name = f"poolwright-virt-{os.geteuid()}"
    for parent in (_PARENT, tempfile.gettempdir()):
        path = os.path.join(parent, name)
        with contextlib.suppress(OSError):
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, 0o700)
            found = os.lstat(path)
            # Anybody may write to the parent: what somebody else put there is not used.
            if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and os.access(path, os.W_OK):
                return path
    raise OperationFailed("there is no directory for unfinished volumes", obj=os.path.join(_PARENT, name), phase="disk", hint=f"make {_PARENT} writable")
