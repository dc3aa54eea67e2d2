# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Domain XML from typed parts. Pure: element trees only, so no text of a user's can become markup.

Only what a guest needs is in it: each device costs start-up time, and libvirt would add a USB controller by itself.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec

# What XML 1.0 cannot hold, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class DiskDevice:
    """A disk: ``type`` is ``file``, ``block`` or ``network``, ``source`` its path, device or name on the ``hosts``.

    :ivar format: the format that was recorded when the disk was made: never left for QEMU to guess.
    :ivar target: device name in the guest, such as ``vda``; its bus is virtio.
    :ivar serial: what the guest sees as the disk's serial number.
    :ivar cache: QEMU's cache mode, "" for its default.
    """

    type: str
    format: str
    source: str
    target: str
    readonly: bool = False
    serial: str = ""
    cache: str = ""
    protocol: str = ""
    hosts: tuple[tuple[str, int], ...] = ()
    secret: tuple[str, str] | None = None


@dataclass(frozen=True)
class NetworkCard:
    """A card on one of libvirt's networks, or on a bridge of the host where ``network`` is ""."""

    mac: str
    network: str = ""
    bridge: str = ""
    model: str = "virtio"


@dataclass(frozen=True)
class Platform:
    """What a guest runs on, as the host's domain capabilities allow it; "" leaves the choice to libvirt.

    ``cpu_mode`` is ``host-passthrough``, ``host-model`` or ``maximum``.
    """

    virt_type: str
    arch: str
    machine: str = ""
    emulator: str = ""
    cpu_mode: str = ""
    rng: bool = True


@dataclass(frozen=True)
class DomainConfig:
    """A domain as it is first defined. ``metadata`` is any number of elements, each in a namespace of its own."""

    name: str
    uuid: str
    platform: Platform
    memory_kib: int
    vcpus: int
    disks: tuple[DiskDevice, ...] = ()
    cards: tuple[NetworkCard, ...] = ()
    agent: bool = True
    metadata: tuple[ET.Element, ...] = field(default=(), repr=False)


def build_domain(config: DomainConfig) -> ET.Element:
    """``<domain>`` for libvirt.

    :raises InvalidSpec: a text holds characters that XML cannot.
    """
    platform = config.platform
    domain = ET.Element("domain", type=platform.virt_type)
    _text(domain, "name", config.name)
    _text(domain, "uuid", config.uuid)
    _text(domain, "memory", str(config.memory_kib), unit="KiB")
    _text(domain, "vcpu", str(config.vcpus))
    if config.metadata:
        ET.SubElement(domain, "metadata").extend(config.metadata)
    domain.append(_operating_system(platform))
    if platform.arch in ("x86_64", "i686"):
        # Without ACPI a guest does not see the power button.
        features = ET.SubElement(domain, "features")
        ET.SubElement(features, "acpi")
        ET.SubElement(features, "apic")
    if platform.cpu_mode:
        ET.SubElement(domain, "cpu", mode=platform.cpu_mode)
    ET.SubElement(domain, "clock", offset="utc")
    _text(domain, "on_poweroff", "destroy")
    _text(domain, "on_reboot", "restart")
    # A guest that panics is then seen as off, and not as running.
    _text(domain, "on_crash", "destroy")
    domain.append(_devices(config))
    _refuse_unprintable(domain, config.name)
    return domain


def _operating_system(platform: Platform) -> ET.Element:
    system = ET.Element("os")
    kind = _text(system, "type", "hvm", arch=platform.arch)
    if platform.machine:
        kind.set("machine", platform.machine)
    ET.SubElement(system, "boot", dev="hd")
    return system


def _devices(config: DomainConfig) -> ET.Element:
    devices = ET.Element("devices")
    if config.platform.emulator:
        _text(devices, "emulator", config.platform.emulator)
    devices.extend(build_disk(disk) for disk in config.disks)
    ET.SubElement(devices, "controller", type="usb", model="none")
    devices.extend(build_card(card) for card in config.cards)
    serial = ET.SubElement(devices, "serial", type="pty")
    ET.SubElement(serial, "target", port="0")
    console = ET.SubElement(devices, "console", type="pty")
    ET.SubElement(console, "target", type="serial", port="0")
    if config.agent:
        channel = ET.SubElement(devices, "channel", type="unix")
        ET.SubElement(channel, "target", type="virtio", name="org.qemu.guest_agent.0")
    ET.SubElement(devices, "memballoon", model="virtio")
    if config.platform.rng:
        rng = ET.SubElement(devices, "rng", model="virtio")
        _text(rng, "backend", "/dev/urandom", model="random")
    return devices


def build_disk(disk: DiskDevice) -> ET.Element:
    """``<disk>``; what a guest discards is given back to the host's storage."""
    element = ET.Element("disk", type=disk.type, device="disk")
    driver = ET.SubElement(element, "driver", name="qemu", type=disk.format)
    if disk.cache:
        driver.set("cache", disk.cache)
    if not disk.readonly:
        driver.set("discard", "unmap")
    if disk.type == "network":
        source = ET.SubElement(element, "source", protocol=disk.protocol, name=disk.source)
        for host, port in disk.hosts:
            ET.SubElement(source, "host", name=host, port=str(port))
        if disk.secret is not None:
            user, uuid = disk.secret
            auth = ET.SubElement(source, "auth", username=user)
            ET.SubElement(auth, "secret", type="ceph", uuid=uuid)
    else:
        ET.SubElement(element, "source", {"dev" if disk.type == "block" else "file": disk.source})
    ET.SubElement(element, "target", dev=disk.target, bus="virtio")
    if disk.readonly:
        ET.SubElement(element, "readonly")
    if disk.serial:
        _text(element, "serial", disk.serial)
    return element


def build_card(card: NetworkCard) -> ET.Element:
    """``<interface>``."""
    element = ET.Element("interface", type="network" if card.network else "bridge")
    ET.SubElement(element, "mac", address=card.mac)
    if card.network:
        ET.SubElement(element, "source", network=card.network)
    else:
        ET.SubElement(element, "source", bridge=card.bridge)
    ET.SubElement(element, "model", type=card.model)
    return element


def in_namespace(element: ET.Element, namespace: str) -> ET.Element:
    """A copy of an element without namespaces, put with all below it into one."""
    copy = ET.Element(f"{{{namespace}}}{element.tag}", dict(element.attrib))
    copy.text, copy.tail = element.text, element.tail
    copy.extend(in_namespace(child, namespace) for child in element)
    return copy


def _text(parent: ET.Element, tag: str, text: str, **attributes: str) -> ET.Element:
    element = ET.SubElement(parent, tag, attributes)
    element.text = text
    return element


def _refuse_unprintable(root: ET.Element, name: str) -> None:
    """ElementTree would write such characters, and libvirt refuse the whole with a message about bytes."""
    problems = []
    for element in root.iter():
        values = {"": element.text or "", **element.attrib}
        problems += [
            f"{name!r}: {element.tag.rpartition('}')[2]}{f' {key}' if key else ''} holds characters that XML cannot: {value!r}"
            for key, value in values.items()
            if _NOT_XML.search(value)
        ]
    if problems:
        raise InvalidSpec(problems)
