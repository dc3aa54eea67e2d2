# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Specifications of a machine's configuration and network cards. Builders only: ``network_facts`` alone asks the server.

Controllers, disks and CD-ROM drives are in ``devices.py``.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.binding import library, moid_of
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Entry
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.vim import VIM

CARD_MODELS: Mapping[str, str] = {
    "vmxnet3": "VirtualVmxnet3",
    "vmxnet2": "VirtualVmxnet2",
    "e1000": "VirtualE1000",
    "e1000e": "VirtualE1000e",
    "pcnet32": "VirtualPCNet32",
}
"""The models of network cards by the names people give, with vSphere's types."""

UNLIMITED = -1


@dataclass(frozen=True)
class Allocation:
    """What a machine may use and is sure of: MHz of processor, or MiB of memory. None leaves it as it is, ``limit`` -1 lifts it.

    ``shares`` is ``low``, ``normal``, ``high`` or a number.
    """

    limit: int | None = None
    reservation: int | None = None
    shares: str | int | None = None

    def __bool__(self) -> bool:
        return (self.limit, self.reservation, self.shares) != (None, None, None)


def config_spec(
    *,
    name: str = "",
    cpus: int | None = None,
    cores_per_socket: int | None = None,
    memory_mb: int | None = None,
    extra_config: Mapping[str, str] | None = None,
    instance_uuid: str = "",
    guest_id: str = "",
    annotation: str | None = None,
    firmware: str = "",
    secure_boot: bool | None = None,
    hardware_version: str = "",
    cpu_limits: Allocation | None = None,
    memory_limits: Allocation | None = None,
    vm_path: str = "",
    profile_id: str = "",
    device_changes: Iterable[Any] = (),
) -> Any:
    """A ``VirtualMachineConfigSpec`` that says what is given, and leaves alone what is not.

    :param extra_config: an empty value removes a key.   :param firmware: ``bios`` or ``efi``.
    :param hardware_version: such as ``vmx-19``.   :param vm_path: where the machine's files go, ``[ds]`` or ``[ds] directory/name.vmx``.
    :param profile_id: of a storage policy, for the machine's home.
    """
    vim = library().vim
    changes = list(device_changes)
    said: dict[str, Any] = {
        "name": name or None,
        "numCPUs": cpus,
        "numCoresPerSocket": cores_per_socket,
        "memoryMB": memory_mb,
        "extraConfig": option_values(extra_config) if extra_config else None,
        "instanceUuid": instance_uuid or None,
        "guestId": guest_id or None,
        "annotation": annotation,
        "firmware": firmware or None,
        "bootOptions": None if secure_boot is None else vim.vm.BootOptions(efiSecureBootEnabled=secure_boot),
        "version": hardware_version or None,
        "cpuAllocation": allocation_info(cpu_limits) if cpu_limits else None,
        "memoryAllocation": allocation_info(memory_limits) if memory_limits else None,
        "files": vim.vm.FileInfo(vmPathName=vm_path) if vm_path else None,
        "vmProfile": [profile(profile_id)] if profile_id else None,
        "deviceChange": changes or None,
    }
    return vim.vm.ConfigSpec(**{key: value for key, value in said.items() if value is not None})


def option_values(values: Mapping[str, str]) -> list[Any]:
    """``extraConfig`` as vSphere has it."""
    return [library().vim.option.OptionValue(key=key, value=value) for key, value in values.items()]


def profile(profile_id: str) -> Any:
    """A storage policy as a machine's or disk's specification names it."""
    return library().vim.vm.DefinedProfileSpec(profileId=profile_id)


def allocation_info(wanted: Allocation) -> Any:
    vim = library().vim
    shares = None
    if wanted.shares is not None:
        custom = isinstance(wanted.shares, int)
        # The number is required, and looked at only where the level is custom.
        shares = vim.SharesInfo(level="custom" if custom else str(wanted.shares), shares=wanted.shares if custom else 0)
    said = {"limit": wanted.limit, "reservation": wanted.reservation, "shares": shares}
    return vim.ResourceAllocationInfo(**{key: value for key, value in said.items() if value is not None})


