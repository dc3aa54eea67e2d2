# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What a module says of a migration. Pure, but for one look at the guest that has arrived."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.errors import VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.guests.power import name_of
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.guest import Guest
from ansible_collections.poolwright.virt.plugins.module_utils.migration.carry import Carrier
from ansible_collections.poolwright.virt.plugins.module_utils.migration.facts import GuestFacts, HostFacts
from ansible_collections.poolwright.virt.plugins.module_utils.migration.moves import CONVERTED, COPIED, SENT, DiskMove
from ansible_collections.poolwright.virt.plugins.module_utils.migration.plan import Plan
from ansible_collections.poolwright.virt.plugins.module_utils.migration.wish import Wish


@dataclass
class Account:
    """One guest's. ``mode`` is ``live``, ``cold`` or ``none``; ``state`` that on the target."""

    name: str
    uuid: str
    source: str
    target: str
    mode: str
    state: str
    changed: bool = False
    disks: list[dict[str, Any]] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    downtime: int = 0
    memory: int = 0
    disk_bytes: int = 0
    transferred: int = 0

    @classmethod
    def of(cls, guest: GuestFacts, source: HostFacts, target: HostFacts, plan: Plan) -> Account:
        mode = "live" if plan.live else "cold"
        disks = [_disk(move) for move in plan.moves]
        secrets = (f"define the secret {secret.name} on the target" for secret in plan.secrets)
        actions = [*secrets, *(f"{_WORDS[move.how]} {move.path}" for move in plan.of(COPIED, SENT, CONVERTED)), "migrate"]
        return cls(guest.name, guest.uuid, source.name, target.name, mode, guest.state, True, disks, actions, list(plan.warnings))

    def arrived(self, carrier: Carrier, guest: Guest | None) -> None:
        """Note what it took, as both hosts counted it."""
        progress = carrier.progress
        if guest is not None:
            try:
                progress.note(guest.last_job())
                self.state = name_of(guest.state())
            except VirtError as exc:
                self.warnings.append(f"{self.name}: {exc.message}")
        self.memory = progress.memory
        self.disk_bytes = progress.disk + carrier.sent
        self.transferred = max(progress.total, progress.memory + progress.disk) + carrier.sent
        self.downtime = max(0, progress.downtime) if self.mode == "live" else int(carrier.off * 1000)
        if progress.post_copy:
            self.actions.insert(self.actions.index("migrate") + 1, "post-copy")
        for disk in self.disks:
            disk["sha256"] = carrier.digests.get(disk["target"], "")

    def told(self, seconds: float, recovered: list[str]) -> dict[str, Any]:
        here, there = {"host": self.source, "state": self.state}, {"host": self.target, "state": self.state}
        before = {**here, "disks": {one["target"]: one["source"] for one in self.disks}}
        after = {**there, "disks": {one["target"]: one["path"] for one in self.disks}}
        return {
            "changed": self.changed,
            "name": self.name,
            "uuid": self.uuid,
            "state": self.state,
            "mode": self.mode,
            "source": self.source,
            "target": self.target,
            "disks": self.disks,
            "seconds": round(seconds, 3),
            "downtime_ms": self.downtime,
            "transferred_bytes": self.transferred,
            "memory_bytes": self.memory,
            "disk_bytes": self.disk_bytes,
            "recovered": recovered,
            "actions": self.actions,
            "warnings": self.warnings,
            "diff": {"before": before if self.changed else after, "after": after},
        }


_WORDS = {COPIED: "copy", SENT: "send", CONVERTED: "make"}


def foreseen(guest: GuestFacts, source: HostFacts, target: HostFacts, plan: Plan, wish: Wish) -> Account:
    """What a run would say, as far as that can be told before it."""
    account = Account.of(guest, source, target, plan)
    if wish.undefine_source and not plan.live:
        account.actions.append("undefine on the source")
    return account


def _disk(move: DiskMove) -> dict[str, Any]:
    return {
        "target": move.disk.device,
        "how": move.how,
        "source": move.disk.path,
        "path": move.path,
        "format": move.format,
        "size": move.disk.size,
        "base": "" if not move.disk.chain else "flattened" if move.flat else move.disk.chain[0][0],
        "sha256": "",
    }
