# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Which guests have a disk: asked before it is removed, made anew or grown."""

from __future__ import annotations

import functools
import os
import threading
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock
from ansible_collections.poolwright.virt.plugins.module_utils.errors import NotFound, telling_where
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.domain_files import default_uri
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.guest import DomainState
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats
from ansible_collections.poolwright.virt.plugins.module_utils.storage import run
from ansible_collections.poolwright.virt.plugins.module_utils.storage.holders import Holder, Holders


def disks_with(params: Mapping[str, Any], check_mode: bool, cancel: threading.Event, *, clock: Clock | None = None) -> run.Result:
    """``storage.run.disks_with`` beside a libvirt that can be asked."""
    clock = clock or Clock()
    uri = default_uri() if params.get("uri") is None else str(params["uri"])
    ask = functools.partial(holders, uri, clock) if uri else Holders
    return run.disks_with(params, check_mode, cancel, ask=ask, clock=clock)


def holders(uri: str, clock: Clock) -> Holders:
    """All disks of all domains: of those that run as they run, and as they are defined.

    :raises ConnectionFailed, AuthenticationFailed: libvirt cannot be asked.
    """
    found: dict[str, list[Holder]] = defaultdict(list)
    with telling_where("uri"):
        host = Host(uri, clock, Stats(clock))
        try:
            for seen in host.domains():
                running = seen.state not in (DomainState.SHUTOFF, DomainState.CRASHED)
                try:
                    texts = {seen.guest.xml(), seen.guest.definition()} if running else {seen.guest.xml()}
                except NotFound:  # removed meanwhile
                    continue
                for source in {source for text in texts for source in _sources(text)}:
                    found[source].append(Holder(seen.guest.name, running))
        finally:
            host.close()
    return Holders({source: tuple(who) for source, who in found.items()})


def _sources(domain: str) -> list[str]:
    """Files and devices by their real paths, images of a pool by their names; those of backing chains included."""
    sources = ET.fromstring(domain).findall("./devices/disk//source")  # noqa: S314  libvirt's own, and libvirt is trusted
    paths = [path for source in sources if (path := source.get("file") or source.get("dev"))]
    names = [name for source in sources if (name := source.get("name")) and source.get("protocol")]
    return [*map(os.path.realpath, paths), *names]
