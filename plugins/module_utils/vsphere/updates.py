# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Waiting without polling: one ``WaitForUpdatesEx`` at a time, for all objects that all threads wait for.

Each thread lists what it waits for in a view on the server. One of them asks for updates and hands out what comes; the others sleep
until it wakes them, and when it has got its own, the next takes over.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Callable

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.binding import kind_of, library, moid_of
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import Fault, ObjectGone
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.properties import of_view, unreadable
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.session import LOST, Attempts, Session, SessionReplaced

GATHER_SECONDS = 0.05
"""What threads begin to wait for within this time is listed in one call."""

GATHER_MORE_SECONDS = 0.2
"""The same while others are waited for already: what began one after the other ends so too."""

PAUSE_SECONDS = 0.1
"""Between two requests for updates, so that what happens at nearly the same time comes in one answer."""

MAX_WAIT_SECONDS = 20
"""A request for updates is answered after this at the latest: less than what proxies allow a silent connection."""

_FOLLOW_SECONDS = 1.0
_SPARE_SECONDS = 30.0

Key = tuple[str, str]
Group = tuple[str, tuple[str, ...]]


@dataclass(eq=False)
class Watch:
    """What one thread waits for: properties of an object, until they are as wanted. ``settled`` when they were, or never will be."""

    obj: Any
    paths: tuple[str, ...]
    until: Callable[[Mapping[str, Any]], bool]
    values: dict[str, Any] = field(default_factory=dict)
    settled: bool = False
    error: VirtError | None = None


@dataclass(eq=False)
class _Target:
    """An object in a view, what is known of it, and who waits for it."""

    obj: Any
    values: dict[str, Any] = field(default_factory=dict)
    watches: list[Watch] = field(default_factory=list)
    listed: bool = False

    def judge(self) -> None:
        for watch in self.watches:
            if not watch.settled and self.values and watch.until(self.values):
                watch.values, watch.settled = dict(self.values), True

    def fail(self, error: VirtError) -> None:
        for watch in self.watches:
            if not watch.settled:
                watch.error, watch.settled = error, True


@dataclass(eq=False)
class _Collector:
    """What is on the server, under the session of this number."""

    number: int
    obj: Any
    version: str = ""
    views: dict[Group, Any] = field(default_factory=dict)


