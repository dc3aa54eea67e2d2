# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Which files the domains of a host have as disks, whether they run or not, and whoever made them."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock
from ansible_collections.poolwright.virt.plugins.module_utils.errors import NotFound
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats

SYSTEM = "qemu:///system"
_SOCKETS = ("/run/libvirt/libvirt-sock", "/run/libvirt/virtqemud-sock")


def default_uri() -> str:
    """The system's QEMU where a libvirt daemon serves this host, "" where there is none to ask."""
    return SYSTEM if any(os.path.exists(path) for path in _SOCKETS) else ""


def disk_files(uri: str, clock: Clock, stats: Stats) -> list[tuple[str, str]]:
    """(``domain <name>``, path) of each file and block device that a domain names, those of its backing chain included.

    :raises ConnectionFailed, AuthenticationFailed: libvirt cannot be asked.
    """
    host = Host(uri, clock, stats)
    found = []
    try:
        for seen in host.domains():
            try:
                domain = seen.guest.xml()
            except NotFound:  # removed meanwhile
                continue
            found += [(f"domain {seen.guest.name}", path) for path in _paths(domain)]
    finally:
        host.close()
    return found


def _paths(domain: str) -> list[str]:
    sources = ET.fromstring(domain).findall("./devices/disk//source")  # noqa: S314  libvirt's own, and libvirt is trusted
    named = (source.get("file") or source.get("dev") for source in sources)
    return [path for path in named if path]