# -- networks


@dataclass(frozen=True)
class NetworkFacts:
    """A network with what a card on it has to name. ``switch_uuid`` and ``portgroup_key`` are of a distributed port group, the others of an opaque network."""

    entry: Entry
    switch_uuid: str = ""
    portgroup_key: str = ""
    opaque_id: str = ""
    opaque_type: str = ""


@dataclass(frozen=True)
class Card:
    """A network card as it shall be. ``mac`` "" leaves the address to vCenter."""

    network: NetworkFacts
    model: str = "vmxnet3"
    mac: str = ""


_GROUP = "DistributedVirtualPortgroup"
_OPAQUE = "OpaqueNetwork"


def network_facts(vim: VIM, entries: Iterable[Entry]) -> dict[str, NetworkFacts]:
    """What cards on these networks have to name, by the networks' ids. No call for standard networks, two or three for any number of others."""
    networks = {entry.moid: entry for entry in entries}
    groups = [entry.obj for entry in networks.values() if entry.kind == _GROUP]
    opaque = [entry.obj for entry in networks.values() if entry.kind == _OPAQUE]
    facts = {moid: NetworkFacts(entry) for moid, entry in networks.items()}
    read = vim.get_many(groups, ["key", "config.distributedVirtualSwitch"], phase="look up")
    switches = {moid_of(one.properties["config.distributedVirtualSwitch"]): one.properties["config.distributedVirtualSwitch"] for one in read}
    uuids = {moid_of(one.obj): str(one.properties["uuid"]) for one in vim.get_many(switches.values(), ["uuid"], phase="look up")}
    for one in read:
        moid = moid_of(one.obj)
        facts[moid] = NetworkFacts(networks[moid], uuids[moid_of(one.properties["config.distributedVirtualSwitch"])], str(one.properties["key"]))
    for one in vim.get_many(opaque, ["summary"], phase="look up"):
        summary, moid = one.properties["summary"], moid_of(one.obj)
        facts[moid] = NetworkFacts(networks[moid], opaque_id=str(summary.opaqueNetworkId), opaque_type=str(summary.opaqueNetworkType))
    return facts


def network_backing(network: NetworkFacts) -> Any:
    """What a card on the network is backed by. :raises InvalidSpec: it takes no cards, such as the port group of a switch's uplinks."""
    vim = library().vim
    if network.entry.kind == _GROUP:
        port = vim.dvs.PortConnection(switchUuid=network.switch_uuid, portgroupKey=network.portgroup_key)
        return vim.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo(port=port)
    if network.entry.kind == _OPAQUE:
        return vim.vm.device.VirtualEthernetCard.OpaqueNetworkBackingInfo(opaqueNetworkId=network.opaque_id, opaqueNetworkType=network.opaque_type)
    return vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(deviceName=network.entry.name, network=network.entry.obj)


def card_type(model: str) -> Any:
    """:raises InvalidSpec: vSphere has no such model."""
    if model not in CARD_MODELS:
        raise InvalidSpec([f"model: {model!r} is no network card of vSphere's; give one of {', '.join(CARD_MODELS)}"])
    return getattr(library().vim.vm.device, CARD_MODELS[model])


def network_card(network: NetworkFacts, model: str, key: int, mac: str = "") -> Any:
    """The ``VirtualDeviceSpec`` of a new card.

    :param key: negative, and no other device's in the same specification.   :raises InvalidSpec: there is no such model.
    """
    vim = library().vim
    device = card_type(model)(
        key=key,
        backing=network_backing(network),
        connectable=vim.vm.device.VirtualDevice.ConnectInfo(startConnected=True, allowGuestControl=True, connected=True),
        addressType="manual" if mac else "generated",
        wakeOnLanEnabled=True,
    )
    if mac:
        device.macAddress = mac
    return device_change("add", device)


