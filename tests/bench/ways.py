# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ways in which a task of ``vm_pool`` is run, each timed: from the code inside to the whole command."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.poolwright.virt.tests.bench.packed import nothing, playbook
from ansible_collections.poolwright.virt.tests.bench.pool_module import PoolModule

INSIDE, PROCESS, PLAYBOOK = "`vm_pool`, inside the module", "`vm_pool`, the module's process", "`vm_pool`, `ansible-playbook`"
NOTHING = "nothing but a ping, `ansible-playbook`"


def timed(work: Callable[[], Any], after: Callable[[], None] = lambda: None) -> Callable[[], float]:
    """To be run for the seconds that ``work`` takes; ``after`` is run too and not timed."""

    def once() -> float:
        start = time.perf_counter()
        work()
        seconds = time.perf_counter() - start
        after()
        return seconds

    return once


class Ways:
    """One task of ``vm_pool``, run in all these ways. What its runs said is kept.

    :param after: run after each of them, and not timed.
    """

    def __init__(self, module: PoolModule, folder: Path, after: Callable[[], None] = lambda: None) -> None:
        self._module = module
        self._empty = nothing(folder)
        self._after = after
        self.results: list[dict[str, Any]] = []

    def contenders(self) -> dict[str, Callable[[], float]]:
        """Beside the three ways, a playbook that does nothing: Ansible's own time."""
        return {
            INSIDE: timed(self._inside, self._after),
            PROCESS: timed(self._process, self._after),
            PLAYBOOK: timed(self._module.playbook, self._after),
            NOTHING: timed(lambda: playbook(self._empty)),
        }

    def _inside(self) -> None:
        self.results.append(self._module.inside())

    def _process(self) -> None:
        result, _ended = self._module.process()
        self.results.append(result)
