# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""How an image comes into a datastore's cache: made in a temporary folder by whoever has the claim, and moved into place as a whole."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import Callable

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy, Cancelled, InsufficientResources, OperationFailed, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere import disks, files
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import FileExists
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.files import Site
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images import claim, layout, obtain, prepare, sources, upkeep
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.facts import Facts
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.image import KIB, VMwareImage, check_fits
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.layout import Entry, Snapshot
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.listed import Listed
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.settings import Settings
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.stock import Stock
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.workplace import scratch_for_images
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Entry as Thing
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.transfer import Transfer

_TIDY_SECONDS = 120.0


class Bringing:
    """:param cancel: once it is set, transfers and waiting end with ``Cancelled``."""

    def __init__(
        self, site: Site, transfer: Transfer, known: sources.Sources, stock: Stock, clock: Clock, stats: Stats, settings: Settings, cancel: threading.Event
    ) -> None:
        self._site = site
        self._transfer = transfer
        self._sources = known
        self._stock = stock
        self._clock = clock
        self._stats = stats
        self._settings = settings
        self._cancel = cancel

    def bring(self, image: VMwareImage, datastore: Thing, deadline: Deadline, size_gb: float | None) -> Listed:
        """Have it made by this run, or wait for whoever makes it. :raises VirtError: see ``DatastoreImageCache.ensure``."""
        root = self._settings.root(datastore.name)
        key = layout.entry_key(image.digest, image.variant()) if image.digest is not None else f"source-{image.key[:40]}"
        maker = layout.new_maker(self._clock.now())
        work = root.join("tmp", maker)
        try:
            found = self._wait_for_claim(image, root, key, maker, deadline)
            if found is not None:
                return found
            with claim.held(self._site, root, key, maker, self._settings.beat):
                # Whoever had the claim before may have been done.
                snapshot = upkeep.look(self._site, root, deadline)
                found = self._stock.find(image, snapshot, deadline)
                shop = prepare.Workshop(self._site, self._transfer, datastore, work, self._stats, self._cancel)
                return found or self._make(image, shop, root, snapshot, deadline, size_gb)
        finally:
            self._tidy(root, maker)

    def _wait_for_claim(self, image: VMwareImage, root: DatastorePath, key: str, maker: str, deadline: Deadline) -> Listed | None:
        """None once the claim is ours; the image where another brought it meanwhile."""
        watch = claim.Watch(self._site, self._settings.dead)
        while not claim.take(self._site, root, key, maker, deadline):
            with self._stats.phase("wait"):
                held = True
                while held:
                    if self._cancel.is_set():
                        raise Cancelled("the run was told to stop", obj=str(image), phase="wait")
                    if deadline.passed:
                        said = "another run is still bringing the image"
                        raise Busy(said, obj=str(image), phase="wait", hint="allow more time, or look for that run")
                    snapshot = upkeep.look(self._site, root, deadline)
                    found = self._stock.find(image, snapshot, deadline)
                    if found is not None:
                        return found
                    there = snapshot.claims.get(key)
                    if there is not None and watch.is_dead(there):
                        files.delete_file(self._site, root.join("claims", key), deadline)
                        if there[0]:
                            upkeep.remove_maker(self._site, root, there[0], deadline)
                        there = None
                    held = there is not None
                    if held:
                        self._clock.sleep(min(self._settings.poll, deadline.remaining))
        return None

    def _make(self, image: VMwareImage, shop: prepare.Workshop, root: DatastorePath, snapshot: Snapshot, deadline: Deadline, size_gb: float | None) -> Listed:
        native = None if image.on_datastore is None else self._sources.native(image, deadline)
        if native is not None:
            return self._copy_native(image, native, shop, root, deadline, size_gb)
        with scratch_for_images(self._settings.scratch) as directory:
            with self._stats.phase("fetch"):
                fetched = self._sources.bring(image, directory, deadline)
            digest = fetched.received.digest
            entry = snapshot.entries.get(layout.entry_key(digest, image.variant()))
            found = None if entry is None else self._stock.listed(entry, deadline)
            if found is None:
                with obtain.inspected(image, fetched, directory, deadline, self._settings.max_virtual_size) as inspected:
                    check_fits(image, inspected.virtual_size, size_gb)
                    needed = inspected.allocated if inspected.disk_type in ("streamOptimized", "iso") else inspected.virtual_size
                    _check_space(shop.datastore, needed, image)
                    facts = Facts(
                        digest=digest,
                        format=image.format,
                        disk_type="" if image.is_iso else image.disk_type or inspected.disk_type,
                        adapter_type="" if image.is_iso else image.adapter_type or inspected.adapter_type or "lsiLogic",
                        size=fetched.received.size,
                        virtual_size=inspected.virtual_size,
                        allocated=inspected.allocated,
                        os_type=inspected.os_type or image.os_type,
                        source=str(image),
                        created=self._clock.now(),
                        checked=image.checksum is not None,
                    )

                    def made(target: DatastorePath) -> None:
                        prepare.KINDS[inspected.disk_type](shop, image, inspected, target, deadline)

                    found = self._publish(layout.entry_key(digest, image.variant()), facts, shop, root, made, deadline)
            if image.digest is None:
                self._sources.remember(image, root, fetched, deadline)
        return found

    def _copy_native(
        self, image: VMwareImage, native: sources.Native, shop: prepare.Workshop, root: DatastorePath, deadline: Deadline, size_gb: float | None
    ) -> Listed:
        """Of what vSphere has already: copied by vCenter, through nobody's hands."""
        check_fits(image, native.virtual_size, size_gb)
        _check_space(shop.datastore, native.virtual_size, image)
        facts = Facts(
            digest="",
            format=image.format,
            disk_type="" if image.is_iso else image.disk_type or "preallocated",
            adapter_type="" if image.is_iso else image.adapter_type or native.adapter_type or "lsiLogic",
            size=native.size,
            virtual_size=native.virtual_size,
            allocated=native.virtual_size,
            os_type=image.os_type,
            source=str(image.on_datastore),
            created=self._clock.now(),
            checked=False,
        )

        def made(target: DatastorePath) -> None:
            copy: Callable[[Site, DatastorePath, DatastorePath, Deadline], None] = files.copy_file if image.is_iso else disks.copy_disk
            with self._stats.phase("copy"):
                copy(self._site, native.path, target, deadline)

        return self._publish(layout.entry_key(native.identity, image.variant()), facts, shop, root, made, deadline)

    def _publish(
        self, key: str, facts: Facts, shop: prepare.Workshop, root: DatastorePath, make: Callable[[DatastorePath], None], deadline: Deadline
    ) -> Listed:
        """Make an image in the temporary folder and move it into place; whose is there already is used as well."""
        making = shop.folder.join("entry")
        name = f"{layout.stem_of(key)}.{'iso' if facts.format == 'iso' else 'vmdk'}"
        # Used from the first moment: an image without a machine is not an unused one yet.
        used = f"used-{layout.stamp(self._clock.now())}"
        files.make_directory(self._site, making.join(used), deadline)
        make(making.join(name))
        with self._stats.phase("publish"):
            with scratch_for_images(self._settings.scratch) as directory:
                path = os.path.join(directory, layout.FACTS)
                with open(path, "wb") as stream:
                    stream.write(facts.dump())
                self._transfer.upload(making.join(layout.FACTS), path, deadline)
            files.make_directory(self._site, root.join("images"), deadline)
            final = root.join("images", key)
            try:
                files.move_file(self._site, making, final, deadline)
            except (FileExists, OperationFailed) as exc:
                entry = upkeep.look(self._site, root, deadline).entries.get(key)
                theirs = None if entry is None else self._stock.listed(entry, deadline)
                if theirs is None:
                    if entry is None or not isinstance(exc, FileExists):
                        raise
                    # Somebody took files out of it; what is left of it has no use.
                    upkeep.check_unused(self._site, root, key)
                    files.delete_file(self._site, final, deadline)
                    files.move_file(self._site, making, final, deadline)
                else:
                    return theirs
        entry = Entry(key, final, frozenset({name, layout.FACTS}), frozenset({used}))
        self._stock.add(entry, facts)
        return Listed(entry, facts, made=True)

    def make_sized(self, found: Listed, datastore: Thing, size_gb: float, deadline: Deadline) -> None:
        """The same disk, larger. It has its name only when it has its size: a smaller one by that name would spoil every child's disk."""
        root = self._settings.root(datastore.name)
        target = found.disk(size_gb)
        maker = layout.new_maker(self._clock.now())
        making = root.join("tmp", maker, target.path.basename)
        _check_space(datastore, found.facts.allocated, found.facts.source)
        try:
            with self._stats.phase("resize"):
                files.make_directory(self._site, making.parent, deadline)
                disks.copy_disk(self._site, found.disk().path, making, deadline)
                disks.extend_disk(self._site, making, target.capacity_bytes // KIB, deadline)
                try:
                    disks.move_disk(self._site, making, target.path, deadline)
                except FileExists:
                    # Another run made the same.
                    disks.delete_disk(self._site, making, deadline)
        finally:
            self._tidy(root, maker, imported=False)

    def _tidy(self, root: DatastorePath, maker: str, *, imported: bool = True) -> None:
        """Whatever happened, and without a word: the error that led here says more, and a further run sweeps what is left."""
        with contextlib.suppress(VirtError):
            upkeep.remove_maker(self._site, root, maker, Deadline.after(self._clock, _TIDY_SECONDS), imported=imported)


def _check_space(datastore: Thing, needed: int, image: object) -> None:
    free = int(datastore.properties.get("summary.freeSpace") or 0)
    if needed > free:
        said = f"the image needs {needed} bytes, and the datastore {datastore.name} has {free} free"
        raise InsufficientResources(said, obj=str(image), phase="place", hint="free some space there, or name another datastore")
