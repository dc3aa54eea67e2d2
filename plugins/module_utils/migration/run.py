# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""One run for one guest: see what an earlier run left, look at both hosts, decide, carry out, clear up.

The order is what makes it safe to be killed. A note on the guest names whatever is to be made on the target before the
first of it exists, and goes with the guest; only after one host is seen to have it is the other one cleared.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy, InvalidSpec, NotFound, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.guest import Guest
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host
from ansible_collections.poolwright.virt.plugins.module_utils.migration import leftovers, survey
from ansible_collections.poolwright.virt.plugins.module_utils.migration.account import Account, foreseen
from ansible_collections.poolwright.virt.plugins.module_utils.migration.carry import Carrier
from ansible_collections.poolwright.virt.plugins.module_utils.migration.facts import GuestFacts, HostFacts
from ansible_collections.poolwright.virt.plugins.module_utils.migration.keys import places_with_secrets
from ansible_collections.poolwright.virt.plugins.module_utils.migration.leftovers import Found
from ansible_collections.poolwright.virt.plugins.module_utils.migration.live import NotEnded, PostCopyBroken
from ansible_collections.poolwright.virt.plugins.module_utils.migration.note import NAMESPACE, PREFIX, Note
from ansible_collections.poolwright.virt.plugins.module_utils.migration.notes import note_of
from ansible_collections.poolwright.virt.plugins.module_utils.migration.plan import Plan, plan
from ansible_collections.poolwright.virt.plugins.module_utils.migration.resume import take_up
from ansible_collections.poolwright.virt.plugins.module_utils.migration.sides import Verdict
from ansible_collections.poolwright.virt.plugins.module_utils.migration.wish import Wish
from ansible_collections.poolwright.virt.plugins.module_utils.stats import Stats

Result = dict[str, Any]


@dataclass(frozen=True)
class Site:
    """The two hosts, and what all guests that move between them have in common.

    :ivar lock: held while a guest of this name is changed.
    """

    source: Host
    target: Host
    clock: Clock
    stats: Stats
    lock: Callable[[str, Deadline], AbstractContextManager[object]]
    known: survey.Known = field(default_factory=survey.Known)


