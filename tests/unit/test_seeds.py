# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run's random cases: few in the gate, all in a soak, and the same again for the same first seed."""

from __future__ import annotations

import os

import pytest

from ansible_collections.poolwright.virt.tests import seeds


def test_the_gate_takes_few_and_a_soak_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(seeds.SEED, "70")
    monkeypatch.setenv(seeds.SOAK, "0")
    assert list(seeds.seeds(gate=2, soak=4)) == [70, 71]
    assert seeds.examples(100) == 25
    few = seeds.some(range(50), gate=5)
    assert few == seeds.some(range(50), gate=5) == sorted(set(few))
    assert len(few) == 5
    monkeypatch.setenv(seeds.SOAK, "1")
    assert list(seeds.seeds(gate=2, soak=4)) == [70, 71, 72, 73]
    assert seeds.examples(100) == 100
    assert seeds.some(range(50), gate=5) == list(range(50))


def test_some_are_others_with_another_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(seeds.SOAK, raising=False)
    seen = set()
    for number in range(40):
        monkeypatch.setenv(seeds.SEED, str(number))
        seen.update(seeds.some(range(20), gate=3))
    assert seen == set(range(20))


def test_a_drawn_seed_is_kept_for_the_processes_that_are_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(seeds.SEED, "")
    monkeypatch.delenv(seeds.SEED)
    drawn = seeds.first_seed()
    assert os.environ[seeds.SEED] == str(drawn)
    assert seeds.first_seed() == drawn
    assert f"{seeds.SEED}={drawn}" in seeds.described()


def test_some_cases_are_always_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(seeds.SOAK, raising=False)
    for number in range(40):
        monkeypatch.setenv(seeds.SEED, str(number))
        few = seeds.some(range(20), gate=4, always=(0, 19))
        assert (few[0], few[-1], len(few)) == (0, 19, 4)


def test_pairs_have_every_one_of_both_in_each_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(seeds.SOAK, raising=False)
    seen = set()
    for number in range(40):
        monkeypatch.setenv(seeds.SEED, str(number))
        few = seeds.pairs("abcde", "xyz", 1, "a test")
        assert {first for first, _second in few} == set("abcde")
        assert {second for _first, second in few} == set("xyz")
        assert len(few) == 5
        seen.update(few)
    assert len(seen) == 15
    monkeypatch.setenv(seeds.SOAK, "1")
    assert set(seeds.pairs("abcde", "xyz", 1, "a test")) == seen


def test_a_run_is_killed_at_its_first_and_last_point_and_some_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(seeds.SOAK, raising=False)
    few = seeds.points(30, 5, "a test")
    assert (few[0], few[-1], len(set(few))) == (0, 29, 5)
    monkeypatch.setenv(seeds.SOAK, "1")
    assert seeds.points(30, 5, "a test") == list(range(30))
    assert len(seeds.points(30, 5, "a test", soak=13)) == 13
