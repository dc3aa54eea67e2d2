# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Twelve guests from nothing to running, against the same by hand and against a playbook that loops over community.libvirt."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.poolwright.virt.tests.bench import bare
from ansible_collections.poolwright.virt.tests.bench.children import run
from ansible_collections.poolwright.virt.tests.bench.figures import Measured, Table, Timings, aims, free, held, must, phases
from ansible_collections.poolwright.virt.tests.bench.places import PREFIX, TINY
from ansible_collections.poolwright.virt.tests.bench.pool_module import PoolModule, nothing, playbook
from ansible_collections.poolwright.virt.tests.bench.stage import Stage, libvirt_stage

PARALLEL = 8
LOGINS = 1
TIMES_PARALLEL_LOOP = 1.2
TIMES_FASTER_THAN_PEER = 6.0

SERIAL, XARGS = "bare loop, one after the other", f"bare loop, `xargs -P {PARALLEL}`"
INSIDE, PROCESS, PLAYBOOK = "`vm_pool`, inside the module", "`vm_pool`, the module's process", "`vm_pool`, `ansible-playbook`"
PEER, PEER_NOTHING, NOTHING = (
    "community.libvirt loop, `ansible-playbook`",
    "nothing but a ping, `ansible-playbook` with community.libvirt",
    "nothing but a ping, `ansible-playbook`",
)


def measure(quick: bool) -> Measured:
    size, rounds = (4, 1) if quick else (12, 3)
    peer = bare.peer_environment()
    with libvirt_stage() as stage:
        return _compare(stage, peer, size, rounds)


def _compare(stage: Stage, peer: Path, size: int, rounds: int) -> Measured:
    pool = {
        "name": f"{PREFIX}fill",
        "size": size,
        "image": {"source": str(TINY), "format": "qcow2"},
        "memory_mb": 96,
        "networks": [{"network": "default"}],
        "ready": {"check": "running"},
    }
    module = PoolModule(stage.folder, "fill", stage.params(pool, max_parallel=PARALLEL))
    machines = bare.machines_like(stage, pool)
    script, loop, empty = stage.folder / "loop.sh", bare.loop_playbook(machines, stage.folder), nothing(stage.folder)
    script.write_text(bare.loop_script(machines), encoding="utf-8")
    results: list[dict[str, Any]] = []

    def timed(work: Callable[[], Any]) -> Callable[[], float]:
        def once() -> float:
            start = time.perf_counter()
            result = work()
            seconds = time.perf_counter() - start
            must(stage.running() == size, f"{stage.running()} of {size} guests run")
            if isinstance(result, dict):
                results.append(result)
            stage.clear()
            bare.clear(machines)
            return seconds

        return once

    # Once before anything is timed: the image is then in the cache, and everybody's files in memory.
    timed(module.inside)()
    results.clear()
    timings = Timings()
    timings.alternate(
        rounds,
        {
            SERIAL: timed(lambda: run(["sh", "-e", str(script)])),
            XARGS: timed(lambda: run(["xargs", "-a", str(script), "-P", str(PARALLEL), "-d", "\\n", "-I", "{}", "sh", "-c", "{}"])),
            INSIDE: timed(module.inside),
            PROCESS: timed(lambda: module.process()[0]),
            PLAYBOOK: timed(module.playbook),
            PEER: timed(lambda: playbook(loop, python=str(peer / "python"), ansible=peer)),
            NOTHING: lambda: playbook(empty).seconds,
            PEER_NOTHING: lambda: playbook(empty, python=str(peer / "python"), ansible=peer).seconds,
        },
    )
    _check(results, size)
    return Measured(_tables(timings, size, results[-1]["stats"]), {"machines": size, "seconds": timings.seconds, "stats": [one["stats"] for one in results]})


def _check(results: list[dict[str, Any]], size: int) -> None:
    for result in results:
        must(result["stats"]["logins"] <= LOGINS, f"{result['stats']['logins']} logins in one run")
        must(sum(len(pool["created"]) for pool in result["pools"].values()) == size, f"not {size} machines were made")


def _tables(timings: Timings, size: int, stats: dict[str, Any]) -> list[Table]:
    rows = [[name, *timings.spread(name), f"{timings.ratio(name, XARGS):.2f}"] for name in (SERIAL, XARGS, INSIDE, PROCESS, PLAYBOOK, PEER)]
    rows += [[name, *timings.spread(name), ""] for name in (NOTHING, PEER_NOTHING)]
    peer = timings.median(PEER) - timings.median(PEER_NOTHING)
    work = peer / (timings.median(PLAYBOOK) - timings.median(NOTHING))
    calls = [[f"`{call}`", str(number), f"{number / size:.1f}"] for call, number in stats["calls"].items()]
    return [
        Table(f"{size} guests to running", ["seconds", "min", "median", "max", "times the parallel loop"], rows),
        aims(
            held("inside the module, to the parallel bare loop", timings.ratio(INSIDE, XARGS), "at most", TIMES_PARALLEL_LOOP),
            held("the module's process, to the parallel bare loop", timings.ratio(PROCESS, XARGS), "at most", TIMES_PARALLEL_LOOP),
            held("community.libvirt loop to `vm_pool`, both without Ansible's own time", work, "at least", TIMES_FASTER_THAN_PEER),
            free("the same to the parallel bare loop: what could be reached here", peer / timings.median(XARGS)),
            free("community.libvirt loop to `vm_pool`, whole `ansible-playbook` runs", timings.ratio(PEER, PLAYBOOK)),
        ),
        phases(stats, "of one fill; seconds of work done side by side add up"),
        Table("Calls of one fill", ["call", "number", "per machine"], calls),
    ]