class MigrationRun:
    """:raises VirtError: from ``result``; the guest then is where it was, unless the error says otherwise."""

    def __init__(self, site: Site, wish: Wish, cancel: threading.Event, *, check_mode: bool = False) -> None:
        self._site = site
        self._wish = wish
        self._cancel = cancel
        self._check_mode = check_mode
        self._deadline = Deadline.after(site.clock, wish.timeout)
        self._recovered: list[str] = []

    def result(self) -> Result:
        """What ``libvirt_migrate`` returns of one guest."""
        began = self._site.clock.monotonic()
        with nullcontext() if self._check_mode else self._site.lock(self._wish.name, self._deadline):
            account = self._run()
        return account.told(self._site.clock.monotonic() - began, self._recovered)

    def _run(self) -> Account:
        source, target, wish = self._site.source, self._site.target, self._wish
        here, there = self._look()
        note = here.side.note or there.side.note
        if note is not None:
            if self._check_mode:
                return self._foreseen_mending(note, here, there)
            here, there = self._mend(note, here, there)
            if here.guest is None and there.guest is not None:
                return Account(wish.name, there.guest.uuid, source.hostname(), target.hostname(), note.kind, there.side.state, changed=True)
        if here.guest is None or (there.guest is not None and not here.side.active and not wish.undefine_source and here.guest.uuid == there.guest.uuid):
            return self._unchanged(there)
        if here.side.job:
            raise Busy("another job of it is under way", obj=wish.name, phase="check", hint="wait for it, or end it with virsh domjobabort")
        with self._site.stats.phase("check"):
            wish, missing = places_with_secrets(target, wish)
        facts, yonder, own = self._survey(here.guest, here.side.state)
        yonder = replace(yonder, secrets=(*yonder.secrets, *missing))
        decided = plan(facts, own, yonder, wish)
        if self._check_mode:
            return foreseen(facts, own, yonder, decided, wish)
        return self._carry_out(here.guest, facts, own, yonder, decided, wish)

    def _look(self) -> tuple[Found, Found]:
        source, target, name = self._site.source, self._site.target, self._wish.name
        with self._site.stats.phase("look up"):
            if source.capabilities().uuid == target.capabilities().uuid:
                raise InvalidSpec([f"target: {target.uri} is the host that {source.uri} leads to as well"])
            here = leftovers.look(source, name=name)
            there = leftovers.look(target, uuid=here.guest.uuid) if here.guest is not None else leftovers.look(target, name=name)
        return here, there

    def _unchanged(self, there: Found) -> Account:
        source, target, name = self._site.source, self._site.target, self._wish.name
        if there.guest is None:
            hint = f"correct its name; it is neither there nor on {target.hostname()}"
            raise NotFound(f"there is no such guest on {source.hostname()}", obj=name, phase="look up", hint=hint)
        return Account(name, there.guest.uuid, source.hostname(), target.hostname(), "none", there.side.state, changed=bool(self._recovered))

    def _survey(self, guest: Guest, state: str) -> tuple[GuestFacts, HostFacts, HostFacts]:
        site = self._site
        with site.stats.phase("check"):
            domain = survey.domain_of(guest)
            facts = survey.guest_seen(site.source, guest, domain, state, self._deadline)
            places = [f"{place.location}/{place.name or f'{facts.name}-{place.device}'}" for place in self._wish.disks]
            extra = [f"{path}.{end}" for path, place in zip(places, self._wish.disks) for end in ("raw", "qcow2") if place.backend != "rbd"]
            own = survey.source_seen(site.source)
            return facts, survey.target_seen(site.target, site.source, domain, facts, site.known, extra, self._deadline), own

    # -- what an earlier run left

    def _mend(self, note: Note, here: Found, there: Found) -> tuple[Found, Found]:
        """Bring the earlier migration to its end; where the guest is then."""
        site, name = self._site, self._wish.name
        mine, theirs = site.source.capabilities().uuid, site.target.capabilities().uuid
        guest = here.guest or there.guest
        uuid = "" if guest is None else guest.uuid
        with contextlib.ExitStack() as opened:
            if (note.source, note.target) == (mine, theirs):
                origin, goal = site.source, site.target
            elif (note.source, note.target) == (theirs, mine):
                origin, goal = site.target, site.source
            elif note.source == mine:
                origin, goal = site.source, Host(note.uri, site.clock, site.stats, keepalive=True)
                opened.callback(goal.close)
            else:
                hint = "run libvirt_migrate once more on the host that it left, with the same target"
                raise Busy("it came here by a migration that was not brought to its end", obj=name, phase="check", hint=hint)
            with site.stats.phase("mend"):
                taken_up = take_up(note, origin, goal, uuid, self._wish, self._cancel, self._deadline)
                found, done = leftovers.settle(note, origin, goal, uuid, name, site.clock)
        self._recovered = [*taken_up, *done] or ["the migration was ended already"]
        if found is Verdict.TARGET and goal is not site.target and goal is not site.source:
            raise Busy(f"it has gone to {note.where} meanwhile, by an earlier run", obj=name, phase="check", hint="move it from there")
        return self._look()

    def _foreseen_mending(self, note: Note, here: Found, there: Found) -> Account:
        source, target = self._site.source.hostname(), self._site.target.hostname()
        guest = here.guest or there.guest
        self._recovered = [f"a run would bring the migration to {note.where} to its end first: {leftovers.judge(note, here, there).value}"]
        return Account(self._wish.name, "" if guest is None else guest.uuid, source, target, note.kind, note.state, changed=True)

    # -- carrying out

    def _carry_out(self, guest: Guest, facts: GuestFacts, own: HostFacts, yonder: HostFacts, decided: Plan, wish: Wish) -> Account:
        site = self._site
        note = note_of(secrets.token_hex(8), facts, own, yonder, decided, wish, site.target.uri)
        carrier = Carrier(site.source, site.target, wish, site.clock, self._cancel, self._deadline)
        account = Account.of(facts, own, yonder, decided)
        guest.set_metadata(note.to_element(), NAMESPACE, PREFIX)
        try:
            with site.stats.phase("migrate"):
                carrier.carry(guest, facts, decided, note)
        except PostCopyBroken:
            raise
        except NotEnded as exc:
            exc.message += f"; what was prepared on {note.where} is cleared up by the next run"
            raise
        except VirtError as exc:
            # Whatever went wrong, the guest is where both hosts say it is.
            found = self._settle_after(note, facts, exc, account, post_copy=carrier.progress.post_copy)
            if found is not Verdict.TARGET:
                raise
        else:
            found, done = self._settle(note, facts)
            account.actions += done
            if found is not Verdict.TARGET:
                raise Busy(f"it did not arrive on {yonder.name}, and runs where it was", obj=facts.name, phase="migrate", hint="run again")
        account.arrived(carrier, site.target.guest_of(facts.uuid))
        return account

    def _settle(self, note: Note, facts: GuestFacts) -> tuple[Verdict, list[str]]:
        with self._site.stats.phase("clear up"):
            return leftovers.settle(note, self._site.source, self._site.target, facts.uuid, facts.name, self._site.clock)

    def _settle_after(self, note: Note, facts: GuestFacts, exc: VirtError, account: Account, *, post_copy: bool) -> Verdict:
        try:
            found, done = self._settle(note, facts)
        except VirtError as second:
            if post_copy:
                raise PostCopyBroken.of(facts.name, exc.message) from exc
            exc.message += f"; what was prepared on {note.where} is cleared up by the next run ({second.message})"
            return Verdict.SOURCE
        if found is Verdict.TARGET:
            account.warnings.append(f"{facts.name}: the migration was reported as failed ({exc.message}), and it has arrived")
        account.actions += done
        return found