class Updates:
    """The one waiter of a session."""

    def __init__(self, session: Session, clock: Clock) -> None:
        self._session = session
        self._clock = clock
        self._changed = threading.Condition()  # guards all below but the collector's making
        self._targets: dict[Group, dict[Key, _Target]] = {}
        self._collector: _Collector | None = None
        self._asking: _Collector | None = None
        self._asked_at = float("-inf")
        self._begun = -1  # the session under which its own collector was used
        self._listing = threading.Lock()  # who holds it may change what is on the server
        self._coming = 0
        self._threads: set[int] = set()  # those that ever came, until there are two

    @contextlib.contextmanager
    def coming(self) -> Iterator[None]:
        """Whoever is inside will wait for something as soon as it is outside: who lists just then waits a moment for it."""
        with self._changed:
            self._coming += 1
            if len(self._threads) < 2:
                self._threads.add(threading.get_ident())
        try:
            yield
        finally:
            with self._changed:
                self._coming -= 1
                self._changed.notify_all()

    def wait(self, watches: Sequence[Watch], deadline: Deadline, *, enough: Callable[[Iterable[bool]], bool] = all) -> None:
        """Return when all have settled or the deadline has passed, a second later at most.

        :param enough: ``any`` to return when one has.
        :raises ConnectionFailed: vCenter could not be reached again and again.
        """
        with self._watching(watches):
            attempts = Attempts(self._session, self._clock, deadline=deadline)
            while not enough(watch.settled for watch in watches):
                try:
                    self._list(attempts)
                    if self._follow_or_lead(watches, deadline, enough):
                        return
                except LOST as exc:
                    attempts.after(exc, repeatable=True)
                else:
                    attempts = Attempts(self._session, self._clock, deadline=deadline)

    @contextlib.contextmanager
    def _watching(self, watches: Sequence[Watch]) -> Iterator[None]:
        homes = []
        with self._changed:
            for watch in watches:
                group = self._targets.setdefault((kind_of(watch.obj), watch.paths), {})
                target = group.setdefault(_key(watch.obj), _Target(watch.obj))
                target.watches.append(watch)
                target.judge()
                homes.append((target, watch))
        try:
            yield
        finally:
            with self._changed:
                for target, watch in homes:
                    target.watches.remove(watch)

    def _follow_or_lead(self, watches: Sequence[Watch], deadline: Deadline, enough: Callable[[Iterable[bool]], bool]) -> bool:
        """Wait for one answer, as the one who asks or as one who is told. True when there is nothing more to wait for."""
        with self._changed:
            if enough(watch.settled for watch in watches) or deadline.passed:
                return True
            collector = self._collector
            if collector is None:
                return False
            if self._asking is collector:
                self._changed.wait(min(deadline.remaining, _FOLLOW_SECONDS))
                return False
            self._asking = collector
        try:
            self._ask(collector, deadline)
        finally:
            with self._changed:
                if self._asking is collector:
                    self._asking = None
                self._changed.notify_all()
        return False

    def _ask(self, collector: _Collector, deadline: Deadline) -> None:
        """One ``WaitForUpdatesEx``."""
        self._clock.sleep(max(0.0, min(self._asked_at + PAUSE_SECONDS - self._clock.monotonic(), PAUSE_SECONDS)))
        seconds = max(1, min(MAX_WAIT_SECONDS, ceil(deadline.remaining)))
        options = library().vmodl.query.PropertyCollector.WaitOptions(maxWaitSeconds=seconds)
        arguments = {"version": collector.version, "options": options}
        try:
            answer = self._session.call_once(collector.number, collector.obj, "WaitForUpdatesEx", arguments, timeout=seconds + _SPARE_SECONDS, phase="wait")
        except LOST:
            # What an answer that was lost told is not told again: begin anew, with all that is known now.
            self._forget(collector)
            raise
        except ObjectGone as exc:
            self._forget(collector)
            raise SessionReplaced(f"the collector is gone: {exc.message}", phase="wait") from exc
        self._asked_at = self._clock.monotonic()
        if answer is None:
            return
        with self._changed:
            collector.version = answer.version
            if self._collector is collector:
                self._take(answer)

    def _take(self, answer: Any) -> None:
        known: dict[Key, list[_Target]] = {}
        for targets in self._targets.values():
            for key, target in targets.items():
                known.setdefault(key, []).append(target)
        for part in answer.filterSet or ():
            for update in part.objectSet or ():
                for target in known.get(_key(update.obj), ()):
                    _apply(target, update)

    def _list(self, attempts: Attempts) -> None:
        """Have all that is waited for in the views on the server."""
        if not self._unlisted():
            return
        with self._listing:
            if not self._unlisted():
                return  # another thread listed it together with its own
            if len(self._threads) != 1:
                # A thread that is alone has nobody to wait for.
                self._clock.sleep(GATHER_MORE_SECONDS if self._busy() else GATHER_SECONDS)
            with self._changed:
                self._changed.wait_for(lambda: not self._coming, GATHER_MORE_SECONDS)
            collector = self._collector
            try:
                if collector is None or collector.number != attempts.number:
                    made = self._new_collector(attempts.number)
                    with self._changed:
                        self._collector = collector = _Collector(attempts.number, made)
                        for targets in self._targets.values():
                            for target in targets.values():
                                target.listed = False
                with self._changed:
                    groups = list(self._targets)
                for group in groups:
                    self._list_group(collector, group)
            except LOST:
                self._forget(collector)
                raise
            except ObjectGone as exc:
                self._forget(collector)
                raise SessionReplaced(f"the collector is gone: {exc.message}", phase="wait") from exc

    def _new_collector(self, number: int) -> Any:
        """The session's own, the first time: nobody else waits on it. After that one whose answers were not lost."""
        own = self._session.content.propertyCollector
        if self._begun == number:
            return self._session.call_once(number, own, "CreatePropertyCollector", {}, phase="wait")
        self._begun = number
        return own

    def _list_group(self, collector: _Collector, group: Group) -> None:
        with self._changed:
            targets = self._targets[group]
            idle = {key: target for key, target in targets.items() if not target.watches}
            added = {key: target for key, target in targets.items() if target.watches and not target.listed}
        if not added:
            return
        call = self._session.call_once
        if not collector.views and self._begin_with(collector, group, added):
            self._are_listed(targets, added, {}, ())
            return
        if group not in collector.views:
            self._view(collector, group, ())
        # Added after the filter was made, so that a request under way learns of them too.
        arguments = {"add": [target.obj for target in added.values()], "remove": [target.obj for target in idle.values() if target.listed]}
        missing = call(collector.number, collector.views[group], "ModifyListView", arguments, phase="wait")
        self._are_listed(targets, added, idle, missing or ())

    def _begin_with(self, collector: _Collector, group: Group, added: dict[Key, _Target]) -> bool:
        """Nothing is asked yet, so the view may hold them from its making. False when one of them is gone: then which is learned by adding them."""
        try:
            self._view(collector, group, [target.obj for target in added.values()])
        except ObjectGone:
            return False
        return True

    def _view(self, collector: _Collector, group: Group, objects: Sequence[Any]) -> None:
        call = self._session.call_once
        view = call(collector.number, self._session.content.viewManager, "CreateListView", {"obj": list(objects)}, phase="wait")
        call(collector.number, collector.obj, "CreateFilter", {"spec": of_view(view, *group), "partialUpdates": False}, phase="wait")
        collector.views[group] = view

    def _are_listed(self, targets: dict[Key, _Target], added: dict[Key, _Target], idle: dict[Key, _Target], missing: Sequence[Any]) -> None:
        with self._changed:
            for target in added.values():
                target.listed = True
            for key, target in idle.items():
                if not target.watches:
                    del targets[key]
                target.listed = False
            for obj in missing:
                if _key(obj) in targets:
                    targets[_key(obj)].fail(_gone(obj))

    def _busy(self) -> bool:
        with self._changed:
            targets = (target for group in self._targets.values() for target in group.values())
            return any(target.listed and any(not watch.settled for watch in target.watches) for target in targets)

    def _unlisted(self) -> bool:
        with self._changed:
            if self._collector is None or self._collector.number != self._session.number:
                return True
            return any(target.watches and not target.listed for targets in self._targets.values() for target in targets.values())

    def _forget(self, collector: _Collector | None) -> None:
        """It ends with its session; a request that may still run there for nobody ends by itself."""
        with self._changed:
            if collector is not None and self._collector is collector:
                self._collector = None


def _apply(target: _Target, update: Any) -> None:
    if update.kind == "leave":
        if target.watches:
            target.fail(_gone(target.obj))
        return
    if update.missingSet:
        missing = update.missingSet[0]
        target.fail(unreadable(Fault.of(missing.fault), missing.path, target.obj, "wait"))
        return
    for change in update.changeSet or ():
        if change.op in ("assign", "add"):
            target.values[change.name] = change.val
        else:
            target.values.pop(change.name, None)
    target.judge()


def _key(obj: Any) -> Key:
    return kind_of(obj), moid_of(obj)


def _gone(obj: Any) -> ObjectGone:
    return ObjectGone("it does not exist any more", obj=f"{kind_of(obj)}:{moid_of(obj)}", phase="wait")
