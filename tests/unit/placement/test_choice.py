# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which host is chosen, and what is said of the others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec
from ansible_collections.poolwright.virt.plugins.module_utils.placement.choose import Candidate, Mode, Rules, choose, rejection
from ansible_collections.poolwright.virt.plugins.module_utils.placement.evacuate import Place, Wish, plan_evacuation
from ansible_collections.poolwright.virt.plugins.module_utils.placement.facts import (
    CpuNeed,
    GuestFacts,
    HostFacts,
    Resident,
    Verdict,
    as_dict,
    guest_from,
    host_from,
)
from ansible_collections.poolwright.virt.plugins.module_utils.placement.request import plan_request

RULES = Rules(reserve_mb=1024)
GUEST = GuestFacts(
    name="web-1",
    uuid="u-1",
    state="running",
    memory_mb=2048,
    cpus=2,
    arch="x86_64",
    virt_type="kvm",
    machine="pc-q35-7.2",
    live_cpu=CpuNeed("custom", "<cpu/>"),
    cold_cpu=CpuNeed("host-model"),
    networks=("default",),
    devices=("br0",),
    disks=("/srv/web-1.qcow2",),
)
HOST = HostFacts(
    hostname="kvm-2.example",
    uuid="h-2",
    arch="x86_64",
    libvirt=9000000,
    hypervisor=7002022,
    cpus=8,
    memory_mb=16384,
    available_mb=8192,
    machines={"x86_64/kvm": ("pc-q35-7.2", "q35"), "x86_64/qemu": ("q35",)},
    networks=("default",),
    devices=("br0", "eth0"),
)
SOURCE = replace(HOST, hostname="kvm-1.example", uuid="h-1", residents=(Resident("web-1", "u-1", True, 2048, 2),))
FINE = {"u-1": Verdict()}


def candidate(name: str = "kvm-2", **changes: Any) -> Candidate:
    return Candidate(name, replace(HOST, **changes), verdicts=FINE)


def place(name: str, facts: HostFacts | None, **more: Any) -> Place:
    return Place(name, f"qemu+tls://{name}/system", facts, verdicts=FINE, **more)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"uuid": "h-1"}, "is the host that the guest is on"),
        ({"residents": (Resident("web-1", "u-9", False),)}, "has another guest of its name"),
        ({"machines": {"aarch64/kvm": ("virt",)}}, "runs no guests of architecture x86_64"),
        ({"machines": {"x86_64/qemu": ("q35",)}}, "runs no kvm guests"),
        ({"machines": {"x86_64/kvm": ("q35",)}}, "does not have the machine type pc-q35-7.2"),
        ({"hypervisor": 6002000}, "has QEMU 6.2.0, which is older than the 7.2.22 that it runs in"),
        ({"hypervisor": 8002000}, ""),
        ({"networks": ()}, "does not have the network default, or it is not active"),
        ({"devices": ("eth0",)}, "does not have the bridge or card br0"),
        ({"devices": None}, ""),
        ({"memory_mb": 2048}, "has 2048 MiB of memory in all, 1024 of them kept free, and it takes 2048"),
        ({"available_mb": 3000}, "has 1976 MiB of memory left for guests, and it takes 2048"),
        ({"residents": (Resident("big", "u-2", True, 15000),)}, "has 360 MiB of memory left for guests, and it takes 2048"),
        ({"residents": (Resident("big", "u-2", False, 15000),)}, ""),
        ({"residents": (Resident("wide", "u-2", True, 0, 127),)}, "has 1 virtual CPUs left, and it takes 2"),
    ],
)
def test_each_reason_is_told(changes: dict[str, Any], words: str) -> None:
    assert rejection(candidate(**changes), GUEST, SOURCE, Mode.LIVE, RULES) == words


def test_the_cpu_is_judged_by_the_host_itself() -> None:
    lacking = replace(candidate(), verdicts={"u-1": Verdict("does not have its CPU: avx512f")})
    assert rejection(lacking, GUEST, SOURCE, Mode.LIVE, RULES) == "does not have its CPU: avx512f"
    assert rejection(lacking, GUEST, SOURCE, Mode.COLD, RULES) == ""
    assert rejection(replace(lacking, verdicts={}), GUEST, SOURCE, Mode.LIVE, RULES) == "was not asked about its CPU"
    # One that asks for no CPU of its own finds what it needs anywhere.
    assert rejection(replace(lacking, verdicts={}), replace(GUEST, live_cpu=CpuNeed()), SOURCE, Mode.LIVE, RULES) == ""
    most = replace(GUEST, live_cpu=CpuNeed("maximum"))
    assert rejection(candidate(hypervisor=8002000), most, SOURCE, Mode.LIVE, RULES).endswith("moves between equal ones only (7.2.22)")
    assert rejection(candidate(hypervisor=8002000), most, SOURCE, Mode.COLD, RULES) == ""


