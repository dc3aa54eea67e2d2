# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A thousand simulated machines: a converged run, and a fill against a hypervisor that takes half a second for each."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.poolwright.virt.tests.bench.figures import Measured, Table, Timings, aims, held, must, phases
from ansible_collections.poolwright.virt.tests.bench.places import BENCH
from ansible_collections.poolwright.virt.tests.bench.pool_module import PoolModule, nothing, playbook

SECONDS_CONVERGED = 1.0
PEAK_MB = 150.0
PARALLEL, DELAY = 50, 0.5
TIMES_IDEAL = 1.15
INSIDE, PROCESS, PLAYBOOK, NOTHING = "inside the module", "the module's process", "`ansible-playbook`", "`ansible-playbook` with nothing but a ping"


def measure(quick: bool) -> Measured:
    size, rounds, fills = (100, 2, 1) if quick else (1000, 5, 3)
    folder = BENCH / "dummy"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        return _measure(folder, size, rounds, fills)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _measure(folder: Path, size: int, rounds: int, fills: int) -> Measured:
    timings, empty, weights = Timings(), nothing(folder), []
    module = _module(folder, "converged", size)
    module.inside()

    def process() -> float:
        result, ended = module.process()
        must(not result["changed"], "a converged run changed something")
        weights.append(round(ended.peak_mb, 1))
        return ended.seconds

    timings.alternate(
        rounds,
        {
            INSIDE: _timed(module.inside),
            PROCESS: process,
            PLAYBOOK: lambda: module.playbook().seconds,
            NOTHING: lambda: playbook(empty).seconds,
        },
    )
    ideal, filled, stats = size / PARALLEL * DELAY, _fills(folder, size, fills), module.inside()["stats"]
    must(stats["calls"] == {"list_machines": 1}, f"a converged run made the calls {stats['calls']}")
    figures = {"machines": size, "seconds": timings.seconds, "peak_mb": weights, "calls": stats["calls"], "ideal": ideal, "fill": filled.seconds}
    return Measured(_tables(timings, filled, size, max(weights), ideal, stats), figures)


def _module(folder: Path, name: str, size: int, **more: Any) -> PoolModule:
    params = {"provider": "dummy", "path": str(folder / f"{name}.sqlite"), "pools": [{"name": "bench", "size": size, "networks": [{"network": "default"}]}]}
    return PoolModule(folder, name, {**params, **more})


def _fills(folder: Path, size: int, rounds: int) -> Timings:
    module = _module(folder, "fill", size, dummy={"delays": {"create": DELAY}}, max_parallel=PARALLEL)

    def emptied(work: Callable[[], float]) -> Callable[[], float]:
        def once() -> float:
            for path in folder.glob("fill.sqlite*"):
                path.unlink()
            return work()

        return once

    timings = Timings()
    timings.alternate(rounds, {INSIDE: emptied(_timed(module.inside)), PROCESS: emptied(lambda: module.process()[1].seconds)})
    return timings


def _timed(work: Callable[[], Any]) -> Callable[[], float]:
    def once() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return once


def _tables(timings: Timings, filled: Timings, size: int, peak: float, ideal: float, stats: dict[str, Any]) -> list[Table]:
    return [
        Table(
            f"A converged run over {size} simulated machines",
            ["seconds", "min", "median", "max"],
            [[name, *timings.spread(name)] for name in (INSIDE, PROCESS, PLAYBOOK, NOTHING)],
        ),
        Table(
            f"A fill of {size}, {DELAY:g} s for each, {PARALLEL} at a time: ideally {ideal:g} s",
            ["seconds", "min", "median", "max"],
            [[name, *filled.spread(name)] for name in (INSIDE, PROCESS)],
        ),
        aims(
            held("converged run, inside the module", timings.median(INSIDE), "under", SECONDS_CONVERGED, " s"),
            held("converged run, the module's process", timings.median(PROCESS), "under", SECONDS_CONVERGED, " s"),
            held("peak memory of the module's process", peak, "under", PEAK_MB, " MB"),
            held("fill inside the module, to the ideal", filled.median(INSIDE) / ideal, "at most", TIMES_IDEAL),
            held("fill by the module's process, to the ideal", filled.median(PROCESS) / ideal, "at most", TIMES_IDEAL),
        ),
        phases(stats, "inside the module, converged"),
    ]
