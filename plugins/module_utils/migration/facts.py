# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What is known of a guest and of the two hosts, as plain data, and how much of it a domain's XML tells. Pure."""

from __future__ import annotations

import enum
import os
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, field

from ansible_collections.poolwright.virt.plugins.module_utils.guests import edit_disks, record, tree
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.capabilities import Versions

_NVRAM = "/var/lib/libvirt/qemu/nvram"

Chain = tuple[tuple[str, str], ...]


class There(enum.Enum):
    """A path of the source host, as the target has it."""

    SHARED = "shared"  # the same file
    SAME = "same"  # a file of its own with the same bytes
    OTHER = "other"  # another file
    ABSENT = "absent"


@dataclass(frozen=True)
class Kept:
    """A snapshot that this collection took of a disk: a file beside it, which stands on what the disk stands on. Bytes it has, and takes."""

    path: str
    size: int = 0
    allocated: int = 0


@dataclass(frozen=True)
class Room:
    """Bytes that a directory's file system has in all, and has left."""

    capacity: int
    left: int


@dataclass(frozen=True)
class SecretCopy:
    """A secret that the guest needs and the target has not got. ``problem`` is why it cannot be made there, "" where it can."""

    uuid: str
    name: str = ""
    problem: str = ""
    xml: str = field(default="", repr=False)
    value: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class Disk:
    """A disk or drive of a guest. ``path`` is "" for an empty drive.

    :ivar kind: ``file``, ``block``, ``network``, ...   :ivar media: ``disk``, ``cdrom``, ``floppy`` or ``lun``.
    :ivar chain: path and format of the bases it stands on, nearest first.
    :ivar size: bytes the guest sees.   :ivar file_size: bytes its file has.
    :ivar allocated: bytes its file takes, and :ivar below: those of its bases.
    :ivar kept: its snapshots that are files of their own, and :ivar inside: how many are inside its file.
    :ivar own: it was made for the guest, so it is nobody else's.
    """

    device: str
    kind: str
    media: str
    format: str
    path: str
    readonly: bool = False
    cache: str = ""
    chain: Chain = ()
    size: int = 0
    file_size: int = 0
    allocated: int = 0
    below: int = 0
    kept: tuple[Kept, ...] = ()
    inside: int = 0
    own: bool = False
    protocol: str = ""

    @property
    def written(self) -> bool:
        return bool(self.path) and not self.readonly and self.media in ("disk", "lun")


@dataclass(frozen=True)
class GuestFacts:
    """A guest on the source. Memory in KiB.

    :ivar disks: with what they stand on.   :ivar nvram: path of its firmware's variables, "" for none; that of a guest that never ran may not be there.
    :ivar bound: what ties it to this host, in words.
    """

    name: str
    uuid: str
    state: str
    persistent: bool = True
    autostart: bool = False
    virt_type: str = "kvm"
    arch: str = ""
    machine: str = ""
    emulator: str = ""
    cpus: int = 1
    memory: int = 0
    cpu: str = ""
    cpu_mode: str = ""
    disks: tuple[Disk, ...] = ()
    networks: tuple[str, ...] = ()
    bridges: tuple[str, ...] = ()
    bound: tuple[str, ...] = ()
    nvram: str = ""
    nvram_size: int = 0
    tpm: bool = False
    snapshots: int = 0
    saved: bool = False
    secrets: tuple[str, ...] = ()
    directory: str = ""

    @property
    def active(self) -> bool:
        return self.state in ("running", "paused", "asleep")


@dataclass(frozen=True)
class HostFacts:
    """One of the two hosts. ``memory`` is what is free for guests, KiB.

    :ivar networks: libvirt's, with whether each is active.   :ivar bridges: None where libvirt does not say.
    :ivar cpu_fits: None where libvirt does not say.   :ivar max_cpus: 0 where no guest of this kind can be.
    :ivar there: the source's paths as this host has them.   :ivar directories: those of them that exist here.
    :ivar secrets: those that it has not got, of those the guest needs.
    :ivar room: of the directories that files may be made in, also of those that are not there yet.
    """

    name: str
    uuid: str
    driver: str
    arch: str
    versions: Versions
    memory: int = 0
    networks: Mapping[str, bool] = field(default_factory=dict)
    bridges: frozenset[str] | None = None
    cpu_fits: bool | None = None
    max_cpus: int = 0
    name_taken: str = ""
    uuid_taken: str = ""
    there: Mapping[str, There] = field(default_factory=dict)
    directories: frozenset[str] = frozenset()
    secrets: tuple[SecretCopy, ...] = ()
    room: Mapping[str, Room] = field(default_factory=dict)


