# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run that finds all as it should be, over many defined machines: its calls by pool size and by foreign machines, and its time."""

from __future__ import annotations

import uuid
from collections import Counter
from typing import Any

from ansible_collections.poolwright.virt.tests.bench.figures import Measured, Table, Timings, aims, free, held, must, phases
from ansible_collections.poolwright.virt.tests.bench.places import PREFIX
from ansible_collections.poolwright.virt.tests.bench.pool_module import PoolModule, unchanged
from ansible_collections.poolwright.virt.tests.bench.stage import Stage, libvirt_stage, pool_of
from ansible_collections.poolwright.virt.tests.bench.ways import INSIDE, NOTHING, PLAYBOOK, PROCESS, Ways

CALLS_PER_MACHINE = 2.0
SECONDS_INSIDE = 1.0


def measure(quick: bool) -> Measured:
    size, rounds = (20, 2) if quick else (200, 5)
    with libvirt_stage() as stage:
        return _measure(stage, size, rounds)


def _measure(stage: Stage, size: int, rounds: int) -> Measured:
    half, whole = (_module(stage, number) for number in (size // 2, size))
    half.inside()
    counts = {(size // 2, 0): _counted(half, stage)}
    whole.inside()
    counts[size, 0] = _counted(whole, stage)
    _define_foreign(stage, size)
    counts[size, size] = _counted(whole, stage)

    timings, ways = Timings(), Ways(whole, stage.folder)
    timings.alternate(rounds, ways.contenders())
    unchanged(ways.results)
    fit, peak = _fit(counts, size), whole.weigh()
    figures = {
        "machines": size,
        "calls": {f"{own} own, {foreign} foreign": dict(found) for (own, foreign), found in counts.items()},
        "fit": fit,
        "seconds": timings.seconds,
        "stats": ways.results[-1]["stats"],
        "peak_mb": peak,
    }
    return Measured(_tables(timings, counts, fit, size, peak, ways.results[-1]["stats"]), figures)


def _module(stage: Stage, size: int) -> PoolModule:
    pool = pool_of("own", size, 64, power="off", ready={"check": "none"})
    return PoolModule(stage.folder, f"converged-{size}", stage.params(pool))


def _define_foreign(stage: Stage, number: int) -> None:
    """Foreign domains, every other one named as a machine of the pool would be."""
    for index in range(1, number + 1):
        name = f"{PREFIX}own-{1000 + index}" if index % 2 else f"{PREFIX}foreign-{index}"
        stage.define(f"<domain type='qemu'><name>{name}</name><uuid>{uuid.uuid4()}</uuid><memory>65536</memory><os><type>hvm</type></os></domain>")


def _counted(module: PoolModule, stage: Stage) -> Counter[str]:
    """The calls of a converged run by name as the run itself counts them, and under "messages" what libvirt's client sent."""
    log = stage.folder / "messages.log"
    result, _ended = module.process({"LIBVIRT_LOG_FILTERS": "1:rpc", "LIBVIRT_LOG_OUTPUTS": f"1:file:{log}"})
    unchanged([result])
    must(result["stats"]["logins"] == 1, f"{result['stats']['logins']} logins in one run")
    counts = Counter(result["stats"]["calls"])
    with open(log, encoding="utf-8", errors="replace") as lines:
        counts["messages"] = sum("RPC_CLIENT_MSG_TX_QUEUE" in line for line in lines)
    log.unlink()
    return counts


def _fit(counts: dict[tuple[int, int], Counter[str]], size: int) -> dict[str, float]:
    """Calls and messages as ``constant + per own machine + per foreign machine``, all of them bounded."""
    fit: dict[str, float] = {}
    for what in ("calls", "messages"):
        small, large, mixed = (
            found["messages"] if what == "messages" else found.total() - found["messages"]
            for found in (counts[size // 2, 0], counts[size, 0], counts[size, size])
        )
        slope = (large - small) / (size - size // 2)
        fit |= {f"{what} per own machine": slope, f"{what} constant": large - slope * size, f"{what} per foreign machine": (mixed - large) / size}
        must(slope <= CALLS_PER_MACHINE, f"{slope:g} {what} per own machine are more than {CALLS_PER_MACHINE:g}")
        must(mixed == large, f"{mixed - large} {what} for {size} foreign machines")
    return fit


def _tables(timings: Timings, counts: dict[tuple[int, int], Counter[str]], fit: dict[str, float], size: int, peak: float, stats: dict[str, Any]) -> list[Table]:
    names = [*sorted({name for found in counts.values() for name in found} - {"messages"}), "messages"]
    shown = {"messages": "messages that libvirt's client sent, connecting included"}
    calls = [[shown.get(name, f"`{name}`"), *(str(found[name]) for found in counts.values())] for name in names]
    return [
        timings.table(f"A converged run over {size} machines, {size} foreign ones beside them", (INSIDE, PROCESS, PLAYBOOK, NOTHING)),
        aims(
            held("calls per own machine", fit["calls per own machine"], "at most", CALLS_PER_MACHINE),
            held("calls per foreign machine", fit["calls per foreign machine"], "at most", 0),
            free("calls, constant part", fit["calls constant"]),
            held("inside the module", timings.median(INSIDE), "under", SECONDS_INSIDE, " s"),
            free("peak memory of the module's process", peak, " MB"),
        ),
        Table("Calls of a converged run", ["call", *(f"{own} own, {foreign} foreign" for own, foreign in counts)], calls),
        phases(stats, "inside the module"),
    ]
