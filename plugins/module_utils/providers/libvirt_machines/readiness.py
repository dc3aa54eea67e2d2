# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Whether machines pass their pool's check: all asked together, in calls that do not grow with their number."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.guest import Guest
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host
from ansible_collections.poolwright.virt.plugins.module_utils.net import answering
from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt_machines.addresses import Addresses, from_agent
from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt_machines.observe import power_of
from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt_machines.record import MachineRecord
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import Check, PoolTemplate, Power, Readiness

_TCP_SECONDS = 1.0


def judge(host: Host, template: PoolTemplate, names: Iterable[str], record_of: Callable[[Guest], MachineRecord | None]) -> dict[str, Readiness]:
    """:param record_of: what a domain says about itself, remembered where it can be; None for what is not ours or gone."""
    answers = {name: Readiness(False, reason="it is gone") for name in names}
    addresses = Addresses(host)
    for domain in host.domains():
        name, power = domain.guest.name, power_of(domain.state)
        if name not in answers:
            continue
        if template.ready.check is not Check.NONE and power is not Power.RUNNING:
            answers[name] = Readiness(False, reason=f"it is {power.value}")
        elif template.ready.check in (Check.NONE, Check.RUNNING):
            answers[name] = Readiness(True)
        else:
            answers[name] = _with_address(template, domain.guest, record_of(domain.guest), addresses)
    if template.ready.check is Check.TCP:
        _ask(template.ready.port, answers)
    return answers


def is_static(template: PoolTemplate) -> bool:
    """Whether the pool's machines are told their addresses, rather than asking a DHCP server."""
    return bool(template.machine.seed.network_config)


def _with_address(template: PoolTemplate, guest: Guest, record: MachineRecord | None, addresses: Addresses) -> Readiness:
    if record is None:
        return Readiness(False, reason="it is gone")
    if record.mark.pool != template.name:
        return Readiness(False, reason=f"it belongs to pool '{record.mark.pool}'")
    if not record.cards:
        return Readiness(False, reason="it has no network card")
    address = addresses.of(record, static=is_static(template))
    if address:
        return Readiness(True, address)
    if addresses.awaits_lease(record, static=is_static(template)):
        return Readiness(False, reason="no DHCP lease yet")
    # A call for each such machine: nobody but the guest itself can tell.
    address = from_agent(guest.agent_addresses)
    return Readiness(bool(address), address, "" if address else "neither the host's neighbour table nor a guest agent shows its address yet")


def _ask(port: int, answers: dict[str, Readiness]) -> None:
    asked = {name: answer.ip for name, answer in answers.items() if answer.ready}
    alive = answering(asked.values(), port, _TCP_SECONDS)
    for name, address in asked.items():
        if address not in alive:
            shown = f"[{address}]" if ":" in address else address
            answers[name] = Readiness(False, address, f"nothing answers on {shown}:{port}")
