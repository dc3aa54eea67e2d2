# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""One run for one guest."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host
from ansible_collections.poolwright.virt.plugins.module_utils.migration.wish import Wish

Result = dict[str, Any]


@dataclass(frozen=True)
class Site:
    """The two hosts. ``locks`` is the directory for locks on this host."""

    source: Host
    target: Host
    clock: Clock
    locks: str


class MigrationRun:
    """:raises VirtError: from ``result``; the guest then runs where it ran, unless the error says otherwise."""

    def __init__(self, site: Site, wish: Wish, cancel: threading.Event, *, check_mode: bool = False) -> None:
        self._site = site
        self._wish = wish
        self._cancel = cancel
        self._check_mode = check_mode

    def result(self) -> Result:
        """What ``libvirt_migrate`` returns of one guest."""
        raise NotImplementedError
