# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Edits of the devices that are neither disks nor network cards. Pure, and without effect where all is as wanted."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence

from ansible_collections.poolwright.virt.plugins.module_utils.guests import tree
from ansible_collections.poolwright.virt.plugins.module_utils.guests.wish import Channel, Graphics, HostDevice, Rng, Serial, Tpm, Video, Vsock, Watchdog

AGENT = "org.qemu.guest_agent.0"
_PCI = re.compile(r"([0-9a-f]{4}):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])")
_OWN_LISTENERS = ("address", "network")


def _remove(domain: ET.Element, *tags: str) -> None:
    inside = domain.find("devices")
    tree.drop(inside, *tags)


def tpm(domain: ET.Element, wanted: Tpm) -> None:
    found = domain.find("devices/tpm")
    if wanted.model == "none":
        _remove(domain, "tpm")
    elif found is None:
        made = tree.child(tree.devices_element(domain), "tpm", model=wanted.model)
        tree.child(made, "backend", type="emulator", version="2.0")
    elif found.get("model") != wanted.model:
        tree.forget_place(found)
        found.set("model", wanted.model)


# -- channels and consoles


def _channel_name(element: ET.Element) -> str:
    target = element.find("target")
    return "" if target is None else target.get("name", "")


def agent(domain: ET.Element, wanted: bool) -> None:
    """The channel on which the agent in the guest answers."""
    found = [element for element in tree.devices(domain, "channel") if _channel_name(element) == AGENT]
    if wanted and not found:
        _add_channel(domain, Channel(AGENT))
    elif not wanted:
        for element in found:
            tree.devices_element(domain).remove(element)


def channels(domain: ET.Element, wanted: Sequence[Channel]) -> None:
    """All virtio channels but the agent's."""
    found = {}
    for element in tree.devices(domain, "channel"):
        target = element.find("target")
        if target is not None and target.get("type") == "virtio" and target.get("name") != AGENT:
            found[target.get("name", "")] = element
    asked = {channel.name: channel for channel in wanted}
    for name, element in found.items():
        if name not in asked or element.get("type") != asked[name].type:
            tree.devices_element(domain).remove(element)
    for name, channel in asked.items():
        if name not in found or found[name].get("type") != channel.type:
            _add_channel(domain, channel)


def _add_channel(domain: ET.Element, channel: Channel) -> None:
    element = tree.child(tree.devices_element(domain), "channel", type=channel.type)
    tree.child(element, "target", type="virtio", name=channel.name)


def serial(domain: ET.Element, wanted: Serial) -> None:
    """The first serial port, and the console that libvirt shows for it."""
    found = tree.devices(domain, "serial")
    if not found:
        port = tree.child(tree.devices_element(domain), "serial", type="pty")
        tree.child(port, "target", port="0")
        found = [port]
    twins = [one for one in tree.devices(domain, "console") if (target := one.find("target")) is None or target.get("type", "serial") == "serial"][:1]
    for element in (found[0], *twins):
        log = element.find("log")
        path = ("" if log is None else log.get("file", "")) if wanted.log_file is None else wanted.log_file
        if not path:
            tree.drop(element, "log")
            continue
        log = tree.ensure(element, "log")
        if log.get("file") != path:
            log.set("file", path)
        if wanted.append is not None and (log.get("append") == "on") != wanted.append:
            log.set("append", "on" if wanted.append else "off")


# -- what a person sees


def graphics(domain: ET.Element, wanted: Graphics) -> None:
    found = tree.devices(domain, "graphics")
    if wanted.type == "none":
        _remove(domain, "graphics")
        return
    element = next((one for one in found if one.get("type") == wanted.type), None)
    for other in found:
        if other is not element:
            tree.devices_element(domain).remove(other)
    if element is None:
        element = tree.child(tree.devices_element(domain), "graphics", type=wanted.type, autoport="yes")
    if wanted.port is not None and (element.get("port") != str(wanted.port) or element.get("autoport") == "yes"):
        tree.set_attributes(element, port=str(wanted.port), autoport="no")
    if wanted.listen is not None and _listens_on(element) != wanted.listen:
        for listener in tree.named(element, "listen"):
            if listener.get("type") in _OWN_LISTENERS:
                element.remove(listener)
        element.set("listen", wanted.listen)
        element.insert(0, ET.Element("listen", type="address", address=wanted.listen))
    if wanted.keymap is not None and element.get("keymap", "") != wanted.keymap:
        tree.set_attributes(element, keymap=wanted.keymap or None)
    if wanted.password is not None and element.get("passwd", "") != wanted.password:
        tree.set_attributes(element, passwd=wanted.password or None, passwdValidTo=None)


def _listens_on(element: ET.Element) -> str:
    listener = element.find("listen[@type='address']")
    return (listener.get("address", "") if listener is not None else "") or element.get("listen", "")


