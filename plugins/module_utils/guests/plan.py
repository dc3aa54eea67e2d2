# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What a run for one guest does, and how that is told. Pure."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass, field

from ansible_collections.poolwright.virt.plugins.module_utils.guests import tree
from ansible_collections.poolwright.virt.plugins.module_utils.guests.live import LivePlan
from ansible_collections.poolwright.virt.plugins.module_utils.guests.look import ABSENT, Seen, told
from ansible_collections.poolwright.virt.plugins.module_utils.guests.power import Step
from ansible_collections.poolwright.virt.plugins.module_utils.guests.snapshots import Deed, SnapshotPlan, around
from ansible_collections.poolwright.virt.plugins.module_utils.guests.storage import StoragePlan


@dataclass(frozen=True)
class Plan:
    """What a run does. ``after`` is None where the guest is to be gone; ``secrets`` are names of those that are not there yet.

    ``reset_nvram``: it starts, and its NVRAM is of another firmware.
    """

    seen: Seen
    after: ET.Element | None = field(default=None, repr=False)
    changes: tuple[str, ...] = ()
    storage: StoragePlan = StoragePlan()
    snapshots: SnapshotPlan = SnapshotPlan()
    live: LivePlan = LivePlan()
    steps: tuple[Step, ...] = ()
    state: str = ABSENT
    autostart: bool = False
    define: bool = False
    secrets: tuple[str, ...] = ()
    reset_nvram: bool = False

    @property
    def changed(self) -> bool:
        """Whether anything is to be done."""
        return self._besides_live or not self.live.empty

    @property
    def only_live(self) -> bool:
        """Whether nothing is to be changed but the guest as it runs."""
        return not self._besides_live and not self.live.empty

    @property
    def _besides_live(self) -> bool:
        return bool(self.changes or self.steps or self.snapshots.steps or self.storage.missing or self.storage.growth or self.secrets)


def actions_of(plan: Plan) -> list[str]:
    """In words, in the order in which they are taken."""
    said = [f"make the secret {name}" for name in plan.secrets]
    said += [f"grow the disk {growth.own.record.path} to {growth.size} bytes" for growth in plan.storage.growth]
    if plan.after is None:
        return ["remove"] if plan.changes else []
    said += ["define"] if plan.define else []
    said += [f"make the disk {disk.record().path}" for disk in plan.storage.missing]
    said += [f"autostart {'on' if plan.autostart else 'off'}"] if plan.autostart != plan.seen.autostart else []
    for word, devices in (("unplug", plan.live.detach), ("plug", plan.live.attach), ("change", plan.live.update)):
        said += [f"{word} {device.what}" for device in devices]
    values = {"cpus": plan.live.cpus, "memory": plan.live.memory_kib, "statistics": plan.live.stats_period}
    said += [f"set {name}" for name, value in values.items() if value is not None]
    texts = {"title": plan.live.title, "description": plan.live.description, "metadata": plan.live.metadata or None}
    said += [f"set {name}" for name, value in texts.items() if value is not None]
    first, rest = around(plan.steps)
    taken = [*(str(step) for step in plan.snapshots.steps), *(["reset the nvram"] if plan.reset_nvram else [])]
    return [*said, *(step.value for step in first), *taken, *(step.value for step in rest)]


def diff_of(plan: Plan) -> dict[str, str]:
    seen = plan.seen
    before = told(seen.definition, seen.state, autostart=seen.autostart)
    if not plan.changed:
        return {"before": before, "after": before}
    after = told(plan.after, plan.state, autostart=plan.autostart)
    if plan.snapshots.names is not None:
        before += f"snapshots: {', '.join(plan.snapshots.names)}\n" if before else ""
        after += f"snapshots: {', '.join(plan.snapshots.names_after)}\n"
    after += "".join(f"disks: as in the snapshot {step.name}\n" for step in plan.snapshots.steps if step.deed is Deed.REVERT)
    if seen.definition is not None and plan.after is not None and passwords(seen.definition) != passwords(plan.after):
        after = after.replace(f'passwd="{tree.MASK}"', f'passwd="{tree.MASK} (another one)"')
    return {"before": before, "after": after}


def passwords(domain: ET.Element) -> list[str]:
    """To be compared, never shown."""
    return [element.get("passwd", "") for element in tree.devices(domain, "graphics")]
