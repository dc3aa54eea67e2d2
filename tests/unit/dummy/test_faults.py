# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The dummy's chances: pure, and the same for the same seed."""

from __future__ import annotations

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.dummy.faults import (
    Decision,
    Fault,
    FaultKind,
    answers_counted,
    decide,
    draw,
    keys_counted,
    plan_boot,
    scripted,
)

NOW = (0.0, 0.0)


def test_a_call_that_no_option_concerns_is_not_counted() -> None:
    faults = [Fault(FaultKind.FAIL, "create"), Fault(FaultKind.FAIL, "start", "ci-2")]
    assert keys_counted(faults, "list", "ci-*", drawn=False) == ()
    assert keys_counted(faults, "start", "ci-1", drawn=False) == ()
    assert keys_counted(faults, "start", "ci-2", drawn=False) == (("start", "ci-2"),)
    assert keys_counted(faults, "create", "ci-1", drawn=True) == (("create", ""), ("create", "ci-1"))
    assert answers_counted([Fault(FaultKind.FAIL, "ready", "ci-2")], ["ci-1", "ci-2"], drawn=False) == (("ready", "ci-2"),)


def test_a_fault_happens_in_its_window_only() -> None:
    faults = [Fault(FaultKind.FAIL, "create", first=2, last=3)]
    happened = [scripted(faults, {("create", ""): nth}) for nth in range(1, 5)]
    assert happened == [None, FaultKind.FAIL, FaultKind.FAIL, None]


def test_an_outage_hides_every_other_fault() -> None:
    faults = [Fault(FaultKind.FAIL), Fault(FaultKind.SESSION_EXPIRED), Fault(FaultKind.OUTAGE)]
    assert scripted(faults, {("", ""): 1}) is FaultKind.OUTAGE
    assert scripted(faults[:2], {("", ""): 1}) is FaultKind.SESSION_EXPIRED
    assert scripted(faults[:1], {("", ""): 1}) is FaultKind.FAIL


def test_chance_depends_on_seed_operation_machine_and_count() -> None:
    base = draw(7, "create", "ci-1", 1).random()
    assert draw(7, "create", "ci-1", 1).random() == base
    others = [draw(8, "create", "ci-1", 1), draw(7, "start", "ci-1", 1), draw(7, "create", "ci-2", 1), draw(7, "create", "ci-1", 2)]
    assert base not in [other.random() for other in others]


@pytest.mark.parametrize(("percent", "least", "most"), [(0, 0, 0), (5, 20, 80), (50, 430, 570), (100, 1000, 1000)])
def test_failures_come_about_as_often_as_said(percent: float, least: int, most: int) -> None:
    decisions = [decide([], {}, draw(1, "start", f"ci-{slot}", 1), "start", percent, NOW) for slot in range(1000)]
    assert least <= sum(decision.fault is FaultKind.FAIL for decision in decisions) <= most


def test_creations_that_fail_leave_half_a_machine_about_every_other_time() -> None:
    faults = [decide([], {}, draw(1, "create", f"ci-{slot}", 1), "create", 100, NOW).fault for slot in range(1000)]
    assert 430 <= faults.count(FaultKind.HALF_MADE) <= 570
    assert set(faults) == {FaultKind.HALF_MADE, FaultKind.FAIL}


def test_a_delay_lies_in_its_range_and_chances_do_not_depend_on_it() -> None:
    quick = [decide([], {}, draw(1, "start", f"ci-{slot}", 1), "start", 50, NOW) for slot in range(100)]
    slow = [decide([], {}, draw(1, "start", f"ci-{slot}", 1), "start", 50, (1.0, 2.0)) for slot in range(100)]
    assert [decision.fault for decision in quick] == [decision.fault for decision in slow]
    assert all(1 <= decision.delay <= 2 for decision in slow)
    assert decide([], {}, None, "start", 0, (3.0, 3.0)) == Decision(None, 3.0)


def test_a_boot_may_drift() -> None:
    steady = plan_boot(draw(1, "boot", "ci-1", 1), (5.0, 5.0), NOW, 0, 0)
    assert (steady.seconds, steady.off_after, steady.renamed_after) == (5.0, None, None)
    drifting = plan_boot(draw(1, "boot", "ci-1", 1), (5.0, 5.0), (10.0, 20.0), 100, 100)
    assert drifting.off_after is not None
    assert 10 <= drifting.off_after <= 20
    assert drifting.renamed_after == drifting.off_after
