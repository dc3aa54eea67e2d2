# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What holds of every evacuation, over generated hosts and guests."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.poolwright.virt.plugins.module_utils.placement.choose import Candidate, Mode, Rules
from ansible_collections.poolwright.virt.plugins.module_utils.placement.evacuate import Evacuation, Left, Move, Place, Wish, plan_evacuation
from ansible_collections.poolwright.virt.plugins.module_utils.placement.facts import CpuNeed, GuestFacts, HostFacts, Resident, Verdict

MACHINES = {"x86_64/kvm": ("pc", "q35"), "x86_64/qemu": ("pc", "q35")}
NETWORKS = ("default", "storage")
MODES = ("", "custom", "host-model", "host-passthrough", "maximum")
QEMU = (7002000, 8002000)


@st.composite
def guests(draw: st.DrawFn, number: int) -> GuestFacts:
    return GuestFacts(
        name=f"g{draw(st.integers(1, 8))}",
        uuid=f"00000000-0000-4000-8000-{number:012d}",
        state=draw(st.sampled_from(("running", "running", "running", "paused", "asleep", "crashed", "shutoff"))),
        persistent=draw(st.sampled_from((True, True, False))),
        memory_mb=draw(st.sampled_from((0, 256, 1024, 4096))),
        cpus=draw(st.integers(1, 8)),
        arch="x86_64",
        virt_type=draw(st.sampled_from(("kvm", "qemu"))),
        machine=draw(st.sampled_from(("pc", "q35"))),
        live_cpu=CpuNeed(draw(st.sampled_from(MODES)), "<cpu/>"),
        cold_cpu=CpuNeed(draw(st.sampled_from(MODES)), "<cpu/>"),
        networks=tuple(draw(st.sets(st.sampled_from(NETWORKS)))),
        not_cold=draw(st.sampled_from(((), (), ("its memory is saved on this host",)))),
        tied=draw(st.sampled_from(((), (), (), ("the pci device 0000:01:00.0",)))),
    )


@st.composite
def places(draw: st.DrawFn) -> tuple[tuple[Place, ...], Wish]:
    count, serial = draw(st.integers(1, 5)), 0
    drain = tuple(f"kvm-{number}" for number in range(1, draw(st.integers(1, min(2, count))) + 1))
    everybody: list[GuestFacts] = []
    found = []
    for number in range(1, count + 1):
        name = f"kvm-{number}"
        here: list[GuestFacts] = []
        for _guest in range(draw(st.integers(0, 4))):
            serial += 1
            guest = draw(guests(serial))
            # A name is there once on each host, and may be on several.
            here += [] if guest.name in {one.name for one in here} else [guest]
        everybody += here
        memory = draw(st.sampled_from((2048, 8192, 32768)))
        facts = HostFacts(
            hostname=name,
            uuid=name,
            arch="x86_64",
            hypervisor=draw(st.sampled_from(QEMU)),
            cpus=draw(st.integers(1, 8)),
            memory_mb=memory,
            available_mb=draw(st.integers(0, memory)),
            machines=draw(st.sampled_from((MACHINES, MACHINES, {"x86_64/qemu": ("pc",)}, {"aarch64/kvm": ("virt",)}))),
            networks=tuple(sorted(draw(st.sets(st.sampled_from(NETWORKS))))),
            residents=tuple(Resident(one.name, one.uuid, one.active, one.memory_mb, one.cpus) for one in here),
        )
        unread = name not in drain and draw(st.sampled_from((False, False, False, True)))
        found.append(
            Place(
                name,
                draw(st.sampled_from((f"qemu+tls://{name}/system", f"qemu+tls://{name}/system", ""))),
                None if unread else facts,
                "no route to host" if unread else "",
                tuple(here),
                drained=draw(st.sampled_from((False, False, False, True))),
            )
        )
    verdict = st.builds(Verdict, st.sampled_from(("", "", "lacks avx")), st.sampled_from(("", "", "lacks avx")))
    judged = [replace(place, verdicts={one.uuid: draw(verdict) for one in everybody}) for place in found]
    rules = Rules(
        draw(st.sampled_from((0, 512))), draw(st.sampled_from((0.5, 1.0, 1.5))), draw(st.sampled_from((1.0, 4.0))), margin=draw(st.sampled_from((0.0, 0.05)))
    )
    return tuple(judged), Wish(drain, live=draw(st.booleans()), cold=draw(st.booleans()), stopped=draw(st.booleans()), rules=rules)


def leaving(hosts: tuple[Place, ...], wish: Wish) -> list[GuestFacts]:
    return [guest for place in hosts if place.name in wish.drain for guest in place.guests]


