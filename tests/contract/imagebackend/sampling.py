# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Which of many points a case tries: all in a soak, else the outermost and a few between, others in each run."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from ansible_collections.poolwright.virt.tests import seeds

_FEW = 5  # amounts that are tried one after the other in any run


def some(points: Sequence[int], gate: int, case: str) -> list[int]:
    """All points in a soak, else ``gate`` (2 or more) of them in their order, the first and the last always."""
    return seeds.some(points, gate, case, always=(points[0], points[-1]))


def boundary(amounts: Sequence[int], enough: Callable[[int], bool], case: str) -> tuple[int, int]:
    """The last of rising amounts that is not enough, and the one after it, which is.

    In a soak all up to there are tried, else the first, the last, and ever closer ones between.
    """
    assert not enough(amounts[0]), f"{amounts[0]} is enough"
    if seeds.soaking() or len(amounts) <= _FEW:
        for lacking, amount in zip(amounts, amounts[1:]):
            if enough(amount):
                return lacking, amount
        raise AssertionError(f"{amounts[-1]} is not enough")
    assert enough(amounts[-1]), f"{amounts[-1]} is not enough"
    low, high, chance = 0, len(amounts) - 1, random.Random(f"{seeds.first_seed()} {case}")
    while high - low > 1:
        pivot = low + 1 + int((high - low - 1) * chance.uniform(0.25, 0.75))
        low, high = (low, pivot) if enough(amounts[pivot]) else (pivot, high)
    return amounts[low], amounts[high]