def device_change(operation: str, device: Any, *, file_operation: str = "", profile_id: str = "") -> Any:
    """A ``VirtualDeviceSpec``: ``add``, ``edit`` or ``remove``; ``file_operation`` ``create`` or ``destroy`` the file behind it."""
    spec = library().vim.vm.device.VirtualDeviceSpec(operation=operation, device=device)
    if file_operation:
        spec.fileOperation = file_operation
    if profile_id:
        spec.profile = [profile(profile_id)]
    return spec


def cards_of(devices: Iterable[Any]) -> list[Any]:
    """A machine's network cards, in the order in which its guest sees them."""
    base = library().vim.vm.device.VirtualEthernetCard
    return sorted((device for device in devices if isinstance(device, base)), key=lambda device: device.key)


def card_model(device: Any) -> str:
    """The model's name; vSphere's own where it is none of ``CARD_MODELS``."""
    kind = str(type(device)._wsdlName)
    return next((name for name, own in CARD_MODELS.items() if own == kind), kind)


def is_on(device: Any, network: NetworkFacts) -> bool:
    """Whether a card is on the network."""
    backing, base = device.backing, library().vim.vm.device.VirtualEthernetCard
    if isinstance(backing, base.DistributedVirtualPortBackingInfo):
        return bool(network.portgroup_key) and backing.port.portgroupKey == network.portgroup_key
    if isinstance(backing, base.OpaqueNetworkBackingInfo):
        return bool(network.opaque_id) and backing.opaqueNetworkId == network.opaque_id
    if isinstance(backing, base.NetworkBackingInfo) and not network.portgroup_key and not network.opaque_id:
        return moid_of(backing.network) == network.entry.moid if backing.network is not None else backing.deviceName == network.entry.name
    return False


def replace_cards(devices: Iterable[Any], wanted: Sequence[Card], *, cloning: bool = False, first_key: int = -4000) -> list[Any]:
    """The changes after which a machine with these devices has the wanted cards, in order: none where it has them.

    A card of the right model is put on its network and keeps its place and address; one of another model makes way.

    :param cloning: the devices are those of what is cloned: an address that was set by hand there must not come twice.
    :param first_key: new cards get this key and those below it.
    """
    there = cards_of(devices)
    changes = []
    for number, card in enumerate(wanted):
        own = there[number] if number < len(there) else None
        if own is not None and isinstance(own, card_type(card.model)) and card_model(own) == card.model:
            edited = _edited(own, card, cloning)
            changes += [device_change("edit", edited)] if edited is not None else []
            continue
        if own is not None:
            changes.append(device_change("remove", own))
        changes.append(network_card(card.network, card.model, first_key - number, card.mac))
    return changes + [device_change("remove", own) for own in there[len(wanted) :]]


def fresh_addresses(devices: Iterable[Any]) -> list[Any]:
    """The changes after which a clone of a machine with these devices has the same cards, but none with an address that was set by hand."""
    changes = []
    for own in cards_of(devices):
        if own.addressType == "manual":
            edited = copy.copy(own)
            edited.addressType, edited.macAddress = "generated", None
            changes.append(device_change("edit", edited))
    return changes


def _edited(own: Any, card: Card, cloning: bool) -> Any:
    """The card as it shall be, None where it is so."""
    other_network = not is_on(own, card.network)
    other_mac = bool(card.mac) and (own.macAddress or "").lower() != card.mac.lower()
    doubled = cloning and not card.mac and own.addressType == "manual"
    if not (other_network or other_mac or doubled):
        return None
    edited = copy.copy(own)
    if other_network:
        edited.backing = network_backing(card.network)
    if other_mac:
        edited.addressType, edited.macAddress = "manual", card.mac
    elif doubled:
        edited.addressType, edited.macAddress = "generated", None
    return edited
