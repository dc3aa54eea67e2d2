# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Offers files to a cache, one after another, and prints as JSON what became of each: ``name`` -> [code, message]."""

from __future__ import annotations

import json
import sys

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import ImageCache
from ansible_collections.poolwright.virt.plugins.module_utils.images.source import ImageSource


def main(root: str, most: int, files: list[dict[str, str]]) -> None:
    clock = Clock()
    cache = ImageCache(root, clock, max_unpacked_size=most)
    outcome = {}
    for file in files:
        source = ImageSource(file["path"], None, file["format"], file["compression"], file["convert_to"])
        try:
            image = cache.ensure(source, Deadline.after(clock, 600))
            outcome[file["name"]] = ["", image.path]
        except VirtError as exc:
            outcome[file["name"]] = [exc.code, str(exc)]
    print(json.dumps(outcome))


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as stream:
        main(**json.load(stream))