def test_the_least_used_is_chosen_with_the_guest_on_it() -> None:
    hosts = [candidate("kvm-2"), candidate("kvm-3", available_mb=12288), candidate("kvm-4", networks=())]
    chosen = choose(GUEST, SOURCE, Mode.LIVE, hosts, RULES)
    assert (chosen.target, chosen.fitting, dict(chosen.rejected)) == ("kvm-3", 2, {"kvm-4": "does not have the network default, or it is not active"})
    assert chosen.share == pytest.approx(1 - (12288 - 2048) / 16384)
    # A larger host is less full with the same guest, and among equals the first by name is taken.
    assert choose(GUEST, SOURCE, Mode.LIVE, [candidate("b"), candidate("a")], RULES).target == "a"


def test_what_is_promised_is_not_given_again() -> None:
    one = replace(SOURCE, residents=tuple(Resident(f"web-{number}", f"u-{number}", True, 2048, 2) for number in (1, 2, 3)))
    guests = tuple(replace(GUEST, name=f"web-{number}", uuid=f"u-{number}", live_cpu=CpuNeed()) for number in (1, 2, 3))
    planned = plan_evacuation(
        [place("kvm-1", one, guests=guests), place("kvm-2", replace(HOST, available_mb=5200)), place("kvm-3", replace(HOST, uuid="h-3", available_mb=3000))],
        Wish(("kvm-1",), rules=RULES),
    )
    assert [(move.guest.name, move.target) for move in planned.moves] == [("web-1", "kvm-2"), ("web-2", "kvm-2")]
    assert [one.guest.name for one in planned.left] == ["web-3"]
    assert planned.left[0].reason == "no host can take it as it runs; cold moves are not allowed"
    assert all("left for guests" in reason for reason in planned.left[0].rejected.values())


def test_a_guest_that_cannot_move_live_moves_cold_where_that_is_allowed() -> None:
    lacking = replace(place("kvm-2", HOST), verdicts={"u-1": Verdict("does not have its CPU: avx512f")})
    hosts = [place("kvm-1", SOURCE, guests=(GUEST,)), lacking]
    left = plan_evacuation(hosts, Wish(("kvm-1",))).left[0]
    assert left.reason == "no host can take it as it runs; cold moves are not allowed"
    assert left.rejected == {"kvm-2": "does not have its CPU: avx512f"}
    move = plan_evacuation(hosts, Wish(("kvm-1",), cold=True)).moves[0]
    assert (move.target, move.mode) == ("kvm-2", Mode.COLD)
    assert "it is shut down for it, since no host can take it as it runs" in move.reason
    fleeting = replace(GUEST, persistent=False)
    left = plan_evacuation([replace(hosts[0], guests=(fleeting,)), lacking], Wish(("kvm-1",), cold=True)).left[0]
    assert "it has no definition, so it would be gone once it is off" in left.reason


def test_a_guest_that_is_tied_to_its_host_stays_and_says_to_what() -> None:
    tied = replace(GUEST, tied=("it has the pci device 0000:01:00.0 of this host",))
    left = plan_evacuation([place("kvm-1", SOURCE, guests=(tied,)), place("kvm-2", HOST)], Wish(("kvm-1",), cold=True)).left
    assert left[0].reason == "it has the pci device 0000:01:00.0 of this host"


def test_an_interrupted_move_goes_on_where_it_was_begun() -> None:
    begun = place("kvm-3", replace(HOST, uuid="h-3", available_mb=0, residents=(Resident("web-1", "u-1", True, 2048, 2),)))
    hosts = [place("kvm-1", SOURCE, guests=(replace(GUEST, state="shutoff"),)), place("kvm-2", HOST), begun]
    move = plan_evacuation(hosts, Wish(("kvm-1",))).moves[0]
    assert (move.target, move.mode, move.reason) == ("kvm-3", Mode.COLD, "kvm-3 has it already: an earlier move there was interrupted")


def test_hosts_that_cannot_be_read_or_reached_are_told_of() -> None:
    hosts = [
        place("kvm-1", SOURCE, guests=(GUEST,)),
        place("kvm-2", None, error="timed out"),
        replace(place("kvm-3", HOST), uri=""),
        place("kvm-4", replace(HOST, uuid="h-4"), drained=True),
    ]
    rejected = plan_evacuation(hosts, Wish(("kvm-1",))).left[0].rejected
    assert rejected["kvm-2"] == "could not be read: timed out"
    assert rejected["kvm-3"].startswith("has no address for the others")
    assert rejected["kvm-4"] == "is drained"


def test_the_fill_of_each_host_is_foretold() -> None:
    planned = plan_evacuation([place("kvm-1", SOURCE, guests=(GUEST,)), place("kvm-2", HOST)], Wish(("kvm-1",), rules=RULES))
    fills = {fill.name: (round(fill.before, 3), round(fill.after, 3), fill.free_mb) for fill in planned.fills}
    assert fills["kvm-2"] == (0.5, 0.625, 8192 - 2048 - 1024)
    assert fills["kvm-1"] == (0.5, 0.375, 8192 + 2048 - 1024)


# -- as a module is asked


