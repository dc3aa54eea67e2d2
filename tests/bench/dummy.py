# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A thousand simulated machines: a converged run, and a fill against a hypervisor that takes half a second for each."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.poolwright.virt.tests.bench.figures import Measured, Table, Timings, aims, held, must, phases
from ansible_collections.poolwright.virt.tests.bench.places import BENCH
from ansible_collections.poolwright.virt.tests.bench.pool_module import PoolModule, unchanged
from ansible_collections.poolwright.virt.tests.bench.ways import INSIDE, NOTHING, PLAYBOOK, PROCESS, Ways

SECONDS_CONVERGED = 1.0
PEAK_MB = 150.0
PARALLEL, DELAY = 50, 0.5
TIMES_IDEAL = 1.15


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
    module = _module(folder, "converged", size)
    module.inside()
    timings, ways = Timings(), Ways(module, folder)
    timings.alternate(rounds, ways.contenders())
    unchanged(ways.results)
    peak = module.weigh()
    ideal, filled, stats = size / PARALLEL * DELAY, _fills(folder, size, fills), ways.results[-1]["stats"]
    must(stats["calls"] == {"list_machines": 1}, f"a converged run made the calls {stats['calls']}")
    figures = {"machines": size, "seconds": timings.seconds, "peak_mb": peak, "calls": stats["calls"], "ideal": ideal, "fill": filled.seconds}
    return Measured(_tables(timings, filled, size, peak, ideal, stats), figures)


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
    contenders = Ways(module, folder).contenders()
    timings.alternate(rounds, {way: emptied(contenders[way]) for way in (INSIDE, PROCESS)})
    return timings


def _tables(timings: Timings, filled: Timings, size: int, peak: float, ideal: float, stats: dict[str, Any]) -> list[Table]:
    return [
        timings.table(f"A converged run over {size} simulated machines", (INSIDE, PROCESS, PLAYBOOK, NOTHING)),
        filled.table(f"A fill of {size}, {DELAY:g} s for each, {PARALLEL} at a time: ideally {ideal:g} s", (INSIDE, PROCESS)),
        aims(
            held("converged run, inside the module", timings.median(INSIDE), "under", SECONDS_CONVERGED, " s"),
            held("converged run, the module's process", timings.median(PROCESS), "under", SECONDS_CONVERGED, " s"),
            held("peak memory of the module's process", peak, "under", PEAK_MB, " MB"),
            held("fill inside the module, to the ideal", filled.median(INSIDE) / ideal, "at most", TIMES_IDEAL),
            held("fill by the module's process, to the ideal", filled.median(PROCESS) / ideal, "at most", TIMES_IDEAL),
        ),
        phases(stats, "inside the module, converged"),
    ]
