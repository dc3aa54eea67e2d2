# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Carrying out on a running domain what was planned for it."""

from __future__ import annotations

import contextlib
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import DeadlineExceeded, NotFound, OperationFailed, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.guests import record, tree
from ansible_collections.poolwright.virt.plugins.module_utils.guests.live import Device, LivePlan
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.events import CLOSED, NOT_REMOVED, REMOVED, listening, pause
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.guest import Guest

_LOOK_SECONDS = 0.5
# A guest that was busy with another device may have missed the question.
_ASK_SECONDS = 3.0


def carry_out(guest: Guest, uri: str, plan: LivePlan, definition: ET.Element, clock: Clock, unplug_seconds: float) -> list[str]:
    """What did not work, in words: it then waits for a restart. A lost connection is raised.

    :param definition: as it is wanted: its record goes to the running domain as well.
    """
    failed: list[str] = []

    def attempt(what: str, action: Callable[[], None]) -> None:
        try:
            action()
        except (OperationFailed, DeadlineExceeded, NotFound) as exc:
            failed.append(f"{what} could not be changed while the guest runs: {_plain(exc)}")

    ours = record.find(definition)
    if plan.metadata and ours is not None:
        element = record.without_namespace(ours)
        attempt("metadata", lambda: guest.set_metadata(element, record.NAMESPACE, record.PREFIX))
    # mypy cannot tell the type of a lambda that keeps its loop's value as a default.
    for device in plan.detach:
        attempt(device.what, lambda device=device: unplug(guest, uri, device, clock, unplug_seconds))  # type: ignore[misc]
    for device in plan.attach:
        attempt(device.what, lambda device=device: guest.attach(tree.text_of(device.element)))  # type: ignore[misc]
    for device in plan.update:
        attempt(device.what, lambda device=device: guest.update(tree.text_of(device.element)))  # type: ignore[misc]
    values: list[tuple[str, Any, Callable[[Any], None]]] = [
        ("cpus", plan.cpus, guest.set_cpus),
        ("memory_mb", plan.memory_kib, guest.set_memory),
        ("ballooning", plan.stats_period, guest.set_stats_period),
        ("title", plan.title, guest.set_title),
        ("description", plan.description, guest.set_description),
    ]
    for what, value, action in values:
        if value is not None:
            attempt(what, lambda value=value, action=action: action(value))  # type: ignore[misc]
    return failed


def _plain(exc: VirtError) -> str:
    return exc.message


def unplug(guest: Guest, uri: str, device: Device, clock: Clock, seconds: float) -> None:
    """Ask for a device back, again from time to time, and wait until the guest has given it.

    :raises DeadlineExceeded: it did not in time.   :raises OperationFailed: it refused.
    """
    alias, text = _alias(device.element), tree.text_of(device.element)
    deadline = Deadline.after(clock, seconds)
    with listening(uri) as events:
        try:
            guest.detach(text)
        except NotFound:
            if _is_there(guest, alias):
                raise
        asked = clock.monotonic()
        while _is_there(guest, alias):
            if deadline.passed:
                raise DeadlineExceeded(f"the guest did not give the device back in {seconds:g} s", obj=guest.name, phase="unplug")
            event = pause(events, deadline, _LOOK_SECONDS)
            if event is not None and event.kind == CLOSED:
                events = None
            elif event is not None and (event.uuid, event.detail) == (guest.uuid, alias):
                if event.kind == REMOVED:
                    return
                if event.kind == NOT_REMOVED:
                    raise OperationFailed("the guest refused to give the device back", obj=guest.name, phase="unplug")
            if clock.monotonic() - asked >= _ASK_SECONDS:
                asked = clock.monotonic()
                with contextlib.suppress(OperationFailed, NotFound):
                    # It may be busy with the last question, or be done with it.
                    guest.detach(text)


def _alias(element: ET.Element) -> str:
    found = element.find("alias")
    return "" if found is None else found.get("name", "")


def _is_there(guest: Guest, alias: str) -> bool:
    return any(_alias(element) == alias for element in tree.devices(tree.parse(guest.current())))
