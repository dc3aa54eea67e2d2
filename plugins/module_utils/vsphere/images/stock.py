# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What images a cache has, as its folders and their facts say; facts are read once."""

from __future__ import annotations

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import FileMissing
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images import layout
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.facts import Facts
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.image import VMwareImage
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.layout import Entry, Snapshot
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.listed import Listed
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.sources import Sources
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.transfer import Transfer


class Stock:
    """Of one datacenter."""

    def __init__(self, transfer: Transfer, sources: Sources) -> None:
        self._transfer = transfer
        self._sources = sources
        self._facts: dict[str, Facts] = {}

    def find(self, image: VMwareImage, snapshot: Snapshot, deadline: Deadline, *, ask: bool = True) -> Listed | None:
        """The image, where it is there as a whole. :param ask: see ``DatastoreImageCache.lookup``."""
        digest = self._sources.digest_of(image, snapshot, deadline, ask=ask)
        if digest is None:
            return None
        entry = snapshot.entries.get(layout.entry_key(digest, image.variant()))
        return None if entry is None else self.listed(entry, deadline)

    def listed(self, entry: Entry, deadline: Deadline) -> Listed | None:
        """An entry with what is known of it; None of one that is not whole."""
        if not entry.is_whole:
            return None
        where = str(entry.path)
        if where not in self._facts:
            try:
                facts = Facts.load(self._transfer.read(entry.path.join(layout.FACTS), deadline))
            except FileMissing:
                return None
            if facts is None:
                return None
            self._facts[where] = facts
        return Listed(entry, self._facts[where])

    def add(self, entry: Entry, facts: Facts) -> None:
        """Facts that were just written."""
        self._facts[str(entry.path)] = facts

    def forget(self, entry: Entry) -> None:
        """An entry that was removed."""
        self._facts.pop(str(entry.path), None)
