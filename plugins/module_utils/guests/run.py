# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""One run for one guest: look, plan, carry out, and say what was done.

The order is what makes it safe to be killed: the definition, which names all disks that are to be made, comes before
the first of them, and goes after the last when a guest is removed. What a killed run left is taken up by the next.
"""

from __future__ import annotations

import threading
import xml.etree.ElementTree as ET
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec, OperationFailed, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.guests import base, edit_disks, edit_system, power, record, tree
from ansible_collections.poolwright.virt.plugins.module_utils.guests.checks import check_devices, refuse_growth, refuse_pools
from ansible_collections.poolwright.virt.plugins.module_utils.guests.live import LivePlan, plan_live
from ansible_collections.poolwright.virt.plugins.module_utils.guests.look import AddressBook, Seen, disks_view, look, networks_view
from ansible_collections.poolwright.virt.plugins.module_utils.guests.options import Scene, edited, options, settled
from ansible_collections.poolwright.virt.plugins.module_utils.guests.overlays import seen_through
from ansible_collections.poolwright.virt.plugins.module_utils.guests.plan import Plan, actions_of, diff_of, passwords
from ansible_collections.poolwright.virt.plugins.module_utils.guests.plug import carry_out
from ansible_collections.poolwright.virt.plugins.module_utils.guests.power import Patience, Step
from ansible_collections.poolwright.virt.plugins.module_utils.guests.secrets import with_secrets
from ansible_collections.poolwright.virt.plugins.module_utils.guests.snapshots import (
    SnapshotPlan,
    around,
    begin_snapshots,
    carry_out_snapshots,
    end_snapshots,
    plan_snapshots,
    power_steps,
)
from ansible_collections.poolwright.virt.plugins.module_utils.guests.storage import Storage, info_of, remove_disks
from ansible_collections.poolwright.virt.plugins.module_utils.guests.wish import State, Wish
from ansible_collections.poolwright.virt.plugins.module_utils.images.cache import ImageCache
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.ceph_disks import CephSecret
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.domain_xml import Platform
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.guest import Guest
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host
from ansible_collections.poolwright.virt.plugins.module_utils.storage.record import OwnDisk

Result = dict[str, Any]


@dataclass(frozen=True)
class Options:
    """How a run goes about it. Times in seconds; ``keep`` is any of ``disks``, ``nvram`` and ``tpm``."""

    check_mode: bool = False
    shutdown_timeout: float = 60.0
    force: bool = False
    keep: frozenset[str] = frozenset()
    unplug_timeout: float = 20.0
    timeout: float = 3600.0


@dataclass(frozen=True)
class Site:
    """The host and what runs on it have in common.

    :ivar platform: what new guests run on, and a warning; asked only where one is made.
    :ivar lock: held while a guest of this name is changed.
    :ivar book: the guests' addresses, looked up once for all of them.
    """

    host: Host
    cache: ImageCache
    clock: Clock
    platform: Callable[[], tuple[Platform, str]]
    lock: Callable[[str, Deadline], AbstractContextManager[object]]
    book: AddressBook


class GuestRun:
    """:raises VirtError: from ``result``; what was changed before it is mended by the next run."""

    def __init__(self, site: Site, wish: Wish, opts: Options, cancel: threading.Event) -> None:
        self._site = site
        self._host = site.host
        self._wish = wish
        self._opts = opts
        self._deadline = Deadline.after(site.clock, opts.timeout)
        self._patience = Patience(site.clock, opts.shutdown_timeout, opts.force, cancel)
        self._warnings: list[str] = []
        self._left: list[str] = []
        self._refused: list[str] = []
        self._made: list[tuple[str, str]] = []
        self._secrets: tuple[CephSecret, ...] = ()

    def result(self) -> Result:
        # A prediction need not wait for others.
        with nullcontext() if self._opts.check_mode else self._site.lock(self._wish.name, self._deadline):
            return self.result_for(look(self._host, self._wish.name))

    def result_for(self, seen: Seen) -> Result:
        """The same for a guest that was looked at already; its lock is the caller's affair."""
        refuse_pools(seen, self._wish.name)
        if self._wish.state is State.ABSENT:
            return self._absent(seen)
        self._wish, self._secrets = with_secrets(self._host, self._wish)
        return self._present(seen)

    # -- absent

    def _absent(self, seen: Seen) -> Result:
        own = () if seen.definition is None else record.disks_of(seen.definition)
        plan = Plan(seen, changes=("absent",) if seen.guest is not None else ())
        foreign = _foreign_disks(seen, own)
        kept = [disk.record.path for disk in own] if "disks" in self._opts.keep else []
        removed: list[str] = []
        if not self._opts.check_mode and seen.guest is not None:
            removed = self._remove(seen, seen.guest, own, gently=bool(kept or foreign))
        elif seen.guest is not None and not kept:
            removed = [disk.record.path for disk in own if disk.place().exists(self._deadline)]
        return {**self._account(plan, seen, ()), "removed": removed, "kept": [*kept, *foreign]}

    def _remove(self, seen: Seen, guest: Guest, own: tuple[OwnDisk, ...], *, gently: bool) -> list[str]:
        """:param gently: disks stay, so what is on them shall be whole."""
        if seen.active and not seen.persistent:
            # It would vanish as it stops, and leave its disks without a record.
            self._host.define_text(tree.text_of(_defined(seen)), guest.name)
        if seen.active and gently:
            power.shut_down(guest, self._patience)
        guest.destroy()
        removed = [] if "disks" in self._opts.keep else remove_disks(own, self._deadline)
        guest.undefine(self._opts.keep & {"nvram", "tpm"})
        return removed

    # -- everything else

    def _present(self, seen: Seen) -> Result:
        plan = self._plan(seen)
        pending = plan.live.pending
        for secret in () if self._opts.check_mode else self._secrets:
            # Also where nothing changes: nobody can tell whether it holds the key that the keyring has now.
            secret.put(self._host)
        if not self._opts.check_mode and plan.changed:
            guest = self._carry_out(plan)
            now = look(self._host, self._wish.name)
            if plan.live.pending or not plan.live.empty or self._wish.xml is not None:
                pending = self._pending(now, guest.uuid)
            return self._account(plan, now, pending)
        if plan.steps and Step.START in plan.steps:
            pending = ()
        return self._account(plan, seen, pending)

    def _plan(self, seen: Seen) -> Plan:
        plan = self._plan_typed(seen) if self._wish.xml is None else self._plan_xml(seen)
        snapshots = SnapshotPlan() if plan.after is None else plan_snapshots(self._wish, seen, plan.after, self._deadline)
        steps = power_steps(seen, self._wish.state, snapshots)
        state = power.after("shutoff" if seen.guest is None else seen.state, steps)
        autostart = seen.autostart if self._wish.autostart is None else self._wish.autostart
        changes = plan.changes
        if autostart != seen.autostart:
            changes = (*changes, "autostart")
        if seen.guest is not None and not seen.persistent:
            changes = (*changes, "definition")
        define = bool(changes) and changes != ("autostart",)
        # Off before it could take anything.
        live = LivePlan() if Step.PULL_PLUG in steps else plan.live
        missing = tuple(secret.name for secret in self._secrets if secret.missing)
        starts = Step.START in steps or Step.START_PAUSED in steps
        stale = starts and plan.after is not None and record.nvram_is_stale(plan.after)
        plan = replace(plan, secrets=missing, reset_nvram=stale, live=live, snapshots=snapshots)
        return replace(plan, steps=steps, state=state, autostart=autostart, changes=changes, define=define)

    def _uuid(self, seen: Seen) -> str:
        asked = self._wish.uuid
        if seen.guest is not None:
            if asked is not None and asked != seen.guest.uuid:
                raise InvalidSpec([f"uuid: the guest has {seen.guest.uuid}; it cannot become {asked}. Leave it out, or remove the guest first"])
            return seen.guest.uuid
        if asked is not None:
            return asked
        if self._wish.xml is not None:
            said = (tree.parse(self._wish.xml).findtext("uuid") or "").strip().lower()
            if said:
                return said
        return base.uuid_for(self._wish.name, self._host.capabilities().uuid, lambda uuid: self._host.guest_of(uuid) is not None)

    def _plan_typed(self, seen: Seen) -> Plan:
        wish, uuid, canonical = self._wish, self._uuid(seen), ""
        if seen.definition is None:
            platform, warning = self._site.platform()
            self._warnings += [warning] if warning else []
            canonical = self._canonical(base.machine_of(wish), platform.virt_type)
            before = base.new_domain(wish, uuid, platform, canonical)
        else:
            before = seen.definition
            canonical = self._canonical(wish.machine or "", before.get("type", ""))
        scene = Scene(uuid, canonical, seen_through(before, {disk.label: info_of(disk) for disk in wish.disks or ()}))
        check_devices(self._host, wish, before)
        own = record.disks_of(before)
        storage = Storage(self._site.cache, self._deadline, fetch=not self._opts.check_mode).plan(wish.disks or (), own, wish.name)
        refuse_growth(storage, scene, seen)
        self._warnings += storage.notes
        after, names = edited(before, wish, scene)
        if storage.own != own:
            record.set_disks(after, storage.own)
        if seen.guest is not None and edit_system.is_efi(after) and {"firmware", "secure_boot"} & set(names):
            record.set_nvram_stale(after, True)
        grown = ["disks"] if (storage.growth or (storage.own != own)) and "disks" not in names else []
        live = LivePlan()
        if seen.current is not None:
            live = plan_live(seen.current, options(settled(wish, after, scene), scene, live=True))
            # A running domain that loses its definition still tells which disks are its own.
            live = replace(live, metadata=live.metadata or record.disks_of(seen.current) != tuple(replace(disk, made=True) for disk in storage.own))
        return Plan(seen, after, (*names, *grown) if seen.guest is not None else ("definition", *names), storage, live=live)

    def _canonical(self, machine: str, virt_type: str) -> str:
        if not machine or virt_type == "test":
            return ""
        found = self._host.domain_capabilities(virt_type, machine)
        if found is None:
            raise InvalidSpec([f"machine: {machine!r} is not known to this host's {virt_type}"])
        return found.machine

    def _plan_xml(self, seen: Seen) -> Plan:
        uuid, before = self._uuid(seen), seen.definition
        after = base.from_xml(self._wish, uuid, before)
        given = record.digest(after)
        if before is not None:
            running = () if seen.current is None or record.source_of(seen.current)[0] in ("", given) else ("xml",)
            if record.source_of(before) == (given, record.digest(before)) and passwords(before) == passwords(after):
                return Plan(seen, before, live=LivePlan(pending=running))
            record.set_disks(after, record.disks_of(before))
            if record.values_of(before):
                record.edit_values(after, record.values_of(before))
        record.set_source(after, given, "")
        pending = ("xml",) if seen.active else ()
        return Plan(seen, after, ("xml",) if before is not None else ("definition", "xml"), live=LivePlan(pending=pending))

    def _pending(self, now: Seen, uuid: str) -> tuple[str, ...]:
        """What a domain that runs has not got, as it says itself."""
        if now.current is None or now.definition is None:
            return ()
        if self._wish.xml is not None:
            return () if record.source_of(now.current)[0] == record.source_of(now.definition)[0] else ("xml",)
        wish = self._wish
        places = seen_through(now.definition, {disk.label: info_of(disk) for disk in wish.disks or ()})
        scene = Scene(uuid, self._canonical(wish.machine or "", now.definition.get("type", "")), places)
        left = plan_live(now.current, options(settled(wish, now.definition, scene), scene, live=True))
        waiting = [device.what for device in (*left.attach, *left.detach, *left.update)]
        named = {"cpus": left.cpus, "ballooning": left.stats_period, "title": left.title, "description": left.description}
        # The guest gives memory back as it can: the balloon is on its way.
        return tuple(dict.fromkeys([*left.pending, *waiting, *(name for name, value in named.items() if value is not None)]))

    # -- carrying out

    def _carry_out(self, plan: Plan) -> Guest:
        seen, guest = plan.seen, plan.seen.guest
        # Before the definition says so: a disk that is larger than recorded is grown again, which changes nothing.
        for growth in plan.storage.growth:
            self._grow(seen, growth.own, growth.size)
        if plan.define and plan.after is not None:
            guest = self._host.define(plan.after) if guest is None else self._host.define_text(tree.text_of(plan.after), guest.name)
        if guest is None:
            raise OperationFailed("there is no domain to carry this out on", obj=self._wish.name, phase="define")
        try:
            definition = self._make_disks(guest, plan)
            if plan.define and self._wish.xml is not None:
                self._seal(guest)
            if plan.autostart != seen.autostart:
                guest.set_autostart(plan.autostart)
        except VirtError:
            if seen.guest is None:
                self._undo(guest, plan)
            raise
        if seen.active and not plan.live.empty:
            self._refused = carry_out(guest, self._host.uri, plan.live, definition, self._site.clock, self._opts.unplug_timeout)
        first, rest = around(plan.steps)
        begin_snapshots(self._host, guest, plan.snapshots, seen)
        power.take(guest, first, self._patience)
        carry_out_snapshots(self._host, guest, plan.snapshots, self._deadline)
        power.take(guest, rest, self._patience, reset_nvram=plan.reset_nvram)
        if plan.reset_nvram:
            fresh = tree.parse(guest.definition())
            record.set_nvram_stale(fresh, False)
            self._host.define_text(tree.text_of(fresh), guest.name)
        end_snapshots(self._host, guest, plan.snapshots)
        return guest

    def _make_disks(self, guest: Guest, plan: Plan) -> ET.Element:
        """The definition, which says of all disks that they were made."""
        for disk in plan.storage.missing:
            self._deadline.check("the disk's making", obj=self._wish.name, phase="disk")
            disk.create(self._deadline)
            self._made.append((disk.disk.location, disk.disk.name))
        if not plan.storage.missing:
            return _defined(plan.seen) if plan.after is None else plan.after
        definition = tree.parse(guest.definition())
        record.set_disks(definition, [replace(disk, made=True) for disk in record.disks_of(definition)])
        self._host.define_text(tree.text_of(definition), guest.name)
        return definition

    def _undo(self, guest: Guest, plan: Plan) -> None:
        """A new guest that cannot be had as described is not there at all; what cannot be taken back is left to the next run."""
        try:
            # Not one that somebody else made under its name meanwhile.
            remove_disks([disk for disk in plan.storage.own if (disk.location, disk.name) in self._made], self._deadline)
            guest.undefine()
        except VirtError as exc:
            self._left.append(f"{guest.name} could not be taken back: {exc}")

    def _grow(self, seen: Seen, own: OwnDisk, size: int) -> None:
        place = own.place()
        if seen.current is not None and seen.guest is not None:
            info = place.libvirt_info()
            for element in edit_disks.disk_elements(seen.current, "disk"):
                if edit_disks.source_of(element) == (info.type, info.source):
                    seen.guest.grow_disk(edit_disks.target_of(element), size)
                    return
        place.resize(own.record, size, self._deadline)

    def _seal(self, guest: Guest) -> None:
        """Note what libvirt made of the user's XML: what differs from it later was changed by somebody."""
        definition = tree.parse(guest.definition())
        record.set_source(definition, record.source_of(definition)[0], record.digest(definition))
        self._host.define_text(tree.text_of(definition), guest.name)

    # -- the account

    def _account(self, plan: Plan, now: Seen, pending: tuple[str, ...]) -> Result:
        domain = plan.after if now.guest is None or self._opts.check_mode else now.definition
        current = now.current
        addresses = {} if current is None else self._site.book.of(current)
        state = plan.state if self._opts.check_mode or plan.after is None else now.state
        return {
            "changed": plan.changed and not self._all_refused(plan),
            "name": self._wish.name,
            "uuid": "" if domain is None else domain.findtext("uuid", ""),
            "state": state,
            "autostart": plan.autostart,
            "addresses": [address for found in addresses.values() for address in found],
            "disks": [] if domain is None else disks_view(domain),
            "networks": [] if domain is None else networks_view(domain, addresses),
            **({} if plan.snapshots.names is None else {"snapshots": list(plan.snapshots.names_after)}),
            "pending_restart": [] if state not in ("running", "paused") else list(pending),
            "changes": list(plan.changes),
            "actions": actions_of(plan),
            "diff": diff_of(plan),
            "warnings": [*self._warnings, *self._refused, *self._left],
        }

    def _all_refused(self, plan: Plan) -> bool:
        """Whether nothing was to be changed but the running guest, and it took none of it."""
        return plan.only_live and len(self._refused) == plan.live.size


def _defined(seen: Seen) -> ET.Element:
    if seen.definition is None:
        raise OperationFailed("the domain has no definition", phase="define")
    return seen.definition


def _foreign_disks(seen: Seen, own: tuple[OwnDisk, ...]) -> list[str]:
    """Writable disks that were not made for the guest: they stay when it is removed."""
    if seen.definition is None:
        return []
    made = {info.source for disk in own for info in [disk.place().libvirt_info()]}
    elements = edit_disks.disk_elements(seen.definition, "disk", "lun")
    return [source for element in elements if element.find("readonly") is None and (source := edit_disks.source_of(element)[1]) and source not in made]
