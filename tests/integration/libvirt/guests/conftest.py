# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Guests as ``libvirt_guest`` keeps them, on a libvirtd of the tests' own."""

from __future__ import annotations

import re
import threading
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import libvirt
import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.guests.request import guest_with
from ansible_collections.poolwright.virt.plugins.module_utils.guests.spec import run_options, state_option
from ansible_collections.poolwright.virt.tests.contract.labs.own_libvirtd import NETWORK, OwnLibvirtd
from ansible_collections.poolwright.virt.tests.integration.libvirt.conftest import TINY, banner
from ansible_collections.poolwright.virt.tests.integration.still import still_image

DEFAULTS = {key: option.get("default") for key, option in {**run_options(), **state_option()}.items()}
NAME = "g-1"
OURS = "https://poolwright.virt/xmlns/guest/1"


@dataclass
class Lab:
    """Short words for runs of the module's work on one libvirt, and for what is seen of it."""

    uri: str
    folder: Path
    daemon: OwnLibvirtd | None = None
    cancel: threading.Event = field(default_factory=threading.Event)

    @property
    def disks(self) -> Path:
        return self.folder / "disks"

    def run(self, *, check: bool = False, name: str = NAME, **options: Any) -> dict[str, Any]:
        params = {**DEFAULTS, "uri": self.uri, "location": str(self.folder / "state"), "virt_type": "qemu", "name": name, **options}
        return guest_with(params, check, self.cancel)

    def root(self, **options: Any) -> dict[str, Any]:
        """The tiny guest's disk."""
        place: dict[str, Any] = {"backend": "qcow2", "location": str(self.disks), "name": f"{NAME}_root"}
        return {**place, "image": {"source": str(TINY), "format": "qcow2"}, **options}

    def still(self, **options: Any) -> dict[str, Any]:
        """The same of a guest that need not boot."""
        return self.root(image={"source": str(still_image(self.folder)), "format": "qcow2"}, **options)

    def blank(self, name: str = "data", **options: Any) -> dict[str, Any]:
        return {"backend": "qcow2", "location": str(self.disks), "name": f"{NAME}_{name}", "size_gb": 0.01, **options}

    def booted(self, **options: Any) -> dict[str, Any]:
        """A guest that answers the power button; returns the last result."""
        wanted: dict[str, Any] = {"memory_mb": 192, "disks": [self.root()], "networks": [{"network": NETWORK}], "state": "running", **options}
        self.run(**wanted)
        clock = threading.Event()
        # Asked of libvirt itself: a run costs more than what is waited for.
        for _turn in range(3000):
            if self._has_an_address(str(wanted.get("name", NAME))):
                return self.run(**wanted)
            clock.wait(0.2)
        raise AssertionError("the guest got no address")

    def _has_an_address(self, name: str) -> bool:
        assert self.daemon is not None
        with self.daemon.opened() as connection:
            return bool(connection.lookupByName(name).interfaceAddresses(libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE))

    def answer(self, result: dict[str, Any]) -> str:
        """What the guest says on TCP 22; its lease may be one of a guest before it that had its address."""
        clock = threading.Event()
        for _turn in range(1500):
            try:
                return banner(result["addresses"][0])
            except OSError:
                clock.wait(0.4)
        raise AssertionError(f"nobody answers on {result['addresses']}")

    def xml(self, name: str = NAME, *, live: bool = False) -> str:
        assert self.daemon is not None
        with self.daemon.opened() as connection:
            return str(connection.lookupByName(name).XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE | (0 if live else libvirt.VIR_DOMAIN_XML_INACTIVE))).strip()

    def files(self) -> list[str]:
        return sorted(path.name for path in self.disks.iterdir()) if self.disks.exists() else []


def lines(text: str) -> Counter[str]:
    """A domain as a bag of lines such as ``devices/disk[vda]/driver@cache=none``; our own record is left out."""
    found: Counter[str] = Counter()

    def walk(element: ET.Element, path: str) -> None:
        found.update([f"{path}={(element.text or '').strip()}"] if (element.text or "").strip() or not (element.attrib or len(element)) else [])
        found.update(f"{path}@{key}={value}" for key, value in element.attrib.items())
        for child in element:
            if isinstance(child.tag, str) and not child.tag.startswith(f"{{{OURS}}}"):
                walk(child, f"{path}/{child.tag}" if path else child.tag)

    walk(ET.fromstring(text), "")
    return found


def difference(before: str, after: str) -> set[str]:
    """The lines that only one of both has, each led by - or +."""
    old, new = lines(before), lines(after)
    return {f"-{line}" for line in old - new} | {f"+{line}" for line in new - old}


def outside(changes: set[str], allowed: str) -> set[str]:
    """Those that are none of ``allowed``, a regular expression for the path."""
    return {line for line in changes if not re.match(allowed, line[1:])}


@pytest.fixture
def lab(daemon: OwnLibvirtd, tmp_path: Path) -> Iterator[Lab]:
    yield Lab(daemon.uri, tmp_path, daemon)
    daemon.remove_domains()
