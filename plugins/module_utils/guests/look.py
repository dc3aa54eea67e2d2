# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""A guest as it is, and what a module says of it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.errors import NotFound
from ansible_collections.poolwright.virt.plugins.module_utils.guests import edit_cards, edit_disks, power, record, tree
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.address_tables import AddressTables
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.guest import Guest
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.leases import DhcpLease, is_reachable

ABSENT = "absent"


@dataclass(frozen=True)
class Seen:
    """One look. ``current`` is the domain as it runs, None where it does not; both trees may hold passwords."""

    guest: Guest | None = None
    state: str = ABSENT
    definition: ET.Element | None = field(default=None, repr=False)
    current: ET.Element | None = field(default=None, repr=False)
    persistent: bool = False
    autostart: bool = False

    @property
    def active(self) -> bool:
        return self.current is not None


def look(host: Host, name: str) -> Seen:
    """Six calls at most, whatever the guest has."""
    guest = host.guest(name)
    if guest is None:
        return Seen()
    try:
        state = power.name_of(guest.state())
        definition = tree.parse(guest.definition())
        current = tree.parse(guest.current()) if state not in ("shutoff", "crashed") else None
        persistent = state == "shutoff" or guest.is_persistent()
        return Seen(guest, state, definition, current, persistent, persistent and guest.autostarts())
    except NotFound:
        # A domain without a definition that stopped meanwhile.
        return Seen()


# -- what it has


def disks_view(domain: ET.Element) -> list[dict[str, Any]]:
    """Disks and drives; ``made`` where this collection made it for the guest."""
    made = {one.record.path: one for one in record.disks_of(domain)}
    found = []
    for element in edit_disks.disk_elements(domain, "disk", "lun", "cdrom", "floppy"):
        kind, source = edit_disks.source_of(element)
        driver, own = element.find("driver"), made.get(source)
        found.append(
            {
                "target": edit_disks.target_of(element),
                "device": element.get("device", "disk"),
                "bus": edit_disks.bus_of(element),
                "type": kind,
                "source": source,
                "format": "" if driver is None else driver.get("type", ""),
                "readonly": element.find("readonly") is not None,
                "serial": element.findtext("serial", "") or "",
                "made": own is not None,
                "backend": "" if own is None else own.record.backend,
                "size": None if own is None else own.record.size or None,
            }
        )
    return found


def networks_view(domain: ET.Element, addresses: Mapping[str, Iterable[str]]) -> list[dict[str, Any]]:
    """:param addresses: by MAC."""
    found = []
    for element in tree.devices(domain, "interface"):
        kind, source = edit_cards.source_of(element)
        model, link, mac = element.find("model"), element.find("link"), edit_cards.mac_of(element)
        found.append(
            {
                "mac": mac,
                "type": kind,
                "source": source,
                "model": "" if model is None else model.get("type", ""),
                "link": "up" if link is None else link.get("state", "up"),
                "addresses": list(addresses.get(mac, ())),
            }
        )
    return found


class AddressBook:
    """Addresses by lease and from this host's neighbour table; leases are read once for each network, the table once."""

    def __init__(self, host: Host) -> None:
        self._tables = AddressTables(host)

    def of(self, domain: ET.Element) -> dict[str, list[str]]:
        """MAC -> addresses that others can reach, of the cards of a domain that runs."""
        found: dict[str, list[str]] = {}
        for element in tree.devices(domain, "interface"):
            mac, (kind, source) = edit_cards.mac_of(element), edit_cards.source_of(element)
            leased = [lease for lease in (self._tables.leases(source) if kind == "network" else ()) if lease.mac == mac and is_reachable(lease.ip)]
            newest = [lease.ip for lease in sorted(leases_by_end(leased), key=lambda lease: ":" in lease.ip)]
            seen = self._tables.neighbours().get(mac)
            found[mac] = list(dict.fromkeys([*newest, *([seen] if seen else [])]))
        return found


def leases_by_end(leases: Iterable[DhcpLease]) -> list[DhcpLease]:
    """Those that end last come first; one without an end before all."""
    return sorted(leases, key=lambda lease: (lease.expires != 0, -lease.expires))


def told(domain: ET.Element | None, state: str, *, autostart: bool) -> str:
    """A guest as diff mode shows it."""
    if domain is None:
        return ""
    return f"state: {state}\nautostart: {'yes' if autostart else 'no'}\n{tree.shown(domain, [record.NAMESPACE])}{_told_values(domain)}"


def _told_values(domain: ET.Element) -> str:
    return "".join(f"metadata: {key}={value}\n" for key, value in sorted(record.values_of(domain).items()))
