# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The evacuation that ``libvirt_evacuation_plan`` is asked to plan, and its answer. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec
from ansible_collections.poolwright.virt.plugins.module_utils.placement.choose import Rules
from ansible_collections.poolwright.virt.plugins.module_utils.placement.evacuate import Evacuation, Left, Move, Place, Wish, plan_evacuation
from ansible_collections.poolwright.virt.plugins.module_utils.placement.facts import guest_from, host_from, verdict_from

Result = dict[str, Any]


def plan_request(params: Mapping[str, Any]) -> Result:
    """:raises InvalidSpec: with every fault of the request."""
    problems: list[str] = []
    places = tuple(_place(one, f"hosts[{number}]", problems) for number, one in enumerate(params.get("hosts") or ()))
    drain = tuple(params.get("drain") or ())
    # Faults in the facts come first: what they leave open would only be told again.
    problems = problems or _faults(places, drain, params)
    if problems:
        raise InvalidSpec(problems)
    wish = Wish(
        drain=drain,
        only=frozenset(params.get("guests") or ()),
        live=bool(params.get("live", True)),
        cold=bool(params.get("cold", False)),
        stopped=bool(params.get("stopped", True)),
        rules=Rules(
            reserve_mb=int(params["reserve_mb"]),
            memory_overcommit=float(params["memory_overcommit"]),
            cpu_overcommit=float(params["cpu_overcommit"]),
            disk_reserve_mb=int(params["disk_reserve_mb"]),
            margin=float(params["margin_percent"]) / 100,
        ),
    )
    return {"changed": False, **as_result(plan_evacuation(places, wish))}


def _place(data: Mapping[str, Any], where: str, problems: list[str]) -> Place:
    """A host with what was read of it; faults are added to ``problems``."""
    name, uri, drained = str(data.get("name") or ""), str(data.get("uri") or ""), bool(data.get("drained"))
    told: Mapping[str, Any] = data.get("facts") or {}
    if "host" not in told:
        return Place(name, uri, error=str(told.get("msg") or ""), drained=drained)
    try:
        facts = host_from(told["host"], f"{where}.facts.host")
        guests = tuple(guest_from(one, f"{where}.facts.guests[{number}]") for number, one in enumerate(told.get("guests") or ()))
        verdicts = {str(uuid): verdict_from(one, f"{where}.facts.verdicts.{uuid}") for uuid, one in dict(told.get("verdicts") or {}).items()}
    except InvalidSpec as exc:
        problems += exc.problems
        return Place(name, uri, drained=drained)
    return Place(name, uri, facts, "", guests, verdicts, drained)


def _faults(places: Iterable[Place], drain: Iterable[str], params: Mapping[str, Any]) -> list[str]:
    names = [place.name for place in places]
    found = [f"hosts: {name} is there more than once" for name in sorted({name for name in names if names.count(name) > 1})]
    known = {place.name: place for place in places}
    for name in drain:
        if name not in known:
            found.append(f"drain: {name} is not among the hosts: {', '.join(names) or 'there are none'}")
        elif known[name].facts is None:
            found.append(f"drain: {name} could not be read: {known[name].error or 'it gave no answer'}")
    found += [f"{key}: {params[key]} is below 0" for key in ("reserve_mb", "disk_reserve_mb") if int(params[key]) < 0]
    found += [f"{key}: {params[key]} is not above 0" for key in ("memory_overcommit", "cpu_overcommit") if float(params[key]) <= 0]
    if not 0 <= float(params["margin_percent"]) <= 100:
        found.append(f"margin_percent: {params['margin_percent']} is not between 0 and 100")
    unknown = sorted(set(params.get("guests") or ()) - {guest.name for name in drain if name in known for guest in known[name].guests})
    # A guest that has left already is what a second run meets.
    there = {one.name for place in known.values() if place.facts is not None for one in place.facts.residents}
    return found + [f"guests: no host has a guest {name}" for name in unknown if name not in there]


def as_result(evacuation: Evacuation) -> Result:
    return {
        "moves": [_move(one) for one in evacuation.moves],
        "left": [_left(one) for one in evacuation.left],
        "hosts": [
            {"name": fill.name, "before_percent": round(100 * fill.before), "after_percent": round(100 * fill.after), "free_mb": fill.free_mb}
            for fill in evacuation.fills
        ],
    }


def _move(one: Move) -> Result:
    guest = one.guest
    return {
        "name": guest.name,
        "uuid": guest.uuid,
        "state": guest.state,
        "pool": guest.pool,
        "memory_mb": guest.memory_mb,
        "source": one.source,
        "target": one.target,
        "target_uri": one.target_uri,
        "mode": one.mode.value,
        "reason": one.reason,
        "rejected": dict(one.rejected),
    }


def _left(one: Left) -> Result:
    guest = one.guest
    return {
        "name": guest.name,
        "uuid": guest.uuid,
        "state": guest.state,
        "pool": guest.pool,
        "source": one.source,
        "wanted": one.wanted,
        "reason": one.reason,
        "rejected": dict(one.rejected),
    }
