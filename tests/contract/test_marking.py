# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Marks and leases: compare and set."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.errors import MarkChanged, NotFound, NotOurs
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import Lease, MarkState
from ansible_collections.poolwright.virt.tests.contract.staging import Stage, mark_of


def test_a_mark_is_kept_as_it_was_written(stage: Stage) -> None:
    first = mark_of(stage.make(1))
    marks = [
        replace(first, state=MarkState.READY, spec_hash="äöü <&'\"> ]]>", image="a b/c?d=e&f"),
        replace(first, lease=Lease("job 7", until=1_800_000_000.25)),
        replace(first, lease=Lease("for good")),
        replace(first, created_at=first.created_at + 0.125, state=MarkState.DESTROYING),
    ]
    expected = first
    for mark in marks:
        stage.provider.set_mark("ci", "ci-1", mark, expected)
        assert mark_of(stage.get("ci-1")) == mark
        assert [mark_of(machine) for machine in stage.provider.vms_in_pool("ci")] == [mark]
        expected = mark


def test_a_mark_that_is_not_the_expected_one_stays(stage: Stage) -> None:
    first = mark_of(stage.make(1))
    ready = first.as_state(MarkState.READY)
    stage.provider.set_mark("ci", "ci-1", ready, first)
    with pytest.raises(MarkChanged):
        stage.provider.set_mark("ci", "ci-1", first.as_state(MarkState.DESTROYING), first)
    assert mark_of(stage.get("ci-1")) == ready


def test_of_two_that_lease_one_machine_at_once_one_gets_it(stage: Stage) -> None:
    first = mark_of(stage.make(1))
    providers = [stage.lab.provider([stage.template]) for _time in range(2)]

    def attempt(number: int) -> bool:
        try:
            providers[number].set_mark("ci", "ci-1", replace(first, lease=Lease(f"job {number}")), first)
        except MarkChanged:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        got = list(pool.map(attempt, range(2)))
    assert got.count(True) == 1
    assert mark_of(stage.get("ci-1")).lease == Lease(f"job {got.index(True)}")


def test_the_mark_of_a_machine_that_is_gone_cannot_be_set(stage: Stage) -> None:
    with pytest.raises(NotFound):
        stage.provider.set_mark("ci", "ci-1", stage.mark(1), stage.mark(1))


def test_a_foreign_machine_is_never_marked(stage: Stage) -> None:
    stage.lab.put_foreign("ci-1")
    before = stage.lab.fingerprint("ci-1")
    with pytest.raises((NotOurs, MarkChanged)):
        stage.provider.set_mark("ci", "ci-1", stage.mark(1), stage.mark(1))
    assert stage.lab.fingerprint("ci-1") == before


def test_a_mark_outlives_a_power_off(stage: Stage) -> None:
    machine = stage.ready(1)
    stage.lab.power_off("ci-1")
    assert mark_of(stage.get("ci-1")) == mark_of(machine)
