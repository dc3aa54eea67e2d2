# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The image cache of datastores: each image once, found by its content, made elsewhere and moved into place as a whole.

``layout.py`` says what lies where. The move is the commit; claims only spare several controllers the same work.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy, InvalidSpec
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere import files
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import FileMissing
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.files import Site
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images import ageing, layout, sources, upkeep
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.bringing import Bringing
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.facts import CachedDisk
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.folders import mark
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.image import VMwareImage, check_fits, size_problems
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.layout import Entry
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.listed import Listed
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.settings import Settings
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.stock import Stock
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.workplace import scratch_for_images, sweep_scratch
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Entry as Thing
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Inventory
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.transfer import Transfer
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.vim import VIM

# How often an image that vanishes between being found and being used is looked for anew.
_ROUNDS = 5


class _GoneMeanwhile(Exception):
    """An image was removed after it was found, before its use was recorded."""

    def __init__(self, missing: FileMissing) -> None:
        super().__init__(str(missing))
        self.missing = missing


class DatastoreImageCache:
    """The caches of a datacenter's datastores, one folder on each; safe for several threads, processes and controllers at once.

    :param cancel: once it is set, transfers and waiting end with ``Cancelled``.
    """

    def __init__(
        self,
        vim: VIM,
        inventory: Inventory,
        transfer: Transfer,
        clock: Clock,
        stats: Stats,
        *,
        settings: Settings | None = None,
        cancel: threading.Event | None = None,
    ) -> None:
        self.site = Site(vim, inventory)
        self._clock = clock
        self._stats = stats
        self._settings = settings or Settings()
        self._sources = sources.Sources(self.site, transfer, validate_certs=self._settings.validate_certs)
        self._stock = Stock(transfer, self._sources)
        self._bringing = Bringing(self.site, transfer, self._sources, self._stock, clock, stats, self._settings, cancel or threading.Event())

    def root(self, datastore: Thing) -> DatastorePath:
        """The cache's folder on a datastore."""
        return self._settings.root(datastore.name)

    def lookup(self, image: VMwareImage, datastore: Thing, deadline: Deadline, *, ask: bool = True) -> Listed | None:
        """The image if it is here. Changes nothing.

        :param ask: ask a source without a checksum whether it has changed, and read it where it cannot tell; otherwise the version seen
            last counts.
        """
        snapshot = upkeep.look(self.site, self.root(datastore), deadline)
        found = self._stock.find(image, snapshot, deadline, ask=ask)
        if found is not None or not ask or not self._sources.is_known(image, snapshot):
            return found
        with self._scratch() as directory:
            digest = self._sources.bring(image, directory, deadline).received.digest
        entry = snapshot.entries.get(layout.entry_key(digest, image.variant()))
        return None if entry is None else self._stock.listed(entry, deadline)

    def ensure(self, image: VMwareImage, datastore: Thing, deadline: Deadline, *, size_gb: float | None = None) -> CachedDisk:
        """The image as a disk on this datastore, brought there if it is not yet, with its use recorded before anybody relies on it.

        :param size_gb: the size that machines' disks shall have: where that is more than the image's own, what is returned is a base of
            that size, for child disks. None is the image's own.
        :raises InvalidSpec: the size is none.   :raises ImageRefused, ChecksumMismatch: nothing of it is kept.
        :raises NotFound, AuthenticationFailed, TransferFailed: the source cannot be read.   :raises InsufficientResources: it does not fit.
        :raises Busy: another run was still bringing it at the deadline.
        """
        return self.ensure_listed(image, datastore, deadline, size_gb=size_gb).disk(size_gb)

    def ensure_listed(self, image: VMwareImage, datastore: Thing, deadline: Deadline, *, size_gb: float | None = None) -> Listed:
        """The same, with all that is known of it."""
        problems = size_problems(size_gb, image)
        if problems:
            raise InvalidSpec(problems)
        for remaining in reversed(range(_ROUNDS)):
            try:
                return self._ensure_once(image, datastore, deadline, size_gb)
            except _GoneMeanwhile as exc:
                if not remaining or deadline.passed:
                    raise exc.missing from exc
        raise AssertionError("the last round returns or raises")

    def entries(self, datastore: Thing, deadline: Deadline) -> list[Listed]:
        """All images on a datastore, by their keys."""
        snapshot = upkeep.look(self.site, self.root(datastore), deadline)
        found = (self._stock.listed(entry, deadline) for _key, entry in sorted(snapshot.entries.items()))
        return [listed for listed in found if listed is not None]

    def pin(self, listed: Listed, deadline: Deadline) -> None:
        """Keep an image however long it is unused. :raises FileMissing: it is gone."""
        mark(self.site, listed.entry.path.join(layout.PINNED), deadline)

    def unpin(self, listed: Listed, deadline: Deadline) -> None:
        files.delete_file(self.site, listed.entry.path.join(layout.PINNED), deadline)

    def check_unused(self, listed: Listed) -> None:
        """:raises Busy: machines stand on the image."""
        upkeep.check_unused(self.site, self._root_of(listed.entry), listed.entry.key)

    def remove(self, listed: Listed, deadline: Deadline) -> None:
        """Remove an image with all its bases. :raises Busy: machines stand on it; nothing was changed."""
        root = self._root_of(listed.entry)
        self.check_unused(listed)
        upkeep.remove_entry(self.site, root, listed.entry, deadline)
        self._stock.forget(listed.entry)
        self._sources.forget_stale(upkeep.look(self.site, root, deadline), deadline)

    def plan_age(self, datastore: Thing, max_unused: float, deadline: Deadline) -> list[ageing.Step]:
        """What ``age`` would do now."""
        root = self.root(datastore)
        snapshot = upkeep.look(self.site, root, deadline)
        if not snapshot.entries:
            return []
        users = upkeep.users_of(self.site, root)
        # Of machines whose files are not known, each image may be the base.
        in_use = snapshot.entries if users.unknown else users.by_key
        return ageing.plan(snapshot.entries.values(), in_use, self._clock.now(), max_unused)

    def age(self, datastore: Thing, max_unused: float, deadline: Deadline) -> list[ageing.Step]:
        """Mark images that no machine uses, and remove those marked for ``max_unused`` seconds; returns what was done.

        Never a pinned one, nor one whose use was recorded meanwhile.
        """
        root = self.root(datastore)
        upkeep.sweep(self.site, upkeep.look(self.site, root, deadline), deadline, abandoned_seconds=self._settings.abandoned)
        done = []
        for step in self.plan_age(datastore, max_unused, deadline):
            try:
                self._carry_out(root, step, deadline)
                done.append(step)
            except (FileMissing, Busy):
                # Another run was there first, or somebody came to use it.
                continue
        if any(step.action == "remove" for step in done):
            self._sources.forget_stale(upkeep.look(self.site, root, deadline), deadline)
        return done

    def sweep(self, datastore: Thing, deadline: Deadline) -> list[str]:
        """Remove what killed runs left; see ``upkeep.sweep``."""
        snapshot = upkeep.look(self.site, self.root(datastore), deadline)
        return upkeep.sweep(self.site, snapshot, deadline, abandoned_seconds=self._settings.abandoned)

    # -- finding

    def _ensure_once(self, image: VMwareImage, datastore: Thing, deadline: Deadline, size_gb: float | None) -> Listed:
        root = self.root(datastore)
        sweep_scratch(self._settings.scratch)
        with self._stats.phase("look up"):
            snapshot = upkeep.look(self.site, root, deadline)
            upkeep.sweep(self.site, snapshot, deadline, abandoned_seconds=self._settings.abandoned)
            found = self._stock.find(image, snapshot, deadline)
        if found is None:
            found = self._bringing.bring(image, datastore, deadline, size_gb)
        check_fits(image, found.facts.virtual_size, size_gb)
        try:
            self._record_use(found.entry, deadline)
            if not found.has(size_gb):
                self._bringing.make_sized(found, datastore, size_gb or 0.0, deadline)
        except FileMissing as exc:
            raise _GoneMeanwhile(exc) from exc
        if not found.has(size_gb):
            grown = replace(found.entry, names=found.entry.names | {found.disk(size_gb).path.basename})
            found = replace(found, entry=grown, resized=True)
        return found

    def _record_use(self, entry: Entry, deadline: Deadline) -> None:
        """Record that it is used now, and only then take away marks that it is not.

        :raises FileMissing: it is not there any more.
        """
        now = f"used-{layout.stamp(self._clock.now())}"
        mark(self.site, entry.path.join(now), deadline)
        for name in sorted(entry.folders):
            if name != now and name.startswith(("ts-", "used-")):
                files.delete_file(self.site, entry.path.join(name), deadline)

    # -- around it

    def _carry_out(self, root: DatastorePath, step: ageing.Step, deadline: Deadline) -> None:
        if step.action == "mark":
            mark(self.site, step.entry.path.join(f"ts-{layout.stamp(self._clock.now())}"), deadline)
        elif step.action == "clear":
            for name in sorted(step.entry.folders):
                if name.startswith("ts-"):
                    files.delete_file(self.site, step.entry.path.join(name), deadline)
        else:
            upkeep.remove_entry(self.site, root, step.entry, deadline)
            self._stock.forget(step.entry)

    def _root_of(self, entry: Entry) -> DatastorePath:
        return entry.path.parent.parent

    def _scratch(self) -> contextlib.AbstractContextManager[str]:
        return scratch_for_images(self._settings.scratch)