def request(**changes: Any) -> dict[str, Any]:
    facts = {"host": as_dict(SOURCE), "guests": [as_dict(GUEST)], "verdicts": {}}
    other = {"host": as_dict(HOST), "guests": [], "verdicts": {"u-1": {"live": "", "cold": ""}}}
    hosts = [{"name": "kvm-1", "uri": "", "facts": facts}, {"name": "kvm-2", "uri": "qemu+tls://kvm-2/system", "facts": other}]
    rules = {"reserve_mb": 1024, "disk_reserve_mb": 1024, "memory_overcommit": 1.0, "cpu_overcommit": 16.0, "margin_percent": 5.0}
    return {"hosts": hosts, "drain": ["kvm-1"], "guests": [], **rules, **changes}


def test_facts_come_back_as_they_were() -> None:
    assert host_from(as_dict(SOURCE), "host") == SOURCE
    assert guest_from(as_dict(GUEST), "guest") == GUEST
    assert host_from({**as_dict(replace(HOST, devices=None)), "later": "told by a newer version"}, "host") == replace(HOST, devices=None)


def test_a_request_is_planned() -> None:
    result = plan_request(request())
    assert [(move["name"], move["source"], move["target_uri"], move["mode"]) for move in result["moves"]] == [
        ("web-1", "kvm-1", "qemu+tls://kvm-2/system", "live")
    ]
    assert result["changed"] is False
    assert result["left"] == []
    assert [host["name"] for host in result["hosts"]] == ["kvm-1", "kvm-2"]


def test_only_the_guests_that_were_named_move() -> None:
    result = plan_request(request(guests=["other"], hosts=[*request()["hosts"], gone_elsewhere()]))
    assert [(one["name"], one["wanted"], one["reason"]) for one in result["left"]] == [("web-1", False, "it is not among the guests to move")]


def gone_elsewhere() -> dict[str, Any]:
    return {"name": "kvm-3", "uri": "", "facts": {"host": as_dict(replace(HOST, uuid="h-3", residents=(Resident("other", "u-7", True),)))}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"drain": ["kvm-9"]}, "drain: kvm-9 is not among the hosts: kvm-1, kvm-2"),
        ({"reserve_mb": -1}, "reserve_mb: -1 is below 0"),
        ({"disk_reserve_mb": -1}, "disk_reserve_mb: -1 is below 0"),
        ({"cpu_overcommit": 0}, "cpu_overcommit: 0 is not above 0"),
        ({"margin_percent": -0.1}, "margin_percent: -0.1 is not between 0 and 100"),
        ({"margin_percent": 100.5}, "margin_percent: 100.5 is not between 0 and 100"),
        ({"guests": ["nobody"]}, "guests: no host has a guest nobody"),
        ({"hosts": [{"name": "kvm-1", "facts": {"msg": "no route to host"}}]}, "drain: kvm-1 could not be read: no route to host"),
        ({"hosts": [{"name": "kvm-1", "facts": {"host": {"hostname": "a"}}}]}, r"hosts\[0\].facts.host.uuid: is missing"),
        ({"hosts": [{"name": "kvm-1", "facts": {"host": {**as_dict(HOST), "cpus": "8"}}}]}, r"facts.host.cpus: '8' is of another type than int"),
        ({"hosts": [{"name": "kvm-1", "facts": {"host": {**as_dict(HOST), "networks": "default"}}}]}, "facts.host.networks: 'default' is no list"),
        ({"hosts": [*request()["hosts"], request()["hosts"][0]]}, "hosts: kvm-1 is there more than once"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidSpec, match=words):
        plan_request(request(**changes))


def test_disks_that_are_copied_have_room_where_they_go() -> None:
    full = replace(HOST, room={"/srv": 4096})
    fine, needing = FINE["u-1"], {"u-1": Verdict(needs={"/srv": 3072}), "u-2": Verdict(needs={"/srv": 1, "/unknown": 1 << 20})}
    assert not fine.needs
    host = Candidate("kvm-2", full, verdicts=needing)
    assert rejection(host, GUEST, SOURCE, Mode.LIVE, RULES) == ""
    assert rejection(host, GUEST, SOURCE, Mode.COLD, RULES) == ""
    tight = rejection(host, GUEST, SOURCE, Mode.LIVE, replace(RULES, disk_reserve_mb=1025))
    assert tight == "has 3071 MiB left on /srv for disks that are copied, and those of this guest take 3072"
    # What it is to get counts at once, and a file system that nobody looked at does not.
    second = replace(GUEST, name="web-2", uuid="u-2")
    assert rejection(host, second, SOURCE, Mode.LIVE, RULES) == ""
    assert "has 0 MiB left on /srv" in rejection(host.promising(GUEST, Mode.LIVE), second, SOURCE, Mode.LIVE, RULES)
    assert as_dict(host_from(as_dict(full), "host")) == as_dict(full)
    with pytest.raises(InvalidSpec, match="does not name numbers"):
        host_from({**as_dict(full), "room": {"/srv": "much"}}, "host")
