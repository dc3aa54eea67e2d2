# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Who is bringing an image, so that several controllers do not all do. It only saves work: what is right comes from the rename.

A claim is a folder that is moved into place: of several that try, one succeeds. Its holder makes a new sub-folder in it now and then.
Whoever waits goes by whether that changes, so the clocks of the controllers need not agree.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import OperationFailed, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere import files
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import FileExists
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.files import Site
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.folders import mark
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.layout import is_dead

BEAT_SECONDS = 10.0
DEAD_SECONDS = 60.0
_TIDY_SECONDS = 60.0


def take(site: Site, root: DatastorePath, key: str, maker: str, deadline: Deadline) -> bool:
    """Take the claim on a key; False where somebody has it. The maker's temporary folder is there afterwards either way."""
    made = root.join("tmp", maker, "claim")
    files.make_directory(site, made.join(maker, "0"), deadline)
    claims = root.join("claims")
    files.make_directory(site, claims, deadline)
    try:
        files.move_file(site, made, claims.join(key), deadline)
    except FileExists:
        return False
    except OperationFailed:
        # A folder that appeared between vCenter's look and its move has other words for it.
        if files.stat(site, claims.join(key), deadline) is None:
            raise
        return False
    return True


@contextlib.contextmanager
def held(site: Site, root: DatastorePath, key: str, maker: str, seconds: float = BEAT_SECONDS) -> Iterator[None]:
    """Show that the holder of a claim lives while the block runs; the claim is given up after it."""
    own = root.join("claims", key, maker)
    over = threading.Event()

    def beat() -> None:
        number = 0
        while not over.wait(seconds):
            late = Deadline.after(site.clock, _TIDY_SECONDS)
            # A beat that is not seen costs another controller's patience, no more.
            with contextlib.suppress(VirtError):
                mark(site, own.join(str(number + 1)), late)
                files.delete_file(site, own.join(str(number)), late)
                number += 1

    thread = threading.Thread(target=beat, name="claim", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        give_up(site, root, key, maker)


def give_up(site: Site, root: DatastorePath, key: str, maker: str) -> None:
    """Remove a claim, unless somebody else has taken it meanwhile. Never raises: what is left is swept by a further run."""
    late = Deadline.after(site.clock, _TIDY_SECONDS)
    place = root.join("claims", key)
    with contextlib.suppress(VirtError):
        if maker in {folder.basename for folder in files.sub_folders(site, place, late)}:
            files.delete_file(site, place, late)


class Watch:
    """What a waiting run has seen of a claim, to tell a slow holder from a dead one."""

    def __init__(self, site: Site, dead_seconds: float = DEAD_SECONDS) -> None:
        self._site = site
        self._dead_seconds = dead_seconds
        self._seen: object = None
        self._since = site.clock.monotonic()

    def is_dead(self, claim: tuple[str, frozenset[str]]) -> bool:
        """:param claim: its holder and his beats, as of a ``Snapshot``."""
        now = self._site.clock.monotonic()
        if claim != self._seen:
            self._seen, self._since = claim, now
        return is_dead(claim[0]) or now - self._since >= self._dead_seconds
