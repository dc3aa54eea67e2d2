# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A machine that another controller is making is left to it, for as long as that may take."""

from __future__ import annotations

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.pool.condition import MAKING_SECONDS, Condition, Observed, assess
from ansible_collections.poolwright.virt.plugins.module_utils.pool.plan import Kind, plan
from ansible_collections.poolwright.virt.plugins.module_utils.pool.spec import PoolSpec
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import Mark
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import Machine, Power

NOW = 1_800_000_000.0
SPEC = PoolSpec("ci", "ci", size=1)


def half_made(age: float, *, elsewhere: bool, spec_hash: str = "old") -> Observed:
    mark = Mark("ci", 1, "id", spec_hash, "", NOW - age, name="ci-1", maker="other" if elsewhere else "here")
    return Observed(Machine("ci-1", Power.OFF, mark), elsewhere=elsewhere)


def test_what_another_controller_has_just_begun_is_waited_for() -> None:
    seen = half_made(5, elsewhere=True)
    judged = assess(SPEC, seen, NOW)
    assert (judged.condition, judged.reason) == (Condition.BOOTING, "another controller is making it")
    assert [action.kind for action in plan(SPEC, [seen], NOW).actions] == [Kind.WAIT]


@pytest.mark.parametrize("seen", [half_made(5, elsewhere=False), half_made(MAKING_SECONDS, elsewhere=True)], ids=["our own", "an old one"])
def test_what_nobody_goes_on_with_is_replaced(seen: Observed) -> None:
    assert assess(SPEC, seen, NOW).condition is Condition.HALF_MADE
    assert [action.kind for action in plan(SPEC, [seen], NOW).actions] == [Kind.REPLACE]
