# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""How a pool and its machines are shown to the user: the shapes of a module's result. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.pool.condition import (
    SERVING,
    Condition,
    Observed,
    assess,
)
from ansible_collections.poolwright.virt.plugins.module_utils.pool.execute import PoolOutcome
from ansible_collections.poolwright.virt.plugins.module_utils.pool.plan import Action, Kind, Taken
from ansible_collections.poolwright.virt.plugins.module_utils.pool.spec import PoolSpec

_TAKEN_HINT = "rename or remove that machine, or give the pool another prefix"


def machine_view(spec: PoolSpec, seen: Observed, now: float) -> dict[str, Any]:
    """One machine: ``name, slot, state, power, ip, host, image, spec_hash, created_at, reason``."""
    machine, mark = seen.machine, seen.machine.mark
    judgement = assess(spec, seen, now)
    ours = mark is not None and judgement.condition is not Condition.FOREIGN
    return {
        "name": machine.name,
        "slot": mark.slot if mark is not None and ours else spec.template.slot_of(machine.name),
        "state": judgement.condition.value,
        "power": machine.power.value,
        "ip": (seen.readiness.ip if seen.readiness else "") or machine.ip,
        "host": machine.host,
        "image": mark.image if mark is not None and ours else "",
        "spec_hash": mark.spec_hash if mark is not None and ours else "",
        "created_at": _timestamp(mark.created_at) if mark is not None and ours else "",
        "reason": judgement.reason,
    }


def pool_view(spec: PoolSpec, observed: Sequence[Observed], now: float) -> dict[str, Any]:
    """A pool as it stands: ``size``, how many are ``ready``, and its ``machines``."""
    machines = [machine_view(spec, seen, now) for seen in observed]
    serving = {condition.value for condition in SERVING}
    ours = sum(machine["state"] != Condition.FOREIGN.value for machine in machines)
    size = spec.wanted if spec.described else ours
    return {"size": size, "ready": sum(machine["state"] in serving for machine in machines), "machines": machines}


def account(spec: PoolSpec, outcome: PoolOutcome) -> dict[str, Any]:
    """What a run did to a pool; machines by slot, since the order in which they were done is chance."""
    done = {kind: sorted(outcome.done.get(kind, []), key=lambda name: spec.template.slot_of(name) or 0) for kind in Kind}
    return _account(done) | {"failed": [failure.as_dict() for failure in outcome.failed], "untouched": dict(outcome.untouched)}


def forecast(actions: Sequence[Action]) -> dict[str, Any]:
    """The account that check mode gives: what a run would do if nothing failed."""
    done = {kind: [action.name for action in actions if action.kind is kind] for kind in Kind}
    return _account(done) | {"failed": [], "untouched": {}}


def taken_failures(taken: Sequence[Taken]) -> list[dict[str, str]]:
    return [{"name": slot.name, "phase": "plan", "code": "slot_taken", "message": f"the slot is taken: {slot.reason}", "hint": _TAKEN_HINT} for slot in taken]


def _account(done: Mapping[Kind, Sequence[str]]) -> dict[str, Any]:
    return {
        "created": list(done[Kind.CREATE]),
        "destroyed": list(done[Kind.DESTROY]),
        "replaced": list(done[Kind.REPLACE]),
        "reset": list(done[Kind.RESET]),
        "started": list(done[Kind.START]),
        "finished": list(done[Kind.WAIT]),
    }


def _timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, tz=timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
