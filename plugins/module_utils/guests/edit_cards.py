# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Edits of network cards. Pure, and without effect where all is as wanted."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence

from ansible_collections.poolwright.virt.plugins.module_utils.guests import tree
from ansible_collections.poolwright.virt.plugins.module_utils.guests.edit_disks import edit_boot_order
from ansible_collections.poolwright.virt.plugins.module_utils.guests.wish import Card
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.leases import mac_address

_TYPES = ("network", "bridge", "direct")


def mac_of(element: ET.Element) -> str:
    found = element.find("mac")
    return "" if found is None else found.get("address", "").lower()


def source_of(element: ET.Element) -> tuple[str, str]:
    """Type and network, bridge or device. A card on a network may show the network's bridge beside."""
    kind, source = element.get("type", ""), element.find("source")
    key = "dev" if kind == "direct" else kind
    return kind, "" if source is None else source.get(key, "")


def wanted_source(card: Card) -> tuple[str, str]:
    if card.network:
        return "network", card.network
    return ("bridge", card.bridge) if card.bridge else ("direct", card.direct)


def stable_mac(uuid: str, number: int, taken: Sequence[str]) -> str:
    """The address of a guest's card by its place, always the same one; the next that is free where it is taken."""
    addresses = (mac_address("guest", uuid.lower(), str(number), *([str(turn)] if turn else [])) for turn in range(len(taken) + 1))
    return next(address for address in addresses if address not in taken)


def cards(domain: ET.Element, wanted: Sequence[Card], uuid: str) -> None:
    """The guest's cards are these, in order. One that has an address keeps it unless another one is given."""
    found = [element for element in tree.devices(domain, "interface") if element.get("type") in _TYPES]
    pairs = _paired(found, wanted)
    for element in found:
        if not any(element is other for other in pairs.values()):
            tree.devices_element(domain).remove(element)
    given = [card.mac for card in wanted if card.mac]
    for number, card in enumerate(wanted):
        taken = [*given, *(mac_of(one) for one in tree.devices(domain, "interface"))]
        element = pairs[number] if number in pairs else _new_card(domain, card.mac or stable_mac(uuid, number, taken))
        _edit_card(element, card)


def _paired(found: Sequence[ET.Element], wanted: Sequence[Card]) -> dict[int, ET.Element]:
    """By address where one is given; the others in their order, on the same network first."""
    pairs: dict[int, ET.Element] = {}
    for number, card in enumerate(wanted):
        same = [one for one in found if card.mac and mac_of(one) == card.mac]
        if same:
            pairs[number] = same[0]
    for same_network in (True, False):
        for number, card in enumerate(wanted):
            free = [one for one in found if not any(one is other for other in pairs.values())]
            fitting = [one for one in free if source_of(one) == wanted_source(card)] if same_network else free
            if number not in pairs and fitting:
                pairs[number] = fitting[0]
    return pairs


def _new_card(domain: ET.Element, mac: str) -> ET.Element:
    element = ET.Element("interface")
    tree.child(element, "mac", address=mac)
    tree.child(element, "source")
    tree.child(element, "model", type="virtio")
    others = tree.devices(domain, "interface")
    inside = tree.devices_element(domain)
    inside.insert(list(inside).index(others[-1]) + 1 if others else len(inside), element)
    return element


def _edit_card(element: ET.Element, card: Card) -> None:
    _edit_source(element, card)
    if card.mac and mac_of(element) != card.mac:
        tree.ensure(element, "mac").set("address", card.mac)
    if card.model is not None:
        model = element.find("model")
        if model is None or model.get("type") != card.model:
            tree.forget_place(element)
            if card.model != "virtio":
                tree.drop(element, "driver")
            tree.ensure(element, "model").set("type", card.model)
    if card.mtu is not None:
        mtu = element.find("mtu")
        if (0 if mtu is None else int(mtu.get("size", "0"))) != card.mtu:
            tree.drop(element, "mtu")
            if card.mtu:
                tree.child(element, "mtu", size=str(card.mtu))
    if card.link is not None:
        link = element.find("link")
        if (link is None or link.get("state", "up") == "up") != card.link:
            tree.drop(element, "link")
            if not card.link:
                tree.child(element, "link", state="down")
    if card.filter is not None:
        now = element.find("filterref")
        if ("" if now is None else now.get("filter", "")) != card.filter:
            tree.drop(element, "filterref")
            if card.filter:
                tree.child(element, "filterref", filter=card.filter)
    edit_boot_order(element, card.boot_order)


def _edit_source(element: ET.Element, card: Card) -> None:
    kind, name = wanted_source(card)
    source = tree.ensure(element, "source")
    if source_of(element) != (kind, name):
        element.set("type", kind)
        source.clear()
        source.set("dev" if kind == "direct" else kind, name)
        if kind == "direct":
            source.set("mode", card.direct_mode or "bridge")
    elif kind == "direct" and card.direct_mode is not None and source.get("mode", "vepa") != card.direct_mode:
        source.set("mode", card.direct_mode)


def addresses(domain: ET.Element, wanted: Sequence[Card]) -> list[str]:
    """The address that each card has, once the domain is as wanted."""
    found = [element for element in tree.devices(domain, "interface") if element.get("type") in _TYPES]
    pairs = _paired(found, wanted)
    return [mac_of(pairs[number]) if number in pairs else card.mac for number, card in enumerate(wanted)]
