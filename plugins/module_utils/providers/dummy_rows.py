# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Rows of the dummy hypervisor as the contract's machines, and back. Pure."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

from ansible_collections.poolwright.virt.plugins.module_utils.dummy.faults import Boot
from ansible_collections.poolwright.virt.plugins.module_utils.dummy.store import Row, Seen
from ansible_collections.poolwright.virt.plugins.module_utils.errors import NotOurs
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import Mark
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import Check, Machine, PoolTemplate, Power, Readiness


def write_mark(mark: Mark) -> str:
    """Equal marks give equal texts."""
    return json.dumps(mark.to_dict(), sort_keys=True)


def read_mark(text: str) -> Mark | None:
    return Mark.from_dict(json.loads(text)) if text else None


def own_mark(row: Row, pool: str, phase: str) -> Mark:
    """:raises NotOurs: the machine carries no mark of this pool."""
    mark = read_mark(row.mark)
    if mark is None or mark.pool != pool:
        whose = f"it belongs to pool '{mark.pool}'" if mark else "it carries no mark"
        raise NotOurs(f"the machine is not one of pool '{pool}': {whose}", obj=row.name, phase=phase)
    return mark


def slot_in(template: PoolTemplate, machine: Machine) -> int | None:
    """The slot under which a pool lists a machine, None where it is not to be listed."""
    if machine.mark is not None and machine.mark.pool == template.name:
        return machine.mark.slot
    return template.slot_of(machine.name)


def power_of(row: Row, now: float) -> Power:
    if row.power == Power.RUNNING.value and row.off_at is not None and now >= row.off_at:
        return Power.OFF
    return Power(row.power)


def address_of(mark: Mark) -> str:
    """An IPv4 address that depends on pool and slot only."""
    block = hashlib.sha256(mark.pool.encode()).digest()[0]
    return f"10.{block}.{mark.slot // 256 % 256}.{mark.slot % 256}"


def machine_of(seen: Seen, now: float) -> Machine:
    row, power = seen.row, power_of(seen.row, now)
    mark = read_mark(row.mark)
    up = power is Power.RUNNING and row.up_at is not None and now >= row.up_at
    broken = ""
    if mark is not None and not seen.has_root:
        broken = "its root disk is gone"
    elif mark is not None and up and _renamed(row, now):
        broken = f"its guest calls itself {_drifted(row)}"
    return Machine(name=row.name, power=power, mark=mark, host=row.host, ip=row.ip if up else "", broken=broken)


def readiness_of(seen: Seen | None, pool: str, check: Check, now: float) -> Readiness:
    """The check's answer; running machines are ready from the moment their guests are up."""
    if seen is None:
        return Readiness(False, reason="it is gone")
    machine = machine_of(seen, now)
    if machine.mark is None or machine.mark.pool != pool:
        return Readiness(False, reason="it carries no mark of this pool")
    if machine.broken:
        return Readiness(False, machine.ip, machine.broken)
    if check is Check.NONE:
        return Readiness(True, machine.ip)
    if machine.power is not Power.RUNNING:
        return Readiness(False, reason=f"it is {machine.power.value}")
    if seen.row.up_at is None or now < seen.row.up_at:
        return Readiness(False, reason="its guest is booting")
    return Readiness(True, machine.ip)


def booted(row: Row, boot: Boot, now: float) -> Row:
    up_at = now + boot.seconds
    return replace(
        row,
        power=Power.RUNNING.value,
        booted_at=now,
        up_at=up_at,
        off_at=None if boot.off_after is None else up_at + boot.off_after,
        renamed_at=None if boot.renamed_after is None else up_at + boot.renamed_after,
    )


def switched_off(row: Row) -> Row:
    return replace(row, power=Power.OFF.value, booted_at=None, up_at=None, off_at=None, renamed_at=None)


def _renamed(row: Row, now: float) -> bool:
    return row.renamed_at is not None and now >= row.renamed_at


def _drifted(row: Row) -> str:
    return f"renamed-{row.name}"
