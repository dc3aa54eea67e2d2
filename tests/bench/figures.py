# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Figures: times over several rounds, and the tables they are shown in."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any


class Wrong(Exception):
    """A measurement that could not be made, or found something that must not be: a count above its bound, a wrong result."""


def must(holds: bool, what: str) -> None:
    """:raises Wrong: ``what`` is the case, and must not be."""
    if not holds:
        raise Wrong(what)


@dataclass(frozen=True)
class Table:
    """A table as people read it; cells are text."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Measured:
    """What one measurement found: its tables, and the bare figures behind them, times in seconds."""

    tables: Sequence[Table]
    figures: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Timings:
    """Seconds by contender, one of each a round: what they are compared by was measured side by side."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    def add(self, name: str, seconds: float) -> None:
        self.seconds.setdefault(name, []).append(round(seconds, 4))

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.add(name, time.perf_counter() - start)

    def alternate(self, rounds: int, contenders: Mapping[str, Callable[[], float]]) -> None:
        """Every contender once a round, in an order that differs from round to round; each says how long it took."""
        names = list(contenders)
        for number in range(rounds):
            print(f"   round {number + 1} of {rounds}", file=sys.stderr, flush=True)
            for name in names[number % len(names) :] + names[: number % len(names)]:
                self.add(name, contenders[name]())

    def median(self, name: str) -> float:
        return median(self.seconds[name])

    def spread(self, name: str) -> list[str]:
        """min, median, max."""
        seconds = self.seconds[name]
        return [_shown(value) for value in (min(seconds), median(seconds), max(seconds))]

    def table(self, title: str, names: Sequence[str]) -> Table:
        return Table(title, ["seconds", "min", "median", "max"], [[name, *self.spread(name)] for name in names])

    def ratio(self, name: str, to: str) -> float:
        """The median over the rounds of how many times as long ``name`` took."""
        return median(mine / theirs for mine, theirs in zip(self.seconds[name], self.seconds[to]))


def _shown(seconds: float) -> str:
    return f"{seconds:.2f}" if seconds >= 0.1 else f"{seconds:.3f}"


def held(what: str, value: float, aim: str, bound: float, unit: str = "") -> list[str]:
    """A row of a table of aims. ``aim`` is ``at most``, ``at least`` or ``under``."""
    reached = {"at most": value <= bound, "at least": value >= bound, "under": value < bound}[aim]
    return [what, f"{value:.3g}{unit}", f"{aim} {bound:g}{unit}", "reached" if reached else "**missed**"]


def free(what: str, value: float, unit: str = "") -> list[str]:
    """A row of a table of aims for a figure without one."""
    return [what, f"{value:.3g}{unit}", "", ""]


def aims(*rows: Sequence[str]) -> Table:
    return Table("Against the aims", ["figure", "measured", "aim", ""], rows)


def phases(stats: Mapping[str, Any], of: str) -> Table:
    return Table(f"Phases {of}", ["phase", "seconds"], [[phase, _shown(seconds)] for phase, seconds in stats["seconds"].items()])