def carried_out(hosts: tuple[Place, ...], planned: Evacuation) -> tuple[Place, ...]:
    """What the hosts are once every move has been made."""
    after = []
    for place in hosts:
        if place.facts is None:
            after.append(place)
            continue
        gone = {move.guest.uuid for move in planned.moves if move.source == place.name}
        came = [move.guest for move in planned.moves if move.target == place.name]
        takes = sum(guest.memory_mb for guest in came if guest.active)
        residents = [one for one in place.facts.residents if one.uuid not in gone]
        residents += [Resident(one.name, one.uuid, one.active, one.memory_mb, one.cpus) for one in came]
        facts = replace(place.facts, residents=tuple(residents), available_mb=place.facts.available_mb - takes)
        after.append(replace(place, facts=facts, guests=tuple(one for one in place.guests if one.uuid not in gone)))
    return tuple(after)


@given(places())
def test_each_guest_moves_or_is_left_with_a_reason(given_places: tuple[tuple[Place, ...], Wish]) -> None:
    hosts, wish = given_places
    planned = plan_evacuation(hosts, wish)
    told: list[Move | Left] = [*planned.moves, *planned.left]
    assert sorted(one.guest.uuid for one in told) == sorted(guest.uuid for guest in leaving(hosts, wish))
    assert all(one.reason for one in told)
    assert all(reason for one in told for reason in one.rejected.values())


@given(places())
def test_a_guest_that_no_host_can_take_has_the_reason_of_every_host(given_places: tuple[tuple[Place, ...], Wish]) -> None:
    hosts, wish = given_places
    for one in plan_evacuation(hosts, wish).left:
        if "no host can take it" in one.reason:
            assert set(one.rejected) == {place.name for place in hosts if place.name not in wish.drain}


@given(places())
def test_no_host_is_overloaded(given_places: tuple[tuple[Place, ...], Wish]) -> None:
    hosts, wish = given_places
    planned = plan_evacuation(hosts, wish)
    for place in hosts:
        came = [move.guest for move in planned.moves if move.target == place.name and move.guest.active]
        if not came:
            continue
        facts, rules = place.facts, wish.rules
        assert facts is not None
        memory = sum(guest.memory_mb for guest in came)
        assert facts.available_mb - memory >= rules.reserve_mb
        assert facts.committed_mb + memory + rules.reserve_mb <= facts.memory_mb * rules.memory_overcommit
        assert facts.committed_cpus + sum(guest.cpus for guest in came) <= facts.cpus * rules.cpu_overcommit


@given(places())
def test_a_guest_finds_what_it_needs(given_places: tuple[tuple[Place, ...], Wish]) -> None:
    hosts, wish = given_places
    known = {place.name: place for place in hosts}
    for move in plan_evacuation(hosts, wish).moves:
        place, guest = known[move.target], move.guest
        assert place.facts is not None
        assert not place.drained
        assert move.target not in wish.drain
        assert move.target_uri == place.uri != ""
        assert not guest.tied
        assert guest.machine in place.facts.machines[f"{guest.arch}/{guest.virt_type}"]
        assert set(guest.networks) <= set(place.facts.networks)
        if move.mode is Mode.LIVE:
            assert wish.live
            assert guest.state in ("running", "paused")
            source = known[move.source].facts
            assert source is not None
            assert place.facts.hypervisor >= source.hypervisor
            assert not guest.live_cpu.mode or not place.verdicts[guest.uuid].live
        else:
            assert guest.persistent
            assert not guest.not_cold
            assert wish.cold or not guest.active
            assert not guest.cold_cpu.mode or not place.verdicts[guest.uuid].cold


@given(places())
def test_a_host_that_is_least_used_with_a_guest_gets_it(given_places: tuple[tuple[Place, ...], Wish]) -> None:
    hosts, wish = given_places
    # Of the first, for nothing is promised before it.
    for move in plan_evacuation(hosts, wish).moves[:1]:
        fit = [place for place in hosts if place.facts is not None and place.name not in {*wish.drain, *move.rejected}]
        shares = {place.name: Candidate(place.name, place.facts).share_with(move.guest, wish.rules) for place in fit if place.facts is not None}
        assert shares[move.target] <= min(shares.values()) + wish.rules.margin


@given(places())
def test_a_name_is_there_once_on_each_host(given_places: tuple[tuple[Place, ...], Wish]) -> None:
    hosts, wish = given_places
    for place in carried_out(hosts, plan_evacuation(hosts, wish)):
        names = [one.name for one in place.facts.residents] if place.facts is not None else []
        assert len(set(names)) == len(names)


@given(places())
def test_a_second_plan_moves_nothing(given_places: tuple[tuple[Place, ...], Wish]) -> None:
    hosts, wish = given_places
    assert plan_evacuation(carried_out(hosts, plan_evacuation(hosts, wish)), wish).moves == ()


@given(places(), st.integers())
def test_the_order_of_hosts_and_guests_changes_nothing(given_places: tuple[tuple[Place, ...], Wish], seed: int) -> None:
    hosts, wish = given_places
    shuffled = [replace(place, guests=tuple(Random(seed).sample(place.guests, len(place.guests)))) for place in hosts]
    Random(seed).shuffle(shuffled)
    assert plan_evacuation(shuffled, wish) == plan_evacuation(hosts, wish)
