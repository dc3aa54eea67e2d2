# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Where the controller keeps what it fetches and converts, for as long as it does."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator

from ansible_collections.poolwright.virt.plugins.module_utils.errors import OperationFailed
from ansible_collections.poolwright.virt.plugins.module_utils.images import scratch


@contextlib.contextmanager
def scratch_for_images(parent: str = "") -> Iterator[str]:
    """A directory of the controller that goes with the block, and with the next run if this one is killed.

    :param parent: where it is made; "" is this user's own directory among the system's temporary ones.
    """
    parent = parent or own_directory(tempfile.gettempdir())
    scratch.make_directories(parent, 0o700)
    scratch.sweep(parent, "image")
    with scratch.scratch_directory(parent, "image") as directory:
        yield directory


def sweep_scratch(parent: str = "") -> None:
    """Remove what killed runs left there; see ``scratch_for_images``."""
    scratch.sweep(parent or own_directory(tempfile.gettempdir()), "image")


def own_directory(parent: str) -> str:
    """This user's directory for scratch files. :raises OperationFailed: there is something else by its name."""
    path = os.path.join(parent, f"poolwright-virt-{os.getuid()}")
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise OperationFailed("it is not a directory of this user alone", obj=path, phase="fetch", hint="remove it, or set TMPDIR to another directory")
    return path
