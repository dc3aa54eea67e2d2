# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The dummy provider: repeatable, sparing, and whole after a SIGKILL."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline, InstantClock
from ansible_collections.poolwright.virt.plugins.module_utils.dummy.config import DummyOptions
from ansible_collections.poolwright.virt.plugins.module_utils.dummy.store import Row, Store
from ansible_collections.poolwright.virt.plugins.module_utils.errors import VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.providers.dummy import MUTATING, DummyProvider, make_clock
from ansible_collections.poolwright.virt.plugins.module_utils.providers.dummy_rows import write_mark
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import Power, SeedSpec
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats
from ansible_collections.poolwright.virt.tests.seeds import seeds
from ansible_collections.poolwright.virt.tests.unit.dummy.staging import POOL, Bench

Make = Callable[..., Bench]

WILD: dict[str, Any] = {
    "seed": 11,
    "delays": {"create": [1, 5], "boot": [5, 30], "destroy": [0, 3], "list": 0.1, "shutdown": [0, 9], "drift": [0, 60]},
    "fail_percent": {"create": 20, "destroy": 20, "start": 10, "ready": 10, "list": 5},
    "power_off_percent": 20,
    "rename_percent": 10,
    "faults": [{"operation": "create", "call": 4, "fault": "lost_answer"}, {"from_call": 30, "to_call": 33, "fault": "outage"}],
}


def story(path: Path, seed: int) -> tuple[list[object], dict[str, Any]]:
    """Sixty steps, chosen by chance but always the same, and what each of them answered."""
    clock = InstantClock()
    run = Bench(path, {**WILD, "seed": seed}, clock)
    rng = random.Random(5)
    said: list[object] = []
    for _time in range(60):
        slot = rng.randint(1, 8)
        step = rng.choice(["make", "make", "destroy", "start", "list", "ready"])
        clock.sleep(rng.random() * 10)
        try:
            if step == "make":
                answer: object = run.make(slot)
            elif step == "destroy":
                answer = run.destroy(slot)
            elif step == "start":
                answer = "started"
                run.start(slot)
            elif step == "list":
                answer = run.provider.vms_in_pool("ci")
            else:
                answer = run.provider.readiness("ci", [f"ci-{slot}"])
        except VirtError as exc:
            answer = exc.as_dict()
        said.append((step, slot, answer, clock.now()))
    stats = run.stats.as_dict()
    run.provider.close()
    return said, stats


def test_the_same_seed_tells_the_same_story(tmp_path: Path) -> None:
    first, again, other = (story(tmp_path / name, seed) for name, seed in (("a", 11), ("b", 11), ("c", 12)))
    assert first == again
    assert first != other


def test_chance_does_not_depend_on_which_thread_comes_first(tmp_path: Path) -> None:
    def outcomes(name: str, workers: int) -> dict[str, str]:
        run = Bench(tmp_path / name, {"seed": 4, "fail_percent": {"create": 40}}, InstantClock())

        def attempt(slot: int) -> tuple[str, str]:
            for _time in range(20):
                try:
                    return f"ci-{slot}", run.make(slot).name
                except VirtError as exc:
                    said = exc.code
                    run.provider.destroy_vm("ci", f"ci-{slot}", run.mark(slot))
            return f"ci-{slot}", said

        with ThreadPoolExecutor(workers) as pool:
            answers = dict(pool.map(attempt, range(1, 41)))
        counts = {f"ci-{slot}": str(run.store.counted(("create", f"ci-{slot}"))) for slot in range(1, 41)}
        run.provider.close()
        return {**answers, **counts}

    assert outcomes("one", 1) == outcomes("many", 16)


def test_a_thousand_machines_are_listed_with_one_query(bench: Make) -> None:
    run = bench()
    for slot in range(1, 1001):
        run.store.insert(Row(name=f"ci-{slot}", pool="ci", mark=write_mark(run.mark(slot)), power="running", host="host-1", up_at=1.0))
        run.store.insert(Row(name=f"other-{slot}"))
    queries: list[str] = []
    db = run.store._file._db
    assert db is not None
    db.set_trace_callback(queries.append)
    machines = run.provider.vms_in_pool("ci")
    db.set_trace_callback(None)
    assert len(queries) == 1
    assert [machine.name for machine in machines] == [f"ci-{slot}" for slot in range(1, 1001)]
    assert run.calls == {"list_machines": 1}


