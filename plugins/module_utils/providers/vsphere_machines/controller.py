# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What a controller keeps of its own: who it is, and which of its runs holds which pool.

Nothing here is about a pool's machines. It lies in ``$XDG_STATE_HOME/poolwright/vsphere``, or below ``~/.local/state``.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from urllib.parse import quote

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.images.scratch import make_directories
from ansible_collections.poolwright.virt.plugins.module_utils.images.sparse import naming_storage_errors
from ansible_collections.poolwright.virt.plugins.module_utils.locks import FileLock, sweep_locks

_PRIVATE = 0o700


def default_directory(environment: Mapping[str, str], home: str) -> str:
    state = environment.get("XDG_STATE_HOME", "")
    return os.path.join(state if os.path.isabs(state) else os.path.join(home, ".local", "state"), "poolwright", "vsphere")


class Controller:
    """This controller, as the runs against one vCenter see it."""

    def __init__(self, directory: str, server: str) -> None:
        """:param server: the vCenter, as its locks are kept apart from those of others."""
        self.directory = directory
        self._locks = os.path.join(directory, quote(server, safe=""))

    def identity(self) -> str:
        """An id that is this controller's from now on; made by the first that asks."""
        path = os.path.join(self.directory, "controller-id")
        with naming_storage_errors(self.directory, "lock"):
            known = _read(path)
            if not known:
                make_directories(self.directory, _PRIVATE)
                mine = f"{path}.{uuid.uuid4().hex}"
                with open(mine, "x", encoding="ascii") as stream:
                    stream.write(uuid.uuid4().hex)
                # Whoever links first has made it; a file that is there is never half-written.
                with contextlib.suppress(FileExistsError):
                    os.link(mine, path)
                os.unlink(mine)
                known = _read(path)
        return known

    @contextmanager
    def holding(self, pools: Sequence[str], clock: Clock, deadline: Deadline) -> Iterator[None]:
        """Keep this controller's other runs off the pools. :raises Busy: one of them held a pool until the deadline."""
        with ExitStack() as held:
            with naming_storage_errors(self._locks, "lock"):
                make_directories(self._locks, _PRIVATE)
            for pool in pools:
                held.enter_context(FileLock(os.path.join(self._locks, f"{quote(pool, safe='')}.lock"), clock, deadline))
            with naming_storage_errors(self._locks, "lock"):
                sweep_locks(self._locks)
            yield


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as stream:
            return stream.read().strip()
    except FileNotFoundError:
        return ""
