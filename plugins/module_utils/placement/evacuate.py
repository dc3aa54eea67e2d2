# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Which guests leave the hosts that are to be drained, and where each goes. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.poolwright.virt.plugins.module_utils.placement.choose import Candidate, Choice, Mode, Rules, choose, load_of
from ansible_collections.poolwright.virt.plugins.module_utils.placement.facts import GuestFacts, HostFacts, Verdict

DRAINED = "is drained"
_WAYS = {Mode.LIVE: " as it runs", Mode.COLD: " when it is off"}


@dataclass(frozen=True)
class Place:
    """A host of the inventory.

    :ivar uri: how the others reach its libvirt.   :ivar facts: None where they could not be read, with the reason in ``error``.
    :ivar guests: all guests that are on it, needed of hosts that are to be drained.
    :ivar verdicts: on the CPUs of guests that it may get, by their UUIDs.
    :ivar drained: whether it takes none.
    """

    name: str
    uri: str
    facts: HostFacts | None = None
    error: str = ""
    guests: tuple[GuestFacts, ...] = ()
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    drained: bool = False


@dataclass(frozen=True)
class Wish:
    """Which hosts are to be empty, and what may be done for it.

    :ivar only: names of guests, to move no others; empty for all.
    :ivar live: whether guests that run may move as they run.   :ivar cold: whether they may be shut down for it.
    :ivar stopped: whether guests that are off leave too.
    """

    drain: tuple[str, ...]
    only: frozenset[str] = frozenset()
    live: bool = True
    cold: bool = False
    stopped: bool = True
    rules: Rules = Rules()


@dataclass(frozen=True)
class Move:
    guest: GuestFacts
    source: str
    target: str
    target_uri: str
    mode: Mode
    reason: str
    rejected: Mapping[str, str]


@dataclass(frozen=True)
class Left:
    """A guest that stays where it is. ``wanted`` is false where that was asked for."""

    guest: GuestFacts
    source: str
    reason: str
    rejected: Mapping[str, str] = field(default_factory=dict)
    wanted: bool = True


@dataclass(frozen=True)
class Fill:
    """How full a host is and will be, from 0 to 1, and the MiB that guests can still have."""

    name: str
    before: float
    after: float
    free_mb: int


@dataclass(frozen=True)
class Evacuation:
    moves: tuple[Move, ...]
    left: tuple[Left, ...]
    fills: tuple[Fill, ...]


def plan_evacuation(places: Sequence[Place], wish: Wish) -> Evacuation:
    """Where each guest goes. The largest is placed first, for it has the least choice; what it gets is not given again.

    :param places: all hosts, those that are to be drained among them, whose facts are there.
    """
    hosts = {place.name: _candidate(place, place.facts) for place in places if place.facts is not None}
    unread = {place.name: f"could not be read: {place.error or 'it gave no answer'}" for place in places if place.facts is None}
    uris = {place.name: place.uri for place in places}
    before = dict(hosts)
    moves: list[Move] = []
    left: list[Left] = []
    leaving = [(place.name, place.facts, guest) for place in places if place.name in wish.drain and place.facts is not None for guest in place.guests]
    for source, facts, guest in sorted(leaving, key=lambda one: (not one[2].active, -one[2].memory_mb, -one[2].cpus, one[2].name, one[0])):
        placed = _place(guest, source, facts, [host for name, host in sorted(hosts.items()) if name not in wish.drain], uris, wish)
        if isinstance(placed, Move):
            hosts[placed.target] = hosts[placed.target].promising(guest, placed.mode)
            moves.append(Move(guest, source, placed.target, placed.target_uri, placed.mode, placed.reason, {**placed.rejected, **unread}))
        else:
            left.append(Left(guest, source, placed.reason, {**placed.rejected, **unread} if placed.wanted else {}, placed.wanted))
    fills = tuple(_fill(before[name], hosts[name], [move for move in moves if move.source == name], wish.rules) for name in sorted(hosts))
    return Evacuation(tuple(moves), tuple(left), fills)


def _candidate(place: Place, facts: HostFacts) -> Candidate:
    closed = DRAINED if place.drained else "" if place.uri else "has no address for the others: set host_evacuate_target_uri for it"
    return Candidate(place.name, facts, closed, place.verdicts)


def _place(guest: GuestFacts, source: str, facts: HostFacts, hosts: Sequence[Candidate], uris: Mapping[str, str], wish: Wish) -> Move | Left:
    if wish.only and guest.name not in wish.only:
        return Left(guest, source, "it is not among the guests to move", wanted=False)
    if not guest.active and not wish.stopped:
        return Left(guest, source, "it is off, and guests that are off stay", wanted=False)
    others = [host for host in hosts if not (host.facts.uuid and host.facts.uuid == facts.uuid)]
    begun = next((host for host in others if any(one.uuid == guest.uuid for one in host.facts.residents)), None)
    if begun is not None:
        # Which of the two is the guest is for whoever moves it to find out; another host must not get a third.
        mode = Mode.LIVE if guest.active else Mode.COLD
        return Move(guest, source, begun.name, uris[begun.name], mode, f"{begun.name} has it already: an earlier move there was interrupted", {})
    if guest.tied:
        return Left(guest, source, "; ".join(guest.tied))
    said: list[str] = []
    rejected: Mapping[str, str] = {}
    for mode in (Mode.LIVE, Mode.COLD):
        why_not = _barred(guest, mode, wish)
        if not why_not:
            choice = choose(guest, facts, mode, hosts, wish.rules)
            if choice.target:
                return Move(guest, source, choice.target, uris[choice.target], mode, _said(guest, choice, mode, said), choice.rejected)
            why_not, rejected = f"no host can take it{_WAYS[mode] if guest.active else ''}", choice.rejected
        # That one which is off does not move live goes without saying.
        said += [why_not] if guest.active or mode is Mode.COLD else []
    return Left(guest, source, "; ".join(said), rejected)


def _barred(guest: GuestFacts, mode: Mode, wish: Wish) -> str:
    """Why a guest may not move so wherever it goes, "" where it may."""
    if mode is Mode.LIVE:
        if not guest.active:
            return "it is off"
        if guest.state not in ("running", "paused"):
            return f"it is {guest.state}, and only a guest that runs or is paused moves live"
        return "" if wish.live else "live moves are not allowed"
    if not guest.persistent:
        return "it has no definition, so it would be gone once it is off"
    if guest.not_cold:
        return "; ".join(guest.not_cold)
    return "" if wish.cold or not guest.active else "cold moves are not allowed"


def _said(guest: GuestFacts, choice: Choice, mode: Mode, why_not_live: Sequence[str]) -> str:
    if choice.fitting == 1:
        which = "the only host that can take it"
    else:
        which = f"{'the least used' if choice.least else 'among the least used'} of {choice.fitting} that can take it"
    why_cold = f"; it is shut down for it, since {' and '.join(why_not_live)}" if mode is Mode.COLD and guest.active else ""
    return f"{choice.target} is {which}, {choice.share:.0%} full with it{why_cold}"


def _fill(before: Candidate, after: Candidate, leaving: Sequence[Move], rules: Rules) -> Fill:
    nothing = GuestFacts("", "", "shutoff", cpus=0)
    gone_mb = sum(load_of(move.guest, move.mode)[0] for move in leaving)
    share = max(0.0, after.share_with(nothing, rules) - gone_mb / max(1, after.facts.memory_mb))
    return Fill(before.name, before.share_with(nothing, rules), share, max(0, after.free_mb(rules) + gone_mb))
