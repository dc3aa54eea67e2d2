# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Generated pools: any size, with broken, foreign, half-made, leased, outdated, stray and out-of-range machines."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from ansible_collections.poolwright.virt.plugins.module_utils.pool.condition import Observed
from ansible_collections.poolwright.virt.plugins.module_utils.pool.spec import CLEAN_SNAPSHOT, OnOutdated, OnUnhealthy, PoolSpec, Reset, Share, spec_hash
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import Lease, Mark, MarkState
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import Check, Machine, MachineSpec, NetworkSpec, Power, Readiness, ReadyCheck

NOW = 1_000_000.0
MAX = 9


@st.composite
def specs(draw: st.DrawFn) -> PoolSpec:
    power_on = draw(st.booleans())
    check = draw(st.sampled_from(list(Check))) if power_on else Check.NONE
    return PoolSpec(
        name="ci",
        prefix=draw(st.sampled_from(["ci", "build"])),
        size=draw(st.integers(0, MAX)),
        machine=MachineSpec(cpus=draw(st.integers(1, 2)), networks=(NetworkSpec(network="default"),), power_on=power_on),
        ready=ReadyCheck(check=check),
        on_unhealthy=draw(st.sampled_from(list(OnUnhealthy))),
        on_outdated=draw(st.sampled_from(list(OnOutdated))),
        reset=draw(st.sampled_from(list(Reset))),
        max_unavailable=draw(st.sampled_from([Share(0), Share(1), Share(3), Share(25, percent=True), Share(100, percent=True)])),
        present=draw(st.sampled_from([True, True, True, False])),
    )


@st.composite
def machines(draw: st.DrawFn, spec: PoolSpec, number: int) -> Observed:
    """A machine named as the number's slot; a stray's mark names another, and one of former days has the prefix of then."""
    power = draw(st.sampled_from(list(Power)))
    kind = draw(st.sampled_from(["ours", "ours", "ours", "unmarked", "other pool", "stray", "former prefix"]))
    name = f"former-{number}" if kind == "former prefix" else spec.vm_name(number)
    mark = None
    if kind != "unmarked":
        mark = Mark(
            pool="other" if kind == "other pool" else spec.name,
            slot=number + 1 if kind == "stray" else number,
            id=f"id-{number}",
            spec_hash=draw(st.sampled_from([spec_hash(spec.machine), "0" * 16])),
            image="",
            created_at=NOW - 100,
            state=draw(st.sampled_from(list(MarkState))),
            lease=draw(st.sampled_from([None, None, None, Lease("a"), Lease("b", NOW + 1), Lease("c", NOW - 1)])),
            name=name if kind == "former prefix" else "",
            snapshot=draw(st.sampled_from(["", CLEAN_SNAPSHOT])),
        )
    readiness = draw(st.sampled_from([None, Readiness(True, "192.0.2.1"), Readiness(False, reason="silent")]))
    machine = Machine(name, power, mark, host="h", broken=draw(st.sampled_from(["", "", "", "its disk is gone"])))
    return Observed(machine, readiness if mark and mark.state is MarkState.READY and power is Power.RUNNING else None)


@st.composite
def pools(draw: st.DrawFn) -> tuple[PoolSpec, list[Observed]]:
    spec = draw(specs())
    numbers = draw(st.sets(st.integers(1, MAX + 3)))
    return spec, [draw(machines(spec, number)) for number in sorted(numbers)]


def perfect(spec: PoolSpec, slot: int) -> Observed:
    """The machine that a provider makes for a slot when nothing goes wrong."""
    mark = Mark(spec.name, slot, f"new-{slot}", spec_hash(spec.machine), "", NOW, MarkState.READY)
    power = Power.RUNNING if spec.machine.power_on else Power.OFF
    return Observed(Machine(spec.vm_name(slot), power, mark, host="h"), Readiness(True, "192.0.2.1"))


def reset(spec: PoolSpec, seen: Observed) -> Observed:
    """The machine as it was made, and ready."""
    mark = seen.machine.mark
    assert mark is not None
    power = Power.RUNNING if spec.machine.power_on else Power.OFF
    return Observed(replace(seen.machine, power=power, mark=replace(mark, state=MarkState.READY, lease=None)), Readiness(True, "192.0.2.1"))


def mended(seen: Observed, power: Power) -> Observed:
    """The machine after it was started and has become ready."""
    mark = seen.machine.mark
    assert mark is not None
    return Observed(replace(seen.machine, power=power, mark=mark.as_state(MarkState.READY)), Readiness(True, "192.0.2.1"))
