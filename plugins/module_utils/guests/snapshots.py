# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The snapshot that is asked for of a guest, and what a killed run left of one.

The definition says what is being done before it is done: so a guest that was paused for it goes on with the next run, and disks of
which some were reverted and others not are reverted to the end before the guest starts.
"""

from __future__ import annotations

import contextlib
import enum
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import InvalidSpec, NotFound, OperationFailed, VirtError
from ansible_collections.poolwright.virt.plugins.module_utils.guests import edit_disks, power, record, tree
from ansible_collections.poolwright.virt.plugins.module_utils.guests.look import Seen
from ansible_collections.poolwright.virt.plugins.module_utils.guests.power import Step
from ansible_collections.poolwright.virt.plugins.module_utils.guests.record import Task
from ansible_collections.poolwright.virt.plugins.module_utils.guests.wish import SnapshotState, State, Wish
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.guest import Guest
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.snapshots import GuestSnapshots
from ansible_collections.poolwright.virt.plugins.module_utils.storage.record import OwnDisk

# Beside the deeds' own words: it may still be switched off for it; its disks are whole, and it may still have to start.
_ABOUT_TO, _REVERTED = "about to revert to", "reverted to"
_STARTS = (Step.START, Step.START_PAUSED)


class Deed(enum.Enum):
    TAKE = "take"
    DELETE = "delete"
    REVERT = "revert to"
    TIDY = "tidy up after"


@dataclass(frozen=True)
class SnapshotStep:
    deed: Deed
    name: str

    def __str__(self) -> str:
        return f"{self.deed.value} the snapshot {self.name}"


@dataclass(frozen=True)
class SnapshotPlan:
    """``was``: the state that an interrupted run found the guest in, "" for none. ``names``: the snapshots there are, None where nobody asked."""

    steps: tuple[SnapshotStep, ...] = ()
    was: str = ""
    names: tuple[str, ...] | None = None

    @property
    def reverts(self) -> bool:
        return any(step.deed is Deed.REVERT for step in self.steps)

    @property
    def names_after(self) -> tuple[str, ...]:
        found = set(self.names or ())
        for step in self.steps:
            if step.deed is Deed.TAKE:
                found.add(step.name)
            elif step.deed is Deed.DELETE:
                found.discard(step.name)
        return tuple(sorted(found))


def plan_snapshots(wish: Wish, seen: Seen, after: ET.Element, deadline: Deadline) -> SnapshotPlan:
    """What is to be done about snapshots. Only looks.

    :param after: the definition as it is wanted.
    :raises InvalidSpec: the guest writes to a disk that no snapshot would have.
    :raises NotFound: there is no snapshot to revert to.
    """
    task = None if seen.definition is None else record.task_of(seen.definition)
    if task is None and wish.snapshot is None:
        return SnapshotPlan()
    asked = wish.snapshot
    reverting = asked is not None and asked.state is SnapshotState.REVERTED
    steps: list[SnapshotStep] = []
    if task is not None and not reverting and (task.kind == Deed.REVERT.value or (task.kind == _ABOUT_TO and not seen.active)):
        _refuse_started(seen, wish.name, task)
        steps.append(SnapshotStep(Deed.REVERT, task.snapshot))
    elif task is not None:
        steps.append(SnapshotStep(Deed.TIDY, task.snapshot))
    names: tuple[str, ...] | None = None
    if asked is not None:
        names, step = _asked(wish, seen, after, deadline)
        steps += [] if step is None else [step]
    return SnapshotPlan(tuple(steps), "" if task is None else task.was, names)


def _asked(wish: Wish, seen: Seen, after: ET.Element, deadline: Deadline) -> tuple[tuple[str, ...], SnapshotStep | None]:
    """The names there are, and what is to be done for the one that is asked for."""
    asked = wish.snapshot
    if asked is None:
        return (), None
    if asked.state is SnapshotState.ABSENT:
        disks = writable_disks(after, wish.name, all_of_them=False)
        if seen.guest is None or not disks:
            return (), None
        snapshots = GuestSnapshots(seen.guest, disks)
        there = snapshots.has_part(asked.name, deadline)
        return tuple(snapshots.list(deadline)), SnapshotStep(Deed.DELETE, asked.name) if there else None
    disks = writable_disks(after, wish.name)
    if not disks:
        raise InvalidSpec([f"snapshot: {wish.name} has no disks of its own that a snapshot could be taken of"])
    if seen.guest is None:
        if asked.state is SnapshotState.REVERTED:
            raise NotFound("there is no such guest, so it has no snapshot to revert to", obj=wish.name, phase="check", hint="make it, and take one")
        return (), SnapshotStep(Deed.TAKE, asked.name)
    snapshots = GuestSnapshots(seen.guest, disks)
    names = tuple(snapshots.list(deadline))
    if asked.state is SnapshotState.REVERTED:
        snapshots.check(asked.name, deadline)
        return names, SnapshotStep(Deed.REVERT, asked.name)
    return names, None if asked.name in names else SnapshotStep(Deed.TAKE, asked.name)


def _refuse_started(seen: Seen, name: str, task: Task) -> None:
    if seen.active:
        raise OperationFailed(
            f"a run that reverted it to the snapshot {task.snapshot} was killed, and it was started before its disks were whole",
            obj=name,
            phase="snapshot",
            hint=f"revert it (snapshot: name: {task.snapshot}, state: reverted), or shut it off: the next run ends what was begun",
        )


def power_steps(seen: Seen, wanted: State, snapshots: SnapshotPlan) -> tuple[Step, ...]:
    """A guest that is reverted is switched off for it: what it does is lost anyway. It then does again what it did."""
    before = snapshots.was or (seen.state if snapshots.reverts else "")
    if wanted is State.PRESENT and before in ("running", "asleep", "paused"):
        wanted = State.PAUSED if before == "paused" else State.RUNNING
    if not (snapshots.reverts and seen.active):
        return power.steps(seen.state, wanted)
    wanted = State.RUNNING if wanted is State.REBOOTED else wanted
    return (Step.PULL_PLUG, *power.steps("shutoff", wanted))


def around(steps: Sequence[Step]) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """What is done before the snapshot and what after it: it is taken of a guest that is off, where it is off at any time."""
    first = next((number for number, step in enumerate(steps) if step in _STARTS), len(steps))
    return tuple(steps[:first]), tuple(steps[first:])


def begin_snapshots(host: Host, guest: Guest, plan: SnapshotPlan, seen: Seen) -> None:
    """Before a guest is switched off to be reverted: a run that is killed in between is ended by the next one, and the guest runs again."""
    for step in plan.steps:
        if step.deed is Deed.REVERT and seen.active:
            _note(host, guest, Task(_ABOUT_TO, step.name, plan.was or seen.state))


def carry_out_snapshots(host: Host, guest: Guest, plan: SnapshotPlan, deadline: Deadline) -> None:
    """:raises VirtError: see ``GuestSnapshots``."""
    for step in plan.steps:
        definition = tree.parse(guest.definition())
        disks = writable_disks(definition, guest.name, all_of_them=step.deed in (Deed.TAKE, Deed.REVERT))
        if step.deed is Deed.DELETE:
            GuestSnapshots(guest, disks).delete(step.name, deadline)
        elif step.deed is Deed.TIDY:
            _tidy(guest, disks, step.name, deadline)
        else:
            begun = record.task_of(definition)
            was = power.name_of(guest.state()) if begun is None else begun.was
            _note(host, guest, Task(step.deed.value, step.name, was))
            _do(host, guest, GuestSnapshots(guest, disks), step, was, deadline)


def end_snapshots(host: Host, guest: Guest, plan: SnapshotPlan) -> None:
    """Once the guest does again what it did: there is nothing left for a next run."""
    if any(step.deed is not Deed.DELETE for step in plan.steps):
        _note(host, guest, None)


def _do(host: Host, guest: Guest, snapshots: GuestSnapshots, step: SnapshotStep, was: str, deadline: Deadline) -> None:
    if step.deed is Deed.REVERT:
        snapshots.revert(step.name, deadline)
        _note(host, guest, Task(_REVERTED, step.name, was))
        return
    try:
        snapshots.create(step.name, deadline)
    except VirtError:
        # Nothing is left of it. If the guest did not go on, the note stays for the next run.
        with contextlib.suppress(VirtError):
            if power.name_of(guest.state()) == was:
                _note(host, guest, None)
        raise


def _tidy(guest: Guest, disks: Sequence[OwnDisk], name: str, deadline: Deadline) -> None:
    """What is left of a snapshot that was never whole goes."""
    if disks and name not in GuestSnapshots(guest, disks).list(deadline):
        GuestSnapshots(guest, disks).delete(name, deadline)


def _note(host: Host, guest: Guest, task: Task | None) -> None:
    definition = tree.parse(guest.definition())
    record.set_task(definition, task)
    host.define_text(tree.text_of(definition), guest.name)


def writable_disks(domain: ET.Element, guest: str, *, all_of_them: bool = True) -> list[OwnDisk]:
    """The disks of the guest's own that it writes to, in the order in which they became its own.

    :param all_of_them: refuse a guest that writes to others as well.
    :raises InvalidSpec: it does.
    """
    own = {(info.type, info.source): one for one in record.disks_of(domain) for info in [one.place().libvirt_info()]}
    elements = [one for one in edit_disks.disk_elements(domain, "disk", "lun") if one.find("readonly") is None and one.find("shareable") is None]
    sources = [edit_disks.source_of(element) for element in elements]
    others = [source for kind, source in sources if (kind, source) not in own]
    if others and all_of_them:
        what = "which was not made for it on a backend, so no snapshot would have it; take it off, or make it readonly"
        raise InvalidSpec([f"snapshot: {guest} also writes to {', '.join(others)}, {what}"])
    return [disk for place, disk in own.items() if place in sources]
