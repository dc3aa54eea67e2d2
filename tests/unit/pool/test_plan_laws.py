# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan's laws, over generated pools."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given

from ansible_collections.poolwright.virt.plugins.module_utils.pool.condition import SERVING, UNTOUCHABLE, Condition, Observed, assess
from ansible_collections.poolwright.virt.plugins.module_utils.pool.difference import machine_lines, predicted_lines
from ansible_collections.poolwright.virt.plugins.module_utils.pool.plan import Action, Kind, plan
from ansible_collections.poolwright.virt.plugins.module_utils.pool.spec import OnOutdated, PoolSpec, Reset, is_outdated
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import Power
from ansible_collections.poolwright.virt.tests.unit.pool.generated import NOW, mended, perfect, pools, reset

Pool = tuple[PoolSpec, list[Observed]]


def carry_out(spec: PoolSpec, observed: Sequence[Observed], actions: Sequence[Action]) -> list[Observed]:
    """What a perfect provider makes of a plan."""
    state = {seen.machine.name: seen for seen in observed}
    for action in actions:
        if action.kind is Kind.DESTROY:
            del state[action.name]
        elif action.kind in (Kind.CREATE, Kind.REPLACE):
            state[action.name] = perfect(spec, action.slot)
        elif action.kind is Kind.RESET:
            state[action.name] = reset(spec, state[action.name])
        else:
            state[action.name] = mended(state[action.name], Power.RUNNING)
    return list(state.values())


def conditions(spec: PoolSpec, observed: Sequence[Observed]) -> dict[str, Condition]:
    return {seen.machine.name: assess(spec, seen, NOW).condition for seen in observed}


@given(pools())
def test_carrying_the_plan_out_reaches_the_declared_state(pool: Pool) -> None:
    spec, observed = pool
    first = plan(spec, observed, NOW)
    after = conditions(spec, carry_out(spec, observed, first.actions))
    reported = {Condition.OUTDATED, Condition.BROKEN, Condition.STOPPED, Condition.SILENT}
    for slot in range(1, spec.wanted + 1):
        name = spec.vm_name(slot)
        assert after[name] in {Condition.READY} | UNTOUCHABLE | reported
        if after[name] in (Condition.FOREIGN, Condition.STRAY):
            assert name in {taken.name for taken in first.taken}
    assert not {Condition.SURPLUS, Condition.HALF_MADE, Condition.REMOVING, Condition.RESETTING, Condition.BOOTING, Condition.EXPIRED} & set(after.values())


@given(pools())
def test_a_second_plan_is_empty(pool: Pool) -> None:
    spec, observed = pool
    after = carry_out(spec, observed, plan(spec, observed, NOW).actions)
    assert plan(spec, after, NOW).actions == ()


@given(pools())
def test_leased_stray_and_foreign_machines_are_never_touched(pool: Pool) -> None:
    spec, observed = pool
    touched = {action.name for action in plan(spec, observed, NOW).actions}
    untouchable = {name for name, condition in conditions(spec, observed).items() if condition in UNTOUCHABLE}
    assert not touched & untouchable


@given(pools())
def test_what_is_removed_carries_the_pools_mark_and_the_action_says_which(pool: Pool) -> None:
    spec, observed = pool
    marks = {seen.machine.name: seen.machine.mark for seen in observed}
    for action in plan(spec, observed, NOW).actions:
        if action.kind is Kind.CREATE:
            assert action.name not in marks
            assert action.expected is None
        else:
            assert action.expected == marks[action.name]
            assert action.expected is not None
            assert action.expected.pool == spec.name
        assert action.reason


@given(pools())
def test_no_more_than_the_allowed_number_of_ready_machines_is_taken_away_at_once(pool: Pool) -> None:
    spec, observed = pool
    before = conditions(spec, observed)
    found = plan(spec, observed, NOW)
    taken_away: Counter[int] = Counter()
    ready = {name for name, condition in before.items() if condition in SERVING}
    for action in found.actions:
        if action.kind is Kind.REPLACE and action.name in ready:
            taken_away[action.wave] += 1
    # Those that are leased, or unhealthy and left so, are unavailable as well.
    others = spec.wanted - len(ready | {action.name for action in found.actions if action.kind is not Kind.DESTROY})
    assert all(number + others <= spec.most_unavailable for number in taken_away.values())
    if found.kept:
        assert not taken_away
        assert others >= spec.most_unavailable
    elif spec.on_outdated is OnOutdated.REPLACE:
        outdated = {name for name, condition in before.items() if condition is Condition.OUTDATED}
        assert outdated <= {action.name for action in found.actions}


