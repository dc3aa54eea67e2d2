# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A process that ends itself by SIGKILL at a chosen step of its work on files."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any


def kill_at_step(root: str, step: int) -> None:
    """From now on, die at the ``step``-th thing done to a path below ``root``, or to a lock; 0 for never."""
    if not step:
        return
    seen = 0

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event.startswith("import") or not (event == "fcntl.flock" or any(root in str(argument) for argument in arguments)):
            return
        seen += 1
        if seen == step:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
