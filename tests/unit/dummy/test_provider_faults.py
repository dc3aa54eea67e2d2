# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Each fault of the dummy, as its provider shows it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import (
    ConnectionFailed,
    DeadlineExceeded,
    IncompleteAnswer,
    InsufficientResources,
    MaybeApplied,
    NameTaken,
    NotFound,
    OperationFailed,
)
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import MarkState
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import Power
from ansible_collections.poolwright.virt.tests.unit.dummy.staging import Bench

Make = Callable[..., Bench]


def test_a_failure_changes_nothing(bench: Make) -> None:
    run = bench(faults=[{"operation": "create", "call": 2, "fault": "fail"}])
    run.make(1)
    with pytest.raises(OperationFailed):
        run.make(2)
    assert run.names() == ["ci-1"]
    run.make(2)


def test_a_failed_removal_leaves_a_machine_marked_for_removal(bench: Make) -> None:
    run = bench(faults=[{"operation": "destroy", "machine": "ci-1", "fault": "fail"}])
    run.make(1)
    with pytest.raises(OperationFailed):
        run.destroy(1)
    (left,) = run.provider.vms_in_pool("ci")
    assert left.mark is not None
    assert left.mark.state is MarkState.DESTROYING
    assert run.destroy(1)


def test_a_lost_answer_and_a_lost_request_look_alike(bench: Make) -> None:
    run = bench(faults=[{"operation": "create", "call": 1, "fault": "lost_answer"}, {"operation": "create", "call": 2, "fault": "lost_request"}])
    for slot in (1, 2):
        with pytest.raises(MaybeApplied) as caught:
            run.make(slot)
        assert caught.value.message == "the answer was lost (simulated)"
    assert run.names() == ["ci-1"]
    assert run.provider.get_vm("ci", "ci-1").power is Power.RUNNING  # type: ignore[union-attr]


def test_that_a_name_was_taken_can_be_lost_too(bench: Make) -> None:
    run = bench(faults=[{"operation": "create", "call": 2, "fault": "lost_answer"}])
    run.make(1)
    with pytest.raises(MaybeApplied):
        run.make(1)


def test_a_read_is_repeated_once(bench: Make) -> None:
    run = bench(faults=[{"operation": "list", "from_call": 1, "to_call": 3, "fault": "lost_answer"}])
    with pytest.raises(ConnectionFailed):
        run.names()
    assert run.names() == []
    assert run.calls["list_machines"] == 4


def test_a_partial_listing_is_an_error(bench: Make) -> None:
    run = bench(faults=[{"operation": "list", "call": 1, "fault": "partial_listing"}])
    with pytest.raises(IncompleteAnswer):
        run.names()
    assert run.names() == []


def test_nothing_gets_through_an_outage(bench: Make) -> None:
    run = bench(faults=[{"from_call": 2, "to_call": 7, "fault": "outage"}])
    run.make(1)
    for call in (run.names, lambda: run.make(2), lambda: run.provider.readiness("ci", ["ci-1"])):
        with pytest.raises(ConnectionFailed):
            call()
    assert run.names() == ["ci-1"]
    assert run.logins == 2


def test_an_ended_session_is_opened_again(bench: Make) -> None:
    run = bench(faults=[{"operation": "create", "call": 2, "fault": "session_expired"}])
    for slot in (1, 2, 3):
        run.make(slot)
    assert run.names() == ["ci-1", "ci-2", "ci-3"]
    assert run.logins == 2


def test_a_full_host_is_said_to_be_full(bench: Make) -> None:
    run = bench(faults=[{"operation": "create", "fault": "host_full"}])
    with pytest.raises(InsufficientResources):
        run.make(1)
    assert run.names() == []


def test_a_half_made_machine_is_off_and_marked(bench: Make) -> None:
    run = bench(faults=[{"operation": "create", "machine": "ci-1", "fault": "half_made", "times": 2}])
    for _time in range(2):
        with pytest.raises(OperationFailed):
            run.make(1)
        (left,) = run.provider.vms_in_pool("ci")
        assert left.mark == run.mark(1)
        assert left.power is Power.OFF
        assert run.destroy(1)
    assert run.make(1).power is Power.RUNNING


def test_a_name_may_be_taken_in_between(bench: Make) -> None:
    run = bench(faults=[{"operation": "create", "fault": "name_taken"}])
    with pytest.raises(NameTaken):
        run.make(1)
    assert run.make(1).name == "ci-1"


def test_one_machine_may_fail_its_check(bench: Make) -> None:
    run = bench(faults=[{"operation": "ready", "machine": "ci-2", "fault": "fail", "times": 2}])
    run.make(1)
    run.make(2)
    asked = [run.provider.readiness("ci", ["ci-1", "ci-2"]) for _time in range(3)]
    assert [answers["ci-1"].ready for answers in asked] == [True, True, True]
    assert [answers["ci-2"].ready for answers in asked] == [False, False, True]
    assert asked[0]["ci-2"].reason


def test_checks_fail_by_percentage(bench: Make) -> None:
    run = bench(fail_percent={"ready": 30}, seed=3)
    for slot in range(1, 101):
        run.make(slot)
    answers = run.provider.readiness("ci", run.names())
    assert 15 <= sum(not answer.ready for answer in answers.values()) <= 45
    assert run.calls["readiness"] == 1


def test_faults_are_not_met_again_by_the_next_run(bench: Make) -> None:
    faults = [{"operation": "create", "call": 1, "fault": "fail"}]
    with pytest.raises(OperationFailed):
        bench(faults=faults).make(1)
    assert bench(faults=faults).make(1).name == "ci-1"


