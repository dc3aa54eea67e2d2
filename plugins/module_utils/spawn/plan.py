# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""What a single machine of libvirt or of the simulation lacks. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.poolwright.virt.plugins.module_utils.errors import NotOurs
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import MarkState
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import Machine, Power


@dataclass(frozen=True)
class Step:
    """``name`` is create, recreate, remove, power on or power off."""

    name: str
    reason: str

    def as_dict(self) -> dict[str, str]:
        return {"action": self.name, "reason": self.reason}


@dataclass(frozen=True)
class Plan:
    """The steps, and why it takes another machine, "" where it does not: then there are no steps unless that is allowed."""

    steps: tuple[Step, ...] = ()
    rebuild: str = ""


def plan(pool: str, state: str, machine: Machine | None, wanted_hash: str) -> Plan:
    """What brings the machine about; no other run is at it, so one that is being made was left so.

    :param state: poweredon, poweredoff, present or absent.   :raises NotOurs: what has the name is not a machine of ``vm_spawn``.
    """
    if machine is None:
        return Plan() if state == "absent" else Plan((Step("create", "it is not there"),))
    mark = machine.mark
    if mark is None or mark.pool != pool:
        whose = "carries no mark" if mark is None else f"belongs to pool {mark.pool!r}"
        hint = "rename that machine, or give this one another name"
        raise NotOurs(f"vm_spawn did not make the machine of this name (it {whose}); it is not touched", obj=machine.name, phase="observe", hint=hint)
    if state == "absent":
        return Plan((Step("remove", "it shall be absent"),))
    if mark.state is not MarkState.READY:
        return Plan((Step("recreate", "its making or removal was interrupted"),))
    if machine.broken:
        return Plan((Step("recreate", machine.broken),), machine.broken)
    if mark.spec_hash != wanted_hash:
        why = "it was made from another description"
        return Plan((Step("recreate", why),), why)
    if state == "poweredon" and machine.power is not Power.RUNNING:
        return Plan((Step("power on", f"it is {machine.power.value}"),))
    if state == "poweredoff" and machine.power is not Power.OFF:
        return Plan((Step("power off", f"it is {machine.power.value}"),))
    return Plan()
