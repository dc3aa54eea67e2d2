# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How many random cases the tests take, and which: few in the gate, all of them in a soak.

``POOLWRIGHT_SEED`` is the first seed of a run. Where it is not set, the process that starts the run draws it; the processes of
pytest-xdist inherit it, and so collect the same cases. ``POOLWRIGHT_SOAK=1`` asks for the full numbers.
"""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Sequence
from typing import TypeVar

SEED = "POOLWRIGHT_SEED"
SOAK = "POOLWRIGHT_SOAK"

# Hypothesis' own number of examples, which a soak takes.
EXAMPLES = 100

_Case = TypeVar("_Case")
_First = TypeVar("_First")
_Second = TypeVar("_Second")


def soaking() -> bool:
    return os.environ.get(SOAK, "") not in ("", "0")


def first_seed() -> int:
    """The run's first seed, drawn when it is first asked for."""
    if not os.environ.get(SEED):
        os.environ[SEED] = str(secrets.randbelow(1_000_000))
    return int(os.environ[SEED])


def seeds(gate: int, soak: int) -> range:
    """The seeds of one test, from the first on."""
    return range(first_seed(), first_seed() + (soak if soaking() else gate))


def some(cases: Sequence[_Case], gate: int, test: str = "", always: Sequence[_Case] = ()) -> list[_Case]:
    """All cases in a soak, else ``gate`` of them with those of ``always``, drawn for this run and ``test``, in their order."""
    if soaking() or len(cases) <= gate:
        return list(cases)
    others = [index for index, case in enumerate(cases) if case not in always]
    chosen = set(random.Random(f"{first_seed()} {test}").sample(others, max(0, gate - len(always))))
    return [case for index, case in enumerate(cases) if case in always or index in chosen]


def pairs(firsts: Sequence[_First], seconds: Sequence[_Second], gate: int, test: str) -> list[tuple[_First, _Second]]:
    """All pairs in a soak, else ``gate`` rounds, in each of which every one of both comes once or more, with another partner."""
    shifts = some(range(len(seconds)), gate, test)
    length = max(len(firsts), len(seconds))
    return list(dict.fromkeys((firsts[at % len(firsts)], seconds[(at + shift) % len(seconds)]) for shift in shifts for at in range(length)))


def points(number: int, gate: int, test: str, soak: int | None = None) -> list[int]:
    """Of the points of a run at which it is killed, in order: ``gate`` of them, in a soak all or so many; the first and the last always."""
    most = (number if soak is None else soak) if soaking() else gate
    between = range(1, number - 1)
    chosen = random.Random(f"{first_seed()} {test}").sample(between, max(0, min(most - 2, len(between))))
    return sorted({0, *chosen, number - 1})


def steps(stop: int, gate: int, soak: int) -> range:
    """Steps from 1 on at which something is interrupted, ``gate`` apart or in a soak ``soak``; which ones is drawn for this run."""
    apart = soak if soaking() else gate
    return range(1 + first_seed() % apart, stop, apart)


def examples(soak: int = EXAMPLES) -> int:
    """How many examples Hypothesis tries: a quarter in the gate."""
    return soak if soaking() else soak // 4


def described() -> str:
    """How to repeat this run's cases, for its header."""
    return f"seeds: {'all' if soaking() else 'few'}, repeated by {SEED}={first_seed()}{f' {SOAK}=1' if soaking() else ''}"
