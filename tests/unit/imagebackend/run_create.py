# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Creates one disk from an image or from contents; with ``kill_at`` it is killed at that step."""

from __future__ import annotations

import json
import sys
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.options import DiskOptions
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.registry import disk_image
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import CachedImage
from ansible_collections.poolwright.virt.tests.unit.images.killed import kill_at_step


def main(backend: str, location: str, full: bool, image: dict[str, Any] | None, contents: str, size: int, kill_at: int = 0) -> None:
    disk = disk_image(backend, location, "web-1_root", DiskOptions(full))
    deadline = Deadline.after(Clock(), 600)

    def write(path: str) -> None:
        with open(path, "w") as stream:
            stream.write(contents)

    kill_at_step(location, kill_at)
    if image is None:
        disk.create_from_func(write, size, deadline)
    else:
        disk.create_from_image(CachedImage(**image), size, deadline)


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
