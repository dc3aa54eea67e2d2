# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Guests on libvirt's test driver, which lives inside this process, with disks that are real."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock
from ansible_collections.poolwright.virt.plugins.module_utils.guests import record, tree
from ansible_collections.poolwright.virt.plugins.module_utils.guests.request import guest_with
from ansible_collections.poolwright.virt.plugins.module_utils.guests.spec import run_options, state_option
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.guest import Guest
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats

URI = "test:///default"
DEFAULTS = {key: option.get("default") for key, option in {**run_options(), **state_option()}.items()}
SAME = ("changed", "actions", "changes", "state", "diff", "snapshots")


class Lab:
    """One guest, ``g``, with two disks where nothing else is said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # The driver forgets all of it with its last connection.
        self.host = Host(URI, Clock(), Stats(Clock()))
        self.host.driver()

    @property
    def disks(self) -> list[dict[str, Any]]:
        return [{"backend": "flat", "location": str(self.folder / "disks"), "name": name, "size_gb": 0.001} for name in ("g_root", "g_data")]

    def run(self, *, check: bool = False, **options: Any) -> dict[str, Any]:
        params = {**DEFAULTS, "uri": URI, "location": str(self.folder / "state"), "name": "g", **options}
        return guest_with(params, check, threading.Event())

    def predicted(self, **options: Any) -> dict[str, Any]:
        """What the run does, which is what was predicted."""
        before = self.contents()
        expected = self.run(check=True, **options)
        assert self.contents() == before
        result = self.run(**options)
        assert {key: expected.get(key) for key in SAME} == {key: result.get(key) for key in SAME}
        return result

    def make(self, state: str = "running") -> None:
        self.run(memory_mb=64, disks=self.disks, state="shutoff")
        self.bring(state)

    def bring(self, state: str) -> None:
        """The driver cannot start a guest that is to be paused from its first moment."""
        for step in ("running", "paused") if state == "paused" else (state,):
            self.run(state=step)

    @property
    def guest(self) -> Guest:
        found = self.host.guest("g")
        assert found is not None
        return found

    def write(self, text: bytes) -> None:
        for path in (self.folder / "disks").glob("*.raw"):
            with open(path, "r+b") as stream:
                stream.write(text)

    def read(self) -> set[bytes]:
        return {path.read_bytes()[:3] for path in (self.folder / "disks").glob("*.raw")}

    def files(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "disks").glob("*"))

    def contents(self) -> dict[str, bytes]:
        """Of every file below the guest's folder, by path."""
        return {str(path): path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}

    def interrupt(self, task: record.Task) -> None:
        """As a run leaves it that was killed in this."""
        definition = tree.parse(self.guest.definition())
        record.set_task(definition, task)
        self.host.define_text(tree.text_of(definition), "g")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path)
    try:
        yield made
    finally:
        made.run(state="absent")
        made.host.close()
