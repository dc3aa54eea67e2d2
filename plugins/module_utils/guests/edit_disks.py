# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Edits of disks and CD-ROM drives. Pure, and without effect where all is as wanted."""

from __future__ import annotations

import string
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence

from ansible_collections.poolwright.virt.plugins.module_utils.guests import tree
from ansible_collections.poolwright.virt.plugins.module_utils.guests.edit_devices import allow_usb
from ansible_collections.poolwright.virt.plugins.module_utils.guests.wish import BUS_PREFIXES, Cdrom, Disk
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.records import DiskInfo

_DRIVER = ("cache", "io", "discard", "detect_zeroes")
_SOURCE_KEYS = {"file": "file", "block": "dev", "network": "name", "dir": "dir", "volume": "volume"}


def disk_elements(domain: ET.Element, *kinds: str) -> list[ET.Element]:
    return [element for element in tree.devices(domain, "disk") if element.get("device", "disk") in kinds]


def source_of(element: ET.Element) -> tuple[str, str]:
    """Type and path, device or name, "" for an empty drive."""
    kind, source = element.get("type", "file"), element.find("source")
    return kind, "" if source is None else source.get(_SOURCE_KEYS.get(kind, "file"), "")


def target_of(element: ET.Element) -> str:
    target = element.find("target")
    return "" if target is None else target.get("dev", "")


def bus_of(element: ET.Element) -> str:
    target = element.find("target")
    return "" if target is None else target.get("bus", "")


def disks(domain: ET.Element, wanted: Sequence[Disk], infos: Mapping[str, DiskInfo]) -> None:
    """The guest's disks are these, in this order where targets are not given; those that are not named are taken off.

    :param infos: how libvirt reaches each disk, by its label.
    """
    found = disk_elements(domain, "disk", "lun")
    pairs = _paired(found, wanted, infos)
    for element in found:
        if not any(element is other for other in pairs.values()):
            tree.devices_element(domain).remove(element)
    for number, disk in enumerate(wanted):
        element = pairs[number] if number in pairs else _new_disk(domain, infos[disk.label])
        _edit_source(element, infos[disk.label])
        _edit_target(domain, element, disk.bus, disk.target)
        _edit_disk(element, disk)


def _paired(found: Sequence[ET.Element], wanted: Sequence[Disk], infos: Mapping[str, DiskInfo]) -> dict[int, ET.Element]:
    """Which element each disk is now: the one with its source, else the one at its target."""
    pairs: dict[int, ET.Element] = {}
    for number, disk in enumerate(wanted):
        info = infos[disk.label]
        same = [one for one in found if source_of(one) == (info.type, info.source)]
        pairs.update({number: same[0]} if same else {})
    for number, disk in enumerate(wanted):
        if number not in pairs and disk.target is not None:
            free = [one for one in found if target_of(one) == disk.target and not any(one is other for other in pairs.values())]
            if free:
                pairs[number] = free[0]
    return pairs


def _new_disk(domain: ET.Element, info: DiskInfo) -> ET.Element:
    element = ET.Element("disk", type=info.type, device="disk")
    tree.child(element, "driver", name="qemu", type=info.format)
    others = tree.devices(domain, "disk")
    inside = tree.devices_element(domain)
    inside.insert(list(inside).index(others[-1]) + 1 if others else len(inside), element)
    return element


def _edit_source(element: ET.Element, info: DiskInfo) -> None:
    if source_of(element) == (info.type, info.source):
        driver = tree.ensure(element, "driver")
        if driver.get("type", "raw") != info.format:
            driver.set("type", info.format)
        if info.type == "network" and _way_of(element) != (info.hosts, info.secret):
            tree.drop(element, "auth")
            source = tree.ensure(element, "source")
            tree.drop(source, "host", "auth")
            _put_way(source, info)
        return
    element.set("type", info.type)
    driver = tree.ensure(element, "driver")
    tree.set_attributes(driver, name="qemu", type=info.format)
    tree.drop(element, "backingStore", "auth")
    source = tree.ensure(element, "source")
    source.clear()
    if info.type == "network":
        tree.set_attributes(source, protocol=info.protocol, name=info.source)
        _put_way(source, info)
    else:
        source.set(_SOURCE_KEYS[info.type], info.source)


