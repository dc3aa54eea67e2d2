# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs one request of ``image_cache`` on a directory, and with ``kill_at`` ends itself by SIGKILL at the n-th thing it does to the cache."""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.images.formats import detect
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.image_requests import keep_files
from ansible_collections.poolwright.virt.tests.unit.images.killed import kill_at_step

DEFAULTS: dict[str, Any] = {
    "state": "present",
    "source": None,
    "checksum": None,
    "format": None,
    "compression": None,
    "convert_to": None,
    "max_size_gb": 1024,
    "disk_directories": None,
    "uri": "",
    "force": False,
    "max_unused": "7d",
    "timeout": 600,
}


def main(kill_at: int = 0, rounds: int = 1, **options: Any) -> None:
    detect(os.devnull)  # import what is imported late, before steps are counted
    print("about to", flush=True)
    kill_at_step(options["path"], kill_at)
    for _time in range(rounds):
        result = keep_files({**DEFAULTS, **options}, False, threading.Event())
        path = result.get("path")
        if path is not None and not os.path.exists(path):
            sys.exit(f"{path} is gone though its use was recorded")
    print(json.dumps(result))


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
