# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run of ``vm_spawn`` in a process of its own, to be killed: its parameters come as JSON on standard input."""

from __future__ import annotations

import json
import sys
import threading

from ansible_collections.poolwright.virt.plugins.module_utils.spawn.request import spawn_with

if __name__ == "__main__":
    spawn_with(json.load(sys.stdin), False, threading.Event())
