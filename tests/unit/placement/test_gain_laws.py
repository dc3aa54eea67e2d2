# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A machine moves for a clear gain only, over generated hosts whose free memory differs a little at each reading."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.poolwright.virt.plugins.module_utils.placement.balance import Load, better, is_clear_gain, least_used
from ansible_collections.poolwright.virt.plugins.module_utils.placement.choose import Candidate, Mode, Rules, choose, choose_better
from ansible_collections.poolwright.virt.plugins.module_utils.placement.evacuate import Place, Wish, plan_evacuation
from ansible_collections.poolwright.virt.plugins.module_utils.placement.facts import GuestFacts, HostFacts, Resident

MARGINS = st.sampled_from((0.01, 0.05, 0.1))


@dataclass(frozen=True)
class Site:
    """Hosts by their names, and which of them each guest is on; MiB are in use as guests and others of a host take them."""

    memory_mb: Mapping[str, int]
    others_mb: Mapping[str, int]
    guests: tuple[GuestFacts, ...]
    on: Mapping[str, str]
    margin: float

    @property
    def rules(self) -> Rules:
        return Rules(reserve_mb=0, margin=self.margin)

    def read(self, name: str, noise: float = 0.0) -> HostFacts:
        """:param noise: from -1 to 1; a reading is wrong by less than half the margin."""
        here = [guest for guest in self.guests if self.on[guest.name] == name]
        memory = self.memory_mb[name]
        free = memory - self.others_mb[name] - sum(guest.memory_mb for guest in here)
        residents = tuple(Resident(guest.name, guest.uuid, True, guest.memory_mb, guest.cpus) for guest in here)
        machines = {"x86_64/kvm": ("pc",)}
        wrong = int(noise * 0.49 * self.margin * memory)
        return HostFacts(name, name, "x86_64", cpus=8, memory_mb=memory, available_mb=free + wrong, machines=machines, residents=residents)

    def advised(self, guest: GuestFacts, noises: Mapping[str, float] | None = None) -> str:
        """Where it should go, "" where it stays."""
        facts = {name: self.read(name, (noises or {}).get(name, 0.0)) for name in self.memory_mb}
        own = facts[self.on[guest.name]]
        hosts = [Candidate(name, host) for name, host in facts.items() if host is not own]
        return choose_better(guest, own, Mode.LIVE, hosts, self.rules).target

    def moved(self, guest: GuestFacts, target: str) -> Site:
        return replace(self, on={**self.on, guest.name: target})


def guest(number: int, memory_mb: int, cpus: int = 1) -> GuestFacts:
    return GuestFacts(f"g{number}", f"u-{number}", "running", memory_mb=memory_mb, cpus=cpus, arch="x86_64", virt_type="kvm", machine="pc")


@st.composite
def sites(draw: st.DrawFn) -> Site:
    names = tuple(f"kvm-{number}" for number in range(1, draw(st.integers(2, 3)) + 1))
    memory = {name: draw(st.sampled_from((16384, 65536))) for name in names}
    others = {name: draw(st.integers(0, 4096)) for name in names}
    found = tuple(guest(number, draw(st.integers(0, 2500)), draw(st.integers(1, 16))) for number in range(1, draw(st.integers(1, 4)) + 1))
    return Site(memory, others, found, {one.name: draw(st.sampled_from(names)) for one in found}, draw(MARGINS))


def noises(site: Site) -> st.SearchStrategy[dict[str, float]]:
    return st.fixed_dictionaries({name: st.floats(-1, 1) for name in site.memory_mb})


@given(st.data(), sites())
def test_what_has_moved_is_not_moved_back(data: st.DataObject, site: Site) -> None:
    mover = data.draw(st.sampled_from(site.guests))
    source, target = site.on[mover.name], site.advised(mover, data.draw(noises(site)))
    if target:
        assert site.moved(mover, target).advised(mover, data.draw(noises(site))) != source


@given(st.data(), sites())
def test_hosts_come_to_rest(data: st.DataObject, site: Site) -> None:
    """Each guest is asked about in turn, by readings that are never the same, and guests are never as they were before."""
    seen = [site.on]
    while True:
        for mover in site.guests:
            target = site.advised(mover, data.draw(noises(site)))
            if target:
                site = site.moved(mover, target)
                assert site.on not in seen
                seen.append(site.on)
                break
        else:
            return


@given(st.data(), sites())
def test_noise_moves_nothing(data: st.DataObject, site: Site) -> None:
    """What would gain nothing by true readings stays by wrong ones."""
    mover = data.draw(st.sampled_from(site.guests))
    if not replace(site, margin=1e-9).advised(mover):
        assert site.advised(mover, data.draw(noises(site))) == ""


@given(st.data(), MARGINS, st.integers(0, 8192), st.integers(1, 6))
def test_noise_does_not_change_the_plan_for_equal_hosts(data: st.DataObject, margin: float, others_mb: int, count: int) -> None:
    names = ("kvm-1", "kvm-2", "kvm-3")
    found = tuple(guest(number, 512) for number in range(1, count + 1))
    site = Site(dict.fromkeys(names, 65536), dict.fromkeys(names, others_mb), found, {one.name: "kvm-1" for one in found}, margin)

    def planned(wrong: Mapping[str, float]) -> list[tuple[str, str]]:
        places = [Place(name, f"qemu+tls://{name}/system", site.read(name, wrong.get(name, 0.0)), guests=found if name == "kvm-1" else ()) for name in names]
        return [(move.guest.name, move.target) for move in plan_evacuation(places, Wish(("kvm-1",), rules=site.rules)).moves]

    exact = planned({})
    assert planned(data.draw(noises(site))) == exact
    # They share what comes: neither gets a guest more than it must.
    assert [target for _name, target in exact] == [("kvm-2", "kvm-3")[number % 2] for number in range(count)]


def test_a_clear_gain_is_taken() -> None:
    site = Site({"kvm-1": 16384, "kvm-2": 16384}, {"kvm-1": 4096, "kvm-2": 4096}, (guest(1, 2048), guest(2, 2048)), {"g1": "kvm-1", "g2": "kvm-1"}, 0.05)
    assert site.advised(site.guests[0]) == "kvm-2"
    assert site.moved(site.guests[0], "kvm-2").advised(site.guests[1]) == ""
    # The margin keeps nothing on a host that is to be emptied.
    even = site.moved(site.guests[0], "kvm-2")
    assert choose(even.guests[1], even.read("kvm-1"), Mode.LIVE, [Candidate("kvm-2", even.read("kvm-2"))], Rules(reserve_mb=0, margin=1.0)).target == "kvm-2"


@pytest.mark.parametrize(
    ("there", "margin", "gains"),
    [(0.40, 0.05, True), (0.46, 0.05, False), (0.46, 0.0, True), (0.50, 0.0, False), (0.0, 0.5, False), (0.60, 0.05, False)],
)
def test_a_gain_is_clear_from_the_margin_on(there: float, margin: float, gains: bool) -> None:
    assert is_clear_gain(there, 0.50, margin) is gains


def test_among_equals_goes_what_a_host_is_given_and_then_its_name() -> None:
    near = [Load("c", 0.40, 0.1), Load("b", 0.44, 0.1), Load("d", 0.43, 0.2), Load("a", 0.47, 0.0)]
    assert least_used(near, 0.05).name == "b"
    assert least_used(near, 0.0).name == "c"
    assert least_used(near, 0.1).name == "a"
    # What would gain nothing is not taken for being near to what would.
    picked = better(near, 0.46, 0.05)
    assert picked is not None and picked.name == "c"
    assert better(near, 0.45, 0.05) is None
