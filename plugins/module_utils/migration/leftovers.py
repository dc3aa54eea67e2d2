# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""The end of every migration, however it came: seeing which host has the guest, and clearing up the other.

The same serves a migration that has just arrived, one that has just failed, and one whose run was killed some time ago.
Each step may be done again, and the note goes last, so that this may be killed too.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass

from ansible_collections.poolwright.virt.plugins.module_utils.clock import Clock, Deadline
from ansible_collections.poolwright.virt.plugins.module_utils.errors import Busy, NotFound, OperationFailed
from ansible_collections.poolwright.virt.plugins.module_utils.guests import power, tree
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.base import Image
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.options import DiskOptions
from ansible_collections.poolwright.virt.plugins.module_utils.imagebackend.registry import disk_image
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.guest import DomainState, Guest
from ansible_collections.poolwright.virt.plugins.module_utils.libvirt.host import Host
from ansible_collections.poolwright.virt.plugins.module_utils.migration.facts import guest_facts, paths_of
from ansible_collections.poolwright.virt.plugins.module_utils.migration.note import NAMESPACE, PREFIX, MadeImage, Note, from_element
from ansible_collections.poolwright.virt.plugins.module_utils.migration.prepare import remove_directory, remove_file
from ansible_collections.poolwright.virt.plugins.module_utils.migration.sides import BY_MIGRATION, PAUSED, RUNNING, Side, Verdict, verdict

_STORAGE_SECONDS = 600.0
# Files that belong to the host and not to the guest stay; so do these two, which go with their own files.
_KEPT = ("nvram", "tpm")


@dataclass(frozen=True)
class Found:
    """A guest on one host, None where it is not there."""

    guest: Guest | None
    side: Side


def look(host: Host, *, name: str = "", uuid: str = "") -> Found:
    """:param uuid: looked for in place of the name."""
    guest = host.guest_of(uuid) if uuid else host.guest(name)
    if guest is None:
        return Found(None, Side())
    try:
        state, reason = guest.state_and_reason()
        note = from_element(guest.metadata(NAMESPACE), guest.name)
        job = bool(guest.job()) if state not in (DomainState.SHUTOFF, DomainState.CRASHED) else False
        return Found(guest, Side(power.name_of(state), reason, job, note))
    except NotFound:
        return Found(None, Side())


def judge(note: Note, source: Found, target: Found) -> Verdict:
    return verdict(note, source.side, target.side)


def settle(note: Note, source: Host, target: Host, uuid: str, name: str, clock: Clock) -> tuple[Verdict, list[str]]:
    """Clear up after a migration that has ended; what was done, in words.

    :return: also which host has the guest: ``SOURCE`` or ``TARGET``.
    :raises Busy: it has not ended.   :raises OperationFailed: nobody can tell.
    """
    here, there = look(source, uuid=uuid), look(target, uuid=uuid)
    found = judge(note, here, there)
    if found is Verdict.TARGET and there.guest is not None:
        return found, _arrived(note, source, target, here, there.guest, there.side)
    if found is Verdict.SOURCE and here.guest is not None:
        return found, _stayed(note, target, here.guest, here.side, there, clock)
    if found is Verdict.WAIT:
        raise Busy("a migration of it is under way", obj=name, phase="migrate", hint="wait for it, or end it with virsh domjobabort")
    hint = {
        Verdict.FOREIGN: f"see what {there.guest.name if there.guest else 'it'} on {note.where} is, and remove the one that is not needed",
        Verdict.RESUME: "run again once the hosts reach each other",
        Verdict.BROKEN: _without_memory(note, name, defined=there.guest is not None),
        Verdict.LOST: f"its disks are on {note.where} or on this host: {', '.join((*note.made, *note.gone)) or 'shared'}",
    }.get(found, "look on both hosts")
    raise OperationFailed(f"its migration to {note.where} cannot be brought to an end: {found.value}", obj=name, phase="migrate", hint=hint)


def _without_memory(note: Note, name: str, *, defined: bool) -> str:
    """What its owner can do.   :param defined: on the target."""
    if defined:
        return f"its last disks are on {note.where}, and so is its definition: switch it off here (virsh destroy {name}), and run again: it is there then, off"
    return (
        f"its last disks are on {note.where}, or shared: {', '.join(note.made) or 'shared'}; save them, switch it off here (virsh destroy {name}), "
        f"remove <migration> from its metadata (virsh metadata {name} {NAMESPACE} --remove), and start it with those disks"
    )


