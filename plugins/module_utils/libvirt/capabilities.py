# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What a host has, as plain data: read from libvirt's capability XML and typed for whoever decides on it. Pure."""

from __future__ import annotations

import xml.etree.ElementTree as ET  # what is parsed comes from libvirtd, which runs as root
from collections.abc import Mapping
from dataclasses import dataclass, field

from ansible_collections.poolwright.virt.plugins.module_utils.errors import OperationFailed


@dataclass(frozen=True)
class Versions:
    """Numbers as libvirt has them: 1,000,000 x major + 1,000 x minor + release."""

    libvirt: int
    hypervisor: int


@dataclass(frozen=True)
class HostCapabilities:
    """``uuid`` is "" for drivers without one; ``arch`` is the host's own.

    :ivar cpu: its ``<cpu>`` as XML, without what differs between hosts that are alike; "" where it does not tell.
    :ivar machines: the machine types of guests, every name of each, by ``arch/virt_type``, such as ``x86_64/kvm``.
    """

    uuid: str
    arch: str
    cpu: str = ""
    cpu_model: str = ""
    machines: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class CpuMatch:
    """How a CPU compares with a host's: the host has all of it (``fits``), and nothing else (``same``). ``why`` it does not fit, in libvirt's words."""

    fits: bool
    same: bool = False
    why: str = ""


@dataclass(frozen=True)
class DomainCapabilities:
    """What guests of one virtualization type, architecture and machine type can be.

    ``emulator`` and ``machine`` are "" where libvirt is to choose; ``cpu_modes`` are the supported values of ``<cpu mode=>``.
    """

    virt_type: str
    arch: str
    machine: str = ""
    emulator: str = ""
    max_vcpus: int = 1
    cpu_modes: frozenset[str] = frozenset()
    rng_models: frozenset[str] = frozenset()


@dataclass(frozen=True)
class NodeMemory:
    """KiB, as the host's own libvirt sees it. ``available`` counts what the kernel would give back: buffers and page cache."""

    total: int
    available: int


@dataclass(frozen=True)
class Metrics:
    """A host's load at one moment: ``cpu_busy`` and ``cpu_idle`` are nanoseconds since boot over all CPUs."""

    cpus: int
    memory: NodeMemory
    cpu_busy: int
    cpu_idle: int


@dataclass(frozen=True)
class NetworkState:
    name: str
    active: bool


@dataclass(frozen=True)
class NodeDevice:
    """A device of the host: libvirt's name, what it can be (``pci``, ``net``, ...), its place in sysfs, and its parent's name.

    ``address`` is ``0000:01:00.0`` for PCI, ``vendor:product`` for USB, "" for others.
    """

    name: str
    capability: str
    path: str = ""
    parent: str = ""
    address: str = ""
    vendor: str = ""
    product: str = ""
    driver: str = ""


def parse_node_device(text: str) -> NodeDevice:
    root = _parse(text, "device")
    capability = root.find("capability")
    kind = "" if capability is None else capability.get("type", "")
    address = ""
    if capability is not None and kind == "pci":
        parts = [int(capability.findtext(key, "0")) for key in ("domain", "bus", "slot", "function")]
        address = "{:04x}:{:02x}:{:02x}.{:x}".format(*parts)
    elif capability is not None and kind == "usb_device":
        ids = [_attribute(capability, key, "id") for key in ("vendor", "product")]
        address = ":".join(one.lower().replace("0x", "") for one in ids)
    vendor, product = ("", "") if capability is None else (capability.findtext("vendor", "") or "", capability.findtext("product", "") or "")
    return NodeDevice(
        root.findtext("name", ""), kind, root.findtext("path", ""), root.findtext("parent", ""), address, vendor, product, root.findtext("driver/name", "")
    )


def _attribute(element: ET.Element, path: str, key: str) -> str:
    found = element.find(path)
    return "" if found is None else found.get(key, "")


def secret_xml(usage: str, name: str, *, private: bool, ephemeral: bool, uuid: str = "") -> ET.Element:
    """A secret's definition; libvirt calls what it is known by differently for each use.

    :param uuid: "" leaves it to libvirt.
    """
    secret = ET.Element("secret", ephemeral="yes" if ephemeral else "no", private="yes" if private else "no")
    if uuid:
        ET.SubElement(secret, "uuid").text = uuid
    said = ET.SubElement(secret, "usage", type=usage)
    ET.SubElement(said, {"volume": "volume", "iscsi": "target"}.get(usage, "name")).text = name
    return secret


def parse_host_capabilities(text: str) -> HostCapabilities:
    root = _parse(text, "capabilities")
    arch = root.findtext("host/cpu/arch", "")
    if not arch:
        raise OperationFailed("libvirt's capabilities name no architecture", phase="connect")
    cpu = root.find("host/cpu")
    comparable = "" if cpu is None or cpu.find("model") is None else comparable_cpu(cpu)
    return HostCapabilities(root.findtext("host/uuid", "").lower(), arch, comparable, root.findtext("host/cpu/model", ""), _machine_types(root))


def comparable_cpu(cpu: ET.Element) -> str:
    """What two CPUs are compared by, as XML: neither how many there are, nor what a firmware update changes."""
    copied = ET.Element("cpu", dict(cpu.attrib))
    for element in cpu:
        if element.tag in ("arch", "model", "vendor", "feature"):
            kept = ET.SubElement(copied, element.tag, dict(element.attrib))
            kept.text = (element.text or "").strip() or None
    return ET.tostring(copied, encoding="unicode")


def _machine_types(root: ET.Element) -> dict[str, tuple[str, ...]]:
    """A virtualization type may have machine types of its own; without, it has those of its architecture."""
    found: dict[str, set[str]] = {}
    for arch in root.iterfind("guest/arch"):
        common = _machine_names(arch)
        for domain in arch.iterfind("domain"):
            kind = f"{arch.get('name', '')}/{domain.get('type', '')}"
            found.setdefault(kind, set()).update(_machine_names(domain) or common)
    return {kind: tuple(sorted(names)) for kind, names in sorted(found.items())}


def _machine_names(element: ET.Element) -> set[str]:
    return {name for one in element.iterfind("machine") for name in (one.text, one.get("canonical")) if name}


def parse_domain_capabilities(text: str) -> DomainCapabilities:
    root = _parse(text, "domainCapabilities")
    vcpu = root.find("vcpu")
    return DomainCapabilities(
        virt_type=root.findtext("domain", ""),
        arch=root.findtext("arch", ""),
        machine=root.findtext("machine", ""),
        emulator=root.findtext("path", ""),
        max_vcpus=int(vcpu.get("max", "1")) if vcpu is not None else 1,
        cpu_modes=frozenset(mode.get("name", "") for mode in root.iterfind("cpu/mode") if mode.get("supported") == "yes"),
        rng_models=frozenset(value.text or "" for value in root.iterfind("devices/rng/enum[@name='backendModel']/value")),
    )


def _parse(text: str, name: str) -> ET.Element:
    root = ET.fromstring(text)  # noqa: S314 (libvirt wrote it)
    if root.tag != name:
        raise OperationFailed(f"libvirt answered <{root.tag}> where <{name}> was asked for")
    return root
