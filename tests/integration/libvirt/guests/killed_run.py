# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""A run of ``libvirt_guest`` that ends itself with SIGKILL at one of its points, or runs through and returns how many there are.

Points lie before and after each call to libvirt that changes something, and before and after each disk is made, kept, reverted or removed.
"""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.guests import run, storage
from ansible_collections.poolwright.virt.plugins.module_utils.guests.request import guest_with
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.disks import DiskFromFunc, DiskFromImage
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.registry import BACKENDS
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.session import MUTATING, Session


def run_until(point: int, params: dict[str, Any]) -> int:
    points = itertools.count()
    reached = 0

    def here() -> None:
        nonlocal reached
        reached = next(points)
        if reached == point:
            os.kill(os.getpid(), signal.SIGKILL)

    def watched(action: Callable[..., Any], counts: Callable[..., bool] = lambda *_arguments: True) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **named: Any) -> Any:
            if not counts(*arguments):
                return action(*arguments, **named)
            here()
            result = action(*arguments, **named)
            here()
            return result

        return wrapper

    Session.call = watched(Session.call, lambda _session, api, *_more: api in MUTATING)  # type: ignore[method-assign]
    for kind in (DiskFromFunc, DiskFromImage):
        kind.create = watched(kind.create)  # type: ignore[method-assign]
    for backend in BACKENDS.values():
        for action in ("snapshot_create", "snapshot_delete", "snapshot_revert"):
            setattr(backend, action, watched(getattr(backend, action)))
    setattr(run, "remove_disks", watched(storage.remove_disks))  # noqa: B010 (it is no part of what run exports)
    guest_with(params, False, threading.Event())
    return reached + 1