@given(pools())
def test_ready_machines_go_only_after_all_others_are_mended(pool: Pool) -> None:
    spec, observed = pool
    before = conditions(spec, observed)
    actions = plan(spec, observed, NOW).actions
    rolling = [action.wave for action in actions if before.get(action.name) in SERVING]
    mending = [action.wave for action in actions if before.get(action.name) not in SERVING]
    assert not rolling or not mending or max(mending) < min(rolling)


@given(pools())
def test_each_slot_is_acted_on_once_and_in_order(pool: Pool) -> None:
    spec, observed = pool
    actions = plan(spec, observed, NOW).actions
    assert len({action.name for action in actions}) == len(actions)
    assert [action.wave for action in actions] == sorted(action.wave for action in actions)
    created = [action.slot for action in actions if action.kind is Kind.CREATE]
    assert created == sorted(created)
    assert all(1 <= slot <= spec.wanted for slot in created)


@given(pools())
def test_the_plan_depends_on_nothing_but_what_was_observed(pool: Pool) -> None:
    spec, observed = pool
    assert plan(spec, observed, NOW).actions == plan(spec, list(reversed(observed)), NOW).actions


@given(pools())
def test_the_predicted_difference_is_the_one_that_comes_about(pool: Pool) -> None:
    spec, observed = pool
    actions = plan(spec, observed, NOW).actions
    before = machine_lines(spec, observed, NOW)
    after = machine_lines(spec, carry_out(spec, observed, actions), NOW)
    assert predicted_lines(spec, before, actions) == after


@given(pools())
def test_an_absent_pool_keeps_only_what_is_not_its_own_to_remove(pool: Pool) -> None:
    spec, observed = pool
    absent = PoolSpec(name=spec.name, prefix=spec.prefix, present=False)
    left = carry_out(absent, observed, plan(absent, observed, NOW).actions)
    assert set(conditions(absent, left).values()) <= UNTOUCHABLE


@given(pools())
def test_machines_that_nobody_can_be_using_do_not_count_as_deletions(pool: Pool) -> None:
    spec, observed = pool
    made = plan(spec, observed, NOW)
    before = conditions(spec, observed)
    removed = {action.name for action in made.actions if action.kind in (Kind.DESTROY, Kind.REPLACE, Kind.RESET)}
    unused = {name for name in removed if before[name] in (Condition.HALF_MADE, Condition.REMOVING, Condition.RESETTING)}
    assert {action.name for action in made.deletions} == removed - unused


@given(pools())
def test_a_machine_is_reset_only_where_its_snapshot_leads_to_what_the_pool_is(pool: Pool) -> None:
    spec, observed = pool
    before = conditions(spec, observed)
    for action in plan(spec, observed, NOW).actions:
        if action.kind is Kind.RESET:
            assert spec.reset is Reset.SNAPSHOT
            assert action.expected is not None
            assert action.expected.snapshot
            assert not is_outdated(spec, action.expected.spec_hash)
            assert before[action.name] in (Condition.EXPIRED, Condition.RESETTING, Condition.STOPPED, Condition.SILENT)


@given(pools())
def test_with_reset_by_snapshot_nothing_else_changes_than_how_a_machine_is_renewed(pool: Pool) -> None:
    spec, observed = pool
    rebuilding = plan(replace(spec, reset=Reset.REBUILD), observed, NOW).actions
    resetting = plan(replace(spec, reset=Reset.SNAPSHOT), observed, NOW).actions
    renewed = {Kind.RESET: Kind.REPLACE}
    assert {(action.name, action.kind) for action in rebuilding} == {(action.name, renewed.get(action.kind, action.kind)) for action in resetting}
