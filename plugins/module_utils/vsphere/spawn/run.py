# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""One run for one machine: look, decide, check, carry out; and take everything back where that fails."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy, MaybeApplied, NotOurs, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere import devices
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.datastores import allowed_datastore_types
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.hardware import Card
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.cache import DatastoreImageCache
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.image import VMwareImage, check_fits
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.images.use import direct
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.inventory import Entry, Inventory
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.policies import Fit, Policy
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn import change, compare, make, observe, origin
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.compare import Needs, Plan
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.description import FULL, Description, State
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.mark import READY, SpawnMark, this_process
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.outcome import (
    Action,
    NeedsRebuild,
    NeedsRestart,
    Options,
    Outcome,
    actions_of,
    listed,
)
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.place import Place, check_disks, check_privileges, find_cards, find_fit, find_place
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.relocate import Move, find_move, relocate
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.spawn.work import Work
from ansible_collections.poolwright.virt.plugins.module_utils.vsphere.transfer import Transfer

_ADAPTERS = {"lsiLogic": "lsilogic", "lsiLogicsas": "lsilogicsas", "busLogic": "buslogic", "paraVirtual": "paravirtual", "ide": "ide"}


_STAYS = Move()


@dataclass(frozen=True)
class _Site:
    """All that was looked up for a new machine."""

    place: Place
    cards: list[Card] | None
    origin: origin.Origin | None = None
    policy: Policy | None = None


def spawn(inventory: Inventory, wanted: Description, options: Options, stats: Stats, cancel: threading.Event, new_id: Callable[[], str]) -> Outcome:
    """Bring the machine about, or in check mode say what that takes.

    :param new_id: makes the UUIDs of machines.
    :raises VirtError: nothing was changed. What fails later is in the outcome.
    """
    return _Run(inventory, wanted, options, stats, cancel, new_id).outcome()


