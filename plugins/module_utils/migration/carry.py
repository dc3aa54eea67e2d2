# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Carrying a plan out: what is prepared, what moves, and what came of it. Clearing up is not done here."""

from __future__ import annotations

import threading
from dataclasses import replace

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import Cancelled, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.guests import power, tree
from ansible_collections.poolwright.virt.plugins.module_utils.guests.power import Patience
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.faults import UnsafeMigration
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.guest import Guest
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host
from ansible_collections.poolwright.virt.plugins.module_utils.migration import cold, live, survey
from ansible_collections.poolwright.virt.plugins.module_utils.migration.facts import GuestFacts
from ansible_collections.poolwright.virt.plugins.module_utils.migration.live import Progress, Watch
from ansible_collections.poolwright.virt.plugins.module_utils.migration.moves import CONVERTED, COPIED, SENT
from ansible_collections.poolwright.virt.plugins.module_utils.migration.moving import flag_names, flags_of, params_of
from ansible_collections.poolwright.virt.plugins.module_utils.migration.note import Note
from ansible_collections.poolwright.virt.plugins.module_utils.migration.plan import Plan
from ansible_collections.poolwright.virt.plugins.module_utils.migration.prepare import make_empty, send_file
from ansible_collections.poolwright.virt.plugins.module_utils.migration.rewrite import needed, rewritten, with_note
from ansible_collections.poolwright.virt.plugins.module_utils.migration.wish import Wish


class Carrier:
    """One migration. ``progress``, ``digests`` (by device), ``sent`` (bytes) and ``off`` (seconds) tell what it took."""

    def __init__(self, source: Host, target: Host, wish: Wish, clock: Clock, cancel: threading.Event, deadline: Deadline) -> None:
        self._source = source
        self._target = target
        self._wish = wish
        self._clock = clock
        self._cancel = cancel
        self._deadline = deadline
        self.progress = Progress()
        self.digests: dict[str, str] = {}
        self.sent = 0
        self.off = 0.0

    def carry(self, guest: Guest, facts: GuestFacts, plan: Plan, note: Note) -> None:
        """:raises VirtError: it did not arrive, or nobody knows."""
        for secret in plan.secrets:
            self._target.secrets.put(secret.uuid, secret.xml, secret.value)
        if plan.live:
            self._live(guest, facts, plan)
        else:
            self._cold(guest, facts, plan, note)

    def _live(self, guest: Guest, facts: GuestFacts, plan: Plan) -> None:
        wish = self._wish
        for move in plan.of(SENT):
            self.digests[move.disk.device] = self._send(move.path, move.disk.file_size)
        self._send_kept(plan)
        if plan.nvram:
            # QEMU writes its variables there again, but only once the guest goes on.
            self._send(facts.nvram, facts.nvram_size)
        for move in plan.of(COPIED):
            self._check()
            make_empty(self._target, move)
        if wish.tuning.max_downtime:
            guest.set_max_downtime(wish.tuning.max_downtime)
        xml = definition = ""
        if needed(plan):
            xml = tree.text_of(rewritten(tree.parse(guest.migratable()), plan))
            definition = tree.text_of(rewritten(tree.parse(guest.definition()), plan)) if facts.persistent and wish.persist else ""
        params = params_of(plan, wish, xml, definition)
        try:
            self._move(guest, facts, plan, params, unsafe=False)
        except UnsafeMigration:
            if not plan.proved:
                raise
            # libvirt knows a few network file systems by name; what was seen goes further than that.
            self._move(guest, facts, plan, params, unsafe=True)

    def _move(self, guest: Guest, facts: GuestFacts, plan: Plan, params: dict[str, object], *, unsafe: bool) -> None:
        self._check()
        flags = flags_of(flag_names(plan, self._wish, persistent=facts.persistent, unsafe=unsafe))
        watch = Watch(guest, self._wish, self._deadline, self._cancel, self.progress)
        live.move(guest, self._target.uri, flags, params, watch)

    def _cold(self, guest: Guest, facts: GuestFacts, plan: Plan, note: Note) -> None:
        began = self._clock.monotonic()
        if facts.active:
            if not facts.persistent:
                # It would vanish as it stops.
                self._source.define_text(guest.definition(), guest.name)
            power.shut_down(guest, Patience(self._clock, self._wish.shutdown_timeout, self._wish.force, self._cancel))
            guest.destroy()
        definition = tree.parse(guest.definition())
        now = {disk.device: disk for disk in survey.guest_seen(self._source, guest, definition, "shutoff", self._deadline).disks}
        for move in plan.of(SENT, CONVERTED):
            self._check()
            # Its file has grown since it was looked at; what the plan knows of its bases came from QEMU itself.
            size = now[move.disk.device].file_size
            sent = cold.send(self._source, self._target, replace(move, disk=replace(move.disk, file_size=size)), self._deadline)
            self.digests[move.disk.device] = sent.sha256
            self.sent += sent.bytes
        self._send_kept(plan)
        if plan.nvram:
            self._send(facts.nvram, facts.nvram_size)
        self._check()
        arrived = self._target.define_text(tree.text_of(with_note(rewritten(definition, plan), note)), guest.name)
        if facts.active:
            try:
                arrived.start(paused=facts.state == "paused")
            except VirtError:
                # It shall run where it can.
                arrived.undefine(("nvram", "tpm"))
                raise
        self.off = self._clock.monotonic() - began

    def _send(self, path: str, size: int) -> str:
        self._check()
        digest = send_file(self._source, self._target, path, size, self._deadline)
        self.sent += size
        return digest

    def _send_kept(self, plan: Plan) -> None:
        """Snapshots, on which nobody writes."""
        for kept in plan.kept:
            self._send(kept.path, kept.size)

    def _check(self) -> None:
        if self._cancel.is_set():
            raise Cancelled("the run was told to stop; the guest is where it was", obj=self._wish.name, phase="migrate")
        self._deadline.check("the migration", obj=self._wish.name, phase="migrate", hint="give it more with timeout; the guest is where it was")
