# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Events of a host's domains, told as they come.

libvirt calls back in a thread of its own, from inside its event loop: a callback that blocks or calls libvirt stops
everything. So ours only put what they are told into a queue, and whoever waits takes it from there.
"""

from __future__ import annotations

import contextlib
import queue
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import AuthenticationFailed, ConnectionFailed
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.binding import library
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.event_loop import KEEPALIVE, run_event_loop
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.faults import Fault, Unsupported
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.session import open_without_prompts

LIFECYCLE, REMOVED, NOT_REMOVED, CLOSED = "lifecycle", "device removed", "device not removed", "closed"


@dataclass(frozen=True)
class Event:
    """``kind`` is one of the words above. ``detail`` is a device's alias, or what libvirt's lifecycle event is numbered."""

    kind: str
    uuid: str = ""
    detail: str = ""


class Events:
    """``with Events(uri) as events: ...``: a connection of its own, since one that was opened before the loop is not in it.

    :raises ConnectionFailed, AuthenticationFailed: it cannot be opened.
    :raises Unsupported: the driver has no events.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._queue: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._connection: Any = None
        self._numbers: list[int] = []

    def __enter__(self) -> Events:
        run_event_loop()
        lib = library()
        self._connection = open_without_prompts(self._uri)
        try:
            for number, callback in (
                (lib.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._on_lifecycle),
                (lib.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, self._on_removed),
                (lib.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED, self._on_not_removed),
            ):
                self._numbers.append(self._connection.domainEventRegisterAny(None, number, callback, None))
            with contextlib.suppress(lib.libvirtError):
                # A local driver inside this process has neither.
                self._connection.setKeepAlive(*KEEPALIVE)
                self._connection.registerCloseCallback(self._on_close, None)
        except lib.libvirtError as exc:
            self.__exit__(None, None, None)
            raise Fault.of(exc).as_error(obj=self._uri, phase="events") from exc
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        lib = library()
        for number in self._numbers:
            with contextlib.suppress(lib.libvirtError):
                connection.domainEventDeregisterAny(number)
        self._numbers = []
        with contextlib.suppress(lib.libvirtError):
            connection.close()

    def next(self, seconds: float) -> Event | None:
        """The next event, waited for this long at most; None for none. After ``CLOSED`` there is no other."""
        try:
            return self._queue.get(timeout=max(0.0, seconds))
        except queue.Empty:
            return None

    def _on_lifecycle(self, _connection: Any, domain: Any, event: int, _detail: int, _data: object) -> None:
        self._queue.put(Event(LIFECYCLE, domain.UUIDString(), str(event)))

    def _on_removed(self, _connection: Any, domain: Any, alias: str, _data: object) -> None:
        self._queue.put(Event(REMOVED, domain.UUIDString(), alias))

    def _on_not_removed(self, _connection: Any, domain: Any, alias: str, _data: object) -> None:
        self._queue.put(Event(NOT_REMOVED, domain.UUIDString(), alias))

    def _on_close(self, _connection: Any, _reason: int, _data: object) -> None:
        self._queue.put(Event(CLOSED))


@contextlib.contextmanager
def listening(uri: str) -> Any:
    """Events where the driver has them, None where it has not: whoever waits then only looks from time to time."""
    try:
        events: Any = Events(uri).__enter__()
    except (AuthenticationFailed, ConnectionFailed, Unsupported):
        events = None
    try:
        yield events
    finally:
        if events is not None:
            events.__exit__(None, None, None)


def pause(events: Events | None, deadline: Deadline, seconds: float) -> Event | None:
    """Wait for the next event, ``seconds`` at most and never beyond the deadline."""
    seconds = min(seconds, deadline.remaining)
    if events is None:
        deadline.clock.sleep(seconds)
        return None
    return events.next(seconds)
