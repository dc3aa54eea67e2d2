# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What the tests of the dummy provider share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.dummy.config import DummyOptions
from ansible_collections.poolwright.virt.plugins.module_utils.providers.dummy import DummyProvider
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import Mark
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import Check, Machine, MachineSpec, PoolTemplate, ReadyCheck
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats

POOL = PoolTemplate("ci", "ci", MachineSpec(memory_mb=256), ReadyCheck(check=Check.IP))


class Bench:
    """A provider of the pool ``ci`` on a fresh database, with an instant clock unless told otherwise."""

    def __init__(self, path: Path, options: dict[str, Any], clock: Clock) -> None:
        self.clock = clock
        self.stats = Stats(clock)
        self.provider = DummyProvider([POOL], clock, self.stats, path=str(path), options=DummyOptions.from_dict(options))
        self.store = self.provider.store

    def mark(self, slot: int) -> Mark:
        return Mark("ci", slot, f"id-{slot}", "abc", "tiny", 1.0)

    def make(self, slot: int = 1, seconds: float = 3600) -> Machine:
        return self.provider.create_vm("ci", f"ci-{slot}", self.mark(slot), Deadline.after(self.clock, seconds))

    def destroy(self, slot: int = 1) -> bool:
        return self.provider.destroy_vm("ci", f"ci-{slot}", self.mark(slot))

    def start(self, slot: int = 1) -> None:
        self.provider.start_vm("ci", f"ci-{slot}", self.mark(slot))

    def names(self) -> list[str]:
        return [machine.name for machine in self.provider.vms_in_pool("ci")]

    @property
    def calls(self) -> dict[str, int]:
        return dict(self.stats.as_dict()["calls"])

    @property
    def logins(self) -> int:
        return int(self.stats.as_dict()["logins"])
