# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Specifications of controllers, disks and CD-ROM drives. Builders only, no calls."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.binding import library
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.hardware import device_change

GIB = 1024**3


@dataclass(frozen=True)
class Adapter:
    """A kind of controller: vSphere's type, the kind of bus, how many units one has, how many of them a machine may have."""

    kind: str
    bus: str
    units: int
    most: int


ADAPTERS: Mapping[str, Adapter] = {
    "paravirtual": Adapter("ParaVirtualSCSIController", "scsi", 16, 4),
    "lsilogic": Adapter("VirtualLsiLogicController", "scsi", 16, 4),
    "lsilogicsas": Adapter("VirtualLsiLogicSASController", "scsi", 16, 4),
    "buslogic": Adapter("VirtualBusLogicController", "scsi", 16, 4),
    "ide": Adapter("VirtualIDEController", "ide", 2, 2),
    "sata": Adapter("VirtualAHCIController", "sata", 30, 4),
    "nvme": Adapter("VirtualNVMEController", "nvme", 15, 4),
}
"""The controllers by the names people give."""

_BUSES = {"scsi": "VirtualSCSIController", "ide": "VirtualIDEController", "sata": "VirtualSATAController", "nvme": "VirtualNVMEController"}
# A SCSI controller sits on its own bus under this number, unless it says another.
_OWN_UNIT = 7


@dataclass(frozen=True)
class Slot:
    """A free place for a device: the key of the controller and the number of the unit on it."""

    controller: int
    unit: int


class Slots:
    """The places that a machine's controllers have left, and new controllers where none is left.

    One object is for one specification: it gives each new device a key of its own, and knows what it has given away.
    ``changes`` are the controllers to add; they go into the specification before the devices on them.
    """

    def __init__(self, devices: Iterable[Any], first_key: int = -100) -> None:
        self._devices = list(devices)
        self._next = first_key
        self._taken: dict[int, set[int]] = defaultdict(set)
        self.changes: list[Any] = []
        for device in self._devices:
            if device.controllerKey is not None and device.unitNumber is not None:
                self._taken[device.controllerKey].add(device.unitNumber)

    def key(self) -> int:
        """A key for a new device, different at each call."""
        self._next -= 1
        return self._next + 1

    def free(self, key: int) -> None:
        """The unit of the device with this key is free again: it is removed in the same specification."""
        for device in self._devices:
            if device.key == key and device.controllerKey is not None:
                self._taken[device.controllerKey].discard(device.unitNumber)

    def take(self, adapter: str) -> Slot:
        """The first free unit on a controller of this very kind, on a new one where there is none.

        :raises InvalidSpec: no such kind, or a machine can have no further controller of its kind.
        """
        wanted = adapter_named(adapter)
        own = getattr(library().vim.vm.device, wanted.kind)
        # Not isinstance: a SAS controller is derived from none of the others, but others may be.
        for controller in (device for device in self._devices if device.__class__ is own):
            taken = self._taken[controller.key] | ({_own_unit(controller)} if wanted.bus == "scsi" else set())
            free = next((unit for unit in range(wanted.units) if unit not in taken), None)
            if free is not None:
                self._taken[controller.key].add(free)
                return Slot(controller.key, free)
        controller = self._new_controller(adapter, wanted)
        self._taken[controller.key].add(0)
        return Slot(controller.key, 0)

    def place_of(self, change: Any) -> str:
        """Where the device of a change will be, such as ``scsi0:1``."""
        return place_of(self._devices, change.device)

    def _new_controller(self, adapter: str, wanted: Adapter) -> Any:
        device = library().vim.vm.device
        base = getattr(device, _BUSES[wanted.bus])
        buses = {controller.busNumber for controller in self._devices if isinstance(controller, base)}
        bus = next((number for number in range(wanted.most) if number not in buses), None)
        if bus is None:
            raise InvalidSpec(
                [f"adapter: the machine has no place for another device on {adapter}: it has {len(buses)} {wanted.bus} controllers, the most there can be"]
            )
        controller = getattr(device, wanted.kind)(key=self.key(), busNumber=bus)
        if wanted.bus == "scsi":
            controller.sharedBus = "noSharing"
        self._devices.append(controller)
        self.changes.append(device_change("add", controller))
        return controller


def adapter_named(name: str) -> Adapter:
    if name not in ADAPTERS:
        raise InvalidSpec([f"adapter: {name!r} is no disk controller of vSphere's; give one of {', '.join(ADAPTERS)}"])
    return ADAPTERS[name]


def adapter_of(devices: Iterable[Any], device: Any) -> str:
    """The name of the kind of controller that a device is on, "" where it is none of ``ADAPTERS``."""
    controller = next((one for one in devices if one.key == device.controllerKey), None)
    kind = "" if controller is None else str(type(controller)._wsdlName)
    return next((name for name, adapter in ADAPTERS.items() if adapter.kind == kind), "")


