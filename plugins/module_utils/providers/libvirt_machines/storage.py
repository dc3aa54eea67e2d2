# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What is done to the storage of a machine that is there: snapshots, the way back to one, and further disks.

The caller holds the machine's lock, and has read ``element`` and ``record`` from it since.
"""

from __future__ import annotations

import contextlib
import xml.etree.ElementTree as ET
from collections.abc import Callable, Collection

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import NameTaken, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.disks import DiskFromFunc, blank
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.options import DEFAULT_OPTIONS
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.domain_xml import build_disk, in_namespace
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.guest import Guest
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.snapshots import GuestSnapshots
from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt_machines.create import FURTHER, ROOT, disk_device, serial_of, target_of
from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt_machines.leftover import write_record
from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt_machines.record import (
    NAMESPACE,
    PREFIX,
    MachineRecord,
    from_element,
    with_disk,
    with_disk_added,
    with_seen,
    without_disks,
)
from ansible_collections.poolwright.virt.plugins.module_utils.storage.record import Origin, OwnDisk
from ansible_collections.poolwright.virt.plugins.module_utils.storage.snapshots import Snapshots
from ansible_collections.poolwright.virt.plugins.module_utils.storage.wish import DiskWish, renewed

_MACHINE = f"metadata/{{{NAMESPACE}}}machine"


def take_snapshot(guest: Guest, record: MachineRecord, snapshot: str, deadline: Deadline) -> None:
    """:raises NameTaken: the machine has one of this name."""
    if not GuestSnapshots(guest, _whole(record)).create(snapshot, deadline):
        raise NameTaken(f"it has a snapshot {snapshot!r} already", obj=guest.name, phase="snapshot", hint="give another name")


def go_back(
    host: Host, guest: Guest, element: ET.Element, record: MachineRecord, snapshot: str, newest_lease: Callable[[str, str], int], deadline: Deadline
) -> MachineRecord:
    """Give the machine the disks back that it had, and start it again if it ran; what it then says about itself.

    :param newest_lease: of a network and a MAC: when the newest lease that is there now ends.
    :raises NotFound: it has no such snapshot; nothing was changed.
    """
    first = record.first_disks
    added = [disk for disk in _whole(record) if disk not in first]
    Snapshots(guest.name, first).check(snapshot, deadline)
    older = [disk for disk in added if Snapshots(guest.name, [disk]).has_part(snapshot, deadline)]
    later = [disk for disk in [*added, *record.disks] if (disk in added and disk not in older) or disk.name == record.adding]
    if not guest.is_persistent():
        # Undefined by somebody while it ran: it would vanish as it stops.
        guest = host.define_text(guest.xml(), guest.name)
    ran = guest.destroy()
    Snapshots(guest.name, [*first, *older]).revert(snapshot, deadline)
    for disk in later:
        disk.place().remove(deadline)
    # The leases of its former life are no proof of the new one.
    element = with_seen(element, {card.mac: newest_lease(card.network, card.mac) for card in record.cards if card.network})
    changed = without_disks(element, {disk.name for disk in later})
    if later:
        _redefine(host, guest, changed, gone={disk.record.path for disk in later})
    else:
        guest.set_metadata(changed, NAMESPACE, PREFIX)
    now = _read(changed, record)
    write_record(now)
    if ran:
        guest.start()
    return now


def add_disk(host: Host, guest: Guest, element: ET.Element, record: MachineRecord, size: int, deadline: Deadline) -> MachineRecord:
    """Give the machine an empty disk of ``size`` bytes beside its root disk; what it then says about itself.

    It is named in the metadata before it is made, and gets into the definition when it is whole.
    """
    unfinished = [disk for disk in record.disks if disk.name == record.adding]
    for disk in unfinished:
        disk.place().remove(deadline)
    element = without_disks(element, {disk.name for disk in unfinished})
    disk, number = _next_disk(_read(element, record), size)
    announced = with_disk(element, disk)
    guest.set_metadata(announced, NAMESPACE, PREFIX)
    write_record(_read(announced, record))
    try:
        DiskFromFunc(disk.place(), blank, size, "blank").create(deadline)
        added = with_disk_added(announced)
        _plug(host, guest, added, disk, serial_of(record.mark, number))
    except VirtError:
        # What cannot be taken back now is by the next disk, by a way back, or with the machine.
        with contextlib.suppress(VirtError):
            disk.place().remove(deadline)
            guest.set_metadata(element, NAMESPACE, PREFIX)
        raise
    return _read(added, record)


def _next_disk(record: MachineRecord, size: int) -> tuple[OwnDisk, int]:
    """The disk where the root disk is and as that is reached, under the lowest free number."""
    root = record.disks[0]
    stem = root.name.removesuffix(ROOT)
    names = {disk.name for disk in record.disks}
    number = next(free for free in range(1, len(names) + 1) if f"{stem}{FURTHER}{free}" not in names)
    wish = DiskWish(root.record.backend, root.location, f"{stem}{FURTHER}{number}", size=size, options=renewed(DEFAULT_OPTIONS, root.options))
    return OwnDisk(wish.location, wish.name, wish.place().plan_from_func(size), options=wish.options, origin=Origin.of(wish)), number


def _whole(record: MachineRecord) -> list[OwnDisk]:
    """The machine's disks without the one that it is being given."""
    return [disk for disk in record.disks if disk.name != record.adding]


def _read(element: ET.Element, record: MachineRecord) -> MachineRecord:
    return from_element(element) or record


def _plug(host: Host, guest: Guest, element: ET.Element, disk: OwnDisk, serial: str) -> None:
    """Into the definition, and into the machine if it runs; where that cannot be, into neither."""
    before = guest.definition()
    domain = ET.fromstring(before)  # noqa: S314 (libvirt wrote it)
    device = build_disk(disk_device(disk, _free_target(domain), serial))
    running = guest.is_active()
    _devices(domain).append(device)
    _set_machine(domain, element)
    host.define_text(ET.tostring(domain, encoding="unicode"), guest.name)
    if running:
        try:
            guest.attach(ET.tostring(device, encoding="unicode"))
            guest.set_metadata(element, NAMESPACE, PREFIX)
        except VirtError:
            host.define_text(before, guest.name)
            raise


def _redefine(host: Host, guest: Guest, element: ET.Element, *, gone: Collection[str]) -> None:
    """The machine with this to say about itself, and without the disks of these paths."""
    domain = ET.fromstring(guest.definition())  # noqa: S314 (libvirt wrote it)
    devices = _devices(domain)
    for device in devices.findall("disk"):
        source = device.find("source")
        if source is not None and {source.get("file"), source.get("dev"), source.get("name")} & set(gone):
            devices.remove(device)
    _set_machine(domain, element)
    host.define_text(ET.tostring(domain, encoding="unicode"), guest.name)


def _devices(domain: ET.Element) -> ET.Element:
    found = domain.find("devices")
    return ET.SubElement(domain, "devices") if found is None else found


def _set_machine(domain: ET.Element, element: ET.Element) -> None:
    metadata, before = domain.find("metadata"), domain.find(_MACHINE)
    if metadata is None:
        metadata = ET.SubElement(domain, "metadata")
    if before is not None:
        metadata.remove(before)
    metadata.append(in_namespace(element, NAMESPACE))


def _free_target(domain: ET.Element) -> str:
    taken = {target.get("dev", "") for target in domain.iterfind("devices/disk/target")}
    return next(target for target in map(target_of, range(len(taken) + 1)) if target not in taken)