def test_calls_tell_reading_from_changing(bench: Make) -> None:
    run = bench(delays={"boot": 0})
    run.make(1)
    changed = run.calls
    assert set(changed) <= MUTATING
    run.names()
    run.provider.get_vm("ci", "ci-1")
    run.provider.readiness("ci", ["ci-1"])
    run.provider.marked_pools()
    assert {name: count for name, count in run.calls.items() if name in MUTATING} == changed
    run.start()
    run.store.change("ci-1", lambda seen: replace(seen.row, power="paused"))
    run.start()
    assert {name for name in run.calls if name not in changed} - MUTATING == {
        "list_machines",
        "get_machine",
        "readiness",
        "list_pools",
    }
    assert {"reset", "resume"} <= set(run.calls)


def test_the_instant_clock_goes_on_where_the_last_run_left_it(bench: Make, tmp_path: Path) -> None:
    options = DummyOptions.from_dict({"clock": "instant"})
    path = str(tmp_path / "dummy.sqlite")
    clock = make_clock(options, path)
    run = bench(clock)
    clock.sleep(5000)
    run.make(1)
    assert make_clock(options, path).now() == clock.now()
    assert not isinstance(make_clock(DummyOptions(), path), InstantClock)


def test_no_secret_is_shown(tmp_path: Path) -> None:
    secret = SeedSpec(user_data="hunter2", network_config="hunter2")
    template = replace(POOL, machine=replace(POOL.machine, seed=secret))
    clock = InstantClock()
    run = Bench(tmp_path / "db", {}, clock)
    provider = DummyProvider([template], clock, Stats(clock), path=str(tmp_path / "db"), options=DummyOptions())
    provider.create_vm("ci", "ci-1", run.mark(1), Deadline.after(clock, 9))
    shown = repr((template, provider, vars(provider), provider.vms_in_pool("ci"), run.store.everything()))
    assert "hunter2" not in shown
    provider.close()
    run.provider.close()
    assert b"hunter2" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


CHILD = """
import sys
from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import Mark
from ansible_collections.poolwright.virt.tests.unit.dummy.staging import Bench
from pathlib import Path
run = Bench(Path(sys.argv[1]), {"delays": {"create": 0.002}}, Clock())
slot = 0
while True:
    slot += 1
    run.make(slot)
    print("made", flush=True)
    if slot % 3 == 0:
        run.destroy(slot)
"""


@pytest.mark.parametrize("seed", seeds(gate=2, soak=6))
def test_a_store_is_whole_after_its_process_was_killed(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "db"
    environment = {"PYTHONPATH": ":".join(entry for entry in sys.path if entry)}
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(path)], env=environment, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    # Somewhere in the machine after so many, which is wherever the other process is by then.
    for _machine in range(random.Random(seed).randint(1, 20)):
        assert child.stdout.readline() == "made\n"
    time.sleep(random.Random(seed).uniform(0, 0.01))
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    run = Bench(path, {}, InstantClock())
    machines = run.provider.vms_in_pool("ci")
    assert machines
    assert all(machine.mark is not None and machine.mark.pool == "ci" for machine in machines)
    assert run.store.leftovers() == []
    # Whatever does not run is one machine that was being made or removed.
    assert sum(machine.power is not Power.RUNNING for machine in machines) <= 1
    for machine in machines:
        assert machine.mark is not None
        assert run.provider.destroy_vm("ci", machine.name, machine.mark)
    assert run.store.leftovers() == []
    assert run.names() == []
    run.provider.close()


def test_a_database_that_another_process_keeps_locked_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "db"
    Store(str(path)).close()
    holder = Store(str(path))
    other = Store(str(path))
    with ThreadPoolExecutor(1) as pool, holder._file.change():
        waiting = pool.submit(other.insert, Row(name="vm"))
        time.sleep(0.1)
        assert not waiting.done()
    assert waiting.result().name == "vm"
    holder.close()
    other.close()
