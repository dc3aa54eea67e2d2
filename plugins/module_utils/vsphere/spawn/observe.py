# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Looking at one machine: whether it is there, what it is, and how it is shown."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from ansible_collections.poolwright.virt.plugins.module_utils.errors import NameTaken
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere import devices
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.binding import kind_of, moid_of
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.faults import ObjectGone
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.hardware import card_model, cards_of
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Entry, Inventory
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.mark import SpawnMark, extra_config_of, read_mark
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.vim import VIM

PATHS = (
    "name",
    "config.annotation",
    "config.bootOptions",
    "config.cpuAllocation",
    "config.cpuHotAddEnabled",
    "config.extraConfig",
    "config.files.vmPathName",
    "config.firmware",
    "config.guestId",
    "config.hardware",
    "config.instanceUuid",
    "config.memoryAllocation",
    "config.memoryHotAddEnabled",
    "config.template",
    "config.uuid",
    "guest.ipAddress",
    "guest.net",
    "resourcePool",
    "runtime.host",
    "runtime.powerState",
)
ADDRESS_PATHS = ("guest.ipAddress", "guest.net")


@dataclass(frozen=True)
class Seen:
    """A machine as it is. ``mark`` None: it is not ours."""

    obj: Any
    name: str
    mark: SpawnMark | None
    properties: Mapping[str, Any]

    @property
    def moid(self) -> str:
        return moid_of(self.obj)

    @property
    def is_on(self) -> bool:
        """Suspended counts as on: it holds its place and wants no other hardware."""
        return self.properties.get("runtime.powerState") != "poweredOff"

    @property
    def runs(self) -> bool:
        return bool(self.properties.get("runtime.powerState") == "poweredOn")

    @property
    def place(self) -> tuple[str, ...]:
        """The ids of the host and resource pool that it is in."""
        return tuple(moid_of(found) for found in map(self.properties.get, ("runtime.host", "resourcePool")) if found is not None)

    @property
    def devices(self) -> list[Any]:
        return list(self.properties["config.hardware"].device)

    @property
    def home(self) -> str:
        """The path of its configuration file."""
        return str(self.properties["config.files.vmPathName"])

    @property
    def extra_config(self) -> dict[str, str]:
        return extra_config_of(self.properties.get("config.extraConfig"))


def find(inventory: Inventory, folder: Entry | None, name: str) -> Seen | None:
    """What has the name in the folder. At most two calls. :raises NameTaken: it is no machine."""
    if folder is None:
        return None
    vim = inventory.vim
    there = vim.call(vim.content.searchIndex, "FindChild", entity=folder.obj, name=name, about=name, phase="observe")
    if there is None:
        return None
    if kind_of(there) != "VirtualMachine":
        raise NameTaken(f"{folder.path} has something else of this name ({kind_of(there)})", obj=name, phase="observe", hint="rename one of the two")
    return read(vim, there, name)


def read(vim: VIM, obj: Any, name: str) -> Seen | None:
    """A machine, None where it is gone."""
    try:
        found = vim.get_properties(obj, PATHS, about=name, phase="observe")
    except ObjectGone:
        return None
    named = unquote(str(found["name"]))
    mark = read_mark(extra_config_of(found.get("config.extraConfig")), str(found.get("config.instanceUuid", "")), named)
    return Seen(obj, named, mark, found)


def addresses(properties: Mapping[str, Any]) -> list[str]:
    """The guest's addresses that others can reach, IPv4 first."""
    said = [properties.get("guest.ipAddress")]
    for card in properties.get("guest.net") or ():
        said += list(card.ipAddress or ())
    found: list[str] = []
    for text in said:
        if text and text not in found and _is_routable(str(text)):
            found.append(str(text))
    return sorted(found, key=lambda address: ":" in address)


def _is_routable(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return not (address.is_link_local or address.is_loopback or address.is_unspecified or address.is_multicast)


def view(seen: Seen, inventory: Inventory, folder: str) -> dict[str, Any]:
    """A machine as the module returns it. No call beyond the inventory's."""
    host = seen.properties.get("runtime.host")
    entry = None if host is None else inventory.entry_of(host)
    found = addresses(seen.properties) if seen.runs else []
    mark = seen.mark
    return {
        "name": seen.name,
        "uuid": str(seen.properties.get("config.uuid", "")),
        "instance_uuid": str(seen.properties.get("config.instanceUuid", "")),
        "moid": seen.moid,
        "power": {"poweredOn": "running", "poweredOff": "off", "suspended": "paused"}.get(str(seen.properties.get("runtime.powerState")), "unknown"),
        "ip": found[0] if found else "",
        "addresses": found,
        "host": "" if entry is None else entry.name,
        "folder": folder,
        "datastore_path": seen.home,
        "disks": [{"path": devices.path_of(disk), "size_gb": round(devices.size_of(disk) / devices.GIB, 3)} for disk in devices.disks_of(seen.devices)],
        "networks": [{"network": _network(card, inventory), "model": card_model(card), "mac": str(card.macAddress or "")} for card in cards_of(seen.devices)],
        "template": "" if mark is None else mark.template,
    }


def _network(card: Any, inventory: Inventory) -> str:
    backing = card.backing
    port = getattr(backing, "port", None)
    if port is not None:
        wanted = str(port.portgroupKey)
        return next((entry.name for entry in inventory.networks() if entry.moid == wanted), wanted)
    network = getattr(backing, "network", None)
    entry = None if network is None else inventory.entry_of(network)
    return entry.name if entry is not None else str(getattr(backing, "deviceName", None) or getattr(backing, "opaqueNetworkId", None) or "")