class _Run:
    def __init__(self, inventory: Inventory, wanted: Description, options: Options, stats: Stats, cancel: threading.Event, new_id: Callable[[], str]) -> None:
        self._inventory = inventory
        self._vim = inventory.vim
        self._wanted = wanted
        self._options = options
        self._stats = stats
        self._new_id = new_id
        self._work = Work(inventory, Deadline.after(inventory.vim.clock, options.timeout), cancel)
        self._kept: list[str] = []
        self._fit: Fit | None = None

    def outcome(self) -> Outcome:
        with self._stats.phase("look up"):
            folder = self._inventory.folder(self._wanted.folder)
        with self._stats.phase("observe"):
            seen = observe.find(self._inventory, folder, make.encoded(self._wanted.name))
        if seen is not None:
            self._refuse(seen)
        if self._wanted.state is State.ABSENT:
            return self._absent(seen)
        mark = None if seen is None else seen.mark
        if seen is None or mark is None or mark.state != READY:
            return self._make(seen, "it is not there" if seen is None else "its making or removal was interrupted", "create")
        return self._change(seen, mark)

    def _refuse(self, seen: observe.Seen) -> None:
        if seen.mark is None:
            where = f"{self._inventory.datacenter.path}/vm/{self._wanted.folder}".rstrip("/")
            raise NotOurs(
                f"{where} has a machine of this name that vm_spawn did not make; it is not touched",
                obj=seen.name,
                phase="observe",
                hint="rename that machine, or give this one another name or folder",
            )
        if seen.mark.is_being_made(self._vim.clock.now()):
            raise Busy(f"another run makes it at this moment ({seen.mark.maker})", obj=seen.name, phase="observe", hint="run again once that has ended")

    # -- absent

    def _absent(self, seen: observe.Seen | None) -> Outcome:
        if seen is None:
            return Outcome()
        before = self._shown(seen)
        actions = (Action("remove", "it shall be absent"),)
        if not self._options.check_mode:
            with self._stats.phase("remove"):
                self._kept += change.remove(self._work, seen)
        return Outcome(actions, before=before, kept=tuple(self._kept))

    # -- changing

    def _change(self, seen: observe.Seen, mark: SpawnMark) -> Outcome:
        with self._stats.phase("look up"):
            cards = None if self._wanted.networks is None else find_cards(self._inventory, self._wanted.networks, None)
            if self._wanted.storage_policy and not mark.has_policy(self._wanted.storage_policy):
                self._find_fit()
            move = find_move(self._inventory, self._wanted, seen) if self._wanted.names_a_place else _STAYS
        plan = compare.compare(self._wanted, seen, mark, cards, self._fit)
        if plan.policy is not None and any(wish.datastore for wish in plan.new_disks):
            first = len(self._wanted.disks) - len(plan.new_disks)
            check_disks(self._inventory, plan.new_disks, self._find_fit(plan.policy), first)
        rebuild = [*plan.needing(Needs.REBUILD), *(one for one in move.changes if one.needs is Needs.REBUILD)]
        if rebuild and self._options.recreate:
            return self._make(seen, listed(rebuild), "recreate")
        if rebuild:
            hint = "allow it with recreate: true, which removes the machine and makes it anew"
            raise NeedsRebuild(f"this takes another machine: {listed(rebuild)}; nothing was changed", obj=seen.name, phase="plan", hint=hint)
        off = plan.needing(Needs.OFF) if self._wanted.state is not State.OFF else []
        if off and not self._options.restart:
            hint = "allow it with restart: true, or switch the machine off first"
            raise NeedsRestart(f"this wants the machine off, and it runs: {listed(off)}; nothing was changed", obj=seen.name, phase="plan", hint=hint)
        actions = tuple(actions_of(plan, move, bool(off)))
        after = self._predicted(seen, plan, move)
        now = seen
        try:
            if actions and not self._options.check_mode:
                now = self._carry_out(seen, mark, plan, move)
                self._work.undo.clear()
            if not self._options.check_mode:
                now = self._await_address(now)
        except VirtError as exc:
            undone, left = self._work.undo_all()
            now = self._look_again(seen)
            if now == seen and not undone and not left:
                raise
            touched = (now.mark, now.is_on, now.place) != (seen.mark, seen.is_on, seen.place)
            return Outcome(actions, self._view(now), self._shown(seen), self._shown(now), tuple(undone), tuple(left), failure=exc, touched=touched)
        return Outcome(actions, self._view(now), self._shown(seen) if actions else "", after if actions else "")

    def _carry_out(self, seen: observe.Seen, mark: SpawnMark, plan: Plan, move: Move = _STAYS) -> observe.Seen:
        """What fails leaves the machine as it was before that step, and on if it was; a further run goes on."""
        wants_off = plan.power == "off" or (seen.is_on and bool(plan.needing(Needs.OFF)))
        if wants_off:
            with self._stats.phase("power off"):
                change.power_off(self._work, seen)
        if move.changes:
            with self._stats.phase("relocate"):
                relocate(self._work, seen, move)
        if plan.reconfigures:
            with self._stats.phase("reconfigure"):
                try:
                    change.apply(self._work, seen, mark, plan)
                except VirtError:
                    if wants_off and plan.power != "off":
                        with contextlib.suppress(VirtError):
                            change.power_on(self._work, seen)
                    raise
        if plan.power == "on" or (wants_off and plan.power != "off"):
            with self._stats.phase("power on"):
                change.power_on(self._work, seen)
        return self._look_again(seen)

    # -- making

    def _make(self, old: observe.Seen | None, reason: str, name: str) -> Outcome:
        before = "" if old is None else self._shown(old)
        with self._stats.phase("check"):
            site = self._check()
        actions = (Action(name, reason),)
        if self._options.check_mode:
            return Outcome(actions, {} if old is None else self._view(old), before, self._described())
        if old is not None:
            with self._stats.phase("remove"):
                self._kept += change.remove(self._work, old)
        try:
            made = self._made(site)
        except VirtError as exc:
            if old is None and not self._work.undo:
                raise
            return self._failed(exc, actions, before)
        except BaseException:  # whatever it is, goes on after what was made is gone
            self._work.undo_all()
            raise
        return Outcome(actions, self._view(made), before, self._described(), kept=tuple(self._kept))

    def _check(self) -> _Site:
        """Everything that can be known to be wrong beforehand."""
        wanted, inventory = self._wanted, self._inventory
        fit = self._find_fit()
        extra = sum(int(disk.size_gb * devices.GIB) for disk in wanted.disks if not disk.thin and not disk.datastore)
        if wanted.image is None:
            source = origin.find_origin(inventory, wanted)
            grown = max(0, int((wanted.root_gb or 0) * devices.GIB) - source.committed) if wanted.root_gb else 0
            size = extra + (source.committed + grown if wanted.clone == FULL else 0)
            place = find_place(inventory, wanted, near=source.host, home=origin.home_of(inventory, source), size=size, fit=fit)
        else:
            source = None
            root = int((wanted.root_gb or 0) * devices.GIB) if wanted.clone == FULL else 0
            place = find_place(inventory, wanted, size=extra + root, allowed=allowed_datastore_types(wanted.image.disk_type), fit=fit)
            self._check_image(wanted.image, place)
        check_disks(inventory, wanted.disks, fit)
        cards = None if wanted.networks is None else find_cards(inventory, wanted.networks, place.cluster)
        check_privileges(self._vim, self._privileges(place, source, cards))
        return _Site(place, cards, source, None if fit is None else fit.policy)

    def _find_fit(self, known: Policy | None = None) -> Fit | None:
        """The wanted storage policy and its datastores, asked for once.   :param known: the policy, where it is."""
        if self._fit is None:
            self._fit = find_fit(self._inventory, self._wanted.storage_policy, known)
        return self._fit

    def _check_image(self, image: VMwareImage, place: Place) -> None:
        if not self._options.check_mode:
            return
        cached = self._cache().lookup(image, place.datastore, self._work.deadline)
        if cached is not None and not image.is_iso:
            check_fits(image, cached.facts.virtual_size, self._wanted.root_gb)

    def _privileges(self, place: Place, source: origin.Origin | None, cards: list[Card] | None) -> list[tuple[Entry, Iterable[str]]]:
        names = [name for name in self._wanted.folder.split("/") if name]
        depth = next(depth for depth in range(len(names), -1, -1) if self._inventory.folder("/".join(names[:depth])) is not None)
        folder = self._inventory.folder("/".join(names[:depth]))
        making = "VirtualMachine.Inventory.Create" if source is None else "VirtualMachine.Inventory.CreateFromExisting"
        needed: list[tuple[Entry, Iterable[str]]] = [(place.pool, ["Resource.AssignVMToPool"])]
        if folder is not None:
            needed.append((folder, [making, *(["Folder.Create"] if depth < len(names) else [])]))
        needed.append((place.datastore, ["Datastore.AllocateSpace"]))
        if source is not None:
            template = bool(source.entry.properties.get("config.template"))
            needed.append((source.entry, ["VirtualMachine.Provisioning.DeployTemplate" if template else "VirtualMachine.Provisioning.Clone"]))
        needed += [(card.network.entry, ["Network.Assign"]) for card in cards or ()]
        return needed

    def _made(self, site: _Site) -> observe.Seen:
        work, wanted = self._work, replace(self._wanted, storage_policy="" if site.policy is None else site.policy.id)
        base = make.Base("", 0) if wanted.image is None else self._base(wanted.image, site.place)
        with self._stats.phase("folder"):
            folder = self._folder()
        until = self._vim.clock.now() + work.deadline.remaining
        template = "" if site.origin is None else site.origin.entry.path
        mark = make.new_mark(wanted, self._new_id(), template, this_process(), until, site.policy)
        with self._stats.phase("create"):
            if site.origin is not None:
                seen = make.clone(work, wanted, mark, site.place, folder, site.origin, site.cards)
            else:
                seen = make.create(work, wanted, mark, site.place, folder, base, site.cards)
        seen = self._complete(seen, site.cards)
        seen = self._await_address(seen)
        work.undo.clear()
        return seen

    def _folder(self) -> Entry:
        """Whoever makes a folder looks for it first, so after a lost answer that is done again as it stands."""
        try:
            return self._inventory.ensure_folder(self._wanted.folder)
        except MaybeApplied:
            self._inventory.forget()
            return self._inventory.ensure_folder(self._wanted.folder)

    def _complete(self, seen: observe.Seen, cards: list[Card] | None) -> observe.Seen:
        """Whatever a server does not take in the call that makes a machine is made up for; then it is switched on."""
        mark = _mark_of(seen)
        plan = compare.compare(self._wanted, seen, mark, cards, self._fit)
        config = dict(plan.config)
        if self._wanted.firmware and seen.properties.get("config.firmware") != self._wanted.firmware:
            config["firmware"] = self._wanted.firmware
        plan = replace(plan, config=config)
        if not plan.reconfigures and not plan.power:
            return seen
        self._work.go_on(seen.name, "power on")
        return self._carry_out(seen, mark, plan)

    def _base(self, image: VMwareImage, place: Place) -> make.Base:
        with self._stats.phase("image"):
            there = image.on_datastore
            if image.is_iso and there is not None and there.datastore == place.datastore.name:
                # A drive takes it where it lies. What is elsewhere may be out of the machine's host's reach, and comes by way of the cache.
                return make.Base(str(direct(self._work.site, self._transfer(), image, self._work.deadline).path), 0, iso=True)
            linked = self._wanted.clone != FULL
            size_gb = self._wanted.root_gb if linked and not image.is_iso else None
            disk = self._cache().ensure(image, place.datastore, self._work.deadline, size_gb=size_gb)
        check_fits(image, disk.capacity_bytes, self._wanted.root_gb)
        if image.is_iso:
            return make.Base(str(disk.path), 0, iso=True)
        return make.Base(str(disk.path), disk.capacity_bytes, _ADAPTERS.get(disk.adapter_type, make.DEFAULT_ADAPTER))

    def _cache(self) -> DatastoreImageCache:
        return DatastoreImageCache(self._vim, self._inventory, self._transfer(), self._vim.clock, self._stats, cancel=self._work.cancel)

    def _transfer(self) -> Transfer:
        return Transfer(self._work.site, stats=self._stats, cancel=self._work.cancel)

    def _failed(self, exc: VirtError, actions: tuple[Action, ...], before: str) -> Outcome:
        if self._options.keep_failed:
            kept = tuple(f"kept: {step.what}" for step in self._work.undo)
            return Outcome(actions, before=before, left=tuple(what.replace("removed ", "").replace("deleted ", "") for what in kept), failure=exc)
        with self._stats.phase("undo"):
            undone, left = self._work.undo_all()
        return Outcome(actions, before=before, undone=tuple(undone), left=tuple(left), kept=tuple(self._kept), failure=exc)

    def _await_address(self, seen: observe.Seen) -> observe.Seen:
        seconds = self._options.address_seconds
        if seconds is None or self._wanted.state is not State.ON or observe.addresses(seen.properties):
            return seen
        deadline = Deadline.after(self._vim.clock, seconds).earlier(self._work.deadline)
        with self._stats.phase("address"):
            found = self._vim.wait_for_properties(
                seen.obj, observe.ADDRESS_PATHS, lambda values: bool(observe.addresses(values)), deadline, about=seen.name, phase="address"
            )
        return observe.Seen(seen.obj, seen.name, seen.mark, {**seen.properties, **found})

    def _look_again(self, seen: observe.Seen) -> observe.Seen:
        return observe.read(self._vim, seen.obj, seen.name) or seen

    # -- showing

    def _view(self, seen: observe.Seen) -> dict[str, Any]:
        return observe.view(seen, self._inventory, self._wanted.folder)

    def _shown(self, seen: observe.Seen) -> str:
        mark = seen.mark
        made_from = "" if mark is None else f"template {mark.template}" if mark.template else "an image"
        return f"{seen.name}: from {made_from}, {'on' if seen.is_on else 'off'}\n"

    def _predicted(self, seen: observe.Seen, plan: Plan, move: Move) -> str:
        power = plan.power or ("on" if seen.is_on else "off")
        first = self._shown(seen).rpartition(", ")[0] + f", {power}\n"
        others = [*move.changes, *(one for one in plan.changes if one.what != "power")]
        told = [f"  {one.what}: {one.after or 'none'}" + (f" (was {one.before})\n" if one.before else "\n") for one in others]
        return first + "".join(told)

    def _described(self) -> str:
        wanted = self._wanted
        power = "on" if wanted.state is State.ON else "off"
        return f"{wanted.name}: from {wanted.source} ({wanted.clone}), {power}\n"


def _mark_of(seen: observe.Seen) -> SpawnMark:
    if seen.mark is None:
        raise NotOurs("its mark was taken away while it was being made", obj=seen.name, phase="create")
    return seen.mark
