# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The lab on QEMU: a libvirtd of its own, which every provider reaches over a wire of its own.

Its machines run, and have a guest only where a case asks for what a guest says: to boot one takes a hundred times as long.
"""

from __future__ import annotations

import atexit
import functools
import os
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock
from ansible_collections.poolwright.virt.plugins.module_utils.images.source import ImageSource
from ansible_collections.poolwright.virt.plugins.module_utils.pool.spec import needs_address
from ansible_collections.poolwright.virt.plugins.module_utils.providers.base import Provider
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import Check, MachineSpec, PoolTemplate
from ansible_collections.poolwright.virt.tests.contract.labs.base import Ability, LabFailed
from ansible_collections.poolwright.virt.tests.contract.labs.libvirt_base import ROOT, LibvirtLab, blank_qcow2
from ansible_collections.poolwright.virt.tests.contract.labs.own_libvirtd import OwnLibvirtd
from ansible_collections.poolwright.virt.tests.contract.labs.wire import Wire

TINY = ROOT / ".work" / "lab" / "tiny.qcow2"
# The call whose answer is lost: the last that changes something, so that the work is done.
LOST = {
    "vms_in_pool": "virConnectGetAllDomainStats",
    "create_vm": "virDomainCreateWithFlags",
    "destroy_vm": "virDomainUndefineFlags",
    "start_vm": "virDomainCreateWithFlags",
    "set_mark": "virDomainSetMetadata",
}


@functools.cache
def own_libvirtd() -> OwnLibvirtd:
    """One for all cases of a run."""
    daemon = OwnLibvirtd()
    atexit.register(daemon.stop)
    daemon.start()
    return daemon


class LibvirtQemuLab(LibvirtLab):
    name = "libvirt_qemu"
    abilities = LibvirtLab.abilities | {Ability.LOSE_ANSWER, Ability.EXPIRE_SESSION, Ability.OUTAGE, Ability.SHARED, Ability.BOOTS_SLOWLY}

    def __init__(self, folder: Path, clock: Clock) -> None:
        super().__init__(folder, clock)
        self._uri = ""
        self._wires: list[Wire] = []
        self._target = Path()

    def own_uri(self) -> str:
        return self._uri

    def start(self) -> None:
        if not TINY.exists():
            raise LabFailed(f"there is no {TINY}: run make lab-up")
        daemon = own_libvirtd()
        self._uri, self._target = daemon.uri, daemon.socket
        self._blank.write_bytes(blank_qcow2())

    @property
    def _blank(self) -> Path:
        return self.folder / "blank.qcow2"

    def machine(self) -> MachineSpec:
        """Its firmware finds nothing to boot, and halts."""
        return replace(super().machine(), image=ImageSource(str(self._blank)))

    def template(self, name: str = "ci", *, prefix: str = "", machine: MachineSpec | None = None, check: Check = Check.RUNNING) -> PoolTemplate:
        with_guest = super().machine() if needs_address(check) else None
        return super().template(name, prefix=prefix, machine=machine or with_guest, check=check)

    def image(self) -> Path:
        return TINY

    def provider_uri(self) -> str:
        # Below the daemon's folder: a case's own is too long for a socket's path.
        path = self._target.parent / f"wire-{os.getpid()}-{len(self._wires)}"
        self._wires.append(Wire(path, self._target))
        return f"qemu+unix:///system?socket={path}"

    def cleanup(self) -> None:
        super().cleanup()
        for wire in self._wires:
            wire.close()
        self._wires.clear()

    def hold_addresses(self) -> AbstractContextManager[None]:
        return own_libvirtd().without_leases()

    def lose_answer(self, provider: Provider, method: str) -> None:
        self._wire(provider).lose_answer(LOST[method])

    def expire_session(self, provider: Provider) -> None:
        self._wire(provider).hang_up()

    def cut_off(self, provider: Provider) -> None:
        self._wire(provider).cut()

    def reconnect(self, provider: Provider) -> None:
        self._wire(provider).mend()

    def _wire(self, provider: Provider) -> Wire:
        return next(wire for wire, made in zip(self._wires, self.providers) if made is provider)

    def address(self) -> str:
        return f"{self._target}:{self.folder}"

    @classmethod
    def attach(cls, address: str) -> LibvirtQemuLab:
        target, _colon, folder = address.partition(":")
        lab = cls(Path(folder), Clock())
        lab._target = Path(target)
        lab._uri = f"qemu+unix:///system?socket={target}"
        return lab
