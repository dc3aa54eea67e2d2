# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Removing images that nobody needs, and keeping those that somebody does.

To be removed, an image first loses its record, by a rename, under its lock. Its age is then read from that record for the last time: whoever
recorded his use before the rename is seen there, and the record goes back; who comes after it finds no record, and so no image.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy, InvalidSpec, NotFound
from ansible_collections.poolwright.virt.plugins.module_utils.images import scratch
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import ImageCache
from ansible_collections.poolwright.virt.plugins.module_utils.images.sparse import naming_storage_errors
from ansible_collections.poolwright.virt.plugins.module_utils.images.store import Entry
from ansible_collections.poolwright.virt.plugins.module_utils.images.users import Users
from ansible_collections.poolwright.virt.plugins.module_utils.locks import FileLock, try_flock

_FRESH_SECONDS = 3600.0


@dataclass(frozen=True)
class Step:
    """What ageing does with one image: ``removed`` or not, and why."""

    entry: Entry
    removed: bool
    reason: str


def plan_age(cache: ImageCache, users: Users, max_unused: float) -> list[Step]:
    """What ``age`` would do now with each image. Changes nothing.

    :param max_unused: seconds.
    """
    now = cache.clock.now()
    return [_step(entry, users.of(entry.path), now, max_unused) for entry in cache.store.entries()]


def age(cache: ImageCache, users: Users, max_unused: float, deadline: Deadline) -> list[Step]:
    """Remove the images that were last used ``max_unused`` seconds ago or longer, and return what was done with each.

    Never one that is pinned or in use; that it is in use is recorded, so its time begins when it no longer is.
    """
    cache.sweep()
    done = []
    for step in plan_age(cache, users, max_unused):
        deadline.check("ageing", obj=cache.root, phase="age", hint="allow more time: the next run goes on")
        if not step.removed:
            if users.of(step.entry.path):
                cache.store.mark_used(step.entry.digest, step.entry.used_variant, cache.clock.now())
            done.append(step)
            continue
        try:
            with naming_storage_errors(cache.root, "age"):
                gone = _remove(cache, step.entry, _unneeded(cache, step.entry, max_unused), None)
        except Busy:
            gone = False
        done.append(step if gone else Step(step.entry, False, "in use by another run"))
    with naming_storage_errors(cache.root, "age"):
        _tidy(cache, max_unused)
    return done


def remove(cache: ImageCache, digest: str, variant: str, users: Users, deadline: Deadline, *, force: bool = False) -> list[Entry]:
    """Remove an image with all that was converted from it; returns what there was of it.

    :param force: also one that is pinned.
    :raises InvalidSpec: it is pinned.
    :raises Busy: somebody stands on it, or another run works on it; nothing was changed.
    """
    found = entries_of(cache, digest, variant)
    check_removable(found, users, force=force)
    cache.sweep()

    def still_fit(entry: Entry, last_used: float) -> bool:
        return last_used == entry.last_used and (force or not cache.store.is_pinned(digest, variant))

    with naming_storage_errors(cache.root, "remove"):
        for entry in found:
            if not _remove(cache, entry, partial(still_fit, entry), deadline) and os.path.lexists(entry.path):
                raise Busy("it was used or pinned by another run just now", obj=entry.path, phase="remove", hint="run again if it shall go nevertheless")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(cache.store.image_path(digest, variant) + ".pinned")
        cache.store.forget_stale_sources()
    return found


def entries_of(cache: ImageCache, digest: str, variant: str) -> list[Entry]:
    return [entry for entry in cache.store.entries() if (entry.digest, entry.variant) == (digest, variant)]


def check_removable(entries: list[Entry], users: Users, *, force: bool) -> None:
    """:raises InvalidSpec: one of them is pinned, unless forced.   :raises Busy: somebody stands on one of them, forced or not."""
    pinned = [entry.path for entry in entries if entry.pinned]
    if pinned and not force:
        raise InvalidSpec([f"force: {pinned[0]} is pinned; unpin it with state: present, or set force: true to remove it nevertheless"])
    for entry in entries:
        who = users.of(entry.path)
        if who:
            raise Busy(f"it is in use by {', '.join(who)}", obj=entry.path, phase="remove", hint="remove those first")


def pin(cache: ImageCache, digest: str, variant: str, wanted: bool, deadline: Deadline) -> None:
    """Keep an image however long it is unused, or no longer.

    :raises NotFound: it is gone.
    """
    path = cache.store.image_path(digest, variant) + ".pinned"
    with naming_storage_errors(cache.root, "pin"), FileLock(cache.store.lock_path(digest, variant), cache.clock, deadline):
        if not wanted:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            return
        if not entries_of(cache, digest, variant):
            raise NotFound("the image was removed meanwhile", obj=path, phase="pin", hint="run again")
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644))
        scratch.sync_directory(os.path.dirname(path))


def _step(entry: Entry, users: tuple[str, ...], now: float, max_unused: float) -> Step:
    if entry.pinned:
        return Step(entry, False, "pinned")
    if users:
        return Step(entry, False, f"in use by {', '.join(users)}")
    if now - entry.last_used < max_unused:
        return Step(entry, False, "used lately")
    return Step(entry, True, "unused" if entry.record is not None else "left by a run that was killed")


def _unneeded(cache: ImageCache, entry: Entry, max_unused: float) -> Callable[[float], bool]:
    return lambda last_used: cache.clock.now() - last_used >= max_unused and not cache.store.is_pinned(entry.digest, entry.variant)


def _remove(cache: ImageCache, entry: Entry, still_fit: Callable[[float], bool], deadline: Deadline | None) -> bool:
    """:raises Busy: another run works on it, until the deadline, or now where there is none."""
    scratch.make_directories(cache.store.tmp, 0o700)
    with FileLock(cache.store.lock_path(entry.digest, entry.variant), cache.clock, deadline):
        if entry.record is None:
            if os.path.lexists(f"{entry.path}.json") or not still_fit(entry.last_used):
                return False
            with contextlib.suppress(FileNotFoundError):
                os.unlink(entry.path)
            return True
        with _without_record(cache, entry) as last_used:
            if last_used is None or not still_fit(last_used):
                return False
            os.unlink(entry.path)
            return True


@contextlib.contextmanager
def _without_record(cache: ImageCache, entry: Entry) -> Iterator[float | None]:
    """The time of an image's last use, None where another run has removed it, while its record is aside; it goes back if the image is still there.

    Needs no room: a full disk is when images have to go.
    """
    record = f"{entry.path}.json"
    aside = os.path.join(cache.store.tmp, f".age.{os.path.basename(entry.path)}.{os.getpid()}.part")
    try:
        fd = os.open(record, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        yield None
        return
    try:
        # What lies aside is swept once nobody holds it.
        try_flock(fd)
        os.rename(record, aside)
        try:
            yield os.fstat(fd).st_mtime
        finally:
            if os.path.lexists(entry.path):
                os.rename(aside, record)
            else:
                os.unlink(aside)
    finally:
        os.close(fd)


def _tidy(cache: ImageCache, max_unused: float) -> None:
    """What killed runs left beside images: records and pins of none, and what is remembered of sources whose images are gone."""
    for path in cache.store.orphans():
        with contextlib.suppress(OSError):
            # A record comes before its image, so a fresh one may be somebody's who is about to finish.
            if path.endswith(".json") and cache.clock.now() - os.stat(path).st_mtime < max(max_unused, _FRESH_SECONDS):
                continue
            os.unlink(path)
    cache.store.forget_stale_sources()
