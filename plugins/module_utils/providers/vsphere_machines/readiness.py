# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Whether machines pass their pool's check: all read in one call, and waited for in one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.net import answering
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import Check, PoolTemplate, Power, Readiness
from ansible_collections.poolwright.virt.plugins.module_utils.providers.vsphere_machines import addresses
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.binding import moid_of
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.vim import VIM

PATHS = ("name", "runtime.powerState", "guest.toolsRunningStatus", *addresses.PATHS)
WAIT_SECONDS = 1.0
"""How long one question waits for the first machine to become ready, when none is."""

_POWER = {"poweredOn": Power.RUNNING, "poweredOff": Power.OFF, "suspended": Power.PAUSED}
GONE = Readiness(False, reason="it is gone")


def judge(vim: VIM, template: PoolTemplate, machines: Mapping[str, Any]) -> dict[str, Readiness]:
    """:param machines: names and objects; who is called otherwise by now counts as gone."""
    check = template.ready.check
    answers = _ask(vim, check, template.ready.port, machines)
    waiting = {name: obj for name, obj in machines.items() if not answers[name].ready and answers[name] != GONE}
    if check in (Check.NONE, Check.RUNNING) or not waiting or len(waiting) < len(machines):
        return answers
    # With an address known, only its port is waited for, and of that vCenter tells nothing.
    if all(answer.ip for answer in answers.values()):
        return answers
    vim.wait_for_any(waiting.values(), PATHS, lambda values: of(check, values).ready, Deadline.after(vim.clock, WAIT_SECONDS))
    return _ask(vim, check, template.ready.port, machines)


def of(check: Check, values: Mapping[str, Any]) -> Readiness:
    """By a machine's properties ``PATHS``; whether a port answers is not looked at."""
    power = _POWER.get(values.get("runtime.powerState", ""), Power.UNKNOWN)
    if check is Check.NONE:
        return Readiness(True)
    if power is not Power.RUNNING:
        return Readiness(False, reason=f"it is {power.value}")
    if check is Check.RUNNING:
        return Readiness(True)
    address = addresses.address_in(values)
    if address:
        return Readiness(True, address)
    if values.get("guest.toolsRunningStatus") == "guestToolsRunning":
        return Readiness(False, reason="its VMware Tools run and tell no address yet that others could reach")
    return Readiness(False, reason="its VMware Tools do not run yet, so vCenter knows no address")


def _ask(vim: VIM, check: Check, port: int, machines: Mapping[str, Any]) -> dict[str, Readiness]:
    found = {moid_of(one.obj): one.properties for one in vim.get_many(machines.values(), PATHS, phase="ready")}
    answers = dict.fromkeys(machines, GONE)
    for name, obj in machines.items():
        values = found.get(moid_of(obj))
        if values is not None and values["name"] == name:
            answers[name] = of(check, values)
    return _with_port(answers, port) if check is Check.TCP else answers


def _with_port(answers: dict[str, Readiness], port: int) -> dict[str, Readiness]:
    asked = {name: answer.ip for name, answer in answers.items() if answer.ready}
    alive = answering(asked.values(), port)
    silent = {name: address for name, address in asked.items() if address not in alive}
    shown = {name: f"[{address}]" if ":" in address else address for name, address in silent.items()}
    return {**answers, **{name: replace(answers[name], ready=False, reason=f"nothing answers on {shown[name]}:{port}") for name in silent}}
