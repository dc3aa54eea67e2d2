# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Keeping other runs off a pool."""

from __future__ import annotations

import threading

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline, InstantClock
from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy
from ansible_collections.poolwright.virt.tests.contract.staging import LONG, Stage


def test_a_second_run_waits_for_the_first(stage: Stage) -> None:
    order: list[str] = []
    first, second = stage.waiting_provider(), stage.waiting_provider()
    waiting = threading.Event()

    def follow() -> None:
        waiting.set()
        with second.exclusive(["ci"], Deadline.after(Clock(), LONG)):
            order.append("second")

    follower = threading.Thread(target=follow)
    with first.exclusive(["ci"], Deadline.after(Clock(), LONG)):
        follower.start()
        assert waiting.wait(LONG)
        follower.join(0.2)
        order.append("first")
    follower.join(LONG)
    assert order == ["first", "second"]


def test_a_second_run_gives_up_at_its_deadline(stage: Stage) -> None:
    holder = stage.waiting_provider()
    clock = InstantClock()
    patient = stage.lab.provider([stage.template], clock)
    start = clock.monotonic()
    with holder.exclusive(["ci"], Deadline.after(Clock(), LONG)):
        with pytest.raises(Busy) as caught, patient.exclusive(["ci"], Deadline.after(clock, 30)):
            pass
        assert 30 <= clock.monotonic() - start < 60
        assert caught.value.transient
    with patient.exclusive(["ci"], Deadline.after(clock, 30)):
        pass


def test_other_pools_are_not_kept_waiting(stage: Stage) -> None:
    other = stage.lab.template("web")
    stage.provider.serve([other])
    second = stage.lab.provider([stage.template, other], InstantClock())
    with stage.provider.exclusive(["ci"], stage.deadline()), second.exclusive(["web"], Deadline.after(second.clock, 1)):
        pass


def test_runs_that_share_pools_in_another_order_do_not_block_each_other(stage: Stage) -> None:
    templates = [stage.lab.template(name) for name in ("ci", "web")]
    providers = [stage.lab.provider(templates, Clock()) for _time in range(2)]
    rounds: list[str] = []

    def run(number: int) -> None:
        names = ["ci", "web"] if number else ["web", "ci"]
        for _time in range(10):
            with providers[number].exclusive(names, Deadline.after(Clock(), LONG)):
                rounds.append(names[0])

    runs = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    for thread in runs:
        thread.start()
    for thread in runs:
        thread.join(LONG)
    assert len(rounds) == 20


def test_a_failing_run_gives_the_pool_free(stage: Stage) -> None:
    with pytest.raises(ZeroDivisionError), stage.provider.exclusive(["ci"], stage.deadline()):
        raise ZeroDivisionError
    with stage.provider.exclusive(["ci"], stage.deadline(0)):
        pass


def test_a_killed_run_gives_the_pool_free_at_once(stage: Stage) -> None:
    child = stage.child("hold")
    provider = stage.waiting_provider()
    with pytest.raises(Busy), provider.exclusive(["ci"], Deadline.after(Clock(), 0.1)):
        pass
    stage.kill(child)
    with provider.exclusive(["ci"], Deadline.after(Clock(), 60)):
        pass
    assert stage.lab.leftovers() == []


def test_no_lock_is_left_behind(stage: Stage) -> None:
    with stage.provider.exclusive(["ci"], stage.deadline()):
        pass
    assert stage.lab.leftovers() == []
