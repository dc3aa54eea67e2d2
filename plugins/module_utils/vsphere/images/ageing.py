# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Which images have not been used for long. A first pass marks what nobody uses, a later one removes what has been marked for long enough."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.layout import Entry


@dataclass(frozen=True)
class Step:
    """What a pass does to one image: ``mark`` it as unused, ``clear`` its marks, or ``remove`` it; and why."""

    action: str
    entry: Entry
    reason: str


def plan(entries: Iterable[Entry], used: Iterable[str], now: float, max_unused: float) -> list[Step]:
    """:param used: the keys of images that machines use.   :param now, max_unused: seconds."""
    in_use = set(used)
    return [step for step in (_step(entry, entry.key in in_use, now, max_unused) for entry in sorted(entries, key=lambda one: one.key)) if step is not None]


def _step(entry: Entry, in_use: bool, now: float, max_unused: float) -> Step | None:
    if entry.pinned or in_use:
        return Step("clear", entry, "pinned" if entry.pinned else "in use") if entry.unused else None
    if not entry.unused:
        return Step("mark", entry, "no machine uses it")
    since = max(entry.unused)
    # Who came after the mark has removed it, or is about to.
    if entry.last_used > since:
        return Step("clear", entry, "used since")
    if now - since >= max_unused:
        return Step("remove", entry, f"unused for {int(now - since)} s")
    return None
