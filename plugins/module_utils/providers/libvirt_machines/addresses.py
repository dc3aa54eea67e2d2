# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The addresses of machines, looked up in bulk: DHCP leases once per network, the neighbour table once."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ansible_collections.poolwright.virt.plugins.module_utils.errors import NotFound
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.address_tables import AddressTables
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.leases import is_reachable, leased_address, newest_expiry
from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt_machines.record import Card, MachineRecord


class Addresses:
    """One look at a host's addresses; made anew for each.

    A card on a network where libvirt hands out addresses has the one it leased. Any other card (bridge, static address) has
    the one that the host's own neighbour table shows for its MAC.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._tables = AddressTables(host)

    def of(self, record: MachineRecord, *, static: bool = False) -> str:
        """The address of the first card that has one, "" for none.   :param static: the machine was told its addresses."""
        return next((address for address in (self._of_card(card, static) for card in record.cards) if address), "")

    def newest_lease(self, network: str, mac: str) -> int:
        """When the newest lease of a MAC ends; 0 for none."""
        return newest_expiry(self._tables.leases(network), mac)

    def awaits_lease(self, record: MachineRecord, *, static: bool = False) -> bool:
        """Whether all the machine's cards get their addresses by lease, so that nobody else need be asked."""
        return bool(record.cards) and not static and all(card.network and self._serves_dhcp(card.network) for card in record.cards)

    def _of_card(self, card: Card, static: bool) -> str:
        leased = leased_address(self._tables.leases(card.network), card.mac, card.seen) if card.network else ""
        # The neighbour table may still show the predecessor, so it is only asked where no lease can tell.
        if leased or (card.network and not static and self._serves_dhcp(card.network)):
            return leased
        return self._tables.neighbours().get(card.mac, "")

    def _serves_dhcp(self, network: str) -> bool:
        try:
            return self._host.networks.serves_dhcp(network)
        except NotFound:
            return False


def from_agent(ask: Callable[[], Iterable[str]]) -> str:
    """The first reachable address that a guest's agent reports, IPv4 first; "" for none."""
    usable = sorted((address for address in ask() if is_reachable(address)), key=lambda address: ":" in address)
    return usable[0] if usable else ""
