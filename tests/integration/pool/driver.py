# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run of ``vm_pool`` in a process of its own; the request comes by standard input, the result goes to standard output."""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.pool.request import converge_with
from ansible_collections.poolwright.virt.plugins.module_utils.runner import stopping_in_order
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats


def signal_at(call: int, number: signal.Signals) -> None:
    """Have this process get a signal when it makes its n-th call to the provider, before the call is sent."""
    count = Stats.call
    made = 0

    def counted(self: Stats, name: str) -> int:
        nonlocal made
        made += 1
        if made == call:
            os.kill(os.getpid(), number)
        return count(self, name)

    Stats.call = counted  # type: ignore[method-assign]


def run(request: dict[str, Any]) -> dict[str, Any]:
    if request["kill_at_call"]:
        signal_at(request["kill_at_call"], signal.SIGKILL)
    if request.get("stop_at_call"):
        signal_at(request["stop_at_call"], signal.SIGTERM)
    with stopping_in_order() as cancel:
        return converge_with(request["params"], False, cancel)


def main() -> None:
    json.dump(run(json.load(sys.stdin)), sys.stdout)


if __name__ == "__main__":
    main()
