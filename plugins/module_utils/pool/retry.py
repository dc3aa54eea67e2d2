# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Repeat what may work the next time; give up at once on what cannot."""

from __future__ import annotations

from typing import Callable, TypeVar

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock
from ansible_collections.poolwright.virt.plugins.module_utils.errors import VirtError

ATTEMPTS = 3
_FIRST_PAUSE = 0.25

Result = TypeVar("Result")


def repeat(call: Callable[[], Result], clock: Clock, retry_if: Callable[[VirtError], bool]) -> Result:
    """The result of ``call``, made up to three times while ``retry_if`` holds for its error; pauses of 0.25 and 0.5 s."""
    pause = _FIRST_PAUSE
    for _attempt in range(ATTEMPTS - 1):
        try:
            return call()
        except VirtError as exc:
            if not retry_if(exc):
                raise
        clock.sleep(pause)
        pause *= 2
    return call()


def transient(exc: VirtError) -> bool:
    return exc.transient
