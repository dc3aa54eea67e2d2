# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Work of a module on one of the hosts: its result, or its error, with the number of points that it came by.

At one of them it ends itself with SIGKILL. Points lie before and after each call to libvirt that changes something,
and one in the middle of each call that moves a guest. With point -1 it runs through.
"""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.guests.request import guest_with
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.guest import Guest
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.session import MUTATING, Session
from ansible_collections.poolwright.virt.plugins.module_utils.migration.request import migrate_with

WORK: dict[str, Callable[..., dict[str, Any]]] = {"guest": guest_with, "migrate": migrate_with}


class Points:
    def __init__(self, point: int) -> None:
        self._point = point
        self._numbers = itertools.count()
        self.reached = 0

    def here(self) -> None:
        number = next(self._numbers)
        self.reached = number + 1
        if number == self._point:
            os.kill(os.getpid(), signal.SIGKILL)


def watch(points: Points) -> None:
    call, migrate = Session.call, Guest.migrate

    def watched(session: Session, api: str, action: Callable[[Any], Any], **about: Any) -> Any:
        if api not in MUTATING:
            return call(session, api, action, **about)
        points.here()
        found = call(session, api, action, **about)
        points.here()
        return found

    def moved(guest: Guest, uri: str, flags: int, params: dict[str, Any]) -> None:
        def later() -> None:
            time.sleep(0.7)
            points.here()

        threading.Thread(target=later, daemon=True).start()
        migrate(guest, uri, flags, params)

    Session.call = watched  # type: ignore[assignment,method-assign]
    Guest.migrate = moved  # type: ignore[assignment,method-assign]


def run(work: str, point: int, params: dict[str, Any]) -> dict[str, Any]:
    """:param work: ``guest`` or ``migrate``, for the module."""
    points, cancel = Points(point), threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: cancel.set())
    watch(points)
    check = bool(params.pop("check", False))
    try:
        return {**WORK[work](params, check, cancel), "points": points.reached}
    except InvalidSpec as exc:
        return {"error": str(exc), "code": exc.code, "problems": exc.problems}
    except VirtError as exc:
        return {"error": str(exc), "code": exc.code, "points": points.reached}
