# Copyright (c) 2026, poolwright.virt contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Storage beside what each backend's cases need: a Ceph cluster that asks for keys, and the lab's libvirt."""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import libvirt
import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.options import DiskOptions
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats
from ansible_collections.poolwright.virt.tests.contract.imagebackend.staging import Supplies, make_supplies

LAB = Path(__file__).parents[2] / "lab"
URI = "qemu:///system"


@dataclass(frozen=True)
class Guarded:
    """A cluster that asks everybody for a key. Its user ``virt`` may use the pool ``rbd``; ``key`` is its key."""

    folder: Path
    key: str

    @property
    def options(self) -> DiskOptions:
        return DiskOptions(conf=str(self.folder / "ceph.conf"), user="virt", keyring=str(self.folder / "virt.keyring"))

    def keyring(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o600)
        return str(path)


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    try:
        tool(str(LAB / "ceph.sh"), "up", str(folder), "cephx")
        text = tool("ceph", "--conf", str(folder / "ceph.conf"), "auth", "get-or-create", "client.virt", "mon", "profile rbd", "osd", "profile rbd pool=rbd")
        found = Guarded(folder, text.partition("key = ")[2].split()[0])
        found.keyring("virt.keyring", text)
        yield found
    finally:
        tool(str(LAB / "ceph.sh"), "down", str(folder))


@pytest.fixture(scope="session")
def supplies(tmp_path_factory: pytest.TempPathFactory) -> Supplies:
    return make_supplies(tmp_path_factory.mktemp("images"))


@pytest.fixture
def soon() -> Deadline:
    return Deadline.after(Clock(), 600.0)


@pytest.fixture
def host() -> Iterator[Host]:
    clock = Clock()
    found = Host(URI, clock, Stats(clock))
    yield found
    found.close()


@pytest.fixture
def connection() -> Iterator[libvirt.virConnect]:
    """libvirt, without us."""
    found = libvirt.open(URI)
    yield found
    found.close()


def another_key() -> str:
    """A key as Ceph makes them (version, date, length, and what is secret), which no cluster knows."""
    return base64.b64encode(b"\1\0" + bytes(8) + b"\x10\0" + os.urandom(16)).decode()


def tool(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"{argv[0]}: {done.stderr}"
    return done.stdout