# -- it is on the target


def _arrived(note: Note, source: Host, target: Host, here: Found, guest: Guest, side: Side) -> list[str]:
    done = _set_going(note, guest, side)
    if here.guest is not None:
        if here.side.active and here.guest.destroy():
            done.append("stop on the source")
        if note.undefine:
            if here.guest.undefine(_KEPT):
                done.append("undefine on the source")
        else:
            here.guest.drop_metadata(NAMESPACE, PREFIX)
    _refuse_used(source, note.gone, guest.uuid)
    done += [f"remove {path} on the source" for path in note.gone if remove_file(source, path)]
    if note.machine:
        for directory in (note.machine, os.path.dirname(note.machine)):
            remove_directory(source, directory)
    if note.autostart and guest.is_persistent() and not guest.autostarts():
        guest.set_autostart(True)
        done.append("autostart on the target")
    guest.drop_metadata(NAMESPACE, PREFIX)
    return done


def _set_going(note: Note, guest: Guest, side: Side) -> list[str]:
    """Have it do on the target what it did on the source; before anything goes from there."""
    if note.state == RUNNING and side.state == PAUSED:
        guest.resume()
        return ["resume on the target"]
    if note.kind == "cold" and note.state in (RUNNING, PAUSED) and not side.active:
        guest.start(paused=note.state == PAUSED)
        return ["start on the target"]
    return []


def _refuse_used(host: Host, paths: tuple[str, ...], uuid: str) -> None:
    """Files that another guest has taken to meanwhile are not the guest's alone."""
    if not paths:
        return
    for seen in host.domains():
        if seen.guest.uuid == uuid:
            continue
        try:
            used = set(paths_of(guest_facts(tree.parse(seen.guest.xml()), "")))
        except NotFound:
            continue
        taken = sorted(used & set(paths))
        if taken:
            hint = "give that guest a disk of its own, then run again"
            raise Busy(f"{taken[0]} was left by a guest that has moved, and {seen.guest.name} uses it", obj=seen.guest.name, phase="clear up", hint=hint)


# -- it is on the source


def _stayed(note: Note, target: Host, guest: Guest, side: Side, there: Found, clock: Clock) -> list[str]:
    done = []
    if there.guest is not None:
        if there.side.active:
            there.guest.destroy()
        there.guest.undefine(_KEPT)
        done.append("remove the guest on the target")
    done += _clear_target(note, target, clock)
    if note.state == RUNNING and side.state == PAUSED and side.reason == BY_MIGRATION:
        guest.resume()
        done.append("resume on the source")
    if note.kind == "cold" and note.state in (RUNNING, PAUSED) and not side.active:
        guest.start(paused=note.state == PAUSED)
        done.append("start on the source")
    guest.drop_metadata(NAMESPACE, PREFIX)
    return done


def _clear_target(note: Note, target: Host, clock: Clock) -> list[str]:
    done = [f"remove {path} on the target" for path in note.made if remove_file(target, path)]
    deadline = Deadline.after(clock, _STORAGE_SECONDS)
    done += [f"remove {image.location}/{image.name}" for image in note.images if _place(image).remove(deadline)]
    done += [f"remove the secret {uuid} on the target" for uuid in _unused(target, note.secrets) if target.secrets.delete(uuid)]
    # Those inside others first.
    for directory in sorted(note.directories, key=len, reverse=True):
        remove_directory(target, directory)
    return done


def _unused(host: Host, secrets: tuple[str, ...]) -> list[str]:
    """Those that no guest of the host has taken to meanwhile."""
    if not secrets:
        return []
    used: set[str] = set()
    for seen in host.domains():
        # One that is gone by now uses none.
        with contextlib.suppress(NotFound):
            used.update(guest_facts(tree.parse(seen.guest.xml()), "").secrets)
    return [uuid for uuid in secrets if uuid not in used]


def _place(image: MadeImage) -> Image:
    return disk_image("rbd", image.location, image.name, DiskOptions(conf=image.conf, user=image.user, keyring=image.keyring, secret=image.secret))
