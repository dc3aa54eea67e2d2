# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""MACs that belong to a slot, and which DHCP lease is a machine's own."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.leases import (
    DhcpLease,
    is_reachable,
    lease_of,
    leased_address,
    mac_address,
    newest_expiry,
    parse_neighbours,
)

MAC = "52:54:aa:bb:cc:dd"


@given(st.text(), st.text(), st.integers(1, 999), st.integers(0, 9))
def test_a_mac_is_local_unicast_and_always_the_same(host: str, pool: str, slot: int, number: int) -> None:
    mac = mac_address(host, pool, str(slot), str(number))
    assert re.fullmatch("52:54(:[0-9a-f]{2}){4}", mac)
    assert int(mac[:2], 16) & 0b11 == 0b10
    assert mac == mac_address(host, pool, str(slot), str(number))


def test_places_do_not_share_macs() -> None:
    places = [(host, pool, str(slot), str(card)) for host in "ab" for pool in ("ci", "web") for slot in range(1, 200) for card in range(2)]
    assert len({mac_address(*place) for place in places}) == len(places)
    assert mac_address("a", "b1", "2") != mac_address("a", "b", "12")


def test_the_predecessors_lease_is_not_an_address() -> None:
    before = [DhcpLease(MAC, "10.0.0.5", 1000)]
    seen = newest_expiry(before, MAC)
    assert leased_address(before, MAC, seen) == ""
    assert leased_address([DhcpLease(MAC, "10.0.0.5", 1001)], MAC, seen) == "10.0.0.5"


def test_of_several_leases_the_newest_is_the_address() -> None:
    leases = [DhcpLease(MAC, "10.0.0.5", 1000), DhcpLease(MAC, "10.0.0.7", 1200), DhcpLease(MAC, "10.0.0.6", 1100), DhcpLease("other", "10.0.0.8", 9999)]
    assert leased_address(leases, MAC, 0) == "10.0.0.7"
    assert newest_expiry(leases, MAC) == 1200


def test_a_lease_without_an_end_counts() -> None:
    assert leased_address([DhcpLease(MAC, "10.0.0.5", 0)], MAC, 1000) == "10.0.0.5"


def test_no_lease_no_address() -> None:
    assert leased_address([], MAC, 0) == ""
    assert newest_expiry([], MAC) == 0
    assert leased_address([DhcpLease(MAC, "fe80::1", 5), DhcpLease(MAC, "169.254.1.1", 5)], MAC, 0) == ""


@pytest.mark.parametrize(
    ("address", "reachable"),
    [("192.168.1.5", True), ("fd00::5", True), ("fe80::1", False), ("127.0.0.1", False), ("169.254.0.1", False), ("0.0.0.0", False), ("x", False)],
)
def test_only_addresses_that_others_can_reach_count(address: str, reachable: bool) -> None:
    assert is_reachable(address) is reachable


def test_libvirts_answer_is_read() -> None:
    found = {"iface": "virbr0", "expirytime": 5, "type": 0, "mac": MAC.upper(), "ipaddr": "10.0.0.5", "prefix": 24, "hostname": None, "clientid": None}
    assert lease_of(found) == DhcpLease(MAC, "10.0.0.5", 5)
    with pytest.raises((KeyError, TypeError, ValueError)):
        lease_of({"mac": MAC})


def test_the_neighbour_table_gives_complete_entries_only() -> None:
    table = (
        "IP address       HW type     Flags       HW address            Mask     Device\n"
        f"10.0.0.5         0x1         0x2         {MAC.upper()}     *        br0\n"
        "10.0.0.6         0x1         0x0         00:00:00:00:00:00     *        br0\n"
    )
    assert parse_neighbours(table) == {MAC: "10.0.0.5"}