def place_of(devices: Iterable[Any], device: Any) -> str:
    """Where a device is, such as ``scsi0:1``: it stays the same when vSphere gives the device another key. "" on none of these buses."""
    kinds = library().vim.vm.device
    controller = next((one for one in devices if one.key == device.controllerKey), None)
    bus = next((name for name, kind in _BUSES.items() if controller is not None and isinstance(controller, getattr(kinds, kind))), "")
    return f"{bus}{controller.busNumber}:{device.unitNumber}" if bus and controller is not None else ""


def new_disk(
    slots: Slots, adapter: str, size_bytes: int, *, path: str = "", thin: bool = True, eager_zero: bool = False, ephemeral: bool = False, profile_id: str = ""
) -> Any:
    """A new blank disk.

    :param path: ``[ds] directory/name.vmdk``, or ``[ds]`` for a name and place of vCenter's choice there; "" is with the machine.
    :param ephemeral: what is written to it is gone once the machine is off.
    """
    backing = _backing(path)
    if ephemeral:
        backing.diskMode = "independent_nonpersistent"
    backing.thinProvisioned = thin
    if eager_zero:
        backing.eagerlyScrub = True
    return device_change("add", _disk(slots, adapter, size_bytes, backing), file_operation="create", profile_id=profile_id)


def existing_disk(slots: Slots, adapter: str, path: str, *, size_bytes: int = 0, profile_id: str = "") -> Any:
    """A disk whose file is there already."""
    return device_change("add", _disk(slots, adapter, size_bytes, _backing(path)), profile_id=profile_id)


def child_disk(slots: Slots, adapter: str, parent: str, size_bytes: int, *, path: str = "", profile_id: str = "") -> Any:
    """A new disk that has only what differs from ``parent``, a disk of the same size that must not be written any more.

    :param path: as for ``new_disk``.
    """
    backing = _backing(path)
    backing.parent = _backing(parent)
    return device_change("add", _disk(slots, adapter, size_bytes, backing), file_operation="create", profile_id=profile_id)


def grown_disk(device: Any, size_bytes: int) -> Any:
    """A disk that the machine has, made larger."""
    edited = copy.copy(device)
    edited.capacityInBytes, edited.capacityInKB = size_bytes, size_bytes // 1024
    return device_change("edit", edited)


def cdrom(slots: Slots, iso: str, adapter: str = "ide") -> Any:
    """A CD-ROM drive with an image from a datastore in it."""
    vim = library().vim
    slot = slots.take(adapter)
    device = vim.vm.device.VirtualCdrom(
        key=slots.key(),
        controllerKey=slot.controller,
        unitNumber=slot.unit,
        backing=vim.vm.device.VirtualCdrom.IsoBackingInfo(fileName=iso),
        connectable=vim.vm.device.VirtualDevice.ConnectInfo(startConnected=True, allowGuestControl=True, connected=True),
    )
    return device_change("add", device)


def disks_of(devices: Iterable[Any]) -> list[Any]:
    """A machine's disks, the one it boots from first."""
    base = library().vim.vm.device.VirtualDisk
    return sorted((device for device in devices if isinstance(device, base)), key=lambda device: (device.controllerKey or 0, device.unitNumber or 0))


def cdroms_of(devices: Iterable[Any]) -> list[Any]:
    """A machine's CD-ROM drives."""
    base = library().vim.vm.device.VirtualCdrom
    return [device for device in devices if isinstance(device, base)]


def size_of(device: Any) -> int:
    """A disk's size in bytes, as its guest sees it."""
    return int(device.capacityInBytes or 0) or int(device.capacityInKB or 0) * 1024


def path_of(device: Any) -> str:
    """The file behind a disk or in a CD-ROM drive, "" where it is none."""
    return str(getattr(device.backing, "fileName", None) or "")


def _backing(path: str) -> Any:
    return library().vim.vm.device.VirtualDisk.FlatVer2BackingInfo(fileName=path, diskMode="persistent")


def _disk(slots: Slots, adapter: str, size_bytes: int, backing: Any) -> Any:
    slot = slots.take(adapter)
    device = library().vim.vm.device.VirtualDisk(key=slots.key(), controllerKey=slot.controller, unitNumber=slot.unit, backing=backing)
    if size_bytes:
        device.capacityInBytes, device.capacityInKB = size_bytes, size_bytes // 1024
    return device


def _own_unit(controller: Any) -> int:
    return _OWN_UNIT if controller.scsiCtlrUnitNumber is None else int(controller.scsiCtlrUnitNumber)
