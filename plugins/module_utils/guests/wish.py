# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""A guest as it is asked for: only what was given is compared with what is there. None stands for "not given"."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from ansible_collections.poolwright.virt.plugins.module_utils.storage.wish import DiskWish

BUS_PREFIXES = {"virtio": "vd", "scsi": "sd", "sata": "sd", "usb": "sd", "ide": "hd"}
"""Each bus with how the names of its disks begin."""


class State(enum.Enum):
    """What a guest shall be doing; ``PRESENT`` leaves that as it is."""

    PRESENT = "present"
    RUNNING = "running"
    PAUSED = "paused"
    SHUTOFF = "shutoff"
    REBOOTED = "rebooted"
    ABSENT = "absent"


class SnapshotState(enum.Enum):
    """``REVERTED`` gives the disks the contents that they had, each time."""

    PRESENT = "present"
    ABSENT = "absent"
    REVERTED = "reverted"


@dataclass(frozen=True)
class SnapshotWish:
    name: str
    state: SnapshotState = SnapshotState.PRESENT


@dataclass(frozen=True)
class Cpu:
    """The model (``mode`` as libvirt has it) and the topology of the virtual CPUs; ``features`` are names with policies."""

    mode: str | None = None
    model: str | None = None
    sockets: int | None = None
    dies: int | None = None
    cores: int | None = None
    threads: int | None = None
    features: tuple[tuple[str, str], ...] | None = None

    @property
    def topology(self) -> tuple[int, int, int, int] | None:
        """Sockets, dies, cores, threads."""
        if self.sockets is None and self.cores is None and self.threads is None and self.dies is None:
            return None
        return (self.sockets or 1, self.dies or 1, self.cores or 1, self.threads or 1)


@dataclass(frozen=True)
class NumaCell:
    cpus: str
    memory_mb: int


@dataclass(frozen=True)
class Numa:
    """The guest's own cells, and from which of the host's its memory comes."""

    cells: tuple[NumaCell, ...] | None = None
    mode: str | None = None
    nodeset: str | None = None


@dataclass(frozen=True)
class Balloon:
    model: str | None = None
    autodeflate: bool | None = None
    free_page_reporting: bool | None = None
    stats_period: int | None = None


@dataclass(frozen=True)
class Tpm:
    """``model`` is ``none``, ``tpm-crb`` or ``tpm-tis``; the version is 2.0."""

    model: str


@dataclass(frozen=True)
class Clock:
    offset: str | None = None
    timezone: str | None = None
    timers: tuple[Mapping[str, str], ...] | None = None


@dataclass(frozen=True)
class Disk:
    """A disk on a backend (``on``), which is made where that says what is on it; or a file or device that is there (``path``, ``format``)."""

    on: DiskWish | None = None
    path: str = ""
    format: str = ""
    target: str | None = None
    bus: str | None = None
    cache: str | None = None
    io: str | None = None
    discard: str | None = None
    detect_zeroes: str | None = None
    boot_order: int | None = None
    readonly: bool | None = None
    shareable: bool | None = None
    serial: str | None = None

    @property
    def label(self) -> str:
        return self.path if self.on is None else self.on.name


@dataclass(frozen=True)
class Cdrom:
    """A drive; ``path`` is "" for an empty one."""

    path: str = ""
    bus: str | None = None
    target: str | None = None
    boot_order: int | None = None


@dataclass(frozen=True)
class Card:
    """A network card on one of libvirt's networks, a bridge, or directly on a device of the host."""

    network: str = ""
    bridge: str = ""
    direct: str = ""
    direct_mode: str | None = None
    mac: str = ""
    model: str | None = None
    boot_order: int | None = None
    mtu: int | None = None
    link: bool | None = None
    filter: str | None = None


@dataclass(frozen=True)
class Channel:
    name: str
    type: str = "unix"


@dataclass(frozen=True)
class Serial:
    """``log_file`` is "" for none."""

    log_file: str | None = None
    append: bool | None = None


@dataclass(frozen=True)
class Graphics:
    """``type`` is ``none``, ``vnc`` or ``spice``; ``password`` is "" for none."""

    type: str
    listen: str | None = None
    port: int | None = None
    keymap: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Video:
    model: str
    vram_mb: int | None = None
    heads: int | None = None


@dataclass(frozen=True)
class Vsock:
    """``cid`` None lets libvirt choose."""

    enabled: bool = True
    cid: int | None = None


@dataclass(frozen=True)
class Rng:
    """Random numbers from a device of the host, ``rate_bytes`` at most in each ``rate_period_ms``."""

    enabled: bool = True
    source: str | None = None
    rate_bytes: int | None = None
    rate_period_ms: int | None = None


@dataclass(frozen=True)
class Watchdog:
    model: str
    action: str | None = None


@dataclass(frozen=True)
class HostDevice:
    """``address`` is ``0000:01:00.0`` for PCI; for USB ``vendor:product`` in hex."""

    type: str
    address: str


@dataclass(frozen=True)
class Wish:
    """All that was asked for of one guest. Amounts of memory in MiB. ``xml`` stands in place of everything typed."""

    name: str
    state: State = State.PRESENT
    uuid: str | None = None
    xml: str | None = field(default=None, repr=False)
    title: str | None = None
    description: str | None = None
    metadata: Mapping[str, str] | None = None
    machine: str | None = None
    cpus: int | None = None
    max_cpus: int | None = None
    cpu: Cpu | None = None
    memory_mb: int | None = None
    max_memory_mb: int | None = None
    ballooning: Balloon | None = None
    numa: Numa | None = None
    firmware: str | None = None
    secure_boot: bool | None = None
    tpm: Tpm | None = None
    features: Mapping[str, bool] | None = None
    clock: Clock | None = None
    on_poweroff: str | None = None
    on_reboot: str | None = None
    on_crash: str | None = None
    boot_order: tuple[str, ...] | None = None
    disks: tuple[Disk, ...] | None = None
    cdroms: tuple[Cdrom, ...] | None = None
    networks: tuple[Card, ...] | None = None
    agent: bool | None = None
    channels: tuple[Channel, ...] | None = None
    serial: Serial | None = None
    graphics: Graphics | None = None
    video: Video | None = None
    vsock: Vsock | None = None
    rng: Rng | None = None
    watchdog: Watchdog | None = None
    hostdevs: tuple[HostDevice, ...] | None = None
    autostart: bool | None = None
    snapshot: SnapshotWish | None = None

    @property
    def orders_devices(self) -> bool:
        """Whether devices are to be booted from by numbers of their own."""
        drives: tuple[Disk | Cdrom | Card, ...] = (*(self.disks or ()), *(self.cdroms or ()), *(self.networks or ()))
        return any(one.boot_order for one in drives)
