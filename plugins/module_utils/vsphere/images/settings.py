# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""How a datastore's image cache works: where, and how patiently."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.poolwright.virt.plugins.module_utils.images.sizes import MAX_VIRTUAL_SIZE
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images import claim, layout, upkeep

POLL_SECONDS = 2.0


@dataclass(frozen=True)
class Settings:
    """How patient a cache is, in seconds, and where it works.

    ``scratch`` is a directory of the controller for what is fetched and converted, "" one of this user's among the system's temporary
    ones. ``beat`` is how often a holder of a claim shows that he lives, ``dead`` after how long without that he counts as dead.
    """

    folder: str = layout.FOLDER
    scratch: str = ""
    validate_certs: bool = True
    max_virtual_size: int = MAX_VIRTUAL_SIZE
    beat: float = claim.BEAT_SECONDS
    dead: float = claim.DEAD_SECONDS
    poll: float = POLL_SECONDS
    abandoned: float = upkeep.ABANDONED_SECONDS

    def root(self, datastore: str) -> DatastorePath:
        """The cache's folder on the datastore of this name."""
        return DatastorePath.of(datastore, self.folder)
