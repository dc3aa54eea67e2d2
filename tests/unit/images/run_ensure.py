# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs ``ImageCache.ensure`` once, and with ``kill_at`` ends itself by SIGKILL at the n-th thing it does to the cache."""

from __future__ import annotations

import json
import os
import sys

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import ImageCache
from ansible_collections.poolwright.virt.plugins.module_utils.images.formats import detect
from ansible_collections.poolwright.virt.plugins.module_utils.images.source import ImageSource
from ansible_collections.poolwright.virt.tests.unit.images.killed import kill_at_step


def main(root: str, source: str, format: str, checksum: str | None = None, kill_at: int = 0) -> None:
    detect(os.devnull)  # import what is imported late, before steps are counted
    clock = Clock()
    print("about to", flush=True)
    kill_at_step(root, kill_at)
    image = ImageCache(root, clock).ensure(ImageSource(source, checksum, format), Deadline.after(clock, 600))
    print(image.path)


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
