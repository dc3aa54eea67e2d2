# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The image cache of datastores: each image once, found by its content, made elsewhere and moved into place as a whole.

``layout.py`` says what lies where. The move is the commit; claims only spare several controllers the same work.
"""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import dataclass, replace
from typing import Callable

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy, Cancelled, InsufficientResources, InvalidSpec, OperationFailed, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.images.sizes import MAX_VIRTUAL_SIZE
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere import disks, files
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastore_path import DatastorePath
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import FileExists, FileMissing
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.files import Site
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images import ageing, claim, layout, obtain, prepare, sources, upkeep
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.facts import CachedDisk, Facts
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.folders import mark
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.image import KIB, VMwareImage, check_fits, size_problems
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.layout import Entry, Snapshot
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.listed import Listed
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.workplace import scratch_for_images, sweep_scratch
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Entry as Thing
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Inventory
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.transfer import Transfer
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.vim import VIM

POLL_SECONDS = 2.0
# How often an image that vanishes between being found and being used is looked for anew.
_ROUNDS = 5
_TIDY_SECONDS = 120.0


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
        self._transfer = transfer
        self._clock = clock
        self._stats = stats
        self._settings = settings or Settings()
        self._cancel = cancel or threading.Event()
        self._sources = sources.Sources(self.site, transfer, validate_certs=self._settings.validate_certs)
        self._facts: dict[str, Facts] = {}

    def root(self, datastore: Thing) -> DatastorePath:
        """The cache's folder on a datastore."""
        return DatastorePath.of(datastore.name, self._settings.folder)

    def lookup(self, image: VMwareImage, datastore: Thing, deadline: Deadline, *, ask: bool = True) -> Listed | None:
        """The image if it is here. Changes nothing.

        :param ask: ask a source without a checksum whether it has changed, and read it where it cannot tell; otherwise the version seen
            last counts.
        """
        snapshot = upkeep.look(self.site, self.root(datastore), deadline)
        found = self._find(image, snapshot, deadline, ask=ask)
        if found is not None or not ask or not self._sources.is_known(image, snapshot):
            return found
        with self._scratch() as directory:
            digest = self._sources.bring(image, directory, deadline).received.digest
        entry = snapshot.entries.get(layout.entry_key(digest, image.variant()))
        return None if entry is None else self._listed(entry, deadline)

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
        found = (self._listed(entry, deadline) for _key, entry in sorted(snapshot.entries.items()))
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
        self._facts.pop(str(listed.entry.path), None)
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
            found = self._find(image, snapshot, deadline)
        if found is None:
            found = self._bring(image, datastore, deadline, size_gb)
        check_fits(image, found.facts.virtual_size, size_gb)
        try:
            self._record_use(found.entry, deadline)
            if not found.has(size_gb):
                self._make_sized(found, datastore, size_gb or 0.0, deadline)
        except FileMissing as exc:
            raise _GoneMeanwhile(exc) from exc
        if not found.has(size_gb):
            grown = replace(found.entry, names=found.entry.names | {found.disk(size_gb).path.basename})
            found = replace(found, entry=grown, resized=True)
        return found

    def _find(self, image: VMwareImage, snapshot: Snapshot, deadline: Deadline, *, ask: bool = True) -> Listed | None:
        digest = self._sources.digest_of(image, snapshot, deadline, ask=ask)
        if digest is None:
            return None
        entry = snapshot.entries.get(layout.entry_key(digest, image.variant()))
        return None if entry is None else self._listed(entry, deadline)

    def _listed(self, entry: Entry, deadline: Deadline) -> Listed | None:
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

    def _record_use(self, entry: Entry, deadline: Deadline) -> None:
        """Record that it is used now, and only then take away marks that it is not.

        :raises FileMissing: it is not there any more.
        """
        now = f"used-{layout.stamp(self._clock.now())}"
        mark(self.site, entry.path.join(now), deadline)
        for name in sorted(entry.folders):
            if name != now and name.startswith(("ts-", "used-")):
                files.delete_file(self.site, entry.path.join(name), deadline)

    # -- bringing

    def _bring(self, image: VMwareImage, datastore: Thing, deadline: Deadline, size_gb: float | None) -> Listed:
        root = self.root(datastore)
        key = layout.entry_key(image.digest, image.variant()) if image.digest is not None else f"source-{image.key[:40]}"
        maker = layout.new_maker(self._clock.now())
        work = root.join("tmp", maker)
        try:
            found = self._wait_for_claim(image, root, key, maker, deadline)
            if found is not None:
                return found
            with claim.held(self.site, root, key, maker, self._settings.beat):
                # Whoever had the claim before may have been done.
                snapshot = upkeep.look(self.site, root, deadline)
                found = self._find(image, snapshot, deadline)
                shop = prepare.Workshop(self.site, self._transfer, datastore, work, self._stats, self._cancel)
                return found or self._make(image, shop, root, snapshot, deadline, size_gb)
        finally:
            self._tidy(root, maker)

    def _wait_for_claim(self, image: VMwareImage, root: DatastorePath, key: str, maker: str, deadline: Deadline) -> Listed | None:
        """None once the claim is ours; the image where another brought it meanwhile."""
        watch = claim.Watch(self.site, self._settings.dead)
        while not claim.take(self.site, root, key, maker, deadline):
            with self._stats.phase("wait"):
                held = True
                while held:
                    if self._cancel.is_set():
                        raise Cancelled("the run was told to stop", obj=str(image), phase="wait")
                    if deadline.passed:
                        said = "another run is still bringing the image"
                        raise Busy(said, obj=str(image), phase="wait", hint="allow more time, or look for that run")
                    snapshot = upkeep.look(self.site, root, deadline)
                    found = self._find(image, snapshot, deadline)
                    if found is not None:
                        return found
                    there = snapshot.claims.get(key)
                    if there is not None and watch.is_dead(there):
                        files.delete_file(self.site, root.join("claims", key), deadline)
                        if there[0]:
                            upkeep.remove_maker(self.site, root, there[0], deadline)
                        there = None
                    held = there is not None
                    if held:
                        self._clock.sleep(min(self._settings.poll, deadline.remaining))
        return None

    def _make(self, image: VMwareImage, shop: prepare.Workshop, root: DatastorePath, snapshot: Snapshot, deadline: Deadline, size_gb: float | None) -> Listed:
        native = obtain_native(self._sources, image, deadline)
        if native is not None:
            return self._copy_native(image, native, shop, root, deadline, size_gb)
        with self._scratch() as directory:
            with self._stats.phase("fetch"):
                fetched = self._sources.bring(image, directory, deadline)
            digest = fetched.received.digest
            entry = snapshot.entries.get(layout.entry_key(digest, image.variant()))
            found = None if entry is None else self._listed(entry, deadline)
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
                copy(self.site, native.path, target, deadline)

        return self._publish(layout.entry_key(native.identity, image.variant()), facts, shop, root, made, deadline)

    def _publish(
        self, key: str, facts: Facts, shop: prepare.Workshop, root: DatastorePath, make: Callable[[DatastorePath], None], deadline: Deadline
    ) -> Listed:
        """Make an image in the temporary folder and move it into place; whose is there already is used as well."""
        making = shop.folder.join("entry")
        name = f"{layout.stem_of(key)}.{'iso' if facts.format == 'iso' else 'vmdk'}"
        # Used from the first moment: an image without a machine is not an unused one yet.
        used = f"used-{layout.stamp(self._clock.now())}"
        files.make_directory(self.site, making.join(used), deadline)
        make(making.join(name))
        with self._stats.phase("publish"):
            with self._scratch() as directory:
                path = os.path.join(directory, layout.FACTS)
                with open(path, "wb") as stream:
                    stream.write(facts.dump())
                self._transfer.upload(making.join(layout.FACTS), path, deadline)
            files.make_directory(self.site, root.join("images"), deadline)
            final = root.join("images", key)
            try:
                files.move_file(self.site, making, final, deadline)
            except (FileExists, OperationFailed) as exc:
                entry = upkeep.look(self.site, root, deadline).entries.get(key)
                theirs = None if entry is None else self._listed(entry, deadline)
                if theirs is None:
                    if entry is None or not isinstance(exc, FileExists):
                        raise
                    # Somebody took files out of it; what is left of it has no use.
                    upkeep.check_unused(self.site, root, key)
                    files.delete_file(self.site, final, deadline)
                    files.move_file(self.site, making, final, deadline)
                else:
                    return theirs
        self._facts[str(final)] = facts
        return Listed(Entry(key, final, frozenset({name, layout.FACTS}), frozenset({used})), facts, made=True)

    def _make_sized(self, found: Listed, datastore: Thing, size_gb: float, deadline: Deadline) -> None:
        """The same disk, larger. It has its name only when it has its size: a smaller one by that name would spoil every child's disk."""
        root = self.root(datastore)
        target = found.disk(size_gb)
        maker = layout.new_maker(self._clock.now())
        making = root.join("tmp", maker, target.path.basename)
        _check_space(datastore, found.facts.allocated, found.facts.source)
        try:
            with self._stats.phase("resize"):
                files.make_directory(self.site, making.parent, deadline)
                disks.copy_disk(self.site, found.disk().path, making, deadline)
                disks.extend_disk(self.site, making, target.capacity_bytes // KIB, deadline)
                try:
                    disks.move_disk(self.site, making, target.path, deadline)
                except FileExists:
                    # Another run made the same.
                    disks.delete_disk(self.site, making, deadline)
        finally:
            self._tidy(root, maker, imported=False)

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
            self._facts.pop(str(step.entry.path), None)

    def _tidy(self, root: DatastorePath, maker: str, *, imported: bool = True) -> None:
        """Whatever happened, and without a word: the error that led here says more, and a further run sweeps what is left."""
        with contextlib.suppress(VirtError):
            upkeep.remove_maker(self.site, root, maker, Deadline.after(self._clock, _TIDY_SECONDS), imported=imported)

    def _root_of(self, entry: Entry) -> DatastorePath:
        return entry.path.parent.parent

    def _scratch(self) -> contextlib.AbstractContextManager[str]:
        return scratch_for_images(self._settings.scratch)


def obtain_native(known: sources.Sources, image: VMwareImage, deadline: Deadline) -> sources.Native | None:
    """What vCenter can copy by itself; None of what has to come through the controller."""
    return None if image.on_datastore is None else known.native(image, deadline)


def _check_space(datastore: Thing, needed: int, image: object) -> None:
    free = int(datastore.properties.get("summary.freeSpace") or 0)
    if needed > free:
        said = f"the image needs {needed} bytes, and the datastore {datastore.name} has {free} free"
        raise InsufficientResources(said, obj=str(image), phase="place", hint="free some space there, or name another datastore")
