# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Twenty machines on a vCenter, from nothing to running and once more, against ``govc`` and against a playbook that loops over vmware_guest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from ansible_collections.poolwright.virt.tests.bench import peer, vsphere_bare
from ansible_collections.poolwright.virt.tests.bench.children import run_lines
from ansible_collections.poolwright.virt.tests.bench.figures import Measured, Table, Timings, aims, free, held, must, phases
from ansible_collections.poolwright.virt.tests.bench.pool_module import PoolModule, unchanged
from ansible_collections.poolwright.virt.tests.bench.vcenter_stage import VCenterStage, pool_of, vcenter_stage
from ansible_collections.poolwright.virt.tests.bench.ways import INSIDE, NOTHING, PLAYBOOK, PROCESS, Ways, timed
from ansible_collections.poolwright.virt.tests.contract.labs.vcenter import Calls

SIZE = 20
CLONE_MS = 2500
CALLS_PER_MACHINE, CALLS_BESIDE, CALLS_CONVERGED, LOGINS = 2, 25, 15, 1
FEWER_CALLS_THAN_PEER = 50
TIMES_XARGS = 1.0
TIMES_FASTER_THAN_PEER, TIMES_FASTER_CONVERGED = 15.0, 20.0

XARGS, PEER = f"`govc vm.clone`, `xargs -P {SIZE}`", "vmware_guest in a loop, `ansible-playbook`"
OURS = "`vm_pool`"
FIRST = f"{OURS}, the vCenter's first fill"
_WAYS = (INSIDE, PROCESS, PLAYBOOK, NOTHING)


class _Filled:
    """What is done after every fill: the server's count is kept under the contender's name, the result is checked and removed."""

    def __init__(self, stage: VCenterStage, size: int) -> None:
        self._stage = stage
        self._size = size
        self.calls: dict[str, list[Calls]] = {}

    def count(self, name: str) -> None:
        self.calls.setdefault(name, []).append(self._stage.lab.calls())
        must(self._stage.running() == self._size, f"{name}: {self._stage.running()} of {self._size} machines run")
        self._stage.lab.forget_calls()

    def count_and_clear(self, name: str) -> None:
        self.count(name)
        self._stage.clear()
        self._stage.lab.forget_calls()


def measure(quick: bool) -> Measured:
    size, rounds = (3, 1) if quick else (SIZE, 3)
    looping = peer.prepare()
    with vcenter_stage("vsphere-fill", "-vm", "1", "-task-delay", f"CloneVm:{CLONE_MS}") as stage:
        return _compare(stage, looping, size, rounds)


def _compare(stage: VCenterStage, looping: peer.Peer, size: int, rounds: int) -> Measured:
    names = [f"bare-{number}" for number in range(1, size + 1)]
    module = PoolModule(stage.folder, "fill", stage.params(pool_of("fill", size), max_parallel=SIZE))
    script, loop = stage.folder / "clone.sh", vsphere_bare.loop_playbook(stage, names)
    script.write_text(vsphere_bare.clone_script(stage, names), encoding="utf-8")
    filled, again = _Filled(stage, size), _Filled(stage, size)
    fills, converged = Timings(), Timings()

    stage.lab.forget_calls()
    module.inside()
    filled.count_and_clear(FIRST)
    # Once before anything is timed: everybody's files are then in memory, and compiled.
    module.process()
    stage.clear()
    ways = Ways(module, stage.folder, lambda: filled.count_and_clear(OURS))
    fills.alternate(
        rounds,
        {
            XARGS: timed(lambda: run_lines(script, SIZE, stage.govc_environment), lambda: filled.count_and_clear(XARGS)),
            **ways.contenders(),
            peer.NOTHING: looping.nothing(stage.folder),
        },
    )
    # What is beyond its bound fails here already, and not after the minutes below.
    _check(filled, (FIRST, OURS), CALLS_PER_MACHINE * size + CALLS_BESIDE)
    for result in ways.results:
        must(sum(len(pool["created"]) for pool in result["pools"].values()) == size, f"not {size} machines were made")

    module.inside()
    stage.lab.forget_calls()
    rerun = Ways(module, stage.folder, lambda: again.count(OURS))
    converged.alternate(rounds, rerun.contenders())
    unchanged(rerun.results)
    _check(again, (OURS,), CALLS_CONVERGED)
    stage.clear()

    # More than a minute, so once.
    stage.lab.forget_calls()
    fills.add(PEER, timed(lambda: looping.playbook(loop), lambda: filled.count(PEER))())
    with converged.timed(PEER):
        ended = looping.playbook(loop)
    must("changed=0 " in ended.output, f"the second run of {PEER} changed something")
    again.count(PEER)
    stage.clear()

    # With fewer machines, the calls of the run itself outweigh theirs.
    if size == SIZE:
        ours, theirs = _most(filled, OURS), _most(filled, PEER)
        must(ours * FEWER_CALLS_THAN_PEER < theirs, f"{ours} calls are no fiftieth of {theirs}")
    figures = {
        "machines": size,
        "fill": {"seconds": fills.seconds, "calls": _bare(filled), "stats": [result["stats"] for result in ways.results]},
        "converged": {"seconds": converged.seconds, "calls": _bare(again)},
    }
    return Measured(_tables(fills, converged, filled, again, size, ways.results[-1]["stats"]), figures)


