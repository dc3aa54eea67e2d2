# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs ``DatastoreImageCache.ensure`` once, and with ``kill_at`` ends itself by SIGKILL just before its n-th call to vCenter."""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.endpoint import Credentials, Endpoint, Secret
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.files import Site
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.cache import DatastoreImageCache
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.image import VMwareImage
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.settings import Settings
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Inventory
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.transfer import Transfer
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.vim import VIM


class EndingStats(Stats):
    """Ends the process at a call, counted from the start."""

    def __init__(self, clock: Clock, kill_at: int) -> None:
        super().__init__(clock)
        self._left = kill_at

    def call(self, name: str) -> int:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().call(name)


def main(where: dict[str, Any], user: str, password: str, settings: dict[str, Any], source: str, size_gb: float | None = None, kill_at: int = 0) -> None:
    clock = Clock()
    stats = EndingStats(clock, kill_at)
    with VIM(Endpoint(**where), Credentials(user, Secret(password)), clock, stats) as vim:
        inventory = Inventory(vim)
        transfer = Transfer(Site(vim, inventory), stats=stats)
        cache = DatastoreImageCache(vim, inventory, transfer, clock, stats, settings=Settings(**settings))
        print(cache.ensure(VMwareImage(source), inventory.datastore("LocalDS_0"), Deadline.after(clock, 600), size_gb=size_gb).path)


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
