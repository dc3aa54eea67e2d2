# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""A guest that is not there yet, before anything that was asked for is put into it."""

from __future__ import annotations

import uuid as uuids
import xml.etree.ElementTree as ET
from collections.abc import Callable

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec
from ansible_collections.poolwright.virt.plugins.module_utils.guests import edit_cards, tree
from ansible_collections.poolwright.virt.plugins.module_utils.guests.wish import Wish
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.domain_xml import DomainConfig, Platform, build_domain

_DEFAULT_MB = 1024
# A q35 machine has no slot to plug anything into but these.
_ROOT_PORTS = 12
_UUIDS = uuids.UUID("7b0f9a53-5a0c-5d0e-9a53-0f5c7d1e6b42")


def uuid_for(name: str, host_uuid: str, is_taken: Callable[[str], bool]) -> str:
    """A UUID by the guest's place, so that a guest made anew finds the NVRAM and TPM state that were kept for it."""
    for turn in range(100):
        found = str(uuids.uuid5(_UUIDS, "\0".join([host_uuid, name, *([str(turn)] if turn else [])])))
        if not is_taken(found):
            return found
    return str(uuids.uuid4())


def new_domain(wish: Wish, uuid: str, platform: Platform, canonical_machine: str) -> ET.Element:
    """A plain machine with the console, random numbers and agent's channel that all of ours have."""
    domain = build_domain(
        DomainConfig(
            name=wish.name,
            uuid=uuid,
            platform=platform,
            memory_kib=(wish.memory_mb or wish.max_memory_mb or _DEFAULT_MB) * 1024,
            vcpus=wish.cpus or 1,
            agent=wish.agent is not False,
        )
    )
    machine = machine_of(wish)
    if machine:
        tree.ensure(domain, "os/type").set("machine", machine)
    if "q35" in (machine or canonical_machine or platform.machine):
        inside = tree.devices_element(domain)
        tree.child(inside, "controller", type="pci", index="0", model="pcie-root")
        for _number in range(_ROOT_PORTS):
            tree.child(inside, "controller", type="pci", model="pcie-root-port")
    return domain


def machine_of(wish: Wish) -> str:
    """The machine type that is asked for, also where only something that needs it is."""
    return wish.machine or ("q35" if wish.secure_boot else "")


def from_xml(wish: Wish, uuid: str, before: ET.Element | None) -> ET.Element:
    """The domain from the user's own XML, with the UUID and the cards' addresses that libvirt would otherwise make up.

    :param before: the definition that is there: what it has is kept.
    :raises InvalidSpec: it is no domain, or another one.
    """
    domain = tree.parse(wish.xml or "")
    problems = []
    if domain.tag != "domain":
        problems.append(f"xml: it is a <{domain.tag}>, not a <domain>")
    name, said = domain.findtext("name"), (domain.findtext("uuid") or "").strip()
    if name is not None and name.strip() != wish.name:
        problems.append(f"xml: it names the guest {name.strip()!r}, the option name {wish.name!r}; give the same")
    if said and said.lower() != uuid:
        problems.append(f"xml: it has the UUID {said}, the guest {uuid}; leave it out, or remove the guest first")
    if problems:
        raise InvalidSpec(problems)
    if name is None:
        domain.insert(0, ET.Element("name"))
    tree.ensure(domain, "name").text = wish.name
    tree.ensure(domain, "uuid").text = uuid
    known = [] if before is None else [edit_cards.mac_of(element) for element in tree.devices(before, "interface")]
    cards = tree.devices(domain, "interface")
    for number, element in enumerate(cards):
        if not edit_cards.mac_of(element):
            taken = [mac for one in cards if (mac := edit_cards.mac_of(one))]
            mac = known[number] if number < len(known) and known[number] not in taken else edit_cards.stable_mac(uuid, number, taken)
            tree.ensure(element, "mac").set("address", mac)
    return domain