def _check(counts: _Filled, names: Sequence[str], bound: int) -> None:
    for name in names:
        for calls in counts.calls[name]:
            must(calls.total <= bound, f"{name}: {calls.total} calls are more than {bound}: {calls.methods}")
            must(calls["Login"] == LOGINS == calls["Logout"], f"{name}: {calls['Login']} logins and {calls['Logout']} logouts in one run")


def _most(counts: _Filled, name: str) -> int:
    return max(calls.total for calls in counts.calls[name])


def _bare(counts: _Filled) -> dict[str, list[dict[str, Any]]]:
    return {name: [asdict(calls) for calls in found] for name, found in counts.calls.items()}


def _tables(fills: Timings, converged: Timings, filled: _Filled, again: _Filled, size: int, stats: dict[str, Any]) -> list[Table]:
    calls = [[name, *_counts(filled, name, size)] for name in (FIRST, OURS, XARGS, PEER)]
    calls += [[f"{name}, once more", *_counts(again, name, size)] for name in (OURS, PEER)]
    methods = filled.calls[OURS][-1].methods
    return [
        fills.table(f"{size} machines to running, {CLONE_MS / 1000:g} s each of which are the vCenter's cloning", (XARGS, *_WAYS, PEER, peer.NOTHING)),
        converged.table(f"Once more, with the {size} machines there", (*_WAYS, PEER)),
        aims(
            held(f"inside the module, to {XARGS}", fills.ratio(INSIDE, XARGS), "at most", TIMES_XARGS),
            free(f"the module's process, to {XARGS}", fills.ratio(PROCESS, XARGS)),
            held("vmware_guest loop to `vm_pool`, both without Ansible's own time", _work(fills, fills), "at least", TIMES_FASTER_THAN_PEER),
            held("the same, whole `ansible-playbook` runs", fills.median(PEER) / fills.median(PLAYBOOK), "at least", TIMES_FASTER_THAN_PEER),
            held("once more: vmware_guest loop to `vm_pool`, both without Ansible's own time", _work(converged, fills), "at least", TIMES_FASTER_CONVERGED),
            free("the same, whole `ansible-playbook` runs", converged.median(PEER) / converged.median(PLAYBOOK)),
            held("calls of a fill", _most(filled, OURS), "at most", CALLS_PER_MACHINE * size + CALLS_BESIDE),
            held("calls of the vmware_guest loop to those of `vm_pool`", _most(filled, PEER) / _most(filled, OURS), "at least", FEWER_CALLS_THAN_PEER),
            held("calls of a converged run", _most(again, OURS), "at most", CALLS_CONVERGED),
        ),
        Table("Calls, as the vCenter counts them", ["", "calls", "per machine", "logins"], calls),
        Table("Calls of one fill of ours", ["call", "number"], [[f"`{method}`", str(number)] for method, number in sorted(methods.items())]),
        phases(stats, "of one fill; seconds of work done side by side add up"),
    ]


def _counts(counts: _Filled, name: str, size: int) -> list[str]:
    usual = int(median(calls.total for calls in counts.calls[name]))
    return [str(usual), f"{usual / size:.1f}", str(counts.calls[name][-1]["Login"])]


def _work(timings: Timings, own: Timings) -> float:
    """How many times as long the peer's work took as ours, each less a playbook that does nothing."""
    return (timings.median(PEER) - own.median(peer.NOTHING)) / (timings.median(PLAYBOOK) - timings.median(NOTHING))
