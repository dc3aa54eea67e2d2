# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What is asked of a migration, as plain data, and where one goes. Pure."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.options import DiskOptions

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9a-fA-F:.]+\]")
_SCHEMES = {"qemu+tcp": "tcp", "qemu+tls": "tls", "qemu+ssh": "ssh", "qemu+libssh": "ssh", "qemu+libssh2": "ssh", "qemu": "tls"}
_WEAKER = {("tls", "tcp"), ("ssh", "tcp")}


class Mode(str, enum.Enum):
    AUTO = "auto"
    LIVE = "live"
    COLD = "cold"


class Storage(str, enum.Enum):
    AUTO = "auto"
    SHARED = "shared"
    COPY = "copy"


class OnTimeout(str, enum.Enum):
    ABORT = "abort"
    POSTCOPY = "postcopy"
    PAUSE = "pause"


@dataclass(frozen=True)
class NewPlace:
    """Where a disk is to lie on the target: ``device`` such as ``vda``; ``name`` is "" for that of the guest with the device."""

    device: str
    backend: str
    location: str
    name: str = ""
    options: DiskOptions = field(default_factory=DiskOptions)


@dataclass(frozen=True)
class Tuning:
    """How a guest that runs is moved. 0 and "" leave a choice to libvirt; times in seconds, but ``max_downtime`` in milliseconds."""

    bandwidth_mib: int = 0
    auto_converge: bool = False
    compress: bool = False
    post_copy: bool = False
    post_copy_after: float = 60.0
    max_downtime: int = 0
    transport: str = "tcp"
    migrate_uri: str = ""


@dataclass(frozen=True)
class Wish:
    """One guest's migration.

    :ivar copy_disks: devices that may be copied, None for all that are not shared.
    """

    name: str
    mode: Mode = Mode.AUTO
    storage: Storage = Storage.AUTO
    copy_disks: tuple[str, ...] | None = None
    disks: tuple[NewPlace, ...] = ()
    keep_source_disks: bool = False
    undefine_source: bool = True
    persist: bool = True
    tuning: Tuning = Tuning()
    timeout: float = 600.0
    on_timeout: OnTimeout = OnTimeout.ABORT
    shutdown_timeout: float = 60.0
    force: bool = False


@dataclass(frozen=True)
class Route:
    """The target's connection, and how memory and disks get there: ``tcp``, ``tls`` or ``ssh``."""

    uri: str
    transport: str


def route(target: str, transport: str | None) -> Route:
    """The connection that a target's name or URI stands for.

    :raises InvalidSpec: it is neither.
    """
    if "://" not in target:
        if not _HOST.fullmatch(target):
            raise InvalidSpec([f"target: {target!r} is neither a host's name nor a libvirt connection such as qemu+tls://kvm2/system"])
        found = transport or "tls"
        return Route(f"qemu+{found}://{target}/system", found)
    parts = urlsplit(target)
    own = _SCHEMES.get(parts.scheme)
    if own is None or not parts.hostname:
        raise InvalidSpec([f"target: {target!r} does not lead to another KVM host; use qemu+tls://, qemu+tcp:// or qemu+ssh:// with its name"])
    return Route(target, transport or own)


def weaker(found: Route) -> bool:
    """Whether a guest's memory would travel with less protection than what the two daemons say to each other."""
    return (_SCHEMES.get(urlsplit(found.uri).scheme, ""), found.transport) in _WEAKER


def wish_of(name: str, params: Mapping[str, Any], transport: str) -> Wish:
    """:param params: the module's."""
    copied = params.get("copy_disks")
    return Wish(
        name=name,
        mode=Mode(params["mode"]),
        storage=Storage(params["storage"]),
        copy_disks=None if copied is None else tuple(copied),
        disks=tuple(_place(one) for one in params["disks"]),
        keep_source_disks=bool(params["keep_source_disks"]),
        undefine_source=bool(params["undefine_source"]),
        persist=bool(params["persist"]),
        tuning=Tuning(
            bandwidth_mib=params["bandwidth_mib"] or 0,
            auto_converge=bool(params["auto_converge"]),
            compress=bool(params["compress"]),
            post_copy=bool(params["post_copy"]),
            post_copy_after=float(params["post_copy_after"]),
            max_downtime=params["max_downtime_ms"] or 0,
            transport=transport,
            migrate_uri=params["migrate_uri"] or "",
        ),
        timeout=float(params["timeout"]),
        on_timeout=OnTimeout(params["on_timeout"]),
        shutdown_timeout=float(params["shutdown_timeout"]),
        force=bool(params["force"]),
    )


def _place(one: Mapping[str, Any]) -> NewPlace:
    options = {key: one[key] for key in ("conf", "user", "keyring", "secret") if one.get(key)}
    return NewPlace(one["target"], one["backend"], one["location"], one.get("name") or "", DiskOptions(**options))


def problems(wish: Wish) -> list[str]:
    """What is wrong with a wish as such, each with its place and remedy."""
    found = []
    places = [one.device for one in wish.disks]
    if wish.disks and wish.mode is not Mode.COLD:
        found.append("disks: only a guest that is switched off can get its disks elsewhere; set mode: cold, or leave disks out")
    if len(set(places)) != len(places):
        found.append("disks: a device is named twice")
    if wish.storage is Storage.SHARED and wish.copy_disks:
        found.append("copy_disks: nothing is copied with storage: shared; leave one of them out")
    if wish.storage is Storage.SHARED and wish.disks:
        found.append("disks: they would be copied, which storage: shared excludes; leave one of them out")
    if wish.storage is Storage.COPY and wish.copy_disks == ():
        found.append("copy_disks: an empty list lets nothing be copied, and storage: copy asks for that; name the disks, or leave it out for all of them")
    if wish.on_timeout is OnTimeout.POSTCOPY and not wish.tuning.post_copy:
        found.append("on_timeout: postcopy needs post_copy: true, since memory has to be prepared for it from the start")
    if wish.tuning.transport == "ssh" and wish.tuning.migrate_uri:
        found.append("migrate_uri: with transport: ssh everything goes through libvirt's own connection; leave one of them out")
    if wish.tuning.transport == "ssh" and wish.tuning.post_copy:
        found.append("post_copy: it does not work through libvirt's own connection; use transport: tls")
    positive = {
        "bandwidth_mib": wish.tuning.bandwidth_mib or None,
        "max_downtime_ms": wish.tuning.max_downtime or None,
        "timeout": wish.timeout,
        "post_copy_after": wish.tuning.post_copy_after,
        "shutdown_timeout": wish.shutdown_timeout,
    }
    found += [f"{key}: {value} is not more than 0" for key, value in positive.items() if value is not None and value <= 0]
    uri = wish.tuning.migrate_uri
    if uri and (urlsplit(uri).scheme != "tcp" or not urlsplit(uri).hostname):
        found.append(f"migrate_uri: {uri!r} is not such as tcp://10.1.0.2")
    return found
