# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What a guest needs of the host it is on, read from its domain. Pure."""

from __future__ import annotations

import xml.etree.ElementTree as ET  # what is parsed comes from libvirtd, which runs as root
from collections.abc import Iterable
from dataclasses import dataclass

from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.capabilities import comparable_cpu
from ansible_collections.poolwright.virt.plugins.module_utils.placement.facts import CpuNeed, GuestFacts

_POOL_MACHINE = "metadata/{https://poolwright.virt/xmlns/machine/1}machine"
_DISK_KEYS = ("file", "dev", "name", "dir", "volume")
_HOST_CHARACTERS = ("dev", "pipe")
_KIB = 1024


@dataclass(frozen=True)
class Kept:
    """What libvirt keeps of a guest beside its definition: how many snapshots, and whether its memory is saved."""

    snapshots: int = 0
    saved: bool = False


def guest_facts(current: str, definition: str, state: str, *, persistent: bool, memory_kib: int, cpus: int, host_cpu: str, kept: Kept = Kept()) -> GuestFacts:
    """:param current: the domain's XML as it runs, the same as ``definition`` where it does not.

    :param definition: what it will be when it next starts.   :param memory_kib: that it may take at most.
    :param host_cpu: the CPU of the host it is on, as ``comparable_cpu`` has it.
    """
    domain, defined = _parse(current), _parse(definition)
    kind = domain.find("os/type")
    return GuestFacts(
        name=domain.findtext("name", ""),
        uuid=domain.findtext("uuid", "").lower(),
        state=state,
        persistent=persistent,
        memory_mb=-(-memory_kib // _KIB),
        cpus=cpus,
        arch="" if kind is None else kind.get("arch", ""),
        virt_type=domain.get("type", ""),
        machine="" if kind is None else kind.get("machine", ""),
        live_cpu=_cpu(domain, host_cpu, live=True),
        cold_cpu=_cpu(defined, host_cpu, live=False),
        networks=_unique(_source(card, "network") for card in _cards(domain, "network")),
        devices=_unique(_source(card, "bridge") for card in _cards(domain, "bridge")),
        tied=_unique([*(f"it has {what} of this host" for what in _ties(domain)), *_immovable(kept)]),
        not_cold=_unique(_only_live(domain, kept)),
        disks=_unique(_path(disk) for disk in domain.iterfind("devices/disk") if _writable(disk)),
        pool=_pool_of(domain),
    )


def _parse(text: str) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314 (libvirt wrote it)


def _cpu(domain: ET.Element, host_cpu: str, *, live: bool) -> CpuNeed:
    cpu = domain.find("cpu")
    if cpu is None:
        return CpuNeed()
    mode = cpu.get("mode", "custom")
    if mode == "custom":
        # One that only says how many sockets and cores there are.
        return CpuNeed() if cpu.find("model") is None else CpuNeed(mode, comparable_cpu(cpu))
    return CpuNeed(mode, host_cpu if live else "")


def _cards(domain: ET.Element, kind: str) -> list[ET.Element]:
    return [card for card in domain.iterfind("devices/interface") if card.get("type") == kind]


def _source(element: ET.Element, key: str) -> str:
    source = element.find("source")
    return "" if source is None else source.get(key, "")


def _writable(disk: ET.Element) -> bool:
    return disk.get("device", "disk") in ("disk", "lun") and disk.find("readonly") is None


def _path(disk: ET.Element) -> str:
    return next((found for key in _DISK_KEYS if (found := _source(disk, key))), "")


def _pool_of(domain: ET.Element) -> str:
    mark = domain.find(_POOL_MACHINE)
    # A copy of a machine carries its mark, and is no machine of the pool.
    return "" if mark is None or mark.get("id", "").lower() != domain.findtext("uuid", "").lower() else mark.get("pool", "")


def _ties(domain: ET.Element) -> list[str]:
    """What of the host is handed through to the guest, in words."""
    found = [f"the {one.get('type', '')} device {_address(one)}".rstrip() for one in domain.iterfind("devices/hostdev")]
    found += [f"the network device {_address(card)}".rstrip() for card in _cards(domain, "hostdev")]
    found += [f"the card {_source(card, 'dev')}".rstrip() for card in _cards(domain, "direct")]
    found += ["a vhost-user card" for _card in _cards(domain, "vhostuser")]
    found += [f"the NVMe drive {_source_address(disk)}".rstrip() for disk in domain.iterfind("devices/disk") if disk.get("type") == "nvme"]
    found += [f"the block device {_source(disk, 'dev')}" for disk in domain.iterfind("devices/disk[@type='block']") if _source(disk, "dev")]
    found += [f"the directory {_source(one, 'dir')}".rstrip() for one in domain.iterfind("devices/filesystem")]
    for tag in ("serial", "parallel", "console", "channel"):
        found += [f"the device {_source(one, 'path')}" for one in domain.iterfind(f"devices/{tag}") if one.get("type") in _HOST_CHARACTERS]
    found += ["memory that the host's processor encrypts" for _one in domain.iterfind("launchSecurity")]
    return found


def _immovable(kept: Kept) -> list[str]:
    return [f"it has {kept.snapshots} snapshots, which cannot move"] if kept.snapshots else []


def _only_live(domain: ET.Element, kept: Kept) -> list[str]:
    found = ["its memory is saved on this host"] if kept.saved else []
    tpm = domain.find("devices/tpm/backend[@type='emulator']")
    return found if tpm is None else [*found, "what its TPM keeps moves only while it runs"]


def _address(device: ET.Element) -> str:
    """``0000:01:00.0`` for PCI, ``vendor:product`` for USB, an mdev's UUID, "" for others."""
    source = device.find("source")
    if source is None:
        return ""
    vendor, product, address = source.find("vendor"), source.find("product"), source.find("address")
    if vendor is not None and product is not None:
        return ":".join(one.get("id", "").lower().replace("0x", "") for one in (vendor, product))
    if address is None:
        return ""
    return address.get("uuid", "") or _pci(address)


def _source_address(disk: ET.Element) -> str:
    address = disk.find("source/address")
    return "" if address is None else _pci(address)


def _pci(address: ET.Element) -> str:
    parts = [int(address.get(key, "0"), 0) for key in ("domain", "bus", "slot", "function")]
    return "{:04x}:{:02x}:{:02x}.{:x}".format(*parts)


def _unique(found: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one for one in found if one))
