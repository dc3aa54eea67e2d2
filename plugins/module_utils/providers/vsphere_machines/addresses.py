# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Which of a guest's addresses can be reached from elsewhere. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

PATHS = ("guest.ipAddress", "guest.net")


def routable(address: str) -> bool:
    """Whether it is an address at which others reach a machine: not one that it gave itself for lack of another, nor its own loopback."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return not (ip.is_link_local or ip.is_loopback or ip.is_unspecified or ip.is_multicast)


def best(addresses: Iterable[str]) -> str:
    """The first of version 4 that is routable, else the first of version 6, "" for none."""
    usable = [address for address in addresses if address and routable(address)]
    return next((address for address in usable if ":" not in address), usable[0] if usable else "")


def address_in(values: Mapping[str, Any]) -> str:
    """A machine's address by its properties ``PATHS``, "" for none."""
    told = [str(values.get("guest.ipAddress") or "")]
    for card in values.get("guest.net") or ():
        told += [str(address) for address in card.ipAddress or ()]
    return best(told)
