# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The lab on libvirt's test driver: no daemon, no guest; domains live in this process, their files are real."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock
from ansible_collections.poolwright.virt.tests.contract.labs.libvirt_base import LibvirtLab, blank_qcow2


class LibvirtTestLab(LibvirtLab):
    name = "libvirt_test"
    declared = replace(LibvirtLab.declared, disks=False)  # the driver plugs nothing
    domain_type = "test"

    def own_uri(self) -> str:
        return "test:///default"

    def start(self) -> None:
        # Held open: the driver forgets everything with its last connection.
        assert self.connection.getType() == "TEST"
        self.image().write_bytes(blank_qcow2())

    def image(self) -> Path:
        return self.folder / "image.qcow2"

    def machines(self) -> set[str]:
        return super().machines() - self.spared()

    def spared(self) -> set[str]:
        """The driver's own domain."""
        return {"test"}

    @classmethod
    def attach(cls, address: str) -> LibvirtTestLab:
        lab = cls(Path(address), Clock())
        assert lab.connection
        return lab
