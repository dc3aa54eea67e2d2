# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Make, remove and mark single machines through a provider, so that a lost answer or a failure leaves nothing behind."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import (
    InsufficientResources,
    MarkChanged,
    MaybeApplied,
    NameTaken,
    NotFound,
    NotOurs,
    VirtError,
)
from ansible_collections.poolwright.virt.plugins.module_utils.pool.condition import MAKING_SECONDS
from ansible_collections.poolwright.virt.plugins.module_utils.pool.difference import image_name
from ansible_collections.poolwright.virt.plugins.module_utils.pool.retry import repeat
from ansible_collections.poolwright.virt.plugins.module_utils.pool.spec import CLEAN_SNAPSHOT, PoolSpec, Reset, spec_hash
from ansible_collections.poolwright.virt.plugins.module_utils.providers.base import Provider
from ansible_collections.poolwright.virt.plugins.module_utils.providers.marks import Mark, MarkState, new_machine_id
from ansible_collections.poolwright.virt.plugins.module_utils.providers.types import Power

# Seconds within which one machine is made or removed, its boot not counted.


class Maker:
    """One machine's changes, each repeated where repeating can help and looked up where an answer was lost."""

    def __init__(self, provider: Provider, clock: Clock, *, keep_failed: bool) -> None:
        self._provider = provider
        self._clock = clock
        self._keep_failed = keep_failed

    def create(self, spec: PoolSpec, slot: int) -> Mark:
        """Make the machine of a slot and start it; returns its mark (state CREATING).

        What a failed attempt left half-made is removed, the last one's unless ``keep_failed``.
        :raises NameTaken: something else holds the name.
        """
        tried: list[str] = []

        def attempt() -> Mark:
            mark = self._mark(spec, slot)
            tried.append(mark.id)
            return self._create_once(spec, mark, tried)

        return repeat(attempt, self._clock, _worth_repeating)

    def _mark(self, spec: PoolSpec, slot: int) -> Mark:
        return Mark(
            pool=spec.name,
            slot=slot,
            id=new_machine_id(spec.name),
            spec_hash=spec_hash(spec.machine),
            image=image_name(spec),
            created_at=self._clock.now(),
            name=spec.vm_name(slot),
            maker=self._provider.maker,
            snapshot=CLEAN_SNAPSHOT if spec.reset is Reset.SNAPSHOT else "",
        )

    def _create_once(self, spec: PoolSpec, mark: Mark, tried: list[str]) -> Mark:
        name = spec.vm_name(mark.slot)
        try:
            self._provider.create_vm(spec.name, name, mark, Deadline.after(self._clock, MAKING_SECONDS))
            return mark
        except NameTaken:
            # An earlier attempt whose answer was lost may have been carried out late: then the name is held by ourselves.
            late = self._lookup(spec, name, tried)
            if late is None:
                raise
            return late
        except MaybeApplied:
            made = self._lookup(spec, name, tried)
            if made is None:
                raise
            return made
        except VirtError:
            if not self._keep_failed:
                self.undo(spec, name, mark)
            raise

    def _lookup(self, spec: PoolSpec, name: str, tried: list[str]) -> Mark | None:
        """The mark of a machine that an attempt of ours completed, after removing one that it left half-made."""
        found = repeat(partial(self._provider.get_vm, spec.name, name), self._clock, _transient)
        if found is None or found.mark is None or found.mark.id not in tried:
            return None
        if found.power is Power.RUNNING:
            return found.mark
        self.undo(spec, name, found.mark)
        raise MaybeApplied("its making was interrupted by a lost answer", obj=name, phase="create")

    def undo(self, spec: PoolSpec, name: str, mark: Mark) -> None:
        """Remove what is left of a machine that failed; if that fails too, its mark lets the next run do it."""
        try:
            self.destroy(spec, name, mark)
        except VirtError as exc:
            self._provider.warnings.append(f"{name}: what was left of it could not be removed ({exc.message}); the next run will")

    def destroy(self, spec: PoolSpec, name: str, expected: Mark) -> bool:
        """Remove a machine with all that is its own; False where it was gone already.

        :raises MarkChanged: it was replaced or handed out meanwhile.
        """
        return repeat(partial(self._provider.destroy_vm, spec.name, name, expected), self._clock, _worth_repeating)

    def start(self, spec: PoolSpec, name: str, expected: Mark) -> None:
        """:raises MarkChanged: it was replaced or handed out meanwhile."""
        repeat(partial(self._provider.start_vm, spec.name, name, expected), self._clock, _worth_repeating)

    def begin_reset(self, spec: PoolSpec, name: str, expected: Mark) -> Mark:
        """Mark a machine as being reset, which ends its lease; its new mark.

        :raises MarkChanged, NotFound: it was replaced, handed out or removed meanwhile.
        """
        wanted = replace(expected, state=MarkState.RESETTING, lease=None, created_at=self._clock.now(), maker=self._provider.maker)
        self._swap(spec, name, wanted, expected)
        return wanted

    def revert(self, spec: PoolSpec, name: str, mark: Mark) -> None:
        """Give a machine the disks back that it had when it was made, and start it where its pool's machines run.

        :raises NotFound: it has no such snapshot any more, or is gone.
        """
        repeat(partial(self._provider.stop_vm, spec.name, name), self._clock, _worth_repeating)
        repeat(partial(self._provider.revert_snapshot, spec.name, name, mark.snapshot), self._clock, _worth_repeating)
        if spec.machine.power_on:
            self.start(spec, name, mark)

    def mark_ready(self, spec: PoolSpec, name: str, mark: Mark) -> None:
        """Record that the machine was seen ready.

        :raises MarkChanged, NotFound: it was replaced, handed out or removed meanwhile.
        """
        self._swap(spec, name, mark.as_state(MarkState.READY), mark)

    def _swap(self, spec: PoolSpec, name: str, wanted: Mark, expected: Mark) -> None:
        def attempt() -> None:
            try:
                self._provider.set_mark(spec.name, name, wanted, expected)
            except (MaybeApplied, MarkChanged):
                found = self._provider.get_vm(spec.name, name)
                if found is None or found.mark != wanted:
                    raise

        repeat(attempt, self._clock, _transient)


def _transient(exc: VirtError) -> bool:
    return exc.transient and not isinstance(exc, MarkChanged)


def _worth_repeating(exc: VirtError) -> bool:
    """Whether the same request may succeed in a moment: not when it is wrong, nor when the host is full."""
    return not exc.config and not isinstance(exc, (NameTaken, MarkChanged, NotFound, NotOurs, InsufficientResources))
