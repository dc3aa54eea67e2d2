# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Network cards' addresses: MACs that belong to a place, and the DHCP leases seen for them. Pure.

A machine that is rebuilt in the same place has its predecessor's MAC, so its DHCP server knows it again. For the same
reason the predecessor's lease is still there when the new machine has not even booted: a lease counts only when it ends
later than the newest one seen before the machine was made.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# libvirt's and QEMU's own prefix: locally administered.
_PREFIX = "52:54"


@dataclass(frozen=True)
class DhcpLease:
    """``expires`` is in seconds since the epoch, 0 for a lease without an end."""

    mac: str
    ip: str
    expires: int
    hostname: str = ""


def mac_address(*place: str) -> str:
    """The MAC that belongs to a place such as host UUID, group, name and number of the card; always the same one."""
    digest = hashlib.sha256("\0".join(place).encode()).hexdigest()
    return ":".join([_PREFIX, *(digest[at : at + 2] for at in range(0, 8, 2))])


def lease_of(found: Mapping[str, Any]) -> DhcpLease:
    """One entry of libvirt's answer. :raises KeyError, TypeError, ValueError: it is no lease."""
    return DhcpLease(str(found["mac"]).lower(), str(found["ipaddr"]), int(found["expirytime"]), str(found.get("hostname") or ""))


def newest_expiry(leases: Iterable[DhcpLease], mac: str) -> int:
    """When the newest lease of a card ends; 0 where it has none that ends."""
    return max((lease.expires for lease in leases if lease.mac == mac), default=0)


def leased_address(leases: Iterable[DhcpLease], mac: str, seen: int) -> str:
    """The address that a card has now, "" for none.

    :param seen: ``newest_expiry`` from before the machine was made. Several leases (clients change their identifier from
        one boot loader to the next): the one that ends last. A lease without an end cannot be told from an old one, so it counts.
    """
    usable = [lease for lease in leases if lease.mac == mac and is_reachable(lease.ip) and (lease.expires > seen or lease.expires == 0)]
    # IPv4 before IPv6 among those that end alike.
    best = max(usable, key=lambda lease: (lease.expires == 0, lease.expires, ":" not in lease.ip), default=None)
    return best.ip if best else ""


def is_reachable(address: str) -> bool:
    """Whether others can reach it: no loopback, link-local, multicast or unspecified address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not (parsed.is_loopback or parsed.is_link_local or parsed.is_multicast or parsed.is_unspecified)


def parse_neighbours(table: str) -> dict[str, str]:
    """MAC -> IPv4 address of ``/proc/net/arp``, complete entries only.

    Columns: address, hardware type, flags (0x2: complete), MAC, mask, device.
    """
    found = {}
    for line in table.splitlines()[1:]:
        columns = line.split()
        if len(columns) >= 6 and int(columns[2], 16) & 0x2 and is_reachable(columns[0]):
            found[columns[3].lower()] = columns[0]
    return found
