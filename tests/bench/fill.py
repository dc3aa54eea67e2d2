# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Twelve guests from nothing to running, against the same by hand and against a playbook that loops over community.libvirt."""

from __future__ import annotations

from typing import Any

from ansible_collections.poolwright.virt.tests.bench import bare, peer
from ansible_collections.poolwright.virt.tests.bench.children import run, run_lines
from ansible_collections.poolwright.virt.tests.bench.figures import Measured, Table, Timings, aims, free, held, must, phases
from ansible_collections.poolwright.virt.tests.bench.pool_module import PoolModule
from ansible_collections.poolwright.virt.tests.bench.stage import Stage, libvirt_stage, pool_of
from ansible_collections.poolwright.virt.tests.bench.ways import INSIDE, NOTHING, PLAYBOOK, PROCESS, Ways, timed

PARALLEL = 8
LOGINS = 1
TIMES_PARALLEL_LOOP = 1.2
TIMES_FASTER_THAN_PEER = 6.0

SERIAL, XARGS = "bare loop, one after the other", f"bare loop, `xargs -P {PARALLEL}`"
PEER = "community.libvirt loop, `ansible-playbook`"


def measure(quick: bool) -> Measured:
    size, rounds = (4, 1) if quick else (12, 3)
    looping = peer.prepare()
    with libvirt_stage() as stage:
        return _compare(stage, looping, size, rounds)


def _compare(stage: Stage, looping: peer.Peer, size: int, rounds: int) -> Measured:
    pool = pool_of("fill", size, 96, ready={"check": "running"})
    module = PoolModule(stage.folder, "fill", stage.params(pool, max_parallel=PARALLEL))
    machines = bare.machines_like(stage, pool)
    script, loop = stage.folder / "loop.sh", bare.loop_playbook(machines, stage.folder)
    script.write_text(bare.loop_script(machines), encoding="utf-8")

    def filled() -> None:
        must(stage.running() == size, f"{stage.running()} of {size} guests run")
        stage.clear()
        bare.clear(machines)

    # Once before anything is timed: the image is then in the cache, and everybody's files in memory.
    module.inside()
    filled()
    ways = Ways(module, stage.folder, filled)
    timings = Timings()
    timings.alternate(
        rounds,
        {
            SERIAL: timed(lambda: run(["sh", "-e", str(script)]), filled),
            XARGS: timed(lambda: run_lines(script, PARALLEL), filled),
            **ways.contenders(),
            PEER: timed(lambda: looping.playbook(loop), filled),
            peer.NOTHING: looping.nothing(stage.folder),
        },
    )
    results = ways.results
    _check(results, size)
    return Measured(_tables(timings, size, results[-1]["stats"]), {"machines": size, "seconds": timings.seconds, "stats": [one["stats"] for one in results]})


def _check(results: list[dict[str, Any]], size: int) -> None:
    for result in results:
        must(result["stats"]["logins"] <= LOGINS, f"{result['stats']['logins']} logins in one run")
        must(sum(len(pool["created"]) for pool in result["pools"].values()) == size, f"not {size} machines were made")


def _tables(timings: Timings, size: int, stats: dict[str, Any]) -> list[Table]:
    rows = [[name, *timings.spread(name), f"{timings.ratio(name, XARGS):.2f}"] for name in (SERIAL, XARGS, INSIDE, PROCESS, PLAYBOOK, PEER)]
    rows += [[name, *timings.spread(name), ""] for name in (NOTHING, peer.NOTHING)]
    loop = timings.median(PEER) - timings.median(peer.NOTHING)
    work = loop / (timings.median(PLAYBOOK) - timings.median(NOTHING))
    calls = [[f"`{call}`", str(number), f"{number / size:.1f}"] for call, number in stats["calls"].items()]
    return [
        Table(f"{size} guests to running", ["seconds", "min", "median", "max", "times the parallel loop"], rows),
        aims(
            held("inside the module, to the parallel bare loop", timings.ratio(INSIDE, XARGS), "at most", TIMES_PARALLEL_LOOP),
            held("the module's process, to the parallel bare loop", timings.ratio(PROCESS, XARGS), "at most", TIMES_PARALLEL_LOOP),
            held("community.libvirt loop to `vm_pool`, both without Ansible's own time", work, "at least", TIMES_FASTER_THAN_PEER),
            free("the same to the parallel bare loop: what could be reached here", loop / timings.median(XARGS)),
            free("community.libvirt loop to `vm_pool`, whole `ansible-playbook` runs", timings.ratio(PEER, PLAYBOOK)),
        ),
        phases(stats, "of one fill; seconds of work done side by side add up"),
        Table("Calls of one fill", ["call", "number", "per machine"], calls),
    ]
