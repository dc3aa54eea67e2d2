# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The networks of a libvirt host, their leases, and the cards and bridges that it has."""

from __future__ import annotations

import threading
import xml.etree.ElementTree as ET
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.errors import IncompleteAnswer
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.binding import library
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.capabilities import NetworkState
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.faults import Unsupported
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.leases import DhcpLease, lease_of
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.session import Session


class Networks:
    """Of one host."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lock = threading.RLock()
        self._handles: dict[str, tuple[Any, Any]] = {}
        self._known: frozenset[str] = frozenset()
        self._dhcp: dict[str, bool] = {}

    def all(self) -> dict[str, NetworkState]:
        """All networks by name, in two calls."""
        lib = library()
        found = {}
        for active, flag in ((False, lib.VIR_CONNECT_LIST_NETWORKS_INACTIVE), (True, lib.VIR_CONNECT_LIST_NETWORKS_ACTIVE)):
            names = self._names(flag)
            found.update({name: NetworkState(name, active) for name in names})
        return found

    def has(self, name: str) -> bool:
        """Whether there is a network of this name; asked again only for one that was not there before."""
        if name not in self._known:
            self._known = frozenset(self.all())
        return name in self._known

    def interfaces(self) -> frozenset[str]:
        """The names of the host's own cards and bridges.

        :raises Unsupported: the driver does not know of them.
        """
        return self._session.call("virConnectListAllInterfaces", lambda conn: frozenset(one.name() for one in conn.listAllInterfaces(0)), phase="check")

    def leases(self, network: str) -> tuple[DhcpLease, ...]:
        """The DHCP leases of a network, in one call; none for drivers and networks that do not keep any.

        :raises NotFound: there is no such network.
        :raises IncompleteAnswer: libvirt answered something that is no lease.
        """

        def ask(connection: Any) -> list[dict[str, Any]]:
            answer: list[dict[str, Any]] = self._named(connection, network).DHCPLeases(None, 0)
            return answer

        try:
            found = self._session.call("virNetworkGetDHCPLeases", ask, obj=network, phase="addresses")
        except Unsupported:
            return ()
        try:
            return tuple(lease_of(one) for one in found)
        except (KeyError, TypeError, ValueError) as exc:
            raise IncompleteAnswer(f"a DHCP lease cannot be read: {type(exc).__name__} {exc}", obj=network, phase="addresses") from exc

    def serves_dhcp(self, network: str) -> bool:
        """Whether libvirt itself hands out addresses there. Read once."""

        def ask() -> bool:
            text = self._session.call("virNetworkGetXMLDesc", lambda conn: self._named(conn, network).XMLDesc(0), obj=network, phase="addresses")
            return ET.fromstring(text).find("ip/dhcp") is not None  # noqa: S314 (libvirt wrote it)

        with self._lock:
            if network not in self._dhcp:
                self._dhcp[network] = ask()
            return self._dhcp[network]

    def _named(self, connection: Any, name: str) -> Any:
        bound_to, handle = self._handles.get(name, (None, None))
        if bound_to is connection:
            return handle
        self._session.count("virNetworkLookupByName")
        handle = connection.networkLookupByName(name)
        self._handles[name] = (connection, handle)
        return handle

    def _names(self, flag: int) -> list[str]:
        return self._session.call("virConnectListAllNetworks", lambda conn: [network.name() for network in conn.listAllNetworks(flag)], phase="check")