def test_a_machine_switches_itself_off_and_a_start_is_a_new_chance(bench: Make) -> None:
    run = bench(power_off_percent=50, delays={"boot": 10, "drift": 30}, seed=1)
    for slot in range(1, 21):
        run.make(slot)
    run.clock.sleep(10)
    assert {machine.power for machine in run.provider.vms_in_pool("ci")} == {Power.RUNNING}
    run.clock.sleep(30)
    off = [slot for slot, machine in enumerate(run.provider.vms_in_pool("ci"), 1) if machine.power is Power.OFF]
    assert 3 <= len(off) <= 17
    assert not run.provider.vm_ready("ci", f"ci-{off[0]}")
    for slot in off:
        run.start(slot)
    run.clock.sleep(60)
    assert sum(machine.power is Power.OFF for machine in run.provider.vms_in_pool("ci")) < len(off)


def test_a_guest_that_calls_itself_by_another_name_is_broken(bench: Make) -> None:
    run = bench(rename_percent=100, delays={"boot": 10, "drift": 30})
    run.make(1)
    run.clock.sleep(10)
    assert run.provider.vm_ready("ci", "ci-1")
    run.clock.sleep(30)
    (seen,) = run.provider.vms_in_pool("ci")
    assert "renamed-ci-1" in seen.broken
    assert run.provider.readiness("ci", ["ci-1"])["ci-1"].reason == seen.broken


def test_operations_take_their_time(bench: Make) -> None:
    run = bench(delays={"create": 5, "boot": 20, "list": 1, "ready": 2, "start": 3, "shutdown": 7, "destroy": 11, "migrate": 13})
    start = run.clock.monotonic()

    def passed() -> float:
        return run.clock.monotonic() - start

    run.make(1)
    assert passed() == 5
    assert not run.provider.vm_ready("ci", "ci-1")
    assert passed() == 7
    run.clock.sleep(18)
    assert run.provider.vm_ready("ci", "ci-1")
    assert passed() == 27
    assert run.provider.migrate_vm_to_host("ci", "ci-1", "host-2").seconds == 13
    assert run.names() == ["ci-1"]
    run.start()
    assert passed() == 44
    run.destroy(1)
    assert passed() == 62


def test_a_creation_stops_at_its_deadline_and_leaves_a_marked_machine(bench: Make) -> None:
    run = bench(delays={"create": 100})
    with pytest.raises(DeadlineExceeded):
        run.make(1, seconds=30)
    assert [(machine.power, machine.mark) for machine in run.provider.vms_in_pool("ci")] == [(Power.OFF, run.mark(1))]


def test_hosts_fill_evenly_and_then_are_full(bench: Make) -> None:
    run = bench(hosts=["a", "b"], host_capacity=2)
    assert [run.make(slot).host for slot in (1, 2, 3, 4)] == ["a", "b", "a", "b"]
    with pytest.raises(InsufficientResources):
        run.make(5)
    with pytest.raises(InsufficientResources):
        run.provider.check("ci", 1, Deadline.after(run.clock, 9))
    with pytest.raises(InsufficientResources):
        run.provider.migrate_vm_to_host("ci", "ci-1", "b")
    run.provider.check("ci", 0, Deadline.after(run.clock, 9))
    run.destroy(1)
    run.destroy(3)
    assert run.provider.find_least_used_compatible_host("ci", "ci-2") == "a"


def test_memory_is_counted_over_all_hosts(bench: Make) -> None:
    run = bench(memory_mb=1000)
    run.provider.check("ci", 3, Deadline.after(run.clock, 9))
    run.make(1)
    with pytest.raises(InsufficientResources) as caught:
        run.provider.check("ci", 3, Deadline.after(run.clock, 9))
    assert "768 MiB" in caught.value.message
    assert "744 of 1000" in caught.value.message


def test_a_machine_that_vanished_cannot_be_changed(bench: Make) -> None:
    run = bench()
    for call in (
        lambda: run.provider.create_disk("ci", "ci-1", 1),
        lambda: run.provider.create_snapshot("ci", "ci-1", "s"),
        lambda: run.provider.revert_snapshot("ci", "ci-1", "s"),
        lambda: run.provider.migrate_vm_to_host("ci", "ci-1", "host-1"),
    ):
        with pytest.raises(NotFound):
            call()


def test_connections_are_scarce(bench: Make) -> None:
    class Watching(Clock):
        inside = 0
        most = 0
        guard = threading.Lock()
        full = threading.Barrier(3, timeout=300)

        def sleep(self, seconds: float) -> None:
            with self.guard:
                self.inside += 1
                self.most = max(self.most, self.inside)
            # Nobody goes on before all connections are in use.
            self.full.wait()
            super().sleep(seconds)
            with self.guard:
                self.inside -= 1

    clock = Watching()
    run = bench(clock, connections=3, connection_timeout=300, delays={"create": 0.01})
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(run.make, range(1, 25)))
    assert clock.most == 3
    assert len(run.names()) == 24


def test_waiting_for_a_connection_ends(bench: Make) -> None:
    working, release = threading.Event(), threading.Event()

    class Stuck(Clock):
        def sleep(self, seconds: float) -> None:
            working.set()
            assert release.wait(300)

    run = bench(Stuck(), connections=1, connection_timeout=0.05, delays={"create": 1})
    with ThreadPoolExecutor(1) as pool:
        making = pool.submit(run.make, 1)
        assert working.wait(300)
        with pytest.raises(ConnectionFailed) as caught:
            run.names()
        release.set()
        assert making.result().name == "ci-1"
    assert "0.05 s" in caught.value.message
