# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""When one host is better than another: by a clear margin, or not at all. Pure.

How full a host is changes by a few MiB from one reading to the next. A choice that went by every MiB would move a machine for nothing, and move it back
after the next reading. So loads that differ by no more than a margin are the same here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# The share of a host by which loads must differ to count as different.
MARGIN = 0.05


@dataclass(frozen=True)
class Load:
    """A host that can take a machine.

    :ivar share: how full it is with the machine on it, from 0 to 1, as it was read.
    :ivar promised: what share of it the run at hand gives away, this machine among it. It is not read anywhere, so it is exact.
    """

    name: str
    share: float
    promised: float = 0.0


def is_clear_gain(share_there: float, share_here: float, margin: float) -> bool:
    """Whether a machine gains by a move.

    After it, the way back is none: that would take ``share_here + margin < share_there``. Readings that are wrong by less than half the margin each
    change nothing about that.

    :param share_there: how full the target is with the machine on it.   :param share_here: how full its own host is now.
    """
    return share_there < share_here - margin


def least_used(loads: Sequence[Load], margin: float) -> Load:
    """The host for a machine. Of those that are as little used, the one that is given the least, then the first by name."""
    least = min(load.share for load in loads)
    return min((load for load in loads if load.share <= least + margin), key=lambda load: (load.promised, load.name))


def better(loads: Sequence[Load], share_here: float, margin: float) -> Load | None:
    """The host that a machine gains by moving to, None where it stays."""
    gains = [load for load in loads if is_clear_gain(load.share, share_here, margin)]
    return least_used(gains, margin) if gains else None
