# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What a host knows of its guests' addresses: DHCP leases, read once per network, and this machine's neighbour table, read once."""

from __future__ import annotations

from ansible_collections.poolwright.virt.plugins.module_utils.errors import NotFound
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.leases import DhcpLease, parse_neighbours

_NEIGHBOURS = "/proc/net/arp"


class AddressTables:
    """One look; made anew for each."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._leases: dict[str, tuple[DhcpLease, ...]] = {}
        self._neighbours: dict[str, str] | None = None

    def leases(self, network: str) -> tuple[DhcpLease, ...]:
        """The leases of a libvirt network; none where it was removed behind our back."""
        if network not in self._leases:
            try:
                self._leases[network] = self._host.networks.leases(network)
            except NotFound:
                self._leases[network] = ()
        return self._leases[network]

    def neighbours(self) -> dict[str, str]:
        """MAC -> IPv4 address, where this machine has such a table."""
        if self._neighbours is None:
            try:
                with open(_NEIGHBOURS, encoding="ascii") as stream:
                    self._neighbours = parse_neighbours(stream.read())
            except OSError:
                self._neighbours = {}
        return self._neighbours
