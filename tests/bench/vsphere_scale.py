# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the cost of a run on a vCenter grows: with the pool, with foreign machines, in check mode, and with the tasks that it waits for."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.methods import READS
from ansible_collections.poolwright.virt.tests.bench.figures import Measured, Table, Timings, aims, free, held, must, phases
from ansible_collections.poolwright.virt.tests.bench.pool_module import PoolModule, unchanged
from ansible_collections.poolwright.virt.tests.bench.vcenter_stage import FOLDER, VCenterStage, pool_of, vcenter_stage
from ansible_collections.poolwright.virt.tests.bench.ways import INSIDE, NOTHING, PLAYBOOK, PROCESS, Ways
from ansible_collections.poolwright.virt.tests.contract.labs.vcenter import Calls

FEW, MANY = 20, 1000
CALLS_FEW, CALLS_MANY = 15, 20
SECONDS_INSIDE, PEAK_MB = 1.5, 200.0
PARALLEL = 32
# Each has the datastore hold a TiB more, and every machine takes 10 GiB of it.
HOSTS = 32
TASKS = (20, 200)
TASK_MS = 2500

# Beside what only reads: a session, and what is made in it to be read from and ends with it.
_OF_A_SESSION = {"Login", "Logout", "CreateContainerView", "CreateListView", "ModifyListView", "DestroyView"}
_OF_A_SESSION |= {"CreatePropertyCollector", "DestroyPropertyCollector", "CreateFilter", "DestroyPropertyFilter"}
HARMLESS = READS | _OF_A_SESSION


def measure(quick: bool) -> Measured:
    many, rounds = (50, 1) if quick else (MANY, 5)
    with vcenter_stage("vsphere-scale", "-vm", str(many + 1), "-host", str(HOSTS), "-task-delay", f"Rename:{TASK_MS}") as stage:
        return _measure(stage, many, rounds)


def _measure(stage: VCenterStage, many: int, rounds: int) -> Measured:
    waits = {number: _wait_for(stage, number) for number in TASKS}
    _check_waits(waits)
    few, whole = (PoolModule(stage.folder, f"scale-{size}", stage.params(pool_of("scale", size), max_parallel=PARALLEL)) for size in (FEW, many))
    fills = {FEW: _fill(stage, few, FEW)}
    counts = {f"{FEW} own, {many} foreign": _converged(stage, few, CALLS_FEW)}
    checks = _checks(stage)
    # The few are there already.
    fills[many - FEW] = _fill(stage, whole, many - FEW)
    counts[f"{many} own, {many} foreign"] = _converged(stage, whole, CALLS_MANY)

    # Once before anything is timed: all files are then in memory, and compiled.
    whole.process()
    timings, ways = Timings(), Ways(whole, stage.folder)
    timings.alternate(rounds, ways.contenders())
    unchanged(ways.results)
    peak = whole.weigh()
    figures = {
        "machines": many,
        "fills": {number: asdict(calls) for number, calls in fills.items()},
        "calls": {title: asdict(calls) for title, calls in counts.items()},
        "check_mode": {title: asdict(calls) for title, calls in checks.items()},
        "waits": {number: asdict(calls) for number, calls in waits.items()},
        "seconds": timings.seconds,
        "stats": [result["stats"] for result in ways.results],
        "peak_mb": peak,
    }
    return Measured(_tables(timings, ways, many, peak, fills, counts, checks, waits), figures)


def _fill(stage: VCenterStage, module: PoolModule, number: int) -> Calls:
    """:param number: how many machines it makes."""
    stage.lab.forget_calls()
    made = sum(len(pool["created"]) for pool in module.inside()["pools"].values())
    must(made == number, f"{made} machines were made, not {number}")
    return stage.lab.calls()


def _converged(stage: VCenterStage, module: PoolModule, bound: int) -> Calls:
    stage.lab.forget_calls()
    unchanged([module.inside()])
    calls = stage.lab.calls()
    must(calls.total <= bound, f"{calls.total} calls of a converged run are more than {bound}: {calls.methods}")
    return calls


