# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Which files the domains of a host have as disks, whether they run or not, and whoever made them."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from collections.abc import Iterator

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock
from ansible_collections.poolwright.virt.plugins.module_utils.errors import IncompleteAnswer, NotFound
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.faults import InvalidState
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.guest import DomainState
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats

SYSTEM = "qemu:///system"
_SOCKETS = ("/run/libvirt/libvirt-sock", "/run/libvirt/virtqemud-sock")


def default_uri() -> str:
    """The system's QEMU where a libvirt daemon serves this host, "" where there is none to ask."""
    return SYSTEM if any(os.path.exists(path) for path in _SOCKETS) else ""


def disk_files(uri: str, clock: Clock, stats: Stats) -> list[tuple[str, str]]:
    """(``domain <name>``, path) of each file and block device that a domain names, those of its backing chain included.

    Of one that runs, both what it has and what it will have when it next starts: a disk that was plugged in or taken off by half is in one only.

    :raises ConnectionFailed, AuthenticationFailed: libvirt cannot be asked.
    :raises IncompleteAnswer: a disk is a volume of a pool that is not active, so nobody can tell which file that is.
    """
    host = Host(uri, clock, stats)
    found: dict[tuple[str, str], None] = {}
    try:
        for seen in host.domains():
            who = f"domain {seen.guest.name}"
            try:
                views = [seen.guest.xml(), *([seen.guest.xml(defined=True)] if seen.state is not DomainState.SHUTOFF else [])]
            except NotFound:  # removed meanwhile
                continue
            found.update(dict.fromkeys((who, path) for view in views for path in _paths(host, who, view)))
    finally:
        host.close()
    return list(found)


def _paths(host: Host, who: str, domain: str) -> Iterator[str]:
    for source in ET.fromstring(domain).findall("./devices/disk//source"):  # noqa: S314  libvirt's own, and libvirt is trusted
        path = source.get("file") or source.get("dev")
        pool, volume = source.get("pool"), source.get("volume")
        if pool and volume:
            try:
                path = host.volume_path(pool, volume)
            except InvalidState as exc:
                said = f"its disk is the volume {volume} of the pool {pool}, which is not active, so nobody can say which images are in use"
                raise IncompleteAnswer(said, obj=who, phase="look up", hint=f"start the pool: virsh pool-start {pool}") from exc
        if path:
            yield path
