# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Many guests at one look: what does not grow with their number is read once for all of them."""

from __future__ import annotations

from ansible_collections.poolwright.virt.plugins.module_utils.errors import NotFound
from ansible_collections.poolwright.virt.plugins.module_utils.guests import power, tree
from ansible_collections.poolwright.virt.plugins.module_utils.guests.look import Seen
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host, SeenDomain


class Glance:
    """A host's domains as they were when the first was asked for: three calls, and one more for each that is asked for, two if it runs.

    Nothing is to be changed by what it says: whoever changes a guest looks again, with its lock held.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._domains: dict[str, SeenDomain] | None = None
        self._persistent: frozenset[str] = frozenset()
        self._autostart: frozenset[str] = frozenset()

    def of(self, name: str) -> Seen:
        if self._domains is None:
            self._persistent = self._host.persistent_uuids()
            self._autostart = self._host.persistent_uuids(autostart=True)
            self._domains = {seen.guest.name: seen for seen in self._host.domains()}
        found = self._domains.get(name)
        if found is None:
            return Seen()
        guest, state = found.guest, power.name_of(found.state)
        try:
            definition = tree.parse(guest.definition())
            current = tree.parse(guest.current()) if state not in ("shutoff", "crashed") else None
        except NotFound:
            return Seen()
        persistent = state == "shutoff" or guest.uuid in self._persistent
        return Seen(guest, state, definition, current, persistent, persistent and guest.uuid in self._autostart)
