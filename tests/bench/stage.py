# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real machines for a measurement: libvirt is up before it, and nothing of it is left after."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import libvirt

from ansible_collections.poolwright.virt.tests.bench.figures import must
from ansible_collections.poolwright.virt.tests.bench.places import LIBVIRT, PREFIX, ROOT, TINY

URI = "qemu:///system"
_AT_ONCE = 8


class Stage:
    """A libvirt connection of our own beside that of what is measured, and a folder for this measurement."""

    def __init__(self, connection: Any, folder: Path) -> None:
        self.connection = connection
        self.folder = folder
        self.location = folder / "state"

    def params(self, *pools: dict[str, Any], **run: Any) -> dict[str, Any]:
        return {"provider": "libvirt", "uri": URI, "location": str(self.location), "pools": list(pools), **run}

    def running(self) -> int:
        """How many machines of ours run."""
        return sum(1 for domain in self.connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE) if domain.name().startswith(PREFIX))

    def clear(self) -> None:
        """Remove all our machines and their files; the cached images stay."""
        remove_domains(self.connection)
        shutil.rmtree(self.location / "machines", ignore_errors=True)

    def define(self, xml: str) -> None:
        self.connection.defineXML(xml)


def pool_of(name: str, size: int, memory_mb: int, **more: Any) -> dict[str, Any]:
    """A pool of tiny guests."""
    image = {"source": str(TINY), "format": "qcow2"}
    return {"name": f"{PREFIX}{name}", "size": size, "image": image, "memory_mb": memory_mb, "networks": [{"network": "default"}], **more}


@contextmanager
def libvirt_stage() -> Iterator[Stage]:
    """:raises Wrong: there is no libvirt, or not for this user."""
    must(os.geteuid() == 0, "real machines need root; run make bench as root")
    lab = subprocess.run([str(ROOT / "tests" / "lab" / "lab"), "up"], capture_output=True, text=True, check=False)
    must(lab.returncode == 0 and TINY.exists(), f"the lab could not be started: {lab.stderr}")
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    connection = libvirt.open(URI)
    # What a session that was killed has left is removed before, too.
    _remove(connection)
    LIBVIRT.mkdir(mode=0o711)
    stage = Stage(connection, LIBVIRT)
    try:
        yield stage
    finally:
        _remove(connection)
        connection.close()


def remove_domains(connection: Any) -> None:
    ours = [domain for domain in connection.listAllDomains() if domain.name().startswith(PREFIX)]
    # libvirt waits until a guest's process is gone, which takes whole seconds where nothing like init collects it.
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        list(threads.map(_remove_domain, ours))


def _remove_domain(domain: Any) -> None:
    with suppress(libvirt.libvirtError):
        domain.destroy()
    with suppress(libvirt.libvirtError):
        domain.undefine()


def _remove(connection: Any) -> None:
    remove_domains(connection)
    shutil.rmtree(LIBVIRT, ignore_errors=True)