def _checks(stage: VCenterStage) -> dict[str, Calls]:
    """Check mode on the pool of a few machines as it is, and where there would be much to do. It must say so, and do none of it."""
    wanted = {
        "as it is": pool_of("scale", FEW),
        "5 machines more": pool_of("scale", FEW + 5),
        "5 machines fewer": pool_of("scale", FEW - 5),
        "other memory": pool_of("scale", FEW, memory_mb=1024),
        "a further pool": pool_of("scale-more", FEW, folder=f"{FOLDER}/more"),
        "absent": pool_of("scale", FEW, state="absent"),
    }
    before, found = stage.govc("find", "/"), {}
    for number, (title, pool) in enumerate(wanted.items()):
        module = PoolModule(stage.folder, f"check-{number}", stage.params(pool, max_parallel=PARALLEL))
        stage.lab.forget_calls()
        result = module.check()
        found[title] = calls = stage.lab.calls()
        must(bool(result["actions"]) is (title != "as it is"), f"check mode, {title}: would do {result['actions']}")
        must(set(calls.methods) <= HARMLESS, f"check mode, {title}: made the calls {set(calls.methods) - HARMLESS}")
    must(stage.govc("find", "/") == before, "check mode changed the inventory")
    return found


def _wait_for(stage: VCenterStage, number: int) -> Calls:
    """What it costs to wait for so many tasks that run at once; the calls that start them are not counted."""
    with stage.lab.vim() as vim:
        top = vim.get_objects("Folder", ["name"])
        parent = next(found.obj for found in top if found.properties["name"] == FOLDER)
        folders = [vim.call(parent, "CreateFolder", name=f"wait-{number}-{index}") for index in range(number)]
        stage.lab.forget_calls()
        tasks = [vim.call(folder, "Rename_Task", newName=f"waited-{number}-{index}") for index, folder in enumerate(folders)]
        outcomes = vim.wait_for_tasks(tasks, Deadline.after(vim.clock, 120))
        calls = stage.lab.calls()
        for outcome in outcomes:
            outcome.value()
    must(calls["Rename_Task"] == number, f"{calls['Rename_Task']} of {number} tasks were started")
    return Calls({name: count for name, count in calls.methods.items() if name != "Rename_Task"}, calls.total - number, calls.connections, calls.sessions)


def _check_waits(waits: dict[int, Calls]) -> None:
    few, many = (waits[number] for number in TASKS)
    beside = [calls.total - calls["WaitForUpdatesEx"] for calls in (few, many)]
    must(beside[1] <= beside[0], f"to wait for {TASKS[1]} tasks takes {beside[1]} calls beside the updates, for {TASKS[0]} only {beside[0]}")


def _tables(
    timings: Timings, ways: Ways, many: int, peak: float, fills: dict[int, Calls], counts: dict[str, Calls], checks: dict[str, Calls], waits: dict[int, Calls]
) -> list[Table]:
    largest = list(counts.values())[-1]
    return [
        timings.table(f"A converged run over {many} machines, {many} foreign ones beside them", (INSIDE, PROCESS, PLAYBOOK, NOTHING)),
        aims(
            *(free(f"calls for each machine of a fill of {number}, {PARALLEL} at a time", calls.total / number) for number, calls in fills.items()),
            held(f"calls of a converged run over {FEW} machines", next(iter(counts.values())).total, "at most", CALLS_FEW),
            held(f"calls of a converged run over {many} machines", largest.total, "at most", CALLS_MANY),
            held("inside the module", timings.median(INSIDE), "under", SECONDS_INSIDE, " s"),
            held("peak memory of the module's process", peak, "under", PEAK_MB, " MB"),
        ),
        _by_method(f"Calls of a fill, {PARALLEL} machines at a time", {f"{number} machines": calls for number, calls in fills.items()}),
        _by_method("Calls of a converged run, as the vCenter counts them", counts),
        Table(
            f"Check mode on a pool of {FEW}",
            ["the pool wanted", "calls", "of them changing anything"],
            [[title, str(calls.total), str(sum(count for name, count in calls.methods.items() if name not in HARMLESS))] for title, calls in checks.items()],
        ),
        _by_method("Calls to wait for tasks", {f"{number} tasks": calls for number, calls in waits.items()}),
        phases(ways.results[-1]["stats"], "inside the module"),
    ]


def _by_method(title: str, counts: dict[str, Calls]) -> Table:
    names: list[Any] = sorted({name for calls in counts.values() for name in calls.methods})
    rows = [[f"`{name}`", *(str(calls[name]) for calls in counts.values())] for name in names]
    return Table(title, ["call", *counts], [*rows, ["all", *(str(calls.total) for calls in counts.values())]])