def video(domain: ET.Element, wanted: Video) -> None:
    found = tree.devices(domain, "video")
    element = found[0] if found else tree.child(tree.devices_element(domain), "video")
    model = tree.ensure(element, "model")
    if model.get("type") != wanted.model:
        tree.forget_place(element)
        model.attrib.clear()
        tree.drop(model, "acceleration")
        model.set("type", wanted.model)
        tree.drop(element, "driver")
        if wanted.model == "none":
            for other in found[1:]:
                tree.devices_element(domain).remove(other)
    if wanted.vram_mb is not None and model.get("vram") != str(wanted.vram_mb * 1024):
        model.set("vram", str(wanted.vram_mb * 1024))
    if wanted.heads is not None and model.get("heads", "1") != str(wanted.heads):
        model.set("heads", str(wanted.heads))


# -- further virtio devices


def vsock(domain: ET.Element, wanted: Vsock) -> None:
    if not wanted.enabled:
        _remove(domain, "vsock")
        return
    found = domain.find("devices/vsock")
    if found is None:
        found = tree.child(tree.devices_element(domain), "vsock", model="virtio")
        tree.child(found, "cid", auto="yes")
    cid = tree.ensure(found, "cid")
    if wanted.cid is not None and (cid.get("address") != str(wanted.cid) or cid.get("auto") == "yes"):
        tree.set_attributes(cid, address=str(wanted.cid), auto="no")


def rng(domain: ET.Element, wanted: Rng) -> None:
    if not wanted.enabled:
        _remove(domain, "rng")
        return
    found = domain.find("devices/rng")
    if found is None:
        found = tree.child(tree.devices_element(domain), "rng", model="virtio")
        tree.child(found, "backend", wanted.source or "/dev/urandom", model="random")
    backend = tree.ensure(found, "backend")
    if wanted.source is not None and (backend.get("model"), (backend.text or "").strip()) != ("random", wanted.source):
        backend.clear()
        backend.set("model", "random")
        backend.text = wanted.source
    if wanted.rate_bytes is not None:
        _rate(found, wanted.rate_bytes, wanted.rate_period_ms)


def _rate(element: ET.Element, amount: int, period: int | None) -> None:
    if not amount:
        tree.drop(element, "rate")
        return
    rate = tree.ensure(element, "rate")
    if rate.get("bytes") != str(amount):
        rate.set("bytes", str(amount))
    if period is not None and rate.get("period") != str(period):
        rate.set("period", str(period))


def watchdog(domain: ET.Element, wanted: Watchdog) -> None:
    if wanted.model == "none":
        _remove(domain, "watchdog")
        return
    found = tree.devices(domain, "watchdog")
    element = next((one for one in found if one.get("model") == wanted.model), None)
    for other in found:
        if other is not element:
            tree.devices_element(domain).remove(other)
    if element is None:
        element = tree.child(tree.devices_element(domain), "watchdog", model=wanted.model, action=wanted.action or "reset")
    if wanted.action is not None and element.get("action", "reset") != wanted.action:
        element.set("action", wanted.action)


# -- devices of the host


def hostdevs(domain: ET.Element, wanted: Sequence[HostDevice]) -> None:
    """All PCI and USB devices of the host that the guest has; others (SCSI, mediated) are left alone."""
    found = {device: element for element in tree.devices(domain, "hostdev") if (device := host_device(element)) is not None}
    for device, element in found.items():
        if device not in wanted:
            tree.devices_element(domain).remove(element)
    for device in wanted:
        if device not in found:
            tree.devices_element(domain).append(_host_device_element(device))
            if device.type == "usb":
                allow_usb(domain)


def host_device(element: ET.Element) -> HostDevice | None:
    source = element.find("source")
    if source is None:
        return None
    if element.get("type") == "pci" and (address := source.find("address")) is not None:
        parts = [int(address.get(key, "0"), 16) for key in ("domain", "bus", "slot", "function")]
        return HostDevice("pci", "{:04x}:{:02x}:{:02x}.{:x}".format(*parts))
    vendor, product = source.find("vendor"), source.find("product")
    if element.get("type") == "usb" and vendor is not None and product is not None:
        return HostDevice("usb", f"{int(vendor.get('id', '0'), 16):04x}:{int(product.get('id', '0'), 16):04x}")
    return None


def _host_device_element(device: HostDevice) -> ET.Element:
    element = ET.Element("hostdev", mode="subsystem", type=device.type, managed="yes")
    source = tree.child(element, "source")
    if device.type == "pci" and (match := _PCI.fullmatch(device.address)) is not None:
        domain, bus, slot, function = match.groups()
        tree.child(source, "address", domain=f"0x{domain}", bus=f"0x{bus}", slot=f"0x{slot}", function=f"0x{function}")
    else:
        vendor, _colon, product = device.address.partition(":")
        tree.child(source, "vendor", id=f"0x{vendor}")
        tree.child(source, "product", id=f"0x{product}")
    return element


def allow_usb(domain: ET.Element) -> None:
    """Guests that this collection makes have no USB controller; libvirt adds one as it is needed."""
    for element in tree.devices(domain, "controller"):
        if (element.get("type"), element.get("model")) == ("usb", "none"):
            tree.devices_element(domain).remove(element)