def guest_facts(domain: ET.Element, state: str) -> GuestFacts:
    """What a domain's XML tells; sizes, chains of a guest that is off, and what libvirt keeps beside the XML are not in it."""
    kind = domain.find("os/type")
    vcpu = domain.findtext("vcpu", "1")
    cpu = domain.find("cpu")
    owned = {one.record.path for one in record.disks_of(domain)}
    machine = domain.find(f"metadata/{{{record.POOL_NAMESPACE}}}machine")
    directory = "" if machine is None else machine.get("directory", "")
    cards = [source for one in tree.devices(domain, "interface") if (source := one.find("source")) is not None]
    return GuestFacts(
        name=domain.findtext("name", ""),
        uuid=domain.findtext("uuid", "").lower(),
        state=state,
        virt_type=domain.get("type", ""),
        arch="" if kind is None else kind.get("arch", ""),
        machine="" if kind is None else kind.get("machine", ""),
        emulator=domain.findtext("devices/emulator", ""),
        cpus=int(vcpu),
        memory=tree.kib_of(domain.find("memory")) or 0,
        cpu="" if cpu is None else ET.tostring(cpu, encoding="unicode"),
        cpu_mode="" if cpu is None else cpu.get("mode", ""),
        disks=tuple(_disk(one, owned, directory) for one in edit_disks.disk_elements(domain, "disk", "lun", "cdrom", "floppy")),
        networks=tuple(dict.fromkeys(one.get("network", "") for one in cards if one.get("network"))),
        # A card on a network of libvirt's names the bridge of this host too, while it runs.
        bridges=tuple(dict.fromkeys(one.get("bridge", "") for one in cards if one.get("bridge") and not one.get("network"))),
        bound=tuple(_bound(domain)),
        nvram=_nvram(domain),
        tpm=domain.find("devices/tpm/backend[@type='emulator']") is not None,
        secrets=tuple(dict.fromkeys(_secrets(domain))),
        directory=directory,
    )


def _nvram(domain: ET.Element) -> str:
    nvram, system = domain.find("os/nvram"), domain.find("os")
    if nvram is not None:
        source = nvram.find("source")
        return (nvram.text or "").strip() or ("" if source is None else source.get("file", ""))
    # Until 9.1 libvirt names the file of a guest whose firmware it chose only while it runs.
    chosen = system is not None and system.get("firmware") == "efi"
    return os.path.join(_NVRAM, f"{domain.findtext('name', '')}_VARS.fd") if chosen else ""


def _disk(element: ET.Element, owned: set[str], directory: str) -> Disk:
    kind, path = edit_disks.source_of(element)
    driver, source = element.find("driver"), element.find("source")
    return Disk(
        device=edit_disks.target_of(element),
        kind=kind,
        media=element.get("device", "disk"),
        format="" if driver is None else driver.get("type", ""),
        path=path,
        readonly=element.find("readonly") is not None or element.get("device") in ("cdrom", "floppy"),
        cache="" if driver is None else driver.get("cache", ""),
        chain=_chain(element),
        own=path in owned or (bool(directory) and os.path.dirname(path) == directory),
        protocol="" if source is None else source.get("protocol", ""),
    )


def _chain(element: ET.Element) -> Chain:
    found, below = [], element.find("backingStore")
    while below is not None and below.find("source") is not None:
        kind = below.find("format")
        found.append((edit_disks.source_of(below)[1], "" if kind is None else kind.get("type", "")))
        below = below.find("backingStore")
    return tuple(found)


def _secrets(domain: ET.Element) -> list[str]:
    """UUIDs of those of its disks and of its TPM's state."""
    disks = [one.get("uuid", "").lower() for one in domain.iterfind("devices/disk//secret")]
    return [uuid for uuid in (*disks, *(one.get("secret", "").lower() for one in domain.iterfind("devices/tpm//encryption"))) if uuid]


def _bound(domain: ET.Element) -> list[str]:
    found = [f"a device of the host ({one.get('type', 'hostdev')})" for one in tree.devices(domain, "hostdev")]
    found += ["a card that is a device of the host" for one in tree.devices(domain, "interface") if one.get("type") in ("hostdev", "direct")]
    return [*found, *("a directory of the host as a file system" for one in tree.devices(domain, "filesystem"))]


def paths_of(guest: GuestFacts) -> tuple[str, ...]:
    """The files of the source that the guest cannot do without."""
    disks = [disk for disk in guest.disks if disk.kind == "file" and disk.path]
    files = [path for disk in disks for path in (disk.path, *(base for base, _format in disk.chain), *(one.path for one in disk.kept))]
    return tuple(dict.fromkeys([*files, *([guest.nvram] if guest.nvram else [])]))
