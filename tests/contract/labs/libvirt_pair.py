# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The lab on two KVM hosts: the cases run on the first, inside ``tests/lab/kvm-pair.sh on 1``, and machines move to the second."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import libvirt

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock
from ansible_collections.poolwright.virt.plugins.module_utils.placement.choose import Rules
from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt import CAPABILITIES
from ansible_collections.poolwright.virt.tests.contract.labs.base import LabFailed
from ansible_collections.poolwright.virt.tests.contract.labs.libvirt_base import ROOT, LibvirtLab

TINY = ROOT / ".work" / "lab" / "tiny.qcow2"
PEERS = {"kvm2": "qemu+tcp://10.77.0.2/system"}


class LibvirtPairLab(LibvirtLab):
    name = "libvirt_pair"
    declared = replace(CAPABILITIES, migration=True)

    def own_uri(self) -> str:
        return "qemu:///system"

    def start(self) -> None:
        if socket.gethostname() != "kvm1":
            raise LabFailed("this is not the first of two KVM hosts: run it there, with tests/lab/kvm-pair.sh on 1 DIR")
        if not TINY.exists():
            raise LabFailed(f"there is no {TINY}: run make lab-up")

    def image(self) -> Path:
        return TINY

    @property
    def peers(self) -> Mapping[str, str]:
        return PEERS

    @property
    def rules(self) -> Rules:
        # Both hosts are this machine, so neither is better; all that others of its processes take between two readings stays within this.
        return Rules(margin=0.5)

    def other_host(self, host: str) -> str:
        return next(iter(PEERS))

    def address(self) -> str:
        return str(self.folder)

    @classmethod
    def attach(cls, address: str) -> LibvirtPairLab:
        return cls(Path(address), Clock())

    def cleanup(self) -> None:
        super().cleanup()
        for uri in PEERS.values():
            connection = libvirt.open(uri)
            for domain in connection.listAllDomains():
                with contextlib.suppress(libvirt.libvirtError):
                    domain.destroy()
                domain.undefine()
            connection.close()
