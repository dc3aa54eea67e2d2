# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Reading machines: which domains are a pool's, and what is seen of each without a call for any other."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass

from ansible_collections.poolwright.virt.plugins.module_utils.errors import NotFound
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.guest import DomainState, Guest
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host
from ansible_collections.poolwright.virt.plugins.module_utils.providers.libvirt_machines.record import NAMESPACE, MachineRecord, from_element
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import Mark, is_machine_id
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import Machine, PoolTemplate, Power

_POWER = {
    DomainState.RUNNING: Power.RUNNING,
    DomainState.BLOCKED: Power.RUNNING,
    DomainState.SHUTDOWN: Power.RUNNING,
    DomainState.PAUSED: Power.PAUSED,
    DomainState.PMSUSPENDED: Power.PAUSED,
    DomainState.SHUTOFF: Power.OFF,
    DomainState.CRASHED: Power.CRASHED,
}


@dataclass(frozen=True)
class SeenMachine:
    """A domain of interest; ``record`` None where it is not ours."""

    guest: Guest
    power: Power
    record: MachineRecord | None
    transient: bool = False

    @property
    def mark(self) -> Mark | None:
        return None if self.record is None else self.record.mark


def power_of(state: DomainState) -> Power:
    return _POWER.get(state, Power.UNKNOWN)


def read_own(guest: Guest) -> tuple[ET.Element | None, MachineRecord | None]:
    """What the domain says about itself, in one call; nothing, without one where its UUID shows that it is not ours.

    A copy of one of our domains has a UUID of its own and carries our metadata all the same: it is not ours.
    :raises NotFound: it is gone.
    """
    element = guest.metadata(NAMESPACE) if is_machine_id(guest.uuid) else None
    record = None if element is None else from_element(element)
    return (element, record) if record is not None and record.mark.id == guest.uuid else (None, None)


def read_record(guest: Guest) -> MachineRecord | None:
    """``read_own`` without the element."""
    return read_own(guest)[1]


def see(guest: Guest) -> SeenMachine | None:
    """One domain; None where it went meanwhile."""
    try:
        record = read_record(guest)
        return SeenMachine(guest, power_of(guest.state()), record, record is not None and not guest.is_persistent())
    except NotFound:
        return None


def prefixes_of(host: Host) -> dict[str, str]:
    """How the machines of each pool that has any are named; one call, and one more for each machine of ours."""
    prefixes: dict[str, str] = {}
    for domain in host.domains():
        if not is_machine_id(domain.guest.uuid):
            continue
        try:
            record = read_record(domain.guest)
        except NotFound:
            continue
        if record is not None:
            stem, _hyphen, slot = domain.guest.name.rpartition("-")
            # A machine that somebody renamed does not tell how its pool's machines are named.
            if slot == str(record.mark.slot) or record.mark.pool not in prefixes:
                prefixes[record.mark.pool] = stem
    return prefixes


def machines_of(host: Host, template: PoolTemplate) -> list[SeenMachine]:
    """The pool's machines, whatever their names, and what else holds a name of its slots, by slot.

    Two calls, and one more for each that is ours. Those that vanish meanwhile are left out.
    """
    seen = [domain for domain in host.domains() if is_machine_id(domain.guest.uuid, template.name) or template.slot_of(domain.guest.name)]
    transient = host.transient_uuids() if any(is_machine_id(domain.guest.uuid) for domain in seen) else frozenset()
    found = []
    for domain in seen:
        try:
            record = read_record(domain.guest)
        except NotFound:
            continue
        slot = record.mark.slot if record is not None and record.mark.pool == template.name else template.slot_of(domain.guest.name)
        if slot is not None:
            found.append((slot, SeenMachine(domain.guest, power_of(domain.state), record, domain.guest.uuid in transient)))
    return [machine for _slot, machine in sorted(found, key=lambda entry: (entry[0], entry[1].guest.name))]


def as_machine(template: PoolTemplate, seen: SeenMachine, host: str, address_of: Callable[[MachineRecord], str], missing: Callable[[str], bool]) -> Machine:
    """:param address_of: the address of a machine that runs, "" for none.   :param missing: whether a path is gone."""
    record = seen.record
    if record is None:
        return Machine(seen.guest.name, seen.power, host=host)
    address = address_of(record) if seen.power is Power.RUNNING else ""
    broken = "" if record.mark.pool != template.name else damage(seen, record, missing)
    return Machine(seen.guest.name, seen.power, record.mark, host, address, broken)


def damage(seen: SeenMachine, record: MachineRecord, missing: Callable[[str], bool]) -> str:
    """What the machine has lost that it cannot work without, in words; "" for nothing."""
    images = {disk.record.backing.path for disk in record.disks if disk.record.backing is not None}
    for path in record.paths:
        if missing(path):
            if path in images:
                return f"the image {path}, which its disk stands on, is gone"
            return f"its {'seed' if path == record.seed else 'disk'} {path} is gone"
    return "its definition was removed while it runs" if seen.transient else ""


class Missing:
    """Whether paths are gone, each looked at once: the machines of a pool stand on one image."""

    def __init__(self) -> None:
        self._known: dict[str, bool] = {}

    def __call__(self, path: str) -> bool:
        if path not in self._known:
            try:
                os.stat(path)
                self._known[path] = False
            except (FileNotFoundError, NotADirectoryError):
                self._known[path] = True
            except OSError:
                # Not ours to look at (another user's directory) does not mean that it is gone.
                self._known[path] = False
        return self._known[path]