def _way_of(element: ET.Element) -> tuple[tuple[tuple[str, int], ...], tuple[str, str] | None]:
    """By which servers a network disk is reached, and as whom with which secret."""
    servers = element.findall("source/host")
    auth = element.find("source/auth")
    auth = element.find("auth") if auth is None else auth
    secret = None if auth is None else auth.find("secret")
    hosts = tuple((one.get("name", ""), int(one.get("port") or 0)) for one in servers)
    return hosts, None if auth is None or secret is None else (auth.get("username", ""), secret.get("uuid", ""))


def _put_way(source: ET.Element, info: DiskInfo) -> None:
    for host, port in info.hosts:
        tree.child(source, "host", name=host, port=str(port))
    if info.secret is not None:
        auth = tree.child(source, "auth", username=info.secret[0])
        tree.child(auth, "secret", type="ceph", uuid=info.secret[1])


def _edit_target(domain: ET.Element, element: ET.Element, bus: str | None, name: str | None) -> None:
    target = tree.ensure(element, "target")
    bus = bus or target.get("bus") or ("virtio" if element.get("device", "disk") == "disk" else default_cdrom_bus(domain))
    if bus == "usb":
        allow_usb(domain)
    if target.get("bus") != bus:
        tree.forget_place(element)
        target.set("bus", bus)
        if name is None and not target.get("dev", "").startswith(BUS_PREFIXES.get(bus, "vd")):
            target.attrib.pop("dev", None)
    if name is not None and target.get("dev") != name:
        tree.forget_place(element)
        target.set("dev", name)
    elif "dev" not in target.attrib:
        target.set("dev", _free_name(domain, bus))


def default_cdrom_bus(domain: ET.Element) -> str:
    """What the machine type has by itself."""
    kind = domain.find("os/type")
    name = "" if kind is None else kind.get("machine", "")
    return "ide" if name == "pc" or name.startswith("pc-i440fx") else "sata"


def _free_name(domain: ET.Element, bus: str) -> str:
    taken = {target_of(element) for element in tree.devices(domain, "disk")}
    prefix = BUS_PREFIXES.get(bus, "vd")
    letters = string.ascii_lowercase
    names = (f"{prefix}{ending}" for ending in (*letters, *(first + second for first in letters for second in letters)))
    return next(name for name in names if name not in taken)


def _edit_disk(element: ET.Element, disk: Disk) -> None:
    driver = tree.ensure(element, "driver")
    for attribute in _DRIVER:
        value = getattr(disk, attribute)
        if value is not None and driver.get(attribute, "") != value:
            tree.set_attributes(driver, **{attribute: value if value != "default" else None})
    for tag, flag in (("readonly", disk.readonly), ("shareable", disk.shareable)):
        if flag is not None and (element.find(tag) is not None) != flag:
            if flag:
                tree.child(element, tag)
            else:
                tree.drop(element, tag)
    if disk.serial is not None:
        tree.set_text(element, "serial", disk.serial)
    edit_boot_order(element, disk.boot_order)


def edit_boot_order(element: ET.Element, number: int | None) -> None:
    """0 takes a device out of the order."""
    if number is None:
        return
    boot = element.find("boot")
    if (0 if boot is None else int(boot.get("order", "0"))) == number:
        return
    tree.drop(element, "boot")
    if number:
        tree.child(element, "boot", order=str(number))


def cdroms(domain: ET.Element, wanted: Sequence[Cdrom]) -> None:
    """The guest's drives are these, in order; a medium is changed in its drive."""
    found = disk_elements(domain, "cdrom")
    for element in found[len(wanted) :]:
        tree.devices_element(domain).remove(element)
    for number, drive in enumerate(wanted):
        element = found[number] if number < len(found) else _new_drive(domain)
        _edit_target(domain, element, drive.bus, drive.target)
        _edit_medium(element, drive.path)
        edit_boot_order(element, drive.boot_order)


def _new_drive(domain: ET.Element) -> ET.Element:
    element = tree.child(tree.devices_element(domain), "disk", type="file", device="cdrom")
    tree.child(element, "driver", name="qemu", type="raw")
    tree.child(element, "readonly")
    return element


def _edit_medium(element: ET.Element, path: str) -> None:
    if source_of(element)[1] == path:
        return
    tree.drop(element, "source", "backingStore")
    if path:
        element.set("type", "file")
        tree.ensure(element, "driver").set("type", "raw")
        element.append(ET.Element("source", file=path))
